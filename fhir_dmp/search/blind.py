"""Index values as keyed hashes and intervals: what a stored row shows to a query, and to nobody else.

https://hl7.org/fhir/R4/search.html

Kinds of token: present, holds (a contained resource), token, type (identifier by type), ref, refv (with version), refid, url, urlv,
prefix, exact, day (calendar), uri, under (uri by what stands above it), pair (composite of two tokens), month (a code and the month of
the resource's date, in the code index alone).
Intervals: n, by unit and, in a composite, by its token.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from itertools import chain
from typing import NamedTuple

from fhir_dmp.fhir import tables
from fhir_dmp.search.extract import held
from fhir_dmp.search.parameters import Parameter, parameters
from fhir_dmp.search.predicate import Hash64
from fhir_dmp.search.spelling import (
    PREFIXES,
    address_key,
    calendar_keys,
    code_key,
    key,
    months,
    path_prefixes,
    signed,
    spellings_of,
    token_spellings,
    unit_spellings,
)
from fhir_dmp.search.values import Composite, DateRange, Index, Number, Quantity, Reference, String, Token, Uri, Value

# Texts up to this length are remembered with their token.
LONGEST_KEPT = 128
# Held by the row itself: its key and its time.
OWN_FIELDS = frozenset({"_id", "_lastUpdated"})
# The date that codes are indexed with, and of how many months at most.
DATE, MONTHS, ANY_MONTH = "date", 2, ""
# Parameters of contained resources that get tokens; the others are narrowed by the reference alone.
HOLDING = held("")
CONTAINED = frozenset({"identifier", "name", "family", "given", "practitioner", "organization"})


class Entries(NamedTuple):
    """What a row shows. x: every token. g: selective ones, indexed across dossiers. c: code tokens, indexed across dossiers.

    n: (p, a, b): dates as half-open [a, b) in ms, numbers and quantities as closed [a, b] Decimals; p the hash of what is measured.
    """

    x: tuple[int, ...]
    g: tuple[int, ...]
    c: tuple[int, ...]
    n: tuple[tuple[int, int | Decimal, int | Decimal], ...]


@cache
def locating(type_name: str) -> frozenset[str]:
    """Parameters whose reference to a Patient places a resource of this type in that patient's dossier.

    A Patient is in its own dossier, whatever other Patients it is linked to.
    """
    if type_name == "Patient":
        return frozenset()
    known = parameters(type_name)
    placing = {
        _members(branch.steps)
        for code in tables.compartment("Patient").get(type_name, ())
        if code in known
        for branch in known[code].branches
    }
    return frozenset(
        code
        for code, p in known.items()
        if p.type == "reference" and p.branches and all(_members(branch.steps) in placing for branch in p.branches)
    )


def _members(steps: tuple) -> tuple[str, ...]:
    return tuple(step.name for step in steps if step.kind == "member")


def self_hash(type_name: str, id_: str, hash64: Hash64) -> int:
    """Hash of the address of a resource, by which references find it: `s` of its row."""
    return hash64(address_key(type_name, id_))


def holder(code: str) -> tuple[str, str, str]:
    """Token of rows whose reference leads to a contained resource of some type: the way to what is found beneath it.

    >>> holder("author>Practitioner.family")
    ('author', 'holds', 'Practitioner')
    """
    outer, _, inner = code.partition(">")
    return outer, "holds", inner.partition(".")[0]


def identifies(code: str) -> bool:
    """Whether it is the identifier of what a resource holds: selective, in whatever container it is."""
    return code.startswith(HOLDING) and code.endswith(".identifier")


def is_indexed(code: str) -> bool:
    """Whether a code gets tokens: those of the resource itself, and a few of what it contains."""
    if ">" in code:
        return "." in code and (code.startswith(HOLDING) or code.rpartition(".")[2] in CONTAINED)
    return code not in OWN_FIELDS and code not in ("_text", "_content")


class Tokens(NamedTuple):
    """What some values of a resource give. As Entries; coded: (parameter, spelling) of the code tokens, to be joined with months."""

    x: tuple[int, ...]
    g: tuple[int, ...]
    c: tuple[int, ...]
    n: tuple[tuple[int, int | Decimal, int | Decimal], ...]
    coded: tuple[tuple[str, str | bytes], ...]


def entries(type_name: str, index: Index, hash64: Hash64, patient: str | None = None) -> Entries:
    """What a row shows of an index. patient: `Patient/id` of its dossier, None outside dossiers.

    Dates that birth and death are told by become calendar tokens; `_id` and `_lastUpdated` are fields of the row.
    """
    return joined(type_name, (tokens(type_name, index, hash64, patient),), index.get(DATE, ()), hash64)


def tokens(type_name: str, index: Index, hash64: Hash64, patient: str | None = None) -> Tokens:
    """The part of the entries of a row that some of its values give by themselves."""
    x: dict[int, None] = {}
    g: dict[int, None] = {}
    c: dict[int, None] = {}
    n: dict[tuple, None] = {}
    coded: dict[tuple[str, str | bytes], None] = {}
    known: Mapping[str, Parameter] = parameters(type_name)
    for code, values in index.items():
        owner, held, indexed, selects = _way(type_name, code)
        if held:
            holds = common_token(owner, *holder(code), hash64)
            x[holds] = g[holds] = None
        if not indexed:
            continue
        parameter = known.get(code)
        if not held:
            x[common_token(type_name, code, "present", "", hash64)] = None
        if parameter is not None and parameter.rooted:
            continue  # asked as the conjunction of its parts
        for value in values:
            for kind, text, weight in tokens_of(code, value, parameter, hash64):
                hashed = hash64(_before(owner, code, kind) + (text.encode() if type(text) is str else text))
                x[hashed] = None
                if weight and selects:
                    g[hashed] = None
                if parameter is None or not weight:
                    continue
                if parameter.selective and not (patient and _is_patient(value, patient) and code in locating(type_name)):
                    g[hashed] = None
                if parameter.coded:
                    c[hashed] = None
                    coded[code, text] = None
            for what, a, b in intervals_of(code, value, parameter):
                n[(common_token(type_name, code, "n", what, hash64), a, b)] = None
    return Tokens(tuple(x), tuple(g), tuple(c), tuple(n), tuple(coded))


@cache
def _before(owner: str, code: str, kind: str) -> bytes:
    """What stands in a key before the text, the same for all values of a parameter."""
    return key(owner, code, kind, b"")


@cache
def _way(type_name: str, code: str) -> tuple[str, bool, bool, bool]:
    """Of a parameter: whose it is, whether it is of something contained, whether it gets tokens, whether it identifies what is held."""
    return "Resource" if code.startswith(HOLDING) else type_name, ">" in code, is_indexed(code), identifies(code)


def joined(type_name: str, parts: Sequence[Tokens], dates: Iterable[Value], hash64: Hash64) -> Entries:
    """The entries of a row from those of its parts. dates: values of its parameter `date`."""
    x, g, c, n, coded = (dict.fromkeys(chain.from_iterable(those)) for those in zip(*parts, strict=True)) if parts else ({},) * 5
    if coded:
        for month in dated_in(type_name, dates):
            c |= {common_token(type_name, code, "month", f"{spelling}\0{month}", hash64): None for code, spelling in coded}
    return Entries(tuple(x), tuple(g), tuple(c), tuple(n))


def common_token(type_name: str, code: str, kind: str, text: str, hash64: Hash64) -> int:
    """A token that many resources have: that there is a value, what is measured, a code in a month."""
    return (_common if len(text) <= LONGEST_KEPT else _common.__wrapped__)(type_name, code, kind, text, hash64)


@lru_cache(maxsize=16_384)
def _common(type_name: str, code: str, kind: str, text: str, hash64: Hash64) -> int:
    return hash64(key(type_name, code, kind, text))


def is_dated(type_name: str) -> bool:
    """Whether codes of a type are indexed with the month of its `date` too. Not of traces: one looks for them by dossier, agent or time."""
    parameter = parameters(type_name).get(DATE)
    return parameter is not None and parameter.type == "date" and not parameter.calendar and type_name != "AuditEvent"


def dated_in(type_name: str, values: Iterable[Value]) -> tuple[str, ...]:
    """The months of a resource by the values of its `date`; ANY_MONTH when that is wider or it has several; () without a date."""
    dates = {value for value in values if isinstance(value, DateRange)}
    if not dates or not is_dated(type_name):
        return ()
    found = months(min(value.lo_ms for value in dates), max(value.hi_ms for value in dates), MONTHS) if len(dates) == 1 else ()
    return found or (ANY_MONTH,)


def _is_patient(value: Value, patient: str) -> bool:
    return isinstance(value, Reference) and f"{value.type}/{value.id}" == patient


def tokens_of(code: str, value: Value, parameter: Parameter | None, hash64: Hash64) -> Iterator[tuple[str, str | bytes, bool]]:
    """(kind, text, whether it tells one resource from another) for each token of a value."""
    match value:
        case Token():
            for spelling in spellings_of(code, value):
                yield "token", spelling, not spelling.endswith("|") and not spelling.startswith("|")
            for system, kind in value.types:
                if value.code:
                    yield "type", of_type_spelling(system, kind, value.code), False
        case Reference():
            yield from _reference_tokens(code, value, hash64)
        case String():
            for length in PREFIXES:
                if length <= len(value.folded):
                    yield "prefix", value.folded[:length], length >= 3
            yield "exact", value.raw, True
        case DateRange() if parameter is not None and parameter.calendar:
            for day in calendar_keys(value):
                yield "day", day, False
        case Uri():
            yield "uri", value.value, True
            for above in path_prefixes(value.value):
                yield "under", above, False
        case Composite():
            yield from _pairs(code, value, hash64)


def of_type_spelling(system: str | None, code: str, value: str) -> str:
    """How an identifier by its type is spelled."""
    return f"{system or ''}|{code}|{value.casefold()}"


def _reference_tokens(code: str, value: Reference, hash64: Hash64) -> Iterator[tuple[str, str | bytes, bool]]:
    if value.id is not None and value.type is not None:
        yield "ref", signed(_address(value.type, value.id, hash64)), True
        if value.version:
            yield "refv", f"{value.type}/{value.id}/_history/{value.version}", False
    if value.url is not None:
        yield "url", value.url, True
        if value.version:
            yield "urlv", f"{value.url}|{value.version}", False
    if value.identifier is not None:
        for spelling in spellings_of(code, value.identifier):
            yield "refid", spelling, not spelling.endswith("|") and not spelling.startswith("|")


@lru_cache(maxsize=4096)
def _address(type_name: str, id: str, hash64: Hash64) -> int:
    """Hash of an address, which most resources of a dossier have in common."""
    return hash64(address_key(type_name, id))


def _pairs(code: str, value: Composite, hash64: Hash64) -> Iterator[tuple[str, str | bytes, bool]]:
    if len(value.parts) != 2:
        return
    for left in value.parts[0]:
        for right in value.parts[1]:
            if isinstance(left, Token) and isinstance(right, Token):
                for a in spellings_of(code, left):
                    for b in spellings_of(code, right):
                        yield "pair", f"{a}\0{b}", False
            elif isinstance(left, Token) and isinstance(right, Reference) and right.id is not None and right.type is not None:
                for a in spellings_of(code, left):
                    yield "pair", a.encode() + b"\0" + signed(hash64(address_key(right.type, right.id))), False


def intervals_of(code: str, value: Value, parameter: Parameter | None) -> Iterator[tuple[str, int | Decimal, int | Decimal]]:
    """(what is measured, a, b) for each interval of a value. what: "" or the unit, under a composite after its token."""
    match value:
        case DateRange() if parameter is None or not parameter.calendar:
            yield "", value.lo_ms, value.hi_ms
        case Number():
            yield "", value.lo, value.hi
        case Quantity():
            for unit in unit_spellings(value):
                yield unit, value.lo, value.hi
            if value.canonical:
                lo, hi, unit = value.canonical
                yield f"={unit}", lo, hi
        case Composite() if len(value.parts) == 2:
            for left in value.parts[0]:
                if isinstance(left, Token) and left.code is not None:
                    for spelling in token_spellings(left.system, code_key(code, left.code))[:2]:  # `system|` has no interval of its own
                        for right in value.parts[1]:
                            for what, a, b in intervals_of(code, right, None):
                                yield f"{spelling}\0{what}", a, b
