"""What a JSON Schema says badly or slowly: one choice of many, aligned arrays, whole numbers, references, extensions, narrative.

https://hl7.org/fhir/R4/json.html
https://hl7.org/fhir/R4/references.html
The walk is guided by plans made from the tables: a member without a rule costs one dictionary lookup. It assumes nothing about shapes
(the schema reports those) and stays silent about what it cannot read.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from fhir_dmp.errors import Issue
from fhir_dmp.fhir import narrative, tables
from fhir_dmp.fhir.primitives import PRIMITIVES, decimal_fits
from fhir_dmp.fhir.tables import MANY, Element, known_type

# More faults than this serve nobody: the answer then ends by saying that there are more.
MAX_ISSUES = 200
# Members that are remembered, in each of two generations, and the longest that are.
MEMBERS, LONGEST = 4096, 512

# A place: (place of the parent, name of the step, index or None); the root has no parent and is named by its type.
Place = tuple["Place | None", str, int | None]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_RESTFUL = re.compile(
    r"(?P<base>[Hh][Tt][Tt][Pp][Ss]?://.+/)?/?(?P<type>[A-Za-z]+)"
    r"(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?|\?(?P<query>.*))",
    re.DOTALL,
)
# Targets that the definitions do not list but the standard's own published examples use: to refuse those would be to refuse R4 itself.
_ALSO_TARGETS = {
    "DeviceMetric.parent": ("DeviceDefinition",),
    "DeviceUseStatement.reasonReference": ("Procedure",),
    "Observation.performer": ("Encounter",),
}
_TYPE_URL = "http://hl7.org/fhir/StructureDefinition/"


class Nested(NamedTuple):
    """A resource inside another: of `contained` (owner: the resource that contains it), or of an entry or parameter."""

    value: object
    place: Place
    contained: bool


class Findings:
    """What the walk of one resource found. contained: id of a contained resource -> its type, shared by the resources it contains."""

    __slots__ = ("issues", "nested", "contained")

    def __init__(self, contained: dict[str, str]) -> None:
        self.issues: list[Issue] = []
        self.nested: list[Nested] = []
        self.contained = contained

    def add(self, code: str, message: str, place: Place) -> None:
        if len(self.issues) <= MAX_ISSUES:
            self.issues.append(Issue("error", code, message, expression(place)))


class Plan(NamedTuple):
    """Rules of the members of one type or backbone element.

    members: JSON name -> (rule, its argument, step); names: theirs. choices: (name, the JSON names that may carry it, minimum).
    """

    members: dict[str, tuple[Callable, object, str]]
    names: frozenset[str]
    choices: tuple[tuple[str, frozenset[str], int], ...]
    extension: bool


def expression(place: Place) -> str:
    """FHIRPath of a place.

    >>> expression(((None, "Patient", None), "name", 0))
    'Patient.name[0]'
    """
    steps = []
    at: Place | None = place
    while at is not None:
        at, step, index = at
        steps.append(step if index is None else f"{step}[{index}]")
    return ".".join(reversed(steps))


def step_name(element: Element, type_name: str) -> str:
    """A choice is named as FHIRPath does: value.ofType(Quantity)."""
    return f"{element.name}.ofType({type_name})" if element.choice else element.name


def shown(value: object) -> str:
    """User input as it may stand in a message: in backticks, one line, at most 60 characters."""
    text = "".join(c if c.isprintable() and c != "`" else " " for c in str(value)[:80])
    return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"


def contained_types(resource: dict) -> dict[str, str]:
    """Id -> type of the resources contained in this one."""
    listed = resource.get("contained")
    if not isinstance(listed, list):
        return {}
    return {c["id"]: c.get("resourceType") for c in listed if isinstance(c, dict) and isinstance(c.get("id"), str)}


def check(resource: dict, type_name: str, place: Place, contained: dict[str, str], members: Mapping[str, object] | None = None) -> Findings:
    """Walk one resource, leaving out the resources inside it, which are returned as nested.

    members: its top-level members as bytes, where somebody has them: what was sound before is sound again, and most come again.
    """
    findings = Findings(contained)
    if members is None or contained:
        _object(resource, _plan(type_name), place, findings)
    else:
        _members(resource, type_name, place, findings, members)
    return findings


def _members(resource: dict, type_name: str, place: Place, findings: Findings, members: Mapping[str, object]) -> None:
    rules, names, choices, _ = _plan(type_name)
    for name, value in resource.items():
        if name not in names:
            continue
        rule, argument, step = rules[name]
        if rule is not _objects and rule is not _references:
            rule(value, argument, (place, step), resource, findings)
            continue
        key = (type_name, name, bytes(members[name]))
        if key not in _sound:
            before = len(findings.issues), len(findings.nested)
            rule(value, argument, (place, step), resource, findings)
            # What names a contained resource depends on another member.
            if before == (len(findings.issues), len(findings.nested)) and before[0] <= MAX_ISSUES and b"#" not in key[2]:
                _sound.add(key)
    _choices(resource, choices, place, findings)


class _Sound:
    """Members that were found sound, in two generations: of those that do not come again the older are forgotten."""

    def __init__(self) -> None:
        self._young: set[tuple] = set()
        self._old: set[tuple] = set()

    def __contains__(self, key: tuple) -> bool:
        if key in self._young:
            return True
        if key in self._old:
            self.add(key)
            return True
        return False

    def add(self, key: tuple) -> None:
        if len(key[2]) <= LONGEST:
            if len(self._young) >= MEMBERS:
                self._old, self._young = self._young, set()
            self._young.add(key)


_sound = _Sound()


def _object(node: dict, plan: Plan, place: Place, findings: Findings) -> None:
    rules, names, choices, extension = plan
    if not names.isdisjoint(node):
        for name, value in node.items():
            if name in names:
                rule, argument, step = rules[name]
                rule(value, argument, (place, step), node, findings)
    if extension:
        # Most extensions are an url and one more member, which then is the value or the nested extensions.
        if len(node) != 2 or "url" not in node or "id" in node:
            _extension(node, choices[0], place, findings)
    elif choices:
        _choices(node, choices, place, findings)
    if len(node) == 1 and "id" in node:
        findings.add("structure", "an element needs a value or children besides its `id`; add them or leave the element out", place)


def _present(node: dict, choice: tuple) -> list[str]:
    return sorted({name.removeprefix("_") for name in node.keys() & choice[1]})


def _extension(node: dict, choice: tuple, place: Place, findings: Findings) -> None:
    present = _present(node, choice)
    _choice(node, choice, place, findings)
    if not present and "extension" not in node:
        findings.add("structure", "an extension needs a value or nested extensions; add one of them", place)
    elif present and "extension" in node:
        findings.add("structure", "an extension has either a value or nested extensions, not both; remove one of them", place)


def _choices(node: dict, choices: tuple, place: Place, findings: Findings) -> None:
    for choice in choices:
        if choice[2] or not choice[1].isdisjoint(node):
            _choice(node, choice, place, findings)


def _choice(node: dict, choice: tuple, place: Place, findings: Findings) -> None:
    name, _, minimum = choice
    present = _present(node, choice)
    if len(present) > 1:
        listed = ", ".join(f"`{p}`" for p in present[:5])
        findings.add("structure", f"only one of {listed} may be present; keep one", (place, name, None))
    elif minimum and not present:
        findings.add("required", f"`{name}[x]` is required; add one of its types, such as `{_example(choice)}`", (place, name, None))


def _example(choice: tuple) -> str:
    return min(n for n in choice[1] if not n.startswith("_"))


# Rules. Each takes the value, its argument, the place of its parent with the step, the object it is a member of, and the findings.


def _objects(value: object, path: str, step: tuple, node: dict, findings: Findings) -> None:
    if isinstance(value, dict):
        _object(value, _plan(path), (*step, None), findings)
    elif isinstance(value, list):
        plan = _plan(path)
        for index, item in enumerate(value):
            if isinstance(item, dict):
                _object(item, plan, (*step, index), findings)


def _resources(value: object, contained: bool, step: tuple, node: dict, findings: Findings) -> None:
    items = enumerate(value) if isinstance(value, list) else ((None, value),)
    findings.nested.extend(Nested(item, (*step, index), contained) for index, item in items if isinstance(item, dict))


def _number(value: object, type_name: str, step: tuple, node: dict, findings: Findings) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _one_number(item, type_name, (*step, index), findings)
        _aligned(value, None, step, node, findings)
    else:
        _one_number(value, type_name, (*step, None), findings)


def _one_number(value: object, type_name: str, place: Place, findings: Findings) -> None:
    if type_name == "decimal":
        if type(value) in (int, Decimal) and not decimal_fits(value):
            findings.add("value", "a decimal may have at most 128 digits and an exponent within ±6144; write it shorter", place)
    # JSON Schema counts 1.00 as an integer; FHIR does not. What has a real fraction the schema reports.
    elif isinstance(value, Decimal) and value == value.to_integral_value():
        findings.add("value", f"{shown(value)} is not a valid {type_name}: write it without fraction or exponent", place)


def _aligned(value: object, _: object, step: tuple, node: dict, findings: Findings) -> None:
    """A repeating primitive: null only where the companion array `_name` has something, both arrays of one length."""
    name = step[1]
    others = node.get(f"_{name}")
    if not isinstance(value, list) or (others is None and None not in value):
        return
    if not isinstance(others, list):
        others = [None] * len(value)
    if len(others) != len(value):
        findings.add("structure", f"`{name}` and `_{name}` must have the same length; fill the shorter one with null", (*step, None))
        return
    for index, pair in enumerate(zip(value, others, strict=True)):
        if pair == (None, None):
            message = f"null stands only where `_{name}` has an extension at the same position; remove it or give a value"
            findings.add("structure", message, (*step, index))


def _companion(value: object, name: str, step: tuple, node: dict, findings: Findings) -> None:
    """`_name`: id and extensions of a primitive. Beside a value an id alone is enough."""
    plan = _plan("Element")
    values = node.get(name)
    if isinstance(value, list):
        if not isinstance(values, list) and None in value:
            findings.add("structure", f"null in `_{name}` needs a value at the same position of `{name}`", (*step, value.index(None)))
        for index, item in enumerate(value):
            if isinstance(item, dict):
                has_value = isinstance(values, list) and index < len(values) and values[index] is not None
                _element(item, has_value, plan, (*step, index), findings)
    elif isinstance(value, dict):
        _element(value, values is not None, plan, (*step, None), findings)


def _element(item: dict, has_value: bool, plan: Plan, place: Place, findings: Findings) -> None:
    if has_value and len(item) == 1 and "id" in item:
        return
    _object(item, plan, place, findings)


def _references(value: object, targets: tuple[str, ...], step: tuple, node: dict, findings: Findings) -> None:
    items = enumerate(value) if isinstance(value, list) else ((None, value),)
    for index, item in items:
        if isinstance(item, dict):
            place = (*step, index)
            _reference(item, targets, place, findings)
            _object(item, _plan("Reference"), place, findings)


def _reference(item: dict, targets: tuple[str, ...], place: Place, findings: Findings) -> None:
    text, said = item.get("reference"), item.get("type")
    named = _named_type(text, place, findings) if isinstance(text, str) and text else None
    if named is not None and targets and named not in targets:
        message = f"{shown(text)} names a {named}; this element may refer only to {_list(targets)}"
        findings.add("invalid", message, (place, "reference", None))
    if isinstance(said, str):
        said = said.removeprefix(_TYPE_URL)
        if not known_type(said):
            return  # the binding is extensible: it may name a logical model
        if named is not None and named != said:
            findings.add("invalid", f"`type` says {said} but {shown(text)} names a {named}; make them agree", (place, "type", None))
        elif named is None and targets and said not in targets:
            findings.add("invalid", f"this element may refer only to {_list(targets)}, not to a {said}", (place, "type", None))


def _named_type(text: str, place: Place, findings: Findings) -> str | None:
    """Resource type a reference names, None when it does not say."""
    if text[0] == "#":
        # `#` alone is the containing resource.
        if len(text) > 1 and text[1:] not in findings.contained:
            message = f"{shown(text)} names no contained resource; contain it or correct the reference"
            findings.add("invalid", message, (place, "reference", None))
            return None
        named = findings.contained.get(text[1:])
        return named if known_type(named) else None
    match = _RESTFUL.fullmatch(text)
    if match is None:
        if not _SCHEME.match(text):
            message = f"{shown(text)} is no reference; write Type/id, a whole address, `#id` of a contained resource, or a urn"
            findings.add("invalid", message, (place, "reference", None))
        return None
    if known_type(match["type"]):
        return match["type"]
    if match["base"] is None and match["query"] is None:
        message = f"{shown(text)} is not a reference to a resource: {shown(match['type'])} is not an R4 resource type"
        findings.add("invalid", message, (place, "reference", None))
    return None


def _list(targets: tuple[str, ...]) -> str:
    return ", ".join(targets[:6]) + (f" and {len(targets) - 6} others" if len(targets) > 6 else "")


def _narrative(value: object, _: object, step: tuple, node: dict, findings: Findings) -> None:
    if isinstance(value, str):
        for fault in narrative.faults(value):
            findings.add("invalid", fault, (*step, None))


@cache
def _plan(path: str) -> Plan:
    members: dict[str, tuple[Callable, object, str]] = {}
    choices = []
    for element in tables.elements(path).values():
        for type_name in element.types:
            name, step = element.json_name(type_name), step_name(element, type_name)
            if rule := _rule(path, element, type_name):
                members[name] = (*rule, step)
            if type_name in PRIMITIVES and not element.attribute:
                members[f"_{name}"] = (_companion, name, step)
        if element.choice:
            names = {element.json_name(t) for t in element.types}
            companions = {f"_{element.json_name(t)}" for t in element.types if t in PRIMITIVES}
            choices.append((element.name, frozenset(names | companions), element.min))
    return Plan(members, frozenset(members), tuple(choices), path == "Extension")


def _rule(path: str, element: Element, type_name: str) -> tuple[Callable, object] | None:
    if type_name == "Resource":
        return _resources, element.name == "contained"
    if type_name == "Reference":
        return _references, element.targets + _ALSO_TARGETS.get(f"{path}.{element.name}", ())
    if type_name == "xhtml":
        return _narrative, None
    if type_name == "decimal" or (type_name in PRIMITIVES and PRIMITIVES[type_name].json == "integer"):
        return _number, type_name
    if type_name in PRIMITIVES:
        return (_aligned, None) if element.max == MANY else None
    return _objects, tables.child_path(element, type_name)
