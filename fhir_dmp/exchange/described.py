"""A document that another format describes, and the FHIR resources it becomes: who it is about, its DocumentReference, its octets.

https://profiles.ihe.net/ITI/MHD/ ; https://interop.esante.gouv.fr/ig/fhir/pdsm/
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from fhir_dmp.dmp.identity import IDNPS, IDNST, INS_SYSTEMS, RELIABILITY
from fhir_dmp.dmp.visibility import ALIASES
from fhir_dmp.errors import FhirError

URI = "urn:ietf:rfc:3986"
NOS = "https://mos.esante.gouv.fr/NOS"
# OID -> the system FHIR knows it by; others are urn:oid:. Terminologies of CI-SIS: https://mos.esante.gouv.fr/NOS/
SYSTEMS = {
    "2.16.840.1.113883.6.1": "http://loinc.org",
    "2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "2.16.840.1.113883.5.25": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "2.16.840.1.113883.5.88": "http://terminology.hl7.org/CodeSystem/v3-ParticipationFunction",
    "2.16.840.1.113883.5.111": "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
    "1.2.250.1.213.1.1.4.1": f"{NOS}/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument",
    "1.2.250.1.213.1.1.4.5": f"{NOS}/TRE_A02-ProfessionSavFaire-CISIS/FHIR/TRE-A02-ProfessionSavFaire-CISIS",
    "1.2.250.1.213.1.1.4.6": f"{NOS}/TRE_A00-ProducteurDocNonPS/FHIR/TRE-A00-ProducteurDocNonPS",
    "1.2.250.1.213.1.1.4.9": f"{NOS}/TRE_A01-CadreExercice/FHIR/TRE-A01-CadreExercice",
    "1.2.250.1.213.1.1.4.12": f"{NOS}/TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire",
    "1.2.250.1.213.1.6.1.4": f"{NOS}/TRE_R94-ProfessionSocial/FHIR/TRE-R94-ProfessionSocial",
    "1.2.250.1.213.1.6.1.107": f"{NOS}/TRE_R85-RolePriseCharge/FHIR/TRE-R85-RolePriseCharge",
    "1.2.250.1.213.1.6.1.109": f"{NOS}/TRE_R95-UsagerTitre/FHIR/TRE-R95-UsagerTitre",
    "1.2.250.1.71.1.2.7": f"{NOS}/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante",
    "1.2.250.1.71.4.2.4": f"{NOS}/TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite",
}
GENDERS = {"M": "male", "F": "female", "U": "unknown", "UN": "other", "O": "other"}
FORMATS = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"


@dataclass(frozen=True, slots=True)
class Coded:
    """A code with the OID, or the address, of its system."""

    code: str
    system: str = ""
    display: str = ""

    def coding(self) -> dict:
        """As a Coding."""
        return {name: value for name, value in (("system", self.system), ("code", self.code), ("display", self.display)) if value}

    def concept(self) -> dict:
        """As a CodeableConcept."""
        return {"coding": [self.coding()]}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is named: a professional or a structure. system: of the identifier."""

    system: str
    value: str
    name: str = ""

    def reference(self, type_name: str) -> dict:
        """As a logical Reference."""
        identifier = {"identifier": {"system": self.system, "value": self.value}} if self.value else {}
        return {"type": type_name, **identifier, **({"display": self.name} if self.name else {})}


@dataclass(slots=True, kw_only=True)
class Described:
    """One document. identifiers, family, given, gender, birth: of the person. replaces: masterIdentifiers, as (system, value).

    qualified: whether an INS among them is, as the document says. date, start, end: FHIR dateTimes, "" for none. content: its octets,
    unchanged.
    """

    master: tuple[str, str]
    content: bytes
    content_type: str
    identifiers: list[tuple[str, str]] = field(default_factory=list)
    # A CDA document of the exchange framework, and an XDM archive, carry an INS only when the identity is qualified.
    qualified: bool = True
    family: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    gender: str = ""
    birth: str = ""
    type: Coded | None = None
    document_class: Coded | None = None
    title: str = ""
    language: str = ""
    date: str = ""
    start: str = ""
    end: str = ""
    labels: list[Coded] = field(default_factory=list)
    authors: list[Person] = field(default_factory=list)
    authenticator: Person | None = None
    custodian: Person | None = None
    facility: Coded | None = None
    practice: Coded | None = None
    events: list[Coded] = field(default_factory=list)
    format: str = "urn:ihe:iti:xds:2017:mimeTypeSufficient"
    replaces: list[tuple[str, str]] = field(default_factory=list)

    def resources(self) -> list[dict]:
        """Patient, DocumentReference, Binary, with references between them."""
        if not self.identifiers:
            raise FhirError("unprocessable", "the document names nobody it is about")
        person = self._patient()
        octets = hashlib.sha256(self.content).hexdigest()[:40]
        binary = {
            "resourceType": "Binary",
            "id": f"doc-{octets}",
            "contentType": self.content_type,
            "data": base64.b64encode(self.content).decode(),
        }
        return [person, self._reference(f"Patient/{person['id']}", f"Binary/{binary['id']}"), binary]

    def _patient(self) -> dict:
        qualified = self.qualified and any(system in INS_SYSTEMS for system, _ in self.identifiers)
        # By all that is said of him: with other traits, or in doubt, he is somebody else until he is found to be the same.
        numbers = sorted(f"{system}|{value}" for system, value in self.identifiers)
        said = "\0".join((*numbers, "", *self.family, "", *self.given, "", self.gender, self.birth, str(qualified)))
        status = {"url": "identityStatus", "valueCoding": {"code": "QUAL"}}
        name = {"use": "official", "family": self.family[0] if self.family else "", "given": self.given}
        return _without_empty(
            {
                "resourceType": "Patient",
                "id": _called(said),
                "extension": [{"url": RELIABILITY, "extension": [status]}] if qualified else [],
                "identifier": [{"system": system, "value": value} for system, value in self.identifiers],
                "name": [{part: value for part, value in name.items() if value}] if self.family or self.given else [],
                "gender": self.gender,
                "birthDate": self.birth,
            }
        )

    def _reference(self, subject: str, url: str) -> dict:
        context = {
            "event": [event.concept() for event in self.events],
            "period": {name: value for name, value in (("start", self.start), ("end", self.end)) if value},
            "facilityType": self.facility.concept() if self.facility else None,
            "practiceSetting": self.practice.concept() if self.practice else None,
        }
        attachment = {
            "contentType": self.content_type,
            "language": self.language,
            "url": url,
            "size": len(self.content),
            "hash": base64.b64encode(hashlib.sha1(self.content, usedforsecurity=False).digest()).decode(),
            "title": self.title,
            "creation": self.date,
        }
        return _without_empty(
            {
                "resourceType": "DocumentReference",
                "masterIdentifier": {"system": self.master[0], "value": self.master[1]},
                "status": "current",
                "type": self.type.concept() if self.type else None,
                "category": [self.document_class.concept()] if self.document_class else [],
                "subject": {"reference": subject},
                "date": self.date if "T" in self.date else "",
                "author": [author.reference("Practitioner") for author in self.authors],
                "authenticator": self.authenticator.reference("Practitioner") if self.authenticator else None,
                "custodian": self.custodian.reference("Organization") if self.custodian else None,
                "relatesTo": [
                    {"code": "replaces", "target": {"reference": f"DocumentReference?identifier={system}|{value}"}}
                    for system, value in self.replaces
                ],
                "description": self.title,
                "securityLabel": [label.concept() for label in self.labels],
                "content": [{"attachment": _without_empty(attachment), "format": {"system": FORMATS, "code": self.format}}],
                "context": _without_empty(context),
            }
        )


def formerly(patient: Mapping[str, Any]) -> str | None:
    """How the Patient of a described document was called when his numbers alone said it; None for one that is not called so.

    In stores of then references to him are part of what a document is known by.
    """
    id, listed = patient.get("id"), patient.get("identifier")
    if not isinstance(id, str) or not _CALLED.fullmatch(id) or not isinstance(listed, list):
        return None
    return _called("\0".join(sorted(f"{one.get('system')}|{one.get('value')}" for one in listed if isinstance(one, dict))))


def _called(said: str) -> str:
    return f"p-{hashlib.sha256(said.encode()).hexdigest()[:40]}"


_CALLED = re.compile(r"p-[0-9a-f]{40}")


def _without_empty(value: dict) -> dict:
    return {name: part for name, part in value.items() if part not in (None, "", [], {})}


def system_of(oid: str) -> str:
    """The system FHIR knows an OID by.

    >>> system_of("2.16.840.1.113883.6.1"), system_of("1.2.250.1.999.12")
    ('http://loinc.org', 'urn:oid:1.2.250.1.999.12')
    """
    return SYSTEMS.get(oid) or ALIASES.get(f"urn:oid:{oid}") or (f"urn:oid:{oid}" if oid else "")


def identifier_of(root: str, extension: str) -> tuple[str, str]:
    """(system, value) of an HL7 v3 instance identifier.

    >>> identifier_of("1.2.3", ""), identifier_of("1.2.3", "4"), identifier_of("6f2f3a3e-5b52-4a3b-9c2b-5b2f2a1a0001", "")[1]
    (('urn:ietf:rfc:3986', 'urn:oid:1.2.3'), ('urn:oid:1.2.3', '4'), 'urn:uuid:6f2f3a3e-5b52-4a3b-9c2b-5b2f2a1a0001')
    """
    if "-" in root:
        return (URI, f"urn:uuid:{root.lower()}") if not extension else (f"urn:uuid:{root.lower()}", extension)
    return (f"urn:oid:{root}", extension) if extension else (URI, f"urn:oid:{root}")


def date_of(text: str) -> str:
    """A FHIR dateTime of an HL7 time; "" for none. Without an offset it is that of Paris, as documents here are written.

    >>> date_of("20241120103000+0100"), date_of("20241120"), date_of("19500101000000"), date_of("soon")
    ('2024-11-20T10:30:00+01:00', '2024-11-20', '1950-01-01', '')
    """
    digits = text[:14] if text[:14].isdigit() else text[: len(text) - len(text.lstrip("0123456789"))]
    if len(digits) < 4:
        return ""
    day = "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)
    if len(digits) < 12 or digits[8:14] in ("000000", "0000"):
        return day
    sign = max(text.find("+"), text.find("-"))
    offset = text[sign : sign + 5] if sign > 0 and text[sign + 1 : sign + 5].isdigit() else ""
    if not offset:
        try:
            at = datetime.strptime(digits[:12], "%Y%m%d%H%M").replace(tzinfo=ZoneInfo("Europe/Paris"))
        except ValueError:
            return day
        offset = at.strftime("%z")
    return f"{day}T{digits[8:10]}:{digits[10:12]}:{digits[12:14] or '00'}{offset[:3]}:{offset[3:]}"


def professional_of(root: str, extension: str, name: str = "") -> Person:
    """A professional by the identifier of a document of the exchange framework."""
    return Person(IDNPS if f"urn:oid:{root}" == IDNPS else f"urn:oid:{root}", extension, name)


def structure_of(root: str, extension: str, name: str = "") -> Person:
    """A structure, likewise."""
    return Person(IDNST if f"urn:oid:{root}" == IDNST else f"urn:oid:{root}", extension, name)
