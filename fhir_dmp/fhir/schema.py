"""Structural validation of a resource: its JSON Schema, compiled, and the rules beside it.

https://hl7.org/fhir/R4/validation.html
https://github.com/Stranger6667/jsonschema
A validator is compiled at first use of its type (about 10 ms, under 1 MB) and kept. Patterns run on an engine whose time is linear.
"""

import difflib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import islice

import jsonschema_rs

from fhir_dmp.errors import Issue
from fhir_dmp.fhir import rules, tables
from fhir_dmp.fhir.json_schema import json_schema
from fhir_dmp.fhir.primitives import PRIMITIVES
from fhir_dmp.fhir.rules import MAX_ISSUES, Findings, Nested, Place, expression, shown
from fhir_dmp.fhir.tables import RESOURCE_TYPES, known_type

__all__ = ["RESOURCE_TYPES", "known_type", "validate", "validator"]

# Faults are looked for in that many values of one resource. Only giant resources have more, and most of those are attacks.
EXPLAINED_VALUES = 20_000

_CUT: dict = {"resourceType": "Basic"}  # stands for a nested resource while its owner is validated
_JSON_WORDS = {"string": "a JSON string", "number": "a JSON number", "integer": "a whole JSON number", "boolean": "true or false"}


@cache
def validator(type_name: str) -> jsonschema_rs.Validator:
    """Compiled schema of a resource type."""
    return jsonschema_rs.validator_for(json_schema(type_name), pattern_options=jsonschema_rs.RegexOptions())


def validate(resource: object, *, type: str | None = None, members: Mapping[str, object] | None = None) -> list[Issue]:
    """Every structural fault of a parsed resource, [] when it has none.

    resource: values of fhir.json.parse (numbers as int and Decimal). type: what it must be; else what it says it is. members: its
    top-level members as fhir.json.members gives them, where somebody has them.
    Each issue has severity error, one of the codes structure, required, value, code-invalid, invalid, and its FHIRPath.
    At most MAX_ISSUES are listed.

    >>> validate({"resourceType": "Patient", "birthDate": "1970-02-30"})[0].expression
    'Patient.birthDate'
    """
    root = type or (resource.get("resourceType") if isinstance(resource, dict) else None)
    place: Place = (None, root if known_type(root) else "Resource", None)
    issues: list[Issue] = []
    waiting = [(Nested(resource, place, False), type, None)]
    while waiting:
        nested, expected, owner = waiting.pop()
        found = _one(nested, expected, owner, issues, members if nested.value is resource else None)
        if found is not None:
            waiting.extend((child, None, found if child.contained else None) for child in reversed(found.nested))
        if len(issues) > MAX_ISSUES:
            del issues[MAX_ISSUES:]
            issues.append(Issue("error", "too-costly", f"more than {MAX_ISSUES} faults; the others are not listed"))
            break
    return issues


def _one(
    nested: Nested, expected: str | None, owner: Findings | None, issues: list[Issue], members: Mapping[str, object] | None = None
) -> Findings | None:
    """Validate one resource without those inside it."""
    resource, place, _ = nested
    if not isinstance(resource, dict):
        issues.append(Issue("error", "structure", "a resource must be a JSON object", expression(place)))
        return None
    type_name = resource.get("resourceType")
    if not known_type(type_name):
        issues.append(_unknown_type(resource, place))
        return None
    if expected is not None and type_name != expected:
        message = f"resourceType is {type_name} but {expected} is expected here; send it to the address of its type"
        issues.append(Issue("error", "structure", message, expression((place, "resourceType", None))))
        return None
    if owner is None:
        contained = rules.contained_types(resource) if "contained" in resource else {}
    else:
        contained = owner.contained
        issues.extend(_contained_faults(resource, place))
    compiled = validator(type_name)
    try:
        found = rules.check(resource, type_name, place, contained, members)
        subject = _without_nested(resource, type_name) if found.nested else resource
        said = () if compiled.is_valid(subject) else _explain(compiled, subject, type_name, place)
    except (RecursionError, ValueError) as error:
        if "ecursion" not in str(error):
            raise
        issues.append(Issue("error", "structure", "the resource is nested too deeply; 64 levels are allowed", expression(place)))
        return None
    issues.extend(said)
    issues.extend(found.issues)
    if owner is not None:
        found.nested.clear()  # contained resources contain none; said above
    elif found.nested and found.nested[0].contained:
        issues.extend(_repeated_ids(found.nested))
    return found


def _unknown_type(resource: dict, place: Place) -> Issue:
    said = resource.get("resourceType")
    at = expression((place, "resourceType", None))
    if said is None:
        return Issue("error", "required", "`resourceType` is required; name the type of the resource", at)
    near = difflib.get_close_matches(said[:64], RESOURCE_TYPES, 1) if isinstance(said, str) else []
    hint = f"; did you mean {near[0]}?" if near else ""
    return Issue("error", "structure", f"{shown(said)} is not an R4 resource type{hint}", at)


def _contained_faults(resource: dict, place: Place) -> Iterator[Issue]:
    """dom-2 and dom-5 of R4, and the id without which nothing can refer to it.

    dom-4 (no versionId, no lastUpdated) is not enforced: the published French document-sharing examples carry them.
    """
    if "id" not in resource:
        yield Issue("error", "required", "a contained resource needs an `id` to be referred to; add one", expression((place, "id", None)))
    if "contained" in resource:
        message = "a contained resource must not contain others; put them side by side in the outer resource"
        yield Issue("error", "structure", message, expression((place, "contained", None)))
    meta = resource.get("meta")
    if isinstance(meta, dict) and "security" in meta:
        message = "a contained resource has no security labels of its own; label the outer resource"
        yield Issue("error", "structure", message, expression(((place, "meta", None), "security", None)))


def _repeated_ids(nested: list[Nested]) -> Iterator[Issue]:
    seen = set()
    for child in nested:
        id = child.value.get("id") if isinstance(child.value, dict) else None
        if isinstance(id, str) and id in seen:
            message = f"the id {shown(id)} is used by another contained resource; give each its own"
            yield Issue("error", "structure", message, expression((child.place, "id", None)))
        if isinstance(id, str):
            seen.add(id)


def _without_nested(value: object, path: str) -> object:
    """A copy in which a stub stands for each resource inside, so that nothing is judged twice."""
    if isinstance(value, list):
        return [_without_nested(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    copy = dict(value)
    for name, item in value.items():
        element, type_name = tables.members(path).get(name, (None, ""))
        if type_name == "Resource":
            copy[name] = [_cut(i) for i in item] if isinstance(item, list) else _cut(item)
        elif element is not None and element.children in _HOLDERS:
            copy[name] = _without_nested(item, element.children)
    return copy


# Backbone elements that hold resources.
_HOLDERS = frozenset({"Bundle.entry", "Bundle.entry.response", "Parameters.parameter"})


def _cut(item: object) -> object:
    return _CUT if isinstance(item, dict) else item


def _explain(compiled: jsonschema_rs.Validator, resource: dict, type_name: str, place: Place) -> list[Issue]:
    """Faults of a resource known to have some."""
    errors = compiled.iter_errors(_shortened(resource, [EXPLAINED_VALUES]))
    said = list(islice((issue for error in errors for issue in _say(error, type_name, place)), MAX_ISSUES + 1))
    if said:
        return said
    message = f"a fault lies beyond the first {EXPLAINED_VALUES} values of this resource; send fewer at a time to learn where"
    return [Issue("error", "structure", message, expression(place))]


def _shortened(value: object, budget: list[int]) -> object:
    """A copy whose arrays stop when the budget is used up: every fault costs the compiled validator 2 KB, asked for or not."""
    budget[0] -= 1
    if isinstance(value, dict):
        return {name: _shortened(item, budget) for name, item in value.items()}
    if not isinstance(value, list):
        return value
    kept: list = []
    for item in value:
        if budget[0] <= 0 and kept:
            break
        kept.append(_shortened(item, budget))
    return kept


def _say(error: jsonschema_rs.ValidationError, type_name: str, place: Place) -> Iterator[Issue]:
    """One fault of the schema in plain words, at its FHIRPath."""
    at, path, primitive = _locate(error.instance_path, type_name, place)
    keyword = error.kind.name
    where = expression(at)
    if error.instance == {} and keyword in ("required", "anyOf"):
        return  # minProperties says it already
    match keyword:
        case "additionalProperties":
            for name in error.kind.unexpected:
                yield _unknown_element(name, path, at)
        case "required" if path:
            yield _required(error.kind.property, at)
        case "anyOf" if "allOf" in error.schema_path and "concept-" not in str(error.schema_path):
            yield _required(error.kind.context[0][0].kind.property, at)
        case "anyOf":
            message = f"at least one coding must come from the value set {_value_set(error.schema_path)}, with its system"
            yield Issue("error", "code-invalid", message, where)
        case "enum":
            listed = [str(option) for option in error.kind.options if option is not None]
            choices = ", ".join(listed[:8]) + (f" and {len(listed) - 8} others" if len(listed) > 8 else "")
            if error.instance == "":
                yield Issue("error", "value", f"an empty string is not a code; use one of {choices}", where)
            elif isinstance(error.instance, str):
                yield Issue("error", "code-invalid", f"{shown(error.instance)} is not one of the codes allowed here: {choices}", where)
        case "type":
            code = "value" if "integer" in error.kind.types and isinstance(error.instance, float | Decimal) else "structure"
            yield Issue("error", code, _type_words(error, primitive), where)
        case "pattern":
            said = "an empty string" if error.instance == "" else shown(error.instance)
            yield Issue("error", "value", f"{said} is not a valid {primitive}: it must be {PRIMITIVES[primitive].hint}", where)
        case "minimum" | "maximum":
            hint = PRIMITIVES[primitive].hint
            yield Issue("error", "value", f"{shown(error.instance)} is not a valid {primitive}: it must be {hint}", where)
        case "maxLength":
            yield Issue("error", "value", "a string may hold at most 1 MB; put longer content into an Attachment or a Binary", where)
        case "minItems":
            yield Issue("error", "structure", "an array must not be empty; leave the element out instead", where)
        case "minProperties":
            yield Issue("error", "structure", "an object must not be empty; leave the element out instead", where)
        case _:
            yield Issue("error", "structure", f"the rule {keyword} of {'.'.join(map(str, error.schema_path[1:2]))} is broken here", where)


def _locate(instance_path: list[str | int], type_name: str, place: Place) -> tuple[Place, str, str]:
    """Place of a fault, path of the elements inside it ("" for a primitive), and the name of its type."""
    at, path, named = place, type_name, type_name
    for part in instance_path:
        if isinstance(part, int):
            at = (at[0], at[1], part)
            continue
        element, chosen = tables.members(path).get(part.removeprefix("_"), (None, ""))
        if element is None:
            at, path, named = (at, part, None), "", ""
            continue
        at = (at, rules.step_name(element, chosen), None)
        if part.startswith("_"):
            path, named = "Element", "Element"
        else:
            path, named = tables.child_path(element, chosen), chosen
    return at, path, named


def _required(name: str, at: Place) -> Issue:
    return Issue("error", "required", f"`{name}` is required here; add it", expression((at, name, None)))


def _unknown_element(name: str, path: str, at: Place) -> Issue:
    known = tables.members(path)
    bare = name.removeprefix("_")
    element = tables.elements(path).get(bare)
    if name == "resourceType":
        hint = "; only resources have it"
    elif name != bare and bare in known and known[bare][0].attribute:
        hint = f"; `{bare}` cannot have an id or extensions of its own"
    elif bare in known:
        hint = " here; remove it"  # a comparator in a SimpleQuantity, `_name` of an object
    elif element is not None and element.choice:
        listed = [f"`{element.json_name(t)}`" for t in element.types]
        hint = f"; write its type too: {', '.join(listed[:4])}{' or another' if len(listed) > 4 else ''}"
    else:
        near = difflib.get_close_matches(bare[:64], known, 1)
        hint = f"; did you mean `{near[0]}`?" if near else "; remove it or use an extension"
    place = (at, bare, None) if bare.isidentifier() and bare.isascii() and len(bare) <= 64 else at
    return Issue("error", "structure", f"{shown(name)} is not an element of {path or 'this'}{hint}", expression(place))


def _value_set(schema_path: list[str | int]) -> str:
    return next((str(part).removeprefix("concept-") for part in schema_path if str(part).startswith("concept-")), "bound to it")


def _type_words(error: jsonschema_rs.ValidationError, primitive: str) -> str:
    expected = [t for t in error.kind.types if t != "null"]
    if error.instance is None:
        return "null is not allowed here; leave the element out"
    if expected == ["array"]:
        return "this element repeats, so it must be a JSON array, also when it has one item"
    if isinstance(error.instance, list):
        return "this element does not repeat, so it must not be a JSON array"
    if expected == ["object"]:
        return f"this must be a JSON object{f' ({primitive})' if primitive else ''}, not {_kind(error.instance)}"
    if primitive in PRIMITIVES:
        return f"this must be {_JSON_WORDS[PRIMITIVES[primitive].json]} ({primitive}), not {_kind(error.instance)}"
    return f"this must be {' or '.join(expected)}"


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f"the string {shown(value)}"
    return f"the value {shown(str(value).lower() if isinstance(value, bool) else value)}"
