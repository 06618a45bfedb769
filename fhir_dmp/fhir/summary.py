"""Parts of a resource: `_summary` and `_elements`, by splicing top-level members of its bytes.

https://hl7.org/fhir/R4/search.html#summary and https://hl7.org/fhir/R4/search.html#elements
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json as exact
from fhir_dmp.fhir import tables

Mode = Literal["true", "text", "data", "count", "false"]
MODES: tuple[Mode, ...] = ("true", "text", "data", "count", "false")

# Never left out: what identifies the resource, and what may change the meaning of all the rest.
ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}
_SUBSETTED = msgspec.Raw(exact.dump(SUBSETTED))


def summary(body: bytes, type_name: str, mode: Mode) -> bytes:
    """The resource as `_summary` asks for, tagged SUBSETTED; whole for `false` and for `count`, which concerns searches only."""
    if mode in ("false", "count"):
        return body
    resource = exact.members(body)
    if mode == "data":
        return _tagged({name: value for name, value in resource.items() if name not in ("text", "_text")})
    kept = tables.summary_elements(type_name) if mode == "true" else {"text"}
    return _kept(resource, ALWAYS | kept | tables.mandatory_elements(type_name))


def elements(body: bytes, type_name: str, names: Iterable[str]) -> bytes:
    """The resource with the elements named, and the mandatory ones, tagged SUBSETTED. Names that it does not have are ignored.

    names: top-level elements, with or without the type before them; a choice with or without its type; of a path, its first element.
    """
    wanted = frozenset().union(*(_json_names(type_name, name) for name in names))
    return _kept(exact.members(body), ALWAYS | wanted | tables.mandatory_elements(type_name))


def shaped(body: bytes, type_name: str, pairs: Iterable[tuple[str, str]]) -> bytes:
    """The resource as `_summary` and `_elements` among the parameters of a request want it."""
    pairs = tuple(pairs)
    modes = [value for name, value in pairs if name == "_summary"]
    names = parse_elements(value for name, value in pairs if name == "_elements")
    if modes:
        if (mode := parse_mode(modes[0])) == "count":
            raise FhirError("invalid", "`_summary=count` is for searches and histories: here is one resource")
        body = summary(body, type_name, mode)
    return elements(body, type_name, names) if names else body


def parse_mode(value: str) -> Mode:
    """The value of `_summary`; anything else is refused."""
    if value not in MODES:
        raise FhirError("invalid", f"`_summary={value[:40]}` is none of {', '.join(MODES)}")
    return value


def parse_elements(values: Iterable[str]) -> tuple[str, ...]:
    """Names in the values of `_elements`, which may be repeated and separated by commas.

    >>> parse_elements(["name, gender", "Patient.active"])
    ('name', 'gender', 'Patient.active')
    """
    return tuple(name for value in values for part in value.split(",") if (name := part.strip()))


@lru_cache(maxsize=4096)
def _json_names(type_name: str, name: str) -> frozenset[str]:
    """Members that hold an element, their `_name` companions included."""
    first = name.removeprefix(f"{type_name}.").partition(".")[0].removesuffix("[x]")
    element = tables.elements(type_name).get(first)
    if element:
        found = {element.json_name(t) for t in element.types}
    else:
        found = {first} & tables.members(type_name).keys()
    return frozenset(found | {f"_{n}" for n in found})


def _kept(resource: dict[str, msgspec.Raw], names: frozenset[str]) -> bytes:
    return _tagged({name: value for name, value in resource.items() if name in names})


def _tagged(resource: dict[str, msgspec.Raw]) -> bytes:
    meta = exact.members(resource["meta"]) if "meta" in resource else {}
    tags = exact.items(meta["tag"]) if "tag" in meta else []
    if not any(_is_subsetted(bytes(tag)) for tag in tags):
        meta["tag"] = msgspec.Raw(exact.dump([*tags, _SUBSETTED]))
    body = exact.dump(resource)
    return exact.set_members(body, {"meta": exact.dump(meta)}, after="id" if "id" in resource else "resourceType")


def _is_subsetted(tag: bytes) -> bool:
    coding = exact.members(tag)
    return "code" in coding and bytes(coding["code"]) == b'"SUBSETTED"'
