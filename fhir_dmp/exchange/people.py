"""Who a Patient of a source is here: by qualified INS, then INS-C, NIS, and the source's own numbers; in doubt somebody must look.

https://esante.gouv.fr/produits-services/referentiel-ins ; https://hl7.org/fhir/R4/patient-operation-match.html

Two dossiers are never taken for one because of traits alone, and nothing is merged: an import only finds a dossier, or it does not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fhir_dmp.dmp import matching
from fhir_dmp.dmp.identity import INS_C, INS_SYSTEMS, NIS, OLD_SYSTEMS, is_ins, is_qualified
from fhir_dmp.exchange.rules import Rules

CANDIDATES = 5


class Candidate(NamedTuple):
    """Somebody who may be meant. place: in the list that was given. by: why he was considered."""

    place: int
    score: float
    grade: str
    by: str


class Found(NamedTuple):
    """place: of the one who is meant, None when that is for somebody to say. why: in words. candidates: best first."""

    place: int | None
    why: str
    candidates: tuple[Candidate, ...] = ()


def identify(asked: Mapping[str, Any], known: Sequence[Mapping[str, Any]], rules: Rules, goes_on: Sequence[str] = ()) -> Found:
    """Which of the known patients a Patient of a source is. known: those with an identifier or two traits in common.

    goes_on: of each, whose dossier is his now, where some were joined: those with one dossier are one person, the first of them.

    >>> asked = {"identifier": [{"system": NIS, "value": "1"}], "name": [{"family": "OZENNE"}], "birthDate": "1950-01-01"}
    >>> identify(asked, [asked], Rules(source="s")).why
    'NIS'
    >>> identify({**asked, "birthDate": "1960-01-01"}, [asked], Rules(source="s")).place is None
    True
    """
    asked, known = current(asked), [current(one) for one in known]
    ranked = matching.ranked(asked, known)
    candidates = tuple(Candidate(one.place, one.match.score, one.match.grade, "traits") for one in ranked[:CANDIDATES])
    tiers = [("INS", INS_SYSTEMS), ("INS-C", {INS_C}), ("NIS", {NIS})]
    tiers += [(name, {system}) for name, system in sorted(rules.systems.items()) if system not in (INS_C, NIS)]
    for name, systems in tiers:
        told = _identifiers(asked, systems)
        hits = [place for place, one in enumerate(known) if told & _identifiers(one, systems)]
        if not hits:
            continue
        if (several := len({goes_on[place] for place in hits}) if goes_on else len(hits)) > 1:
            return Found(None, f"{several} dossiers have the same {name}", candidates)
        match = matching.compare(asked, known[hits[0]])
        own = Candidate(hits[0], match.score, match.grade, name)
        others = (own, *(one for one in candidates if one.place != hits[0]))
        if match.grade != matching.CERTAIN:
            wrong = f": {', '.join(match.contradicted)} differ" if match.contradicted else ", and too little else is told"
            return Found(None, f"the {name} is that of a dossier{wrong}", others)
        if name == "INS" and not is_qualified(asked):
            return Found(None, "the INS is not qualified", others)
        return Found(hits[0], name, others)
    if not candidates:
        return Found(None, "nobody here is like that: has the dossier been opened?")
    return Found(None, "no number in common, only traits", candidates)


def numbers(patient: Mapping[str, Any], rules: Rules) -> set[tuple[str, str]]:
    """(system, value) of the numbers by which somebody is found as one whom a source names."""
    return _identifiers(current(patient), {*INS_SYSTEMS, INS_C, NIS, *rules.systems.values()})


def still(asked: Mapping[str, Any], known: Mapping[str, Any], rules: Rules) -> bool:
    """Whether somebody whom a source was found to mean before may still be meant by what it says of him now.

    Not with an INS that is not his, with none of his numbers of a kind of which he has one, nor where a trait is contradicted.

    >>> before = {"identifier": [{"system": NIS, "value": "1"}], "name": [{"family": "OZENNE"}], "birthDate": "1950-01-01"}
    >>> changed = [{**before, "active": True}, {**before, "birthDate": "1960-01-01"}, {"identifier": [{"system": NIS, "value": "2"}]}]
    >>> [still(one, before, Rules(source="s")) for one in changed]
    [True, False, False]
    """
    asked, known = current(asked), current(known)
    said, his = _by_system(numbers(asked, rules)), _by_system(numbers(known, rules))
    if any(system in said and not said[system] <= his.get(system, set()) for system in INS_SYSTEMS):
        return False
    if any(said[system].isdisjoint(his[system]) for system in said.keys() & his.keys()):
        return False
    return not matching.compare(asked, known).contradicted


def names(asked: Mapping[str, Any], known: Mapping[str, Any], rules: Rules) -> list[tuple[str, str]]:
    """(system, value) of the numbers by which a source may name this patient from now on: those he has here, and its own."""
    own = {*rules.systems.values()} - {*INS_SYSTEMS, INS_C, NIS}
    return sorted((said := numbers(asked, rules)) & numbers(known, rules) | {one for one in said if one[0] in own})


def has(patient: Mapping[str, Any], system: str, value: str) -> bool:
    """Whether this number is his: of those that are given to people by no source."""
    return system not in (*INS_SYSTEMS, INS_C, NIS) or (system, value) in _identifiers(current(patient), {system})


def ins(patient: Mapping[str, Any]) -> str:
    """Every INS that is said, as one text."""
    return " ".join(sorted(f"{system}|{value}" for system, value in _identifiers(patient, INS_SYSTEMS)))


def _by_system(those: set[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for system, value in those:
        found.setdefault(system, set()).add(value)
    return found


def current(patient: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Patient whose NIS and INS-C count: they are kept as outdated identifiers, and are what the old dossiers know him by."""
    listed = patient.get("identifier")
    if not isinstance(listed, list):
        return patient
    told = [
        {name: value for name, value in one.items() if name != "use"} if isinstance(one, dict) and _system(one) in OLD_SYSTEMS else one
        for one in listed
    ]
    return {**patient, "identifier": told}


def _system(identifier: Mapping[str, Any]) -> str:
    found = identifier.get("system")
    return found if isinstance(found, str) else ""


def _identifiers(patient: Mapping[str, Any], systems: set[str] | frozenset[str]) -> set[tuple[str, str]]:
    """(system, value) of these systems that are not outdated; an INS of one kind is compared with that kind."""
    found = patient.get("identifier")
    return {
        (one["system"], one["value"])
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict)
        and _system(one) in systems
        and isinstance(one.get("value"), str)
        and one["value"]
        and one.get("use") != "old"
        and (one["system"] not in INS_SYSTEMS or is_ins(one["system"], one["value"]))
    }
