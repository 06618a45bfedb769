"""`_filter`: the expression language of search, as a predicate.

https://hl7.org/fhir/R4/search_filter.html
"""

import re

from fhir_dmp.errors import FhirError
from fhir_dmp.search.criteria import Asking, UnknownParameter, bad, date_test, find, reference_tests, simple
from fhir_dmp.search.parameters import Parameter
from fhir_dmp.search.predicate import (
    All,
    AnyOf,
    Chain,
    DateIs,
    Has,
    Not,
    Predicate,
    Present,
    StringContains,
    StringEnds,
    StringEquals,
    StringStarts,
    simplified,
)
from fhir_dmp.search.spelling import fold

_LEXEME = re.compile(r'\s*(?:(")((?:[^"\\]|\\.)*)"|([()])|([^\s()"]+))')
_COMPARATORS = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
_OPERATORS = _COMPARATORS | {"co", "sw", "ew", "pr", "po", "ss", "sb", "in", "ni", "re"}
_STRINGS = {"eq": StringEquals, "co": StringContains, "sw": StringStarts, "ew": StringEnds}


def filter_predicate(type_name: str | None, text: str, asking: Asking) -> Predicate:
    """The predicate of a `_filter` on a type.

    >>> filter_predicate("Patient", 'gender eq male and not (name co "du")', Asking(0)).parts[1]
    Not(part=Has(code='name', test=StringContains(folded='du')))
    """
    parser = _Parser(type_name, text, asking)
    found = parser.disjunction(0)
    if parser.at < len(parser.lexemes):
        raise bad(f"not understood at `{parser.lexemes[parser.at][1]}`")
    return simplified(found)


class _Parser:
    """lexemes: (quoted, text)."""

    def __init__(self, type_name: str | None, text: str, asking: Asking) -> None:
        self.type_name, self.asking, self.at, self.terms = type_name, asking, 0, 0
        self.lexemes: list[tuple[bool, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _LEXEME.match(text, position)
            if not found:
                raise bad(f"not understood at `{text[position : position + 40]}`")
            quoted = found[1] is not None
            self.lexemes.append((quoted, re.sub(r"\\(.)", r"\1", found[2]) if quoted else found[3] or found[4]))
            position = found.end()

    def peek(self) -> str:
        """The next word that is not a quoted text, "" at the end."""
        if self.at < len(self.lexemes) and not self.lexemes[self.at][0]:
            return self.lexemes[self.at][1]
        return ""

    def take(self) -> str:
        if self.at >= len(self.lexemes):
            raise bad("it ends early")
        self.at += 1
        return self.lexemes[self.at - 1][1]

    def disjunction(self, depth: int) -> Predicate:
        if depth > self.asking.limits.filter_depth:
            raise FhirError("too-costly", "search parameter `_filter` is nested too deeply")
        parts = [self.conjunction(depth)]
        while self.peek() == "or":
            self.take()
            parts.append(self.conjunction(depth))
        return AnyOf(tuple(parts))

    def conjunction(self, depth: int) -> Predicate:
        parts = [self.term(depth)]
        while self.peek() == "and":
            self.take()
            parts.append(self.term(depth))
        return All(tuple(parts))

    def term(self, depth: int) -> Predicate:
        match self.peek():
            case "not":
                self.take()
                if self.peek() != "(":
                    raise bad("`not` is followed by `(`")
                return Not(self.term(depth))
            case "(":
                self.take()
                found = self.disjunction(depth + 1)
                if self.peek() != ")":
                    raise bad("`)` is missing")
                self.take()
                return found
        return self.comparison()

    def comparison(self) -> Predicate:
        self.terms += 1
        if self.terms > self.asking.limits.filter_terms:
            raise FhirError("too-costly", f"search parameter `_filter` has more than {self.asking.limits.filter_terms} comparisons")
        path, operator = self.take(), self.take()
        if operator not in _OPERATORS:
            raise bad(f"`{operator}` is not an operator")
        if "[" in path:
            raise FhirError("not-supported", "search parameter `_filter`: conditions in brackets are not supported")
        return self.path(self.type_name, path, operator, self.take(), 0)

    def path(self, type_name: str | None, path: str, operator: str, value: str, depth: int) -> Predicate:
        if depth > self.asking.limits.chain_depth:
            raise FhirError("too-costly", "search parameter `_filter`: the path is too long")
        head, chained, rest = path.partition(".")
        code, _, target = head.partition(":")
        parameter = find(type_name, code)
        if not chained:
            if target:
                raise bad(f"`{path}` ends in a type")
            return self.leaf(parameter, operator, value)
        if parameter.type != "reference" or (target and target not in parameter.targets):
            raise bad(f"`{head}` is not a reference to a type that `{rest}` could be asked of")
        found = []
        for each in (target,) if target else parameter.targets:
            try:
                found.append((each, self.path(each, rest, operator, value, depth + 1)))
            except UnknownParameter:
                continue
        if not found:
            raise bad(f"`{code}` refers to no type that has `{rest}`")
        return Chain(code, tuple(found))

    def leaf(self, parameter: Parameter, operator: str, value: str) -> Predicate:
        code, kind = parameter.code, parameter.type
        if operator == "pr":
            if value not in ("true", "false"):
                raise bad("`pr` is followed by `true` or `false`")
            return Present(code) if value == "true" else Not(Present(code))
        if kind == "string" and operator in _STRINGS:
            folded = fold(value)
            if not folded:
                raise bad("the text is empty")
            return Has(code, _STRINGS[operator](folded))
        if operator == "ne" and kind in ("string", "token", "reference", "uri"):
            return Not(self.leaf(parameter, "eq", value))
        escaped = value.replace("\\", "\\\\").replace(",", "\\,")
        if kind == "date" and operator == "po":
            test = date_test(escaped, self.asking)
            return Has(code, DateIs("ap", test.lo_ms, test.hi_ms))
        if kind in ("date", "number", "quantity") and operator in _COMPARATORS:
            return simple(parameter, "", operator + escaped, self.asking)
        if kind == "token" and operator in ("eq", "in", "ni", "ss", "sb"):
            modifier = {"eq": "", "in": "in", "ni": "not-in", "ss": "above", "sb": "below"}[operator]
            return simple(parameter, modifier, escaped, self.asking)
        if kind == "uri" and operator in ("eq", "ss", "sb"):
            return simple(parameter, {"eq": "", "ss": "above", "sb": "below"}[operator], escaped, self.asking)
        if kind == "reference" and operator in ("eq", "re"):
            return AnyOf(tuple(Has(code, test) for test in reference_tests(parameter, "", value, self.asking.base_urls)))
        raise bad(f"`{operator}` does not apply to `{code}`, a {kind} parameter")
