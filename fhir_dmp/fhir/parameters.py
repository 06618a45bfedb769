"""Input of an operation: pairs of a query, and a Parameters resource or the one resource the operation is about.

https://hl7.org/fhir/R4/operations.html#request and https://hl7.org/fhir/R4/parameters.html
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import from_instant, interval

# The format of the answer, of no concern to an operation.
PRESENTATION = frozenset({"_format", "_pretty"})
LONGEST = 20_000
_ESCAPED = re.compile(r"([\\,|$])")


class Parameter(NamedTuple):
    """One input parameter.

    type: date, dateTime, instant, boolean, integer, positiveInt, code, uri, token, string, text (one that may be empty) or Resource.
    many: may be given several times.
    """

    name: str
    type: str = "string"
    many: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What was given. pairs: (name, text) in order; coded values as a search would spell them, e.g. "http://loinc.org|8480-6".

    resources: name -> (parsed value, JSON bytes), the first of a parameter that is given several times; more: the others, in order.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    resources: dict[str, tuple[dict, bytes]] = field(default_factory=dict)
    more: dict[str, list[tuple[dict, bytes]]] = field(default_factory=dict)

    def every(self, name: str) -> tuple[tuple[dict, bytes], ...]:
        """Every resource of a parameter, as (parsed value, JSON bytes)."""
        return (*([self.resources[name]] if name in self.resources else ()), *self.more.get(name, ()))

    def one(self, name: str) -> str | None:
        """The text of a parameter, None when it is absent."""
        return next((text for given, text in self.pairs if given == name), None)

    def all(self, name: str) -> tuple[str, ...]:
        """Every text of a parameter."""
        return tuple(text for given, text in self.pairs if given == name)

    def listed(self, name: str) -> tuple[str, ...]:
        """Every text of a parameter that may be repeated and separated by commas, each once."""
        return tuple(dict.fromkeys(part for text in self.all(name) for part in text.split(",") if part))

    def flag(self, name: str) -> bool:
        """A boolean, false when absent."""
        return self.one(name) == "true"

    def number(self, name: str, otherwise: int) -> int:
        text = self.one(name)
        return otherwise if text is None else int(text)


def read(
    known: Sequence[Parameter],
    pairs: Iterable[tuple[str, str]],
    body: bytes = b"",
    *,
    open: bool = False,
    lenient: bool = False,
    max_depth: int = json.MAX_DEPTH,
) -> Given:
    """The input of an operation, checked: every unknown, repeated or malformed parameter is told in one pass.

    pairs: of the query. body: Parameters, or where the operation takes one resource that resource itself. open: parameters that are not
    listed are left to the operation, e.g. those of a search. lenient: they are left out.

    >>> read([Parameter("max", "positiveInt")], [("max", "3"), ("_pretty", "true")]).number("max", 1)
    3
    """
    by_name = {each.name: each for each in known}
    said = [pair for pair in pairs if pair[0] not in PRESENTATION]
    resources: dict[str, tuple[dict, bytes]] = {}
    repeated: dict[str, list[tuple[dict, bytes]]] = {}
    if body:
        more, resources, repeated = _body(by_name, body, max_depth)
        said += more
    if lenient and not open:
        said = [pair for pair in said if pair[0] in by_name]
    faults = []
    for name, text in said:
        faults += [Issue("error", *fault) for fault in _faults(by_name.get(name), name, text, open)]
    names = [name for name, _ in said] + list(resources)
    for each in known:
        if names.count(each.name) > 1 and not each.many:
            faults.append(Issue("error", "invalid", f"parameter `{each.name}` is given more than once"))
        if each.required and each.name not in names:
            faults.append(Issue("error", "required", f"parameter `{each.name}` is required"))
    if faults:
        raise FhirError.many("invalid", faults)
    return Given(tuple(said), resources, repeated)


def _faults(parameter: Parameter | None, name: str, text: str, open: bool) -> Iterable[tuple[str, str]]:
    shown = text[:60]
    if parameter is None:
        if not open:
            yield "not-supported", f"parameter `{name[:60]}` is not known to this operation"
        return
    if (not text and parameter.type != "text") or len(text) > LONGEST:
        yield "invalid", f"parameter `{name}` has no value" if not text else f"parameter `{name}` has more than {LONGEST} characters"
    elif parameter.type == "Resource":
        yield "invalid", f"parameter `{name}` is a resource and is sent in the body"
    elif not _fits(parameter.type, text):
        yield "value", f"parameter `{name}`: `{shown}` is not of type {parameter.type}"


def _fits(type_name: str, text: str) -> bool:
    match type_name:
        case "boolean":
            return text in ("true", "false")
        case "integer" | "positiveInt":
            return text.isascii() and text.isdigit() and len(text) <= 10 and (type_name == "positiveInt") <= int(text) <= 2_147_483_647
        case "date" | "dateTime" | "instant":
            try:
                from_instant(text) if type_name == "instant" else interval(text)
            except FhirError:
                return False
            return type_name != "date" or "T" not in text
        case "code":
            return text == " ".join(text.split())
    return True


def _body(
    known: dict[str, Parameter], body: bytes, max_depth: int
) -> tuple[list[tuple[str, str]], dict[str, tuple[dict, bytes]], dict[str, list[tuple[dict, bytes]]]]:
    value = json.parse(body, max_depth=max_depth + 3)
    takes = next((each.name for each in known.values() if each.type == "Resource"), None)
    listed = value.get("parameter", [])
    known_parts = (
        [part for part in listed if isinstance(part, dict) and isinstance(part.get("name"), str) and part["name"] in known]
        if isinstance(listed, list)
        else []
    )
    # Parameters of which none is known may be the resource itself, where another resource need not be there.
    itself = takes and not known[takes].required and not known_parts
    if value.get("resourceType") != "Parameters" or itself:
        if takes is None:
            raise FhirError("invalid", "the input of this operation is a Parameters resource", "resourceType")
        return [], {takes: (value, body)}, {}
    if not isinstance(listed, list) or not all(isinstance(part, dict) and isinstance(part.get("name"), str) for part in listed):
        raise FhirError("invalid", "each parameter is an object with a name", "Parameters.parameter")
    pairs: list[tuple[str, str]] = []
    resources: dict[str, tuple[dict, bytes]] = {}
    repeated: dict[str, list[tuple[dict, bytes]]] = {}
    raw = json.items(bytes(json.members(body)["parameter"])) if listed else []
    for number, (part, text) in enumerate(zip(listed, raw, strict=True)):
        place = f"Parameters.parameter[{number}]"
        if "resource" in part:
            if not isinstance(part["resource"], dict):
                raise FhirError("invalid", "a resource is an object", f"{place}.resource")
            found = (part["resource"], bytes(json.members(bytes(text))["resource"]))
            if part["name"] not in resources:
                resources[part["name"]] = found
            elif part["name"] in known and known[part["name"]].many:
                repeated.setdefault(part["name"], []).append(found)
            else:
                raise FhirError("invalid", f"parameter `{part['name'][:60]}` is given more than once", place)
            continue
        values = [value for name, value in part.items() if name.startswith("value")]
        if len(values) != 1:
            raise FhirError("invalid", f"parameter `{part['name'][:60]}` has not exactly one value", place)
        pairs += [(part["name"], text_of(values[0], place))]
    if unknown := [name for name in resources if name not in known or known[name].type != "Resource"]:
        issues = [Issue("error", "not-supported", f"parameter `{name[:60]}` is no resource of this operation") for name in unknown]
        raise FhirError.many("invalid", issues)
    return pairs, resources, repeated


def text_of(value: object, place: str = "") -> str:
    """A value of a parameter as a query would spell it.

    >>> text_of(True), text_of({"coding": [{"system": "http://loinc.org", "code": "8480-6"}, {"code": "a,b"}]})
    ('true', 'http://loinc.org|8480-6,a\\\\,b')
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case dict() if isinstance(value.get("coding"), list) and value["coding"]:
            return ",".join(text_of(coding, place) for coding in value["coding"])
        case dict() if isinstance(value.get("code"), str) or isinstance(value.get("value"), str):
            code = _escaped(value.get("code") or value.get("value"))
            return f"{_escaped(value['system'])}|{code}" if isinstance(value.get("system"), str) else code
        case dict() if isinstance(value.get("reference"), str):
            return value["reference"]
        case dict() | list() | None:
            raise FhirError("invalid", "a value of this type has no meaning for this operation", place)
    return str(value)


def _escaped(text: str) -> str:
    return _ESCAPED.sub(r"\\\1", text)
