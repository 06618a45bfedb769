"""Identities: INS of people, IDNPS of professionals, IDNST of structures, in one spelling each.

https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-ins ; https://interop.esante.gouv.fr/ig/fhir/annuaire
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

INS_NIR = "urn:oid:1.2.250.1.213.1.4.8"
INS_NIA = "urn:oid:1.2.250.1.213.1.4.9"
INS_NIR_TEST = "urn:oid:1.2.250.1.213.1.4.10"
INS_NIR_DEMO = "urn:oid:1.2.250.1.213.1.4.11"
INS_C = "urn:oid:1.2.250.1.213.1.4.2"
NIS = "urn:dmp:nis"
INS_SYSTEMS = frozenset({INS_NIR, INS_NIA, INS_NIR_TEST, INS_NIR_DEMO})
OLD_SYSTEMS = frozenset({INS_C, NIS})

RPPS = "https://rpps.esante.gouv.fr"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
FINESS = "https://finess.esante.gouv.fr"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
SIRENE = "https://sirene.fr"

RELIABILITY = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
QUALIFIED = frozenset({"QUAL", "VALI"})

# The author of what the holder's side writes: holder and representatives are one pen.
HOLDER = "holder"

_RPPS = re.compile(r"[0-9]{11}", re.ASCII)
# RPPS, ADELI, a student's number; known to a structure alone by the number of that structure and what he is called within it.
_IDNPS = re.compile(r"8[0-9]{11}|0[0-9A-Z]{9}|9[0-9A-Z]{4,63}|[13456][0-9A-Z]{9,14}/[0-9A-Za-z/._-]{1,48}", re.ASCII)
_FINESS = re.compile(r"[0-9][0-9AB][0-9]{7}", re.ASCII)
_IDNST = re.compile(r"[0-4][0-9A-Z][0-9A-Za-z/._-]{0,62}|R[0-9]{1,62}", re.ASCII)
# As an IDNST, and as Pro Santé Connect says it of an establishment.
_SAID_FINESS = re.compile(r"[1F]([0-9][0-9AB][0-9]{7})", re.ASCII)
_SIRET = re.compile(r"[0-9]{14}", re.ASCII)
# Kind of an IDNPS that a structure gives -> kind of the IDNST of that structure: ADELI of a practice, FINESS, SIREN, SIRET, its RPPS.
_HOUSES = {"1": "0", "3": "1", "4": "2", "5": "3", "6": "4"}
_SIRENE = re.compile(r"[0-9]{9}([0-9]{5})?", re.ASCII)
_INS = re.compile(r"[0-9][0-9]{4}[0-9AB][0-9]{9}", re.ASCII)


class Ins(NamedTuple):
    """system: one of INS_SYSTEMS. value: 15 characters, number and key; the key is not verified."""

    system: str
    value: str


def is_ins(system: str, value: str) -> bool:
    """Whether this is the identifier of a person in one of the INS systems.

    >>> is_ins(INS_NIR_TEST, "279035121518989"), is_ins(INS_NIR_TEST, "2790351"), is_ins(RPPS, "279035121518989")
    (True, False, False)
    """
    return system in INS_SYSTEMS and bool(_INS.fullmatch(value))


def ins_of(patient: Mapping) -> tuple[Ins, ...]:
    """Every INS a Patient carries, those of use `old` left out."""
    return tuple(
        Ins(one["system"], one["value"])
        for one in _identifiers(patient)
        if one.get("use") != "old" and is_ins(one.get("system") or "", one.get("value") or "")
    )


def reliability(patient: Mapping) -> str:
    """PROV, RECUP, VALI or QUAL; "" when the Patient does not say."""
    for extension in patient.get("extension") or ():
        if extension.get("url") == RELIABILITY:
            for part in extension.get("extension") or ():
                coding = part.get("valueCoding") or {}
                if part.get("url") == "identityStatus" and coding.get("code"):
                    return coding["code"]
    return ""


def is_qualified(patient: Mapping) -> bool:
    """Whether the INS may travel: fr-core 2.2.0 says QUAL, 2.1.0 says VALI, both are accepted."""
    return bool(ins_of(patient)) and reliability(patient) in QUALIFIED


def professional(system: str | None, value: str) -> str:
    """IDNPS of a professional, "" when the identifier is not one. Check digits are not verified.

    Eleven digits are an RPPS under the system of IDNPS too, which never has eleven: one number must not be two people.

    >>> professional(RPPS, "10001234567"), professional(IDNPS, "810001234567"), professional(IDNPS, "3750000001/42")
    ('810001234567', '810001234567', '3750000001/42')
    >>> professional(IDNPS, "3750000001"), professional(IDNPS, "3750000001/"), professional(None, "0secretariat")
    ('', '', '')
    >>> professional(None, "810001234567"), professional(FINESS, "750000001"), professional(RPPS, "12"), professional(IDNPS, "10001234567")
    ('810001234567', '', '', '810001234567')
    """
    if system not in (RPPS, IDNPS, None, ""):
        return ""
    if _RPPS.fullmatch(value):
        return "8" + value
    return value if system != RPPS and _IDNPS.fullmatch(value) else ""


def structure(system: str | None, value: str) -> str:
    """IDNST of a structure, "" when the identifier is not one. Nine characters are a FINESS under the system of IDNST too, which has more.

    So is a technical number of the directory: F and the FINESS of an establishment, R and digits of a practice. Fourteen digits, which
    nothing else here has, are a SIRET: one structure must not be two.

    >>> structure(FINESS, "750000001"), structure(IDNST, "1750000001"), structure(None, "750000001"), structure(SIRENE, "123456789")
    ('1750000001', '1750000001', '1750000001', '2123456789')
    >>> structure(IDNST, "130000001"), structure(None, "F750000001"), structure(IDNST, "R10100000056559"), structure(None, "hospital")
    ('1130000001', '1750000001', 'R10100000056559', '')
    >>> structure(None, "2b0000001"), structure(IDNST, "12b0000001"), structure(None, "55208131766522"), structure(IDNST, "355208131766522")
    ('12B0000001', '12B0000001', '355208131766522', '355208131766522')
    """
    if system == SIRENE:
        return ("3" if len(value) == 14 else "2") + value if _SIRENE.fullmatch(value) else ""
    if system not in (FINESS, IDNST, None, ""):
        return ""
    capital = value.upper()
    if _FINESS.fullmatch(capital):
        return "1" + capital
    if system == FINESS:
        return ""
    if said := _SAID_FINESS.fullmatch(capital):
        return "1" + said[1]
    if _SIRET.fullmatch(value):
        return "3" + value
    return value if _IDNST.fullmatch(value) else ""


def known_as(identifiers: Iterable[Mapping]) -> frozenset[str]:
    """Professionals and structures that these FHIR identifiers name, in the spellings of the rules.

    One that has no system we know names nobody: guessing would give a right to a stranger.
    """
    found = set()
    for one in identifiers:
        system, value = one.get("system"), one.get("value")
        if system and isinstance(value, str) and (name := professional(system, value) or structure(system, value)):
            found.add(name_of(system, name))
    return frozenset(found)


def name_of(system: str, normal: str) -> str:
    """Who is meant, with what: "ps:IDNPS" or "org:IDNST". A professional and a structure of the same digits are two."""
    return ("ps:" if system in (RPPS, IDNPS) else "org:") + normal


def ps(idnps: str) -> str:
    """Name of a professional in rules; "" stays ""."""
    return f"ps:{idnps}" if idnps else ""


def houses(names: Iterable[str]) -> frozenset[str]:
    """Structures by whose own numbers some of these professionals are known: whom such a structure answers for.

    >>> sorted(houses(["ps:3750000002/42", "ps:4123456789/x", "ps:610001234567/1", "ps:810001234567", "org:1750000001"]))
    ['org:1750000002', 'org:2123456789', 'org:410001234567']
    """
    internal = (name.removeprefix("ps:").partition("/") for name in names if name.startswith("ps:"))
    return frozenset(org(structure(None, _HOUSES[one[0]] + one[1:])) for one, slash, _ in internal if slash and one[0] in _HOUSES)


def org(idnst: str) -> str:
    """Name of a structure in rules; "" stays ""."""
    return f"org:{idnst}" if idnst else ""


def _identifiers(resource: Mapping) -> list:
    found = resource.get("identifier") or []
    return found if isinstance(found, list) else [found]
