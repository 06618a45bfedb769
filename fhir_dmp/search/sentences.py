"""Searches in words that were met before: understood once with the patient left open, then filled in with the one who is asked for.

https://hl7.org/fhir/R4/search.html

Practice software asks a few sentences, each of ever other patients. What a sentence means depends on its words alone; one of which that is
not true (`ap` looks at the clock) is understood anew each time.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from fhir_dmp.errors import FhirError
from fhir_dmp.search.limits import Limits
from fhir_dmp.search.predicate import All, AnyOf, Has, Not, Predicate, ReferenceIs
from fhir_dmp.search.query import Pairs, Query, parse
from fhir_dmp.search.terminology import Terminology

# Stands for the id of the patient.
OPEN = "the-patient-who-is-asked-for"
NAMES = ("patient", "subject")
ONE = re.compile(r"(?:Patient/)?([A-Za-z0-9.\-]{1,64})")
# Longer searches are rare, and would fill the memory.
MOST_CHARS = 1_000
# No date is as far from one of these moments as from both others.
MOMENTS = (0, 1_000_000_007, 10**15)


def understood(
    type_name: str | None,
    pairs: Pairs,
    *,
    now_ms: int,
    limits: Limits,
    base_urls: Sequence[str],
    terminology: Terminology,
    lenient: bool,
) -> Query:
    """The same as `parse` with these arguments.

    >>> asked = (("patient", "Patient/p1"), ("status", "current"))
    >>> known = {"limits": Limits(), "base_urls": (), "terminology": Terminology(), "lenient": False}
    >>> understood("Observation", asked, now_ms=5, **known) == parse("Observation", asked, now_ms=5, **known)
    True
    """
    size, patient, words = 0, "", []
    for name, text in pairs:
        size += len(name) + len(text)
        if name in NAMES and not patient and (one := ONE.fullmatch(text)) is not None:
            patient = one[1]
            words.append((name, text[: one.start(1)] + OPEN))
        else:
            words.append((name, text))
    query = None
    if patient and size <= MOST_CHARS:
        query = _sentence(type_name, tuple(words), limits, tuple(base_urls), terminology, lenient)
    if query is None:
        return parse(type_name, pairs, now_ms=now_ms, limits=limits, base_urls=base_urls, terminology=terminology, lenient=lenient)
    return query._replace(
        alternatives=tuple([(name, _filled(part, patient)) for name, part in query.alternatives]),
        understood=tuple([(name, text.replace(OPEN, patient)) for name, text in query.understood]),
    )


@lru_cache(1024)
def _sentence(
    type_name: str | None, words: Pairs, limits: Limits, base_urls: tuple[str, ...], terminology: Terminology, lenient: bool
) -> Query | None:
    """The query about the open patient; None when filling it in would not do."""
    asked = {"limits": limits, "base_urls": base_urls, "terminology": terminology, "lenient": lenient}
    try:
        first, *others = (parse(type_name, words, now_ms=moment, **asked) for moment in MOMENTS)
        example = parse(type_name, tuple((name, text.replace(OPEN, "p1")) for name, text in words), now_ms=0, **asked)
    except FhirError:
        return None  # whoever asked is told so in his own words
    filled = tuple((name, _filled(part, "p1")) for name, part in first.alternatives)
    alone = sum(text.count(OPEN) for _, text in words) == 1 and first._replace(alternatives=(), understood=()) == example._replace(
        alternatives=(), understood=()
    )
    return first if alone and filled == example.alternatives and all(each == first for each in others) else None


def _filled(predicate: Predicate, patient: str) -> Predicate:
    kind = type(predicate)
    if kind is Has:
        test = predicate.test
        if type(test) is ReferenceIs and test.id == OPEN:
            return Has(predicate.code, ReferenceIs(test.type, patient, test.version))
        return predicate
    if kind is All or kind is AnyOf:
        return kind(tuple([_filled(part, patient) for part in predicate.parts]))
    return Not(_filled(predicate.part, patient)) if kind is Not else predicate
