"""Labels cover a whole lineage: what replaces a document and hides more than it hides all of it, in the transaction that stores it.

CSP R1111-49, R1111-50; access-rules: labels cover the whole `replaces` lineage of the document
"""

from collections.abc import Iterable
from typing import NamedTuple

from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.dmp.visibility import VISIBILITY
from fhir_dmp.interactions import keeping, tracing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.facts import listed
from fhir_dmp.store.joining import rights_of
from fhir_dmp.store.rows import Change, Row
from fhir_dmp.store.vault import dossier_in


class Covered(NamedTuple):
    """A document that is replaced. row: as it was. id, patient: logical ids, of it and of the holder. add: bits of labels it gets."""

    row: Row
    id: str
    patient: str
    add: int

    @property
    def after(self) -> Row:
        """The document with these labels."""
        (own,) = listed(self.row)
        return self.row.but(visible={**own, "lb": own["lb"] | self.add})

    def relabelled(self, now_ms: int) -> tuple[int, int, int, int]:
        """(dossier, root of the lineage, bits, instant) of the act, see Transaction.relabel."""
        return self.row.dossier, listed(self.row)[0]["rt"], self.add, max(now_ms, self.row.acted_ms + 1)


def taken(context: Context) -> list[Covered]:
    """What was decided on, to be covered now."""
    if context.enforcer is None:
        return []
    found, context.enforcer.ledger.covered = context.enforcer.ledger.covered, []
    return found


def joins(context: Context, row: Row) -> None:
    """Note that something about to be stored takes the labels of a row that was there: an act about these in between is a conflict."""
    context.enforcer.ledger.joined[row.key] = row.acted_ms


def joined(context: Context) -> dict[bytes, int]:
    """What was noted so, to be looked at now; see Transaction.unchanged."""
    if context.enforcer is None:
        return {}
    found, context.enforcer.ledger.joined = context.enforcer.ledger.joined, {}
    return found


def claims(context: Context, rows: Iterable[bytes]) -> list[bytes]:
    """What acts about the labels of these rows have in common with each other, and with all acts on the rights of the dossier."""
    return [rights_of(context.store.vault, one) for one in {dossier_in(key) for key in rows}]


async def cover(inside: Context, covered: Iterable[Covered]) -> None:
    """Give the labels to everything of the lineages, each told as the act that it is. inside: the context of the transaction."""
    covered = list(covered)
    await inside.transaction.claim(claims(inside, (one.row.key for one in covered)))
    for one in covered:
        dossier, root, add, at_ms = one.relabelled(inside.now_ms())
        keys = await inside.transaction.relabel(dossier, root, add=add, remove=0, at_ms=at_ms)
        await inside.transaction.write(told(inside, one))
        await keeping.acted(inside, "mask", keys)


def told(context: Context, one: Covered) -> list[Change]:
    """The trace of the act that it is, with the labels before and after, to be stored with it."""
    return tracing.of_act(context, "mask", one.after, one.id, one.patient, (_labels(one.row), _labels(one.after)))


def _labels(row: Row) -> tuple[str, ...]:
    return tuple(sorted(label for label in VISIBILITY if LABEL_BITS[label] & listed(row)[0]["lb"]))
