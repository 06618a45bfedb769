"""FHIRPath Patch on exact trees: numbers keep their text, the input is never changed, untouched parts stay the same objects.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from collections.abc import Callable
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json as exact
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.patch import MAX_OPERATIONS, measure
from fhir_dmp.fhir.patch_path import QUANTITIES, Expression, Node, Steps, definition, evaluate, parse_path

_NUMBERS = frozenset({"integer", "positiveInt", "unsignedInt", "decimal"})


class Value(NamedTuple):
    """What an operation adds: a JSON member and, for a primitive, its id and extensions."""

    key: str
    value: object
    extra: dict | None = None


class _Operation(NamedTuple):
    type: str
    path: str
    expression: Expression
    name: str
    value: dict | None
    numbers: dict[str, int]


def apply(resource: dict, parameters: dict) -> dict:
    """The patched resource. parameters: the Parameters of the patch; both are trees of `parse_exact`.

    A malformed patch is `invalid` (400); one that does not fit the resource is `unprocessable` (422). Deleting what is not there is no
    fault. An element left empty by a deletion goes too.
    """
    if parameters.get("resourceType") != "Parameters":
        raise FhirError("invalid", "a FHIRPath Patch is a Parameters resource", "resourceType")
    listed = parameters.get("parameter", [])
    if not isinstance(listed, list):
        raise FhirError("invalid", "parameter is not a list", "Parameters.parameter")
    if len(listed) > MAX_OPERATIONS:
        raise FhirError("too-costly", f"a patch of more than {MAX_OPERATIONS} operations", "Parameters.parameter")
    operations = [_read(number, raw) for number, raw in enumerate(listed)]
    for number, operation in enumerate(operations):
        try:
            resource = _OPERATIONS[operation.type](resource, operation)
            if operation.value is not None and measure(resource)[1] > exact.MAX_DEPTH:
                raise FhirError("unprocessable", f"nested more than {exact.MAX_DEPTH} levels")
        except FhirError as fault:
            words = f"operation {number} ({operation.type} `{operation.path[:100]}`): {fault.message}"
            raise FhirError(fault.kind, words, f"Parameters.parameter[{number}]") from None
    return resource


# --- reading the patch ---


def _read(number: int, raw: object) -> _Operation:
    place = f"Parameters.parameter[{number}]"
    parts: dict[str, dict] = {}
    if not isinstance(raw, dict) or raw.get("name") != "operation" or not isinstance(raw.get("part"), list):
        raise FhirError("invalid", f"operation {number}: a parameter named `operation` with parts is expected", place)
    for part in raw["part"]:
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or name in parts:
            raise FhirError("invalid", f"operation {number}: a part without name, or named twice", place)
        parts[name] = part

    def text(name: str) -> str:
        part = parts.get(name, {})
        found = part.get("valueString", part.get("valueCode", part.get("valueUri")))
        if not isinstance(found, str):
            raise FhirError("invalid", f"operation {number} needs a part `{name}`", place)
        return found

    kind = text("type")
    if kind not in _OPERATIONS:
        raise FhirError("invalid", f"operation {number}: type is none of {', '.join(_OPERATIONS)}", place)
    path = text("path")
    try:
        expression = parse_path(path)
    except FhirError as fault:
        raise FhirError("invalid", f"operation {number} ({kind}): {fault.message}", place) from None
    name = text("name") if kind == "add" else ""
    numbers = {}
    for wanted in {"insert": ("index",), "move": ("source", "destination")}.get(kind, ()):
        part = parts.get(wanted, {})
        found = part.get("valueInteger", part.get("valueUnsignedInt", part.get("valuePositiveInt")))
        if type(found) is not int:
            raise FhirError("invalid", f"operation {number} ({kind}) needs a part `{wanted}` that is an integer", place)
        numbers[wanted] = found
    value = None
    if kind in ("add", "insert", "replace"):
        value = parts.get("value")
        if value is None:
            raise FhirError("invalid", f"operation {number} ({kind}) needs a part `value`", place)
    return _Operation(kind, path, expression, name, value, numbers)


# --- operations ---


def _add(resource: dict, operation: _Operation) -> dict:
    target = _one(evaluate(operation.expression, resource), "adding")
    inside = target.inside or ("Element" if tables.is_primitive(target.type) else target.type)
    at = target.at if target.inside else target.extra_at
    element, types = definition(inside, operation.name)
    made = _value(operation.value, element, types)
    if not target.inside:
        resource = _with_extra(resource, target)
    held = _get(resource, at)
    if element.max != tables.MANY:
        present = {element.json_name(t) for t in element.types}
        if any(key in held or f"_{key}" in held for key in present):
            raise FhirError("unprocessable", f"there is a `{element.name}` already, and it cannot repeat")
        return _put(resource, at, _with_member(held, made, None))
    count = len(_list_at(held, made.key))
    return _put(resource, at, _with_items(held, element, made.key, lambda values: [*values, (made.value, made.extra)], count))


def _insert(resource: dict, operation: _Operation) -> dict:
    resource, at, held, element, types = _list(resource, operation)
    made = _value(operation.value, element, types)
    count, index = len(_list_at(held, made.key)), operation.numbers["index"]
    if not 0 <= index <= count:
        raise FhirError("unprocessable", f"index {index} lies outside the list of {count}")

    def inserted(values: list) -> list:
        return [*values[:index], (made.value, made.extra), *values[index:]]

    return _put(resource, at, _with_items(held, element, made.key, inserted, count))


def _delete(resource: dict, operation: _Operation) -> dict:
    found = evaluate(operation.expression, resource)
    if not found:
        return resource
    target = _one(found, "deleting")
    if not target.at:
        raise FhirError("unprocessable", "the whole resource cannot be deleted by a patch")
    owner, key, index = _place(target)
    held = _get(resource, owner)
    if index is None:
        changed = {name: value for name, value in held.items() if name not in (key, f"_{key}")}
    else:
        changed = _with_items(held, target.element, key, lambda values: values[:index] + values[index + 1 :], len(_list_at(held, key)))
    return _without_empty(_put(resource, owner, changed), owner)


def _replace(resource: dict, operation: _Operation) -> dict:
    target = _one(evaluate(operation.expression, resource), "replacing")
    if not target.at:
        raise FhirError("unprocessable", "the whole resource cannot be replaced by a patch")
    owner, key, index = _place(target)
    held = _get(resource, owner)
    made = _value(operation.value, target.element, target.element.types)
    if index is None:
        return _put(resource, owner, _with_member(held, made, key))

    def replaced(values: list) -> list:
        return [*values[:index], (made.value, made.extra), *values[index + 1 :]]

    return _put(resource, owner, _with_items(held, target.element, key, replaced, len(_list_at(held, key))))


def _move(resource: dict, operation: _Operation) -> dict:
    resource, at, held, element, _ = _list(resource, operation)
    count, source, destination = len(_list_at(held, element.name)), operation.numbers["source"], operation.numbers["destination"]
    for name, index in (("source", source), ("destination", destination)):
        if not 0 <= index < count:
            raise FhirError("unprocessable", f"{name} {index} lies outside the list of {count}")

    def moved(values: list) -> list:
        rest = values[:source] + values[source + 1 :]
        return [*rest[:destination], values[source], *rest[destination:]]

    return _put(resource, at, _with_items(held, element, element.name, moved, count))


_OPERATIONS: dict[str, Callable[[dict, _Operation], dict]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _one(found: list[Node], doing: str) -> Node:
    if len(found) == 1:
        return found[0]
    if not found:
        raise FhirError("unprocessable", f"no element found at this path when {doing}")
    raise FhirError("unprocessable", f"{len(found)} elements found at this path when {doing}; it must name a single one")


def _list(resource: dict, operation: _Operation) -> tuple[dict, Steps, dict, tables.Element, tuple[str, ...]]:
    """(the resource, where in it the owner of the list is, the owner, the repeating element, its types)."""
    if operation.expression[0] != "member":
        raise FhirError("unprocessable", "the path must name a list, without index or filter on it")
    _, base, name = operation.expression
    owner = _one(evaluate(base, resource), operation.type.removesuffix("e") + "ing")
    inside = owner.inside or ("Element" if tables.is_primitive(owner.type) else owner.type)
    element, types = definition(inside, name)
    if element.max != tables.MANY:
        raise FhirError("unprocessable", f"`{element.name}` is not a list")
    if not owner.inside:
        resource = _with_extra(resource, owner)
        return resource, owner.extra_at, _get(resource, owner.extra_at), element, types
    return resource, owner.at, owner.value, element, types


# --- values ---


def _value(part: dict, element: tables.Element, types: tuple[str, ...]) -> Value:
    """The JSON of a `value` part (value[x], resource or nested parts) as this element, of one of these types."""
    given = [key for key in part if key in _VALUE_TYPES or key in _EXTRA_KEYS]
    nested = part.get("part")
    if "resource" in part:
        if types != ("Resource",) or not isinstance(part["resource"], dict):
            raise FhirError("unprocessable", f"`{element.name}` cannot be a resource")
        return Value(element.name, part["resource"])
    if isinstance(nested, list) and nested:
        inside = tables.child_path(element, types[0]) if len(types) == 1 else ""
        if given or not inside:
            raise FhirError("unprocessable", f"`{element.name}` cannot be given in parts")
        return Value(element.json_name(types[0]), _from_parts(nested, inside))
    names = {key.removeprefix("_") for key in given}
    if len(names) != 1:
        raise FhirError("invalid", f"the value for `{element.name}` needs exactly one value[x], or parts")
    key = names.pop()
    type_name = _fitting(_VALUE_TYPES[key], part.get(key), element, types)
    extra = part.get(f"_{key}")
    return Value(element.json_name(type_name), part.get(key), extra if isinstance(extra, dict) else None)


def _fitting(given: str, value: object, element: tables.Element, types: tuple[str, ...]) -> str:
    """Which of the types of an element a value announced as `given` becomes; refused when none fits."""
    if given in types:
        return given
    for wanted in types:
        if given in QUANTITIES and wanted in QUANTITIES and (not element.choice or "SimpleQuantity" in (wanted, given)):
            return wanted
    if len(types) == 1 and tables.is_primitive(types[0]) and tables.is_primitive(given) and _shape(types[0]) == _shape(given):
        return types[0]  # parameters cannot carry every primitive (xhtml), and clients send strings for codes and uris
    raise FhirError("unprocessable", f"`{element.name}` is {' or '.join(types)[:200]}, not {given}")


def _shape(type_name: str) -> str:
    return "number" if type_name in _NUMBERS else "boolean" if type_name == "boolean" else "text"


def _from_parts(parts: list, inside: str) -> dict:
    """A complex value of which each part is an element; parts of the same name are the items of a list."""
    made: dict = {}
    for part in parts:
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str):
            raise FhirError("invalid", "a part of a value has no name")
        element, types = definition(inside, name)
        value = _value(part, element, types)
        if element.max == tables.MANY:
            count = len(_list_at(made, value.key))
            made = _with_items(made, element, value.key, lambda values, new=value: [*values, (new.value, new.extra)], count)
        elif value.key in made or f"_{value.key}" in made:
            raise FhirError("unprocessable", f"`{name[:60]}` cannot repeat")
        else:
            made = _with_member(made, value, None)
    return made


_VALUE_TYPES = {key: type_name for key, (element, type_name) in tables.members("Parameters.parameter").items() if element.name == "value"}
_EXTRA_KEYS = frozenset(f"_{key}" for key in _VALUE_TYPES)


# --- changing a tree without touching it ---


def _get(tree: object, at: Steps) -> object:
    for step in at:
        tree = tree[step]
    return tree


def _put(tree: object, at: Steps, value: object) -> object:
    """The tree with another value at a place; all beside the way to it are the same objects."""
    if not at:
        return value
    step = at[0]
    child = _put(tree[step], at[1:], value)
    if isinstance(tree, dict):
        return {**tree, step: child}
    return [*tree[:step], child, *tree[step + 1 :]]


def _place(node: Node) -> tuple[Steps, str, int | None]:
    """(where the owner is, member, index in a list)."""
    if isinstance(node.at[-1], int):
        return node.at[:-2], node.at[-2], node.at[-1]
    return node.at[:-1], node.at[-1], None


def _with_member(held: dict, made: Value, old: str | None) -> dict:
    """The object with a member set; it takes the place of the member `old` (another type of a choice) and of its extensions."""
    new = ({made.key: made.value} if made.value is not None else {}) | ({f"_{made.key}": made.extra} if made.extra else {})
    if old is None:
        return held | new
    result: dict = {}
    for name, value in held.items():
        if name in (old, f"_{old}"):
            result |= new
        else:
            result[name] = value
    return result


def _list_at(held: dict, key: str) -> list:
    """The positions of a repeating member, also where only extensions are."""
    values, extras = held.get(key) or [], held.get(f"_{key}") or []
    return values if len(values) >= len(extras) else extras


def _with_items(held: dict, element: tables.Element, key: str, change: Callable[[list], list], count: int) -> dict:
    """The object with a repeating member changed; `change` sees and gives pairs (value, id and extensions)."""
    values, extras = held.get(key) or [], held.get(f"_{key}") or []
    pairs = change([(values[i] if i < len(values) else None, extras[i] if i < len(extras) else None) for i in range(count)])
    new = {key: [value for value, _ in pairs]} if any(value is not None for value, _ in pairs) else {}
    if any(extra is not None for _, extra in pairs):
        new[f"_{key}"] = [extra for _, extra in pairs]
    result = {}
    for name, value in held.items():
        if name not in (key, f"_{key}"):
            result[name] = value
        elif name in new:
            result[name] = new[name]
    return result | new


def _with_extra(tree: dict, node: Node) -> dict:
    """The resource with room for the id and extensions of a primitive."""
    if node.extra is not None:
        return tree
    owner, key, index = _place(node)
    held = _get(tree, owner)
    if index is None:
        return _put(tree, owner, {**held, f"_{key}": {}})
    extras = list(held.get(f"_{key}") or [])
    extras += [None] * (len(held[key]) - len(extras))
    extras[index] = {}
    return _put(tree, owner, {**held, f"_{key}": extras})


def _without_empty(tree: dict, at: Steps) -> dict:
    """The tree without the objects and lists that a deletion at a place left empty."""
    while at and not _get(tree, at):
        owner, step = _get(tree, at[:-1]), at[-1]
        if isinstance(owner, dict):
            changed: object = {name: value for name, value in owner.items() if name != step}
        elif len(at) > 1 and str(at[-2]).startswith("_"):
            # Lists of extensions keep the positions of the values beside them.
            kept = [None if i == step else value for i, value in enumerate(owner)]
            changed = kept if any(value is not None for value in kept) else []
        else:
            changed = [value for i, value in enumerate(owner) if i != step]
        tree, at = _put(tree, at[:-1], changed), at[:-1]
    return tree
