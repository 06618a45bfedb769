"""Invented dossiers and those who ask about them, over real HTTP with real tokens, in a store for real use.

world = World(server)
holder = world.holder(dossier); anna = world.professional()
dossier = world.open(traitant=anna)
anna.get(f"Patient/{dossier.id}")
"""

import base64
import itertools
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import httpx

from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings
from tests.interactions.making import Fhir

INS = "urn:oid:1.2.250.1.213.1.4.10"
RPPS = "https://rpps.esante.gouv.fr"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
FINESS = "https://finess.esante.gouv.fr"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
CANONICAL = "https://fhir-dmp.example.org/fhir/"
CATEGORY = CANONICAL + "CodeSystem/dmp-consent-category"
EVIDENCE = CANONICAL + "StructureDefinition/consent-evidence"
VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
LOINC = "http://loinc.org"
PHYSICIAN, NURSE, PHARMACIST = "10", "60", "21"
GENERALIST = "SM54"
REPORT, LABORATORY, REIMBURSEMENT = "11488-4", "11502-2", "REMB"
PURPOSES = {"access": ("TREAT",), "emergency-regulation": ("ETREAT",), "emergency-break-glass": ("BTG",)}
PURPOSES |= {"emergency-masked": ("ETREAT", "BTG")}
DENIES = frozenset({"block", "mask"})

_numbers = itertools.count(int.from_bytes(os.urandom(3)) * 1000)


@dataclass
class Asker(Fhir):
    """A client with one token. rpps: of a professional. claims: what the token says."""

    world: "World"
    kind: str
    claims: dict
    rpps: str = ""
    organization: str = ""
    seconds: int = 3600
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.server, self.base = self.world.server, self.world.server.fhir
        self.token = self.world.token(self.kind, self.claims, self.seconds)
        self.http = self.world.http
        self.extra: dict[str, str] = {}

    def headers(self, body: object, given: dict[str, str]) -> dict[str, str]:
        """As of any client, with this one's token. Unlike there, an instance is needed."""
        return {"authorization": f"Bearer {self.token}", **Fhir.headers(body, given), **self.extra}

    @property
    def idnps(self) -> str:
        return f"8{self.rpps}"

    @property
    def reference(self) -> dict:
        """How a resource names this professional or structure."""
        if self.rpps:
            return {"type": "Practitioner", "identifier": {"system": RPPS, "value": self.rpps}}
        return {"type": "Organization", "identifier": {"system": FINESS, "value": self.organization}}

    def run(self, operation: str, **given: object) -> httpx.Response:
        """POST [operation] with Parameters, e.g. run("Patient/x/$close", reason="holder-request"); see `parameters`."""
        return self.post(operation, parameters(**given))


@dataclass
class Dossier:
    """An open dossier. patient: the Patient as answered. people: RelatedPersons by relationship code."""

    world: "World"
    patient: dict
    ins: str
    people: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.patient["id"]

    @property
    def path(self) -> str:
        return f"Patient/{self.id}"


class World:
    """A server for real use, and whom it meets."""

    def __init__(self, server) -> None:
        self.server, self.http = server, httpx.Client(timeout=120)
        self.tokens = Tokens.open(Settings(data=server.data, sandbox=False))

    # ---- who asks

    def token(self, kind: str, claims: dict, seconds: int = 3600) -> str:
        given = {name: value for name, value in claims.items() if value not in (None, "", [], ())}
        return self.tokens.issue(kind, given, now_ms=time.time_ns() // 1_000_000, random=os.urandom, seconds=seconds)

    def professional(
        self,
        rpps: str = "",
        *,
        profession: str = PHYSICIAN,
        specialty: str = "",
        organization: str = "",
        purpose: str = "",
        regulation: bool = False,
        secret_session: bool = False,
        sector: str = "SA07",
        auth_mode: str = "CPS",
        scope: str | None = None,
    ) -> Asker:
        """A health professional; a new one unless `rpps` names one, of a structure of his own unless `organization` names one (FINESS)."""
        rpps = rpps or f"1{number():010d}"
        organization = organization or f"75{number() % 10**7:07d}"
        claims = {
            "sub": f"8{rpps}",
            "SubjectNameID": f"8{rpps}",
            "SubjectRole": [f"{profession}^1.2.250.1.213.1.1.5.5"],
            "specialty": [specialty] if specialty else [],
            "SubjectOrganizationID": f"1{organization}",
            "Secteur_Activite": f"{sector}^1.2.250.1.71.4.2.4",
            "auth_mode": auth_mode,
            "Acces_Regulation_Medicale": "VRAI" if regulation else "FAUX",
            "secret_session": secret_session or None,
            "extensions": {"ihe_iua": {"purpose_of_use": [{"system": ACT_REASON, "code": purpose}]}} if purpose else None,
            "scope": scope,
        }
        return Asker(self, "professional", claims, rpps=rpps, organization=organization)

    def again(self, asker: Asker, **claims: object) -> Asker:
        """The same person with other claims in the token."""
        return Asker(self, asker.kind, {**asker.claims, **claims}, asker.rpps, asker.organization)

    def holder(self, dossier: Dossier | str, *, beside: Asker | None = None) -> Asker:
        """The holder, by logical id; a text is an INS, of whom has no dossier yet."""
        own = {"ins": f"{INS}|{dossier}"} if isinstance(dossier, str) else {"patient": dossier.id}
        return Asker(self, "patient", {"sub": "holder", "with": beside.idnps if beside else "", **own})

    def representative(self, dossier: Dossier | None = None, related_person: str = "") -> Asker:
        """A parent or guardian; without a dossier, before it is open."""
        return self._relative("representative", dossier, related_person)

    def mandataire(self, dossier: Dossier, related_person: str) -> Asker:
        return self._relative("mandataire", dossier, related_person)

    def _relative(self, kind: str, dossier: Dossier | None, related_person: str) -> Asker:
        claims = {"sub": related_person or kind}
        if dossier is not None:
            claims |= {"patient": dossier.id, "related_person": related_person or next(iter(dossier.people.values()))}
        return Asker(self, kind, claims)

    def structure(self, organization: str = "") -> Asker:
        organization = organization or f"75{number() % 10**7:07d}"
        return Asker(self, "structure", {"sub": organization, "SubjectOrganizationID": f"1{organization}"}, organization=organization)

    def host(self, host: str = "other-host") -> Asker:
        return Asker(self, "host", {"sub": host, "host": host})

    def feed(self) -> Asker:
        return Asker(self, "feed", {"sub": "feed"})

    def support(self, level: int = 2, ticket: str = "T1") -> Asker:
        return Asker(self, "support", {"sub": "support", "level": level, "ticket": ticket})

    def operator(self, role: str = "admin", ticket: str = "") -> Asker:
        return Asker(self, "operator", {"sub": "operator", "role": role, "ticket": ticket})

    # ---- dossiers

    def open(
        self,
        *,
        age: int = 50,
        traitant: Asker | None = None,
        by: Asker | None = None,
        people: tuple = (),
        family: str = "",
        **ticked: object,
    ) -> Dossier:
        """A new dossier. age: of the holder, in years. people: relationship codes of RelatedPersons, e.g. ("MTH",). ticked: of $open.

        family: name of the holder, "" for one that many have.
        """
        ins = new_ins()
        own = {"generalPractitioner": [traitant.reference]} if traitant else {}
        own |= {"name": [{"use": "official", "family": family, "given": ["Solange"]}]} if family else {}
        value = patient(ins, age=age, **own)
        by = by or self.professional()
        given = {"patient": value, "evidence": "signed-form", **ticked}
        answer = by.run("Patient/$open", **given, relatedPerson=[related(code) for code in people])
        assert answer.status_code == 201, answer.text
        dossier = Dossier(self, answer.json(), ins)
        if people:
            found = listed(self.operator("physician", "T1"), dossier, "RelatedPerson")
            dossier.people = {one["relationship"][0]["coding"][0]["code"]: one["id"] for one in found}
        return dossier

    def deposit(self, dossier: Dossier, by: Asker, **fields: object) -> dict:
        """A document, deposited by ITI-105; the DocumentReference as answered."""
        answer = by.post("DocumentReference", document(dossier, by, **fields))
        assert answer.status_code == 201, answer.text
        return answer.json()

    def write(self, by: Asker, resource: dict) -> dict:
        """Create a resource, and check that it was."""
        answer = by.post(resource["resourceType"], resource)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def consent(self, dossier: Dossier, category: str, *actors: Asker, by: Asker | None = None, **more: object) -> dict:
        """A Consent of this category, written by the holder unless `by` says who."""
        return self.write(by or self.holder(dossier), consent(dossier, category, *actors, **more))

    def revoke(self, by: Asker, value: dict) -> dict:
        """PUT with status `inactive`."""
        answer = by.put(f"Consent/{value['id']}", {**value, "status": "inactive"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def declare(self, dossier: Dossier, traitant: Asker, by: Asker | None = None) -> dict:
        """The gestionnaire declares a médecin traitant."""
        by = by or self.holder(dossier)
        current = by.get(dossier.path).json()
        answer = by.put(dossier.path, {**current, "generalPractitioner": [traitant.reference]})
        assert answer.status_code == 200, answer.text
        return answer.json()


# ---- resources


def number() -> int:
    """One that nobody else uses in this run."""
    return next(_numbers) % 10**10


def new_ins() -> str:
    """A new value in the test system of the INS."""
    return f"2{number() % 10**12:012d}89"


def birth_date(age: int) -> str:
    """Of somebody who had that birthday some days ago."""
    today = datetime.now(UTC).date() - timedelta(days=40)
    return date(today.year - age, today.month, min(today.day, 28)).isoformat()


def patient(ins: str, *, age: int = 50, **fields: object) -> dict:
    return {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": INS, "value": ins}],
        "name": [{"use": "official", "family": "QUATREMERE", "given": ["Solange"]}],
        "gender": "female",
        "birthDate": birth_date(age),
        **fields,
    }


def related(code: str, **fields: object) -> dict:
    """A RelatedPerson without its patient. code: of v3-RoleCode, e.g. MTH, FTH, GUARD."""
    relationship = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}]}
    return {
        "resourceType": "RelatedPerson",
        "active": True,
        "relationship": [relationship],
        "name": [{"family": "QUATREMERE", "given": ["Odile"]}],
        **fields,
    }


def parameters(**given: object) -> dict:
    """A Parameters resource. Values: resources, references and identifiers (dict), texts, booleans, or lists of those."""
    listed = []
    for name, value in given.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            listed.append({"name": name, **_value(name, one)})
    return {"resourceType": "Parameters", **({"parameter": listed} if listed else {})}


def _value(name: str, value: object) -> dict:
    if isinstance(value, dict):
        kind = "resource" if "resourceType" in value else "valueReference" if "reference" in value else "valueIdentifier"
        return {kind: value}
    if isinstance(value, bool):
        return {"valueBoolean": value}
    return {"valueCode" if name in ("reason", "evidence") else "valueDateTime" if name == "date" else "valueString": value}


def consent(dossier: Dossier, category: str, *actors: object, permit: bool | None = None, evidence: str = "", **fields: object) -> dict:
    """A Consent as the contract shapes it. actors: Askers, or references. fields: of provision; status, performer."""
    codes = PURPOSES.get(category, ())
    provision: dict = {"type": "permit" if (category not in DENIES if permit is None else permit) else "deny"}
    if category == "access":
        provision["period"] = {"start": day(days=-1)}
    if codes:
        provision["purpose"] = [{"system": ACT_REASON, "code": code} for code in codes]
    if actors:
        provision["actor"] = [{"role": RECIPIENT, "reference": getattr(one, "reference", one)} for one in actors]
    status = fields.pop("status", "active")
    performer = fields.pop("performer", {"reference": dossier.path})
    return {
        "resourceType": "Consent",
        **({"extension": [{"url": EVIDENCE, "valueCode": evidence}]} if evidence else {}),
        "status": status,
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}, {"coding": [{"system": CATEGORY, "code": category}]}],
        "patient": {"reference": dossier.path},
        "dateTime": now(),
        "performer": [performer],
        "organization": [{"identifier": {"system": FINESS, "value": "750000001"}}],
        "policy": [{"uri": "https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006185259"}],
        "provision": {**provision, **fields},
    }


RECIPIENT = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}


def document(
    dossier: Dossier, by: Asker, *, type: str = REPORT, labels: tuple[str, ...] = (), text: str = "compte rendu", **fields: object
) -> dict:
    """A document by this author, with its content inside. labels: visibility labels."""
    author = [by.reference] if by.rpps else [{"reference": dossier.path}]
    security = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}]
    security += [{"coding": [{"system": VISIBILITY, "code": label}]} for label in labels]

    data = base64.b64encode(f"{text} {number()}".encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": type}]},
        "subject": {"reference": dossier.path},
        "date": now(),
        "author": author,
        "securityLabel": security,
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
        **fields,
    }


def care_team(dossier: Dossier, *members: Asker, status: str = "active", **fields: object) -> dict:
    participants = [{"member": one.reference} for one in members]
    return {"resourceType": "CareTeam", "status": status, "subject": {"reference": dossier.path}, "participant": participants, **fields}


def now(**later: int) -> str:
    """This instant, or one so many days, hours... later."""
    return (datetime.now(UTC) + timedelta(**later)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(**later: int) -> str:
    """Today, or the day so much later."""
    return (datetime.now(UTC) + timedelta(**later)).date().isoformat()


def listed(by: Asker, dossier: Dossier, type_name: str, **criteria: str) -> list[dict]:
    """Everything of a type in a dossier, as one asker sees it."""
    more = "".join(f"&{name}={text}" for name, text in criteria.items())
    answer = by.get(f"{type_name}?patient={dossier.id}&_count=1000{more}")
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


def category(value: dict) -> str:
    """Code of a Consent's category."""
    return next(one["code"] for concept in value["category"] for one in concept["coding"] if one["system"] == CATEGORY)


def refused(answer: httpx.Response) -> bool:
    """Whether this is the uniform refusal of a dossier."""
    return answer.status_code == 403 and answer.json()["issue"][0]["diagnostics"] == "this access is refused"
