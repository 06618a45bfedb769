"""Who takes part in an invented history, and what they send.

access-rules, the actors of table 3. Tokens are issued by the host's own issuer, at the time of the host.
"""

import base64
import json
import os
from dataclasses import dataclass

from fhir_dmp.dmp import spaces
from tests.access import world as making
from tests.worlds.hosting import Host

VISIBILITY = making.VISIBILITY
LABELS = ("MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX")
# Read by all; not read by nurses and pharmacists; written by the holder.
REPORT, PSYCHIATRY, OWN_WORDS = "11488-4", "75496-0", "EXPPAT_1"
SECONDS = 20 * 366 * 86_400


@dataclass(frozen=True)
class Person:
    """Somebody with a token. rpps, organization: of professionals and structures. of: who he is in other sessions, by name."""

    name: str
    kind: str
    token: str
    rpps: str = ""
    organization: str = ""
    of: str = ""

    @property
    def reference(self) -> dict:
        if self.rpps:
            return {"type": "Practitioner", "identifier": {"system": making.RPPS, "value": self.rpps}}
        return {"type": "Organization", "identifier": {"system": making.FINESS, "value": self.organization}}


# name -> (RPPS, profession, organisation, more claims)
PROFESSIONALS = {
    "traitant": ("10000000101", making.PHYSICIAN, "750000001", {}),
    "team": ("10000000102", making.PHYSICIAN, "750000002", {}),
    "nurse": ("10000000103", making.NURSE, "750000003", {}),
    "consented": ("10000000104", making.PHYSICIAN, "750000004", {}),
    "hospital": ("10000000105", making.PHYSICIAN, "750000005", {}),
    "colleague": ("10000000106", making.PHYSICIAN, "750000005", {}),
    "elsewhere": ("10000000107", making.PHYSICIAN, "750000006", {}),
    "emergency": ("10000000108", making.PHYSICIAN, "750000007", {}),
    "samu": ("10000000109", making.PHYSICIAN, "750000008", {"Acces_Regulation_Medicale": "VRAI", "purpose": "ETREAT"}),
    "unrelated": ("10000000110", making.PHYSICIAN, "750000009", {}),
    "secret": ("10000000102", making.PHYSICIAN, "750000002", {"secret_session": True}),
}
HOLDERS = ("holder", "parent")
NAMES = (*PROFESSIONALS, "holder", "parent", "mandataire", "structure", "other", "session")


def token(host: Host, kind: str, /, **claims: object) -> str:
    given = {name: value for name, value in claims.items() if value}
    return host.services.tokens.issue(kind, given, now_ms=host.now, random=os.urandom, seconds=SECONDS)


def professionals(host: Host) -> dict[str, Person]:
    """Those who are the same in all histories."""
    found = {}
    for name, (rpps, profession, organization, more) in PROFESSIONALS.items():
        more = dict(more)
        purpose = more.pop("purpose", "TREAT")
        claims = {
            "sub": f"8{rpps}",
            "SubjectNameID": f"8{rpps}",
            "SubjectRole": [f"{profession}^1.2.250.1.213.1.1.5.5"],
            "specialty": ["SM54"] if name == "traitant" else None,
            "SubjectOrganizationID": f"1{organization}",
            "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4",
            "auth_mode": "CPS",
            "Acces_Regulation_Medicale": "FAUX",
            "extensions": {"ihe_iua": {"purpose_of_use": [{"system": making.ACT_REASON, "code": purpose}]}},
            **more,
        }
        found[name] = Person(name, "professional", token(host, "professional", **claims), rpps, organization)
    certificate = token(host, "structure", sub="750000005", SubjectOrganizationID="1750000005")
    found["structure"] = Person("structure", "structure", certificate, organization="750000005")
    return found


def staff(host: Host) -> dict[str, Person]:
    """Who keeps dossiers and sees none: an administrator, another host."""
    admin = token(host, "operator", sub="admin", role="admin")
    return {"admin": Person("admin", "operator", admin), "host": Person("host", "host", token(host, "host", sub="host", host="elsewhere"))}


def around(host: Host, patient: str, *, minor: bool, related: dict[str, str]) -> dict[str, Person]:
    """Those who belong to one dossier. related: RelatedPerson ids by relationship code."""
    beside = f"8{PROFESSIONALS['traitant'][0]}" if minor else ""
    found = {"holder": Person("holder", "patient", token(host, "patient", sub="holder", patient=patient, **{"with": beside}))}
    if "MTH" in related:
        claims = {"sub": "parent", "patient": patient, "related_person": related["MTH"]}
        found["parent"] = Person("parent", "representative", token(host, "representative", **claims))
    if "NOK" in related:
        claims = {"sub": "mandataire", "patient": patient, "related_person": related["NOK"]}
        found["mandataire"] = Person("mandataire", "mandataire", token(host, "mandataire", **claims))
    return found


# ---- bodies


def dumped(value: object) -> bytes:
    """As no server writes it: what is left of a body after something is taken out is compared byte for byte."""
    return json.dumps(value, indent=1).encode()


def document(patient: str, by: Person, type: str, number: int, labels: tuple[str, ...] = (), at: str = "", **fields: object) -> dict:
    """A document with its content inside."""
    author = [by.reference] if by.rpps else [{"reference": f"Patient/{patient}"}] if by.kind != "structure" else [by.reference]
    security = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}]
    security += [{"coding": [{"system": VISIBILITY, "code": label}]} for label in labels]
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.1.{number}"},
        "identifier": [{"system": "urn:x-local", "value": f"local-{number}"}],
        "status": "current",
        "type": {"coding": [{"system": spaces.types()[type].system, "code": type}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": at,
        "author": author,
        "description": f"compte rendu {number}",
        "securityLabel": security,
        "content": [{"attachment": {"contentType": "text/plain", "data": base64.b64encode(f"contenu {number}".encode()).decode()}}],
        **fields,
    }


def submission(patient: str, by: Person, number: int, value: dict, others: tuple[str, ...] = ()) -> dict:
    """The same as an ITI-65 transaction: list, document, content. others: addresses of documents that the list names beside."""
    value = json.loads(json.dumps(value))
    attachment = value["content"][0]["attachment"]
    binary = {"resourceType": "Binary", "contentType": attachment["contentType"], "data": attachment.pop("data")}
    attachment["url"] = f"urn:uuid:00000000-0000-4000-8000-{number:012d}"
    listed = {
        "resourceType": "List",
        "identifier": [{"use": "official", "system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.2.{number}"}],
        "status": "current",
        "mode": "working",
        "title": f"lot {number}",
        "code": {"coding": [{"system": "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes", "code": "submissionset"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": value["date"],
        "entry": [{"item": {"reference": reference}} for reference in (f"urn:uuid:00000000-0000-4000-8001-{number:012d}", *others)],
    }
    parts = (("8002", listed), ("8001", value), ("8000", binary))
    entries = [
        {
            "fullUrl": f"urn:uuid:00000000-0000-4000-{part}-{number:012d}",
            "resource": one,
            "request": {"method": "POST", "url": one["resourceType"]},
        }
        for part, one in parts
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}
