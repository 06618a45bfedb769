"""The search index of a resource: for each search parameter the values found in it.

https://hl7.org/fhir/R4/search.html#ptypes

Names in the index are parameter codes. What a reference to a contained resource leads to is found under
`author>Practitioner.family`: the parameter, the type of the contained resource, its own parameter; that there is one at all under
`author>Practitioner`. That the resource holds one, and what identifies it, under `contained>Practitioner`, whatever refers to it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from fhir_dmp.fhir import tables
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.search.convert import Context, Convert, converter
from fhir_dmp.search.expressions import Branch, ExpressionError, after_first, branches, contained, flat, getter
from fhir_dmp.search.parameters import TEXTS, Parameter, parameters
from fhir_dmp.search.values import Composite, Index, Reference, Value
from fhir_dmp.search.words import content, narrative

MAX_CONTAINED_DEPTH = 2
# What the index of a container tells of each resource it holds, whatever refers to it: see held().
HELD = frozenset({"identifier", "code"})
_Reader = Callable[[object, dict, Context], Iterable[Value]]


def extract(type_name: str, resource: dict, *, base_urls: Sequence[str] = (), texts: bool = False) -> Index:
    """The index of a resource: parameter code -> values, absent where there is none.

    base_urls: addresses of this server, under which an absolute reference is a local one. texts: with `_text` and `_content` too.

    >>> extract("Patient", {"resourceType": "Patient", "birthDate": "1980-05"})["birthdate"]
    (DateRange(lo_ms=325987200000, hi_ms=328665600000),)
    """
    return _extract(type_name, resource, resource, Context(tuple(base_urls), {}), texts, 0)


def some(type_name: str, resource: dict, codes: Collection[str], *, base_urls: Sequence[str] = ()) -> Index:
    """The values of a few parameters, contained resources left aside.

    >>> some("Patient", {"resourceType": "Patient", "gender": "male", "birthDate": "1980"}, {"gender"})["gender"][0].code
    'male'
    """
    context = Context(tuple(base_urls), {})
    found: dict[str, dict[Value, None]] = {}
    by_member, whole = _plan(type_name)
    readers = [(code, read, resource[member]) for member in resource.keys() & by_member for code, read in by_member[member]]
    for code, read, value in [*readers, *((code, read, resource) for code, read in whole)]:
        if code in codes and value is not None and (values := read(value, resource, context)):
            found.setdefault(code, {}).update(dict.fromkeys(values))
    return {code: tuple(values) for code, values in found.items()}


def of_member(type_name: str, member: str, value: object, resource: dict, base_urls: Sequence[str] = ()) -> Index:
    """The part of the index that one top-level member gives, whatever else the resource says, unless it contains others.

    >>> of_member("Patient", "gender", "male", {})["gender"][0].code
    'male'
    """
    context = Context(tuple(base_urls), {})
    found: dict[str, dict[Value, None]] = {}
    for code, read in _plan(type_name)[0].get(member, ()):
        if values := read(value, resource, context):
            found.setdefault(code, {}).update(dict.fromkeys(values))
    return {code: tuple(values) for code, values in found.items()}


def of_several(type_name: str, code: str, resource: dict, base_urls: Sequence[str] = ()) -> Index:
    """The values of a parameter of several_members."""
    context = Context(tuple(base_urls), {})
    read = next(read for name, read in _plan(type_name)[1] if name == code)
    values = tuple(dict.fromkeys(read(resource, resource, context)))
    return {code: values} if values else {}


@cache
def single_members(type_name: str) -> frozenset[str]:
    """Top-level members that give values by themselves."""
    return frozenset(_plan(type_name)[0])


class Several(NamedTuple):
    """A parameter whose values need several top-level members: a composite, or `exists()`.

    members: all it reads. needs: one way to have a value each, which is to have a member of every set.
    """

    code: str
    members: tuple[str, ...]
    needs: tuple[tuple[frozenset[str], ...], ...]

    def possible(self, present: Collection[str]) -> bool:
        """Whether a resource with these members may have a value."""
        return any(all(not those.isdisjoint(present) for those in way) for way in self.needs)


@lru_cache(maxsize=2048)
def possible_members(type_name: str, present: tuple[str, ...]) -> tuple[Several, ...]:
    """Those that a resource with these members may have values of."""
    return tuple(several for several in several_members(type_name) if several.possible(present))


@cache
def several_members(type_name: str) -> tuple[Several, ...]:
    """Each of them."""
    found = []
    for code, _ in _plan(type_name)[1]:
        parameter, needs = parameters(type_name)[code], []
        for branch in parameter.branches:
            parts = [[branch]] if branch.steps else [branches(c.expression, branch.place) for c in parameter.components]
            needs.append(tuple(frozenset(_first_member(one, parameter.code) for one in part) for part in parts))
        read = tuple(dict.fromkeys(name for way in needs for those in way for name in sorted(those)))
        # What asks whether something is there has an answer where nothing is.
        found.append(Several(code, read, ((),) if parameter.type != "composite" else tuple(needs)))
    return tuple(found)


def _first_member(branch: Branch, code: str) -> str:
    if not branch.steps or branch.steps[0].kind not in ("member", "extension"):
        raise ExpressionError(f"`{code}` reads more than members of the resource")
    return "extension" if branch.steps[0].kind == "extension" else branch.steps[0].name


def _extract(type_name: str, resource: dict, container: dict, context: Context, texts: bool, depth: int) -> Index:
    found: dict[str, dict[Value, None]] = {}
    by_member, whole = _plan(type_name)
    for member, value in resource.items():
        if value is not None and (readers := by_member.get(member)):
            for code, read in readers:
                if values := read(value, container, context):
                    found.setdefault(code, {}).update(dict.fromkeys(values))
    for code, read in whole:
        if values := read(resource, container, context):
            found.setdefault(code, {}).update(dict.fromkeys(values))
    if depth < MAX_CONTAINED_DEPTH and container.get("contained"):
        _contained(type_name, resource, container, context, found, depth)
        if depth == 0:
            _held(resource, context, found)
    index = {code: tuple(values) for code, values in found.items() if values}
    if texts:
        index["_text"], index["_content"] = (narrative(resource),), (content(resource),)
    return index


def held(type_name: str) -> str:
    """Name in the index of a container of the resources of a type that it holds; their parameters come after a dot."""
    return f"contained>{type_name}"


def each_contained(resource: dict, *, base_urls: Sequence[str] = (), texts: bool = False) -> Iterator[tuple[int, str, Index]]:
    """(position, type, index) of each contained resource by itself; it has no `_id` that could be asked for.

    >>> [(at, name) for at, name, _ in each_contained({"contained": [{"resourceType": "Patient", "id": "p"}]})]
    [(0, 'Patient')]
    """
    context = Context(tuple(base_urls), {})
    for at, inner in enumerate(flat(resource.get("contained") or [])):
        if type(inner) is dict and tables.known_type(inner.get("resourceType")):
            index = _extract(inner["resourceType"], inner, resource, context, texts, 1)
            index.pop("_id", None)
            yield at, inner["resourceType"], index


def _held(resource: dict, context: Context, found: dict) -> None:
    for inner in flat(resource["contained"]):
        if type(inner) is dict and tables.known_type(inner.get("resourceType")):
            name = inner["resourceType"]
            found.setdefault(held(name), {})[Reference(name)] = None
            for member, value in inner.items():
                for code, read in _plan(name)[0].get(member, ()):
                    if code in HELD and value is not None:
                        found.setdefault(f"{held(name)}.{code}", {}).update(dict.fromkeys(read(value, resource, context)))


def _contained(type_name: str, resource: dict, container: dict, context: Context, found: dict, depth: int) -> None:
    for code, read in _reference_readers(type_name):
        for value in read(resource, container, context):
            said = parse_reference(value["reference"]) if type(value) is dict and isinstance(value.get("reference"), str) else None
            if said is None or said.kind != "fragment" or not said.fragment:
                continue
            inner = contained(container, said.fragment)
            if inner is None or inner is resource or not tables.known_type(inner.get("resourceType")):
                continue
            name = inner["resourceType"]
            found.setdefault(f"{code}>{name}", {})[Reference(name)] = None
            for inner_code, values in _extract(name, inner, container, context, False, depth + 1).items():
                if not inner_code.startswith("_"):  # id and meta of a contained resource identify nothing outside
                    found.setdefault(f"{code}>{name}.{inner_code}", {}).update(dict.fromkeys(values))


@cache
def _plan(type_name: str) -> tuple[dict[str, list[tuple[str, _Reader]]], list[tuple[str, _Reader]]]:
    """Readers by the top-level member they start from, and those that start from the whole resource."""
    by_member: dict[str, list[tuple[str, _Reader]]] = {}
    whole: list[tuple[str, _Reader]] = []
    for code, parameter in parameters(type_name).items():
        if parameter.type == "composite":
            whole.append((code, _composite_reader(parameter)))
            continue
        if parameter.branches[0].test:
            whole.append((code, _existence_reader(parameter)))
            continue
        for branch in parameter.branches:
            first = branch.steps[0]
            if first.kind == "member":
                by_member.setdefault(first.name, []).append(
                    (code, _reader(code, parameter.type, branch, after_first(branch), as_list=True))
                )
            elif first.kind == "extension":
                read = _reader(code, parameter.type, branch, getter(branch), as_list=False)
                by_member.setdefault("extension", []).append((code, _of_extensions(read)))
            else:
                whole.append((code, _reader(code, parameter.type, branch, getter(branch), as_list=False)))
    return by_member, whole


def _existence_reader(parameter: Parameter) -> _Reader:
    """`x.exists() and x != false` has an answer for every resource."""
    gets = [getter(branch) for branch in parameter.branches]
    convert = converter("token", parameter.branches[0])

    def read(value: object, resource: dict, context: Context) -> Iterable[Value]:
        return convert(any(item is not False for get in gets for item in get(value, resource)), resource, context)

    return read


def _of_extensions(read: _Reader) -> _Reader:
    return lambda value, resource, context: read({"extension": value}, resource, context)


def _reader(code: str, kind: str, branch: Branch, get: Callable, *, as_list: bool) -> _Reader:
    convert = converter(kind, branch)
    if convert is None:
        return lambda value, resource, context: ()

    if as_list and len(branch.steps) == 1:

        def read_member(value: object, resource: dict, context: Context) -> list[Value]:
            out: list[Value] = []
            for item in value if type(value) is list else (value,):
                if item is not None:
                    out += _once(convert, item, resource, context)
            return out

        return read_member

    def read(value: object, resource: dict, context: Context) -> list[Value]:
        out: list[Value] = []
        for start in flat(value) if as_list else (value,):
            for item in get(start, resource):
                if item is not None:
                    out += _once(convert, item, resource, context)
        return out

    if as_list and branch.steps[1].kind == "index":
        # [0] counts over the list of the member itself.
        at = int(branch.steps[1].name)
        after = getter(Branch(branch.steps[2:], branch.type, branch.place))

        def read_at(value: object, resource: dict, context: Context) -> list[Value]:
            out: list[Value] = []
            for start in flat(value)[at : at + 1]:
                for item in after(start, resource):
                    out += convert(item, resource, context)
            return out

        return read_at
    return read


def _once(convert: Convert, item: object, resource: dict, context: Context) -> Iterable[Value]:
    """The values of an element, which several parameters may ask for, converted once."""
    if type(item) is not dict:
        return convert(item, resource, context)
    place = (id(item), convert)
    found = context.done.get(place)
    if found is None:
        found = context.done[place] = tuple(convert(item, resource, context))
    return found


def _composite_reader(parameter: Parameter) -> _Reader:
    """Composite values: one for each element the composite stands on that has a value for every part."""
    plans = []
    for branch in parameter.branches:
        parts = tuple(
            tuple(
                (getter(b), converter(component.type, b))
                for b in branches(component.expression, branch.place)
                if converter(component.type, b)
            )
            for component in parameter.components
        )
        plans.append((getter(branch), parts))

    def read(value: object, resource: dict, context: Context) -> list[Value]:
        out: list[Value] = []
        for get, parts in plans:
            for base in get(value, resource):
                found = []
                for readers in parts:
                    values = [
                        value
                        for get_part, convert in readers
                        for item in get_part(base, resource)
                        for value in _once(convert, item, resource, context)
                    ]
                    if not values:
                        break
                    found.append(tuple(dict.fromkeys(values)))
                else:
                    out.append(Composite(tuple(found)))
        return out

    return read


@cache
def _reference_readers(type_name: str) -> list[tuple[str, Callable]]:
    """Readers of the raw Reference values of each reference parameter."""

    def read_all(gets: tuple) -> Callable:
        return lambda resource, container, context: [item for get in gets for item in get(resource, container)]

    result = []
    for code, parameter in parameters(type_name).items():
        gets = tuple(getter(b) for b in parameter.branches if b.type == "Reference")
        if parameter.type == "reference" and gets:
            result.append((code, read_all(gets)))
    return result


def index_codes(type_name: str) -> frozenset[str]:
    """Codes that an index of this type may hold, `_text` and `_content` included."""
    return frozenset(parameters(type_name)) | TEXTS
