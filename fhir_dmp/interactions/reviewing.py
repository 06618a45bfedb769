"""What an act leaves for the host's physician to look at: noted when it is decided, stored in its transaction.

Code de la santé publique L1111-17 (emergency access), R1111-41; obligations `review` and `queue-for-host-physician` of consent.decide
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_dmp.consent.decide import Decision
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import MINUTE
from fhir_dmp.store import outbox, reviews
from fhir_dmp.store.reviews import Review

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context
    from fhir_dmp.interactions.enforcement import Known

EMERGENCY, LATE = "emergency-access", "late-deposit"
# Of an access in the regulation of emergency calls nobody writes a reason: it is looked at by itself, once for so long.
REGULATION, ONCE_MS = "accès de régulation médicale", 60 * MINUTE
KINDS = {"review": EMERGENCY, "queue-for-host-physician": LATE}


@dataclass(frozen=True, slots=True)
class Pending:
    """One entry of the queue before it is stored. dossier: its number. body: octets."""

    dossier: int
    at_ms: int
    body: bytes


def noted(context: "Context", met: "Known", decision: Decision, *, resource: str = "", why: str = "") -> None:
    """Note what a decision obliges to leave for review. resource: "Type/id" of what is deposited. why: the justification given."""
    kind = next((KINDS[one] for one in decision.obligations if one in KINDS), "")
    if kind:
        context.enforcer.ledger.reviews.append(_pending(met, kind, resource, why))


def _pending(met: "Known", kind: str, resource: str, why: str) -> Pending:
    told = {
        "kind": kind,
        "patient": met.patient,
        "professional": met.request.person.removeprefix("ps:"),
        "organization": met.request.organization.removeprefix("org:"),
        "resource": resource,
        "why": why,
    }
    return Pending(met.number, met.now_ms, json.dump(told))


async def of_reading(context: "Context") -> None:
    """Before something is shown: what is read by regulation waits for the host's physician, once for each dossier, person and hour."""
    ledger, vault = context.enforcer.ledger, context.store.vault
    for met in ledger.regulated.values():
        if met.patient in ledger.disclosed:
            pending = _pending(met, EMERGENCY, "", REGULATION)
            said = f"{met.number} {met.request.person} {met.now_ms // ONCE_MS}".encode()
            name = b"".join(vault.hash64(half + said).to_bytes(8, signed=True) for half in (b"regulation\0a", b"regulation\0b"))

            async def work(transaction, name: bytes = name, pending: Pending = pending) -> None:
                if await outbox.mark(transaction, name, pending.dossier, pending.at_ms):
                    await store(context.inside(transaction), [pending])

            if not await outbox.marked(context.store, name):
                await context.store.transact(work, claims=[name])


def taken(context: "Context") -> list[Pending]:
    """What was noted, to be stored now."""
    if context.enforcer is None:
        return []
    found, context.enforcer.ledger.reviews = context.enforcer.ledger.reviews, []
    return found


async def store(inside: "Context", pending: list[Pending]) -> None:
    """Let it wait, in the transaction of the act."""
    for one in pending:
        await reviews.add(inside.transaction, Review(inside.random(16), one.dossier, one.at_ms, True, one.body))
