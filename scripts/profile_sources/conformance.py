"""SearchParameters and OperationDefinitions.

https://hl7.org/fhir/R4/searchparameter.html and https://hl7.org/fhir/R4/operationdefinition.html
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from fhir_dmp.search.own import OWN
from scripts.profile_sources.making import CANONICAL, head, structure, translated, value_set

R4 = "http://hl7.org/fhir/OperationDefinition/"
# code of a search parameter -> id, English, French
SEARCH = {
    "isArchived": ("dmp-is-archived", "Whether it is archived", "Archivé ou non"),
    "creation": ("dmp-creation", "When the content was made", "Date de création du contenu"),
    "period-start": ("dmp-period-start", "When the act began", "Début de l'acte"),
    "period-end": ("dmp-period-end", "When the act ended", "Fin de l'acte"),
    "designationType": ("dmp-designation-type", "What gathers the documents", "Ce qui réunit les documents"),
    "sourceId": ("dmp-source-id", "System that submitted", "Système émetteur"),
    "authorOrg": ("dmp-author-organization", "Structure of whom submitted", "Structure de qui a soumis"),
    "intendedRecipient": ("dmp-intended-recipient", "For whom it is meant", "Destinataire"),
    "purpose": ("dmp-purpose", "What an access was for", "Finalité d'un accès"),
}


def search_parameters() -> Iterator[dict[str, Any]]:
    """Those of PDSm and MHD the server has beside R4, under an address of ours; derivedFrom names the original."""
    for row in OWN:
        id, en, fr = SEARCH[row.code]
        found = head("SearchParameter", id, en, fr)
        for absent in ("title", "_title"):
            found.pop(absent)
        found["name"] = "".join(part.capitalize() for part in id.split("-"))
        if row.url != found["url"] and not row.url.startswith(CANONICAL):
            found["derivedFrom"] = row.url
        found |= {"code": row.code, "base": list(row.base), "type": row.type, "expression": row.expression, "xpathUsage": row.xpath_usage}
        if row.target:
            found["target"] = list(row.target)
        if row.type == "date":
            found["comparator"] = ["eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap"]
        if row.type == "token":
            found["modifier"] = ["missing", "not", "text"]
        yield found


class P(NamedTuple):
    """name, use (in or out), cardinality, type, English, French. binding: value set id. parts: of a parameter without type.

    search: SearchParameter type of a string. profile: our StructureDefinition or targets.
    """

    name: str
    use: str
    card: str
    type: str
    en: str
    fr: str
    binding: str = ""
    parts: tuple["P", ...] = ()
    profile: str = ""


class Op(NamedTuple):
    """code, types, levels among system, type, instance, changes, English, French, parameters. base: of R4."""

    code: str
    types: tuple[str, ...]
    levels: str
    changes: bool
    en: str
    fr: str
    parameters: tuple[P, ...]
    base: str = ""


PATIENT = ("Patient",)
DAY = "The first day, or instant", "Le premier jour, ou instant"
LAST = "The last day, or instant", "Le dernier jour, ou instant"


def paged(most: int) -> tuple[P, P]:
    """What asks for a part of a long list."""
    return (
        P("after", "in", "0..1", "string", "Where the page before ended", "Là où finit la page précédente"),
        P("count", "in", "0..1", "positiveInt", f"How many, at most {most}", f"Combien, au plus {most}"),
    )


RETURN_PATIENT = P("return", "out", "1..1", "Patient", "The Patient", "Le Patient")
CHECK = tuple(
    P(name, "out", "1..1", "code", f"{en}: passed, indeterminate or failed", f"{fr} : passed, indeterminate ou failed")
    for name, en, fr in (("seal", "Seal of the host", "Cachet de l'hébergeur"), ("message", "Seal of the message", "Cachet du message"))
) + (P("author", "out", "1..1", "code", "Signature of the author", "Signature de l'auteur"),)
JOINING = (
    P("source-patient", "in", "1..1", "Reference", "The dossier that ends", "Le dossier qui prend fin", profile="Patient"),
    P(
        "target-patient",
        "in",
        "0..1",
        "Reference",
        "The dossier that goes on, where the address names none",
        "Le dossier qui demeure, si l'adresse n'en nomme pas",
        profile="Patient",
    ),
    P("preview", "in", "0..1", "boolean", "Say what would be done, and do nothing", "Dire ce qui serait fait, sans rien faire"),
    P(
        "return",
        "out",
        "1..1",
        "Parameters",
        "input, outcome and result, the Patient that goes on, as in R5",
        "input, outcome et result, le Patient qui demeure, comme en R5",
    ),
)
REVIEWED = (
    P("id", "out", "1..1", "id", "Its id", "Son identifiant"),
    P(
        "code",
        "out",
        "1..1",
        "code",
        "emergency-access, late-deposit or merge-in-doubt",
        "emergency-access, late-deposit ou merge-in-doubt",
    ),
    P("status", "out", "1..1", "code", "requested or completed", "requested ou completed"),
    P("recorded", "out", "1..1", "instant", "When", "Quand"),
    P("patient", "out", "1..1", "Reference", "In whose dossier", "Dans quel dossier", profile="Patient"),
    P("professional", "out", "0..1", "Identifier", "Who", "Qui"),
    P("organization", "out", "0..1", "Identifier", "For which establishment", "Pour quel établissement"),
    P("justification", "out", "0..1", "string", "Why, under a ticket", "Motif, avec un ticket"),
    P(
        "resource",
        "out",
        "0..1",
        "Reference",
        "What was deposited, under a ticket",
        "Ce qui a été déposé, avec un ticket",
        profile="Resource",
    ),
    P("closed", "out", "0..1", "instant", "When it was closed", "Quand il a été clos"),
    P("outcome", "out", "0..1", "code", "What it was found to be", "Ce qui en a été conclu"),
    P("note", "out", "0..1", "string", "What is to be known of it, under a ticket", "Ce qu'il faut en savoir, avec un ticket"),
)
REASON = P("reason", "in", "0..1", "code", "Why", "Motif", "dmp-closing-reason")

OPERATIONS: tuple[Op, ...] = (
    Op(
        "open",
        PATIENT,
        "type",
        True,
        "Opens a DMP, with its opening Consent and the three emergency Consents",
        "Ouvre un DMP, avec son consentement d'ouverture et les trois consentements d'urgence",
        (
            P(
                "patient",
                "in",
                "1..1",
                "Patient",
                "INS, official names, sex, birth date",
                "INS, noms officiels, sexe, date de naissance",
                profile="dmp-patient",
            ),
            P("evidence", "in", "0..1", "code", "How the holder agreed", "Comment le titulaire a donné son accord", "dmp-consent-evidence"),
            P("relatedPerson", "in", "0..*", "RelatedPerson", "Parents, guardian", "Parents, tuteur", profile="dmp-related-person"),
            P(
                "emergencyRegulation",
                "in",
                "0..1",
                "boolean",
                "Emergency call centres; true when absent",
                "Centres de régulation ; vrai à défaut",
            ),
            P("emergencyBreakGlass", "in", "0..1", "boolean", "Breaking the glass; true when absent", "Bris de glace ; vrai à défaut"),
            P(
                "emergencyMasked",
                "in",
                "0..1",
                "boolean",
                "Masked documents too; false when absent",
                "Documents masqués aussi ; faux à défaut",
            ),
            RETURN_PATIENT,
        ),
    ),
    Op(
        "close",
        PATIENT,
        "instance",
        True,
        "Closes a DMP; it is kept ten years",
        "Ferme un DMP ; il est conservé dix ans",
        (REASON, P("date", "in", "0..1", "dateTime", "From when", "À partir de quand"), RETURN_PATIENT),
    ),
    Op(
        "reactivate",
        PATIENT,
        "instance",
        True,
        "Opens a closed DMP again",
        "Rouvre un DMP fermé",
        (REASON, P("date", "in", "0..1", "dateTime", "From when", "À partir de quand"), RETURN_PATIENT),
    ),
    Op(
        "access-sheet",
        PATIENT,
        "instance",
        True,
        "Issues the sheet of login codes; the former one no longer works",
        "Émet la feuille de codes de connexion ; la précédente ne vaut plus",
        (
            P("relatedPerson", "in", "0..1", "string", "For which representative", "Pour quel représentant"),
            P("return", "out", "1..1", "Binary", "The sheet, PDF or text", "La feuille, en PDF ou en texte"),
        ),
    ),
    Op(
        "break-glass",
        PATIENT,
        "instance",
        True,
        "Breaks the glass: emergency access for an hour, told to the holder",
        "Brise la glace : accès d'urgence d'une heure, signalé au titulaire",
        (
            P("justification", "in", "1..1", "string", "Why it is an emergency", "Pourquoi c'est une urgence"),
            P("expires", "out", "1..1", "instant", "Until when", "Jusqu'à quand"),
            P("grant", "out", "1..1", "id", "Id of the grant", "Identifiant de l'accès accordé"),
        ),
    ),
    Op(
        "access-list",
        PATIENT,
        "instance",
        False,
        "Who has access to the DMP, and why",
        "Qui a accès au DMP, et à quel titre",
        (
            P(
                "professional",
                "out",
                "0..*",
                "",
                "One who has access, or is blocked",
                "Une personne qui a accès, ou est bloquée",
                parts=(
                    P("identifier", "out", "1..1", "Identifier", "National identifier", "Identifiant national"),
                    P("name", "out", "0..1", "string", "Name", "Nom"),
                    P("reason", "out", "1..1", "code", "Rule that permits", "Règle qui permet"),
                    P("until", "out", "0..1", "dateTime", "Until when", "Jusqu'à quand"),
                    P("blocked", "out", "1..1", "boolean", "Blocked", "Bloqué"),
                ),
            ),
        ),
    ),
    Op(
        "explain-access",
        PATIENT,
        "instance",
        False,
        "Why a document is shown or not",
        "Pourquoi un document est montré ou non",
        (
            P("document", "in", "0..1", "Reference", "The document", "Le document", profile="DocumentReference"),
            P("professional", "in", "0..1", "Identifier", "For whom; oneself when absent", "Pour qui ; soi-même à défaut"),
            P("effect", "out", "1..1", "code", "permit, hide or refuse", "permit, hide ou refuse"),
            P("rule", "out", "1..1", "code", "Name of the rule that decided", "Nom de la règle qui a décidé"),
            P("text", "out", "1..1", "string", "The same, for people", "La même chose, en clair"),
        ),
    ),
    Op(
        "access-journal",
        PATIENT,
        "instance",
        False,
        "Who did what in the DMP, for people",
        "Qui a fait quoi dans le DMP, en clair",
        (
            P("start", "in", "0..1", "dateTime", *DAY),
            P("end", "in", "0..1", "dateTime", *LAST),
            P(
                "entry",
                "out",
                "0..*",
                "",
                "One trace",
                "Une trace",
                parts=(
                    P("when", "out", "1..1", "instant", "When", "Quand"),
                    P("who", "out", "1..1", "string", "Who", "Qui"),
                    P("role", "out", "0..1", "string", "In what role", "À quel titre"),
                    P("establishment", "out", "0..1", "string", "For which establishment", "Pour quel établissement"),
                    P("what", "out", "1..1", "string", "What was done", "Ce qui a été fait"),
                    P("document", "out", "0..*", "Reference", "Documents disclosed", "Documents montrés", profile="DocumentReference"),
                    P("failed", "out", "1..1", "boolean", "Whether it was refused", "Refusé ou non"),
                    P("trace", "out", "1..1", "Reference", "The trace itself", "La trace elle-même", profile="AuditEvent"),
                ),
            ),
        ),
    ),
    Op(
        "summary",
        PATIENT,
        "instance",
        False,
        "Medical summary as a document, of what the asker may see",
        "Synthèse médicale en document, de ce que le demandeur peut voir",
        (P("return", "out", "1..1", "Bundle", "The document", "Le document", profile="dmp-document-bundle"),),
    ),
    Op(
        "export-dossier",
        PATIENT,
        "instance",
        True,
        "Makes the signed package of a dossier for another host",
        "Prépare le paquet signé d'un dossier pour un autre hébergeur",
        (
            P("recipient", "in", "1..1", "Identifier", "The other host", "L'autre hébergeur"),
            P("reason", "in", "0..1", "string", "Why", "Motif"),
            P("return", "out", "0..1", "Binary", "The package, when it is ready", "Le paquet, quand il est prêt"),
        ),
    ),
    Op(
        "review-queue",
        (),
        "system",
        False,
        "What waits for the host's physician: emergency accesses, deposits after a death",
        "Ce qui attend le médecin de l'hébergeur : accès en urgence, dépôts après un décès",
        (
            P("status", "in", "0..1", "code", "requested (the default) or completed", "requested (par défaut) ou completed"),
            *paged(100),
            P("review", "out", "0..*", "", "One of them", "L'un d'eux", parts=REVIEWED),
        ),
    ),
    Op(
        "review",
        (),
        "system",
        True,
        "The host's physician closes what waited for him",
        "Le médecin de l'hébergeur clôt ce qui l'attendait",
        (
            P("id", "in", "1..1", "string", "Which one", "Lequel"),
            P("outcome", "in", "1..1", "code", "justified, unjustified or noted", "justified, unjustified ou noted"),
            P("note", "in", "0..1", "string", "What is to be known of it", "Ce qu'il faut en savoir"),
            P("review", "out", "1..1", "", "As it is now", "Tel qu'il est maintenant", parts=REVIEWED),
        ),
    ),
    Op(
        "merge",
        PATIENT,
        "type instance",
        True,
        "Joins two dossiers of one person; the source ends, restrictions of both hold",
        "Réunit deux dossiers d'une même personne ; la source prend fin, les restrictions des deux valent",
        JOINING,
    ),
    Op(
        "unmerge",
        PATIENT,
        "type instance",
        True,
        "Parts what was joined by mistake; each dossier has its own again, with what became of it meanwhile",
        "Sépare ce qui a été réuni par erreur ; chaque dossier retrouve ce qui est à lui, tel qu'il est devenu entre-temps",
        JOINING,
    ),
    Op(
        "verify",
        ("Resource",),
        "instance",
        False,
        "Checks the three proofs of a resource",
        "Vérifie les trois preuves d'une ressource",
        (*CHECK, P("reason", "out", "0..*", "string", "Why one did not pass", "Pourquoi l'une n'a pas réussi")),
    ),
    Op(
        "proof",
        ("AuditEvent",),
        "instance",
        False,
        "Proof that a trace is in the journal",
        "Preuve qu'une trace est dans le journal",
        (P("return", "out", "1..1", "Parameters", "Inclusion proof and signed tree head", "Preuve d'inclusion et tête d'arbre signée"),),
    ),
    Op(
        "import",
        (),
        "system",
        True,
        "Takes dossiers in from another source; the body is a Bundle, NDJSON, or the package of a dossier of another host",
        "Reprend des dossiers d'une autre source ; le corps est un Bundle, du NDJSON, ou le paquet d'un dossier d'un autre hébergeur",
        (
            P("source", "in", "1..1", "uri", "Registered source", "Source enregistrée"),
            P("return", "out", "0..1", "Parameters", "The report, at the end", "Le rapport, à la fin"),
        ),
    ),
    Op(
        "quarantine",
        (),
        "system",
        False,
        "What a source sent and nobody understood yet, with the nearest codes and dossiers",
        "Ce qu'une source a envoyé et que nul n'a encore compris, avec les codes et dossiers les plus proches",
        (
            P("source", "in", "1..1", "string", "Registered source", "Source enregistrée"),
            P("kind", "in", "0..1", "code", "code, content or identity", "code, content ou identity"),
            *paged(100),
            P("return", "out", "1..1", "Parameters", "One `waiting` each", "Un `waiting` pour chacun"),
        ),
    ),
    Op(
        "resolve",
        (),
        "system",
        True,
        "Says what a code of a source means or who is meant, and imports again what waits",
        "Dit ce que signifie un code d'une source ou qui est désigné, et reprend ce qui attend",
        (
            P("source", "in", "1..1", "string", "Registered source", "Source enregistrée"),
            P("element", "in", "0..1", "code", "type, practiceSetting or facilityType", "type, practiceSetting ou facilityType"),
            P("local", "in", "0..1", "Coding", "The code of the source", "Le code de la source"),
            P("code", "in", "0..1", "Coding", "What it means here", "Ce qu'il signifie ici"),
            P("id", "in", "0..1", "string", "Who waits, of $quarantine", "Qui attend, selon $quarantine"),
            P("patient", "in", "0..1", "Reference", "Who that is", "Qui c'est", profile="Patient"),
            P("replay", "in", "0..1", "boolean", "Import again what waits", "Reprendre ce qui attend"),
            P("return", "out", "1..1", "Parameters", "What was done, one `result` each", "Ce qui a été fait, un `result` pour chacun"),
        ),
    ),
    Op(
        "feed",
        (),
        "system",
        False,
        "Which dossiers the Assurance Maladie is asked to feed, and from when",
        "Quels dossiers l'Assurance Maladie est invitée à alimenter, et depuis quand",
        (
            P("since", "in", "0..1", "dateTime", "When it was last asked", "Date de la demande précédente"),
            *paged(500),
            P(
                "dossier",
                "out",
                "0..*",
                "",
                "One of them",
                "L'un d'eux",
                parts=(
                    P("identifier", "out", "1..1", "Identifier", "INS of the holder", "INS du titulaire"),
                    P("start", "out", "1..1", "instant", "From when", "Depuis quand"),
                    P("end", "out", "1..1", "instant", "Until when", "Jusqu'à quand"),
                ),
            ),
        ),
    ),
    Op(
        "statistics",
        (),
        "system",
        False,
        "Counts for the operator; those below 5 are masked",
        "Chiffres pour l'exploitant ; ceux sous 5 sont masqués",
        (
            P("start", "in", "0..1", "dateTime", *DAY),
            P("end", "in", "0..1", "dateTime", *LAST),
            P("return", "out", "1..1", "Parameters", "The counts", "Les chiffres"),
        ),
    ),
    Op(
        "everything",
        PATIENT,
        "instance",
        False,
        "All of a dossier that the asker may see",
        "Tout ce que le demandeur peut voir du dossier",
        (
            P("start", "in", "0..1", "date", *DAY),
            P("end", "in", "0..1", "date", *LAST),
            P("_since", "in", "0..1", "instant", "Changed since", "Modifié depuis"),
            P("_type", "in", "0..*", "code", "Types", "Types"),
            P("_count", "in", "0..1", "integer", "Entries a page", "Entrées par page"),
            P("return", "out", "1..1", "Bundle", "What was found", "Ce qui a été trouvé"),
        ),
        R4 + "Patient-everything",
    ),
    Op(
        "document",
        ("Composition",),
        "type instance",
        False,
        "Assembles the document of a Composition",
        "Assemble le document d'une Composition",
        (
            P("id", "in", "0..1", "uri", "The Composition", "La Composition"),
            P("persist", "in", "0..1", "boolean", "Keep it", "L'enregistrer"),
            P("graph", "in", "0..1", "uri", "What to cite", "Ce qu'il faut citer"),
            P("return", "out", "1..1", "Bundle", "The document", "Le document", profile="dmp-document-bundle"),
        ),
        R4 + "Composition-document",
    ),
    Op(
        "docref",
        ("DocumentReference",),
        "type",
        False,
        "Documents of a patient",
        "Documents d'un patient",
        (
            P("patient", "in", "0..1", "string", "The patient", "Le patient"),
            P("patient.identifier", "in", "0..1", "token", "The patient, by identifier", "Le patient, par identifiant"),
            P("start", "in", "0..1", "dateTime", *DAY),
            P("end", "in", "0..1", "dateTime", *LAST),
            P("type", "in", "0..*", "token", "Types", "Types"),
            P("on-demand", "in", "0..1", "boolean", "Made on demand too", "Ceux faits à la demande aussi"),
            P("profile", "in", "0..*", "uri", "Profiles of the content", "Profils du contenu"),
            P("_count", "in", "0..1", "positiveInt", "Entries a page", "Entrées par page"),
            P("return", "out", "1..1", "Bundle", "The documents", "Les documents", profile="dmp-document-searchset"),
        ),
    ),
    Op(
        "match",
        PATIENT,
        "type",
        False,
        "Finds the dossier of a person",
        "Trouve le dossier d'une personne",
        (
            P("resource", "in", "1..1", "Resource", "What is known of the person", "Ce qu'on sait de la personne"),
            P("onlyCertainMatches", "in", "0..1", "boolean", "Only certain ones", "Certitudes seulement"),
            P("count", "in", "0..1", "integer", "At most", "Au plus"),
            P("return", "out", "1..1", "Bundle", "Those who match", "Correspondances"),
        ),
        R4 + "Patient-match",
    ),
    Op(
        "validate",
        ("Resource",),
        "type instance",
        False,
        "Tells every fault of a resource, in English or French",
        "Dit tous les défauts d'une ressource, en anglais ou en français",
        (
            P("resource", "in", "0..1", "Resource", "What to validate", "Ce qu'il faut valider"),
            P("mode", "in", "0..1", "code", "create, update, delete or profile", "create, update, delete ou profile"),
            P("profile", "in", "0..1", "uri", "Against which profile", "Selon quel profil"),
            P("return", "out", "1..1", "OperationOutcome", "The faults", "Les défauts"),
        ),
        R4 + "Resource-validate",
    ),
    Op(
        "meta",
        ("Resource",),
        "system type instance",
        False,
        "Profiles, tags and labels",
        "Profils, étiquettes et marques",
        (P("return", "out", "1..1", "Meta", "Those in use", "Ceux qui sont employés"),),
        R4 + "Resource-meta",
    ),
    Op(
        "lastn",
        ("Observation",),
        "type",
        False,
        "Last observations of each kind",
        "Dernières observations de chaque nature",
        (
            P("max", "in", "0..1", "positiveInt", "How many of each", "Combien de chacune"),
            P("return", "out", "1..1", "Bundle", "Those found", "Celles trouvées"),
        ),
        R4 + "Observation-lastn",
    ),
    Op(
        "export",
        PATIENT,
        "system type",
        False,
        "Exports in bulk, for hosts",
        "Exporte en masse, pour les hébergeurs",
        (
            P("_outputFormat", "in", "0..1", "string", "application/fhir+ndjson", "application/fhir+ndjson"),
            P("_since", "in", "0..1", "instant", "Changed since", "Modifié depuis"),
            P("_type", "in", "0..*", "string", "Types", "Types"),
            P("_typeFilter", "in", "0..*", "string", "Searches", "Recherches"),
        ),
    ),
)


def operations() -> Iterator[dict[str, Any]]:
    for one in OPERATIONS:
        found = head("OperationDefinition", f"dmp-{one.code}", f"${one.code}", f"${one.code}", (one.en + ".", one.fr + "."))
        found["kind"] = "operation"
        found["affectsState"] = one.changes
        found["code"] = one.code
        if one.base:
            found["base"] = one.base
        if one.types:
            found["resource"] = list(one.types)
        found |= {level: level in one.levels.split() for level in ("system", "type", "instance")}
        if one.parameters:
            found["parameter"] = [_parameter(each) for each in one.parameters]
        yield found


def _parameter(one: P) -> dict[str, Any]:
    low, high = one.card.split("..")
    said: dict[str, Any] = {
        "name": one.name,
        "use": one.use,
        "min": int(low),
        "max": high,
        **translated("documentation", one.en + ".", one.fr + "."),
    }
    if one.type == "token":
        said |= {"type": "string", "searchType": "token"}
    elif one.type:
        said["type"] = one.type
    # opd-3 of R4: only what refers has targets.
    if one.profile and one.type in ("Reference", "canonical"):
        said["targetProfile"] = [structure(one.profile)]
    if one.binding:
        said["binding"] = {"strength": "required", "valueSet": value_set(one.binding)}
    if one.parts:
        said["part"] = [_parameter(part) for part in one.parts]
    return said


def all_of() -> Iterator[dict[str, Any]]:
    yield from search_parameters()
    yield from operations()
