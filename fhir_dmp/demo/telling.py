"""The five stories, as requests: opened, fed, masked, blocked, closed by those who may.

CONTRACT section 5; Code de la santé publique L1111-14 to L1111-19
"""

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fhir_dmp.consent.directives import ACT_REASON, CATEGORY, CONSENT_DOCUMENT, LOINC, PARTICIPATION, RECIPIENT, SCOPE
from fhir_dmp.demo.caller import Caller
from fhir_dmp.demo.people import ANNA, EMMA, JEAN, LINA, MARC, NORA, PARIS, PAUL, PROFESSIONALS, REMI, SOFIA, YVES, Holder, Professional
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, INVISIBLE_RL, MASKED, concept
from fhir_dmp.identity.tokens import Tokens

REPORT, LABORATORY, PRESCRIPTION, VACCINATION = "11488-4", "11502-2", "57833-6", "87273-9"
DAY_SECONDS = 86_400
# name of a document -> its title
TITLES = {
    "LINA_VACCINS": "Carnet de vaccination",
    "LINA_SECRET": "Consultation demandée par Lina seule",
    "JEAN_ORDONNANCE": "Traitement du diabète",
    "JEAN_BIOLOGIE": "HbA1c du mois",
    "JEAN_CARDIO": "Consultation de cardiologie",
    "JEAN_ANNONCE": "Résultat à annoncer en consultation",
    "SOFIA_SUIVI": "Suivi habituel",
    "SOFIA_MASQUE": "Consultation que Sofia a masquée",
    "PAUL_DERNIER": "Dernière consultation",
    "EMMA_BILAN": "Bilan",
}


@dataclass(slots=True)
class Told:
    """What came of it. tokens: name -> access token. patients: key of a holder -> logical id. documents: name -> logical id."""

    tokens: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stage:
    """Somebody to call, and tokens for everybody."""

    caller: Caller
    tokens: Tokens
    told: Told = field(default_factory=Told)

    def token(self, key: str, kind: str, claims: Mapping[str, object]) -> str:
        """A token of the host's own issuer, for a day."""
        given = {name: value for name, value in claims.items() if value not in (None, "", [], ())}
        made = self.tokens.issue(kind, given, now_ms=time.time_ns() // 1_000_000, random=os.urandom, seconds=DAY_SECONDS)
        self.told.tokens[key] = made
        return made

    async def post(self, key: str, path: str, body: object) -> Any:
        """POST by whoever has this token."""
        return await self.caller.done("POST", path, self.told.tokens[key], body)

    async def open(self, holder: Holder, people: tuple[dict, ...] = ()) -> str | None:
        """Open a dossier by its médecin traitant; None when it was told before. Notes the holder's token."""
        given = {"patient": holder.patient(ANNA), "evidence": "carte-vitale", "relatedPerson": people}
        status, value = await self.caller.ask("POST", "Patient/$open", self.told.tokens["ANNA"], parameters(given))
        if status == 409:
            found = await self.caller.done("GET", f"Patient?identifier={identity.INS_NIR_TEST}|{holder.ins}", self.told.tokens["ANNA"])
            id = found["entry"][0]["resource"]["id"]
        elif status != 201:
            id = (await self.caller.done("POST", "Patient/$open", self.told.tokens["ANNA"], parameters(given)))["id"]
        else:
            id = value["id"]
        self.told.patients[holder.key] = id
        beside = {"with": f"8{ANNA.rpps}"} if holder.age < 18 else {}
        self.token(holder.key, "patient", {"sub": holder.key.lower(), "patient": id, **beside})
        if status != 201:
            await self.recall(holder)
        return id if status == 201 else None

    async def recall(self, holder: Holder) -> None:
        """The documents of a dossier that was told before, by their titles, as far as its people may see them."""
        for key in (holder.key, "ANNA"):
            path = f"DocumentReference?patient={self.told.patients[holder.key]}"
            status, found = await self.caller.ask("GET", path, self.told.tokens[key])
            for entry in found.get("entry", ()) if status == 200 else ():
                resource = entry["resource"]
                if resource["resourceType"] == "DocumentReference":
                    title = resource["content"][0]["attachment"]["title"]
                    self.told.documents.update({name: resource["id"] for name, said in TITLES.items() if said == title})

    async def deposit(self, by: Professional, holder: Holder, name: str, type_code: str, *labels: str, key: str = "") -> str:
        """A document by ITI-105. name: key of TITLES. key: of another token of hers."""
        id = self.told.patients[holder.key]
        value = document(f"Patient/{id}", by, type_code, TITLES[name], labels)
        made = await self.post(key or by.key, "DocumentReference", value)
        self.told.documents[name] = made["id"]
        return made["id"]

    async def consent(self, holder: Holder, category: str, permit: bool, *actors: Professional, purposes: tuple[str, ...] = ()) -> None:
        """A right, given or taken by the holder."""
        await self.post(holder.key, "Consent", consent(self.told.patients[holder.key], category, permit, actors, purposes))


async def tell(caller: Caller, tokens: Tokens) -> Told:
    """Tell all of it; what was told before stays as it is."""
    stage = Stage(caller, tokens)
    for one in PROFESSIONALS:
        stage.token(one.key, "professional", one.claims(extensions=purpose("TREAT")))
    stage.token("MARC_SECRET", "professional", MARC.claims(extensions=purpose("TREAT"), secret_session=True))
    stage.token("SAMU", "professional", YVES.claims(extensions=purpose("ETREAT"), Acces_Regulation_Medicale="VRAI"))
    stage.token("HOPITAL", "structure", {"sub": "hopital", "SubjectOrganizationID": f"1{PARIS}"})
    stage.token("HOTE", "operator", {"sub": "hote", "role": "admin"})
    for story in (_child, _chronic, _guarded, _deceased, _closed):
        await story(stage)
    return stage.told


async def _child(stage: Stage) -> None:
    fresh = await stage.open(LINA, (related("MTH", "MOREAU", "Claire"),))
    people = await stage.caller.done("GET", f"RelatedPerson?patient={stage.told.patients['LINA']}", stage.told.tokens["ANNA"])
    mother = next(entry["resource"]["id"] for entry in people["entry"] if entry["resource"]["resourceType"] == "RelatedPerson")
    stage.token("MOTHER", "representative", {"sub": "claire", "patient": stage.told.patients["LINA"], "related_person": mother})
    if fresh:
        await stage.deposit(ANNA, LINA, "LINA_VACCINS", VACCINATION)
        await stage.deposit(MARC, LINA, "LINA_SECRET", REPORT, INVISIBLE_RL, key="MARC_SECRET")


async def _chronic(stage: Stage) -> None:
    if not await stage.open(JEAN):
        return
    team = {
        "resourceType": "CareTeam",
        "status": "active",
        "subject": {"reference": f"Patient/{stage.told.patients['JEAN']}"},
        "participant": [{"member": one.reference} for one in (MARC, NORA)],
    }
    await stage.post("JEAN", "CareTeam", team)
    await stage.deposit(ANNA, JEAN, "JEAN_ORDONNANCE", PRESCRIPTION)
    await stage.deposit(REMI, JEAN, "JEAN_BIOLOGIE", LABORATORY)
    await stage.deposit(MARC, JEAN, "JEAN_CARDIO", REPORT)
    await stage.deposit(MARC, JEAN, "JEAN_ANNONCE", REPORT, INVISIBLE_PATIENT)


async def _guarded(stage: Stage) -> None:
    if not await stage.open(SOFIA):
        return
    await stage.deposit(ANNA, SOFIA, "SOFIA_SUIVI", REPORT)
    masked = await stage.deposit(ANNA, SOFIA, "SOFIA_MASQUE", REPORT)
    path, label = f"DocumentReference/{masked}", [{"op": "add", "path": "/securityLabel/-", "value": concept(MASKED)}]
    await stage.caller.done("PATCH", path, stage.told.tokens["SOFIA"], label, "application/json-patch+json")
    await stage.consent(SOFIA, "access", True, NORA, purposes=("TREAT",))
    await stage.consent(SOFIA, "block", False, MARC)
    await stage.consent(SOFIA, "emergency-break-glass", False, purposes=("BTG",))
    await stage.consent(SOFIA, "emergency-regulation", False, purposes=("ETREAT",))


async def _deceased(stage: Stage) -> None:
    if not await stage.open(PAUL):
        return
    await stage.deposit(ANNA, PAUL, "PAUL_DERNIER", REPORT)
    given = {"reason": "deceased", "date": today()}
    await stage.post("HOTE", f"Patient/{stage.told.patients['PAUL']}/$close", parameters(given))


async def _closed(stage: Stage) -> None:
    if not await stage.open(EMMA):
        return
    await stage.deposit(ANNA, EMMA, "EMMA_BILAN", REPORT)
    await stage.post("EMMA", f"Patient/{stage.told.patients['EMMA']}/$close", parameters({"reason": "holder-request"}))


# ---- resources


def today() -> str:
    """Now, as a FHIR dateTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def purpose(code: str) -> dict:
    """Claim of a purpose of use."""
    return {"ihe_iua": {"purpose_of_use": [{"system": ACT_REASON, "code": code}]}}


def parameters(given: Mapping[str, object]) -> dict:
    """A Parameters resource: resources, texts, or tuples of them."""
    listed = []
    for name, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            kind = "resource" if isinstance(one, dict) else "valueDateTime" if name == "date" else "valueCode"
            listed.append({"name": name, kind: one})
    return {"resourceType": "Parameters", "parameter": listed}


def related(code: str, family: str, given: str) -> dict:
    """A RelatedPerson as `$open` takes it."""
    relationship = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}]}
    name = [{"family": family, "given": [given]}]
    return {"resourceType": "RelatedPerson", "active": True, "relationship": [relationship], "name": name}


def document(patient: str, by: Professional, type_code: str, title: str, labels: tuple[str, ...]) -> dict:
    """A DocumentReference that carries its content, as ITI-105 takes it."""
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{int.from_bytes(os.urandom(15))}"},
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": type_code}]},
        "subject": {"reference": patient},
        "date": today(),
        "author": [by.reference],
        "securityLabel": [concept("N"), *(concept(label) for label in labels)],
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain; charset=utf-8",
                    "language": "fr-FR",
                    "title": title,
                    "data": base64.b64encode(f"{title}. Document inventé pour la démonstration.\n".encode()).decode(),
                }
            }
        ],
    }


def consent(patient: str, category: str, permit: bool, actors: tuple[Professional, ...], purposes: tuple[str, ...]) -> dict:
    """A Consent in the shape of its category."""
    provision: dict[str, Any] = {"type": "permit" if permit else "deny"}
    if category == "access":
        provision["period"] = {"start": today()}
    if purposes:
        provision["purpose"] = [{"system": ACT_REASON, "code": code} for code in purposes]
    if actors:
        role = {"coding": [{"system": PARTICIPATION, "code": RECIPIENT}]}
        provision["actor"] = [{"role": role, "reference": one.reference} for one in actors]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": CONSENT_DOCUMENT}]}, {"coding": [{"system": CATEGORY, "code": category}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": today(),
        "performer": [{"reference": f"Patient/{patient}"}],
        "organization": [{"identifier": {"system": identity.FINESS, "value": PARIS}}],
        "policy": [{"uri": "https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006185259"}],
        "provision": provision,
    }
