"""`_filter`: the expression language of search, as a predicate.

https://hl7.org/fhir/R4/search_filter.html

A condition in brackets is met by the same thing as what comes after it: by the resource a reference leads to
(`subject[gender eq male].name co "x"`), or by the element a composite stands on (`relationship[relation eq replaces].relatesto re x`).
"""

import re
from dataclasses import dataclass

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
    Other,
    PartsMeet,
    Predicate,
    Present,
    StringContains,
    StringEnds,
    StringEquals,
    StringStarts,
    simplified,
)
from fhir_dmp.search.spelling import fold

_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')
_MARK = re.compile(r"\s*([()\[\]])")
_NAME = re.compile(r"\s*([^\s()\"\[\].]+)")
# A value may hold brackets that are closed again: 5|http://unitsofmeasure.org|mm[Hg]
_WORD = re.compile(r"\s*((?:[^\s()\"\[\]]|\[[^\s()\"\[\]]*\])+)")
# https://hl7.org/fhir/R4/search_filter.html: names that may stand for a whole namespace.
_NAMESPACES = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}
_COMPARATORS = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})
_OPERATORS = _COMPARATORS | {"co", "sw", "ew", "pr", "po", "ss", "sb", "in", "ni", "re"}
_STRINGS = {"eq": StringEquals, "co": StringContains, "sw": StringStarts, "ew": StringEnds}


@dataclass(frozen=True, slots=True)
class _Joined:
    """kind: and | or | not."""

    kind: str
    parts: tuple


@dataclass(frozen=True, slots=True)
class _Compared:
    """path: (name, condition in brackets or None) for each step."""

    path: tuple[tuple[str, object], ...]
    operator: str
    value: str


def filter_predicate(type_name: str | None, text: str, asking: Asking) -> Predicate:
    """The predicate of a `_filter` on a type.

    >>> filter_predicate("Patient", 'gender eq male and not (name co "du")', Asking(0)).parts[1]
    Not(part=Has(code='name', test=StringContains(folded='du', literal='')))
    """
    reader = _Reader(text, asking)
    found = reader.joined(0)
    if text[reader.at :].strip():
        raise bad(f"not understood at `{text[reader.at : reader.at + 40].strip()}`")
    return simplified(_Meaning(type_name, asking).of(found))


class _Reader:
    """What is written, not yet what it means."""

    def __init__(self, text: str, asking: Asking) -> None:
        self.text, self.asking, self.at, self.terms = text, asking, 0, 0

    def next(self, pattern: re.Pattern) -> str | None:
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[1]

    def taken(self, pattern: re.Pattern, wanted: str) -> bool:
        """Go past a mark or word if it comes next."""
        found = pattern.match(self.text, self.at)
        if found is None or found[1] != wanted:
            return False
        self.at = found.end()
        return True

    def close(self, mark: str) -> None:
        if not self.taken(_MARK, mark):
            raise bad(f"`{mark}` is missing")

    def joined(self, depth: int) -> object:
        if depth > self.asking.limits.filter_depth:
            raise FhirError("too-costly", "search parameter `_filter` is nested too deeply")
        # From left to right: neither `and` nor `or` goes before the other.
        found = self.term(depth)
        while True:
            if self.taken(_WORD, "and"):
                found = _Joined("and", (found, self.term(depth)))
            elif self.taken(_WORD, "or"):
                found = _Joined("or", (found, self.term(depth)))
            else:
                return found

    def term(self, depth: int) -> object:
        if self.taken(_WORD, "not"):
            if not self.taken(_MARK, "("):
                raise bad("`not` is followed by `(`")
            found = self.joined(depth + 1)
            self.close(")")
            return _Joined("not", (found,))
        if self.taken(_MARK, "("):
            found = self.joined(depth + 1)
            self.close(")")
            return found
        return self.comparison(depth)

    def comparison(self, depth: int) -> _Compared:
        self.terms += 1
        if self.terms > self.asking.limits.filter_terms:
            raise FhirError("too-costly", f"search parameter `_filter` has more than {self.asking.limits.filter_terms} comparisons")
        path = [self.step(depth)]
        while self.text[self.at : self.at + 1] == ".":
            self.at += 1
            path.append(self.step(depth))
        operator = self.next(_WORD)
        if operator not in _OPERATORS:
            raise bad(f"`{operator}` is not an operator" if operator else "it ends early")
        value = self.next(_QUOTED)
        value = self.next(_WORD) if value is None else re.sub(r"\\(.)", r"\1", value)
        if value is None:
            raise bad("it ends early")
        return _Compared(tuple(path), operator, value)

    def step(self, depth: int) -> tuple[str, object]:
        name = self.next(_NAME)
        if name is None:
            raise bad(f"not understood at `{self.text[self.at : self.at + 40]}`" if self.text[self.at :].strip() else "it ends early")
        if self.text[self.at : self.at + 1] != "[":
            return name, None
        self.at += 1
        condition = self.joined(depth + 1)
        self.close("]")
        if self.text[self.at : self.at + 1] != ".":
            raise bad("a condition in brackets is followed by `.` and a name")
        return name, condition


def expanded(kind: str, value: str) -> str:
    """A token or quantity with its namespace in full, where the short name of a predefined one stands.

    >>> expanded("token", "loinc|8302-2"), expanded("quantity", "5.4|ucum|mg"), expanded("token", "urn:x|loinc")
    ('http://loinc.org|8302-2', '5.4|http://unitsofmeasure.org|mg', 'urn:x|loinc')
    """
    parts = value.split("|")
    place = {"token": 0, "quantity": 1}.get(kind)
    if place is None or len(parts) <= place + 1:
        return value
    parts[place] = _NAMESPACES.get(parts[place], parts[place])
    return "|".join(parts)


class _Meaning:
    """What is written, asked of a type; or of the parts of a composite, known: code -> parameter."""

    def __init__(self, type_name: str | None, asking: Asking, known: dict[str, Parameter] | None = None) -> None:
        self.type_name, self.asking, self.known = type_name, asking, known

    def of(self, written: object, depth: int = 0) -> Predicate:
        match written:
            case _Joined("not", (part,)):
                return Not(self.of(part, depth))
            case _Joined("and", parts):
                return All(tuple(self.of(part, depth) for part in parts))
            case _Joined(_, parts):
                return AnyOf(tuple(self.of(part, depth) for part in parts))
        return self.path(written.path, written.operator, written.value, depth)

    def find(self, code: str) -> Parameter:
        if self.known is None:
            return find(self.type_name, code)
        if code not in self.known:
            raise bad(f"`{code}` is none of {', '.join(self.known)}")
        return self.known[code]

    def path(self, path: tuple, operator: str, value: str, depth: int) -> Predicate:
        if depth > self.asking.limits.chain_depth:
            raise FhirError("too-costly", "search parameter `_filter`: the path is too long")
        (head, condition), *rest = path
        code, _, target = head.partition(":")
        parameter = self.find(code)
        if not rest:
            if target:
                raise bad(f"`{head}` ends in a type")
            return self.leaf(parameter, operator, value)
        if operator == "pr" and value == "false":
            return Not(self.path(path, operator, "true", depth))
        if parameter.type == "composite" and self.known is None:
            return self.composite(parameter, condition, tuple(rest), operator, value)
        said = ".".join(name for name, _ in rest)
        if parameter.type != "reference" or self.known is not None or (target and target not in parameter.targets):
            raise bad(f"`{head}` is not a reference to a type that `{said}` could be asked of")
        found = []
        for each in (target,) if target else parameter.targets:
            inner = _Meaning(each, self.asking)
            try:
                parts = [inner.of(condition, depth + 1)] if condition is not None else []
                found.append((each, All((*parts, inner.path(tuple(rest), operator, value, depth + 1)))))
            except UnknownParameter:
                continue
        if not found:
            raise bad(f"`{code}` refers to no type that has `{said}`")
        return Chain(code, tuple(found))

    def composite(self, parameter: Parameter, condition: object, rest: tuple, operator: str, value: str) -> Predicate:
        """Parts of one element, by the codes of their own parameters."""
        parts = {part.code: Parameter(part.code, part.type, "", (), part.targets) for part in parameter.components}
        inner = _Meaning(None, self.asking, parts)
        met = [inner.of(condition)] if condition is not None else []
        return Has(parameter.code, PartsMeet(tuple(parts), All((*met, inner.path(rest, operator, value, 0)))))

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
            # Of the values there are, one is another: a resource without any has none. `not (... eq ...)` says the rest.
            equal = self.leaf(parameter, "eq", value)
            listed = equal.parts if isinstance(equal, AnyOf) else (equal,)
            return Has(code, Other(tuple(each.test for each in listed)))
        value = expanded(kind, value)
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
