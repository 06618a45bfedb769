"""Consents that a dossier begins with: its opening, and what the holder says of emergencies.

Code de la santé publique L1111-14, L1111-17; https://profiles.ihe.net/ITI/PCF/
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_dmp.consent.compiling import DEFAULTS
from fhir_dmp.consent.directives import (
    ACT_REASON,
    ACTIVE,
    CATEGORY,
    CONSENT_DOCUMENT,
    EMERGENCIES,
    EVIDENCE,
    INACTIVE,
    LOINC,
    PRIVACY,
    SCOPE,
    SHAPES,
    category_of,
)
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.paris import span
from fhir_dmp.fhir.instants import HOUR

POLICY = "https://www.legifrance.gouv.fr/codes/section_lc/LEGITEXT000006072665/LEGISCTA000006185259"
OPENER_HOURS = 24


def consent(
    category: str,
    *,
    patient: str,
    at: str,
    performer: Mapping[str, Any],
    organization: Mapping[str, Any],
    permits: bool,
    evidence: str = "",
) -> dict[str, Any]:
    """One active Consent without actor. patient: logical id. at: FHIR instant. performer, organization: References."""
    purposes = [{"system": ACT_REASON, "code": code} for code in ("TREAT", "ETREAT", "BTG") if code in SHAPES[category].purposes]
    return {
        "resourceType": "Consent",
        **({"extension": [{"url": EVIDENCE, "valueCode": evidence}]} if evidence else {}),
        "status": ACTIVE,
        "scope": {"coding": [{"system": SCOPE, "code": PRIVACY}]},
        "category": [
            {"coding": [{"system": LOINC, "code": CONSENT_DOCUMENT}]},
            {"coding": [{"system": CATEGORY, "code": category}]},
        ],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": at,
        "performer": [dict(performer)],
        "organization": [dict(organization)],
        "policy": [{"uri": POLICY}],
        "provision": {"type": "permit" if permits else "deny", **({"purpose": purposes} if purposes else {})},
    }


def founding(
    *, patient: str, at: str, performer: Mapping[str, Any], organization: Mapping[str, Any], evidence: str, said: Mapping[str, bool]
) -> list[dict[str, Any]]:
    """The opening Consent and the three of emergencies. said: category -> what the holder ticked; where he said nothing the default."""
    who = {"patient": patient, "at": at, "performer": performer, "organization": organization}
    opening = consent("opening", **who, permits=True, evidence=evidence)
    return [opening, *(consent(one, **who, permits=said.get(one, DEFAULTS[one])) for one in EMERGENCIES)]


def is_opener(consents: Sequence[Mapping[str, Any]], names: frozenset[str], now_ms: int) -> bool:
    """Whether one of these names opened the dossier within 24 hours. consents: of the dossier."""
    for one in consents:
        if category_of(one) == "opening" and one.get("dateTime"):
            performers = [reference["identifier"] for reference in one.get("performer") or () if reference.get("identifier")]
            recent = now_ms < span(one["dateTime"])[0] + OPENER_HOURS * HOUR
            if recent and identity.known_as(performers) & names:
                return True
    return False


def switched(opening: Mapping[str, Any], open: bool) -> dict[str, Any]:
    """The opening Consent of a dossier that is closed, or open again."""
    return {**opening, "status": ACTIVE if open else INACTIVE}
