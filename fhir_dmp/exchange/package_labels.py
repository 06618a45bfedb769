"""Visibility labels of a dossier that lives here, when another host gives what is new there: of each lineage those of both hosts.

CSP R1111-49, R1111-50; access-rules: labels cover the whole `replaces` lineage, and are never weakened

A label that was taken away here stays away only as long as nothing tells that it was set there since: neither a trace nor a document that
is not here yet, nor an instant after that. No word about another label, nor a clock alone, takes one off.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_dmp.audit.kinds import ACTS
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.dmp.visibility import VISIBILITY
from fhir_dmp.fhir import json
from fhir_dmp.store.rows import NewRow, Row
from fhir_dmp.store.takeover import Taken

DOCUMENT, TRACE = "DocumentReference", "AuditEvent"
BITS = tuple(LABEL_BITS[label] for label in VISIBILITY)
LABELS = sum(BITS)


@dataclass(slots=True)
class Lineage:
    """What one host has of a lineage. bits: of labels of anything in it. common: of everything. away: bit -> when it was taken away.

    acted_ms: of the last act about any of it that made no version.
    """

    bits: int = 0
    common: int = LABELS
    away: dict[int, int] = field(default_factory=dict)
    acted_ms: int = 0

    def add(self, facts: Mapping[str, Any], acted_ms: int) -> None:
        bits = facts.get("lb", 0) & LABELS
        self.bits |= bits
        self.common &= bits
        self.acted_ms = max(self.acted_ms, acted_ms)
        self.away = {bit: max(self.away.get(bit, 0), facts.get(f"s{bit}", 0)) for bit in BITS}


def lineages(rows: Iterable[tuple[NewRow | Row, int] | Taken]) -> dict[int, Lineage]:
    """By `y.rt`; a trace has the labels of when it was written. rows: with the instant of the last act about each."""
    found: dict[int, Lineage] = {}
    for row, acted_ms in rows:
        for facts in each(row.visible) if row.type != TRACE else ():
            if root := facts.get("rt"):
                found.setdefault(root, Lineage()).add(facts, acted_ms)
    return found


def set_since(taken: Iterable[Taken], here: Collection[bytes]) -> set[int]:
    """Lineages about which something that is not here yet tells that a label was set. here: keys of rows."""
    return {
        root
        for row, _ in taken
        if row.key not in here and (row.type == DOCUMENT or (row.type == TRACE and _masks(row.body)))
        for facts in each(row.visible)
        if (root := facts.get("rt"))
    }


def _masks(body: bytes | None) -> bool:
    if body is None or b'"mask"' not in body:
        return False
    return any((one.get("system"), one.get("code")) == (ACTS, "mask") for one in json.parse(body).get("subtype") or ())


def together(there: Mapping[int, Lineage], here: Mapping[int, Lineage], since: Collection[int]) -> dict[int, int]:
    """Lineage -> labels that it has from now on; of all that are there or here."""
    return {root: _both(there.get(root), here.get(root), root in since) for root in there.keys() | here.keys()}


def _both(there: Lineage | None, here: Lineage | None, since: bool) -> int:
    if there is None or here is None:
        return (there or here or Lineage()).bits
    stay_away = [bit for bit, at_ms in here.away.items() if at_ms and at_ms >= there.acted_ms and not since]
    return here.bits | there.bits & ~sum(stay_away)


def carrying(row: NewRow, labels: Mapping[int, int], here: Mapping[int, Lineage]) -> NewRow:
    """What comes, with the labels of its lineage, and with when one was taken away here."""
    facts = [_carrying(one, labels, here.get(one.get("rt", 0))) for one in each(row.visible)]
    return row._replace(visible=facts if isinstance(row.visible, list) else facts[0]) if facts else row


def _carrying(facts: Mapping[str, Any], labels: Mapping[int, int], here: Lineage | None) -> dict[str, Any]:
    if here is None or facts["rt"] not in labels:
        return dict(facts)
    away = {f"s{bit}": max(at_ms, facts.get(f"s{bit}", 0)) for bit, at_ms in here.away.items() if at_ms}
    return {**facts, "lb": facts.get("lb", 0) & ~LABELS | labels[facts["rt"]], **away}


def roots(rows: Iterable[NewRow | Row]) -> set[int]:
    """Lineages that these belong to, or tell of."""
    return {root for row in rows for facts in each(row.visible) if (root := facts.get("rt"))}


def each(visible: object) -> Sequence[Mapping[str, Any]]:
    """Facts as a row keeps them, one by one."""
    return visible if isinstance(visible, list) else [visible] if visible else []
