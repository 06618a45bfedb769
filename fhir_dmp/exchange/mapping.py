"""What the codes of a source mean here: document types, practice settings, kinds of structure; and which codes nobody knows.

https://mos.esante.gouv.fr/NOS/JDV_J66-TypeCode-DMP/FHIR/JDV-J66-TypeCode-DMP ; https://hl7.org/fhir/R4/conceptmap.html
"""

import json
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_dmp.dmp import spaces
from fhir_dmp.dmp.spaces import PROFILES
from fhir_dmp.dmp.visibility import concept, labels_of
from fhir_dmp.exchange.described import system_of
from fhir_dmp.exchange.rules import Rules, Target
from fhir_dmp.search.spelling import fold

NEAREST = 5
OID = "urn:oid:"
# Element of context -> ValueSets of its codes.
SETS = {"practiceSetting": ("dmp-practice-setting",), "facilityType": ("dmp-facility-type", "dmp-facility-type-cisis")}


class Unknown(NamedTuple):
    """A code that nobody mapped. element: type, practiceSetting or facilityType. local: "system|code". text: as the source words it.

    candidates: the nearest codes of ours, best first.
    """

    element: str
    local: str
    text: str
    candidates: tuple[Target, ...]


@lru_cache(maxsize=8)
def targets(element: str) -> tuple[Target, ...]:
    """The codes that an element may have here."""
    if element == "type":
        return tuple(Target(one.system, one.code, one.display) for one in spaces.types().values())
    found: dict[tuple[str, str], Target] = {}
    for name in SETS[element]:
        for include in json.loads((PROFILES / f"ValueSet-{name}.json").read_text("utf-8"))["compose"]["include"]:
            for one in include.get("concept", ()):
                found[include["system"], one["code"]] = Target(include["system"], one["code"], one.get("display", ""))
    return tuple(found.values())


@lru_cache(maxsize=8)
def _known(element: str) -> frozenset[tuple[str, str]]:
    return frozenset((one.system, one.code) for one in targets(element))


def mapped(document: Mapping[str, Any], rules: Rules) -> tuple[Mapping[str, Any], list[Unknown]]:
    """A DocumentReference with codes of ours before those of the source, and the codes nobody knows. Unchanged parts are the same objects.

    Labels of the source are added to its own: none is ever taken away.
    """
    unknown: list[Unknown] = []
    changed = {"type": _element("type", document.get("type"), rules, unknown)}
    context = document.get("context")
    if isinstance(context, dict):
        told = {name: _element(name, context[name], rules, unknown) for name in SETS if name in context}
        if any(told[name] is not context[name] for name in told):
            changed["context"] = {**context, **told}
    labels = [label for label in rules.labels if label not in labels_of(document.get("securityLabel") or ())]
    if labels:
        changed["securityLabel"] = [*(document.get("securityLabel") or ()), *map(concept, labels)]
    new = {name: value for name, value in changed.items() if value is not document.get(name)}
    return ({**document, **new} if new else document), unknown


def _element(element: str, said: Any, rules: Rules, unknown: list[Unknown]) -> Any:
    said = said if isinstance(said, dict) else {}
    codings = [one for one in said.get("coding") or () if isinstance(one, dict)]
    if any(_is_known(element, one.get("system"), one.get("code")) for one in codings):
        return said
    for one in codings:
        # The same code under the OID of its system.
        if str(one.get("system")).startswith(OID) and _is_known(
            element, system := system_of(one["system"].removeprefix(OID)), one.get("code")
        ):
            return {**said, "coding": [{**one, "system": system}, *codings]}
    locals_ = [(f"{one.get('system') or ''}|{one.get('code') or ''}", one.get("display") or "") for one in codings if one.get("code")]
    text = str(said.get("text") or "")
    if not locals_:
        locals_ = [(f"|{text}", text)]
    for local, _ in locals_:
        if target := rules.maps.get(element, {}).get(local):
            coding = {name: value for name, value in target._asdict().items() if value}
            return {**said, "coding": [coding, *codings]}
    local, display = locals_[0]
    words = " ".join(part for part in (display, text if text != display else "") if part) or local.partition("|")[2]
    unknown.append(Unknown(element, local, words, nearest(element, words)))
    return said


def _is_known(element: str, system: object, code: object) -> bool:
    if not isinstance(system, str) or not isinstance(code, str):
        return False
    return spaces.type_token(system, code) in spaces.types() if element == "type" else (system, code) in _known(element)


def nearest(element: str, words: str, count: int = NEAREST) -> tuple[Target, ...]:
    """The codes whose names are nearest to some words.

    >>> [one.code for one in nearest("type", "Compte rendu opératoire", 1)]
    ['34874-8']
    """
    asked = _plain(words)

    def likeness(one: Target) -> float:
        there = _plain(one.display)
        shared = set(asked.split()) & set(there.split())
        return SequenceMatcher(None, asked, there).ratio() + 0.3 * len(shared) + (asked == one.code.casefold())

    return tuple(sorted(targets(element), key=lambda one: (-likeness(one), one.code))[:count])


def _plain(text: str) -> str:
    return " ".join(fold(text).replace("compte rendu", "cr").replace("compte-rendu", "cr").split())
