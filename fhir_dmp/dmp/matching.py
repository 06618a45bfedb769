"""Is this the same person? Pure scoring of two Patients: the INS decides, traits only suggest.

https://hl7.org/fhir/R4/patient-operation-match.html ; identity vigilance: https://esante.gouv.fr/produits-services/referentiel-ins
"""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fhir_dmp.dmp.identity import INS_SYSTEMS, ins_of

CERTAIN, PROBABLE, POSSIBLE, NOT = "certain", "probable", "possible", "certainly-not"
WEIGHTS = {"birthDate": 0.35, "family": 0.3, "given": 0.2, "gender": 0.15}
# Traits alone never make a match certain: twins and namesakes share them.
MOST_BY_TRAITS = 0.9
PROBABLE_FROM, POSSIBLE_FROM = 0.75, 0.45


class Match(NamedTuple):
    """score: 0 to 1. grade: a code of the match-grade extension. contradicted: traits that both tell, and differently."""

    score: float
    grade: str
    contradicted: tuple[str, ...] = ()


def compare(asked: Mapping, known: Mapping) -> Match:
    """How well a stored Patient fits the one asked for.

    >>> one = {"name": [{"family": "Lefèvre", "given": ["Zoé"]}], "birthDate": "1979-03-15", "gender": "female"}
    >>> compare(one, {**one, "name": [{"family": "LEFEVRE", "given": ["ZOE"]}]})
    Match(score=0.9, grade='probable', contradicted=())
    """
    agreement = {name: degree for name, degree in _agreements(asked, known).items() if degree is not None}
    contradicted = tuple(name for name in WEIGHTS if agreement.get(name) == 0)
    traits = MOST_BY_TRAITS * sum(WEIGHTS[name] * degree for name, degree in agreement.items())
    ins = _same_ins(asked, known)
    if ins is False:
        return Match(0.0, NOT, contradicted)
    if ins:
        if not contradicted:
            return Match(1.0, CERTAIN, ())
        # The number of one person with the traits of another: somebody must look.
        return Match(0.8, PROBABLE, contradicted) if len(contradicted) == 1 else Match(0.5, POSSIBLE, contradicted)
    if _same_identifier(asked, known):
        if not contradicted and agreement.get("family") == agreement.get("birthDate") == 1:
            return Match(0.98, CERTAIN, ())
        score = max(0.5, 0.95 - 0.2 * len(contradicted))
        return Match(round(score, 2), PROBABLE if score >= PROBABLE_FROM else POSSIBLE, contradicted)
    score = round(traits, 2)
    if score >= PROBABLE_FROM and not contradicted:
        return Match(score, PROBABLE, ())
    return Match(score, POSSIBLE if score >= POSSIBLE_FROM else NOT, contradicted)


def _agreements(asked: Mapping, known: Mapping) -> dict[str, float | None]:
    """Trait -> degree of agreement, None where one of the two does not tell."""
    return {
        "birthDate": _dates(asked.get("birthDate"), known.get("birthDate")),
        "family": _families(asked, known),
        "given": _givens(asked, known),
        "gender": _genders(asked.get("gender"), known.get("gender")),
    }


def _same_ins(asked: Mapping, known: Mapping) -> bool | None:
    """True: an INS in common; False: both have one of the same system and they differ; None: nothing to compare."""
    left, right = dict(ins_of(asked)), dict(ins_of(known))
    if set(ins_of(asked)) & set(ins_of(known)):
        return True
    return False if left.keys() & right.keys() else None


def _same_identifier(asked: Mapping, known: Mapping) -> bool:
    return bool(_identifiers(asked) & _identifiers(known))


def _identifiers(patient: Mapping) -> set[tuple[str, str]]:
    found = patient.get("identifier")
    return {
        (one["system"], one["value"])
        for one in found if isinstance(found, list) and isinstance(one, Mapping)
        and isinstance(one.get("system"), str) and isinstance(one.get("value"), str)
        and one.get("use") != "old" and one["system"] not in INS_SYSTEMS
    } if isinstance(found, list) else set()  # fmt: skip


def names(patient: Mapping, part: str) -> list[str]:
    """Family names, or given names in order, of all names of a Patient, as written. part: family or given."""
    found: dict[str, None] = {}
    listed = patient.get("name")
    for name in listed if isinstance(listed, list) else ():
        said = name.get(part) if isinstance(name, Mapping) else None
        for text in said if isinstance(said, list) else [said]:
            if isinstance(text, str) and _plain(text):
                found[text] = None
    return list(found)


def _plain(text: str) -> str:
    """Letters without case and accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text).casefold() if letter.isalnum())


def _plain_names(patient: Mapping, part: str) -> list[str]:
    return list(dict.fromkeys(_plain(text) for text in names(patient, part)))


def _families(asked: Mapping, known: Mapping) -> float | None:
    left, right = _plain_names(asked, "family"), _plain_names(known, "family")
    if not left or not right:
        return None
    if set(left) & set(right):
        return 1
    # A birth name joined to a married one, either way.
    return 0.6 if any(min(len(a), len(b)) >= 3 and (a in b or b in a) for a in left for b in right) else 0


def _givens(asked: Mapping, known: Mapping) -> float | None:
    left, right = _plain_names(asked, "given"), _plain_names(known, "given")
    if not left or not right:
        return None
    if left[0] == right[0]:
        return 1
    if set(left) & set(right):
        return 0.7
    return 0.5 if any(a.startswith(b) or b.startswith(a) for a in left for b in right) else 0


def _dates(left: object, right: object) -> float | None:
    if not isinstance(left, str) or not isinstance(right, str) or not left or not right:
        return None
    if left == right:
        return 1
    short, long = sorted((left, right), key=len)
    if len(short) < len(long):
        return 0.5 if long.startswith(short) else 0
    a, b = left.split("-"), right.split("-")
    # Day and month exchanged: a slip of the pen, not another day.
    return 0.4 if len(a) == len(b) == 3 and a[0] == b[0] and a[1:] == b[:0:-1] else 0


def _genders(left: object, right: object) -> float | None:
    if left not in ("male", "female") or right not in ("male", "female"):
        return None
    return 1 if left == right else 0


class Ranked(NamedTuple):
    """An entry of the answer. place: of the candidate in the list that was given."""

    place: int
    match: Match


def ranked(asked: Mapping, candidates: Iterable[Mapping]) -> list[Ranked]:
    """Candidates from the most to the least likely, without those that are certainly others.

    Two certain matches are none: each is then only probable, and nobody is picked.
    """
    found = [Ranked(place, match) for place, known in enumerate(candidates) if (match := compare(asked, known)).grade != NOT]
    if sum(each.match.grade == CERTAIN for each in found) > 1:
        found = [Ranked(p, m._replace(score=min(m.score, 0.9), grade=PROBABLE)) if m.grade == CERTAIN else Ranked(p, m) for p, m in found]
    return sorted(found, key=lambda each: (-each.match.score, each.place))
