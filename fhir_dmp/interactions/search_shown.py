"""Criteria about references that may be hidden: a search finds by what the asker is shown, not by what is stored.

https://hl7.org/fhir/R4/search.html#reference ; https://profiles.ihe.net/ITI/PCF/

The index knows every reference, also one to what the asker does not see, which is taken out of what he is shown. So a criterion
that names what is hidden is met by nothing, and one that only asks whether there is a reference, or what stands beside it, or for words
anywhere in the resource, is decided on the resource as it is shown.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache

from fhir_dmp.fhir.tables import child_path, elements, members
from fhir_dmp.interactions import shown
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search.expressions import Branch
from fhir_dmp.search.parameters import TEXTS, Parameter, parameters
from fhir_dmp.search.predicate import (
    EVERYTHING,
    NOTHING,
    All,
    AnyOf,
    Chain,
    Has,
    Not,
    Predicate,
    Present,
    ReferenceIs,
    ReferenceTo,
    ReverseChain,
    walk,
)
from fhir_dmp.store.rows import Row

Alternatives = Sequence[tuple[str | None, Predicate]]
TIME = "_lastUpdated"
# What goes by when something came to the asker; what somebody says himself of when it was does not.
TIMES = frozenset({TIME, "recorded"})
# Whoever reads anything of a dossier sees these.
EVER = frozenset({"Device", "Organization", "Patient", "Practitioner", "PractitionerRole"})
# So does he see those around the holder, unless nothing but what he wrote himself lets him in.
AROUND = EVER | {"RelatedPerson"}


def certain(sight: Sight) -> frozenset[str]:
    """Types of which nothing is hidden from the asker."""
    return EVER if sight.met is not None and sight.met.request.authored_here else AROUND


@lru_cache(maxsize=512)
def leading(type_name: str | None, ever: frozenset[str]) -> frozenset[str]:
    """Codes of the parameters of a type that look at references which may be taken out, or at what goes with them. ever: see `certain`."""
    return frozenset(code for code, one in parameters(type_name).items() if _leads(type_name, one, ever)) if type_name else frozenset()


def _leads(type_name: str, one: Parameter, ever: frozenset[str]) -> bool:
    ends = any(branch.type == "Reference" and not ever.issuperset(branch.targets or ("",)) for branch in one.branches)
    return ends or one.code in going(type_name, ever)


@lru_cache(maxsize=512)
def going(type_name: str | None, ever: frozenset[str]) -> frozenset[str]:
    """Of these codes those of what goes though it is no such reference itself: with one that stands beside it."""
    if not type_name:
        return frozenset()
    return frozenset(code for code, one in parameters(type_name).items() if any(_goes(type_name, each, ever) for each in one.branches))


def _goes(type_name: str, branch: Branch, ever: frozenset[str]) -> bool:
    first = branch.steps[0].name if branch.steps else ""
    if f"{type_name}.{first}" in shown.WHOLE and not (branch.targets and ever.issuperset(branch.targets)):
        return True
    place = type_name
    for step in branch.steps:
        element, kind = members(place).get(step.name, (None, "")) if step.kind == "member" else (None, "")
        if element is None:
            continue
        place = child_path(element, kind)
        if _needs(place, ever):
            return True
    return False


@lru_cache(maxsize=4096)
def _needs(place: str, ever: frozenset[str]) -> bool:
    """Whether an element is nothing without a reference that may be taken out, or without something that is not."""
    needed = [one for one in elements(place).values() if one.min > 0] if place else []
    if any("Reference" in one.types and not ever.issuperset(one.targets or ("",)) for one in needed):
        return True
    return any(_needs(one.children, ever) for one in needed if one.children and one.children != place)


async def seen_alone(context: Context, alternatives: Alternatives, sight: Sight) -> Alternatives:
    """The same, where criteria that name something hidden are met by nothing."""
    if sight.met is None or sight.met.policy is None:
        return alternatives
    named: list[ReferenceIs] = []
    ever = certain(sight)
    for name, part in alternatives:
        _named(name, part, ever, named)
    gone = await shown.unseen(context, sight.met, {f"{one.type}/{one.id}" for one in named}) if named else frozenset()
    return [(name, _unmet(name, part, ever, gone)) for name, part in alternatives] if gone else alternatives


def _named(type_name: str | None, predicate: Predicate, ever: frozenset[str], found: list[ReferenceIs]) -> None:
    """Collect what criteria name that may be hidden. By class, not by a match statement: this runs for every search."""
    kind = type(predicate)
    if kind is Has:
        if type(predicate.test) is ReferenceIs and predicate.code in leading(type_name, ever):
            found.append(predicate.test)
    elif kind is All or kind is AnyOf:
        for part in predicate.parts:
            _named(type_name, part, ever, found)
    elif kind is Not:
        _named(type_name, predicate.part, ever, found)
    elif kind is Chain:
        for target, part in predicate.targets:
            _named(target, part, ever, found)
    elif kind is ReverseChain:
        _named(predicate.type, predicate.part, ever, found)


def _unmet(type_name: str | None, predicate: Predicate, ever: frozenset[str], gone: frozenset[str]) -> Predicate:
    match predicate:
        case Has(code, ReferenceIs() as test) if code in leading(type_name, ever) and f"{test.type}/{test.id}" in gone:
            return NOTHING
        case Not(part):
            return Not(_unmet(type_name, part, ever, gone))
        case All(parts):
            return All(tuple(_unmet(type_name, part, ever, gone) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(_unmet(type_name, part, ever, gone) for part in parts))
        case Chain(code, targets):
            return Chain(code, tuple((target, _unmet(target, part, ever, gone)) for target, part in targets))
        case ReverseChain(source, code, part):
            return ReverseChain(source, code, _unmet(source, part, ever, gone))
    return predicate


def depends(sight: Sight, alternatives: Alternatives, codes: Sequence[str] = ()) -> bool:
    """Whether the answer depends on how resources are shown. codes: of the order asked for, none for the newest first."""
    if sight.met is None or sight.met.policy is None:
        return False
    if sight.met.late and (
        not TIMES.isdisjoint(codes or (TIME,)) or any(_asks_time(part) for _, whole in alternatives for part in walk(whole))
    ):
        return True
    ever = certain(sight)
    for name, part in alternatives:  # noqa: SIM110  (without a generator)
        if _leads_to(name, part, ever) or not leading(name, ever).isdisjoint(codes):
            return True
    return False


def _asks_time(part: Predicate) -> bool:
    return isinstance(part, Has | Present) and part.code in TIMES


def _leads_to(type_name: str | None, predicate: Predicate, ever: frozenset[str]) -> bool:
    kind = type(predicate)
    if kind is Has or kind is Present:
        return _touched(type_name, predicate, ever)
    if kind is All or kind is AnyOf:
        for part in predicate.parts:  # noqa: SIM110
            if _leads_to(type_name, part, ever):
                return True
        return False
    return any(_touched(type_name, part, ever) for part in walk(predicate))


def _touches(type_name: str | None, predicate: Predicate, ever: frozenset[str]) -> bool:
    return any(_touched(type_name, part, ever) or _asks_time(part) for part in walk(predicate))


def _touched(type_name: str | None, part: Predicate, ever: frozenset[str]) -> bool:
    if not isinstance(part, Has | Present):
        return False
    outer, _, inner = part.code.partition(">")
    if inner:  # a contained resource, or what it says: "author>Practitioner", "author>Practitioner.name"
        held, _, code = inner.partition(".")
        return outer in going(type_name, ever) or bool(code) and _touched(held, replace(part, code=code), ever)
    if isinstance(part, Present):
        return part.code in leading(type_name, ever)
    if isinstance(part.test, ReferenceIs | ReferenceTo):  # one that he sees may go with another; not in a trace
        return part.code in going(type_name, ever) and type_name != "AuditEvent"
    # Words are those of the whole body: of hidden references, of labels and queries in traces.
    return part.code in TEXTS or part.code in leading(type_name, ever)


def loosened(alternatives: Alternatives, sight: Sight) -> Alternatives:
    """What leads to every row that may meet them as it is shown."""
    ever = certain(sight)
    return [(name, _loose(name, part, ever)) for name, part in alternatives]


def _loose(type_name: str | None, predicate: Predicate, ever: frozenset[str]) -> Predicate:
    match predicate:
        case All(parts):
            return All(tuple(_loose(type_name, part, ever) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(_loose(type_name, part, ever) for part in parts))
        case Has(code, ReferenceIs() | ReferenceTo()) if ">" not in code:
            return predicate  # what is shown of it is stored
        case _ if _touches(type_name, predicate, ever):
            return EVERYTHING
    return predicate


async def as_shown(context: Context, sight: Sight, rows: Sequence[Row], codes: Collection[str] = ()) -> list[bytes]:
    """Bodies of rows without the references that the asker does not see, dated as he sees them. codes: what they are judged by; for words
    they are to the octet what he is shown.
    """
    if not TEXTS.isdisjoint(codes):
        return await shown.bodies(context, sight.met, rows)
    return await shown.pruned(context, sight.met, rows)
