"""Resources made from the tables, valid ones and ones broken by a named rule. The same seed makes the same resources.

https://hl7.org/fhir/R4/json.html
"""

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from decimal import Decimal

from fhir_dmp.fhir import tables

GOOD: dict[str, tuple] = {
    "base64Binary": ("AA==", "aGVsbG8h", "QUJD"),
    "boolean": (True, False),
    "canonical": ("http://example.org/fhir/Questionnaire/q1", "http://example.org/fhir/ValueSet/v|1.0"),
    "code": ("a", "en", "two words"),
    "date": ("2024", "2024-02", "2024-02-29"),
    "dateTime": ("2024", "2024-02", "2024-02-29", "2023-12-31T23:59:59+01:00", "2024-01-01T00:00:00.5Z"),
    "decimal": (0, 12, Decimal("1.50"), Decimal("-0.010"), Decimal("0.000000001")),
    "id": ("a", "A-1.b"),
    "instant": ("2024-02-29T10:00:00.123Z", "2015-02-07T13:28:17+02:00"),
    "integer": (0, -7, 2147483647),
    "markdown": ("# Title\n\ntext", "x"),
    "oid": ("urn:oid:1.2.250.1.213.1.4.10",),
    "positiveInt": (1, 40),
    "string": ("x", "Marie-Hélène", "two  spaces"),
    "time": ("10:00:00", "23:59:59.25"),
    "unsignedInt": (0, 12),
    "uri": ("urn:oid:1.2.250.1.213.1.4.10", "http://example.org/a"),
    "url": ("https://example.org/a", "http://example.org/a#b"),
    "uuid": ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520",),
    "xhtml": ('<div xmlns="http://www.w3.org/1999/xhtml"><p>text</p></div>',),
}
# Values that no primitive of the type may have.
BAD: dict[str, tuple] = {
    "base64Binary": ("é", "AAA", "A==="),
    "boolean": ("true", 1),
    "canonical": ("a b",),
    "code": (" a", "a ", "a  b"),
    "date": ("2023-02-29", "2024-13", "2024-1-1", "24-01-01", "2024-04-31"),
    "dateTime": ("2024-02-30", "2024-01-01T10:00", "2024-01-01T10:00:00", "2024-01-01T25:00:00Z"),
    "decimal": ("1.0", True),
    "id": ("a_b", "é", "x" * 65),
    "instant": ("2024-01-01", "2024-01-01T10:00:00", "2023-02-29T10:00:00Z"),
    "integer": ("1", Decimal("1.5"), 2147483648),
    "markdown": (5,),
    "oid": ("1.2.3", "urn:oid:9.1"),
    "positiveInt": (0, -1),
    "string": (5, False),
    "time": ("10:00", "24:00:00", "10:00:00Z"),
    "unsignedInt": (-1,),
    "uri": ("a b",),
    "url": ("a b",),
    "uuid": ("c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"),
    "xhtml": ("text", '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>'),
}


def resource(type_name: str, rng: random.Random, richness: float = 0.3) -> dict:
    """A valid resource; richness: how likely an optional element is there."""
    return {"resourceType": type_name, **_object(type_name, rng, richness, 0)}


def _object(path: str, rng: random.Random, richness: float, depth: int) -> dict:
    if path == "Extension":
        return {"url": "http://example.org/fhir/StructureDefinition/e", "valueString": rng.choice(GOOD["string"])}
    if path == "Element":
        return {"extension": [_object("Extension", rng, richness, depth)]}
    made: dict = {}
    optional = []
    for element in tables.elements(path).values():
        if element.types == ("Resource",) and element.name != "contained" and not element.min:
            continue
        wanted = element.min or rng.random() < richness / (1 + depth * 2)
        if element.name in ("extension", "modifierExtension") and depth > 1:
            wanted = False
        (optional if not element.min else []).append(element)
        if wanted:
            _add(made, path, element, rng, richness, depth)
    if not made.keys() - {"id"}:
        # An object needs something besides its id.
        plain = [e for e in optional if e.name not in ("id", "extension", "modifierExtension", "contained") and _is_flat(e)]
        _add(made, path, (plain or [tables.elements(path)["extension"]])[0], rng, richness, depth)
    return made


def _is_flat(element: tables.Element) -> bool:
    return not element.choice and element.types[0] in tables.PRIMITIVE_TYPES


def _add(made: dict, path: str, element: tables.Element, rng: random.Random, richness: float, depth: int) -> None:
    type_name = rng.choice(element.types)
    name = element.json_name(type_name)
    if element.max == tables.MANY:
        made[name] = [_value(path, element, type_name, rng, richness, depth) for _ in range(rng.choice((1, 1, 2)))]
        if name == "contained":
            made[name] = [{"resourceType": "Patient", "id": "contained-1", "active": True}]
        elif type_name in tables.PRIMITIVE_TYPES and rng.random() < 0.1:
            made[f"_{name}"] = [_object("Element", rng, richness, depth), *[None] * (len(made[name]) - 1)]
    else:
        made[name] = _value(path, element, type_name, rng, richness, depth)
        if type_name in tables.PRIMITIVE_TYPES and not element.attribute and rng.random() < 0.1:
            made[f"_{name}"] = _object("Element", rng, richness, depth)


def _value(path: str, element: tables.Element, type_name: str, rng: random.Random, richness: float, depth: int) -> object:
    codes = tables.codes(element.binding) if element.binding else None
    if codes and type_name == "code":
        return rng.choice(rng.choice([c for c in codes.values()]))
    if codes and type_name == "CodeableConcept":
        system = rng.choice(list(codes))
        return {"coding": [{"system": system, "code": rng.choice(codes[system])}]}
    if type_name in tables.PRIMITIVE_TYPES:
        return rng.choice(GOOD[type_name])
    if type_name == "Resource":
        return {"resourceType": "Patient", "active": True}
    if type_name == "Reference":
        return {"reference": f"{rng.choice(element.targets or tables.RESOURCE_TYPES)}/{rng.choice(GOOD['id'])}"}
    made = _object(tables.child_path(element, type_name), rng, richness, depth + 1)
    if type_name == "SimpleQuantity":
        made.pop("comparator", None)
        made.pop("_comparator", None)
        made.setdefault("value", 1)
    return made


class Spot:
    """A place in a resource: the object, the member in it, its element and type, and its FHIRPath."""

    def __init__(self, owner: dict, name: str, element: tables.Element, type_name: str, path: str, expression: str) -> None:
        self.owner, self.name, self.element, self.type, self.path, self.expression = owner, name, element, type_name, path, expression

    @property
    def primitive(self) -> bool:
        return self.type in tables.PRIMITIVE_TYPES


def spots(value: dict, path: str, expression: str) -> Iterator[Spot]:
    """Every member of a resource that the tables know; not inside contained resources and primitive extensions."""
    for name, member in value.items():
        if name not in tables.members(path):
            continue
        element, type_name = tables.members(path)[name]
        step = f"{element.name}.ofType({type_name})" if element.choice else element.name
        at = f"{expression}.{step}"
        yield Spot(value, name, element, type_name, path, at)
        inner = tables.child_path(element, type_name)
        if inner:
            for index, item in enumerate(member if isinstance(member, list) else [member]):
                yield from spots(item, inner, f"{at}[{index}]" if isinstance(member, list) else at)


def _put(spot: Spot, value: object) -> str:
    """Write the value at the spot (in its first item when it repeats); returns the FHIRPath written to."""
    if isinstance(spot.owner[spot.name], list):
        spot.owner[spot.name][0] = value
        return f"{spot.expression}[0]"
    spot.owner[spot.name] = value
    return spot.expression


def _unknown(spot: Spot, rng: random.Random) -> str:
    spot.owner["shoeSize"] = 42
    return spot.expression.rpartition("." + _step(spot))[0] + ".shoeSize"


def _step(spot: Spot) -> str:
    return f"{spot.element.name}.ofType({spot.type})" if spot.element.choice else spot.element.name


def _missing(spot: Spot, rng: random.Random) -> str:
    del spot.owner[spot.name]
    spot.owner.pop(f"_{spot.name}", None)
    return spot.expression.removesuffix(f".ofType({spot.type})")


def _second_choice(spot: Spot, rng: random.Random) -> str:
    other = rng.choice([t for t in spot.element.types if t != spot.type and t in tables.PRIMITIVE_TYPES])
    spot.owner[spot.element.json_name(other)] = GOOD[other][0]
    return spot.expression.removesuffix(f".ofType({spot.type})")


def _list_of_one(spot: Spot, rng: random.Random) -> str:
    spot.owner[spot.name] = [spot.owner[spot.name]]
    return spot.expression


def _not_a_list(spot: Spot, rng: random.Random) -> str:
    spot.owner[spot.name] = spot.owner[spot.name][0]
    return spot.expression


def _empty_list(spot: Spot, rng: random.Random) -> str:
    spot.owner[spot.name] = []
    return spot.expression


def _wrong_target(spot: Spot, rng: random.Random) -> str:
    wrong = next(t for t in ("Slot", "Linkage", "Basic") if t not in spot.element.targets)
    return _put(spot, {"reference": f"{wrong}/1"}) + ".reference"


def _kind(value: object) -> str:
    return "number" if isinstance(value, int | Decimal) and not isinstance(value, bool) else type(value).__name__


def _broken(type_name: str) -> tuple:
    """Bad values of the right JSON type."""
    return tuple(b for b in BAD.get(type_name, ()) if type_name not in ("code", "xhtml") and _kind(b) == _kind(GOOD[type_name][0]))


def _misfit(type_name: str) -> tuple:
    """Values of the wrong JSON type."""
    return tuple(b for b in BAD.get(type_name, ()) if _kind(b) != _kind(GOOD[type_name][0]))


def _without_companion(spot: Spot) -> bool:
    return f"_{spot.name}" not in spot.owner


# kind of fault -> (issue code, where it can be made, what makes it and says at which FHIRPath)
MUTATIONS: dict[str, tuple[str, Callable[[Spot], bool], Callable[[Spot, random.Random], str]]] = {
    "unknown element": ("structure", lambda s: True, _unknown),
    "required element missing": ("required", lambda s: bool(s.element.min) and len(s.owner) > 2, _missing),
    "bad primitive": ("value", lambda s: bool(_broken(s.type)), lambda s, r: _put(s, r.choice(_broken(s.type)))),
    "primitive of another JSON type": ("structure", lambda s: bool(_misfit(s.type)), lambda s, r: _put(s, r.choice(_misfit(s.type)))),
    "empty string": (
        "value",
        lambda s: s.type in GOOD and s.type != "xhtml" and isinstance(GOOD[s.type][0], str),
        lambda s, r: _put(s, ""),
    ),
    "blank string": ("value", lambda s: s.type in ("string", "markdown") and not s.element.attribute, lambda s, r: _put(s, "  ")),
    "bogus code": ("code-invalid", lambda s: s.type == "code" and bool(tables.codes(s.element.binding)), lambda s, r: _put(s, "bogus")),
    "untidy code": ("value", lambda s: s.type == "code" and not s.element.binding, lambda s, r: _put(s, r.choice(BAD["code"]))),
    "concept outside its value set": (
        "code-invalid",
        lambda s: s.type == "CodeableConcept" and bool(tables.codes(s.element.binding)),
        lambda s, r: _put(s, {"coding": [{"system": "http://example.org", "code": "bogus"}]}),
    ),
    "null": ("structure", lambda s: _without_companion(s), lambda s, r: _put(s, None)),
    "object for a primitive": ("structure", lambda s: s.primitive, lambda s, r: _put(s, {"value": "x"})),
    "primitive for an object": ("structure", lambda s: not s.primitive and s.type != "Resource", lambda s, r: _put(s, "x")),
    "empty object": ("structure", lambda s: not s.primitive and s.type != "Resource", lambda s, r: _put(s, {})),
    "only an id": ("structure", lambda s: s.type in ("HumanName", "Period", "Identifier", "Address"), lambda s, r: _put(s, {"id": "a"})),
    "list for a single element": ("structure", lambda s: s.element.max == 1, _list_of_one),
    "no list for a repeating element": ("structure", lambda s: s.element.max == tables.MANY and s.name != "contained", _not_a_list),
    "empty list": ("structure", lambda s: s.element.max == tables.MANY and _without_companion(s), _empty_list),
    "two choices": (
        "structure",
        lambda s: s.element.choice and s.path != "Extension" and any(t != s.type and t in tables.PRIMITIVE_TYPES for t in s.element.types),
        _second_choice,
    ),
    "reference to a wrong type": ("invalid", lambda s: s.type == "Reference" and bool(s.element.targets), _wrong_target),
    "unsafe narrative": ("invalid", lambda s: s.type == "xhtml", lambda s, r: _put(s, BAD["xhtml"][1])),
    "whole number with a fraction of zero": (
        "value",
        lambda s: s.type in ("integer", "positiveInt", "unsignedInt"),
        lambda s, r: _put(s, Decimal("1.00")),
    ),
}


def mutated(value: dict, kind: str, rng: random.Random) -> tuple[dict, str, Spot] | None:
    """A copy broken once by this kind of fault, the FHIRPath of the fault and the spot; None when there is no place for it."""
    copy = deepcopy(value)
    _, possible, break_it = MUTATIONS[kind]
    found = [spot for spot in spots(copy, copy["resourceType"], copy["resourceType"]) if possible(spot)]
    if not found:
        return None
    spot = rng.choice(found)
    return copy, break_it(spot, rng), spot
