"""Resources made for a search parameter, and values to put in them, from small pools so that searches meet them."""

from decimal import Decimal
from random import Random

from fhir_dmp.fhir import tables
from fhir_dmp.search.expressions import Branch, branches
from fhir_dmp.search.parameters import Parameter, parameters

CODES = ("a", "B", "final", "x,y", "8480-6", "85354-9")
SYSTEMS = (None, "http://loinc.org", "http://s.example/a|b")
WORDS = ("Lefèvre", "lefevre", "Jean-Pierre", "Zoé", "ZOE Anne", "O'Brien", "Le Goff", "東京", "martin dupont", "m")
DATES = (
    "1980",
    "1980-05",
    "1980-05-12",
    "2020-02-29",
    "2020-02-29T10:00:00Z",
    "2020-02-29T10:00:00.250+01:00",
    "2020-03",
    "2021-12-31T23:59:59-05:00",
)
NUMBERS = ("0", "1", "1.0", "1.5", "2", "99.5", "100", "100.4", "-3", "0.010", "1e2", "12345678901234567890.1234567890123456789")
UNITS = (
    {},
    {"system": "http://unitsofmeasure.org", "code": "mg", "unit": "mg"},
    {"system": "http://unitsofmeasure.org", "code": "g"},
    {"system": "http://unitsofmeasure.org", "code": "mm[Hg]"},
    {"system": "http://units.example", "code": "tab"},
    {"unit": "mg"},
)
IDS = ("p1", "p2", "x.y")
URIS = ("http://a.example/fhir", "http://a.example/fhir/ValueSet/v", "http://a.example/fhirs", "urn:oid:1.2.3")


def coding(random: Random) -> dict:
    system = random.choice(SYSTEMS)
    made = {"code": random.choice(CODES), **({"system": system} if system else {})}
    return made | ({"display": random.choice(WORDS)} if random.random() < 0.3 else {})


def concept(random: Random) -> dict:
    made: dict = {"coding": [coding(random) for _ in range(random.choice((0, 1, 1, 2)))]}
    if not made["coding"] or random.random() < 0.3:
        made["text"] = random.choice(WORDS)
    return {name: value for name, value in made.items() if value}


def identifier(random: Random) -> dict:
    system = random.choice(SYSTEMS)
    made = {"value": random.choice(CODES), **({"system": system} if system else {})}
    return made | ({"type": {"coding": [{"system": "http://v2", "code": "MR"}]}} if random.random() < 0.4 else {})


def reference(random: Random, types: tuple[str, ...]) -> dict:
    type_name = random.choice(types or ("Patient", "Practitioner"))
    match random.randrange(10):
        case 0:
            return {"identifier": identifier(random), "type": type_name}
        case 1:
            return {"reference": f"http://other.example/fhir/{type_name}/{random.choice(IDS)}"}
        case 2:
            return {"reference": f"{type_name}/{random.choice(IDS)}/_history/2"}
        case 3:
            return {"display": "somebody", "type": type_name}
    return {"reference": f"{type_name}/{random.choice(IDS)}"}


def quantity(random: Random) -> dict:
    made = {"value": Decimal(random.choice(NUMBERS)), **random.choice(UNITS)}
    return made | ({"comparator": random.choice(("<", "<=", ">", ">="))} if random.random() < 0.2 else {})


def period(random: Random) -> dict:
    start, end = sorted((random.choice(DATES), random.choice(DATES)))
    return {name: value for name, value in (("start", start), ("end", end)) if random.random() < 0.8} or {"start": start}


def leaf(random: Random, branch: Branch) -> object:
    """A value of the type a branch ends in."""
    types = tuple(step.name for step in branch.steps if step.kind == "resolves") or branch.targets
    match branch.type:
        case "CodeableConcept":
            return concept(random)
        case "Coding":
            return coding(random)
        case "Identifier":
            return identifier(random)
        case "ContactPoint":
            return {"system": "phone", "value": random.choice(CODES)}
        case "Reference":
            return reference(random, types)
        case "Attachment":
            return {"url": random.choice(URIS)}
        case "Resource":
            return {"resourceType": "Patient", "id": random.choice(IDS)}
        case "HumanName":
            return {"family": random.choice(WORDS), "given": [random.choice(WORDS)]}
        case "Address":
            return {"city": random.choice(WORDS), "line": [random.choice(WORDS)]}
        case "Quantity" | "SimpleQuantity" | "Age" | "Duration":
            return quantity(random)
        case "Money":
            return {"value": Decimal(random.choice(NUMBERS)), "currency": "EUR"}
        case "Range":
            low, high = sorted((Decimal(random.choice(NUMBERS)), Decimal(random.choice(NUMBERS))))
            return {"low": {"value": low, "unit": "mg"}, "high": {"value": high, "unit": "mg"}}
        case "SampledData":
            return {"origin": {"value": Decimal(1)}, "period": 1, "dimensions": 1, "data": "1 2 E 3"}
        case "Period":
            return period(random)
        case "Timing":
            return {"event": [random.choice(DATES[2:6])]}
        case "boolean":
            return random.random() < 0.5
        case "integer" | "positiveInt" | "unsignedInt":
            return random.choice((0, 1, 2, 100))
        case "decimal":
            return Decimal(random.choice(NUMBERS))
        case "date":
            return random.choice(DATES[:4])
        case "dateTime":
            return random.choice(DATES)
        case "instant":
            return random.choice(DATES[4:6])
        case "uri" | "url" | "canonical" | "oid" | "uuid":
            return random.choice(URIS) + random.choice(("", "|1.0") if branch.type == "canonical" else ("",))
        case "code":
            found = [code for codes in (tables.codes(branch.binding) or {}).values() for code in codes] if branch.binding else []
            return random.choice(found or list(CODES[:3]))
        case "id":
            return random.choice(IDS)
        case "BackboneElement":
            return {"latitude": Decimal("48.8"), "longitude": Decimal("2.3")}
    return random.choice(WORDS)


def put(resource: dict, branch: Branch, value: object, *, whole: bool = True) -> None:
    """Write a value at the end of a branch; elements on the way are made where they are missing, and lists where they repeat."""
    at: dict = resource
    path = resource["resourceType"]
    steps = [step for step in branch.steps if step.kind not in ("index", "resolves", "resource")]
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if step.kind == "equals":
            if whole and last:
                value[step.name] = step.value
            else:
                at[step.name] = step.value
            continue
        if step.kind == "extension":
            made: dict = {"url": step.name}
            at.setdefault("extension", []).append(made)
            at, path = made, "Extension"
            continue
        element, type_name = tables.members(path)[step.name]
        path = tables.child_path(element, type_name)
        ends = last or all(s.kind == "equals" for s in steps[number + 1 :])
        if ends:
            for rest in steps[number + 1 :]:
                value[rest.name] = rest.value
            if element.max == tables.MANY:
                at.setdefault(step.name, []).append(value)
            else:
                at[step.name] = value
            return
        if element.max == tables.MANY:
            listed = at.setdefault(step.name, [{}])
            at = listed[0]
        else:
            at = at.setdefault(step.name, {})


def add(resource: dict, parameter: Parameter, random: Random) -> None:
    """Give a resource a value for a parameter; composites get one for each part, on the same element."""
    branch = random.choice(parameter.branches)
    if parameter.type == "composite":
        for component in parameter.components:
            inner = random.choice(branches(component.expression, branch.place))
            steps = inner.steps[1:] if inner.steps[0].kind == "resource" else (*branch.steps, *inner.steps)
            joined = Branch(steps, inner.type, inner.place, inner.binding, "", inner.targets)
            put(resource, joined, leaf(random, joined))
        return
    if any(step.kind == "equals" for step in branch.steps) or branch.steps:
        put(resource, branch, leaf(random, branch))


def resource_with(type_name: str, code: str, random: Random) -> dict:
    """A resource of the type with a value for one parameter."""
    made = {"resourceType": type_name}
    add(made, parameters(type_name)[code], random)
    return made
