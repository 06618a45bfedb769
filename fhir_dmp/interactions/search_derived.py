"""Searches by what a document says without words: its class follows from its type, and what is not archived says nothing of it.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ (DocumentReference.category, isArchived); classes of types: dmp.spaces

A document deposited without `category` is found by the class of its type, one without the extension isArchived as not archived. Both
become part of the predicate, so that index, counts and pages all know.
"""

from collections.abc import Sequence
from operator import is_

from fhir_dmp.dmp import spaces
from fhir_dmp.search.predicate import All, AnyOf, Chain, Has, Not, Predicate, Present, ReverseChain, Test, TokenIn, TokenIs

Alternatives = Sequence[tuple[str | None, Predicate]]
DOCUMENT = "DocumentReference"
ARCHIVED, ARCHIVABLE = "isArchived", (DOCUMENT, "List")
DERIVED = frozenset({"category", ARCHIVED})


def completed(alternatives: Alternatives) -> Alternatives:
    """The same, where what is derived is found too."""
    return [(name, _completed(name, part)) for name, part in alternatives]


def _completed(type_name: str | None, predicate: Predicate) -> Predicate:
    # By its class, not by a match statement, which takes most of the time of a search that derives nothing.
    kind = type(predicate)
    if kind is Has:
        return _derived(type_name, predicate) if predicate.code in DERIVED else predicate
    if kind is All or kind is AnyOf:
        parts = tuple([_completed(type_name, part) for part in predicate.parts])
        return predicate if all(map(is_, parts, predicate.parts)) else kind(parts)
    if kind is Not:
        return Not(_completed(type_name, predicate.part))
    if kind is Chain:
        return Chain(predicate.code, tuple([(target, _completed(target, part)) for target, part in predicate.targets]))
    if kind is ReverseChain:
        return ReverseChain(predicate.type, predicate.code, _completed(predicate.type, predicate.part))
    return predicate


def _derived(type_name: str | None, predicate: Has) -> Predicate:
    match predicate:
        case Has("category", test) if type_name == DOCUMENT and (types := _types(_classes(test))):
            return AnyOf((predicate, All((Not(Present("category")), Has("type", TokenIn(types))))))
        case Has(code, TokenIs(_, "false")) if code == ARCHIVED and type_name in ARCHIVABLE:
            return AnyOf((predicate, Not(Present(ARCHIVED))))
    return predicate


def _classes(test: Test) -> frozenset[str]:
    """Classes that a test of `category` accepts."""
    match test:
        case TokenIs(system, str(code)):
            asked = frozenset({(system, code.casefold())})
        case TokenIn(codes):
            asked = codes
        case _:
            return frozenset()
    system = spaces.class_system()
    return frozenset(code for code in spaces.classes() if not asked.isdisjoint({(system, code.casefold()), (None, code.casefold())}))


def _types(classes: frozenset[str]) -> frozenset[tuple[str | None, str]]:
    """Types of these classes, in every spelling of their systems."""
    codes = frozenset().union(*(spaces.of_class(one) for one in classes))
    return frozenset((system, code.casefold()) for code in codes for system in spaces.systems_of(code))
