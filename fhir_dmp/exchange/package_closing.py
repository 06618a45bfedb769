"""A dossier that was closed at the host it comes from, by its holder, for a death or a loss of rights, while it was served here already.

CSP L1111-14, L1111-18; access-rules: closed, or its holder deceased, a dossier is refused

A closing is taken with the package that tells it. Where that package cannot be taken, since rights changed here, the closing is, by itself:
nobody else would ever tell it here. A copy that was closed because it was given away closes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.dmp.lifecycle import Status, step
from fhir_dmp.exchange.package import Policy
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import closing, keeping, policy, writing
from fhir_dmp.interactions.context import Context
from fhir_dmp.store import takeover
from fhir_dmp.store.joining import rights_of
from fhir_dmp.store.rows import NewRow
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import dossier_row

REASONS = {Status.CLOSED.value: "holder-request", Status.RIGHTS_LOST.value: "rights-lost"}


def tells(kept: Policy) -> bool:
    """Whether a package tells a closing that holds wherever the dossier is served. Of an older one nobody knows why it was closed."""
    return kept.status in REASONS and kept.given == ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The closing of a dossier. kept: as the package says. row: the version of its Patient that says so, which is not here. value: it."""

    kept: Policy
    row: NewRow
    value: Mapping[str, Any]

    async def apply(self, context: Context, patient: str) -> bool:
        """Close the dossier here; False where it is closed. context: of the giving host.

        The version stays among the former ones of the Patient: when the holder opens the dossier again, the same package does not close it.
        """
        number, told = self.row.dossier, self.kept
        died = self.value.get("deceasedDateTime") or (to_instant(context.now_ms()) if self.value.get("deceasedBoolean") is True else "")
        done = False

        async def work(transaction: Transaction) -> None:
            nonlocal done
            inside = context.inside(transaction)
            before: Dossier | None = await transaction.stored_policy(number)
            done = False
            if before is None or before.given or before.joined or (died and before.deceased_ms is not None):
                return
            target = step(before.status, "deceased" if died else REASONS[told.status])
            if target is None:
                return
            changes = await closing.changes_of(inside, number, patient, target, died)
            await takeover.put_old(transaction, [self.row])
            await writing.write(inside, changes, kind="operation", asked=f"$import?source={context.actor.host}")
            closed_ms = before.closed_ms if before.closed_ms is not None or target is not Status.CLOSED else told.closed_ms
            await policy.recompute(inside, number, closed_ms=closed_ms, lost=told.lost or None, at_ms=inside.now_ms())
            await keeping.acted(inside, "rights", [dossier_row(number)])
            done = True

        await context.store.transact(work, claims=[rights_of(context.store.vault, number)])
        await keeping.keep(context)
        return done
