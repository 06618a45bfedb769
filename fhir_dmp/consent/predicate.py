"""One predicate over the facts of a document, two evaluators: `matches` in memory, `to_mongo` over stored rows.

https://profiles.ihe.net/ITI/PCF/ (residual rules of a consent decision)

What a row keeps for visibility, all of it in the sub-document `y`, written with the row and changed by acts about visibility alone:

    lb  int     visibility labels of the lineage, as bits: 1 MASQUE_PS, 2 INVISIBLE_PATIENT, 4 INVISIBLE_REPRESENTANTS_LEGAUX; and 8 on
                traces of a minor's secret session
    ty  int64   keyed hash of the type (spaces.type_token); the class and the space follow from it and are not kept
    au  int64[] keyed hashes of the authors at deposit ("ps:IDNPS", "holder")
    og  int64   keyed hash of the depositing organisation ("org:IDNST"), 0 for none
    fd  int64   first deposit of the lineage, ms UTC
    rl  int64   when INVISIBLE_PATIENT ends by itself, ms UTC; computed once, at the first deposit, copied to every later version
    st  int     0 current, 1 superseded, 2 entered-in-error
    rt  int64   keyed hash of the address of the first document of the lineage
    pa, pb int64  the act's own period, half-open, ms UTC
    s1, s2, s4    int64, only where it was: when the label of that bit was taken away last, ms UTC; for s1 also when a mask by rule ended

Everything that a deposit creates, and every trace about a document, carries the `rt` and `lb` of its lineage: an act about visibility is
one update of all rows of the dossier with that `rt`. Of a Consent, `ty` is the hash of "consent:CATEGORY" and `au` those it names; of a
trace, `au` its agents (facts: companions).

A row without `y` is no document and meets no residual: `st` is always asked for positively. Clocks are asked for as "released by now",
so that a row that lacks one stays hidden.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhir_dmp.dmp.documents import STATUSES, Facts
from fhir_dmp.dmp.visibility import VISIBILITY

Hash64 = Callable[[bytes], int]
SECRET_SESSION = "SECRET_SESSION"
LABEL_BITS = {label: 1 << position for position, label in enumerate((*VISIBILITY, SECRET_SESSION))}
# Where a row keeps when a label was taken away.
LIFTED = {label: f"s{LABEL_BITS[label]}" for label in VISIBILITY}


@dataclass(frozen=True, slots=True)
class Labelled:
    """The lineage carries this visibility label."""

    label: str


@dataclass(frozen=True, slots=True)
class AuthoredBy:
    """Someone of these is an author."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class DepositedBy:
    """The depositor's organisation is this one."""

    organization: str


@dataclass(frozen=True, slots=True)
class TypeIn:
    types: frozenset[str]


@dataclass(frozen=True, slots=True)
class StatusIn:
    statuses: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReleasedBy:
    """The month of INVISIBLE_PATIENT is over at this moment."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class LineageIn:
    """The first document of the lineage is one of these addresses."""

    roots: frozenset[str]


@dataclass(frozen=True, slots=True)
class DatedWithin:
    """The act's period meets [lo_ms, hi_ms)."""

    lo_ms: int
    hi_ms: int


@dataclass(frozen=True, slots=True)
class Not:
    part: "Predicate"


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Predicate", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Predicate", ...] = ()


Predicate = Labelled | AuthoredBy | DepositedBy | TypeIn | StatusIn | ReleasedBy | LineageIn | DatedWithin | Not | All | AnyOf

ALWAYS = All()
NEVER = AnyOf()


def when(condition: bool) -> Predicate:
    """A condition on request and dossier alone, as predicate over documents."""
    return ALWAYS if condition else NEVER


def matches(predicate: Predicate, facts: Facts) -> bool:
    """Whether a document meets a predicate.

    >>> matches(All((Not(Labelled("MASQUE_PS")), TypeIn(frozenset({"SYNTH"})))), Facts(type="SYNTH"))
    True
    """
    # A table, not a match statement: this runs for every rule of every read.
    return HOLDS[type(predicate)](predicate, facts)


HOLDS: dict[type, Callable[[Any, Facts], bool]] = {
    Labelled: lambda p, facts: p.label in facts.labels,
    AuthoredBy: lambda p, facts: not facts.authors.isdisjoint(facts.of("author", p.names)),
    DepositedBy: lambda p, facts: bool(facts.organization) and facts.organization in facts.of("organization", frozenset((p.organization,))),
    TypeIn: lambda p, facts: facts.type in facts.of("type", p.types),
    StatusIn: lambda p, facts: facts.status in p.statuses,
    ReleasedBy: lambda p, facts: facts.release_ms <= p.now_ms,
    LineageIn: lambda p, facts: facts.root in facts.of("root", p.roots),
    DatedWithin: lambda p, facts: facts.period[0] < p.hi_ms and facts.period[1] > p.lo_ms,
    Not: lambda p, facts: not HOLDS[type(p.part)](p.part, facts),
    All: lambda p, facts: all(HOLDS[type(part)](part, facts) for part in p.parts),
    AnyOf: lambda p, facts: any(HOLDS[type(part)](part, facts) for part in p.parts),
}


def to_mongo(predicate: Predicate, hash64: Hash64) -> dict[str, Any]:
    """The same over rows, as a MongoDB filter; joins any other with $and."""
    match predicate:
        case Labelled(label):
            # Not "all set": a row that lacks the field counts as labelled, hence hidden.
            return {"$nor": [{"y.lb": {"$bitsAllClear": LABEL_BITS[label]}}]}
        case Not(Labelled(label)):
            return {"y.lb": {"$bitsAllClear": LABEL_BITS[label]}}
        case AuthoredBy(names):
            return {"y.au": {"$in": sorted(_hashes("author", names, hash64))}}
        case DepositedBy(organization):
            return {"y.og": hashed("organization", organization, hash64)}
        case TypeIn(types):
            return {"y.ty": {"$in": sorted(_hashes("type", types, hash64))}}
        case StatusIn(statuses):
            return {"y.st": {"$in": sorted(STATUSES.index(status) for status in statuses)}}
        case ReleasedBy(now_ms):
            return {"y.rl": {"$lte": now_ms}}
        case LineageIn(roots):
            return {"y.rt": {"$in": sorted(_hashes("root", roots, hash64))}}
        case DatedWithin(lo_ms, hi_ms):
            return {"y.pa": {"$lt": hi_ms}, "y.pb": {"$gt": lo_ms}}
        case Not(part):
            return {"$nor": [to_mongo(part, hash64)]}
        case All(parts):
            return {"$and": [to_mongo(part, hash64) for part in parts]} if parts else {}
        case AnyOf(parts):
            return {"$or": [to_mongo(part, hash64) for part in parts]} if parts else {"y.st": {"$in": []}}
    raise TypeError(f"unknown predicate {type(predicate).__name__}")


def simplified(predicate: Predicate) -> Predicate:
    """Constants folded, nested conjunctions and disjunctions flattened, repeated parts left out."""
    if predicate is ALWAYS or predicate is NEVER:
        return predicate
    # What comes out is one of the two constants themselves when it equals one.
    kind = type(predicate)
    if kind is Not:
        inner = simplified(predicate.part)
        if inner is ALWAYS:
            return NEVER
        if inner is NEVER:
            return ALWAYS
        if type(inner) is Not:
            return inner.part
        return predicate if inner is predicate.part else Not(inner)
    if kind is All or kind is AnyOf:
        dead, void = (NEVER, ALWAYS) if kind is All else (ALWAYS, NEVER)
        flat: dict[Predicate, None] = {}
        for part in map(simplified, predicate.parts):
            if part is dead:
                return dead
            for one in part.parts if type(part) is kind else (part,):
                flat[one] = None
        if not flat:
            return void
        return next(iter(flat)) if len(flat) == 1 else kind(tuple(flat))
    if kind in EMPTY_IS_NEVER:
        (values,) = (getattr(predicate, name) for name in kind.__match_args__)
        return predicate if values else NEVER
    return predicate


EMPTY_IS_NEVER = frozenset({TypeIn, AuthoredBy, StatusIn, LineageIn})


# ---- rows


# What is longer is not remembered.
LONGEST_KEPT = 128


def hashed(kind: str, value: str, hash64: Hash64) -> int:
    """Keyed hash of a fact, 0 for none. kind: author, organization, type or root."""
    return hash64(f"visibility\0{kind}\0{value}".encode()) if value else 0


def often(kind: str, value: str, hash64: Hash64) -> int:
    """As hashed, for types, authors and organisations, which come again and again."""
    return (_hashed_once if len(value) <= LONGEST_KEPT else hashed)(kind, value, hash64)


_hashed_once = lru_cache(maxsize=4096)(hashed)


def row_of(facts: Facts, hash64: Hash64) -> dict[str, Any]:
    """The sub-document `y` of a row, from facts in the clear."""
    return {
        "lb": sum(LABEL_BITS[label] for label in facts.labels),
        "ty": often("type", str(facts.type), hash64),
        "au": sorted(often("author", str(author), hash64) for author in facts.authors),
        "og": often("organization", str(facts.organization), hash64),
        "fd": facts.first_deposit_ms,
        "rl": facts.release_ms,
        "st": STATUSES.index(facts.status),
        "rt": hashed("root", str(facts.root), hash64),
        "pa": facts.period[0],
        "pb": facts.period[1],
    }


def facts_of(row: Mapping[str, Any], hash64: Hash64) -> Facts:
    """Facts from the sub-document `y` of a row; a missing field hides. hash64: the one the row was written with."""
    return Facts(
        type=row.get("ty", 0),
        authors=frozenset(row.get("au", ())),
        organization=row.get("og", 0),
        labels=_labels(row.get("lb", ~0)),
        first_deposit_ms=row.get("fd", _UNKNOWN.first_deposit_ms),
        release_ms=row.get("rl", _UNKNOWN.release_ms),
        status=STATUSES[row.get("st", 2)],
        root=row.get("rt", 0),
        period=(row.get("pa", _UNKNOWN.period[0]), row.get("pb", _UNKNOWN.period[1])),
        of=lambda kind, values: _hashes(kind, values, hash64),
    )


_UNKNOWN = Facts()


@lru_cache(maxsize=64)
def _labels(bits: int) -> frozenset[str]:
    return frozenset(label for label, bit in LABEL_BITS.items() if bits & bit)


@lru_cache(maxsize=4096)
def _hashes(kind: str, values: frozenset[str], hash64: Hash64) -> frozenset[int]:
    """Kept, because the matrix asks for the same hundred types in every request."""
    return frozenset(hashed(kind, value, hash64) for value in values)
