"""Predicates as MongoDB filters over stored rows: exact where the index can say it, otherwise a superset that `matches` decides.

https://hl7.org/fhir/R4/search.html

A filter holds only 64-bit hashes, intervals and times: no text of a request reaches the database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from fhir_dmp.fhir import tables
from fhir_dmp.fhir.instants import interval, to_instant
from fhir_dmp.search.blind import ANY_MONTH, DATE, holder, identifies, is_dated, is_indexed, locating, of_type_spelling
from fhir_dmp.search.parameters import Parameter, parameters
from fhir_dmp.search.predicate import (
    All,
    AnyOf,
    Chain,
    CompositeIs,
    DateIs,
    Has,
    Hash64,
    IdIn,
    Not,
    NumberIs,
    Predicate,
    Present,
    QuantityIs,
    ReferenceIdentifier,
    ReferenceIs,
    ReferenceTo,
    ReferenceToDefinition,
    ReferenceUrl,
    StringContains,
    StringEnds,
    StringEquals,
    StringExact,
    StringStarts,
    Test,
    TokenIn,
    TokenIs,
    TokenOfType,
    TokenText,
    Unresolved,
    UriAbove,
    UriBelow,
    UriIs,
    WordsAre,
)
from fhir_dmp.search.spelling import address_key, key, months, path_prefixes, prefix_key, signed

Locate = Callable[[str, str], bytes]  # (type, id) -> key of the row

# Type name under which a search over all types is narrowed.
EVERY_TYPE = "Resource"
COMMON = 0  # the number of what is outside dossiers

_IMPOSSIBLE = {"x": {"$in": []}}


class Anchor(NamedTuple):
    """Where a match is found by an index.

    kind: key (value: row key), dossier (value: its number), outside (value: token in `g` of a row outside dossiers),
    common (whatever is outside dossiers, where no such token is kept), selective (value: token in `g`), coded (value: token in `c`).
    """

    kind: str
    value: int | bytes


_WORTH = {"key": 0, "dossier": 1, "outside": 1, "common": 1, "selective": 1, "coded": 2}
_MAX_ANCHORS = 2_000
# MongoDB merges as many ranges of an index in the order of time; beyond it would sort.
_MAX_MONTHS = 100


@dataclass(frozen=True, slots=True)
class Narrow:
    """A filter over rows of one type.

    exact: whether it decides; if not, every match passes it and `matches` has the last word.
    anchors: every match is found by one of them; None when no index is known to lead to the matches.
    """

    filter: dict
    exact: bool = True
    anchors: tuple[Anchor, ...] | None = None


def to_mongo(predicate: Predicate, type_name: str, hash64: Hash64, locate: Locate | None = None) -> Narrow:
    """The filter of a predicate on rows of one type, or of EVERY_TYPE. Of chains not yet looked up it gives a superset.

    locate: (type, id) -> row key; without it ids are found by the hash of their address and dossiers are not known.

    >>> to_mongo(Has("gender", TokenIs(None, "male")), "Patient", lambda data: len(data)).filter
    {'x': 25}
    """
    return _Narrowing(type_name, hash64, locate).of(predicate)


class _Narrowing:
    def __init__(self, type_name: str, hash64: Hash64, locate: Locate | None) -> None:
        self.type_name, self.hash64, self.locate = type_name, hash64, locate
        self.parameters = parameters(type_name)

    def of(self, predicate: Predicate) -> Narrow:
        match predicate:
            case Has(code, test):
                if type(test) is TokenIs and self.is_common(code):
                    return _of_token(self.type_name, self.hash64, predicate)
                return self.has(code, test)
            case Present(code):
                return self.present(code)
            case Not(part):
                inner = self.of(part)
                return Narrow({"$nor": [inner.filter]} if inner.filter else _IMPOSSIBLE) if inner.exact else Narrow({}, False)
            case All(parts):
                found = _all([self.of(part) for part in parts])
                timed = self.timed(parts) if found.anchors and all(each.kind == "coded" for each in found.anchors) else None
                return replace(found, anchors=timed) if timed else found
            case AnyOf(parts):
                return _any([self.of(part) for part in parts])
            case Chain(code, _):
                return self.undecided(code)
        return Narrow({}, False)  # what refers here, or lists it, is not for the row to say

    def hash(self, code: str, kind: str, text: str | bytes) -> int:
        return self.hash64(key(self.type_name, code, kind, text))

    def present(self, code: str) -> Narrow:
        if code in ("_id", "_lastUpdated"):
            return Narrow({})
        if ">" in code:
            holds = self.hash(*holder(code))
            return Narrow({"x": holds}, "." not in code, (Anchor("selective", holds),))
        return Narrow({"x": self.hash(code, "present", "")})

    def undecided(self, code: str) -> Narrow:
        """Every match has a value for the parameter; more the index does not say."""
        return replace(self.present(code), exact=False)

    def tokens(self, code: str, kind: str, texts: list[str | bytes], *, exact: bool = True, weighty: bool = True) -> Narrow:
        """Rows holding one of these tokens."""
        hashes = tuple(dict.fromkeys(self.hash(code, kind, text) for text in texts))
        parameter = self.parameters.get(code)
        if ">" in code:
            tell = weighty and identifies(code) and len(hashes) <= _MAX_ANCHORS
            anchors = tuple(Anchor("selective", each) for each in (hashes if tell else (self.hash(*holder(code)),)))
            return Narrow({"x": hashes[0]} if len(hashes) == 1 else {"x": {"$in": list(hashes)}}, exact, anchors)
        kind = "" if parameter is None or not weighty else "selective" if parameter.selective else "coded" if parameter.coded else ""
        anchors = tuple(Anchor(kind, each) for each in hashes) if kind and len(hashes) <= _MAX_ANCHORS else None
        return Narrow({"x": hashes[0]} if len(hashes) == 1 else {"x": {"$in": list(hashes)}}, exact, anchors)

    def timed(self, parts: Sequence[Predicate]) -> tuple[Anchor, ...] | None:
        """Where codes are asked for between two dates: tokens of the codes in the months between, which far fewer rows hold."""
        if not is_dated(self.type_name):
            return None
        between = _between([part.test for part in parts if isinstance(part, Has) and part.code == DATE and isinstance(part.test, DateIs)])
        asked = min((found for part in parts if (found := self.codes(part))), key=len, default=())
        touched = months(*between, _MAX_MONTHS) if between else ()
        if not touched or len(asked) * (len(touched) + 1) > _MAX_MONTHS:
            return None
        texts = [(code, f"{spelling}\0{month}") for code, spelling in asked for month in (*touched, ANY_MONTH)]
        return tuple(Anchor("coded", self.hash(code, "month", text)) for code, text in texts)

    def codes(self, part: Predicate) -> tuple[tuple[str, str], ...]:
        """(parameter, spelling) of the codes one of which a match has, () when they are not known."""
        match part:
            case Has(code, TokenIs(system, str(text))) if system != "" and self.is_coded(code):
                return ((code, text if system is None else f"{system}|{text}"),)
            case Has(code, TokenIn(codes)) if self.is_coded(code):
                return tuple((code, text if system is None else f"{system}|{text}") for system, text in sorted(codes, key=str))
            case AnyOf(parts):
                found = [self.codes(each) for each in parts]
                return tuple(dict.fromkeys(each for those in found for each in those)) if all(found) else ()
        return ()

    def is_common(self, code: str) -> bool:
        """Whether the values of a token say little of anybody, and come again and again."""
        return code in self.parameters and not self.parameters[code].selective and code != "_id"

    def is_coded(self, code: str) -> bool:
        return code in self.parameters and self.parameters[code].coded

    def interval(self, code: str, what: str, condition: dict) -> Narrow:
        return Narrow({"n": {"$elemMatch": {"p": self.hash(code, "n", what), **condition}}})

    def has(self, code: str, test: Test) -> Narrow:
        if isinstance(test, WordsAre):
            return Narrow({}, False)
        if code == "_id":
            return self.identity(test)
        if code == "_lastUpdated" and isinstance(test, DateIs):
            return Narrow(_moment(test))
        if not is_indexed(code):
            return self.undecided(code)
        parameter = self.parameters.get(code)
        match test:
            case TokenIs():
                return self.token(code, "token", test)
            case TokenIn(codes):
                spelled = sorted(text if system is None else f"{system}|{text}" for system, text in codes)
                return self.tokens(code, "token", spelled) if spelled else Narrow(_IMPOSSIBLE)
            case TokenOfType(system, kind, value):
                return self.tokens(code, "type", [of_type_spelling(system, kind, value)], weighty=False)
            case ReferenceIs() | ReferenceTo() | ReferenceUrl() | ReferenceToDefinition() | ReferenceIdentifier():
                return self.reference(code, test)
            case StringStarts(folded):
                prefix, whole = prefix_key(folded)
                if not prefix:
                    return self.undecided(code)
                return self.tokens(code, "prefix", [prefix], exact=whole, weighty=len(prefix) >= 3)
            case StringEquals(folded):
                prefix, _ = prefix_key(folded)
                return self.tokens(code, "prefix", [prefix], exact=False, weighty=len(prefix) >= 3) if prefix else self.undecided(code)
            case StringExact(raw):
                return self.tokens(code, "exact", [raw])
            case StringContains() | StringEnds() | TokenText():
                return self.undecided(code)
            case UriIs(value) if parameter is not None and parameter.type == "uri":
                return self.tokens(code, "uri", [value])
            case UriBelow(value) if parameter is not None and parameter.type == "uri":
                return self.tokens(code, "under", [value.rstrip("/")], weighty=False)
            case UriAbove(value) if parameter is not None and parameter.type == "uri":
                return self.tokens(code, "uri", [text for above in path_prefixes(value) for text in (above, f"{above}/")])
            case DateIs() if parameter is not None and parameter.calendar:
                return self.calendar(code, test)
            case DateIs():
                return self.interval(code, "", _dates(test))
            case NumberIs():
                return self.interval(code, "", _numbers(test))
            case QuantityIs(number, unit):
                return self.interval(code, unit, _numbers(number))
            case CompositeIs(tests) if parameter is not None:
                return self.composite(code, parameter, tests)
        return self.undecided(code)

    def identity(self, test: Test) -> Narrow:
        match test:
            case TokenIs(None | "", str(id_)):
                ids = [id_]
            case IdIn(found):
                ids = sorted(found)
            case _:
                return Narrow({}, False)
        types = tables.RESOURCE_TYPES if self.type_name == EVERY_TYPE else (self.type_name,)
        if self.locate is None:
            return Narrow({"s": {"$in": [self.hash64(address_key(each, id_)) for each in types for id_ in ids]}})
        found = list(dict.fromkeys(self.locate(each, id_) for each in types for id_ in ids))
        if len(found) > _MAX_ANCHORS:
            return Narrow({"_id": {"$in": found}})
        if not found:
            return Narrow(_IMPOSSIBLE)
        return Narrow({"_id": found[0]} if len(found) == 1 else {"_id": {"$in": found}}, True, tuple(Anchor("key", key) for key in found))

    def token(self, code: str, kind: str, test: TokenIs) -> Narrow:
        if test.code is None:
            return self.tokens(code, kind, [f"{test.system}|"], weighty=False) if test.system else Narrow(_IMPOSSIBLE)
        if test.system == "":
            return self.tokens(code, kind, [f"|{test.code}"], weighty=False)
        return self.tokens(code, kind, [test.code if test.system is None else f"{test.system}|{test.code}"])

    def reference(self, code: str, test: Test) -> Narrow:
        match test:
            case ReferenceIs(type_name, id_, None):
                address = self.hash64(address_key(type_name, id_))
                if type_name == "Patient" and code in locating(self.type_name):
                    dossiers = frozenset([dossier_in(self.locate("Patient", id_))]) if self.locate else None
                    return self.patients(code, [address], dossiers)
                return self.tokens(code, "ref", [signed(address)])
            case ReferenceIs(type_name, id_, version):
                return self.tokens(code, "refv", [f"{type_name}/{id_}/_history/{version}"], weighty=False)
            case ReferenceTo(addresses, dossiers):
                if not addresses:
                    return Narrow(_IMPOSSIBLE)
                if dossiers is not None and code in locating(self.type_name):
                    return self.patients(code, sorted(addresses), dossiers)
                return self.tokens(code, "ref", [signed(address) for address in sorted(addresses)])
            case ReferenceUrl(url, None):
                return self.tokens(code, "url", [url])
            case ReferenceUrl(url, version):
                return self.tokens(code, "urlv", [f"{url}|{version}"], weighty=False)
            case ReferenceToDefinition(url, _):
                return self.tokens(code, "url", [url], exact=False)
            case ReferenceIdentifier(token):
                return self.token(code, "refid", token)
        raise Unresolved(type(test).__name__)

    def patients(self, code: str, addresses: list[int], dossiers: frozenset[int] | None) -> Narrow:
        """Rows that name these Patients by a parameter that places them: in their dossiers, whose own patient is no selective token;
        rows naming several patients are outside dossiers, found by such a token."""
        narrow = self.tokens(code, "ref", [signed(address) for address in addresses])
        if dossiers is None or len(addresses) > _MAX_ANCHORS or any(found == COMMON for found in dossiers):
            return Narrow(narrow.filter)
        anchors = [Anchor("dossier", dossier) for dossier in sorted(dossiers)]
        anchors += [Anchor("outside", anchor.value) for anchor in narrow.anchors or ()] or [Anchor("common", COMMON)]
        if len(anchors) > _MAX_ANCHORS:
            return Narrow(narrow.filter)
        return Narrow(narrow.filter, True, tuple(anchors))

    def calendar(self, code: str, test: DateIs) -> Narrow:
        if test.prefix != "eq":
            return self.undecided(code)
        try:
            text = to_instant(test.lo_ms)
        except ValueError:
            return self.undecided(code)
        for form in (text[:4], text[:7], text[:10]):
            if interval(form) == (test.lo_ms, test.hi_ms):
                return self.tokens(code, "day", [form])
        lo, hi = interval(text[:10])
        return self.tokens(code, "day", [text[:10]], exact=False) if lo <= test.lo_ms and test.hi_ms <= hi else self.undecided(code)

    def composite(self, code: str, parameter: Parameter, tests: tuple) -> Narrow:
        if parameter.rooted:
            return self.of(All(tuple(Has(part.code, test) for part, test in zip(parameter.components, tests, strict=True))))
        if len(tests) == 2 and isinstance(tests[0], TokenIs) and (left := _spelled(tests[0])):
            match tests[1]:
                case TokenIs() as right if _spelled(right):
                    return self.tokens(code, "pair", [f"{left}\0{_spelled(right)}"])
                case ReferenceIs(type_name, id_, None):
                    return self.tokens(code, "pair", [left.encode() + b"\0" + signed(self.hash64(address_key(type_name, id_)))])
                case DateIs() as date if not left.endswith("|"):
                    return self.interval(code, f"{left}\0", _dates(date))
                case NumberIs() as number if not left.endswith("|"):
                    return self.interval(code, f"{left}\0", _numbers(number))
                case QuantityIs(number, unit) if not left.endswith("|"):
                    return self.interval(code, f"{left}\0{unit}", _numbers(number))
        return self.undecided(code)


@lru_cache(1024)
def _of_token(type_name: str, hash64: Hash64, predicate: Has) -> Narrow:
    return _Narrowing(type_name, hash64, None).has(predicate.code, predicate.test)


def dossier_in(row_key: bytes) -> int:
    """The dossier a row key begins with."""
    return int.from_bytes(row_key[:8], "big", signed=True)


def _between(tests: list[DateIs]) -> tuple[int, int] | None:
    """A time that every single range overlaps which meets all the tests; None when it is open."""
    after, before = [], []
    for test in tests:
        if test.prefix in ("eq", "ap", "ge"):
            after.append(test.lo_ms)
        if test.prefix in ("eq", "ap", "le"):
            before.append(test.hi_ms)
        if test.prefix in ("gt", "sa"):
            after.append(test.hi_ms)
        if test.prefix in ("lt", "eb"):
            before.append(test.lo_ms)
    if not after or not before:
        return None
    start, end = max(after), min(before)
    return (start, end) if start < end else (end - 1, start + 1)


def _spelled(test: TokenIs) -> str:
    if test.code is None:
        return f"{test.system}|" if test.system else ""
    return test.code if test.system is None else f"{test.system}|{test.code}"


def _all(parts: list[Narrow]) -> Narrow:
    filters = [part.filter for part in parts if part.filter]
    joined = {} if not filters else filters[0] if len(filters) == 1 else {"$and": filters}
    return Narrow(
        joined,
        all(part.exact for part in parts),
        min((part.anchors for part in parts if part.anchors is not None), key=_cost, default=None),
    )


def _cost(anchors: tuple[Anchor, ...]) -> tuple[int, int]:
    return max((_WORTH[anchor.kind] for anchor in anchors), default=0), len(anchors)


def _any(parts: list[Narrow]) -> Narrow:
    if not parts:
        return Narrow(_IMPOSSIBLE)
    if len(parts) == 1:
        return parts[0]
    if any(not part.filter for part in parts):
        return Narrow({}, all(part.exact for part in parts))
    return Narrow(
        _merged([part.filter for part in parts]),
        all(part.exact for part in parts),
        _union([part.anchors for part in parts]),
    )


def _merged(filters: list[dict]) -> dict:
    """A disjunction; one `$in` where all ask for tokens of the same field."""
    for field in ("x", "s", "_id"):
        if all(list(each) == [field] for each in filters):
            values = [v for each in filters for v in (each[field]["$in"] if isinstance(each[field], dict) else [each[field]])]
            return {field: {"$in": list(dict.fromkeys(values))}}
    return {"$or": filters}


def _union(parts: list[tuple | None]) -> tuple | None:
    if any(part is None for part in parts):
        return None
    union = tuple(dict.fromkeys(anchor for part in parts for anchor in part))
    return union if len(union) <= _MAX_ANCHORS else None


def _moment(test: DateIs) -> dict:
    """The test over [l, l + 1)."""
    lo, hi = test.lo_ms, test.hi_ms
    match test.prefix:
        case "eq":
            return {"l": {"$gte": lo, "$lt": hi}}
        case "ne":
            return {"$or": [{"l": {"$lt": lo}}, {"l": {"$gte": hi}}]}
        case "gt" | "sa":
            return {"l": {"$gte": hi}}
        case "lt" | "eb":
            return {"l": {"$lt": lo}}
        case "ge":
            return {"l": {"$gte": min(lo, hi)}}
        case "le":
            return {"l": {"$lt": max(lo, hi)}}
    return {"l": {"$gte": lo, "$lt": hi}}


def _dates(test: DateIs) -> dict:
    lo, hi = test.lo_ms, test.hi_ms
    match test.prefix:
        case "eq":
            return {"a": {"$gte": lo}, "b": {"$lte": hi}}
        case "ne":
            return {"$or": [{"a": {"$lt": lo}}, {"b": {"$gt": hi}}]}
        case "gt":
            return {"b": {"$gt": hi}}
        case "lt":
            return {"a": {"$lt": lo}}
        case "ge":
            return {"$or": [{"b": {"$gt": hi}}, {"a": {"$gte": lo}}]}
        case "le":
            return {"$or": [{"a": {"$lt": lo}}, {"b": {"$lte": hi}}]}
        case "sa":
            return {"a": {"$gte": hi}}
        case "eb":
            return {"b": {"$lte": lo}}
    return {"a": {"$lt": hi}, "b": {"$gt": lo}}


def _numbers(test: NumberIs) -> dict:
    match test.prefix:
        case "eq":
            return {"a": {"$gte": test.lo}, "b": {"$lt": test.hi}}
        case "ne":
            return {"$or": [{"a": {"$lt": test.lo}}, {"b": {"$gte": test.hi}}]}
        case "gt":
            return {"b": {"$gt": test.value}}
        case "lt":
            return {"a": {"$lt": test.value}}
        case "ge":
            return {"b": {"$gte": test.value}}
        case "le":
            return {"a": {"$lte": test.value}}
        case "sa":
            return {"a": {"$gt": test.value}}
        case "eb":
            return {"b": {"$lt": test.value}}
    return {"a": {"$lte": test.hi}, "b": {"$gte": test.lo}}
