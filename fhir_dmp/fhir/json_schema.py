"""JSON Schema of a resource type, made from the tables: the type with its closure of data types.

https://hl7.org/fhir/R4/json.html
Contained resources and those of Bundle and Parameters are cut (any object): each is validated by the schema of its own type.
What a JSON Schema says badly or slowly (one choice of many, aligned arrays, references, narrative) is in rules.py.
"""

from fhir_dmp.fhir import tables
from fhir_dmp.fhir.primitives import LIMITED, PRIMITIVES, STRING_LENGTH
from fhir_dmp.fhir.tables import Element

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(type_name: str) -> dict:
    """Schema of one resource type, draft 2020-12, complete in itself."""
    definitions: dict[str, dict] = {}
    waiting = [type_name]
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            definitions[name] = _definition(name, waiting)
    return {"$schema": DIALECT, "$ref": f"#/$defs/{type_name}", "$defs": definitions}


def codes_name(value_set: str) -> str:
    """Name of the definition that lists the codes of a value set."""
    return "codes-" + value_set.rsplit("/", 1)[1]


def _definition(name: str, waiting: list[str]) -> dict:
    nullable, name = name.endswith("?"), name.removesuffix("?")
    if name.startswith("codes-") or name.startswith("concept-"):
        return _codes(name, nullable)
    if name in PRIMITIVES:
        return _primitive(name, nullable)
    return _object(name, nullable, waiting)


def _primitive(name: str, nullable: bool) -> dict:
    rule = PRIMITIVES[name]
    schema: dict = {"type": [rule.json, "null"] if nullable else rule.json}
    if rule.pattern:
        schema["pattern"] = f"^(?:{rule.pattern})$"
    if name in LIMITED:
        schema["maxLength"] = STRING_LENGTH
    if rule.low is not None:
        schema |= {"minimum": rule.low, "maximum": rule.high}
    return schema


def _codes(name: str, nullable: bool) -> dict:
    kind, _, short = name.partition("-")
    systems = next(tables.codes(url) for url in tables.value_sets() if url.rsplit("/", 1)[1] == short)
    if kind == "codes":
        listed: list = sorted({code for those in systems.values() for code in those})
        return {"type": ["string", "null"], "enum": [*listed, None]} if nullable else {"type": "string", "enum": listed}
    # R4: with a required binding a CodeableConcept has a coding from the value set. One that is absent and says why has none.
    anyone = [
        {"required": ["system", "code"], "properties": {"system": {"const": system}, "code": {"enum": list(those)}}}
        for system, those in systems.items()
    ]
    unsaid = {"required": ["extension"], "properties": {"coding": False, "text": False}}
    return {"anyOf": [{"required": ["coding"], "properties": {"coding": {"contains": {"anyOf": anyone}}}}, unsaid]}


def _object(name: str, nullable: bool, waiting: list[str]) -> dict:
    properties: dict[str, dict] = {}
    required: list[str] = []
    either: list[dict] = []
    if tables.known_type(name):
        properties["resourceType"] = {"const": name}
        required.append("resourceType")
    for element in tables.elements("Quantity" if name == "SimpleQuantity" else name).values():
        if name == "SimpleQuantity" and element.name == "comparator":
            continue
        for type_name in element.types:
            member = element.json_name(type_name)
            properties[member] = _member(element, type_name, waiting)
            if type_name in PRIMITIVES and not element.attribute:
                properties[f"_{member}"] = _companion(element, waiting)
        if element.min and not element.choice:
            if element.types[0] in PRIMITIVES and not element.attribute:
                # An element is there when it has a value or, as `_name`, only extensions.
                either.append({"anyOf": [{"required": [element.name]}, {"required": [f"_{element.name}"]}]})
            else:
                required.append(element.name)
    schema: dict = {
        "type": ["object", "null"] if nullable else "object",
        "minProperties": 1,
        "properties": properties,
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    if either:
        schema["allOf"] = either
    return schema


def _member(element: Element, type_name: str, waiting: list[str]) -> dict:
    many = element.max == tables.MANY
    if type_name == "Resource":
        one: dict = {"type": "object"}
    else:
        codes = tables.codes(element.binding) if element.binding else None
        suffix = "?" if many and type_name in PRIMITIVES else ""
        if codes is not None and type_name == "code":
            one = _reference(codes_name(element.binding) + suffix, waiting)
        else:
            one = _reference(_definition_name(element, type_name) + suffix, waiting)
        if codes is not None and type_name == "CodeableConcept":
            one["allOf"] = [_reference(codes_name(element.binding).replace("codes-", "concept-", 1), waiting)]
    return {"type": "array", "minItems": 1, "items": one} if many else one


def _companion(element: Element, waiting: list[str]) -> dict:
    if element.max == tables.MANY:
        return {"type": "array", "minItems": 1, "items": _reference("Element?", waiting)}
    return _reference("Element", waiting)


def _definition_name(element: Element, type_name: str) -> str:
    if type_name in PRIMITIVES or type_name == "SimpleQuantity":
        return type_name
    return tables.child_path(element, type_name)


def _reference(name: str, waiting: list[str]) -> dict:
    waiting.append(name)
    return {"$ref": f"#/$defs/{name}"}
