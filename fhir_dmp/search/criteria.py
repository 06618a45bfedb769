"""One parameter with its value as a predicate: modifiers, prefixes, alternatives, escapes, chains.

https://hl7.org/fhir/R4/search.html#modifiers, #prefix, #escaping, #chaining and #has
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.instants import interval
from fhir_dmp.fhir.references import is_id, parse_reference
from fhir_dmp.search import ucum
from fhir_dmp.search.limits import DEFAULTS, Limits
from fhir_dmp.search.near import near_test
from fhir_dmp.search.parameters import TEXTS, Parameter, common, parameters
from fhir_dmp.search.predicate import (
    AnyOf,
    Chain,
    CompositeIs,
    DateIs,
    Has,
    Not,
    NumberIs,
    Predicate,
    Present,
    QuantityIs,
    ReferenceIdentifier,
    ReferenceIs,
    ReferenceUrl,
    ReverseChain,
    StringContains,
    StringExact,
    StringStarts,
    Test,
    TokenIn,
    TokenIs,
    TokenOfType,
    TokenText,
    UriAbove,
    UriBelow,
    UriIs,
    WordsAre,
    simplified,
)
from fhir_dmp.search.spelling import fold, fold_words, literal
from fhir_dmp.search.terminology import Terminology
from fhir_dmp.search.values import DIGITS, decimal_of

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_ESCAPED = re.compile(r"\\([,|$\\])")
_WORD = re.compile(r'"([^"]*)"|(\S+)')

_MODIFIERS = {
    "token": {"missing", "text", "not", "in", "not-in", "of-type", "above", "below"},
    "reference": {"missing", "identifier", "above", "below"},
    "string": {"missing", "exact", "contains"},
    "uri": {"missing", "above", "below"},
}


class UnknownParameter(FhirError):
    """No parameter of this name: what a lenient search leaves out."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a parameter is read with. now_ms: for `ap`. base_urls: addresses of this server."""

    now_ms: int
    limits: Limits = DEFAULTS
    base_urls: tuple[str, ...] = ()
    terminology: Terminology = field(default_factory=Terminology)


def criterion(type_name: str | None, name: str, value: str, asking: Asking) -> Predicate:
    """The predicate of `name=value` on a type; None: on all types. FhirError names the parameter and the value.

    >>> criterion("Patient", "gender", "male,female", Asking(0)).parts[0]
    Has(code='gender', test=TokenIs(system=None, code='male', cased=False))
    """
    if len(value) > asking.limits.value_chars:
        raise FhirError("too-costly", f"search parameter `{short(name)}` has a value of more than {asking.limits.value_chars} characters")
    try:
        return simplified(_parameter(type_name, name, value, asking, 0))
    except UnknownParameter:
        raise
    except FhirError as error:
        if error.kind != "invalid":
            raise
        raise FhirError("invalid", f"search parameter `{short(name)}` with value `{short(value)}`: {error.message}") from None


def short(text: str) -> str:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return "".join(ch if ch.isprintable() and ch != "`" else "?" for ch in shown)


def bad(message: str) -> FhirError:
    return FhirError("invalid", message)


def known(type_name: str | None) -> dict[str, Parameter]:
    """Parameters that may be asked of a type, or of all."""
    return common() if type_name is None else parameters(type_name)


def find(type_name: str | None, code: str) -> Parameter:
    """The parameter of a type by its code."""
    parameter = known(type_name).get(code)
    if parameter is None:
        raise UnknownParameter("invalid", f"`{short(code)}` is not a search parameter of {type_name or 'all types'}")
    return parameter


def _parameter(type_name: str | None, name: str, value: str, asking: Asking, depth: int) -> Predicate:
    if depth > asking.limits.chain_depth:
        raise FhirError(
            "too-costly", f"search parameter `{short(name)}`: chains of more than {asking.limits.chain_depth} steps are refused"
        )
    if name.startswith("_has:"):
        return _reverse(type_name, name, value, asking, depth)
    head, chained, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    if chained:
        return _chain(type_name, code, modifier, rest, value, asking, depth)
    if code in TEXTS:
        if modifier:
            raise bad(f"the modifier `:{modifier}` does not apply to `{code}`")
        return Has(code, _words(value))
    return simple(find(type_name, code), modifier, value, asking)


def _reverse(type_name: str | None, name: str, value: str, asking: Asking, depth: int) -> Predicate:
    parts = name.split(":", 3)
    if len(parts) < 4 or not all(parts):
        raise bad("`_has` is written `_has:[type]:[reference]:[parameter]`")
    _, source, code, rest = parts
    if type_name is None:
        raise bad("`_has` needs a resource type in the address")
    if not tables.known_type(source):
        raise bad(f"`{short(source)}` is not a resource type")
    parameter = find(source, code)
    if parameter.type != "reference" or type_name not in parameter.targets:
        raise bad(f"`{code}` of {source} does not refer to {type_name}")
    return ReverseChain(source, code, _parameter(source, rest, value, asking, depth + 1))


def _chain(type_name: str | None, code: str, modifier: str, rest: str, value: str, asking: Asking, depth: int) -> Predicate:
    parameter = find(type_name, code)
    if parameter.type != "reference":
        raise bad(f"`{code}` is not a reference, nothing can be chained to it")
    if modifier and not tables.known_type(modifier):
        raise bad(f"`{short(modifier)}` is not a resource type")
    if modifier and modifier not in parameter.targets:
        raise bad(f"`{code}` does not refer to {modifier}")
    found, missing = [], None
    for target in (modifier,) if modifier else parameter.targets:
        try:
            found.append((target, _parameter(target, rest, value, asking, depth + 1)))
        except UnknownParameter as error:
            missing = error
    if not found:
        raise missing or bad(f"`{code}` refers to no type that has `{short(rest)}`")
    return Chain(code, tuple(found))


def simple(parameter: Parameter, modifier: str, value: str, asking: Asking) -> Predicate:
    """The predicate of a parameter without chain."""
    if modifier == "missing":
        if value not in ("true", "false"):
            raise bad("`:missing` is `true` or `false`")
        return Not(Present(parameter.code)) if value == "true" else Present(parameter.code)
    allowed = _MODIFIERS.get(parameter.type, {"missing"})
    typed = parameter.type == "reference" and tables.known_type(modifier)
    if modifier and modifier not in allowed and not typed:
        raise bad(f"the modifier `:{short(modifier)}` does not apply to a {parameter.type} parameter")
    values = split(value, ",")
    if len(values) > asking.limits.or_values:
        raise FhirError(
            "too-costly", f"search parameter `{parameter.code}` has {len(values)} alternatives, more than {asking.limits.or_values}"
        )
    if not all(values):
        raise bad("a value is empty")
    tests = [test for each in values for test in _tests(parameter, modifier, each, asking)]
    found = AnyOf(tuple(Has(parameter.code, test) for test in dict.fromkeys(tests)))
    return Not(found) if modifier in ("not", "not-in") else found


def _tests(parameter: Parameter, modifier: str, value: str, asking: Asking) -> Sequence[Test]:
    match parameter.type:
        case "token":
            return [_token(parameter, modifier, value, asking)]
        case "reference":
            return _references(parameter, modifier, value, asking)
        case "string":
            return [_string(modifier, unescape(value))]
        case "uri":
            kinds = {"": UriIs, "above": UriAbove, "below": UriBelow}
            return [kinds[modifier](unescape(value))]
        case "date":
            return [date_test(value, asking)]
        case "number":
            return [number_test(unescape(value))]
        case "quantity":
            return [quantity_test(value)]
        case "composite":
            return _composites(parameter, value, asking)
        case "special":
            return [near_test(unescape(value))]
    raise bad(f"parameters of type {parameter.type} are not understood")


# ---- values


def split(text: str, mark: str) -> list[str]:
    """Parts between unescaped marks, still escaped.

    >>> split("a\\\\,b,c", ",")
    ['a\\\\,b', 'c']
    """
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == mark:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return parts


def unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def token_test(value: str, *, cased: bool = False) -> TokenIs:
    """`code`, `system|code`, `|code` or `system|`."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) > 2:
        raise bad("a token is `code` or `system|code`")
    system, code = (None, parts[0]) if len(parts) == 1 else parts
    if not code and not system:
        raise bad("a token needs a code or a system")
    return TokenIs(system, (code if cased else code.casefold()) if code else None, cased)


def _token(parameter: Parameter, modifier: str, value: str, asking: Asking) -> Test:
    match modifier:
        case "" | "not":
            test = token_test(value, cased=parameter.code == "_id")
            if parameter.branches and all(b.type == "boolean" for b in parameter.branches) and test.code not in ("true", "false"):
                raise bad("the value is `true` or `false`")
            return test
        case "text":
            words = fold_words(unescape(value))
            if not words:
                raise bad("the text has no letters or digits")
            return TokenText(words)
        case "of-type":
            parts = [unescape(part) for part in split(value, "|")]
            if len(parts) != 3 or not all(parts):
                raise bad("`:of-type` is written `system|code|value`")
            return TokenOfType(parts[0], parts[1], parts[2].casefold())
        case "in" | "not-in":
            url = unescape(value)
            codes = asking.terminology.expand(url)
            if codes is None:
                raise FhirError("not-supported", f"search parameter `{parameter.code}`: the value set `{short(url)}` is not known here")
        case _:
            test = token_test(value)
            if test.code is None:
                raise bad(f"`:{modifier}` needs a code")
            look_up = asking.terminology.below if modifier == "below" else asking.terminology.above
            # The look-up needs the code as written, not without case.
            codes = look_up(test.system, unescape(split(value, "|")[-1])) if test.system else None
            if codes is None:
                said = f"`{short(test.system)}`" if test.system else "a code without system"
                raise FhirError("not-supported", f"search parameter `{parameter.code}`: the hierarchy of {said} is not known here")
    if len(codes) > asking.limits.value_set_codes:
        raise FhirError(
            "too-costly", f"search parameter `{parameter.code}`: the value set has more than {asking.limits.value_set_codes} codes"
        )
    return TokenIn(codes)


def _references(parameter: Parameter, modifier: str, value: str, asking: Asking) -> Sequence[Test]:
    if modifier == "identifier":
        return [ReferenceIdentifier(token_test(value))]
    text = unescape(value)
    if modifier in ("above", "below"):
        if not any(b.type in ("canonical", "uri") for b in parameter.branches):
            raise bad(f"`:{modifier}` needs a hierarchy, which `{parameter.code}` has not")
        return [(UriAbove if modifier == "above" else UriBelow)(text)]
    return reference_tests(parameter, modifier, text, asking.base_urls)


def reference_tests(parameter: Parameter, type_name: str, text: str, base_urls: Sequence[str]) -> Sequence[Test]:
    """`id`, `Type/id`, with version, absolute, urn or `canonical|version`. type_name: of the `:[type]` modifier, or ""."""
    targets = (type_name,) if type_name else parameter.targets
    canonical = any(b.type in ("canonical", "uri") for b in parameter.branches)
    if is_id(text):
        return [*(ReferenceIs(target, text) for target in targets), *([ReferenceUrl(text)] if canonical else [])]
    url, _, version = text.partition("|")
    said = parse_reference(url, base_urls)
    match said.kind:
        case "local" if tables.known_type(said.type):
            if type_name and said.type != type_name:
                return [TokenIn(frozenset())]  # asks for two types at once: nothing is both
            return [ReferenceIs(said.type, said.id, said.version or version or None)]
        case "absolute" | "urn":
            return [ReferenceUrl(url, version or None)]
    if canonical and "?" not in text and "#" not in text:
        return [ReferenceUrl(url, version or None)]
    raise bad("a reference is `id`, `Type/id` or an absolute address")


def _string(modifier: str, text: str) -> Test:
    if modifier == "exact":
        return StringExact(text)
    folded = fold(text)
    if not folded:
        raise bad("the value is empty")
    return StringContains(folded, literal(text)) if modifier == "contains" else StringStarts(folded)


def date_test(value: str, asking: Asking) -> DateIs:
    """A date with its prefix; `ap` is within a tenth of the time between now and the date."""
    prefix, text = _PREFIXED.fullmatch(unescape(value)).groups()
    try:
        lo, hi = interval(text.replace(" ", "+"))
    except FhirError:
        raise bad("not a date: YYYY, YYYY-MM, YYYY-MM-DD or a date and time, with one of the prefixes " + " ".join(PREFIXES)) from None
    if prefix == "ap":
        lo, hi = lo - abs(asking.now_ms - lo) // 10, hi + abs(asking.now_ms - hi) // 10
    return DateIs(prefix or "eq", lo, hi)


def number_test(value: str) -> NumberIs:
    """A number with its prefix, and the range its precision means.

    >>> number_test("100"), number_test("1e2").lo
    (NumberIs(prefix='eq', value=Decimal('100'), lo=Decimal('99.5'), hi=Decimal('100.5')), Decimal('95'))
    """
    prefix, text = _PREFIXED.fullmatch(value).groups()
    number = decimal_of(text) if _NUMBER.fullmatch(text) else None
    if number is None:
        raise bad("not a number, with one of the prefixes " + " ".join(PREFIXES))
    if prefix == "ap":
        tenth = DIGITS.divide(DIGITS.abs(number), Decimal(10))
        return NumberIs("ap", number, DIGITS.subtract(number, tenth), DIGITS.add(number, tenth))
    _, digits, exponent = number.as_tuple()
    if exponent > 0 and len(digits) == 1:
        exponent -= 1  # the standard reads 1e2 as [95 ... 105)
    half = DIGITS.scaleb(Decimal(5), exponent - 1)
    return NumberIs(prefix or "eq", number, DIGITS.subtract(number, half), DIGITS.add(number, half))


def quantity_test(value: str) -> QuantityIs:
    """`number`, `number|system|code` or `number||code`; UCUM units are brought to base units."""
    parts = [unescape(part) for part in split(value, "|")]
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1] and not parts[2]):
        raise bad("a quantity is `number`, `number|system|code` or `number||unit`")
    number = number_test(parts[0])
    if len(parts) == 1 or not parts[2]:
        return QuantityIs(number, "")
    _, system, code = parts
    unit = ucum.canonical(code) if system == ucum.SYSTEM else None
    if unit is None:
        return QuantityIs(number, f"{system}|{code}")
    scaled = (ucum.convert(each, unit) for each in (number.value, number.lo, number.hi))
    return QuantityIs(NumberIs(number.prefix, *scaled), f"={unit.unit}")


def _composites(parameter: Parameter, value: str, asking: Asking) -> Sequence[Test]:
    parts = split(value, "$")
    if len(parts) != len(parameter.components):
        raise bad(f"`{parameter.code}` has {len(parameter.components)} parts, written with `$` between them")
    if not all(parts):
        raise bad("a part is empty")
    if not parameter.either_way:
        return _composite(parameter, parts, asking)
    found, fault = [], None
    for order in (parts, parts[::-1]):
        try:
            found += _composite(parameter, order, asking)
        except FhirError as error:
            fault = error
    if fault is not None and not found:
        raise fault
    return found


def _composite(parameter: Parameter, parts: Sequence[str], asking: Asking) -> list[Test]:
    """parts: in the order of the components."""
    alternatives = []
    for component, part in zip(parameter.components, parts, strict=True):
        # A part has no modifiers; it is read as a parameter of its own type would be.
        part_of = Parameter(component.code, component.type, "", (), component.targets)
        alternatives.append([token_test(part)] if component.type == "token" else _tests(part_of, "", part, asking))
    return [CompositeIs(tuple(tests)) for tests in product(*alternatives)]


def _words(value: str) -> WordsAre:
    """Words and "quoted phrases", all of them; `OR` between alternatives.

    >>> _words('fracture OR "os long" bras')
    WordsAre(alternatives=(('fracture',), ('os long', 'bras')))
    """
    alternatives: list[list[str]] = [[]]
    for quoted, word in _WORD.findall(unescape(value)):
        if word == "OR":
            alternatives.append([])
        elif word not in ("AND",) and (folded := fold_words(quoted or word)):
            alternatives[-1].append(folded)
    if not all(alternatives):
        raise bad("no word to look for")
    return WordsAre(tuple(tuple(phrases) for phrases in alternatives))
