"""Value sets and code hierarchies for `:in`, `:not-in`, `:above` and `:below`: those shipped with the guide and those that come with R4.

https://hl7.org/fhir/R4/search.html#modifiers
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fhir_dmp.fhir import tables
from fhir_dmp.search.parameters import PROFILES

Codes = frozenset[tuple[str | None, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Terminology:
    """value_sets: url -> (system, code without case). children, parents: system -> code -> codes directly below, above."""

    value_sets: Mapping[str, Codes] = field(default_factory=dict)
    children: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    parents: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def expand(self, url: str) -> Codes | None:
        """Codes of a value set, None when this host does not have it or cannot enumerate it.

        >>> sorted(Terminology().expand("http://hl7.org/fhir/ValueSet/administrative-gender"))[0]
        ('http://hl7.org/fhir/administrative-gender', 'female')
        """
        plain = url.partition("|")[0]
        if plain in self.value_sets:
            return self.value_sets[plain]
        listed = tables.known_codes(plain)
        if not listed:
            return None
        return frozenset((system, code.casefold()) for system, codes in listed.items() for code in codes)

    def below(self, system: str, code: str) -> Codes | None:
        """The code and all its descendants; None when the code system is not known here."""
        return self._closure(self.children, system, code)

    def above(self, system: str, code: str) -> Codes | None:
        """The code and all its ancestors; None when the code system is not known here."""
        return self._closure(self.parents, system, code)

    @staticmethod
    def _closure(steps: Mapping[str, Mapping[str, tuple[str, ...]]], system: str, code: str) -> Codes | None:
        if system not in steps:
            return None
        found, waiting = {code}, [code]
        while waiting:
            for other in steps[system].get(waiting.pop(), ()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return frozenset((system, each.casefold()) for each in found)


def terminology_of(resources: Iterable[dict]) -> Terminology:
    """What CodeSystem and ValueSet resources say.

    >>> shipped = terminology_of([{"resourceType": "CodeSystem", "url": "s", "concept": [{"code": "a", "concept": [{"code": "b"}]}]},
    ...     {"resourceType": "ValueSet", "url": "v", "compose": {"include": [{"system": "s"}]}}])
    >>> sorted(shipped.expand("v")), sorted(shipped.below("s", "a"))
    ([('s', 'a'), ('s', 'b')], [('s', 'a'), ('s', 'b')])
    """
    resources = list(resources)
    children: dict[str, dict[str, tuple[str, ...]]] = {}
    parents: dict[str, dict[str, tuple[str, ...]]] = {}
    for system in (r for r in resources if r.get("resourceType") == "CodeSystem" and "url" in r):
        down, up = children.setdefault(system["url"], {}), parents.setdefault(system["url"], {})
        waiting: list[tuple[dict, str | None]] = [(concept, None) for concept in system.get("concept", ())]
        while waiting:
            concept, parent = waiting.pop()
            code = concept["code"]
            down.setdefault(code, ())
            up.setdefault(code, ())
            if parent is not None:
                down[parent] = (*down[parent], code)
                up[code] = (*up[code], parent)
            waiting += [(inner, code) for inner in concept.get("concept", ())]
    sets = {r["url"]: r for r in resources if r.get("resourceType") == "ValueSet" and "url" in r}
    expanded = {url: codes for url, r in sets.items() if (codes := _expanded(r, sets, children)) is not None}
    return Terminology(expanded, children, parents)


def _expanded(value_set: dict, sets: Mapping[str, dict], systems: Mapping[str, Mapping], depth: int = 0) -> Codes | None:
    if depth > 10:
        return None
    if "expansion" in value_set:
        waiting, found = list(value_set["expansion"].get("contains", ())), set()
        while waiting:
            item = waiting.pop()
            waiting += item.get("contains", ())
            if "code" in item and not item.get("abstract"):
                found.add((item.get("system"), item["code"].casefold()))
        return frozenset(found)
    compose = value_set.get("compose", {})
    included = [_part(part, sets, systems, depth) for part in compose.get("include", ())]
    excluded = [_part(part, sets, systems, depth) for part in compose.get("exclude", ())]
    if not included or any(part is None for part in (*included, *excluded)):
        return None
    return frozenset().union(*included) - frozenset().union(*excluded)


def _part(part: dict, sets: Mapping[str, dict], systems: Mapping[str, Mapping], depth: int) -> Codes | None:
    if "filter" in part:
        return None
    system, found = part.get("system"), None
    if system:
        listed = [concept["code"] for concept in part["concept"]] if "concept" in part else systems.get(system)
        if listed is None:
            return None
        found = frozenset((system, code.casefold()) for code in listed)
    for url in part.get("valueSet", ()):
        named = sets.get(url.partition("|")[0])
        codes = _expanded(named, sets, systems, depth + 1) if named else None
        if codes is None:
            return None
        found = codes if found is None else found & codes
    return found


@cache
def shipped(folder: Path = PROFILES) -> Terminology:
    """Terminology of the CodeSystem and ValueSet resources of a folder, and the hierarchies of R4."""
    files = sorted([*folder.glob("CodeSystem-*.json"), *folder.glob("ValueSet-*.json")])
    found = terminology_of(json.loads(file.read_bytes()) for file in files)
    children, parents = dict(found.children), dict(found.parents)
    for system, below in tables.hierarchies().items():
        if system not in children:
            children[system] = {code: tuple(inner) for code, inner in below.items()}
            parents[system] = {}
            for code, inner in below.items():
                for each in inner:
                    parents[system][each] = (*parents[system].get(each, ()), code)
    return Terminology(found.value_sets, children, parents)
