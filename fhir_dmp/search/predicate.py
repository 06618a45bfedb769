"""One predicate for what a search asks; `matches` decides it over an index, `narrow.to_mongo` over stored rows.

https://hl7.org/fhir/R4/search.html

A parameter matches when one of its values passes the test. Combinations: All, AnyOf, Not, Present.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import singledispatch

from fhir_dmp.search.near import Near
from fhir_dmp.search.spelling import address_key, fold_words, is_below, path_prefixes, plainly
from fhir_dmp.search.values import Composite, DateRange, Index, Number, Quantity, Reference, String, Token, Uri, Value

Hash64 = Callable[[bytes], int]


# ---- tests of one value


@dataclass(frozen=True, slots=True)
class TokenIs:
    """system: None any, "" none, else that one. code: None any; without case unless cased (then folded already when not)."""

    system: str | None
    code: str | None
    cased: bool = False


@dataclass(frozen=True, slots=True)
class IdIn:
    """_id: one of these."""

    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class TokenText:
    """words: folded, found where a word begins."""

    words: str


@dataclass(frozen=True, slots=True)
class TokenOfType:
    """An identifier by its type and value."""

    system: str
    code: str
    value: str


@dataclass(frozen=True, slots=True)
class TokenIn:
    """codes: (system or None for any, code without case) of a value set or of a code and its descendants."""

    codes: frozenset[tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class StringStarts:
    folded: str


@dataclass(frozen=True, slots=True)
class StringExact:
    raw: str


@dataclass(frozen=True, slots=True)
class StringContains:
    """literal: occurs as it is written, without case and accents; "" when the folded text says enough."""

    folded: str
    literal: str = ""


@dataclass(frozen=True, slots=True)
class StringEnds:
    folded: str


@dataclass(frozen=True, slots=True)
class StringEquals:
    """The whole text, without case and accents (`eq` of _filter)."""

    folded: str


@dataclass(frozen=True, slots=True)
class WordsAre:
    """_text and _content: one of the alternatives has all its phrases, each folded."""

    alternatives: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class ReferenceIs:
    """A local resource; version None: whatever version is named."""

    type: str
    id: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReferenceUrl:
    """An absolute, urn or canonical reference."""

    url: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReferenceToDefinition:
    """A canonical reference that means this definition: by its url, without a version or with its own."""

    url: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ReferenceTo:
    """Any of these local resources. addresses: their hashes, as rows hold them in `s`.

    dossiers: where all of them are Patients, the dossiers of those.
    """

    addresses: frozenset[int]
    dossiers: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class ReferenceIdentifier:
    token: TokenIs


@dataclass(frozen=True, slots=True)
class UriIs:
    value: str


@dataclass(frozen=True, slots=True)
class UriBelow:
    value: str


@dataclass(frozen=True, slots=True)
class UriAbove:
    value: str


@dataclass(frozen=True, slots=True)
class DateIs:
    """prefix over the half-open range asked for, in ms; of `ap`, widened already."""

    prefix: str
    lo_ms: int
    hi_ms: int


@dataclass(frozen=True, slots=True)
class NumberIs:
    """value: as written. [lo, hi): what its precision means; of `ap` the closed range allowed."""

    prefix: str
    value: Decimal
    lo: Decimal
    hi: Decimal


@dataclass(frozen=True, slots=True)
class QuantityIs:
    """number: in the unit asked for, or in canonical units. unit: one of unit_spellings, or "=" and a canonical unit."""

    number: NumberIs
    unit: str


@dataclass(frozen=True, slots=True)
class CompositeIs:
    """One test for each part, all met beneath one element."""

    tests: tuple


@dataclass(frozen=True, slots=True)
class Other:
    """A value that passes none of these tests (`ne` of _filter)."""

    tests: tuple["Test", ...]


@dataclass(frozen=True, slots=True)
class PartsMeet:
    """A composite whose parts, taken as parameters of these codes, meet a predicate (brackets of _filter)."""

    codes: tuple[str, ...]
    part: "Predicate"


Test = (
    TokenIs | IdIn | TokenText | TokenOfType | TokenIn | StringStarts | StringExact | StringContains | StringEnds | StringEquals
    | WordsAre | ReferenceIs | ReferenceUrl | ReferenceToDefinition | ReferenceTo | ReferenceIdentifier
    | UriIs | UriBelow | UriAbove | DateIs | NumberIs
    | QuantityIs | CompositeIs | PartsMeet | Near | Other
)  # fmt: skip


# ---- predicates over an index


@dataclass(frozen=True, slots=True)
class Has:
    """Some value of the parameter passes the test."""

    code: str
    test: Test


@dataclass(frozen=True, slots=True)
class Present:
    """The parameter has a value."""

    code: str


@dataclass(frozen=True, slots=True)
class Not:
    part: "Predicate"


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Predicate", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Predicate", ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference leads to a resource of one of the types that meets that type's predicate; to be resolved by the store."""

    code: str
    targets: tuple[tuple[str, "Predicate"], ...]


@dataclass(frozen=True, slots=True)
class ReverseChain:
    """Some resource of the type meets the predicate and refers here by that parameter; to be resolved by the store."""

    type: str
    code: str
    part: "Predicate"


@dataclass(frozen=True, slots=True)
class Listed:
    """Named by the List of this id; to be resolved by the store."""

    list_id: str


@dataclass(frozen=True, slots=True)
class CurrentlyListed:
    """Named by the newest current List of its patient that has one of these codes; to be resolved by the store."""

    codes: frozenset[tuple[str | None, str]]


Predicate = Has | Present | Not | All | AnyOf | Chain | ReverseChain | Listed | CurrentlyListed

EVERYTHING = All()
NOTHING = AnyOf()


class Unresolved(TypeError):
    """A chain or list reached an evaluator without having been looked up."""


def matches(predicate: Predicate, index: Index, hash64: Hash64 | None = None) -> bool:
    """Whether an index meets a predicate. hash64: needed where the predicate holds ReferenceTo.

    >>> matches(Not(Has("gender", TokenIs(None, "male"))), {"gender": (Token(None, "female"),)})
    True
    """
    match predicate:
        case Has(code, test):
            values = index.get(code, ())
            if isinstance(test, ReferenceTo):
                return any(_points_to(value, test, hash64) for value in values)
            return any(holds(test, value) for value in values)
        case Present(code):
            return bool(index.get(code))
        case Not(part):
            return not matches(part, index, hash64)
        case All(parts):
            return all(matches(part, index, hash64) for part in parts)
        case AnyOf(parts):
            return any(matches(part, index, hash64) for part in parts)
    raise Unresolved(type(predicate).__name__)


def _points_to(value: Value, test: ReferenceTo, hash64: Hash64 | None) -> bool:
    if not isinstance(value, Reference) or value.type is None or value.id is None:
        return False
    if hash64 is None:
        raise Unresolved("ReferenceTo without a hash")
    return hash64(address_key(value.type, value.id)) in test.addresses


@singledispatch
def holds(test: Test, value: Value) -> bool:
    """Whether one value passes one test."""
    raise Unresolved(type(test).__name__)


@holds.register
def _(test: TokenIs, value: Value) -> bool:
    if not isinstance(value, Token):
        return False
    if test.code is not None:
        if value.code is None or (value.code if test.cased else value.code.casefold()) != test.code:
            return False
    elif test.system in (None, ""):
        return False
    if test.system is None:
        return True
    if test.system == "":
        return not value.system
    return value.system == test.system or (test.system in value.systems and value.code is not None)


@holds.register
def _(test: IdIn, value: Value) -> bool:
    return isinstance(value, Token) and value.code in test.ids


@holds.register
def _(test: TokenText, value: Value) -> bool:
    return isinstance(value, Token) and value.text is not None and f" {test.words}" in f" {fold_words(value.text)}"


@holds.register
def _(test: TokenOfType, value: Value) -> bool:
    return isinstance(value, Token) and (test.system, test.code) in value.types and (value.code or "").casefold() == test.value


@holds.register
def _(test: TokenIn, value: Value) -> bool:
    if not isinstance(value, Token) or value.code is None:
        return False
    code = value.code.casefold()
    return (None, code) in test.codes or any((system, code) in test.codes for system in (value.system, *value.systems) if system)


@holds.register
def _(test: StringStarts, value: Value) -> bool:
    return isinstance(value, String) and value.folded.startswith(test.folded)


@holds.register
def _(test: Other, value: Value) -> bool:
    if isinstance(value, Token) and value.code is None:
        return False  # a text alone is no code
    return not any(holds(each, value) for each in test.tests)


@holds.register
def _(test: Near, value: Value) -> bool:
    return test.holds(value)


@holds.register
def _(test: StringExact, value: Value) -> bool:
    return isinstance(value, String) and value.raw == test.raw


@holds.register
def _(test: StringContains, value: Value) -> bool:
    return isinstance(value, String) and test.folded in value.folded and (not test.literal or test.literal in plainly(value.raw))


@holds.register
def _(test: StringEnds, value: Value) -> bool:
    return isinstance(value, String) and value.folded.endswith(test.folded)


@holds.register
def _(test: StringEquals, value: Value) -> bool:
    return isinstance(value, String) and value.folded == test.folded


@holds.register
def _(test: WordsAre, value: Value) -> bool:
    return isinstance(value, String) and any(all(f" {phrase}" in value.folded for phrase in phrases) for phrases in test.alternatives)


@holds.register
def _(test: ReferenceIs, value: Value) -> bool:
    if not isinstance(value, Reference) or (value.type, value.id) != (test.type, test.id):
        return False
    return test.version is None or value.version == test.version


@holds.register
def _(test: ReferenceToDefinition, value: Value) -> bool:
    return isinstance(value, Reference) and value.url == test.url and value.version in (None, test.version)


@holds.register
def _(test: ReferenceUrl, value: Value) -> bool:
    if not isinstance(value, Reference) or value.url != test.url:
        return False
    return test.version is None or value.version == test.version


@holds.register
def _(test: ReferenceIdentifier, value: Value) -> bool:
    return isinstance(value, Reference) and value.identifier is not None and holds(test.token, value.identifier)


@holds.register
def _(test: UriIs, value: Value) -> bool:
    return uri_of(value) == test.value


@holds.register
def _(test: UriBelow, value: Value) -> bool:
    uri = uri_of(value)
    return uri is not None and is_below(uri, test.value)


@holds.register
def _(test: UriAbove, value: Value) -> bool:
    uri = uri_of(value)
    return uri is not None and (uri[:-1] if uri.endswith("/") else uri) in path_prefixes(test.value)


def uri_of(value: Value) -> str | None:
    """The address of a uri, or of a reference that is one."""
    if isinstance(value, Uri):
        return value.value
    return value.url if isinstance(value, Reference) else None


@holds.register
def _(test: DateIs, value: Value) -> bool:
    if not isinstance(value, DateRange):
        return False
    a, b, lo, hi = value.lo_ms, value.hi_ms, test.lo_ms, test.hi_ms
    match test.prefix:
        case "eq":
            return a >= lo and b <= hi
        case "ne":
            return a < lo or b > hi
        case "gt":
            return b > hi
        case "lt":
            return a < lo
        case "ge":
            return b > hi or a >= lo
        case "le":
            return a < lo or b <= hi
        case "sa":
            return a >= hi
        case "eb":
            return b <= lo
    return a < hi and b > lo


@holds.register
def _(test: NumberIs, value: Value) -> bool:
    return isinstance(value, Number) and _compares(test, value.lo, value.hi)


@holds.register
def _(test: QuantityIs, value: Value) -> bool:
    if not isinstance(value, Quantity):
        return False
    if test.unit.startswith("="):
        return value.canonical is not None and value.canonical[2] == test.unit[1:] and _compares(test.number, *value.canonical[:2])
    return unit_matches(test.unit, value) and _compares(test.number, value.lo, value.hi)


def unit_matches(unit: str, value: Quantity) -> bool:
    """Whether a quantity may be asked for by this unit: "" any, "|mg" code or words, "system|code"."""
    system, _, code = unit.partition("|") if "|" in unit else ("", "", "")
    if not unit:
        return True
    if not system:
        return code in (value.code, value.unit)
    system, _, code = unit.rpartition("|")
    return (value.system, value.code) == (system, code)


def _compares(test: NumberIs, a: Decimal, b: Decimal) -> bool:
    match test.prefix:
        case "eq":
            return a >= test.lo and b < test.hi
        case "ne":
            return a < test.lo or b >= test.hi
        case "gt":
            return b > test.value
        case "lt":
            return a < test.value
        case "ge":
            return b >= test.value
        case "le":
            return a <= test.value
        case "sa":
            return a > test.value
        case "eb":
            return b < test.value
    return b >= test.lo and a <= test.hi


@holds.register
def _(test: CompositeIs, value: Value) -> bool:
    return isinstance(value, Composite) and all(
        any(holds(part, found) for found in values) for part, values in zip(test.tests, value.parts, strict=True)
    )


@holds.register
def _(test: PartsMeet, value: Value) -> bool:
    return isinstance(value, Composite) and matches(test.part, dict(zip(test.codes, value.parts, strict=True)))


# ---- rewriting


def walk(predicate: Predicate) -> Iterator[Predicate]:
    """The predicate and every predicate inside it, chains included."""
    yield predicate
    match predicate:
        case Not(part) | ReverseChain(_, _, part):
            yield from walk(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from walk(part)
        case Chain(_, targets):
            for _, part in targets:
                yield from walk(part)


def under(predicate: Predicate, prefix: str) -> Predicate:
    """The same asked of a contained resource that is there. prefix: e.g. "author>Practitioner."; what it has no values for is never met."""
    match predicate:
        case Has(code, test):
            return NOTHING if code.startswith("_") else Has(prefix + code, test)
        case Present(code):
            return Present(prefix + code)
        case Not(part):
            return Not(under(part, prefix))
        case All(parts):
            return All(tuple(under(part, prefix) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(under(part, prefix) for part in parts))
        case Chain(code, targets):
            return Chain(prefix + code, targets)
    return NOTHING


def simplified(predicate: Predicate) -> Predicate:
    """Nested conjunctions and disjunctions flattened, single ones unwrapped."""
    match predicate:
        case Not(part):
            return Not(simplified(part))
        case All(parts) | AnyOf(parts):
            kind = type(predicate)
            flat: list[Predicate] = []
            for part in map(simplified, parts):
                flat += part.parts if isinstance(part, kind) else [part]
            return flat[0] if len(flat) == 1 else kind(tuple(flat))
        case Chain(code, targets):
            return Chain(code, tuple((target, simplified(part)) for target, part in targets))
        case ReverseChain(source, code, part):
            return ReverseChain(source, code, simplified(part))
    return predicate
