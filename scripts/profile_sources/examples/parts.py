"""Invented people, structures and small values the examples are made of. INS of the test system; RPPS and FINESS of no one.

https://hl7.fr/ig/fhir/core/
"""

import base64
import hashlib
import uuid
from typing import Any

from scripts.profile_sources.making import structure
from scripts.profile_sources.systems import (
    BIRTH_PLACE,
    FINESS,
    FR_0203,
    FR_0445,
    FR_CORE,
    IDNPS,
    IDNST,
    INS_TEST,
    LOINC,
    MHD_LIST,
    RFC3986,
    RPPS,
    TRE_A01,
    TRE_A03,
    TRE_A07,
    TRE_A08,
    TRE_A11,
    TRE_G15,
    TRE_R02,
    TRE_R09,
    TRE_R13,
    coding,
    concept,
)

Resource = dict[str, Any]
HOST = "1750000009"
POLICY = "https://fhir-dmp.example.org/fhir/policy/dmp"
NOON = "2026-11-20T12:00:00+01:00"
MORNING = "2026-11-20T09:30:00+01:00"


def uid(name: str) -> str:
    """The same urn:uuid for the same name."""
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, 'https://fhir-dmp.example.org/' + name)}"


def ins(number: str) -> str:
    """Number of 13 digits and its key.

    >>> ins("2790351215189")
    '279035121518989'
    """
    return f"{number}{97 - int(number) % 97:02d}"


def resource(kind: str, id: str, profile: str = "", **members: Any) -> Resource:
    meta = {"meta": {"profile": [structure(profile)]}} if profile else {}
    return {"resourceType": kind, "id": id, **meta, **members}


def ref(text: str, display: str = "") -> Resource:
    return {"reference": text} | ({"display": display} if display else {})


def known(kind: str, system: str, value: str, display: str = "") -> Resource:
    """A logical reference: by identifier."""
    return {"type": kind, "identifier": {"system": system, "value": value}} | ({"display": display} if display else {})


def patient(id: str, number: str, family: str, given: str, gender: str, birth: str, **more: Any) -> Resource:
    reliability = {
        "url": FR_CORE + "fr-core-identity-reliability",
        "extension": [{"url": "identityStatus", "valueCoding": coding(FR_0445, "QUAL", "Identité qualifiée")}],
    }
    insee = {"url": FR_CORE + "fr-core-address-insee-code", "valueCoding": coding(TRE_R13, "35238", "Rennes")}
    birth_place = {"url": BIRTH_PLACE, "valueAddress": {"extension": [insee], "city": "Rennes"}}
    name = {
        "extension": [{"url": FR_CORE + "fr-core-patient-birth-list-given-name", "valueString": given}],
        "use": "official",
        "family": family,
        "given": [given],
    }
    listed = {
        "extension": [reliability, birth_place],
        "identifier": [{"use": "official", "type": concept(FR_0203, "INS-NIR-TEST"), "system": INS_TEST, "value": ins(number)}],
        "active": True,
        "name": [name],
        "gender": gender,
        "birthDate": birth,
    }
    return resource("Patient", id, "dmp-patient", **{**listed, **more})


CAMILLE = patient(
    "camille-essai",
    "2790351215189",
    "ESSAI",
    "Camille",
    "female",
    "1979-03-15",
    telecom=[{"system": "email", "value": "camille@example.org"}],
    contact=[
        {"relationship": [concept("http://terminology.hl7.org/CodeSystem/v2-0131", "C")], "name": {"family": "ESSAI", "given": ["Noé"]}}
    ],
    generalPractitioner=[known("Practitioner", RPPS, "10009999011", "Dr Alix MODÈLE")],
)
LEO = patient("leo-essai", "1120635238011", "ESSAI", "Léo", "male", "2012-06-04")
HENRI = patient(
    "henri-exemple", "1410222113002", "EXEMPLE", "Henri", "male", "1941-02-28", deceasedDateTime="2026-10-02T04:10:00+02:00", active=False
)
ME = ref("Patient/camille-essai")


def practitioner(id: str, rpps: str, family: str, given: str, profession: tuple[str, str], **more: Any) -> Resource:
    degree = {"coding": [coding(TRE_R09, "C", "Civil"), coding(TRE_G15, *profession)]}
    return resource(
        "Practitioner",
        id,
        "dmp-practitioner",
        identifier=[
            {"use": "official", "type": concept(FR_0203, "IDNPS"), "system": IDNPS, "value": "8" + rpps},
            {"use": "official", "type": concept(FR_0203, "RPPS"), "system": RPPS, "value": rpps},
        ],
        active=True,
        name=[{"family": family, "given": [given], "prefix": ["DR"]}],
        qualification=[{"code": degree}],
        **more,
    )


ALIX = practitioner("alix-modele", "10009999011", "MODÈLE", "Alix", ("10", "Médecin"))
SACHA = practitioner("sacha-patron", "10009999037", "PATRON", "Sacha", ("10", "Médecin"))
DOMINIQUE = practitioner("dominique-soin", "10009999045", "SOIN", "Dominique", ("60", "Infirmier"))
INTERNE = resource(
    "Practitioner",
    "charlie-garde",
    "dmp-practitioner",
    identifier=[{"use": "official", "type": concept(FR_0203, "IDNPS"), "system": IDNPS, "value": "3350000017/4242"}],
    name=[{"family": "GARDE", "given": ["Charlie"]}],
)


def organization(id: str, finess: str, name: str, sector: tuple[str, str]) -> Resource:
    return resource(
        "Organization",
        id,
        "dmp-organization",
        identifier=[
            {"use": "official", "type": concept(FR_0203, "IDNST"), "system": IDNST, "value": "1" + finess},
            {"use": "official", "type": concept(FR_0203, "FINEG"), "system": FINESS, "value": finess},
        ],
        active=True,
        type=[concept(TRE_R02, *sector)],
        name=name,
    )


CABINET = organization("cabinet-essai", "350000017", "Cabinet médical de l'Essai", ("SA07", "Cabinet individuel"))
HOSPITAL = organization("hopital-essai", "350000025", "Centre hospitalier de l'Essai", ("SA01", "Etablissement public de santé"))
LABORATORY = organization("laboratoire-essai", "350000033", "Laboratoire de l'Essai", ("SA25", "Laboratoire de biologie médicale"))
HOST_ORGANIZATION = organization("hebergeur-essai", "750000009", "Hébergeur de l'Essai", ("SA29", "Editeur"))


def inside(one: Resource, id: str) -> Resource:
    """The same resource as it is contained: without what belongs to it alone."""
    return {key: value for key, value in one.items() if key not in ("id", "meta", "text")} | {"id": id}


def label(*codes: str) -> list[Resource]:
    displays = {
        "N": "Normal",
        "R": "Restreint",
        "V": "Très restreint",
        "MASQUE_PS": "Masqué aux professionnels de santé",
        "INVISIBLE_PATIENT": "Non visible par le patient",
        "INVISIBLE_REPRESENTANTS_LEGAUX": "Non visible par les représentants légaux du patient",
    }
    return [concept(TRE_A08 if len(code) == 1 else TRE_A07, code, displays[code]) for code in codes]


FORMATS = {"application/pdf": "urn:ihe:iti:xds-sd:pdf:2008", "application/fhir+json": "urn:asip:ci-sis:fhir-document:2026"}


def attachment(content: bytes, media: str, title: str, url: str, made: str) -> Resource:
    return {
        "contentType": media,
        "language": "fr-FR",
        "url": url,
        "size": len(content),
        "hash": base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode(),
        "title": title,
        "creation": made,
    }


def document(
    id: str,
    kind: tuple[str, str, str],
    document_class: tuple[str, str],
    title: str,
    *,
    subject: Resource = CAMILLE,
    author: Resource = ALIX,
    structure_: Resource = CABINET,
    facility: tuple[str, str] = ("SA07", "Cabinet individuel"),
    setting: tuple[str, str] = ("AMBULATOIRE", "Ambulatoire"),
    labels: tuple[str, ...] = ("N",),
    content: bytes = b"%PDF-1.4 exemple",
    media: str = "application/pdf",
    when: str = MORNING,
    url: str = "",
    **more: Any,
) -> Resource:
    """An entry with all its metadata, author and source patient contained. kind: system, code, display."""
    who = inside(author, "auteur")
    source = {key: subject[key] for key in ("identifier", "name", "gender", "birthDate")}
    members = {
        "contained": [who, {"resourceType": "Patient", "id": "patient-source", **source}],
        "masterIdentifier": {"system": RFC3986, "value": uid(id)},
        "status": "current",
        "type": concept(*kind),
        "category": [concept(TRE_A03, *document_class)],
        "subject": ref(f"Patient/{subject['id']}"),
        "date": when,
        "author": [ref("#auteur")],
        "authenticator": ref("#auteur"),
        "custodian": known("Organization", FINESS, structure_["identifier"][1]["value"], structure_["name"]),
        "description": title,
        "securityLabel": label(*labels),
        "content": [
            {
                "attachment": attachment(content, media, title, url or f"Binary/contenu-{id}", when),
                "format": coding(TRE_A11, FORMATS[media]),
            }
        ],
        "context": {
            "period": {"start": when},
            "facilityType": concept(TRE_R02, *facility),
            "practiceSetting": concept(TRE_A01, *setting),
            "sourcePatientInfo": ref("#patient-source"),
        },
    }
    return resource("DocumentReference", id, "dmp-document-reference", **{**members, **more})


CONSULTATION = (LOINC, "11488-4", "CR ou fiche de consultation ou de visite")


def submission(
    id: str, items: list[str], *, title: str = "Consultation du 20 novembre 2026", author: Resource = ALIX, **more: Any
) -> Resource:
    mhd = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
    members = {
        "contained": [inside(author, "emetteur")],
        "extension": [
            {"url": mhd + "ihe-designationType", "valueCodeableConcept": concept("urn:oid:1.2.250.1.213.2.2", "07", "Consultation")},
            {"url": mhd + "ihe-sourceId", "valueIdentifier": {"system": RFC3986, "value": "urn:oid:1.2.250.1.999.1.1.8121"}},
        ],
        "identifier": [{"use": "usual", "system": RFC3986, "value": uid(id)}],
        "status": "current",
        "mode": "working",
        "title": title,
        "code": concept(MHD_LIST, "submissionset"),
        "subject": ME,
        "date": NOON,
        "source": ref("#emetteur"),
        "entry": [{"item": ref(item)} for item in items],
    }
    extra = more.pop("extension", [])
    return resource("List", id, "dmp-submission-set", **{**members, **more, "extension": members["extension"] + extra})


def posted(url: str, one: Resource) -> Resource:
    """A transaction entry that creates a resource, which then has no id of its own."""
    return {
        "fullUrl": url,
        "resource": {key: value for key, value in one.items() if key != "id"},
        "request": {"method": "POST", "url": one["resourceType"]},
    }


def binary(content: bytes, media: str) -> Resource:
    return {"resourceType": "Binary", "contentType": media, "data": base64.b64encode(content).decode()}
