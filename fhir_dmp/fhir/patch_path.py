"""Paths of FHIRPath Patch: the simple subset of FHIRPath that names elements of one resource.

https://hl7.org/fhir/R4/fhirpatch.html and http://hl7.org/fhirpath/

Members, `[n]`, where, exists, empty, not, first, last, single, skip, take, tail, ofType, as, is, extension, `=`, `!=`, and, or, literals.
A choice is named without its type (`Observation.value`). Anything else is refused, never guessed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json as exact
from fhir_dmp.fhir import tables

MAX_CHARS = 2000
MAX_STEPS = 100
MAX_NESTING = 20

Steps = tuple[str | int, ...]

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|`(?P<quoted>[^`]*)`|'(?P<text>(?:[^'\\]|\\.)*)'|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|@(?P<date>[0-9T:.+\-Z]+)|(?P<sign>!=|[.()\[\]=,]|\$this|%resource|%context))",
    re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity"})


@dataclass(frozen=True, slots=True)
class Node:
    """An element in a resource.

    at: where it is in the JSON tree, e.g. ("name", 0, "given", 1), () for the resource. type: FHIR type. inside: path of its elements
    in the tables, "" for a primitive. element: its definition, None for the resource. value: None when only `extra` is there.
    extra: id and extensions of a primitive (the `_name` member).
    """

    at: Steps
    type: str
    inside: str
    element: tables.Element | None
    value: object
    extra: dict | None = None

    @property
    def extra_at(self) -> Steps:
        """Where `extra` is or would be."""
        if isinstance(self.at[-1], int):
            return (*self.at[:-2], f"_{self.at[-2]}", self.at[-1])
        return (*self.at[:-1], f"_{self.at[-1]}")


# An expression is a tuple: ("root", type or ""), ("this",), ("literal", value), ("member", base, name), ("index", base, n),
# ("call", base, function, arguments), ("=" or "!=" or "and" or "or", left, right).
Expression = tuple


def evaluate(expression: Expression, resource: dict) -> list[Node]:
    """The elements a path names. Refuses (as unprocessable) members that the type does not have, and paths that name no elements."""
    found = _evaluated(expression, [root(resource)], [root(resource)])
    if not all(isinstance(item, Node) for item in found):
        raise FhirError("unprocessable", "the path names a value, not an element")
    return found


def root(resource: dict) -> Node:
    type_name = resource.get("resourceType")
    if not tables.known_type(type_name):
        raise FhirError("unprocessable", "the resource has no known type")
    return Node((), type_name, type_name, None, resource)


def children(node: Node, name: str) -> Iterator[Node]:
    """Elements of this name inside a node, in order; a choice is found under its name without type, or with."""
    if not node.inside and node.element is not None and not tables.is_primitive(node.type):
        raise FhirError("unprocessable", f"there is nothing inside `{node.element.name}`")
    inside, value, at = (node.inside, node.value, node.at) if node.inside else ("Element", node.extra or {}, node.extra_at)
    element, types = definition(inside, name)
    for type_name in types:
        key = element.json_name(type_name)
        primitive = tables.is_primitive(type_name)
        held = value.get(key) if isinstance(value, dict) else None
        extra = value.get(f"_{key}") if primitive and isinstance(value, dict) else None
        if element.max == tables.MANY:
            values, extras = held if isinstance(held, list) else [], extra if isinstance(extra, list) else []
            for i in range(max(len(values), len(extras))):
                yield _node((*at, key, i), type_name, element, _item(values, i), _item(extras, i))
        elif held is not None or extra is not None:
            yield _node((*at, key), type_name, element, held, extra)


def definition(inside: str, name: str) -> tuple[tables.Element, tuple[str, ...]]:
    """The element of this name in a type or backbone element, and the types it may have (one, for a choice named with its type)."""
    element = tables.elements(inside).get(name)
    if element:
        return element, element.types
    if name in tables.members(inside):
        element, type_name = tables.members(inside)[name]
        return element, (type_name,)
    raise FhirError("unprocessable", f"`{inside}` has no element `{name[:60]}`")


def _node(at: Steps, type_name: str, element: tables.Element, value: object, extra: object) -> Node:
    if type_name == "Resource" and isinstance(value, dict) and tables.known_type(value.get("resourceType")):
        type_name = value["resourceType"]
        return Node(at, type_name, type_name, element, value)
    return Node(at, type_name, tables.child_path(element, type_name), element, value, extra if isinstance(extra, dict) else None)


def _item(listed: list, index: int) -> object:
    return listed[index] if index < len(listed) else None


# --- evaluation ---


def _evaluated(expression: Expression, this: list, context: list) -> list:
    """this: what `$this` is, one item in a criterion. context: the resource."""
    match expression:
        case ("root", type_name):
            if type_name and context[0].type != type_name:
                raise FhirError("unprocessable", f"the resource is a {context[0].type}, not a {type_name}")
            return context
        case ("this",):
            return this
        case ("literal", value):
            return [value]
        case ("member", base, name):
            return [child for item in _evaluated(base, this, context) for child in _children(item, name)]
        case ("index", base, number):
            return _evaluated(base, this, context)[number : number + 1]
        case ("call", base, name, arguments):
            return _FUNCTIONS[name](_evaluated(base, this, context), arguments, context)
        case (("=" | "!=") as sign, left, right):
            one, two = _evaluated(left, this, context), _evaluated(right, this, context)
            if not one or not two:
                return []
            equal = len(one) == len(two) and all(_same(a, b) for a, b in zip(one, two, strict=True))
            return [equal == (sign == "=")]
        case ("and", left, right):
            return [_is_true(_evaluated(left, this, context)) and _is_true(_evaluated(right, this, context))]
        case ("or", left, right):
            return [_is_true(_evaluated(left, this, context)) or _is_true(_evaluated(right, this, context))]
    raise FhirError("unprocessable", "the path cannot be evaluated")


def _children(item: object, name: str) -> Iterator[Node]:
    if not isinstance(item, Node):
        raise FhirError("unprocessable", f"there is no `{name[:60]}` inside a value")
    return children(item, name)


def _plain(item: object) -> object:
    return item.value if isinstance(item, Node) else item


def _same(left: object, right: object) -> bool:
    return exact.same(_plain(left), _plain(right))


def _is_true(found: list) -> bool:
    """A single element that is no boolean counts as true, as FHIRPath evaluates singletons."""
    return len(found) == 1 and _plain(found[0]) is not False


def _where(found: list, arguments: list[Expression], context: list) -> list:
    return [item for item in found if _is_true(_evaluated(arguments[0], [item], context))]


def _of_type(found: list, arguments: list[Expression], context: list) -> list:
    return [item for item in found if isinstance(item, Node) and _has_type(item, arguments[0])]


def _has_type(node: Node, wanted: Expression) -> bool:
    name = wanted[-1]
    return node.type == name or {node.type, name} == {"Quantity", "SimpleQuantity"} or (name == "Quantity" and node.type in QUANTITIES)


def _is(found: list, arguments: list[Expression], context: list) -> list:
    return [isinstance(item, Node) and _has_type(item, arguments[0]) for item in found]


def _exists(found: list, arguments: list[Expression], context: list) -> list:
    return [bool(_where(found, arguments, context) if arguments else found)]


def _not(found: list, arguments: list[Expression], context: list) -> list:
    return [not _is_true(found)] if found else []


def _single(found: list, arguments: list[Expression], context: list) -> list:
    if len(found) > 1:
        raise FhirError("unprocessable", "single() found several elements")
    return found


def _extension(found: list, arguments: list[Expression], context: list) -> list:
    url = arguments[0][1]
    extensions = [extension for item in found for extension in _children(item, "extension")]
    return [extension for extension in extensions if isinstance(extension.value, dict) and extension.value.get("url") == url]


# name -> (what its arguments are: "" none, "criterion", "criterion?", "type", "number", "text", function)
_ARITY: dict[str, tuple[str, Callable[[list, list[Expression], list], list]]] = {
    "where": ("criterion", _where),
    "exists": ("criterion?", _exists),
    "empty": ("", lambda found, _, __: [not found]),
    "not": ("", _not),
    "first": ("", lambda found, _, __: found[:1]),
    "last": ("", lambda found, _, __: found[-1:]),
    "tail": ("", lambda found, _, __: found[1:]),
    "single": ("", _single),
    "skip": ("number", lambda found, arguments, __: found[arguments[0][1] :]),
    "take": ("number", lambda found, arguments, __: found[: arguments[0][1]]),
    "ofType": ("type", _of_type),
    "as": ("type", _of_type),
    "is": ("type", _is),
    "extension": ("text", _extension),
}
_FUNCTIONS = {name: function for name, (_, function) in _ARITY.items()}


# --- parsing ---


@lru_cache(maxsize=256)
def parse_path(text: str) -> Expression:
    """The expression of a path, which starts with the resource type or with one of its elements.

    >>> parse_path("Patient.name[0].where(use = 'official').given")
    ('member', ('call', ('index', ('member', ('root', 'Patient'), 'name'), 0), 'where', [('=', ('member', ('this',), 'use'), \
('literal', 'official'))]), 'given')
    """
    if len(text) > MAX_CHARS:
        raise FhirError("invalid", f"a path of more than {MAX_CHARS} characters")
    parser = _Parser(text)
    expression = parser.either(("root", ""))
    if parser.kind:
        raise parser.fault()
    return expression


class _Parser:
    """Recursive descent over the tokens of one path; steps and nesting are bounded."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.steps, self.nesting = text, 0, 0, 0
        self.kind = self.value = ""
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.position)
        if found:
            self.position = found.end()
            self.kind = found.lastgroup
            self.value = found[self.kind]
            if self.kind == "quoted":
                self.kind = "name"
        elif self.text[self.position :].strip():
            raise self.fault()
        else:
            self.kind = self.value = ""

    def fault(self) -> FhirError:
        return FhirError("invalid", f"`{self.text[:100]}` is not a path this server understands, near character {self.position}")

    def count(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise FhirError("invalid", f"a path of more than {MAX_STEPS} steps")

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self.value == sign

    def take_sign(self, sign: str) -> None:
        if not self.is_sign(sign):
            raise self.fault()
        self.advance()

    def either(self, start: Expression) -> Expression:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise FhirError("invalid", f"a path with more than {MAX_NESTING} parentheses inside one another")
        left = self.both(start)
        while self.kind == "name" and self.value == "or":
            self.advance()
            left = ("or", left, self.both(start))
        self.nesting -= 1
        return left

    def both(self, start: Expression) -> Expression:
        left = self.equality(start)
        while self.kind == "name" and self.value == "and":
            self.advance()
            left = ("and", left, self.equality(start))
        return left

    def equality(self, start: Expression) -> Expression:
        left = self.typed(start)
        if self.kind == "sign" and self.value in ("=", "!="):
            sign = self.value
            self.advance()
            return (sign, left, self.typed(start))
        return left

    def typed(self, start: Expression) -> Expression:
        left = self.chain(start)
        while self.kind == "name" and self.value in ("as", "is"):
            name = self.value
            self.advance()
            left = ("call", left, name, [self.type_name()])
        return left

    def chain(self, start: Expression) -> Expression:
        expression = self.term(start)
        while self.is_sign(".") or self.is_sign("["):
            self.count()
            if self.is_sign("["):
                self.advance()
                expression = ("index", expression, self.number()[1])
                self.take_sign("]")
            else:
                self.advance()
                expression = self.step(expression)
        return expression

    def term(self, start: Expression) -> Expression:
        self.count()
        kind, value = self.kind, self.value
        if kind == "sign" and value in ("$this", "%resource", "%context"):
            self.advance()
            return ("this",) if value == "$this" else ("root", "")
        if kind == "sign" and value == "(":
            self.advance()
            expression = self.either(start)
            self.take_sign(")")
            return expression
        if kind in ("text", "date"):
            self.advance()
            return ("literal", re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), value, flags=re.DOTALL) if kind == "text" else value)
        if kind == "number":
            self.advance()
            return ("literal", exact.Exact(value.encode()) if "." in value else int(value[:30]))
        if kind == "name" and value in ("true", "false"):
            self.advance()
            return ("literal", value == "true")
        if kind == "name" and (tables.known_type(value) or value in ("Resource", "DomainResource")):
            self.advance()
            return ("root", value if tables.known_type(value) else "")
        return self.step(start)

    def step(self, base: Expression) -> Expression:
        """A member or a function call."""
        if self.kind != "name":
            raise self.fault()
        name = self.value
        self.advance()
        if not self.is_sign("("):
            return ("member", base, name)
        if name not in _ARITY:
            raise FhirError("invalid", f"the function `{name[:40]}` is not available in patch paths")
        self.advance()
        arguments = self.arguments(_ARITY[name][0])
        self.take_sign(")")
        return ("call", base, name, arguments)

    def arguments(self, wanted: str) -> list[Expression]:
        if wanted == "" or (wanted == "criterion?" and self.is_sign(")")):
            return []
        if wanted == "type":
            return [self.type_name()]
        if wanted == "number":
            return [self.number()]
        if wanted == "text":
            if self.kind != "text":
                raise self.fault()
            return [self.term(("this",))]
        return [self.either(("this",))]

    def type_name(self) -> Expression:
        if self.kind != "name":
            raise self.fault()
        name = self.value
        self.advance()
        if name in ("FHIR", "System") and self.is_sign("."):
            self.advance()
            if self.kind != "name":
                raise self.fault()
            name = self.value
            self.advance()
        return ("type", name)

    def number(self) -> Expression:
        if self.kind != "number" or not self.value.isdecimal() or len(self.value) > 9:
            raise self.fault()
        number = int(self.value)
        self.advance()
        return ("literal", number)
