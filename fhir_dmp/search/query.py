"""A search request, parsed: what is asked for, in which order, how much of it and with what beside it.

https://hl7.org/fhir/R4/search.html
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.references import is_id
from fhir_dmp.search.criteria import Asking, UnknownParameter, criterion, find, known, short
from fhir_dmp.search.filtering import filter_predicate
from fhir_dmp.search.limits import DEFAULTS, Limits
from fhir_dmp.search.parameters import TEXTS
from fhir_dmp.search.predicate import (
    NOTHING,
    All,
    AnyOf,
    CurrentlyListed,
    Has,
    Listed,
    Not,
    Predicate,
    Present,
    TokenIs,
    simplified,
    walk,
)
from fhir_dmp.search.terminology import Terminology

CURSOR = "_cursor"
Pairs = Sequence[tuple[str, str]]

# The format of the answer, of no concern here.
_PRESENTATION = frozenset({"_format", "_pretty"})
_SORTABLE = frozenset({"token", "reference", "string", "date", "number", "quantity", "uri"})
_LISTS = "http://terminology.hl7.org/CodeSystem/list-example-use-codes"
_LOINC = "http://loinc.org"
# Codes of the Lists that functional lists are read from.
CURRENT_LISTS = {
    "$current-problems": frozenset({(_LISTS, "problems"), (_LOINC, "11450-4")}),
    "$current-medications": frozenset({(_LISTS, "medications"), (_LOINC, "10160-0")}),
    "$current-allergies": frozenset({(_LISTS, "allergies"), (_LOINC, "48765-2")}),
}
_PLAIN = re.compile(r"[A-Za-z0-9_.\-]*", re.ASCII)
_ELEMENT = re.compile(r"(?:([A-Z][A-Za-z]*)\.)?([a-z][A-Za-z0-9]*)(?:\[x\])?")


@dataclass(frozen=True, slots=True)
class SortKey:
    code: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """type, code: the reference followed; code "*": every reference of the type, type "*": of every type. target: "" any.

    iterate: from included resources too.
    """

    type: str
    code: str
    target: str = ""
    iterate: bool = False


class Query(NamedTuple):
    """A search, understood.

    type: of the address, None for all. alternatives: (type, predicate), a resource matches by that of its type; type None: any type.
    sort: () is newest first. total: None when not asked. count: page size; 0 asks for the number only. summary: "" or a `_summary` code.
    contained: "", "true" (contained resources only) or "both". contained_type: what is answered of those.
    understood: the parameters as they were understood, in order. ignored: names a lenient search left out.
    """

    type: str | None
    alternatives: tuple[tuple[str | None, Predicate], ...]
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULTS.default_count
    total: str | None = None
    summary: str = ""
    elements: tuple[str, ...] = ()
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    contained: str = ""
    contained_type: str = "container"
    cursor: str | None = None
    understood: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def only_count(self) -> bool:
        return self.count == 0 or self.summary == "count"

    @property
    def counts(self) -> bool:
        """Whether the answer tells how many matches there are."""
        return self.total != "none" or self.summary == "count"

    @property
    def answers_contained(self) -> bool:
        """Whether contained resources are answered by themselves."""
        return bool(self.contained) and self.contained_type == "contained"

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of the parameters that shape the answer and say nothing of what is looked for."""
        return tuple(name for name, _ in self.understood if name.partition(":")[0] in _CONTROLS.keys() - {"_list", "_filter", "_type"})

    @property
    def by_time(self) -> bool:
        """Whether the order is one the store keeps: by time, either way."""
        return not self.sort or (len(self.sort) == 1 and self.sort[0].code == "_lastUpdated")

    @property
    def descending(self) -> bool:
        """Of an order by time: newest first."""
        return not self.sort or self.sort[0].descending

    @property
    def reads_texts(self) -> bool:
        """Whether deciding needs the words of the whole body."""
        return any(isinstance(p, Has) and p.code in TEXTS for _, whole in self.alternatives for p in walk(whole))

    def self_link(self) -> str:
        """Query part of the address that asks for the same, e.g. "name=martin&_count=10"."""
        return "&".join([f"{_quoted(name, ':._-')}={_quoted(value, ':._-,$/')}" for name, value in self.understood])

    def digest(self, scope: str = "") -> bytes:
        """16 bytes that name this search, whatever its page. scope: what else it depends on, e.g. a compartment."""
        said = "\0".join((self.type or "", scope, *(f"{name}={value}" for name, value in sorted(self.understood) if name != "_total")))
        return hashlib.blake2b(said.encode(), digest_size=16).digest()


def parse(
    type_name: str | None,
    pairs: Pairs,
    *,
    now_ms: int,
    limits: Limits = DEFAULTS,
    base_urls: Sequence[str] = (),
    terminology: Terminology | None = None,
    lenient: bool = False,
) -> Query:
    """Understand the parameters of a search on a type, or on all types. Every fault is found in one pass.

    lenient: parameters nobody knows are left out and told in `ignored`.

    >>> parse("Patient", [("birthdate", "ge1980"), ("_sort", "-family"), ("_count", "5")], now_ms=0).self_link()
    'birthdate=ge1980&_sort=-family&_count=5'
    """
    if len(pairs) > limits.parameters:
        raise FhirError("too-costly", f"a search takes at most {limits.parameters} parameters, this one has {len(pairs)}")
    asking = Asking(now_ms, limits, tuple(base_urls), terminology or Terminology())
    return _Reading(type_name, asking, lenient).read(pairs)


class _Reading:
    def __init__(self, type_name: str | None, asking: Asking, lenient: bool) -> None:
        self.type_name, self.asking, self.limits, self.lenient = type_name, asking, asking.limits, lenient
        self.types: tuple[str, ...] = ()
        self.parts: list[dict[str | None, Predicate]] = []
        self.fields: dict[str, object] = {}
        self.includes: list[Include] = []
        self.revincludes: list[Include] = []
        self.understood: list[tuple[str, str]] = []
        self.ignored: list[str] = []
        self.faults: list[Issue] = []
        self.kinds: list[str] = []

    def read(self, pairs: Pairs) -> Query:
        # The types come first: they say what the other parameters mean.
        for name, value in sorted(pairs, key=lambda pair: pair[0] != "_type"):
            if name in _PRESENTATION:
                continue
            try:
                self.take(name, value)
            except UnknownParameter as error:
                self.ignore(name, error)
            except FhirError as error:
                self.fault(error)
        if self.faults:
            kind = self.kinds[0] if len(set(self.kinds)) == 1 else "invalid"
            raise FhirError.many(kind, self.faults)
        if self.fields.get("elements") and self.fields.get("summary"):
            raise FhirError("invalid", "search parameters `_elements` and `_summary` exclude each other")
        order = {pair: at for at, pair in reversed(list(enumerate(pairs)))}
        self.understood.sort(key=lambda pair: order.get(pair, len(order)))
        return Query(
            self.type_name,
            tuple((each, simplified(All(tuple(part[each] for part in self.parts)))) for each in self.subjects()),
            includes=tuple(self.includes),
            revincludes=tuple(self.revincludes),
            understood=tuple(self.understood),
            ignored=tuple(dict.fromkeys(self.ignored)),
            **{"count": self.limits.default_count, **self.fields},
        )

    def subjects(self) -> tuple[str | None, ...]:
        return self.types or (self.type_name,)

    def fault(self, error: FhirError) -> None:
        self.faults += error.issues
        self.kinds.append(error.kind)

    def ignore(self, name: str, error: FhirError) -> None:
        if self.lenient:
            self.ignored.append(name)
        else:
            self.fault(error)

    def take(self, name: str, value: str) -> None:
        plain, _, modifier = name.partition(":")
        if value == "":
            raise FhirError("invalid", f"search parameter `{short(name)}` has no value")
        reader = _CONTROLS.get(plain)
        if reader is not None and plain not in ("_include", "_revinclude") and modifier:
            raise FhirError("invalid", f"search parameter `{short(name)}`: `{plain}` has no modifiers")
        if reader is not None:
            understood = reader(self, name, value)
        else:
            self.parts.append({each: criterion(each, name, value, self.asking) for each in self.subjects()})
            understood = value
        if understood is not None:
            self.understood.append((name, understood))

    # ---- what is not a criterion

    def once(self, field: str, name: str, value: object) -> None:
        if field in self.fields and self.fields[field] != value:
            raise FhirError("invalid", f"search parameter `{name}` is given twice")
        self.fields[field] = value

    def type_list(self, name: str, value: str) -> str:
        if self.type_name is not None:
            raise FhirError("invalid", "search parameter `_type` belongs to a search over all types")
        for each in value.split(","):
            if not tables.known_type(each):
                raise FhirError("invalid", f"search parameter `_type`: `{short(each)}` is not a resource type")
        self.types = tuple(dict.fromkeys((*self.types, *value.split(","))))
        return value

    def sort(self, name: str, value: str) -> str:
        keys = []
        for text in value.split(","):
            code = text.removeprefix("-")
            for each in self.subjects():
                parameter = find(each, code)
                if parameter.type not in _SORTABLE:
                    raise FhirError("invalid", f"search parameter `_sort`: `{short(code)}` has no order")
            keys.append(SortKey(code, text.startswith("-")))
        if len(keys) > self.limits.sort_keys:
            raise FhirError("too-costly", f"search parameter `_sort` takes at most {self.limits.sort_keys} keys")
        self.once("sort", name, tuple(keys))
        return value

    def count(self, name: str, value: str) -> str:
        if not (value.isascii() and value.isdigit() and len(value) <= 10):
            raise FhirError("invalid", f"search parameter `_count`: `{short(value)}` is not a whole number")
        number = min(int(value), self.limits.max_count)
        self.once("count", name, number)
        return str(number)

    def coded(self, field: str, codes: Iterable[str], drop: str = "") -> Callable[[str, str], str]:
        def read(name: str, value: str) -> str:
            if value not in codes:
                raise FhirError("invalid", f"search parameter `{name}`: `{short(value)}` is none of {', '.join(codes)}")
            self.once(field, name, "" if value == drop else value)
            return value

        return read

    def total(self, name: str, value: str) -> str:
        return self.coded("total", ("none", "estimate", "accurate"))(name, value)

    def summary(self, name: str, value: str) -> str:
        return self.coded("summary", ("true", "text", "data", "count", "false"), drop="false")(name, value)

    def elements(self, name: str, value: str) -> str | None:
        kept = []
        for each in value.split(","):
            if self.is_element(each):
                kept.append(each)
            else:
                told = f"search parameter `_elements`: `{short(each)}` is not an element of {self.type_name or 'these types'}"
                self.ignore(f"_elements={short(each)}", FhirError("invalid", told))
        if not kept:
            return None
        self.fields["elements"] = (*self.fields.get("elements", ()), *kept)
        return ",".join(kept)

    def is_element(self, text: str) -> bool:
        """Whether a type that may be found has this at its top, e.g. `name`, `Patient.name`, `value`, `value[x]`, `valueQuantity`."""
        said = _ELEMENT.fullmatch(text)
        if said is None:
            return False
        owner, element = said.groups()
        owners = (owner,) if owner else tables.RESOURCE_TYPES if None in self.subjects() else self.subjects()
        return any(element in tables.elements(each) or element in tables.members(each) for each in owners)

    def contained(self, name: str, value: str) -> str:
        if value not in ("false", "true", "both"):
            raise FhirError("invalid", f"search parameter `_contained`: `{short(value)}` is none of false, true, both")
        self.once("contained", name, "" if value == "false" else value)
        return value

    def contained_type(self, name: str, value: str) -> str:
        if value not in ("container", "contained"):
            raise FhirError("invalid", f"search parameter `_containedType`: `{short(value)}` is none of container, contained")
        self.once("contained_type", name, value)
        return value

    def query(self, name: str, value: str) -> str:
        raise FhirError("not-supported", f"search parameter `_query`: no query is named `{short(value)}`")

    def list_of(self, name: str, value: str) -> str:
        if value.startswith("$"):
            self.parts.append({each: functional_list(each, value) for each in self.subjects()})
            return value
        if not is_id(value):
            raise FhirError("invalid", f"search parameter `_list`: `{short(value)}` is not the id of a List")
        self.parts.append(dict.fromkeys(self.subjects(), Listed(value)))
        return value

    def filter(self, name: str, value: str) -> str:
        if len(value) > self.limits.value_chars:
            raise FhirError("too-costly", f"search parameter `_filter` has more than {self.limits.value_chars} characters")
        try:
            self.parts.append({each: filter_predicate(each, value, self.asking) for each in self.subjects()})
        except FhirError as error:
            if error.message.startswith("search parameter"):
                raise
            raise FhirError(error.kind, f"search parameter `_filter` with value `{short(value)}`: {error.message}") from None
        return value

    def include(self, name: str, value: str) -> str:
        self.includes.append(self.including(name, value))
        return self.bounded(value)

    def revinclude(self, name: str, value: str) -> str:
        self.revincludes.append(self.including(name, value))
        return self.bounded(value)

    def bounded(self, value: str) -> str:
        if len(self.includes) + len(self.revincludes) > self.limits.includes:
            raise FhirError("too-costly", f"a search takes at most {self.limits.includes} `_include` and `_revinclude` parameters")
        return value

    def including(self, name: str, value: str) -> Include:
        modifier = name.partition(":")[2]
        if modifier not in ("", "iterate", "recurse"):
            raise FhirError("invalid", f"search parameter `{short(name)}`: the only modifier is `:iterate`")
        iterate = bool(modifier)
        parts = value.split(":")
        if parts == ["*"]:
            return Include("*", "*", "", iterate)
        if len(parts) not in (2, 3) or not tables.known_type(parts[0]):
            raise FhirError(
                "invalid", f"search parameter `{short(name)}`: `{short(value)}` is not `[type]:[reference]` or `[type]:[reference]:[type]`"
            )
        source, code, *target = parts
        if code != "*":
            parameter = known(source).get(code)
            if parameter is None or parameter.type != "reference":
                raise FhirError("invalid", f"search parameter `{short(name)}`: `{short(code)}` is not a reference parameter of {source}")
            if target and target[0] not in parameter.targets:
                raise FhirError("invalid", f"search parameter `{short(name)}`: `{code}` of {source} does not refer to `{short(target[0])}`")
        elif target and not tables.known_type(target[0]):
            raise FhirError("invalid", f"search parameter `{short(name)}`: `{short(target[0])}` is not a resource type")
        return Include(source, code, target[0] if target else "", iterate)

    def cursor(self, name: str, value: str) -> None:
        self.once("cursor", name, value)


def _quoted(text: str, safe: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe=safe)


def functional_list(type_name: str | None, name: str) -> Predicate:
    """What `_list=$current-...` asks for. https://hl7.org/fhir/R4/lifecycle.html#current

    Drug allergies are those of the allergies that are to a medication.
    """
    drugs = name == "$current-drug-allergies"
    codes = CURRENT_LISTS.get("$current-allergies" if drugs else name)
    if codes is None:
        raise FhirError("not-supported", f"search parameter `_list`: no list is called `{short(name)}`")
    if not drugs:
        return CurrentlyListed(codes)
    return All((CurrentlyListed(codes), Has("category", TokenIs(None, "medication")))) if type_name == "AllergyIntolerance" else NOTHING


_CONTROLS: dict[str, Callable[[_Reading, str, str], str | None]] = {
    "_type": _Reading.type_list,
    "_sort": _Reading.sort,
    "_count": _Reading.count,
    "_total": _Reading.total,
    "_summary": _Reading.summary,
    "_elements": _Reading.elements,
    "_contained": _Reading.contained,
    "_containedType": _Reading.contained_type,
    "_query": _Reading.query,
    "_list": _Reading.list_of,
    "_filter": _Reading.filter,
    "_include": _Reading.include,
    "_revinclude": _Reading.revinclude,
    CURSOR: _Reading.cursor,
}


def needs_resolving(predicate: Predicate) -> bool:
    """Whether a predicate holds chains or lists that the store must look up."""
    return any(not isinstance(part, (Has, Present, Not, All, AnyOf)) for part in walk(predicate))
