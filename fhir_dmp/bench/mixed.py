"""Deterministic dossiers as a care record exports them: twenty resources of nine types each. Every name is invented.

https://hl7.org/fhir/R4/resourcelist.html ; identifiers carry the INS test system.
"""

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from fhir_dmp.bench import data
from fhir_dmp.dmp.identity import RELIABILITY, RPPS

# Resources of one dossier.
RESOURCES = 20
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ATC = "http://www.whocc.no/atc"
MEASURES = (
    ("8867-4", "Fréquence cardiaque", "/min", 50, 120),
    ("8480-6", "Pression artérielle systolique", "mm[Hg]", 95, 180),
    ("8462-4", "Pression artérielle diastolique", "mm[Hg]", 55, 110),
    ("29463-7", "Poids corporel", "kg", 42, 130),
    ("8310-5", "Température", "Cel", 36, 40),
    ("2339-0", "Glycémie", "mg/dL", 65, 220),
)
PROBLEMS = (("38341003", "Hypertension artérielle"), ("44054006", "Diabète de type 2"), ("195967001", "Asthme"), ("82423001", "Douleur"))
DRUGS = (("C09AA02", "Énalapril"), ("A10BA02", "Metformine"), ("R03AC02", "Salbutamol"), ("N02BE01", "Paracétamol"))


def dossier(number: int) -> Iterator[dict]:
    """The resources of a dossier, each after what it refers to. Ids are those of the source.

    >>> len(list(dossier(7)))
    20
    """
    chance = Random(f"mixed {number}")
    at = datetime(2024, 1, 1, 8, tzinfo=UTC) + timedelta(minutes=chance.randrange(400_000))
    when = at.isoformat().replace("+00:00", "+01:00")
    about = {"reference": f"Patient/pat-{number}"}
    author = {"identifier": {"system": RPPS, "value": data.DOCTOR[1:]}, "display": "DR LESTRELIN"}
    yield person(number)
    stays = [f"enc-{number}-{k}" for k in range(2)]
    for k, id in enumerate(stays):
        yield {
            "resourceType": "Encounter",
            "id": id,
            "status": "finished",
            "class": {"system": ACT, "code": ("AMB", "IMP")[k], "display": ("ambulatoire", "hospitalisation")[k]},
            "type": [_coded(SNOMED, "185349003", "Consultation de suivi")],
            "subject": about,
            "participant": [{"individual": author}],
            "period": {"start": when, "end": (at + timedelta(hours=1 + 70 * k)).isoformat().replace("+00:00", "+01:00")},
        }
    stay = {"reference": f"Encounter/{stays[0]}"}
    for k in range(2):
        yield {
            "resourceType": "Condition",
            "id": f"con-{number}-{k}",
            "clinicalStatus": _coded(CLINICAL, "active", "Actif"),
            "code": _coded(SNOMED, *PROBLEMS[(number + k) % len(PROBLEMS)]),
            "subject": about,
            "encounter": stay,
            "onsetDateTime": f"{2000 + chance.randrange(24)}-{1 + chance.randrange(12):02}",
            "recordedDate": when,
        }
    for k, (code, title, unit, low, high) in enumerate(MEASURES):
        yield {
            "resourceType": "Observation",
            "id": f"obs-{number}-{k}",
            "status": "final",
            "category": [_coded(CATEGORY, "vital-signs", "Signes vitaux")],
            "code": _coded(data.LOINC, code, title),
            "subject": about,
            "encounter": stay,
            "effectiveDateTime": when,
            "issued": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "performer": [author],
            "valueQuantity": {"value": low + chance.randrange(high - low), "unit": unit, "system": UCUM, "code": unit},
        }
    for k in range(2):
        yield {
            "resourceType": "MedicationRequest",
            "id": f"med-{number}-{k}",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": _coded(ATC, *DRUGS[(number + k) % len(DRUGS)]),
            "subject": about,
            "encounter": stay,
            "authoredOn": when,
            "requester": author,
            "dosageInstruction": [{"text": f"{1 + chance.randrange(3)} comprimé matin et soir pendant {5 + chance.randrange(20)} jours"}],
        }
    yield {
        "resourceType": "AllergyIntolerance",
        "id": f"all-{number}",
        "clinicalStatus": _coded(ALLERGY, "active", "Active"),
        "type": "allergy",
        "category": ["medication"],
        "criticality": "low",
        "code": _coded(SNOMED, "91936005", "Allergie à la pénicilline"),
        "patient": about,
        "recordedDate": when,
    }
    yield {
        "resourceType": "Immunization",
        "id": f"imm-{number}",
        "status": "completed",
        "vaccineCode": _coded("http://hl7.org/fhir/sid/cvx", "140", "Grippe saisonnière"),
        "patient": about,
        "encounter": stay,
        "occurrenceDateTime": when,
        "primarySource": True,
        "lotNumber": f"L{chance.getrandbits(32):08x}",
    }
    yield {
        "resourceType": "Procedure",
        "id": f"pro-{number}",
        "status": "completed",
        "code": _coded(SNOMED, "29303009", "Électrocardiogramme"),
        "subject": about,
        "encounter": stay,
        "performedDateTime": when,
        "performer": [{"actor": author}],
    }
    for k in range(2):
        document = data.document(number, k, about["reference"], "")
        url = f"Binary/bin-{number}-{k}"
        content = document["content"][0]
        octets = Random(f"octets {number} {k}").randbytes(900)
        attachment = {**content["attachment"], "url": url, "size": len(octets)}
        yield {"resourceType": "Binary", "id": url[7:], "contentType": "application/pdf", "data": b64encode(octets).decode()}
        yield {
            **document,
            "id": f"doc-{number}-{k}",
            "status": "current",
            "author": [author],
            "content": [{**content, "attachment": attachment}],
        }


def person(number: int) -> dict:
    """The holder, as the source knows him."""
    return {**holder(number), "id": f"pat-{number}"}


def holder(number: int) -> dict:
    """The holder: with a qualified INS."""
    qualified = [{"url": "identityStatus", "valueCoding": {"code": "QUAL"}}]
    return {**data.patient(number), "extension": [{"url": RELIABILITY, "extension": qualified}]}


def _coded(system: str, code: str, display: str) -> dict:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}
