"""Examples that break exactly one rule of their profile, each a good example with one thing changed, by file name.

https://hl7.org/fhir/R4/profiling.html
"""

import copy
from collections.abc import Iterator

from scripts.profile_sources.examples import bad_documents, bad_rights, good
from scripts.profile_sources.examples.parts import Resource
from scripts.profile_sources.making import structure

CASES = (*bad_documents.CASES, *bad_rights.CASES)


def examples() -> dict[str, tuple[Resource, dict[str, str]]]:
    """File name without ending -> (resource, what it breaks)."""
    return dict(_made())


def _made() -> Iterator[tuple[str, tuple[Resource, dict[str, str]]]]:
    sources = good.examples()
    for case in CASES:
        value = copy.deepcopy(sources[case.of])
        case.change(value)
        if value["resourceType"] != "Bundle" or "entry" in value:
            value["meta"] = {**value.get("meta", {}), "profile": [structure(case.profile)]}
        yield (
            case.name,
            (
                value,
                {
                    "profile": structure(case.profile),
                    "rule": case.rule,
                    "element": case.element,
                    "expression": case.expression,
                    "severity": case.severity,
                    "en": case.en,
                    "fr": case.fr,
                },
            ),
        )
