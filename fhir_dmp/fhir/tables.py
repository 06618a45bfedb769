"""The R4 definitions as tables: types, elements, value sets, search parameters, compartments.

https://hl7.org/fhir/R4/definitions.html
The files of definitions/ are written by scripts/generate_definitions.py; each is read at first use and kept.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

MANY = 0  # Element.max of a repeating element


class Element(NamedTuple):
    """One element of a type.

    name: without "[x]", e.g. "value". types: FHIR types; SimpleQuantity is Quantity without comparator. max: 1, or MANY.
    children: path whose elements are found inside ("Patient.contact", "HumanName"; of a content reference, its target);
    "" for primitives, choices and resources.
    binding: url of the value set it must come from, or "". targets: resource types a Reference may name, () for any.
    attribute: a plain string, which can carry no `_name` member (Resource.id, Element.id, Extension.url, Narrative.div).
    """

    name: str
    types: tuple[str, ...]
    min: int
    max: int
    choice: bool
    children: str
    binding: str
    targets: tuple[str, ...]
    summary: bool
    modifier: bool
    attribute: bool

    def json_name(self, type_name: str) -> str:
        """Name of the JSON member that holds a value of this type, e.g. valueQuantity."""
        return self.name + choice_suffix(type_name) if self.choice else self.name


class SearchParameter(NamedTuple):
    """A search parameter as published; components: ((url of the parameter, expression), ...) of a composite."""

    url: str
    code: str
    type: str
    base: tuple[str, ...]
    expression: str
    target: tuple[str, ...]
    components: tuple[tuple[str, str], ...]
    xpath_usage: str


def _load(name: str) -> dict | list:
    return json.loads(files("fhir_dmp.fhir").joinpath("definitions", name).read_bytes())


_KINDS: dict[str, list[str]] = _load("types.json")

RESOURCE_TYPES: tuple[str, ...] = tuple(_KINDS["resources"])
DATA_TYPES: tuple[str, ...] = tuple(_KINDS["complex"])
PRIMITIVE_TYPES: tuple[str, ...] = tuple(_KINDS["primitives"])
ABSTRACT_TYPES: tuple[str, ...] = tuple(_KINDS["abstract"])

_RESOURCES = frozenset(RESOURCE_TYPES)
_PRIMITIVES = frozenset(PRIMITIVE_TYPES)
_COMPLEX = frozenset(DATA_TYPES)


def known_type(name: object) -> bool:
    """Whether this is one of the 146 resource types.

    >>> known_type("Patient"), known_type("Resource"), known_type("HumanName")
    (True, False, False)
    """
    return isinstance(name, str) and name in _RESOURCES


def is_primitive(type_name: str) -> bool:
    return type_name in _PRIMITIVES


def is_data_type(type_name: str) -> bool:
    """Whether this is a complex data type such as HumanName."""
    return type_name in _COMPLEX


def choice_suffix(type_name: str) -> str:
    """How a choice of this type ends its JSON name.

    >>> choice_suffix("dateTime"), choice_suffix("SimpleQuantity"), choice_suffix("Period")
    ('DateTime', 'Quantity', 'Period')
    """
    return "Quantity" if type_name == "SimpleQuantity" else type_name[0].upper() + type_name[1:]


@cache
def _rows() -> dict[str, list]:
    return _load("elements.json")


def _children(path: str, name: str, types: tuple[str, ...], details: dict) -> str:
    if "content" in details:
        return details["content"]
    if f"{path}.{name}" in _rows():
        return f"{path}.{name}"
    if len(types) != 1 or types[0] in _PRIMITIVES or types[0] == "Resource":
        return ""
    return "Quantity" if types[0] == "SimpleQuantity" else types[0]


@cache
def elements(path: str) -> Mapping[str, Element]:
    """Elements of a type ("Patient", "HumanName") or backbone element ("Patient.contact"), by name, in the order of the standard.

    A choice is under its name without "[x]". An unknown path has no elements.

    >>> list(elements("Reference"))
    ['id', 'extension', 'reference', 'type', 'identifier', 'display']
    >>> elements("Patient")["deceased"].types
    ('boolean', 'dateTime')
    """
    listed = {}
    for row in _rows().get(path, ()):
        name, joined, low, high, flags, details = (*row, "", {}) if len(row) == 4 else (*row, {}) if len(row) == 5 else row
        choice = name.endswith("[x]")
        name = name.removesuffix("[x]")
        types = tuple(joined.split("|")) if joined else ("BackboneElement",)
        children = "" if choice else _children(path, name, types, details)
        listed[name] = Element(
            name,
            types,
            low,
            high,
            choice,
            children,
            details.get("binding", ""),
            tuple(details.get("targets", ())),
            "s" in flags,
            "m" in flags,
            "a" in flags or joined == "xhtml",
        )
    return MappingProxyType(listed)


@cache
def members(path: str) -> Mapping[str, tuple[Element, str]]:
    """JSON member name -> (element, type of that member), choices expanded; without the `_name` members of primitives.

    >>> element, type_name = members("Observation")["valueQuantity"]
    >>> element.name, type_name
    ('value', 'Quantity')
    """
    return MappingProxyType({e.json_name(t): (e, t) for e in elements(path).values() for t in e.types})


def element(path: str) -> Element | None:
    """The element at a path from a type, e.g. "Observation.component.value", "Patient.name.given"; choices with or without their type.

    >>> element("Patient.contact.name.given").types, element("Observation.component.valueQuantity.unit").types
    (('string',), ('string',))
    >>> element("Questionnaire.item.item.item.linkId").min
    1
    >>> element("Patient.shoe") is None
    True
    """
    at, _, rest = path.partition(".")
    found = None
    for name in rest.split(".") if rest else ():
        if at and name in elements(at):
            found = elements(at)[name]
            at = found.children
        elif at and name in members(at):
            found, chosen = members(at)[name]
            at = child_path(found, chosen)
        else:
            return None
    return found


def element_type(path: str) -> tuple[str, ...]:
    """Types of the element at a path, () when there is none.

    >>> element_type("Patient.birthDate"), element_type("Patient.nothing")
    (('date',), ())
    """
    found = element(path)
    return found.types if found else ()


def child_path(owner: Element, type_name: str) -> str:
    """Where the elements inside a value of this element and type are listed; "" for primitives and resources."""
    if owner.children:
        return owner.children
    if type_name == "SimpleQuantity":
        return "Quantity"
    return type_name if type_name in _COMPLEX else ""


def paths() -> tuple[str, ...]:
    """Every path that has elements: types and backbone elements."""
    return tuple(_rows())


@cache
def summary_elements(type_name: str) -> frozenset[str]:
    """Top-level JSON members of a resource that `_summary=true` keeps: flagged ones, `_name` companions included."""
    names = {e.json_name(t) for e in elements(type_name).values() if e.summary for t in e.types}
    return frozenset(names | {f"_{n}" for n in names})


@cache
def mandatory_elements(type_name: str) -> frozenset[str]:
    """Top-level JSON members of a resource with a minimum of one, `_name` companions included: no `_summary` or `_elements` drops them."""
    names = {e.json_name(t) for e in elements(type_name).values() if e.min for t in e.types}
    return frozenset(names | {f"_{n}" for n in names})


@cache
def _bindings() -> dict[str, dict[str, list[str]] | None]:
    return _load("bindings.json")


@cache
def codes(value_set: str) -> Mapping[str, tuple[str, ...]] | None:
    """Codes of a value set that some element requires, by code system; None when they cannot be enumerated (media types, UCUM)."""
    listed = _bindings().get(value_set)
    return None if listed is None else MappingProxyType({system: tuple(those) for system, those in listed.items()})


@cache
def known_codes(value_set: str) -> Mapping[str, tuple[str, ...]] | None:
    """As codes, of value sets made of code systems that come whole with R4 (HL7 v2 and v3 too); None when they cannot be enumerated."""
    listed = _more_value_sets().get(value_set)
    return codes(value_set) if listed is None else MappingProxyType({system: tuple(those) for system, those in listed.items()})


@cache
def _more_value_sets() -> dict[str, dict[str, list[str]]]:
    return _load("value_sets.json")


@cache
def hierarchies() -> Mapping[str, Mapping[str, list[str]]]:
    """Code system that comes whole with R4 (HL7 v2 and v3 too) -> code -> codes directly below it; {} where there is no hierarchy."""
    return MappingProxyType(_load("hierarchies.json"))


def value_sets() -> tuple[str, ...]:
    """Urls of the value sets that some element requires."""
    return tuple(_bindings())


@cache
def search_parameters() -> tuple[SearchParameter, ...]:
    """The 1375 search parameters of R4, by url; expressions as published."""
    return tuple(
        SearchParameter(
            row["url"],
            row["code"],
            row["type"],
            tuple(row["base"]),
            row.get("expression", ""),
            tuple(row.get("target", ())),
            tuple((url, expression) for url, expression in row.get("component", ())),
            row.get("xpathUsage", "normal"),
        )
        for row in _load("search_parameters.json")
    )


@cache
def search_parameters_of(type_name: str) -> Mapping[str, SearchParameter]:
    """Search parameters by code for a resource type, those of Resource and (where it is one) DomainResource included."""
    bases = {type_name, "Resource"} | ({"DomainResource"} if "text" in elements(type_name) else set())
    return MappingProxyType({p.code: p for p in search_parameters() if bases.intersection(p.base)})


@cache
def _compartments() -> dict[str, dict[str, list[str]]]:
    return _load("compartments.json")


@cache
def compartment(name: str) -> Mapping[str, tuple[str, ...]]:
    """Resource type -> search parameters that place a resource in the compartment; types never in it are absent.

    name: Patient, Encounter, Practitioner, Device or RelatedPerson.
    """
    return MappingProxyType({type_name: tuple(params) for type_name, params in _compartments()[name].items()})
