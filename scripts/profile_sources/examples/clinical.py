"""Examples of structured documents: the medical summary and a letter, as Compositions and as document Bundles.

https://hl7.org/fhir/R4/documents.html
"""

from scripts.profile_sources.documents import SECTIONS, VERSION_NUMBER
from scripts.profile_sources.examples.parts import ALIX, CAMILLE, MORNING, NOON, Resource, ref, resource, uid
from scripts.profile_sources.systems import LOINC, RFC3986, SNOMED, concept

TITLES = {name: fr for name, _, _, _, _, fr in SECTIONS}
CODES = {name: code for name, code, _, _, _, _ in SECTIONS}
ACTIVE = {
    "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
    "verificationStatus": concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"),
}
ME = "Patient/camille-essai"


def narrative(text: str) -> Resource:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}


def data(at: str) -> dict[str, Resource]:
    """Name -> resource cited. at: how the patient is cited."""
    holder = ref(at)
    return {
        "diabete": resource("Condition", "diabete", **ACTIVE, code=concept(SNOMED, "44054006", "Diabète de type 2"), subject=holder),
        "penicilline": resource(
            "AllergyIntolerance",
            "penicilline",
            clinicalStatus=concept("http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active"),
            code=concept(SNOMED, "91936005", "Allergie à la pénicilline"),
            patient=holder,
        ),
        "metformine": resource(
            "MedicationStatement",
            "metformine",
            status="active",
            medicationCodeableConcept={"text": "Metformine 850 mg, matin et soir"},
            subject=holder,
        ),
        "appendicectomie": resource(
            "Procedure",
            "appendicectomie",
            status="completed",
            code=concept(SNOMED, "80146002", "Appendicectomie"),
            subject=holder,
            performedDateTime="1994-07",
        ),
        "dtp": resource(
            "Immunization",
            "dtp",
            status="completed",
            vaccineCode={"text": "Rappel diphtérie, tétanos, poliomyélite"},
            patient=holder,
            occurrenceDateTime="2024-03-12",
        ),
    }


def section(name: str, text: str, entries: tuple[str, ...] = (), empty: str = "") -> Resource:
    found = {"title": TITLES[name], "code": concept(LOINC, CODES[name])}
    if empty:
        reason = concept("http://terminology.hl7.org/CodeSystem/list-empty-reason", empty)
        return found | {"text": narrative(text), "emptyReason": reason}
    return found | {"text": narrative(text), "entry": [ref(one) for one in entries]}


def summary(id: str, subject: str, author: str, cited: dict[str, str], *, allergies: bool = True) -> Resource:
    """cited: name of data -> how the Composition cites it."""
    return resource(
        "Composition",
        id,
        "dmp-medical-summary",
        extension=[{"url": VERSION_NUMBER, "valueString": "1"}],
        identifier={"system": RFC3986, "value": uid(id)},
        status="final",
        type=concept(LOINC, "60591-5", "Synthèse médicale"),
        subject=ref(subject),
        date=NOON,
        author=[ref(author)],
        title="Synthèse médicale",
        confidentiality="N",
        event=[{"period": {"start": "1994-07-01", "end": "2026-11-20"}}],
        section=[
            section("problems", "Diabète de type 2", (cited["diabete"],)),
            section("allergies", "Pénicilline", (cited["penicilline"],))
            if allergies
            else section("allergies", "Aucune allergie connue", empty="nilknown"),
            section("medications", "Metformine 850 mg", (cited["metformine"],)),
            section("history", "Appendicectomie en 1994", (cited["appendicectomie"],)),
            section("vaccinations", "Rappel DTP en 2024", (cited["dtp"],)),
        ],
    )


def assembled(id: str, profile: str, entries: dict[str, Resource]) -> Resource:
    """entries: fullUrl -> resource, the Composition first."""
    return resource(
        "Bundle",
        id,
        profile,
        identifier={"system": RFC3986, "value": uid(id)},
        type="document",
        timestamp="2026-11-20T11:00:00.000Z",
        entry=[{"fullUrl": at, "resource": one} for at, one in entries.items()],
    )


def summary_document() -> Resource:
    holder, author = uid("synthese-patient"), uid("synthese-auteur")
    cited = {name: uid(f"synthese-{name}") for name in data(ME)}
    composition = summary("synthese-composition", holder, author, cited)
    entries = {uid("synthese-composition-entree"): composition, holder: CAMILLE, author: ALIX}
    return assembled("synthese", "dmp-medical-summary-bundle", entries | {cited[name]: one for name, one in data(holder).items()})


def letter(id: str, subject: str, author: str) -> Resource:
    part = {"title": "Conclusion", "code": concept(LOINC, "55110-1"), "text": narrative("Sortie à domicile, revoir dans un mois.")}
    return resource(
        "Composition",
        id,
        "dmp-composition",
        identifier={"system": RFC3986, "value": uid(id)},
        status="final",
        type=concept(LOINC, "11490-0", "Lettre de liaison à la sortie"),
        subject=ref(subject),
        date=MORNING,
        author=[ref(author)],
        title="Lettre de sortie",
        section=[part],
    )


def examples() -> tuple[Resource, ...]:
    stored = {name: f"{one['resourceType']}/{name}" for name, one in data(ME).items()}
    holder, author = uid("lettre-patient"), uid("lettre-auteur")
    entries = {uid("lettre-composition"): letter("lettre-composition", holder, author), holder: CAMILLE, author: ALIX}
    return (
        summary("synthese", ME, "Practitioner/alix-modele", stored),
        summary("synthese-sans-allergie", ME, "Practitioner/alix-modele", stored, allergies=False),
        letter("lettre", ME, "Practitioner/alix-modele"),
        summary_document(),
        assembled("lettre", "dmp-document-bundle", entries),
    )
