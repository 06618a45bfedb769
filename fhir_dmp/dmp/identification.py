"""Who a dossier is about: what a Patient must say before one is opened, and what nobody may rewrite afterwards.

https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-ins ; CSP R1111-8-1 (INS)
"""

from collections.abc import Mapping
from typing import Any

from fhir_dmp.dmp import identity
from fhir_dmp.dmp.paris import span
from fhir_dmp.errors import Issue

OFFICIAL = "official"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
# Traits that come with the INS: the teleservice says them, nobody types them.
TRAIT_EXTENSIONS = frozenset({BIRTH_PLACE, identity.RELIABILITY})
# What the life of the dossier alone changes, by operations of their own.
OF_THE_DOSSIER = ("active", "deceasedBoolean", "deceasedDateTime", "multipleBirthBoolean", "multipleBirthInteger", "link")


def faults(patient: Mapping[str, Any], now_ms: int) -> list[Issue]:
    """Everything that keeps a dossier from being opened for this Patient; [] when it can be. The shape of R4 was checked before."""
    found: list[Issue] = []
    if len(identity.ins_of(patient)) != 1:
        found.append(_fault("one INS is needed: system of an INS and 15 characters", "Patient.identifier"))
    for position, one in enumerate(patient.get("identifier") or ()):
        if one.get("system") in identity.INS_SYSTEMS and not identity.is_ins(one["system"], one.get("value") or ""):
            found.append(_fault("an INS has 15 characters, its number and its key", f"Patient.identifier[{position}].value"))
    official = [name for name in patient.get("name") or () if name.get("use") == OFFICIAL]
    if len(official) != 1 or not official[0].get("family") or not official[0].get("given"):
        found.append(_fault("one name of use `official` with family and given is needed", "Patient.name"))
    if not patient.get("gender"):
        found.append(_fault("gender is missing", "Patient.gender"))
    if not patient.get("birthDate"):
        found.append(_fault("birthDate is missing", "Patient.birthDate"))
    elif span(patient["birthDate"])[0] > now_ms:
        found.append(_fault("birthDate has not come yet", "Patient.birthDate"))
    if patient.get("deceasedDateTime") or patient.get("deceasedBoolean") is True:
        found.append(_fault("no dossier is opened for a deceased person", "Patient.deceased"))
    return found


def not_for_opening(patient: Mapping[str, Any], *, himself: bool = False) -> list[Issue]:
    """A fault for what nobody says who opens a dossier: that it is a part of another one, or that an INS which is no more in force was his.

    Who could would bring the documents of somebody else into this dossier, or himself into theirs. himself: the holder opens, or who acts
    for him: no other number is then his to say either, since sources find by them whom they send something about.
    """
    found = [_fault("dossiers are joined by the host, when they are open", "Patient.link")] if patient.get("link") else []
    said = "an INS that is no more in force comes from the teleservice of the INS alone: leave it out"
    for position, one in enumerate(patient.get("identifier") or ()):
        if one.get("use") == "old" and one.get("system") in identity.INS_SYSTEMS:
            found.append(_fault(said, f"Patient.identifier[{position}]"))
        elif himself and one.get("system") not in identity.INS_SYSTEMS:
            found.append(_fault("another number than the INS is said by a professional or a structure", f"Patient.identifier[{position}]"))
    return found


def unread(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Issue]:
    """A fault for rules that the sender says his resource is to be read by, where he says so now: nobody here knows them."""
    said = after.get("implicitRules")
    if said is None or said == before.get("implicitRules"):
        return []
    return [_fault("implicitRules cannot be understood: leave it out", f"{after['resourceType']}.implicitRules")]


def traits(patient: Mapping[str, Any]) -> dict[str, Any]:
    """What of a Patient comes with the INS, by element, in a form to be compared."""
    names = [name for name in patient.get("name") or () if name.get("use") == OFFICIAL]
    extensions = [one for one in patient.get("extension") or () if one.get("url") in TRAIT_EXTENSIONS]
    found = {name: patient.get(name) for name in ("gender", "birthDate", *OF_THE_DOSSIER)}
    return {**found, "identifier": patient.get("identifier") or [], "name": names, "extension": sorted(extensions, key=str)}


def rewritten(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Issue]:
    """A fault for each trait that an update would change."""
    old, new = traits(before), traits(after)
    return [_fault(f"{name} comes with the INS or the life of the dossier and is not free text", f"Patient.{name}")
            for name in old if old[name] != new[name]]  # fmt: skip


def differs_beside(before: Mapping[str, Any], after: Mapping[str, Any], *left_out: str) -> bool:
    """Whether two versions differ in anything but these elements, meta and the narrative."""
    ignored = {"meta", "text", "id", *left_out}
    return {n: v for n, v in before.items() if n not in ignored} != {n: v for n, v in after.items() if n not in ignored}


def _fault(message: str, where: str) -> Issue:
    return Issue("error", "business-rule", message, where)
