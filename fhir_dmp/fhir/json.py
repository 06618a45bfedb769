"""Exact JSON: bytes are checked once, spliced, and never re-encoded; numbers keep their text.

https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/datatypes.html#decimal
"""

import re
from collections.abc import Mapping
from decimal import Decimal

import jiter
import msgspec

from fhir_dmp.errors import FhirError

MAX_DEPTH = 64  # objects and arrays inside one another
MAX_NUMBER_CHARS = 1000
MAX_EXPONENT = 999

Exact = jiter.LosslessFloat  # a number of an exact tree that is not a plain int; bytes(n) is its text

_BOM = b"\xef\xbb\xbf"
_NEWLINE = b"\n"
_PLACE = re.compile(r"(?s)(.*) at line (\d+) column (\d+)$")
# Cheap doubts, settled by the scanner. An exponent of four digits or more; they start with one literal byte, which is what makes them fast.
_DOUBTFUL_EXPONENTS = tuple(re.compile(b"%b(?<=[0-9]%b)[+-]?[0-9]{4}[0-9]*+(?:[\\s,\\]}]|\\Z)" % (e, e)) for e in (b"e", b"E"))
# A number of more than 1,000 characters covers ten successive samples of one byte in a hundred.
_DOUBTFUL_LENGTH = re.compile(rb"[-+.eE0-9]{10}")
# A number, not the inside of a text such as a UUID: something that ends another value stands before it.
_MINUS_ZERO = re.compile(rb"-0(?<![^:,\[\s]-0)(?![0-9.eE])")
# An escape that `dump` may write otherwise: it needs none but those of quotes, backslashes and line ends.
_ESCAPES = re.compile(rb"\\[^\"\\nrt]")
_MARKERS = re.compile(rb"-0e-(0+)")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][0-9.eE+\-]*+|[\[\]{}]', re.DOTALL)

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def _number_text(value: object) -> msgspec.Raw:
    if isinstance(value, Exact):
        return msgspec.Raw(bytes(value))
    raise TypeError(f"not a JSON value: {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_number_text, decimal_format="number")


def parse(body: bytes, *, max_depth: int = MAX_DEPTH, object_only: bool = True) -> object:
    """Values of a JSON body: dict, list, str, int, Decimal, bool, None.

    Numbers are exact in value, not in notation (`1.00` stays Decimal("1.00"), `-0` becomes 0): for reading, not for writing back.
    object_only: refuse a body whose outermost value is not an object.
    """
    tree = _checked(body, "decimal")
    return _bounded(body, tree, max_depth, object_only)


def parse_exact(body: bytes, *, max_depth: int = MAX_DEPTH, object_only: bool = True) -> object:
    """Like `parse`, but every number keeps its text: ints are int, all else (also `-0`) is `Exact`; `dump` gives the text back.

    >>> dump(parse_exact(b'{"b": 1.00, "a": [-0, 1E2, 123456789012345678901234567890]}'))
    b'{"b":1.00,"a":[-0,1E2,123456789012345678901234567890]}'
    """
    if _MINUS_ZERO.search(body):
        return _parse_minus_zero(body, max_depth, object_only)
    tree = _checked(body, "lossless-float")
    return _bounded(body, tree, max_depth, object_only)


def dump(value: object) -> bytes:
    """Compact UTF-8 of a tree of `parse_exact` or of plain values; members in their order, `msgspec.Raw` as it is."""
    return _ENCODER.encode(value)


def plain(body: bytes) -> bytes:
    """The same value as `dump` writes it: no spaces outside of texts, no escapes where none are needed; numbers keep their text.

    >>> plain(b'{"b": [1.00, "a, b"] }')
    b'{"b":[1.00,"a, b"]}'
    """
    return dump(parse_exact(body)) if _ESCAPES.search(body) else msgspec.json.format(body, indent=-1)


def pretty(body: bytes) -> bytes:
    """Indented by two spaces; texts and numbers are copied as they are."""
    return msgspec.json.format(body, indent=2)


def number(value: object) -> Decimal | int:
    """The value of a number of either kind of tree."""
    if isinstance(value, Exact):
        return Decimal(bytes(value).decode())
    return Decimal(repr(value)) if isinstance(value, float) else value


def same(left: object, right: object) -> bool:
    """Equality of JSON values: members in any order, numbers by value (1.0 equals 1), true is not 1."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if left is None or isinstance(left, (bool, str)):
        return type(left) is type(right) and left == right
    return not (right is None or isinstance(right, (bool, str, dict, list))) and number(left) == number(right)


# --- splicing: all of these expect bytes that `parse` has accepted ---


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """Top-level members of an object, in order; the values are views of the bytes received, inner spaces included."""
    try:
        return _MEMBERS.decode(body)
    except msgspec.DecodeError as error:
        raise FhirError("invalid", "not a JSON object") from error


def items(body: bytes) -> list[msgspec.Raw]:
    """Items of an array, in order, as views of the bytes received."""
    try:
        return _ITEMS.decode(body)
    except msgspec.DecodeError as error:
        raise FhirError("invalid", "not a JSON array") from error


def set_members(body: bytes, changes: Mapping[str, bytes | None], *, after: str = "resourceType") -> bytes:
    """`body` with members replaced in place; None removes one; a new one goes after the member `after`, else first.

    >>> set_members(b'{"resourceType":"Patient","active":true,"x":1}', {"active": None, "id": b'"p1"', "x": b"1.0"})
    b'{"resourceType":"Patient","id":"p1","x":1.0}'
    """
    return _ENCODER.encode(_changed(members(body), changes, after))


def joined(members: Mapping[str, msgspec.Raw]) -> bytes:
    """The object of these members, in their order."""
    return _ENCODER.encode(members)


def stamp(body: bytes, *, id: str, version_id: str, last_updated: str, meta_overrides: Mapping[str, object | None] | None = None) -> bytes:
    """The resource as it is stored: id, meta.versionId and meta.lastUpdated set, everything else byte for byte and in its order.

    meta_overrides: members of meta to set (plain values or trees of `parse_exact`), None removes one.

    >>> stamp(b'{"resourceType":"Basic","x":1.00}', id="a", version_id="1", last_updated="2026-01-01T00:00:00.000Z")
    b'{"resourceType":"Basic","id":"a","meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00.000Z"},"x":1.00}'
    """
    resource = members(body)
    try:
        meta = _MEMBERS.decode(resource["meta"]) if "meta" in resource else {}
    except msgspec.DecodeError as error:
        raise FhirError("invalid", "meta is not an object", "meta") from error
    # Extensions of the client on members the server owns would describe values that are no longer there.
    if meta:
        meta = {name: value for name, value in meta.items() if name not in ("_versionId", "_lastUpdated")}
        meta = _changed(_changed(meta, {"versionId": dump(version_id)}, ""), {"lastUpdated": dump(last_updated)}, "versionId")
    else:
        meta = {"versionId": version_id, "lastUpdated": last_updated}
    if meta_overrides:
        overrides = {name: None if value is None else dump(value) for name, value in meta_overrides.items()}
        meta = _changed(meta, overrides, "lastUpdated")
    given, made = msgspec.Raw(_ENCODER.encode(id)), msgspec.Raw(_ENCODER.encode(meta))
    # As _changed would, in one pass: id in its place or after the type, meta in its place or after the id.
    new = {"id": given} if "meta" in resource else {"id": given, "meta": made}
    after = "id" if "id" in resource else "resourceType"
    stamped = {} if after in resource else dict(new)
    for name, value in resource.items():
        if name == after:
            if name != "id":
                stamped[name] = value
            stamped |= new
        else:
            stamped[name] = made if name == "meta" else value
    return _ENCODER.encode(stamped)


def _changed(old: dict[str, object], changes: Mapping[str, bytes | None], after: str) -> dict[str, object]:
    inserted = {name: msgspec.Raw(new) for name, new in changes.items() if new is not None and name not in old}
    result: dict[str, object] = {} if after in old else inserted
    for name, value in old.items():
        if name not in changes:
            result[name] = value
        elif (new := changes[name]) is not None:
            result[name] = msgspec.Raw(new)
        if name == after:
            result |= inserted
    return result


# --- checks ---


def _checked(body: bytes, numbers: str) -> object:
    if _DOUBTFUL_LENGTH.search(body[::100]) or any(pattern.search(body) for pattern in _DOUBTFUL_EXPONENTS):
        _decoded(body, "lossless-float")
        _refuse_numbers(body)
    return _decoded(body, numbers)


def _decoded(body: bytes, numbers: str) -> object:
    try:
        return jiter.from_json(body, float_mode=numbers, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError as error:
        raise _refusal(body, str(error)) from None


def _bounded(body: bytes, tree: object, max_depth: int, object_only: bool) -> object:
    if object_only and type(tree) is not dict:
        raise FhirError("invalid", "the outermost JSON value must be an object")
    if body.count(b"{") + body.count(b"[") > max_depth:
        level, depth = [tree], 0
        while level := [part for part in level if type(part) is dict or type(part) is list]:
            depth += 1
            if depth > max_depth:
                raise _too_deep(body, max_depth)
            level = [child for part in level for child in (part.values() if type(part) is dict else part)]
    return tree


def _parse_minus_zero(body: bytes, max_depth: int, object_only: bool) -> object:
    """jiter reads `-0` as the int 0, so such tokens travel under a text that occurs nowhere else in the body."""
    longest = max(map(len, _MARKERS.findall(body)), default=0)
    marker = b"-0e-" + b"0" * (longest + 1)
    marked = _TOKEN.sub(lambda token: marker if token[0] == b"-0" else token[0], body)
    if marked == body:
        return _bounded(body, _checked(body, "lossless-float"), max_depth, object_only)
    _bounded(body, _checked(body, "lossless-float"), max_depth, object_only)
    minus_zero = Exact(b"-0")

    def restored(value: object) -> object:
        if type(value) is dict:
            return {name: restored(part) for name, part in value.items()}
        if type(value) is list:
            return [restored(part) for part in value]
        return minus_zero if type(value) is Exact and bytes(value) == marker else value

    return restored(_decoded(marked, "lossless-float"))


def _refuse_numbers(body: bytes) -> None:
    for token in _TOKEN.finditer(body):
        text = token[0]
        if text[0] == 0x22 or text[0] in b"[]{}":
            continue
        if len(text) > MAX_NUMBER_CHARS:
            raise FhirError("unprocessable", f"number of more than {MAX_NUMBER_CHARS} characters{_at(body, token.start())}")
        exponent = re.split(rb"[eE]", text)[1:]
        if exponent and abs(int(exponent[0])) > MAX_EXPONENT:
            raise FhirError("unprocessable", f"number with an exponent beyond {MAX_EXPONENT}{_at(body, token.start())}")


def _too_deep(body: bytes, max_depth: int) -> FhirError:
    depth = 0
    for token in _TOKEN.finditer(body):
        depth += (token[0] in b"[{") - (token[0] in b"]}")
        if depth > max_depth:
            return FhirError("invalid", f"nested more than {max_depth} levels{_at(body, token.start())}")
    return FhirError("invalid", f"nested more than {max_depth} levels")


def _at(body: bytes, offset: int) -> str:
    line_start = body.rfind(_NEWLINE, 0, offset) + 1
    return f" at line {body.count(_NEWLINE, 0, offset) + 1} column {offset - line_start + 1}"


def _refusal(body: bytes, said: str) -> FhirError:
    found = _PLACE.fullmatch(said)
    if not found:
        return FhirError("invalid", "not JSON")
    fault, line, column = found[1], int(found[2]), int(found[3])
    kind, words = "invalid", f"not JSON: {fault}"
    if body.startswith(_BOM):
        words = "byte order mark before the JSON text"
    elif fault.startswith("Detected duplicate key "):
        name = msgspec.json.encode(fault[len("Detected duplicate key ") + 1 : -1][:100]).decode()[1:-1]
        words = f"duplicate member `{name}`"
    elif fault == "recursion limit exceeded":
        words = f"nested more than {MAX_DEPTH} levels"
    elif fault == "number out of range":
        kind, words = "unprocessable", f"number of more than {MAX_NUMBER_CHARS} characters"
    elif "unicode code point" in fault:
        words = "not JSON: invalid UTF-8"
    elif "surrogate" in fault or "hex escape" in fault:
        words = "not JSON: lone surrogate or broken \\u escape"
    elif fault.startswith("EOF"):
        words = "not JSON: the text ends too early"
    elif fault in ("expected value", "invalid number") and _is_nan(body, line, column):
        words = "NaN and Infinity are not JSON numbers"
    return FhirError(kind, f"{words} at line {line} column {column}")


def _is_nan(body: bytes, line: int, column: int) -> bool:
    start = 0
    for _ in range(line - 1):
        start = body.find(_NEWLINE, start) + 1
    return body.startswith((b"NaN", b"Infinity", b"-Infinity", b"-NaN"), start + max(column - 1, 0))
