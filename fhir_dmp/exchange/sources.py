"""The registry of sources: who may send dossiers, under which rules. Known ones come with the program, an operator registers them.

https://hl7.org/fhir/R4/conceptmap.html ; known sources in exchange/data/sources.json, their maps in profiles/sources/
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fhir_dmp.dmp.spaces import PROFILES
from fhir_dmp.dmp.visibility import DISPLAYS
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.described import system_of
from fhir_dmp.exchange.mapping import OID, targets
from fhir_dmp.exchange.rules import CARE_RECORD, CONSENTS, EXPERIMENT, FEED, HOST, KINDS, SANDBOX, Rules, Target
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.store import revocations
from fhir_dmp.store.records import Source
from fhir_dmp.store.resources import Store

DATA = Path(__file__).parent / "data" / "sources.json"
# What a map may speak about.
ELEMENTS = ("type", "practiceSetting", "facilityType")
# The map of places and settings, alike for all.
PLACES = "dmp-source-places"
# The map that a source begins with which nobody knows.
MAPS = {EXPERIMENT: "dmp-source-2007", CARE_RECORD: "dmp-source-care", FEED: "dmp-source-feed"}
# In the rules of a source: [instant, "enabled" or "disabled", why] of each time that it was switched.
SWITCHES = "switches"
ENABLED = "enabled"
# [element, "system|code", system, code, display] of each code whose meaning an operator said.
DECIDED = "decided"
REASON = 200
_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


@lru_cache(maxsize=1)
def known() -> dict[str, dict]:
    """The sources that come with the program, by id. seed: which documents of the project's beginnings name each."""
    table = json.loads(DATA.read_text("utf-8"))
    return {one["id"]: {"systems": table["systems"], **one} for one in table["sources"]}


@lru_cache(maxsize=16)
def concept_map(name: str) -> tuple[tuple[str, str, Target], ...]:
    """A ConceptMap of profiles/, see `meanings`."""
    return tuple(meanings(json.loads((PROFILES / "sources" / f"ConceptMap-{name}.json").read_text("utf-8"))))


def meanings(concept_map: Mapping[str, Any]) -> Iterator[tuple[str, str, Target]]:
    """(element of a DocumentReference, "system|code" of the source, meaning) of each code of a valid ConceptMap that has one.

    Types, specialities and structures may stand in one: what a code means says which element it is for. 400 for a meaning nobody has.
    """
    for group in concept_map.get("group") or ():
        for one in group["element"]:
            meant = next((each for each in one.get("target") or () if each["equivalence"] not in ("unmatched", "disjoint")), None)
            if meant is None or "code" not in one:
                continue
            system, code = str(group.get("target") or ""), meant.get("code")
            system = system_of(system.removeprefix(OID)) if system.startswith(OID) else system
            found = [(name, target) for name in ELEMENTS for target in targets(name) if (target.system, target.code) == (system, code)]
            if not found:
                raise FhirError(
                    "invalid", f"`{str(system)[:80]}|{str(code)[:40]}` is no code of a document here", "ConceptMap.group.element.target"
                )
            for name, target in found:
                yield name, f"{group.get('source') or ''}|{one['code']}", target


async def register(store: Store, id: str, **given: Any) -> Source:
    """Register a source; 409 when it is. given: name, kind, host, organization, base_urls, systems, labels, in place of what is known.

    A source nobody knows needs a name; it is a care record unless it says another kind.
    """
    if not _ID.fullmatch(id):
        raise FhirError("invalid", f"`{id[:64]}` is no id of a source: lower-case letters, digits, `-` and `.`")
    told = {**known().get(id, {}), **{name: value for name, value in given.items() if value}}
    kind = told.get("kind", CARE_RECORD)
    if id not in known() and kind in MAPS:
        told["maps"] = [MAPS[kind]]
    if not told.get("name"):
        raise FhirError("invalid", f"source `{id}` is not among those that are known: give it a name")
    if kind not in KINDS:
        raise FhirError("invalid", f"`{kind}` is no kind of source; there are {', '.join(KINDS)}")
    if kind == SANDBOX and not store.sandbox:
        raise FhirError("business-rule", "a source of kind sandbox exists on a sandbox only")
    if unknown := [label for label in told.get("labels", ()) if label not in DISPLAYS]:
        raise FhirError("invalid", f"`{unknown[0]}` is no label of a document")
    kept = ("host", "organization", "base_urls", "systems", "labels", "maps")
    rules = {name: told[name] for name in kept if told.get(name)}
    source = Source(id=id, name=told["name"], kind=kind, rules=rules, dossier=str(store.new_dossier()))
    if await Source.get(id) is None:
        await revocations.begun_anew(store, id)
    await source.insert()
    return source


async def registered(store: Store, source: str) -> Source:
    """A registered source, disabled or not; 404 when there is none. A sandbox has one of its own."""
    one = await Source.get(source)
    if one is None and source == SANDBOX and store.sandbox:
        with contextlib.suppress(FhirError):  # another import registers it at the same moment
            await register(store, SANDBOX, name="files given to a sandbox", kind=SANDBOX)
        one = await Source.get(source)
    if one is None:
        raise FhirError("not-found", f"source `{source[:64]}` is not registered in this store")
    return one


def admit(source: Source) -> None:
    """403 for a source that was disabled: nothing new is taken from it."""
    if not source.enabled:
        since = f" since {source.rules[SWITCHES][-1][0]}" if source.rules.get(SWITCHES) else ""
        again = f"an operator of this host enables it with `fhir-dmp sources enable {source.id}`, then send it again"
        raise FhirError("forbidden", f"source `{source.id}` is disabled{since}, nothing is taken from it: {again}")


def by_itself(rules: Rules) -> None:
    """422 for another host. It gives whole dossiers, whose holders chose to move them; for anything else they must have consented."""
    if rules.kind == HOST:
        said = f"source `{rules.source}` is another host, which sends packages of dossiers"
        raise FhirError("business-rule", f"{said}: resources come from a source of another kind, as their holders consent to it")


async def rules_of(store: Store, source: str, *, sends: bool = True) -> Rules:
    """The rules of a registered source. sends: 403 when it was disabled; else for what it sent before that."""
    one = await registered(store, source)
    if sends:
        admit(one)
    return rules(one)


async def switch(store: Store, id: str, enabled: bool, at_ms: int, reason: str = "") -> Source:
    """Disable a source, or enable it again; 409 when it is so already. When and why stays with its record, the latest last.

    What runs goes on to its end, what waits in quarantine stays and may be imported again, and what it brought stays as it is.
    """
    source = await registered(store, id)
    if source.enabled == enabled:
        raise FhirError("conflict", f"source `{id}` is {'enabled' if enabled else 'disabled'} already")
    said = [to_instant(at_ms), ENABLED if enabled else "disabled", reason[:REASON]]
    await revocations.switched(store, id, said, at_ms)
    await _switch(source, said)
    return source


async def settle(store: Store) -> None:
    """Switch the sources as they were switched last, once the acts that came after a backup are applied. Again does no harm."""
    for id, said in (await revocations.switches(store)).items():
        source = await Source.get(id)
        if source is not None and said not in source.rules.get(SWITCHES, ()):
            await _switch(source, said)


async def _switch(source: Source, said: list[str]) -> None:
    update = {"$set": {"enabled": said[1] == ENABLED}, "$push": {f"rules.{SWITCHES}": said}}
    await source.change(update, {f"rules.{SWITCHES}": {"$ne": said}})


def rules(source: Source) -> Rules:
    """The rules of a source: its maps from profiles/, and on top of them what an operator decided."""
    told = source.rules
    maps: dict[str, dict[str, Target]] = {element: {} for element in ELEMENTS}
    for name in (PLACES, *told.get("maps", ())):
        for element, local, target in concept_map(name):
            maps[element][local] = target
    for element, local, *target in told.get(DECIDED, ()):
        maps[element][local] = Target(*target)
    return Rules(
        source=source.id,
        name=source.name,
        kind=source.kind or SANDBOX,
        host=told.get("host", ""),
        consent=CONSENTS.get(source.kind, ""),
        organization=told.get("organization", ""),
        base_urls=tuple(told.get("base_urls", ())),
        systems=dict(told.get("systems", {})),
        labels=tuple(told.get("labels", ())),
        maps=maps,
        dossier=int(source.dossier or 0),
    )


async def decide(source: Source, element: str, local: str, target: Target) -> None:
    """Note what a code of a source means. local: "system|code"."""
    if element not in ELEMENTS:
        raise FhirError("invalid", f"codes are mapped in {', '.join(ELEMENTS)}")
    await _decided(source, [(element, local, target)])


async def learn(source: Source, concept_map: Mapping[str, Any]) -> int:
    """Note what a valid ConceptMap of a source, its own or its vendor's, says its codes mean; how many."""
    told = list(meanings(concept_map))
    await _decided(source, told)
    return len(told)


async def _decided(source: Source, told: Sequence[tuple[str, str, Target]]) -> None:
    changed = False
    while not changed:  # what others say meanwhile stays said
        before = source.rules.get(DECIDED)
        kept = {(element, local): target for element, local, *target in before or ()}
        kept |= {(element, local): list(target) for element, local, target in told}
        update = {"$set": {f"rules.{DECIDED}": [[*name, *target] for name, target in kept.items()]}}
        changed = await source.change(update, {f"rules.{DECIDED}": before})


def shown(source: Source | Mapping[str, Any]) -> str:
    """A source on one line, for people."""
    told = source if isinstance(source, Mapping) else {"id": source.id, "name": source.name, "kind": source.kind, **source.rules}
    line = f"{told['id']:<32} {told.get('kind', ''):<12} {told['name']}" + (f" ({told['host']})" if told.get("host") else "")
    if isinstance(source, Mapping) or source.enabled:
        return line
    since, _, reason = (told.get(SWITCHES) or [("", "", "")])[-1]
    return f"{line}  disabled {since}" + (f": {reason}" if reason else "")
