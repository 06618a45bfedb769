"""The FHIRPath of search parameters, compiled to flat paths over JSON members, each with the type it ends in.

https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression

`x as T` and `.as(T)` mean ofType(T): R4 writes them where x repeats. `resolve() is T` asks the reference itself for its type.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from fhir_dmp.fhir import tables
from fhir_dmp.fhir.references import parse_reference

_LEXEME = re.compile(r"\s*('(?:[^'\\]|\\.)*'|[A-Za-z_%][A-Za-z0-9_-]*|[0-9]+|!=|[|().=,\[\]])")


class ExpressionError(ValueError):
    """The expression uses what search parameters do not use, or names an element that does not exist."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path. kind: member | index | equals | resolves | extension | resource.

    name: JSON member, index, URL or type; value: what `equals` asks for.
    """

    kind: str
    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Branch:
    """One alternative of an expression: steps from the base, and where they end.

    type: FHIR type of what is found ("BackboneElement" for those). place: path in the tables that lists what is inside, "" for primitives.
    binding: value set of a `code`. test: "" or "exists-not-false", which turns what is found into one boolean.
    targets: types a Reference found here may name, () for any.
    """

    steps: tuple[Step, ...]
    type: str
    place: str
    binding: str = ""
    test: str = ""
    targets: tuple[str, ...] = ()


@cache
def branches(expression: str, base: str) -> tuple[Branch, ...]:
    """The alternatives of an expression that apply to a base (a resource type or a path of the tables).

    >>> branches("Patient.name | Person.name", "Patient")
    (Branch(steps=(Step(kind='member', name='name', value=''),), type='HumanName', place='HumanName', binding='', test='', targets=()),)
    """
    parser = _Parser(expression, base)
    found = parser.alternatives()
    if parser.next is not None:
        raise ExpressionError(f"`{expression}` goes on after its end")
    return tuple(dict.fromkeys(found))


class _Parser:
    def __init__(self, expression: str, base: str) -> None:
        self.expression, self.base = expression, base
        self.lexemes = self._lexemes(expression)
        self.next: str | None = next(self.lexemes, None)

    def _lexemes(self, text: str) -> Iterator[str]:
        position = 0
        while position < len(text.rstrip()):
            found = _LEXEME.match(text, position)
            if not found:
                raise ExpressionError(f"`{text}` is not understood at `{text[position:]}`")
            yield found[1]
            position = found.end()

    def take(self, expected: str | None = None) -> str:
        token = self.next
        if token is None or (expected is not None and token != expected):
            raise ExpressionError(f"`{self.expression}`: `{expected}` expected, `{token}` found")
        self.next = next(self.lexemes, None)
        return token

    def alternatives(self) -> list[Branch]:
        found = self.alternative()
        while self.next == "|":
            self.take()
            found = found + self.alternative()
        return found

    def alternative(self) -> list[Branch]:
        found = self.term()
        if self.next == "and":
            # The one conjunction of R4: Patient.deceased.exists() and Patient.deceased != false.
            self.take()
            other = self.term()
            self.take("!=")
            self.take("false")
            found = [Branch(b.steps, "boolean", "", "", "exists-not-false") for b in found if b in other]
        while self.next in ("as", "is"):
            self.take()
            found = _of_type(found, self.take())
        return found

    def term(self) -> list[Branch]:
        if self.next == "(":
            self.take()
            found = self.alternatives()
            self.take(")")
        else:
            found = self.root(self.take())
        while self.next in (".", "["):
            found = self.index(found) if self.take() == "[" else self.step(found)
        return found

    def root(self, name: str) -> list[Branch]:
        base = self.base
        here = Branch((), base if "." not in base else "BackboneElement", base)
        if name == "%resource":
            owner = base.partition(".")[0]
            return [Branch((Step("resource", ""),), owner, owner)]
        if name[0].isupper():
            if name == base or name in ("Resource", "DomainResource"):
                return [here]
            return []
        if name == "extension" and self.next == "(":
            return self.function([here], name)
        return self.member([here], name)

    def index(self, found: list[Branch]) -> list[Branch]:
        position = self.take()
        self.take("]")
        return [_with(b, Step("index", position)) for b in found]

    def step(self, found: list[Branch]) -> list[Branch]:
        name = self.take()
        return self.function(found, name) if self.next == "(" else self.member(found, name)

    def member(self, found: list[Branch], name: str) -> list[Branch]:
        result = []
        for b in found:
            element = tables.elements(b.place).get(name) if b.place else None
            if element is None:
                if b.type == "Resource" or not b.place:
                    continue
                raise ExpressionError(f"`{self.expression}`: {b.place} has no element `{name}`")
            for type_name in element.types:
                step = Step("member", element.json_name(type_name))
                result.append(
                    Branch((*b.steps, step), type_name, tables.child_path(element, type_name), element.binding, "", element.targets)
                )
        if not result and found:
            raise ExpressionError(f"`{self.expression}`: nothing has an element `{name}`")
        return result

    def function(self, found: list[Branch], name: str) -> list[Branch]:
        self.take("(")
        match name:
            case "as" | "ofType":
                found = _of_type(found, self.take())
            case "exists":
                pass
            case "extension":
                url = self.take()[1:-1]
                found = [Branch((*b.steps, Step("extension", url)), "Extension", "Extension") for b in found]
            case "where":
                found = self.where(found)
            case _:
                raise ExpressionError(f"`{self.expression}`: function `{name}` is not used by search parameters")
        self.take(")")
        return found

    def where(self, found: list[Branch]) -> list[Branch]:
        name = self.take()
        if name == "resolve":
            self.take("(")
            self.take(")")
            self.take("is")
            type_name = self.take()
            return [replace(b, steps=(*b.steps, Step("resolves", type_name)), targets=(type_name,)) for b in found]
        self.take("=")
        value = self.take()[1:-1]
        return [_with(b, Step("equals", name, value)) for b in found]


def _with(branch: Branch, step: Step) -> Branch:
    return replace(branch, steps=(*branch.steps, step))


def _of_type(found: list[Branch], name: str) -> list[Branch]:
    wanted = name.lower()
    # In R4 Age, Duration and the like are profiles that some expressions name where the element says Quantity, and the reverse.
    return [b for b in found if b.type.lower() == wanted or (b.type == "SimpleQuantity" and wanted == "quantity")]


Getter = Callable[[object, dict], list]


def getter(branch: Branch) -> Getter:
    """Function (value at the base, whole resource) -> values at the end of the branch, repeats flattened."""
    steps = tuple(_step(step) for step in branch.steps)

    def get(value: object, resource: dict) -> list:
        found = [value]
        for step in steps:
            found = step(found, resource)
            if not found:
                return found
        return found

    return get


def after_first(branch: Branch) -> Getter:
    """As getter, for the value of the branch's first member, already taken."""
    return getter(Branch(branch.steps[1:], branch.type, branch.place))


def flat(value: object) -> list:
    return value if type(value) is list else [value]


def _step(step: Step) -> Callable[[list, dict], list]:
    name = step.name
    match step.kind:
        case "member":

            def member(values: list, resource: dict) -> list:
                out = []
                for value in values:
                    if type(value) is dict and (inner := value.get(name)) is not None:
                        if type(inner) is list:
                            out += inner
                        else:
                            out.append(inner)
                return out

            return member
        case "index":
            at = int(name)
            return lambda values, resource: values[at : at + 1]
        case "equals":
            wanted = step.value
            return lambda values, resource: [v for v in values if type(v) is dict and v.get(name) == wanted]
        case "extension":
            return lambda values, resource: [
                e for v in values if type(v) is dict for e in flat(v.get("extension") or []) if type(e) is dict and e.get("url") == name
            ]
        case "resolves":
            return lambda values, resource: [v for v in values if reference_type(v, resource) == name]
        case "resource":
            return lambda values, resource: [resource]
    raise ExpressionError(step.kind)


def contained(resource: dict, fragment: str) -> dict | None:
    """The contained resource a fragment names; the container itself for `#`."""
    if not fragment:
        return resource
    return next((r for r in flat(resource.get("contained") or []) if type(r) is dict and r.get("id") == fragment), None)


def reference_type(value: object, resource: dict) -> str | None:
    """The type a Reference says it has, without looking it up."""
    if type(value) is not dict:
        return None
    text = value.get("reference")
    if isinstance(text, str):
        said = parse_reference(text)
        if said.kind == "fragment":
            inner = contained(resource, said.fragment)
            return inner.get("resourceType") if inner else value.get("type")
        if said.type:
            return said.type
    return value.get("type")
