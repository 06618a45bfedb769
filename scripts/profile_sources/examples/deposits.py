"""Examples of documents, submission sets and the Bundles of ITI-65, ITI-66 and ITI-67.

https://profiles.ihe.net/ITI/MHD/ ; https://interop.esante.gouv.fr/ig/fhir/pdsm/
"""

import base64

from scripts.profile_sources.examples.parts import (
    CAMILLE,
    CONSULTATION,
    DOMINIQUE,
    HOSPITAL,
    INTERNE,
    LABORATORY,
    LEO,
    ME,
    NOON,
    SACHA,
    Resource,
    binary,
    document,
    known,
    posted,
    ref,
    resource,
    submission,
    uid,
)
from scripts.profile_sources.systems import FINESS, LOINC, MHD, MHD_LIST, PDSM, RFC3986, RPPS, TRE_A03, TRE_A05, concept

REPORT, SUMMARY, PRESCRIPTION, IMAGING = ("10", "Compte rendu"), ("11", "Synthèse"), ("42", "Prescription"), ("31", "Imagerie médicale")
AT_HOSPITAL = {
    "structure_": HOSPITAL,
    "facility": ("SA01", "Etablissement public de santé"),
    "setting": ("ETABLISSEMENT", "Etablissement de santé"),
}
ARCHIVED = {"url": PDSM + "pdsm-ext-is-archived", "valueBoolean": True}


def documents() -> tuple[Resource, ...]:
    """One entry for each situation a reader meets."""
    return (
        document("consultation", CONSULTATION, REPORT, "Compte rendu de consultation"),
        document(
            "biologie",
            (LOINC, "11502-2", "CR d'examens biologiques"),
            REPORT,
            "Glycémie et bilan lipidique",
            author=SACHA,
            structure_=LABORATORY,
            facility=("SA25", "Laboratoire de biologie médicale"),
        ),
        document("ordonnance", (LOINC, "57833-6", "Prescription de produits de santé"), PRESCRIPTION, "Ordonnance"),
        document(
            "radiographie", (LOINC, "18748-4", "CR d'imagerie médicale"), IMAGING, "Radiographie du genou", author=SACHA, **AT_HOSPITAL
        ),
        document(
            "lettre-de-sortie",
            (LOINC, "11490-0", "Lettre de liaison à la sortie d'un établissement de soins"),
            REPORT,
            "Lettre de sortie",
            author=INTERNE,
            **AT_HOSPITAL,
        ),
        document("masque", CONSULTATION, REPORT, "Consultation masquée par le titulaire", labels=("N", "MASQUE_PS")),
        document(
            "annonce",
            (LOINC, "11502-2", "CR d'examens biologiques"),
            REPORT,
            "Résultat à annoncer en consultation",
            author=SACHA,
            labels=("N", "INVISIBLE_PATIENT"),
            **AT_HOSPITAL,
        ),
        document(
            "mineur",
            CONSULTATION,
            REPORT,
            "Consultation demandée en secret par le mineur",
            subject=LEO,
            labels=("N", "INVISIBLE_REPRESENTANTS_LEGAUX"),
        ),
        document("vaccination", (LOINC, "87273-9", "Note de vaccination"), ("10", "Compte rendu"), "Vaccination", author=DOMINIQUE),
        document(
            "synthese", (LOINC, "60591-5", "Synthèse"), SUMMARY, "Synthèse médicale", media="application/fhir+json", url="Bundle/synthese"
        ),
        document("archive", CONSULTATION, REPORT, "Consultation ancienne", when="2016-05-11T09:30:00+02:00", extension=[ARCHIVED]),
        document(
            "remplacant",
            CONSULTATION,
            REPORT,
            "Compte rendu corrigé",
            relatesTo=[{"code": "replaces", "target": ref("DocumentReference/consultation")}],
            when=NOON,
        ),
        document(
            "etude-liee",
            (LOINC, "18748-4", "CR d'imagerie médicale"),
            IMAGING,
            "Scanner, avec le numéro de l'étude",
            author=SACHA,
            **AT_HOSPITAL,
        ),
    )


def with_study(one: Resource) -> Resource:
    identifier = {
        "type": concept("urn:oid:1.2.250.1.213.1.1.4.347", "urn:ihe:iti:xds:2016:studyInstanceUID"),
        "system": "urn:dicom:uid",
        "value": "urn:oid:1.2.250.1.999.1.1.8121.7",
    }
    return {**one, "context": {**one["context"], "related": [{"identifier": identifier}]}}


def published(id: str, kind: Resource, title: str, author: Resource, text: bytes, **more: object) -> Resource:
    """A simplified publication: content and few metadata."""
    members = {
        "masterIdentifier": {"system": RFC3986, "value": uid(id)},
        "status": "current",
        "type": kind,
        "subject": ME,
        "date": NOON,
        "author": [author],
        "content": [{"attachment": {"contentType": "text/plain", "data": base64.b64encode(text).decode(), "title": title}}],
    }
    return resource("DocumentReference", id, "dmp-simplified-publish", **{**members, **more})


def publications() -> tuple[Resource, ...]:
    physician = known("Practitioner", RPPS, "10009999011", "Dr Alix MODÈLE")
    return (
        published("publication", concept(*CONSULTATION), "Consultation", physician, b"Tension 12/8."),
        published(
            "publication-masquee",
            concept(*CONSULTATION),
            "Consultation",
            physician,
            b"Suivi.",
            securityLabel=document("x", CONSULTATION, REPORT, "x", labels=("N", "MASQUE_PS"))["securityLabel"],
            custodian=known("Organization", FINESS, "350000017"),
        ),
        published(
            "directives", concept(TRE_A05, "EXPPAT_3", "Directives anticipées"), "Mes directives anticipées", ME, "Je souhaite…".encode()
        ),
        published(
            "personne-a-prevenir",
            concept(TRE_A05, "EXPPAT_1", "Personne de confiance"),
            "Ma personne de confiance",
            ref("RelatedPerson/mere-essai"),
            "Noé ESSAI, mon frère.".encode(),
            category=[concept(TRE_A03, "90", "Autres documents déposés par le patient")],
        ),
    )


RECIPIENT = {"url": PDSM + "pdsm-ext-intended-recipient", "valueReference": known("Practitioner", RPPS, "10009999011", "Dr Alix MODÈLE")}


def folder(id: str, items: list[str]) -> Resource:
    return resource(
        "List",
        id,
        "dmp-folder",
        extension=[
            {"url": MHD + "ihe-designationType", "valueCodeableConcept": concept("http://snomed.info/sct", "698360004", "Suivi du diabète")}
        ],
        identifier=[{"use": "usual", "system": RFC3986, "value": uid(id)}],
        status="current",
        mode="working",
        title="Suivi du diabète",
        code=concept(MHD_LIST, "folder"),
        subject=ME,
        date=NOON,
        entry=[{"item": ref(item)} for item in items],
    )


def bundle(id: str, profile: str, kind: str, entries: list[Resource], **more: object) -> Resource:
    return resource("Bundle", id, profile, type=kind, **more, entry=entries)


def deposit(id: str, *, replaces: str = "", gathered: bool = False, number: int = 1) -> Resource:
    """ITI-65: submission set, documents, contents; a replacement with its PATCH; a folder."""
    content = b"%PDF-1.4 exemple"
    entries, items = [], []
    for position in range(1, number + 1):
        content_at, document_at = uid(f"{id}-contenu-{position}"), uid(f"{id}-document-{position}")
        more = {"relatesTo": [{"code": "replaces", "target": ref(replaces)}]} if replaces else {}
        one = document(f"{id}-{position}", CONSULTATION, REPORT, "Compte rendu de consultation", content=content, url=content_at, **more)
        entries += [posted(document_at, one), posted(content_at, binary(content, "application/pdf"))]
        items.append(document_at)
    lists = [submission(f"{id}-lot", items)]
    if gathered:
        entries.append(posted(uid(f"{id}-classeur"), folder(f"{id}-classeur", items)))
        lists[0]["entry"].append({"item": ref(uid(f"{id}-classeur"))})
    if replaces:
        parts = [
            {"name": "type", "valueCode": "replace"},
            {"name": "path", "valueString": "DocumentReference.status"},
            {"name": "value", "valueCode": "superseded"},
        ]
        change = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        entries.append({"fullUrl": uid(f"{id}-statut"), "resource": change, "request": {"method": "PATCH", "url": replaces}})
    return bundle(id, "dmp-provide-document-bundle", "transaction", [posted(uid(f"{id}-lot"), lists[0]), *entries])


def answers() -> tuple[Resource, ...]:
    base = "https://dmp.example.org/fhir/"
    stored = [
        {
            "response": {
                "status": "201 Created",
                "location": f"{kind}/{id}/_history/1",
                "etag": 'W/"1"',
                "lastModified": "2026-11-20T11:00:00.000Z",
            }
        }
        for kind, id in (("List", "lot"), ("DocumentReference", "consultation"), ("Binary", "contenu-consultation"))
    ]
    found = [document("consultation", CONSULTATION, REPORT, "Compte rendu de consultation")]
    query = base + "DocumentReference?patient=camille-essai&status=current"
    warning = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational", "diagnostics": "…"}]}
    matches = [{"fullUrl": base + "DocumentReference/consultation", "resource": one, "search": {"mode": "match"}} for one in found]
    told = [{"fullUrl": uid("avertissement"), "resource": warning, "search": {"mode": "outcome"}}]
    links = [{"relation": "self", "url": query}]
    return (
        bundle("reponse-depot", "dmp-provide-document-response", "transaction-response", stored),
        bundle("documents-trouves", "dmp-document-searchset", "searchset", [*matches, *told], total=1, link=links),
        resource("Bundle", "rien-trouve", "dmp-document-searchset", type="searchset", total=0, link=links),
        bundle(
            "lots-trouves",
            "dmp-document-searchset",
            "searchset",
            [
                {
                    "fullUrl": base + "List/lot",
                    "resource": submission("lot", ["DocumentReference/consultation"]),
                    "search": {"mode": "match"},
                }
            ],
            total=1,
            link=[{"relation": "self", "url": base + "List?patient=camille-essai&code=submissionset&status=current"}],
        ),
    )


def examples() -> tuple[Resource, ...]:
    listed = list(documents())
    listed[-1] = with_study(listed[-1])
    return (
        *listed,
        *publications(),
        submission("lot", ["DocumentReference/consultation"]),
        submission(
            "lot-adresse", ["DocumentReference/lettre-de-sortie"], title="Sortie d'hospitalisation", author=INTERNE, extension=[RECIPIENT]
        ),
        submission(
            "lot-du-titulaire",
            ["DocumentReference/directives"],
            title="Mes directives",
            contained=[{"resourceType": "Patient", "id": "titulaire", "name": CAMILLE["name"]}],
            source=ref("#titulaire"),
        ),
        folder("classeur-diabete", ["DocumentReference/consultation", "DocumentReference/biologie"]),
        deposit("depot"),
        deposit("depot-de-trois", number=3),
        deposit("depot-remplacement", replaces="DocumentReference/consultation"),
        deposit("depot-classeur", gathered=True),
        *answers(),
    )
