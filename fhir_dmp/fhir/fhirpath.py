"""FHIRPath, as far as invariants of profiles use it, compiled to closures over plain JSON values.

http://hl7.org/fhirpath/N1/ and https://hl7.org/fhir/R4/fhirpath.html

A library costs 50 to 270 µs an invariant, these closures 1 to 10; tests hold the two against each other. What is not known here is
refused when it is compiled, never skipped. Evaluation is total: what the language calls an error gives an empty collection.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache

from fhir_dmp.fhir import tables
from fhir_dmp.fhir.fhirpath_functions import ARGUMENTS, LAMBDAS, PLAIN, equal, truth, typed

# What an expression becomes: (focus, resource) -> items.
Path = Callable[[list, dict], list]

_LEXEME = re.compile(
    r"\s*('(?:[^'\\]|\\.)*'|`[^`]+`|[0-9]+\.[0-9]+|[0-9]+|%[A-Za-z]+|\$this|[A-Za-z_][A-Za-z0-9_]*|!=|!~|<=|>=|[-|().,\[\]=~<>+*/&])"
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
# Operators from loosest to tightest. https://hl7.org/fhirpath/N1/#operator-precedence
_LEVELS = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "!=", "~", "!~"),
    ("<", ">", "<=", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
)


class PathError(ValueError):
    """The expression is malformed, or uses what invariants do not."""


@cache
def choices() -> dict[str, dict[str, str]]:
    """Name of a choice -> JSON member -> type, over all types, e.g. value -> {valueQuantity: Quantity, ...}."""
    found: dict[str, dict[str, str]] = {}
    for path in tables.paths():
        for element in tables.elements(path).values():
            if element.choice:
                found.setdefault(element.name, {}).update({element.json_name(t): t for t in element.types})
    return found


@cache
def invariant(expression: str) -> Callable[[object, dict], bool]:
    """Function (value, resource it stands in) -> whether the invariant holds. PathError when it cannot be compiled.

    >>> invariant("name.exists() implies name.family.exists()")({"name": [{"given": ["A"]}]}, {})
    False
    >>> invariant("value.ofType(Quantity).code = 'kg'")({"valueQuantity": {"code": "kg"}}, {})
    True
    """
    path = compiled(expression)
    return lambda value, resource: truth(path([value], resource)) is True


@cache
def compiled(expression: str) -> Path:
    """The expression as a function."""
    parser = _Parser(expression)
    path = parser.operators(0)
    if parser.next is not None:
        raise PathError(f"`{expression}`: `{parser.next}` is not expected")
    return path


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.lexemes = list(_lexemes(expression))
        self.at = 0

    @property
    def next(self) -> str | None:
        return self.lexemes[self.at] if self.at < len(self.lexemes) else None

    def take(self, expected: str | None = None) -> str:
        found = self.next
        if found is None or (expected is not None and found != expected):
            raise PathError(f"`{self.expression}`: `{expected or 'something'}` expected, `{found or 'the end'}` found")
        self.at += 1
        return found

    def operators(self, level: int) -> Path:
        if level == len(_LEVELS):
            return self.path()
        left = self.operators(level + 1)
        while self.next in _LEVELS[level]:
            operator = self.take()
            if operator in ("is", "as"):
                left = _on_type(operator, left, self.type_name())
            else:
                left = _binary(operator, left, self.operators(level + 1))
        return left

    def type_name(self) -> str:
        name = self.take()
        while self.next == ".":
            self.take()
            name = self.take()
        return name

    def path(self) -> Path:
        found, named = self.term()
        while self.next in (".", "["):
            if self.take() == "[":
                found, named = _index(found, int(self.take())), None
                self.take("]")
                continue
            name = self.take()
            if self.next != "(":
                found, named = _member(found, _identifier(name)), (found, _identifier(name))
            else:
                found, named = self.function(found, name, named), None
        return found

    def term(self) -> tuple[Path, tuple[Path, str] | None]:
        token = self.take()
        if token == "(":
            inner = self.operators(0)
            self.take(")")
            return inner, None
        if token == "-":
            return _literal(-_number(self.take())), None
        if token[0] == "'":
            return _literal(_string(token)), None
        if token[0].isdigit():
            return _literal(_number(token)), None
        if token in ("true", "false"):
            return _literal(token == "true"), None
        if token == "$this":
            return _this, None
        if token in ("%resource", "%rootResource"):
            return _resource, None
        if not (token[0].isalpha() or token[0] in "_`"):
            raise PathError(f"`{self.expression}`: `{token}` is not expected")
        if self.next == "(":
            return self.function(_this, token, None), None
        name = _identifier(token)
        if name[0].isupper():
            return _of_resource(name), None
        return _member(_this, name), (_this, name)

    def function(self, base: Path, name: str, named: tuple[Path, str] | None) -> Path:
        self.take("(")
        if name in ("ofType", "as", "is"):
            type_name = self.type_name()
            self.take(")")
            if named and named[1] in choices() and name != "is":
                return _choice(*named, type_name)
            return _on_type("as" if name == "ofType" else name, base, type_name)
        given = []
        while self.next != ")":
            given.append(self.operators(0))
            if self.next == ",":
                self.take()
        self.take(")")
        return self.call(base, name, given)

    def call(self, base: Path, name: str, given: list[Path]) -> Path:
        if not given and name in PLAIN:
            plain = PLAIN[name]
            return lambda focus, resource: plain(base(focus, resource))
        if len(given) == 1 and name in LAMBDAS:
            each, (test,) = LAMBDAS[name], given
            return lambda focus, resource: each(base(focus, resource), test, resource)
        if len(given) == 1 and name in ARGUMENTS:
            function, (argument,) = ARGUMENTS[name], given
            return lambda focus, resource: function(base(focus, resource), argument(focus, resource))
        if name == "resolve" and not given:
            return lambda focus, resource: [one for item in base(focus, resource) for one in _resolved(item, resource)]
        if name == "iif" and len(given) in (2, 3):
            return _iif(base, *given)
        raise PathError(f"`{self.expression}`: function `{name}` with {len(given)} arguments is not known")


def _lexemes(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _LEXEME.match(text, at)
        if match is None:
            raise PathError(f"`{text}` is not understood at `{text[at:]}`")
        found.append(match[1])
        at = match.end()
    return found


def _identifier(token: str) -> str:
    return token.strip("`")


def _number(token: str) -> int | Decimal:
    return Decimal(token) if "." in token else int(token)


def _string(token: str) -> str:
    def said(match: re.Match) -> str:
        inner = match[1]
        return chr(int(inner[1:], 16)) if len(inner) == 5 else _PLAIN_ESCAPES.get(inner, inner)

    return _ESCAPE.sub(said, token[1:-1])


def _this(focus: list, resource: dict) -> list:
    return focus


def _resource(focus: list, resource: dict) -> list:
    return [resource]


def _literal(value: object) -> Path:
    items = [value]
    return lambda focus, resource: items


def _of_resource(name: str) -> Path:
    """A leading type name: the focus itself where it is of that type."""
    return lambda focus, resource: [item for item in focus if typed(item, name)]


def _member(base: Path, name: str) -> Path:
    members = frozenset(choices().get(name, ()))

    def member(focus: list, resource: dict) -> list:
        found: list = []
        for item in base(focus, resource):
            if type(item) is not dict:
                continue
            inner = item.get(name)
            if inner is None:
                if members and (keys := members & item.keys()):
                    found += [item[key] for key in keys]
            elif type(inner) is list:
                found += [one for one in inner if one is not None]
            else:
                found.append(inner)
        return found

    return member


def _choice(base: Path, name: str, type_name: str) -> Path:
    key = name + tables.choice_suffix(type_name)
    return lambda focus, resource: [item[key] for item in base(focus, resource) if type(item) is dict and key in item]


def _index(base: Path, position: int) -> Path:
    return lambda focus, resource: base(focus, resource)[position : position + 1]


def _on_type(operator: str, base: Path, name: str) -> Path:
    if operator == "as":
        return lambda focus, resource: [item for item in base(focus, resource) if typed(item, name)]

    def of_type(focus: list, resource: dict) -> list:
        items = base(focus, resource)
        return [typed(items[0], name)] if len(items) == 1 else []

    return of_type


def _iif(base: Path, test: Path, then: Path, otherwise: Path | None = None) -> Path:
    def iif(focus: list, resource: dict) -> list:
        items = base(focus, resource)
        if truth(test(items, resource)) is True:
            return then(items, resource)
        return otherwise(items, resource) if otherwise else []

    return iif


def _resolved(item: object, resource: dict) -> list:
    """What a reference leads to, inside the same resource: a contained one, or an entry of the same Bundle."""
    text = item.get("reference") if type(item) is dict else item
    if type(text) is not str:
        return []
    if text.startswith("#"):
        return [one for one in _listed(resource.get("contained")) if type(one) is dict and one.get("id") == text[1:]]
    entries = [one for one in _listed(resource.get("entry")) if type(one) is dict]
    return [one["resource"] for one in entries if one.get("fullUrl") == text and type(one.get("resource")) is dict]


def _listed(value: object) -> list:
    return value if type(value) is list else []


def _binary(operator: str, left: Path, right: Path) -> Path:
    match operator:
        case "and" | "or" | "xor" | "implies":
            return _logic(operator, left, right)
        case "=" | "!=" | "~" | "!~":
            return _equality(operator, left, right)
        case "in":
            return _membership(left, right)
        case "contains":
            return _membership(right, left)
        case "|":
            return lambda focus, resource: ARGUMENTS["union"](left(focus, resource), right(focus, resource))
        case "+" | "-" | "&":
            return _sum(operator, left, right)
    return _comparison(operator, left, right)


def _logic(operator: str, left: Path, right: Path) -> Path:
    # Three values: True, False, and None for an empty collection.
    def logic(focus: list, resource: dict) -> list:
        a = truth(left(focus, resource))
        if operator == "and":
            if a is False:
                return [False]
            b = truth(right(focus, resource))
            return [False] if b is False else [] if a is None or b is None else [True]
        if operator == "or":
            if a is True:
                return [True]
            b = truth(right(focus, resource))
            return [True] if b is True else [] if a is None or b is None else [False]
        if operator == "implies":
            if a is False:
                return [True]
            b = truth(right(focus, resource))
            return [True] if b is True else [] if a is None or b is None else [False]
        b = truth(right(focus, resource))
        return [] if a is None or b is None else [a != b]

    return logic


def _equality(operator: str, left: Path, right: Path) -> Path:
    negative, loose = operator[0] == "!", operator[-1] == "~"

    def equality(focus: list, resource: dict) -> list:
        a, b = left(focus, resource), right(focus, resource)
        if not loose and not (a and b):
            return []
        same = len(a) == len(b) and all(equal(x, y, loose) for x, y in zip(a, b, strict=True))
        return [same != negative]

    return equality


def _membership(item: Path, collection: Path) -> Path:
    def membership(focus: list, resource: dict) -> list:
        one, those = item(focus, resource), collection(focus, resource)
        if len(one) != 1:
            return []
        return [any(equal(one[0], other) for other in those)]

    return membership


def _sum(operator: str, left: Path, right: Path) -> Path:
    def total(focus: list, resource: dict) -> list:
        a, b = left(focus, resource), right(focus, resource)
        if operator == "&":
            a, b = a or [""], b or [""]
        if len(a) != 1 or len(b) != 1:
            return []
        (x,), (y,) = a, b
        if isinstance(x, str) and isinstance(y, str) and operator != "-":
            return [x + y]
        if _numeric(x) and _numeric(y) and operator != "&":
            return [x + y if operator == "+" else x - y]
        return []

    return total


def _numeric(value: object) -> bool:
    return type(value) in (int, float, Decimal)


def _comparison(operator: str, left: Path, right: Path) -> Path:
    def comparison(focus: list, resource: dict) -> list:
        a, b = left(focus, resource), right(focus, resource)
        if len(a) != 1 or len(b) != 1:
            return []
        (x,), (y,) = a, b
        if not ((_numeric(x) and _numeric(y)) or (type(x) is str and type(y) is str)):
            return []
        return [{"<": x < y, ">": x > y, "<=": x <= y, ">=": x >= y}[operator]]

    return comparison
