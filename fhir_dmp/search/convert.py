"""FHIR data types to search values, one function for each pair of search parameter type and data type.

https://hl7.org/fhir/R4/search.html#table (which data types each search type searches)
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.instants import interval
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.search import ucum
from fhir_dmp.search.expressions import Branch, contained, flat
from fhir_dmp.search.spelling import fold
from fhir_dmp.search.values import (
    BEGINNING_MS,
    DIGITS,
    END_MS,
    INFINITY,
    DateRange,
    Number,
    Position,
    Quantity,
    Reference,
    String,
    Token,
    Uri,
    Value,
    decimal_of,
)

_BOOLEANS = ("http://hl7.org/fhir/special-values", "http://terminology.hl7.org/CodeSystem/special-values")
CURRENCY = "urn:iso:std:iso:4217"


class Context(NamedTuple):
    """What one extraction shares. base_urls: addresses of this server. done: values already converted, by identity and converter."""

    base_urls: tuple[str, ...]
    done: dict[tuple[int, "Convert"], Iterable[Value]]


Convert = Callable[[object, dict, Context], Iterable[Value]]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _dicts(value: object) -> list[dict]:
    return [v for v in flat(value) if type(v) is dict] if value else []


# ---- token


def _coding(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is dict and (value.get("code") or value.get("display") or value.get("system")):
        return (Token(_text(value.get("system")), _text(value.get("code")), _text(value.get("display"))),)
    return ()


def _concept(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    found = [token for coding in _dicts(value.get("coding")) for token in _coding(coding, resource, context)]
    if text := _text(value.get("text")):
        found.append(Token(None, None, text))
    return found


def identifier_token(value: object) -> Token | None:
    """The token of an Identifier, None when it says nothing."""
    if type(value) is not dict:
        return None
    kind = value.get("type") if type(value.get("type")) is dict else {}
    types = tuple((_text(c.get("system")), c["code"]) for c in _dicts(kind.get("coding")) if _text(c.get("code")))
    system, code, text = _text(value.get("system")), _text(value.get("value")), _text(kind.get("text"))
    return Token(system, code, text, types) if system or code or text or types else None


def _identifier(value: object, resource: dict, context: Context) -> Iterable[Value]:
    token = identifier_token(value)
    return (token,) if token else ()


def _contact(value: object, resource: dict, context: Context) -> Iterable[Value]:
    code = _text(value.get("value")) if type(value) is dict else None
    return (Token(None, code, None, (), (value["system"],) if _text(value.get("system")) else ()),) if code else ()


def _plain_token(value: object, resource: dict, context: Context) -> Iterable[Value]:
    return (Token(None, value),) if _text(value) else ()


def _boolean(value: object, resource: dict, context: Context) -> Iterable[Value]:
    return (Token(None, "true" if value else "false", None, (), _BOOLEANS),) if isinstance(value, bool) else ()


def _code(binding: str) -> Convert:
    systems: dict[str, tuple[str, ...]] = {}
    for system, those in (tables.codes(binding) or {}).items() if binding else ():
        for code in those:
            systems[code] = (*systems.get(code, ()), system)

    def convert(value: object, resource: dict, context: Context) -> Iterable[Value]:
        return (Token(None, value, None, (), systems.get(value, ())),) if _text(value) else ()

    return convert


# ---- reference and uri


def _reference(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    logical = identifier_token(value.get("identifier"))
    type_name, text = _text(value.get("type")), _text(value.get("reference"))
    if text is None:
        return (Reference(type_name, identifier=logical),) if logical or value.get("display") or type_name else ()
    said = parse_reference(text, context.base_urls)
    match said.kind:
        case "local":
            return (Reference(said.type, said.id, said.version or None, identifier=logical),)
        case "fragment":
            inner = contained(resource, said.fragment)
            return (Reference(inner.get("resourceType") if inner else type_name, identifier=logical),)
        case "absolute":
            return (Reference(said.type or type_name, url=text, identifier=logical),)
    return (Reference(type_name, url=text, identifier=logical),)


def _canonical_reference(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if not _text(value):
        return ()
    url, _, version = value.partition("|")
    said = parse_reference(url, context.base_urls)
    if said.kind == "local":
        return (Reference(said.type, said.id, version or said.version or None),)
    return (Reference(url=url, version=version or None),)


def _attachment(value: object, resource: dict, context: Context) -> Iterable[Value]:
    return _canonical_reference(value.get("url"), resource, context) if type(value) is dict else ()


def _inline(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is dict and _text(value.get("resourceType")):
        return (Reference(value["resourceType"], _text(value.get("id"))),)
    return ()


def _uri(value: object, resource: dict, context: Context) -> Iterable[Value]:
    return (Uri(value),) if _text(value) else ()


def _canonical(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if not _text(value):
        return ()
    url, versioned, _ = value.partition("|")
    return (Uri(url), Uri(value)) if versioned else (Uri(value),)


# ---- string


def _strings(*texts: object) -> list[Value]:
    return [String(text, fold(text)) for text in texts if _text(text)]


def _string(value: object, resource: dict, context: Context) -> Iterable[Value]:
    return (String(value, fold(value)),) if _text(value) else ()


def _name(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    parts = [value.get("family"), *(flat(value.get("given") or [])), *(flat(value.get("prefix") or [])), *(flat(value.get("suffix") or []))]
    return _strings(*parts, value.get("text"))


def _address(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    parts = [value.get(name) for name in ("city", "district", "state", "country", "postalCode", "text")]
    return _strings(*(flat(value.get("line") or [])), *parts)


# ---- date


def _date(value: object, resource: dict, context: Context) -> Iterable[Value]:
    found = _interval(value)
    return (DateRange(*found),) if found else ()


def _interval(value: object) -> tuple[int, int] | None:
    if not _text(value):
        return None
    try:
        return interval(value)
    except FhirError:
        return None  # not a date: the schema's business, an index has nothing to say of it


def _period(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    start, end = _interval(value.get("start")), _interval(value.get("end"))
    if start is None and end is None:
        return ()
    return (DateRange(start[0] if start else BEGINNING_MS, max(end[1], start[1] if start else end[1]) if end else END_MS),)


def _timing(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    ranges = [found for text in flat(value.get("event") or []) if (found := _interval(text))]
    repeat = value.get("repeat")
    if type(repeat) is dict:
        ranges += [(found.lo_ms, found.hi_ms) for found in _period(repeat.get("boundsPeriod"), resource, context)]
    return (DateRange(min(lo for lo, _ in ranges), max(hi for _, hi in ranges)),) if ranges else ()


# ---- number and quantity


def _number(value: object, resource: dict, context: Context) -> Iterable[Value]:
    number = decimal_of(value)
    return () if number is None else (Number(number, number),)


def _bounds(low: object, high: object) -> tuple[Decimal, Decimal] | None:
    lo = decimal_of(low.get("value")) if type(low) is dict else None
    hi = decimal_of(high.get("value")) if type(high) is dict else None
    if lo is None and hi is None:
        return None
    return (-INFINITY if lo is None else lo), (INFINITY if hi is None else hi)


def _number_range(value: object, resource: dict, context: Context) -> Iterable[Value]:
    found = _bounds(value.get("low"), value.get("high")) if type(value) is dict else None
    return (Number(*found),) if found else ()


def quantity(lo: Decimal, hi: Decimal, unit: dict) -> Quantity:
    """A quantity with its canonical form. unit: anything with system, code and unit."""
    system, code = _text(unit.get("system")), _text(unit.get("code"))
    base = ucum.canonical(code) if system == ucum.SYSTEM and code else None
    canonical = (ucum.convert(lo, base), ucum.convert(hi, base), base.unit) if base else None
    return Quantity(lo, hi, system, code, _text(unit.get("unit")), canonical)


def _quantity(value: object, resource: dict, context: Context) -> Iterable[Value]:
    number = decimal_of(value.get("value")) if type(value) is dict else None
    if number is None:
        return ()
    match value.get("comparator"):
        case "<":
            lo, hi = -INFINITY, DIGITS.next_minus(number)
        case "<=":
            lo, hi = -INFINITY, number
        case ">":
            lo, hi = DIGITS.next_plus(number), INFINITY
        case ">=":
            lo, hi = number, INFINITY
        case _:
            lo = hi = number
    return (quantity(lo, hi, value),)


def _quantity_range(value: object, resource: dict, context: Context) -> Iterable[Value]:
    found = _bounds(value.get("low"), value.get("high")) if type(value) is dict else None
    if not found:
        return ()
    unit = value.get("low") if type(value.get("low")) is dict else value.get("high")
    return (quantity(*found, unit),)


def _money(value: object, resource: dict, context: Context) -> Iterable[Value]:
    number = decimal_of(value.get("value")) if type(value) is dict else None
    if number is None:
        return ()
    return (Quantity(number, number, CURRENCY, _text(value.get("currency")), None, None),)


def _sampled(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict or type(value.get("origin")) is not dict:
        return ()
    origin, factor = decimal_of(value["origin"].get("value")), decimal_of(value.get("factor", 1))
    points = [p for text in str(value.get("data") or "").split() if (p := decimal_of(text)) is not None]
    if origin is None or factor is None or not points:
        return ()
    ends = sorted(DIGITS.add(origin, DIGITS.multiply(point, factor)) for point in (min(points), max(points)))
    return (quantity(*ends, value["origin"]),)


# ---- special


def _position(value: object, resource: dict, context: Context) -> Iterable[Value]:
    if type(value) is not dict:
        return ()
    latitude, longitude = decimal_of(value.get("latitude")), decimal_of(value.get("longitude"))
    return () if latitude is None or longitude is None else (Position(latitude, longitude),)


_DATES = {name: _date for name in ("date", "dateTime", "instant")}
_QUANTITIES = {name: _quantity for name in ("Quantity", "SimpleQuantity", "Age", "Duration", "Count", "Distance", "MoneyQuantity")}
_INTEGERS = {name: _number for name in ("integer", "decimal", "positiveInt", "unsignedInt")}
_URIS = {name: _uri for name in ("uri", "url", "oid", "uuid")}

_TABLE: dict[str, dict[str, Convert]] = {
    "token": {
        "Coding": _coding,
        "CodeableConcept": _concept,
        "Identifier": _identifier,
        "ContactPoint": _contact,
        "boolean": _boolean,
        **{name: _plain_token for name in ("id", "string", "uri", "url", "canonical", "oid", "uuid", "markdown")},
    },
    "reference": {
        "Reference": _reference,
        "canonical": _canonical_reference,
        **{name: _canonical_reference for name in _URIS},
        "Attachment": _attachment,
        "Resource": _inline,
    },
    "uri": {**_URIS, "canonical": _canonical, "string": _uri},
    "string": {"string": _string, "markdown": _string, "HumanName": _name, "Address": _address, "code": _string, "uri": _string},
    "date": {**_DATES, "Period": _period, "Timing": _timing},
    "number": {**_INTEGERS, "Range": _number_range},
    "quantity": {**_QUANTITIES, "Range": _quantity_range, "Money": _money, "SampledData": _sampled},
    "special": {"BackboneElement": _position},
}


@cache
def converter(kind: str, branch: Branch) -> Convert | None:
    """How values at the end of a branch become search values; None where the parameter's type has nothing to say of the data type."""
    if branch.test == "exists-not-false":
        return _boolean
    if kind == "token" and branch.type == "code":
        return _code(branch.binding)
    return _TABLE.get(kind, {}).get(branch.type)
