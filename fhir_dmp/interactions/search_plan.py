"""How a search is put to the store: disjoint segments, each with the index that leads to its rows.

https://hl7.org/fhir/R4/search.html

The one place where what is asked, the compartment it is asked in and what the asker may see become one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import tables
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.search.narrow import EVERY_TYPE, Narrow, to_mongo
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.predicate import NOTHING, All, AnyOf, Has, Predicate, ReferenceIs, TokenIs, simplified
from fhir_dmp.store.vault import COMMON

Alternatives = Sequence[tuple[str | None, Predicate]]


class Compartment(NamedTuple):
    """One of the five of R4, e.g. ("Patient", "p1"). https://hl7.org/fhir/R4/compartmentdefinition.html"""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows by one index. where: filter over index fields. types, dossiers: None for all. hint: see Reader.find.

    outside: of rows outside dossiers that name several patients, the tokens one of which each holds.
    """

    where: dict
    types: tuple[str, ...] | None
    dossiers: tuple[int, ...] | None
    hint: str
    outside: tuple[int, ...] = ()

    def asked(self) -> dict:
        """Arguments of the reading methods of the store."""
        return {"where": self.where, "types": self.types, "dossiers": self.dossiers, "hint": self.hint}


@dataclass(frozen=True)
class Plan:
    """narrows: type -> what its index says of the query. judges: type of a row -> predicate, key None for any other.

    given: segments, in place of those that follow. sandbox: where rows may name several patients.
    """

    narrows: Sequence[tuple[str | None, Narrow]]
    judges: Mapping[str | None, Predicate]
    sight: Sight = UNRESTRICTED
    sandbox: bool = False
    given: tuple[Segment, ...] | None = None

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """No row is in two of them, and the asker sees every one."""
        if self.given is not None:
            return self.given
        return _segments_of([(name, _seen(narrow, self.sight.filter(name))) for name, narrow in self.narrows], self.sandbox)

    @cached_property
    def unsifted(self) -> tuple[Segment, ...]:
        """The same, with what the asker does not see."""
        return self.segments if self.sight is UNRESTRICTED else _segments_of(self.narrows, self.sandbox)

    @property
    def exact(self) -> bool:
        """Whether the segments decide."""
        return all(narrow.exact for _, narrow in self.narrows)

    def judge(self, type_name: str) -> Predicate:
        """What a row of this type must meet."""
        return self.judges.get(type_name, self.judges.get(None, NOTHING))

    @property
    def outside(self) -> tuple[int, ...]:
        """Tokens of the segments that lie outside of dossiers, beside one in a dossier."""
        return tuple(token for segment in self.segments for token in segment.outside)

    def within(self) -> "Plan":
        """The same without what lies outside of dossiers."""
        return replace(self, given=tuple(segment for segment in self.segments if not segment.outside))

    @property
    def anchored(self) -> bool:
        """Whether it stays with single resources and dossiers."""
        return all(segment.hint in ("id", "dossier", "selective") for segment in self.segments)


def inside(alternatives: Alternatives, compartment: Compartment | None) -> Alternatives:
    """The query, inside a compartment. All types: those the compartment has, and the resource it is of."""
    if compartment is None:
        return alternatives
    members = tables.compartment(compartment.type)
    found: list[tuple[str | None, Predicate]] = []
    for type_name, part in alternatives:
        for each in (type_name,) if type_name is not None else sorted({*members, compartment.type}):
            found.append((each, simplified(All((part, _membership(each, compartment, members))))))
    return found


def _membership(type_name: str, compartment: Compartment, members: Mapping[str, tuple[str, ...]]) -> Predicate:
    known = parameters(type_name)
    here = ReferenceIs(compartment.type, compartment.id)
    parts: list[Predicate] = [Has(code, here) for code in members.get(type_name, ()) if code in known]
    if type_name == compartment.type:
        parts.append(Has("_id", TokenIs(None, compartment.id, True)))
    if not parts:
        raise FhirError("not-supported", f"resources of type {type_name} are in no {compartment.type} compartment")
    return AnyOf(tuple(parts))


def plan(context: Context, alternatives: Alternatives, sight: Sight = UNRESTRICTED) -> Plan:
    """The plan of predicates, as far as the asker sees. Of chains not yet looked up it leads to a superset."""
    vault = context.store.vault
    narrows = [(name, to_mongo(part, name or EVERY_TYPE, vault.hash64, vault.locate)) for name, part in alternatives]
    return Plan(narrows, dict(alternatives), sight, context.sandbox)


def _segments_of(narrows: Sequence[tuple[str | None, Narrow]], sandbox: bool) -> tuple[Segment, ...]:
    if len(narrows) == 1:
        return tuple(_segments(narrows, sandbox))
    together: dict[frozenset[str], list[tuple[str | None, Narrow]]] = {}
    for name, narrow in narrows:
        together.setdefault(frozenset(anchor.kind for anchor in narrow.anchors or ()), []).append((name, narrow))
    return tuple(segment for members in together.values() for segment in _segments(members, sandbox))


def _seen(narrow: Narrow, filter: dict) -> Narrow:
    if not filter:
        return narrow
    return replace(narrow, filter={"$and": [narrow.filter, filter]} if narrow.filter else filter)


def _segments(members: Sequence[tuple[str | None, Narrow]], sandbox: bool) -> list[Segment]:
    """Segments of alternatives that are led to in the same ways."""
    types = None if members[0][0] is None else tuple(dict.fromkeys(name for name, _ in members))
    if len(members) == 1:
        filter = members[0][1].filter
    else:
        filter = {"$or": [{"$and": [{"t": name}, narrow.filter]} if narrow.filter else {"t": name} for name, narrow in members]}
    values: dict[str, list] = {}
    for anchor in dict.fromkeys(anchor for _, narrow in members for anchor in narrow.anchors or ()):
        values.setdefault(anchor.kind, []).append(anchor.value)
    if not values:
        return [Segment(filter, types, None, "time" if types is None else "type")]
    found: list[Segment] = []
    before: list[dict] = []
    for kind, (hint, field) in _WAYS.items():
        if kind not in values or (kind in ("outside", "common") and not sandbox):  # only in a sandbox do rows name several patients
            continue
        way = {field: {"$in": values[kind]}}
        if kind == "outside":
            way["d"] = COMMON
        rest = [part for part in (filter, {"d": COMMON} if kind == "outside" else {}) if part] + (
            [{"$nor": list(before)}] if before else []
        )
        where = {"$and": rest} if rest else {}
        if kind in ("dossier", "common"):
            found.append(Segment(where, types, tuple(values[kind]), hint))
        else:
            outside = tuple(values[kind]) if kind == "outside" else ()
            found.append(Segment({field: way[field], **where}, types, None, hint, outside))
        before.append(way)
    return found


_WAYS = {
    "key": ("id", "_id"),
    "dossier": ("dossier", "d"),
    "outside": ("selective", "g"),
    "common": ("dossier", "d"),
    "selective": ("selective", "g"),
    "coded": ("code", "c"),
}
