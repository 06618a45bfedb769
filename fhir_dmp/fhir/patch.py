"""JSON Patch on exact trees: numbers keep their text, the input is never changed, untouched parts stay the same objects.

https://hl7.org/fhir/R4/http.html#patch and RFC 6902, RFC 6901

Two things differ from the RFC because FHIR JSON has no empty lists: an absent list is the empty list, so adding at `/securityLabel/-` makes
it; and removing the last item of a list removes the list.
"""

import re

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.json import MAX_DEPTH, same

MAX_OPERATIONS = 1000
MAX_COPIED = 1_000_000  # JSON values and characters that all `copy` operations of a patch may add together

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")


class _Fault(Exception):
    """Why an operation cannot be applied; becomes a FhirError with the number of the operation."""


def json_patch(document: dict, operations: object) -> dict:
    """The patched document. operations: the patch, as parsed (`parse_exact(body, object_only=False)`).

    A malformed patch is `invalid` (400); one that does not fit the document, a failing test included, is `unprocessable` (422).

    >>> json_patch({"status": "current"}, [{"op": "replace", "path": "/status", "value": "superseded"}])
    {'status': 'superseded'}
    """
    steps = _checked(operations)
    budget = MAX_COPIED
    result: object = document
    for number, (name, path, source, operation) in enumerate(steps):
        try:
            match name:
                case "test":
                    if not same(_at(result, path), operation["value"]):
                        raise _Fault("the value there is another")
                case "remove":
                    result = _removed(result, path)
                case "add":
                    result = _added(result, path, _measured(path, operation["value"]))
                case "replace":
                    result = _replaced(result, path, _measured(path, operation["value"]))
                case "copy":
                    value = _at(result, source)
                    budget -= measure(value, budget)[0]
                    if budget < 0:
                        raise _Fault(f"the copies add more than {MAX_COPIED} values")
                    result = _added(result, path, _measured(path, value))
                case "move":
                    value = _at(result, source)
                    if source != path:
                        if path[: len(source)] == source:
                            raise _Fault("a value cannot be moved into itself")
                        result = _added(_removed(result, source, keep_empty=True), path, _measured(path, value))
                        result = _without_empty(result, source)
        except _Fault as fault:
            words = f"operation {number} ({name} `{operation['path'][:100]}`): {fault}"
            raise FhirError("unprocessable", words) from None
    if not isinstance(result, dict):
        raise FhirError("unprocessable", "the patch leaves no JSON object")
    return result


def parse_pointer(text: str) -> tuple[str, ...]:
    """Reference tokens of a JSON Pointer.

    >>> parse_pointer("/a~1b/~0/0"), parse_pointer("")
    (('a/b', '~', '0'), ())
    """
    if text and not text.startswith("/"):
        raise FhirError("invalid", f"`{text[:100]}` is not a JSON Pointer: it starts with `/`")
    if _BAD_ESCAPE.search(text):
        raise FhirError("invalid", f"`{text[:100]}` is not a JSON Pointer: `~` is written `~0`")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def measure(value: object, limit: int = MAX_COPIED) -> tuple[int, int]:
    """(JSON values and characters, depth) of a tree; stops counting beyond `limit`."""
    count, depth, level = 0, 0, [value]
    while level and count <= limit:
        count += sum(1 + (len(part) if isinstance(part, str) else 0) for part in level)
        level = [part for part in level if isinstance(part, (dict, list))]
        depth += bool(level)
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
    return count, depth


def _checked(operations: object) -> list[tuple[str, tuple[str, ...], tuple[str, ...], dict]]:
    if not isinstance(operations, list):
        raise FhirError("invalid", "a JSON Patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise FhirError("too-costly", f"a patch of more than {MAX_OPERATIONS} operations")
    steps = []
    for number, operation in enumerate(operations):
        if not isinstance(operation, dict):
            raise FhirError("invalid", f"operation {number} is not an object")
        name = operation.get("op")
        if name not in _OPERATIONS:
            raise FhirError("invalid", f"operation {number}: op is none of {', '.join(_OPERATIONS)}")
        wanted = ("path", "from") if name in ("move", "copy") else ("path",)
        for member in wanted:
            if not isinstance(operation.get(member), str):
                raise FhirError("invalid", f"operation {number} ({name}) needs `{member}`")
        if name in ("add", "replace", "test") and "value" not in operation:
            raise FhirError("invalid", f"operation {number} ({name}) needs `value`")
        try:
            path, source = parse_pointer(operation["path"]), parse_pointer(operation["from"]) if "from" in wanted else ()
        except FhirError as fault:
            raise FhirError("invalid", f"operation {number} ({name}): {fault.message}") from None
        if len(path) > MAX_DEPTH or len(source) > MAX_DEPTH:
            raise FhirError("unprocessable", f"operation {number} ({name}): nested more than {MAX_DEPTH} levels")
        steps.append((name, path, source, operation))
    return steps


def _measured(path: tuple[str, ...], value: object) -> object:
    if len(path) + measure(value)[1] > MAX_DEPTH:
        raise _Fault(f"nested more than {MAX_DEPTH} levels")
    return value


def _index(token: str, length: int) -> int:
    """length: how many positions there are."""
    if not _INDEX.fullmatch(token):
        raise _Fault(f"`{token[:40]}` is not a place in a list")
    if int(token) >= length:
        raise _Fault(f"the list has no place {token}")
    return int(token)


def _step(container: object, token: str) -> object:
    if isinstance(container, dict):
        if token not in container:
            raise _Fault(f"there is no `{token[:100]}`")
        return container[token]
    if isinstance(container, list):
        return container[_index(token, len(container))]
    raise _Fault(f"there is nothing inside the value before `{token[:100]}`")


def _at(tree: object, path: tuple[str, ...]) -> object:
    for token in path:
        tree = _step(tree, token)
    return tree


def _with(container: object, token: str, value: object) -> object:
    """The container with one existing child replaced."""
    if isinstance(container, dict):
        return {**container, token: value}
    index = int(token)
    return [*container[:index], value, *container[index + 1 :]]


def _added(tree: object, path: tuple[str, ...], value: object) -> object:
    if not path:
        return value
    token, rest = path[0], path[1:]
    if rest:
        if isinstance(tree, dict) and token not in tree and rest in (("-",), ("0",)):
            return {**tree, token: [value]}
        return _with(tree, token, _added(_step(tree, token), rest, value))
    if isinstance(tree, dict):
        return {**tree, token: value}
    if isinstance(tree, list):
        index = len(tree) if token == "-" else _index(token, len(tree) + 1)
        return [*tree[:index], value, *tree[index:]]
    raise _Fault(f"there is nothing inside the value before `{token[:100]}`")


def _replaced(tree: object, path: tuple[str, ...], value: object) -> object:
    if not path:
        return value
    child = _step(tree, path[0])
    return _with(tree, path[0], _replaced(child, path[1:], value))


def _removed(tree: object, path: tuple[str, ...], *, keep_empty: bool = False) -> object:
    if not path:
        raise _Fault("the whole resource cannot be removed")
    token, rest = path[0], path[1:]
    child = _step(tree, token)
    if rest:
        left = _removed(child, rest, keep_empty=keep_empty)
        if left != [] or keep_empty:
            return _with(tree, token, left)
    if isinstance(tree, dict):
        return {name: value for name, value in tree.items() if name != token}
    return [*tree[: int(token)], *tree[int(token) + 1 :]]


def _without_empty(tree: object, path: tuple[str, ...]) -> object:
    """Removes the list an item was moved out of when it is left empty and still where it was."""
    try:
        left = _at(tree, path[:-1])
    except _Fault:
        return tree
    return _removed(tree, path[:-1]) if left == [] and len(path) > 1 else tree
