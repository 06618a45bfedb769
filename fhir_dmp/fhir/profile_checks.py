"""A profile as closures: cardinality, fixed values and patterns, types, bindings, references, slices, nested profiles, invariants.

https://hl7.org/fhir/R4/profiling.html and https://hl7.org/fhir/R4/elementdefinition.html
A closure assumes nothing about shapes, which schema.py reports: what it cannot read it leaves alone.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from fhir_dmp.fhir import profile_codes, tables
from fhir_dmp.fhir.fhirpath import invariant
from fhir_dmp.fhir.profile_faults import Run, brief
from fhir_dmp.fhir.profile_tree import BASE, Node, definition, tree, words
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.fhir.rules import Place, contained_types, shown, step_name
from fhir_dmp.fhir.tables import Element, known_type

# On a value: (value, its place, run). On the object an element belongs to: the same.
Check = Callable[[Any, Place, Run], None]
Test = Callable[[Any], bool]


# More values of one element than this are an attack, or a mistake: each costs up to 25 microseconds.
MOST_VALUES = 20_000


class ProfileError(ValueError):
    """A profile says what this compiler does not understand."""


class Compiled(NamedTuple):
    """type: of the resources or extensions it speaks of. signature: what tells them from those of other profiles."""

    url: str
    type: str
    check: Check
    signature: Test


@cache
def compiled(url: str) -> Compiled:
    """The closures of one of our profiles."""
    found = definition(url)
    if found is None:
        raise ProfileError(f"there is no profile `{url}`")
    root = tree(found["url"])
    # What stands inside comes first: the invariants of the whole are not asked when there is too much of it.
    checks = (*_children(root, found["type"]), *_rules(root, found["type"]))
    return Compiled(found["url"], found["type"], partial(_every, checks), _signature(root))


def _every(checks: Sequence[Check], value: Any, place: Place, run: Run) -> None:
    for check in checks:
        check(value, place, run)


def _signature(root: Node) -> Test:
    """Codes by which a resource is known to be of this profile and no other of its type."""
    tests = [_found_at(name, _equal(node)) for name, node in root.children.items() if name in _TELLING and _equal(node)]
    return lambda value: all(test(value) for test in tests)


_TELLING = frozenset({"code", "type", "activity", "scope", "url"})


def _children(node: Node, place: str) -> Iterator[Check]:
    """Checks of the elements inside an object. place: where the tables list them."""
    for name, child in node.children.items():
        bare = name.removesuffix("[x]")
        element = tables.elements(place).get(bare)
        if element is None:
            raise ProfileError(f"{node.id}: {place} has no element `{name}`")
        yield _element(child, element)


def _element(node: Node, element: Element) -> Check:
    allowed = set(node.types()) or set(element.types)
    if element.choice:
        members = tuple((element.json_name(t), step_name(element, t), t) for t in element.types)
        others = tuple((m, s, t) for m, s, t in members if t not in allowed and not (t == "SimpleQuantity" and "Quantity" in allowed))
        members = tuple(one for one in members if one not in others)
    else:
        members, others = ((element.name, element.name, element.types[0]),), ()
    checks = {kind: _value_checks(node, element, kind) for _, _, kind in members}
    told = [(one["type"], one["path"]) for one in node.data.get("slicing", {}).get("discriminator", ())]
    slices = [_slice(inner, element, told) for inner in node.slices.values()]
    low, high, name, about = node.low, node.high, f"`{element.name}`", words(node.data, "short")
    closed = node.data.get("slicing", {}).get("rules") == "closed"
    slice_names = ", ".join(node.slices)
    rows = tuple((member, f"_{member}", step, checks[kind]) for member, step, kind in members)
    # Most elements of a profile may be left out, and most are: then there is nothing to look at.
    optional = not low and not any(one.node.low for one in slices)
    names = frozenset([name for row in rows for name in row[:2]] + [member for member, _, _ in others])

    def check(owner: Any, place: Place, run: Run) -> None:
        if type(owner) is not dict or (optional and owner.keys().isdisjoint(names)):
            return
        count, values = 0, []
        for member, companion, step, tests in rows:
            inner = owner.get(member)
            if inner is None:
                count += companion in owner
            elif type(inner) is list:
                count += len(inner)
                if len(inner) > MOST_VALUES:
                    run.crowded = True
                    run.add("crowded", node.id, (place, step, None), name=name, said=str(len(inner)), listed=str(MOST_VALUES))
                elif tests or slices:
                    values += [(one, (place, step, index), tests) for index, one in enumerate(inner) if one is not None]
            else:
                count += 1
                if tests or slices:
                    values.append((inner, (place, step, None), tests))
        for member, step, kind in others:
            if member in owner:
                count += 1
                run.add("type", node.id, (place, step, None), name=name, listed=", ".join(sorted(allowed)), said=kind)
        if count < low:
            rule = "few" if count else "min"
            run.add(rule, node.id, (place, element.name, None), name=name, listed=str(low), said=str(count), about=about)
        if high is not None and count > high:
            rule = "max" if high else "absent"
            run.add(rule, node.id, (place, element.name, None), name=name, listed=str(high), said=str(count), about=about)
        for value, at, tests in values:
            for test in tests:
                test(value, at, run)
        # Of an element that is absent as a whole, one fault is enough.
        if slices and (values or not low) and not run.crowded:
            _sliced(values, place, run)

    def _sliced(values: list, place: Place, run: Run) -> None:
        counts = dict.fromkeys((one.node.id for one in slices), 0)
        for value, at, _ in values:
            for one in slices:
                if one.matches(value):
                    counts[one.node.id] += 1
                    for test in one.checks:
                        test(value, at, run)
                    break
            else:
                if closed:
                    run.add("closed", node.id, at, name=name, listed=slice_names)
        for one in slices:
            found, said = counts[one.node.id], f"{name} ({one.name})"
            if found < one.node.low:
                run.add(
                    "few" if found else "min",
                    one.node.id,
                    (place, element.name, None),
                    name=said,
                    listed=str(one.node.low),
                    said=str(found),
                    about=words(one.node.data, "short"),
                )
            most = one.node.high
            if most is not None and found > most:
                run.add(
                    "max" if most else "absent",
                    one.node.id,
                    (place, element.name, None),
                    name=said,
                    listed=str(most),
                    said=str(found),
                    about=words(one.node.data, "short"),
                )

    return check


def _value_checks(node: Node, element: Element, type_name: str) -> tuple[Check, ...]:
    """Checks of each value of an element that has this type."""
    found = list(_rules(node, type_name))
    inner = tables.child_path(element, type_name)
    if node.children and inner:
        found += _children(node, inner)
    found += _nested(node, type_name)
    return tuple(found)


def _rules(node: Node, type_name: str) -> Iterator[Check]:
    """Fixed value, pattern, binding, targets, invariants of one node."""
    for kind, compare in (("fixed", _same), ("pattern", _within)):
        wanted = node.value(kind)
        if wanted is not None:
            yield _constant(kind, node.id, wanted, compare)
    binding = node.data.get("binding", {})
    if binding.get("strength") in ("required", "extensible") and type_name in ("code", "Coding", "CodeableConcept", "uri", "string"):
        yield _binding(node.id, binding)
    targets = _targets(node)
    if type_name == "Reference" and targets:
        yield _reference(node.id, targets)
    for rule in node.data.get("constraint", ()):
        yield _invariant(node.id, rule)


def _constant(kind: str, id: str, wanted: Any, compare: Callable[[Any, Any], bool]) -> Check:
    name, listed = f"`{id.rpartition('.')[2].partition(':')[0]}`", brief(wanted)

    def check(value: Any, place: Place, run: Run) -> None:
        if not compare(wanted, value):
            run.add(kind, id, place, name=name, listed=listed, said=brief(value))

    return check


def _same(wanted: Any, value: Any) -> bool:
    return type(wanted) is type(value) and wanted == value


def _within(wanted: Any, value: Any) -> bool:
    """Whether a value holds all a pattern says; each item of an array of the pattern has its match."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(key in value and _within(inner, value[key]) for key, inner in wanted.items())
    if isinstance(wanted, list):
        return isinstance(value, list) and all(any(_within(inner, one) for one in value) for inner in wanted)
    return _same(wanted, value)


def _binding(id: str, binding: dict[str, Any]) -> Check:
    url = binding["valueSet"]
    codes = profile_codes.members(url)
    if codes is None:
        raise ProfileError(f"{id}: value set `{url}` is not known")
    rule, severity = ("binding", "error") if binding["strength"] == "required" else ("extensible", "warning")
    listed = url.rpartition("/")[2].partition("|")[0]

    def check(value: Any, place: Place, run: Run) -> None:
        if profile_codes.holds(codes, value) is False:
            run.add(rule, id, place, severity, said=brief(value), listed=listed)

    return check


def _targets(node: Node) -> frozenset[str]:
    """Types a Reference may name, empty for any."""
    urls = [url for one in node.data.get("type", ()) for url in one.get("targetProfile", ())]
    names = {url.removeprefix(BASE) if url.startswith(BASE) else (definition(url) or {}).get("type", "Resource") for url in urls}
    return frozenset() if "Resource" in names else frozenset(names)


def _reference(id: str, targets: frozenset[str]) -> Check:
    listed = ", ".join(sorted(targets))

    def check(value: Any, place: Place, run: Run) -> None:
        named = _named(value, run)
        if named is not None and named not in targets:
            run.add("target", id, place, listed=listed, said=shown(named))

    return check


def _named(value: Any, run: Run) -> str | None:
    """Type of what a Reference names, None when it does not say."""
    if type(value) is not dict:
        return None
    text = value.get("reference")
    if type(text) is str and text:
        if text[0] == "#":
            named = run.contained.get(text[1:])
            return named if known_type(named) else None
        named = text.partition("?")[0] if "?" in text else parse_reference(text).type
        if known_type(named):
            return named
    said = value.get("type")
    return said if known_type(said) else None


def _invariant(id: str, rule: dict[str, Any]) -> Check:
    holds, key, severity, about = invariant(rule["expression"]), rule["key"], rule["severity"], words(rule, "human")

    def check(value: Any, place: Place, run: Run) -> None:
        if not run.crowded and not holds(value, run.resource):
            run.add(key, id, place, severity, about=about)

    return check


def _nested(node: Node, type_name: str) -> Iterator[Check]:
    """Profiles that a resource inside, or an extension, must follow."""
    urls = tuple(url for url in node.profiles() if definition(url) is not None)
    if type_name == "Resource":
        kinds = frozenset(node.types()) - {"Resource"}
        if kinds:
            yield _resource(node.id, kinds, urls)
    elif urls:
        yield lambda value, place, run: compiled(urls[0]).check(value, place, run)


def _resource(id: str, kinds: frozenset[str], urls: tuple[str, ...]) -> Check:
    listed = ", ".join(url.rpartition("/")[2] for url in urls)

    def check(value: Any, place: Place, run: Run) -> None:
        if type(value) is not dict:
            return
        if _kind(value) not in kinds:
            said = shown(value.get("resourceType"))
            run.add("resource", id, place, listed=", ".join(sorted(kinds)), said=said)
            return
        fitting = [one for one in map(compiled, urls) if one.signature(value)] if len(urls) > 1 else [compiled(url) for url in urls]
        if urls and not fitting:
            run.add("profile", id, place, listed=listed)
        elif fitting and not run.alone:
            fitting[0].check(value, place, Run(value, contained_types(value), run.faults))

    return check


def _kind(resource: dict) -> str:
    said = resource.get("resourceType")
    return said if type(said) is str else ""


class _Slice(NamedTuple):
    name: str
    node: Node
    matches: Test
    checks: tuple[Check, ...]


def _slice(node: Node, element: Element, told: list[tuple[str, str]]) -> _Slice:
    checks = _value_checks(node, element, element.types[0])
    return _Slice(node.id.rpartition(":")[2], node, _matcher(node, told), checks)


def _matcher(node: Node, told: list[tuple[str, str]]) -> Test:
    """Whether a value belongs to a slice. told: discriminators of the element that is sliced."""
    tests = [test for kind, path in told if (test := _discriminated(node, kind, path)) is not None]
    if not tests:
        raise ProfileError(f"{node.id}: nothing tells this slice from the others")
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _discriminated(node: Node, kind: str, path: str) -> Test | None:
    if kind == "type":
        target = _descend(node, path)
        wanted = frozenset(target.types()) if target else frozenset()
        return _found_at(path, lambda value: type(value) is dict and _kind(value) in wanted) if wanted else None
    if kind not in ("value", "pattern"):
        raise ProfileError(f"{node.id}: slicing by {kind} is not understood")
    if path == "url" and (own := node.profiles()):
        url = own[0].partition("|")[0]
        return lambda value: type(value) is dict and value.get("url") == url
    target = _descend(node, path)
    test = _equal(target) if target else None
    return None if test is None else test if path == "$this" else _found_at(path, test)


def _descend(node: Node, path: str) -> Node | None:
    at: Node | None = node
    for name in path.split(".") if path != "$this" else ():
        at = at.children.get(name) if at else None
    return at


def _equal(node: Node) -> Test | None:
    fixed, pattern = node.value("fixed"), node.value("pattern")
    if fixed is not None:
        return lambda value: _same(fixed, value)
    if pattern is not None:
        return lambda value: _within(pattern, value)
    binding = node.data.get("binding", {})
    if binding.get("strength") == "required" and (codes := profile_codes.members(binding["valueSet"])):
        return lambda value: profile_codes.holds(codes, value) is True
    return None


def _found_at(path: str, test: Test) -> Test:
    """Whether something at a path from the value passes."""
    names = tuple(path.split("."))

    def found(value: Any) -> bool:
        at = [value]
        for name in names:
            at = [inner for one in at if type(one) is dict and (inner := one.get(name)) is not None]
            at = [one for inner in at for one in (inner if type(inner) is list else (inner,))]
        return any(test(one) for one in at)

    return found
