"""Profiles of documents: DocumentReference, List, the Bundles that carry them, Composition and document Bundle.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ ; https://profiles.ihe.net/ITI/MHD/ ; differences in ig/profiles-differences.md
"""

from scripts.profile_sources.making import E, Profile, Rule
from scripts.profile_sources.systems import LOINC, MHD, MHD_LIST, PDSM, RFC3986, concept

PEOPLE = ("Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson")
VERSION_NUMBER = "http://hl7.org/fhir/StructureDefinition/composition-clinicaldocument-versionNumber"


def archived(type_name: str) -> list[E]:
    """The extension of PDSm that says a document or list is archived."""
    return [
        E("extension", slicing=("value", "url"), en="Extensions", fr="Extensions"),
        E("extension:isArchived", "0..1", "Archived: kept, no longer shown first", "Archivé : conservé, plus affiché d'emblée", ms=True),
        E("extension:isArchived.url", fixed=PDSM + "pdsm-ext-is-archived"),
        E("extension:isArchived.value[x]", "1..1", types=("boolean",)),
    ]


CORE = Profile(
    "dmp-document-reference-core",
    "DocumentReference",
    "Document of the DMP: what no entry may lack",
    "Document du DMP : ce dont aucune fiche ne se passe",
    [
        *archived("DocumentReference"),
        E("modifierExtension", "0..0", "Nothing may change the meaning of an entry", "Rien ne peut changer le sens d'une fiche"),
        E("docStatus", "0..0", "Only finished documents are shared", "Seuls des documents achevés sont partagés"),
        E(
            "masterIdentifier",
            en="Unique identifier the producer gave this version of the document",
            fr="Identifiant unique que le producteur a donné à cette version du document",
            ms=True,
            rules=[
                Rule(
                    "dmp-doc-1",
                    "warning",
                    "The unique identifier should have system urn:ietf:rfc:3986 and a value beginning with urn:oid: or urn:uuid:.",
                    "L'identifiant unique devrait avoir le système urn:ietf:rfc:3986 et une valeur commençant par urn:oid: ou urn:uuid:.",
                    f"system = '{RFC3986}' and value.exists() and (value.startsWith('urn:oid:') or value.startsWith('urn:uuid:'))",
                )
            ],
        ),
        E("status", "1..1", "Current, superseded, or withdrawn by its author", "En vigueur, remplacé, ou retiré par son auteur", ms=True),
        E(
            "type",
            "1..1",
            "Type of document: space, class and rights follow from it",
            "Type de document : espace, classe et droits en découlent",
            ms=True,
            binding=("extensible", "dmp-document-type"),
            rules=[
                Rule(
                    "dmp-doc-2",
                    "error",
                    "The type must have a coding with system and code.",
                    "Le type doit avoir un codage avec système et code.",
                    "coding.exists(system.exists() and code.exists())",
                )
            ],
        ),
        E(
            "category",
            "0..*",
            "Class; the server derives it from the type and keeps what was said",
            "Classe ; le serveur la déduit du type et conserve ce qui a été dit",
            binding=("preferred", "dmp-document-class"),
        ),
        E("subject", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True, targets=("Patient",)),
        E("author", en="Who wrote the document", fr="Qui a rédigé le document", ms=True, targets=PEOPLE),
        E("authenticator", targets=("Practitioner", "PractitionerRole", "Organization"), en="Who answers for it", fr="Qui en répond"),
        E(
            "custodian",
            "0..1",
            "Who keeps it; the depositor's organisation when absent",
            "Qui le conserve ; l'organisation du déposant à défaut",
            targets=("Organization",),
        ),
        E("relatesTo", en="Earlier documents this one concerns", fr="Documents antérieurs que celui-ci concerne", ms=True),
        E("relatesTo.target", targets=("DocumentReference",)),
        E(
            "securityLabel",
            en="Confidentiality and visibility",
            fr="Confidentialité et visibilité",
            ms=True,
            binding=("extensible", "dmp-confidentiality"),
        ),
        E("content", "1..1", "One content", "Un seul contenu", ms=True),
        E("content.attachment.contentType", "1..1", "Media type", "Type de média", ms=True),
        E(
            "content.attachment.hash",
            en="SHA-1 of the content, in base64",
            fr="SHA-1 du contenu, en base64",
            rules=[
                Rule(
                    "dmp-doc-3",
                    "warning",
                    "The hash should be a SHA-1: 28 characters of base64.",
                    "Le condensat devrait être un SHA-1 : 28 caractères de base64.",
                    "toString().matches('^[A-Za-z0-9+/]{27}=$')",
                )
            ],
        ),
        E("context.sourcePatientInfo", targets=("Patient",), en="The patient as the producer knew him", fr="Patient vu par le producteur"),
        E(
            "",
            rules=[
                Rule(
                    "dmp-doc-4",
                    "warning",
                    "MASQUE_PS and INVISIBLE_PATIENT should not be set together unless the host allows it.",
                    "MASQUE_PS et INVISIBLE_PATIENT ne vont pas ensemble, sauf si l'hébergeur le permet.",
                    "(securityLabel.coding.exists(code = 'MASQUE_PS') and securityLabel.coding.exists(code = 'INVISIBLE_PATIENT')).not()",
                ),
                Rule(
                    "dmp-doc-5",
                    "error",
                    "A document names at most one of the levels N, R and V.",
                    "Un document porte au plus un des niveaux N, R et V.",
                    "securityLabel.coding.where(code = 'N' or code = 'R' or code = 'V').select(code).distinct().count() <= 1",
                ),
                Rule(
                    "dmp-doc-6",
                    "error",
                    "A document cannot replace itself.",
                    "Un document ne peut se remplacer lui-même.",
                    "id.empty() or relatesTo.target.where(reference = 'DocumentReference/' + %resource.id).empty()",
                ),
            ],
        ),
    ],
    (
        "Rules that hold for every entry of the DMP, whichever transaction brought it.",
        "Règles valables pour toute fiche du DMP, quelle que soit la transaction qui l'a apportée.",
    ),
    abstract=True,
)

COMPREHENSIVE = Profile(
    "dmp-document-reference",
    "dmp-document-reference-core",
    "Document of the DMP (ITI-65)",
    "Fiche d'un document du DMP (ITI-65)",
    [
        E("masterIdentifier", "1..1"),
        E("identifier", en="Entry identifiers", fr="Identifiants de la fiche"),
        E("date", "1..1", "When the document was made", "Date de création du document", ms=True),
        E("author", "1..*"),
        E("category", "0..1"),
        E("securityLabel", "1..*"),
        E("content.attachment.language", "1..1", "Language, fr-FR as a rule", "Langue, fr-FR en général"),
        E("content.attachment.data", "0..0", "The content is a Binary of its own", "Le contenu est un Binary à part"),
        E("content.attachment.url", "1..1", "Where the content is", "Adresse du contenu", ms=True),
        E("content.attachment.size", "1..1", "Size in bytes", "Taille en octets", ms=True),
        E("content.attachment.hash", "1..1", ms=True),
        E("content.attachment.title", "1..1", "Title shown to people", "Titre montré aux personnes", ms=True),
        E("content.attachment.creation", "1..1", "When the content was made", "Date de création du contenu"),
        E("content.format", "1..1", "Format of the document", "Format du document", ms=True),
        E("context", "1..1", "What the document is about", "Contexte de l'acte documenté"),
        E("context.event", en="Acts documented", fr="Actes documentés", ms=True),
        E("context.period", "1..1", "When the act took place", "Période de l'acte", ms=True),
        E("context.period.start", "1..1", "Beginning of the act", "Début de l'acte", ms=True),
        E(
            "context.facilityType",
            "1..1",
            "Kind of establishment",
            "Secteur d'activité",
            ms=True,
            binding=("preferred", "dmp-facility-type"),
        ),
        E(
            "context.practiceSetting",
            "1..1",
            "Practice setting",
            "Cadre d'exercice",
            ms=True,
            binding=("preferred", "dmp-practice-setting"),
        ),
        E("context.sourcePatientInfo", "1..1", ms=True),
        E(
            "context.related",
            en="Accession, order or imaging study",
            fr="Demande, prescription ou étude d'imagerie",
            rules=[
                Rule(
                    "dmp-doc-7",
                    "error",
                    "A related reference that has an identifier gives its value.",
                    "Une référence liée qui porte un identifiant en donne la valeur.",
                    "identifier.empty() or identifier.value.exists()",
                )
            ],
        ),
    ],
    (
        "Entry of a document deposited with its submission set: the comprehensive metadata of PDSm 3.1.1, with the code lists of the DMP.",
        "Fiche d'un document déposé avec son lot de soumission : métadonnées complètes de PDSm 3.1.1, avec les listes du DMP.",
    ),
)

SIMPLIFIED = Profile(
    "dmp-simplified-publish",
    "dmp-document-reference-core",
    "Simplified publication of a document (ITI-105)",
    "Publication simplifiée d'un document (ITI-105)",
    [
        E("status", fixed="current"),
        E("date", "1..1", "When the document was made", "Date de création du document", ms=True),
        E("author", "1..*"),
        E("content.attachment.data", "1..1", "The content itself, in base64", "Le contenu lui-même, en base64", ms=True),
        E("content.attachment.url", "0..0", "The server makes the Binary", "Le serveur crée le Binary"),
        E("content.attachment.title", "1..1", "Title shown to people", "Titre montré aux personnes", ms=True),
    ],
    (
        "One POST of a DocumentReference that carries its content; the server makes the Binary and the submission set.",
        "Un seul POST d'un DocumentReference qui porte son contenu ; le serveur crée le Binary et le lot de soumission.",
    ),
)


def listed(url_name: str, low: str, en: str, fr: str, url: str, kind: str) -> list[E]:
    return [
        E(f"extension:{url_name}", low, en, fr, ms=True),
        E(f"extension:{url_name}.url", fixed=url),
        E(f"extension:{url_name}.value[x]", "1..1", types=(kind,)),
    ]


DESIGNATION = listed(
    "designationType", "1..1", "What gathers these documents", "Ce qui réunit ces documents", MHD + "ihe-designationType", "CodeableConcept"
)

SUBMISSION_SET = Profile(
    "dmp-submission-set",
    "List",
    "Submission set",
    "Lot de soumission",
    [
        *archived("List"),
        *DESIGNATION,
        *listed("sourceId", "1..1", "System that submitted", "Système émetteur", MHD + "ihe-sourceId", "Identifier"),
        *listed("intendedRecipient", "0..*", "For whom it is meant", "Destinataires", PDSM + "pdsm-ext-intended-recipient", "Reference"),
        E("modifierExtension", "0..0"),
        E(
            "identifier",
            en="Unique identifier of the set",
            fr="Identifiant unique du lot",
            ms=True,
            rules=[
                Rule(
                    "dmp-list-1",
                    "error",
                    "An identifier of a list has system and value.",
                    "Un identifiant de liste a un système et une valeur.",
                    "system.exists() and value.exists()",
                )
            ],
        ),
        E("status", "1..1", "Always current at deposit", "Toujours en vigueur au dépôt", ms=True, fixed="current"),
        E("mode", "1..1", fixed="working"),
        E("title", en="Title of the set", fr="Titre du lot", ms=True),
        E("code", "1..1", "It is a submission set", "C'est un lot de soumission", ms=True, pattern=concept(MHD_LIST, "submissionset")),
        E("subject", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True, targets=("Patient",)),
        E("encounter", "0..0"),
        E("date", "1..1", "When it was submitted", "Date de soumission", ms=True),
        E("source", "1..1", "Who submitted", "Qui a soumis", ms=True, targets=("Practitioner", "PractitionerRole", "Device", "Patient")),
        E("orderedBy", "0..0"),
        E("entry", en="Documents and folders submitted", fr="Documents et classeurs soumis", ms=True),
        E("entry.flag", "0..0"),
        E("entry.deleted", "0..0"),
        E("entry.date", "0..0"),
        E("entry.item", targets=("DocumentReference", "List"), ms=True),
        E("emptyReason", "0..0"),
    ],
    (
        "What was submitted together, by whom, when and for whom (ITI-65, ITI-66).",
        "Ce qui a été soumis ensemble, par qui, quand et pour qui (ITI-65, ITI-66).",
    ),
)

FOLDER = Profile(
    "dmp-folder",
    "List",
    "Folder",
    "Classeur",
    [
        *archived("List"),
        *DESIGNATION,
        E("modifierExtension", "0..0"),
        E("status", "1..1", fixed="current", en="Always current at deposit", fr="Toujours en vigueur au dépôt", ms=True),
        E("mode", "1..1", fixed="working"),
        E("title", en="Title of the folder", fr="Titre du classeur", ms=True),
        E("code", "1..1", "It is a folder", "C'est un classeur", ms=True, pattern=concept(MHD_LIST, "folder")),
        E("subject", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True, targets=("Patient",)),
        E("date", "1..1", "When it was last changed", "Date de dernière modification", ms=True),
        E("entry", "1..*", "Documents of the folder", "Documents du classeur", ms=True),
        E("entry.item", targets=("DocumentReference",), ms=True),
        E("emptyReason", "0..0"),
    ],
    ("Documents gathered for a purpose, over time.", "Documents réunis dans un but, au fil du temps."),
)

PROVIDE = Profile(
    "dmp-provide-document-bundle",
    "Bundle",
    "Deposit of documents (ITI-65)",
    "Dépôt de documents (ITI-65)",
    [
        E("type", fixed="transaction"),
        E("entry", "2..*", "What is deposited", "Ce qui est déposé", slicing=("type", "resource")),
        E("entry.request", "1..1"),
        E("entry:lists", "1..*", "The submission set, and folders", "Le lot de soumission, et des classeurs", ms=True),
        E("entry:lists.resource", "1..1", profile=("dmp-submission-set", "dmp-folder")),
        E("entry:documents", "1..*", "The documents", "Les documents", ms=True),
        E("entry:documents.resource", "1..1", profile=("dmp-document-reference",)),
        E("entry:contents", "0..*", "Their contents", "Leurs contenus", ms=True),
        E("entry:contents.resource", "1..1", profile=("Binary",)),
        E("entry:changes", "0..*", "Status of the documents replaced", "Statut des documents remplacés"),
        E("entry:changes.resource", "1..1", profile=("Parameters",)),
        E(
            "",
            rules=[
                Rule(
                    "dmp-iti65-1",
                    "error",
                    "A deposit has exactly one submission set.",
                    "Un dépôt a exactement un lot de soumission.",
                    f"entry.resource.ofType(List).where(code.coding.exists(system = '{MHD_LIST}' and code = 'submissionset')).count() = 1",
                ),
                Rule(
                    "dmp-iti65-2",
                    "error",
                    "Documents, lists and contents are created: their entries are POST.",
                    "Documents, listes et contenus sont créés : leurs entrées sont des POST.",
                    "entry.where(resource.ofType(DocumentReference).exists() or resource.ofType(List).exists()"
                    " or resource.ofType(Binary).exists()).all(request.method = 'POST')",
                ),
                Rule(
                    "dmp-iti65-3",
                    "error",
                    "A change of a replaced document is a PATCH of a DocumentReference.",
                    "Le changement d'un document remplacé est un PATCH d'un DocumentReference.",
                    "entry.where(resource.ofType(Parameters).exists())"
                    ".all(request.method = 'PATCH' and request.url.startsWith('DocumentReference'))",
                ),
                Rule(
                    "dmp-iti65-4",
                    "warning",
                    "The submission set should list every document of the deposit.",
                    "Le lot de soumission devrait citer chaque document du dépôt.",
                    "entry.where(resource.ofType(DocumentReference).exists()).select(fullUrl.toString())"
                    ".subsetOf(%resource.entry.resource.ofType(List).entry.item.reference)",
                ),
                Rule(
                    "dmp-iti65-5",
                    "error",
                    "Entries have different full urls.",
                    "Les entrées ont des adresses complètes différentes.",
                    "entry.fullUrl.isDistinct()",
                ),
            ],
        ),
    ],
    (
        "Transaction that deposits one submission set with its documents, contents and folders; all of it is stored, or nothing.",
        "Transaction qui dépose un lot de soumission avec ses documents, contenus et classeurs ; tout est enregistré, ou rien.",
    ),
)

PROVIDE_ANSWER = Profile(
    "dmp-provide-document-response",
    "Bundle",
    "Answer to a deposit (ITI-65)",
    "Réponse à un dépôt (ITI-65)",
    [
        E("type", fixed="transaction-response"),
        E("entry", "1..*", "One answer for each entry, in the same order", "Une réponse par entrée, dans le même ordre"),
        E("entry.response", "1..1"),
        E(
            "entry.response.status",
            en="201 created, 200 changed",
            fr="201 créé, 200 modifié",
            rules=[
                Rule(
                    "dmp-iti65-6",
                    "error",
                    "The status of an entry of an accepted deposit is 200 or 201.",
                    "Le statut d'une entrée d'un dépôt accepté est 200 ou 201.",
                    "startsWith('200') or startsWith('201')",
                )
            ],
        ),
        E("entry.response.location", "1..1", "Address of the version stored", "Adresse de la version enregistrée"),
    ],
)

SEARCHSET = Profile(
    "dmp-document-searchset",
    "Bundle",
    "Documents found (ITI-66, ITI-67)",
    "Documents trouvés (ITI-66, ITI-67)",
    [
        E("type", fixed="searchset"),
        E("total", "1..1", "How many match, of those you may see", "Nombre de résultats, parmi ceux que vous pouvez voir"),
        E("link", "1..*", "The search itself, and the next page", "La recherche elle-même, et la page suivante"),
        E("entry.resource", "1..1"),
        E("entry.search", "1..1"),
        E(
            "entry",
            rules=[
                Rule(
                    "dmp-iti67-1",
                    "error",
                    "What matches is a DocumentReference or a List; an OperationOutcome tells of warnings.",
                    "Ce qui correspond est un DocumentReference ou une List ; un OperationOutcome porte les avertissements.",
                    "search.mode != 'match' or resource.ofType(DocumentReference).exists() or resource.ofType(List).exists()",
                )
            ],
        ),
    ],
)

BUNDLE_DOCUMENT = Profile(
    "dmp-document-bundle",
    "Bundle",
    "FHIR document",
    "Document FHIR",
    [
        E("identifier", "1..1", "Unique identifier of the document", "Identifiant unique du document", ms=True),
        E("identifier.system", "1..1"),
        E("identifier.value", "1..1"),
        E("type", fixed="document"),
        E("timestamp", "1..1", "When it was assembled", "Date d'assemblage", ms=True),
        E("entry", "1..*", "Composition first, then what it cites", "La Composition d'abord, puis ce qu'elle cite"),
        E("entry.fullUrl", "1..1"),
        E("entry.resource", "1..1"),
        E("entry.search", "0..0"),
        E("entry.request", "0..0"),
        E("entry.response", "0..0"),
        E(
            "",
            rules=[
                Rule(
                    "dmp-bundle-1",
                    "error",
                    "The first entry is the Composition.",
                    "La première entrée est la Composition.",
                    "entry.first().resource.ofType(Composition).exists()",
                ),
                Rule(
                    "dmp-bundle-2",
                    "error",
                    "There is exactly one Composition.",
                    "Il y a exactement une Composition.",
                    "entry.resource.ofType(Composition).count() = 1",
                ),
                Rule(
                    "dmp-bundle-3",
                    "error",
                    "The Patient the Composition is about is in the document.",
                    "Le Patient concerné par la Composition est dans le document.",
                    "entry.resource.ofType(Patient).exists()",
                ),
            ],
        ),
    ],
    ("A structured document: a Composition and all it cites.", "Un document structuré : une Composition et tout ce qu'elle cite."),
)

COMPOSITION = Profile(
    "dmp-composition",
    "Composition",
    "Structured document",
    "Document structuré",
    [
        E("extension", slicing=("value", "url"), en="Extensions", fr="Extensions"),
        E("extension:version", "0..1", "Version of the document", "Version du document"),
        E("extension:version.url", fixed=VERSION_NUMBER),
        E("extension:version.value[x]", "1..1", types=("string",)),
        E("identifier", "1..1", "Identifier kept over versions", "Identifiant conservé au fil des versions", ms=True),
        E("type", "1..1", "Type of document", "Type de document", ms=True, binding=("extensible", "dmp-document-type")),
        E("subject", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True, targets=("Patient",)),
        E("date", ms=True, en="When it was written", fr="Date de rédaction"),
        E("author", ms=True, targets=PEOPLE, en="Who wrote it", fr="Qui l'a rédigé"),
        E("title", ms=True, en="Title", fr="Titre"),
        E("confidentiality", en="Confidentiality", fr="Confidentialité"),
        E("custodian", targets=("Organization",), en="Who keeps it", fr="Qui le conserve"),
        E("section", en="Sections", fr="Sections", ms=True),
        E(
            "section",
            rules=[
                Rule(
                    "dmp-comp-1",
                    "error",
                    "A section has a text, entries, sections, or a reason for being empty.",
                    "Une section a un texte, des entrées, des sous-sections, ou dit pourquoi elle est vide.",
                    "text.exists() or entry.exists() or section.exists() or emptyReason.exists()",
                )
            ],
        ),
        E("section.title", "1..1", "Title of the section", "Titre de la section"),
        E("section.code", "1..1", "What the section holds", "Ce que contient la section"),
    ],
)

# name, LOINC code, cardinality, resources an entry may be, English, French
SECTIONS = (
    ("problems", "11450-4", "1..1", ("Condition",), "Current problems", "Pathologies en cours"),
    ("allergies", "48765-2", "1..1", ("AllergyIntolerance",), "Allergies and intolerances", "Allergies et intolérances"),
    ("medications", "10160-0", "1..1", ("MedicationStatement", "MedicationRequest"), "Current treatments", "Traitements en cours"),
    ("history", "11348-0", "0..1", ("Condition", "Procedure"), "Medical and surgical history", "Antécédents médicaux et chirurgicaux"),
    ("vaccinations", "11369-6", "0..1", ("Immunization",), "Vaccinations", "Vaccinations"),
    ("results", "30954-2", "0..1", ("Observation", "DiagnosticReport"), "Results", "Résultats"),
    ("risk-factors", "29762-2", "0..1", ("Observation", "Condition"), "Risk factors", "Facteurs de risque"),
    ("care-plan", "18776-5", "0..1", ("CarePlan",), "Care plan", "Plan de soins"),
)

SUMMARY = Profile(
    "dmp-medical-summary",
    "dmp-composition",
    "Medical summary (volet de synthèse médicale)",
    "Volet de synthèse médicale",
    [
        E("status", fixed="final"),
        E("type", pattern=concept(LOINC, "60591-5"), en="Medical summary", fr="Synthèse médicale"),
        E("event", "1..1", "Period the summary covers", "Période couverte par la synthèse"),
        E("section", "3..*", slicing=("pattern", "code")),
        *(
            row
            for name, code, card, targets, en, fr in SECTIONS
            for row in (
                E(f"section:{name}", card, en, fr, ms=True),
                E(f"section:{name}.code", pattern=concept(LOINC, code)),
                E(f"section:{name}.entry", targets=targets),
            )
        ),
    ],
    (
        "What a professional needs to know first: problems, allergies, treatments, history, prevention.",
        "Ce qu'un professionnel doit savoir d'abord : pathologies, allergies, traitements, antécédents, prévention.",
    ),
)

SUMMARY_BUNDLE = Profile(
    "dmp-medical-summary-bundle",
    "dmp-document-bundle",
    "Medical summary as a FHIR document",
    "Synthèse médicale en document FHIR",
    [
        E("entry", slicing=("type", "resource")),
        E("entry:composition", "1..1", "The summary", "La synthèse"),
        E("entry:composition.resource", "1..1", profile=("dmp-medical-summary",)),
        E("entry:patient", "1..*", "The holder", "Le titulaire"),
        E("entry:patient.resource", "1..1", profile=("dmp-patient",)),
    ],
)

# In the order they stand on one another; SUMMARY_BUNDLE needs the Patient, made before.
PROFILES = (
    CORE,
    COMPREHENSIVE,
    SIMPLIFIED,
    SUBMISSION_SET,
    FOLDER,
    PROVIDE,
    PROVIDE_ANSWER,
    SEARCHSET,
    BUNDLE_DOCUMENT,
    COMPOSITION,
    SUMMARY,
    SUMMARY_BUNDLE,
)
