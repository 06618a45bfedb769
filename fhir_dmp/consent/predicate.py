"""One predicate over the facts of a document, two evaluators: `matches` in memory, `to_mongo` over stored rows.

https://profiles.ihe.net/ITI/PCF/ (residual rules of a consent decision)

What a row keeps for visibility, all of it in the sub-document `y`, written with the row and changed by acts about visibility alone:

    lb  int     visibility labels of the lineage, as bits: 1 MASQUE_PS, 2 INVISIBLE_PATIENT, 4 INVISIBLE_REPRESENTANTS_LEGAUX; and 8 on
                what a minor's secret session made: traces, Consents, care teams, what joins a lineage that representatives see;
                16 on mandates and guardians that a representative of a minor gave him
    ty  int64   keyed hash of the type (spaces.type_token); the class and the space follow from it and are not kept;
                of what came with a document, that of the document
    au  int64[] keyed hashes of the authors at deposit ("ps:IDNPS", "holder")
    og  int64   keyed hash of the depositing organisation ("org:IDNST"), 0 for none
    fd  int64   first deposit of the lineage, ms UTC
    rl  int64   when INVISIBLE_PATIENT ends by itself, ms UTC; computed once, at the first deposit, copied to every later version
    st  int     0 current, 1 superseded, 2 entered-in-error
    rt  int64   keyed hash of the address of the first document of the lineage
    pa, pb int64  the act's own period, half-open, ms UTC
    da, db int64  only where that is more: the span of all its dates, half-open, ms UTC
    sp  true    of the seal of a former version that said other dates: pa, pb are the span of all of those, da, db that of those of now
    oa  int64   of a trace, only where nothing but what he wrote himself let him in: keyed hash of who acted, as an author
    s1, s2, s4    int64, only where it was: when the label of that bit was taken away last, ms UTC; for s1 also when a mask by rule ended

Everything that a deposit creates, and every trace about a document, carries the `rt` and `lb` of its lineage: an act about visibility is
one update of all rows of the dossier with that `rt`. Of a Consent, `ty` is the hash of "consent:CATEGORY" and `au` those it names; of a
trace, `au` its agents (facts: companions).

A row without `y` is no document and meets no residual: `st` is always asked for positively. Clocks are asked for as "released by now",
so that a row that lacks one stays hidden.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import is_
from typing import Any

from fhir_dmp.dmp.documents import STATUSES, Facts
from fhir_dmp.dmp.paris import months_later_ms
from fhir_dmp.dmp.visibility import VISIBILITY
from fhir_dmp.fhir.instants import MAX_MS, MINUTE

Hash64 = Callable[[bytes], int]
SECRET_SESSION = "SECRET_SESSION"
OF_MINOR = "OF_MINOR"
LABEL_BITS = {label: 1 << position for position, label in enumerate((*VISIBILITY, SECRET_SESSION, OF_MINOR))}
# Where a row keeps when a label was taken away.
LIFTED = {label: f"s{LABEL_BITS[label]}" for label in VISIBILITY}
# Where a row keeps the span of all its dates, where that is more than its period.
DATES = ("da", "db")
# On the seal of a former version: its two spans are those of two versions.
SPAN = "sp"
# Where a trace keeps whom nothing but what he wrote himself let in.
LET_IN = "oa"


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
    """The act's period, or the span of all its dates, meets [lo_ms, hi_ms)."""

    lo_ms: int
    hi_ms: int


@dataclass(frozen=True, slots=True)
class DatedLately:
    """The act's period ends after since_ms, so many months before the minute in which it is asked: see `lately`."""

    since_ms: int
    months: int


@dataclass(frozen=True, slots=True)
class Not:
    part: "Predicate"


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Predicate", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Predicate", ...] = ()


Predicate = Labelled | AuthoredBy | DepositedBy | TypeIn | StatusIn | ReleasedBy | LineageIn | DatedWithin | DatedLately | Not | All | AnyOf

ALWAYS = All()
NEVER = AnyOf()


def lately(now_ms: int, months: int) -> DatedLately:
    """Dated within so many months. To the minute, so that it is computed once for many requests."""
    return DatedLately(months_later_ms(now_ms - now_ms % MINUTE, -months), months)


def tick(predicate: Predicate) -> int:
    """How long a predicate stays the same while the clock runs, ms: 1, a minute, or 0 for ever."""
    kind = type(predicate)
    if kind is ReleasedBy:
        return 1
    if kind is DatedLately:
        return MINUTE
    if kind is Not:
        return tick(predicate.part)
    if kind is All or kind is AnyOf:
        return min(filter(None, map(tick, predicate.parts)), default=0)
    return 0


def moved(predicate: Predicate, now_ms: int) -> Predicate:
    """The same asked at another moment: the month of INVISIBLE_PATIENT over by then, what is dated lately. Itself where no clock is in it.

    >>> moved(All((Labelled("INVISIBLE_PATIENT"), Not(ReleasedBy(1)))), 2)
    All(parts=(Labelled(label='INVISIBLE_PATIENT'), Not(part=ReleasedBy(now_ms=2))))
    """
    kind = type(predicate)
    if kind is ReleasedBy:
        return predicate if predicate.now_ms == now_ms else ReleasedBy(now_ms)
    if kind is DatedLately:
        return lately(now_ms, predicate.months)
    if kind is Not:
        part = moved(predicate.part, now_ms)
        return predicate if part is predicate.part else Not(part)
    if kind is All or kind is AnyOf:
        parts = tuple([moved(part, now_ms) for part in predicate.parts])
        return predicate if all(map(is_, parts, predicate.parts)) else kind(parts)
    return predicate


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


def _all(predicate: All, facts: Facts) -> bool:
    for part in predicate.parts:  # noqa: SIM110  (without a generator, in half the time)
        if not HOLDS[type(part)](part, facts):
            return False
    return True


def _any(predicate: AnyOf, facts: Facts) -> bool:
    for part in predicate.parts:  # noqa: SIM110
        if HOLDS[type(part)](part, facts):
            return True
    return False


def _meets(within: DatedWithin, dates: tuple[int, int] | None) -> bool:
    return dates is not None and dates[0] < within.hi_ms and dates[1] > within.lo_ms


HOLDS: dict[type, Callable[[Any, Facts], bool]] = {
    Labelled: lambda p, facts: p.label in facts.labels,
    AuthoredBy: lambda p, facts: not facts.authors.isdisjoint(facts.of("author", p.names)),
    DepositedBy: lambda p, facts: bool(facts.organization) and facts.organization in facts.of("organization", frozenset((p.organization,))),
    TypeIn: lambda p, facts: facts.type in facts.of("type", p.types),
    StatusIn: lambda p, facts: facts.status in p.statuses,
    ReleasedBy: lambda p, facts: facts.release_ms <= p.now_ms,
    LineageIn: lambda p, facts: facts.root in facts.of("root", p.roots),
    DatedWithin: lambda p, facts: _meets(p, facts.period) or _meets(p, facts.dates),
    DatedLately: lambda p, facts: facts.period[0] < MAX_MS and facts.period[1] > p.since_ms,
    Not: lambda p, facts: not HOLDS[type(p.part)](p.part, facts),
    All: _all,
    AnyOf: _any,
}


_ANSWERS = 1_000


class Judge:
    """`matches` over rows, evaluated once for rows that are alike in what it asks of them.

    What is asked next depends on the answers before alone, so that answers are kept as a tree: (field, value -> what comes next), at its
    ends whether the row matches.
    """

    __slots__ = ("_hash64", "_known", "_predicate", "_tree")

    def __init__(self, predicate: Predicate, hash64: Hash64) -> None:
        self._predicate, self._hash64 = predicate, hash64
        self._tree: tuple[str, dict] | bool | None = None
        self._known = 0

    def meets(self, row: Mapping[str, Any]) -> bool:
        """row: the sub-document `y` of a row."""
        place = self._tree
        while type(place) is tuple:
            value = row.get(place[0])
            place = place[1].get(tuple(value) if type(value) is list else value)
        return self._learn(row) if place is None else place

    def _learn(self, row: Mapping[str, Any]) -> bool:
        asked = _Asked(row)
        answer = matches(self._predicate, facts_of(asked, self._hash64))
        if self._known >= _ANSWERS:
            self._tree, self._known = None, 0
        self._known += 1
        if not asked.values:
            self._tree = answer
        below = None
        for field, value in asked.values.items():
            place = self._tree if below is None else below[0].get(below[1])
            if place is None:
                place = field, {}
                if below is None:
                    self._tree = place
                else:
                    below[0][below[1]] = place
            below = place[1], tuple(value) if type(value) is list else value
        if below is not None:
            below[0][below[1]] = answer
        return answer


class _Asked:
    """A row that notes what is asked of it, in order."""

    __slots__ = ("_row", "values")

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row, self.values = row, {}

    def get(self, field: str, default: Any) -> Any:
        self.values[field] = self._row.get(field)
        return self._row.get(field, default)


@lru_cache(maxsize=256)
def judge(predicate: Predicate, hash64: Hash64) -> Callable[[Mapping[str, Any]], bool]:
    """The judge of a predicate: an equal one is the same."""
    return Judge(predicate, hash64).meets


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
            return {"$or": [{f"y.{a}": {"$lt": hi_ms}, f"y.{b}": {"$gt": lo_ms}} for a, b in (("pa", "pb"), ("da", "db"))]}
        case DatedLately(since_ms):
            return {"y.pa": {"$lt": MAX_MS}, "y.pb": {"$gt": since_ms}}
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
    dates = dict(zip(DATES, facts.dates, strict=True)) if facts.dates is not None else {}
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
        **dates,
    }


def facts_of(row: Mapping[str, Any], hash64: Hash64) -> Facts:
    """Facts from the sub-document `y` of a row; a missing field hides. hash64: the one the row was written with."""
    return Kept(row, hash64)


class Kept(Facts):
    """Facts as a row keeps them, each read where a rule asks for it: most rules ask for one or two."""

    __slots__ = ("_hash64", "_row")
    __hash__ = None

    def __init__(self, row: Mapping[str, Any], hash64: Hash64) -> None:
        put = object.__setattr__
        put(self, "_row", row)
        put(self, "_hash64", hash64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and _values(self) == _values(other)

    def __repr__(self) -> str:
        return f"Kept({dict(self._row)})"

    @property
    def type(self) -> int:
        return self._row.get("ty", 0)

    @property
    def authors(self) -> frozenset[int]:
        return frozenset(self._row.get("au", ()))

    @property
    def organization(self) -> int:
        return self._row.get("og", 0)

    @property
    def labels(self) -> frozenset[str]:
        return _labels(self._row.get("lb", ~0))

    @property
    def first_deposit_ms(self) -> int:
        return self._row.get("fd", _UNKNOWN.first_deposit_ms)

    @property
    def release_ms(self) -> int:
        return self._row.get("rl", _UNKNOWN.release_ms)

    @property
    def status(self) -> str:
        return STATUSES[self._row.get("st", 2)]

    @property
    def root(self) -> int:
        return self._row.get("rt", 0)

    @property
    def period(self) -> tuple[int, int]:
        row = self._row
        return row.get("pa", _UNKNOWN.period[0]), row.get("pb", _UNKNOWN.period[1])

    @property
    def dates(self) -> tuple[int, int] | None:
        lo, hi = (self._row.get(name, None) for name in DATES)
        return None if lo is None or hi is None else (lo, hi)

    def of(self, kind: str, values: frozenset[str]) -> frozenset[int]:
        return _hashes(kind, values, self._hash64)


def _values(facts: Facts) -> tuple:
    return tuple(getattr(facts, each.name) for each in fields(Facts) if each.compare)


_UNKNOWN = Facts()


@lru_cache(maxsize=64)
def _labels(bits: int) -> frozenset[str]:
    return frozenset(label for label, bit in LABEL_BITS.items() if bits & bit)


@lru_cache(maxsize=4096)
def _hashes(kind: str, values: frozenset[str], hash64: Hash64) -> frozenset[int]:
    """Kept, because the matrix asks for the same hundred types in every request."""
    return frozenset(hashed(kind, value, hash64) for value in values)
