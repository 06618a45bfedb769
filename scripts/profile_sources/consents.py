"""Profiles of Consent, one for each category, made from the shapes the server itself checks; and the extension of evidence.

https://profiles.ihe.net/ITI/PCF/ ; fhir_dmp/consent/directives.py
"""

from fhir_dmp.consent.directives import ACT_REASON, CATEGORY, CONSENT_DOCUMENT, LOINC, PARTICIPATION, RECIPIENT, SCOPE, SHAPES, Shape
from scripts.profile_sources.making import E, Profile, Rule
from scripts.profile_sources.systems import IDNPS, IDNST, concept

NAMES = {
    "opening": ("Opening of the DMP", "Ouverture du DMP"),
    "access": ("Access given to a professional or structure", "Accès donné à un professionnel ou à une structure"),
    "administrator": ("Rights of the médecin traitant given to a professional", "Droits du médecin traitant donnés à un professionnel"),
    "block": ("Professional or structure blocked", "Professionnel ou structure bloqué"),
    "emergency-regulation": ("Access of emergency call centres", "Accès des centres de régulation (SAMU)"),
    "emergency-break-glass": ("Access by breaking the glass", "Accès en bris de glace"),
    "emergency-masked": ("Masked documents in an emergency", "Documents masqués en urgence"),
    "mask": ("Masking by rule", "Masquage par règle"),
    "mandate": ("Mandate to manage access rights", "Mandat de gestion des droits d'accès"),
    "reimbursement": ("Display of the reimbursement history", "Affichage de l'historique de remboursement"),
    "takeover": ("Takeover of an experimental dossier", "Reprise d'un dossier d'expérimentation"),
    "feed": ("Feeding by other dossiers", "Alimentation par d'autres dossiers"),
}
EVIDENCE_IDS = "consent-evidence"

EVIDENCE = Profile(
    EVIDENCE_IDS,
    "Extension",
    "How the holder's agreement was given",
    "Comment l'accord du titulaire a été donné",
    [
        E("extension", "0..0"),
        E(
            "value[x]",
            "1..1",
            "Vitale card, signed form, by word of mouth, online",
            "Carte Vitale, formulaire signé, oral, en ligne",
            types=("code",),
            binding=("required", "dmp-consent-evidence"),
        ),
    ],
    (
        "A professional who writes an access Consent for himself attests by it how the holder agreed.",
        "Le professionnel qui s'autorise lui-même atteste ainsi de l'accord du titulaire.",
    ),
    context=("Consent",),
)

BASE = Profile(
    "dmp-consent",
    "Consent",
    "Consent of a DMP",
    "Consentement du DMP",
    [
        E("extension", slicing=("value", "url"), en="Extensions", fr="Extensions"),
        E("extension:evidence", "0..1", "How agreement was given", "Comment l'accord a été donné", profile=(EVIDENCE_IDS,), ms=True),
        E("modifierExtension", "0..0", "What cannot be understood is refused", "Ce qui ne peut être compris est refusé"),
        E(
            "status",
            "1..1",
            "A right is revoked by inactive",
            "Un droit se révoque par inactive",
            ms=True,
            rules=[
                Rule(
                    "dmp-con-1",
                    "error",
                    "The status is active or inactive.",
                    "Le statut est active ou inactive.",
                    "$this = 'active' or $this = 'inactive'",
                )
            ],
        ),
        E("scope", "1..1", "Privacy", "Protection des données", pattern=concept(SCOPE, "patient-privacy")),
        E(
            "category",
            "2..2",
            "LOINC code and one category of the DMP",
            "Code LOINC et une catégorie du DMP",
            slicing=("pattern", "$this"),
            ms=True,
        ),
        E("category:document", "1..1", "Consent document", "Document de consentement", pattern=concept(LOINC, CONSENT_DOCUMENT)),
        E("category:dmp", "1..1", "Category of the DMP", "Catégorie du DMP", ms=True),
        E("category:dmp", binding=("required", "dmp-consent-category")),
        E("patient", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True),
        E("dateTime", "1..1", "When it was given", "Quand il a été donné", ms=True),
        E("performer", "1..*", "Who gives it", "Qui le donne", ms=True),
        E("organization", "1..*", "Who keeps the DMP", "Qui tient le DMP", ms=True),
        E("policy", "1..*", "The rules it belongs to", "Les règles dont il relève"),
        E("policy.uri", "1..1", "Address of the rules", "Adresse des règles", ms=True),
        E("verification", "0..0"),
        E("provision", "1..1", "What it directs", "Ce qu'il ordonne", ms=True),
        E("provision.type", "1..1", "Permit or deny", "Permettre ou refuser", ms=True),
        E("provision.action", "0..0"),
        E("provision.securityLabel", "0..0"),
        E("provision.provision", "0..0", "One level only", "Un seul niveau"),
    ],
    (
        "What the holder directs about his DMP. One category each; exactly what is understood is accepted.",
        "Ce que le titulaire ordonne pour son DMP. Une catégorie à la fois ; n'est accepté que ce qui est compris.",
    ),
    abstract=True,
)


def of_category(code: str, shape: Shape) -> Profile:
    """Profile of a category, from the shape by which the server accepts it."""
    en, fr = NAMES[code]
    rows = [E("category:dmp", pattern=concept(CATEGORY, code))]
    if len(shape.types) == 1:
        rows.append(E("provision.type", fixed=shape.types[0]))
    rows += _period(code, shape)
    rows += _actors(shape)
    if shape.purposes:
        count = len(shape.purposes)
        rows.append(E("provision.purpose", f"{count}..{count}", "Purpose of use", "But de l'usage", slicing=("pattern", "$this"), ms=True))
        rows += [
            E(f"provision.purpose:{one}", "1..1", pattern={"system": ACT_REASON, "code": one}, en=one, fr=one)
            for one in sorted(shape.purposes)
        ]
    rows += _mask() if code == "mask" else [E(f"provision.{name}", "0..0") for name in ("class", "code", "dataPeriod", "data")]
    return Profile(f"dmp-consent-{code}", "dmp-consent", en, fr, rows)


def _period(code: str, shape: Shape) -> list[E]:
    if not shape.period:
        return [E("provision.period", "0..0", "It has no period", "Sans période")]
    if code == "access":
        return [E("provision.period", "1..1", "How long it holds, both days included", "Durée, bornes comprises", ms=True)]
    if code != "mandate":
        return [E("provision.period", "0..1", "How long it holds, both days included", "Durée, bornes comprises", ms=True)]
    return [
        E("provision.period", "1..1", "How long the mandate holds", "Durée du mandat", ms=True),
        E("provision.period.end", "1..1", "Last day of the mandate", "Dernier jour du mandat", ms=True),
    ]


def _actors(shape: Shape) -> list[E]:
    if not shape.actor:
        return [E("provision.actor", "0..0", "It names nobody", "Ne désigne personne")]
    if shape.actor == "related":
        return [
            E("provision.actor", "1..*", "The person given the mandate", "La personne mandatée", ms=True),
            E("provision.actor.reference", targets=("RelatedPerson",)),
        ]
    people = ("Practitioner", "PractitionerRole") if shape.actor == "professional" else ("Practitioner", "PractitionerRole", "Organization")
    return [
        E("provision.actor", "1..*", "Who is meant", "Qui est visé", ms=True),
        E("provision.actor.role", pattern=concept(PARTICIPATION, RECIPIENT), en="Recipient", fr="Destinataire"),
        E(
            "provision.actor.reference",
            targets=people,
            en="By national identifier, or by reference",
            fr="Par identifiant national, ou par référence",
            rules=[
                Rule(
                    "dmp-con-2",
                    "error",
                    "An actor is named by a reference, or by an identifier with system and value.",
                    "Un acteur est désigné par une référence, ou par un identifiant avec système et valeur.",
                    "reference.exists() or (identifier.system.exists() and identifier.value.exists())",
                ),
                Rule(
                    "dmp-con-3",
                    "error",
                    "IDNPS and IDNST have at least two characters.",
                    "Un IDNPS ou un IDNST a au moins deux caractères.",
                    f"identifier.where(system = '{IDNPS}' or system = '{IDNST}').all(value.length() > 1)",
                ),
            ],
        ),
    ]


def _mask() -> list[E]:
    return [
        E("provision.class", en="Classes of documents", fr="Classes de documents", binding=("required", "dmp-document-class")),
        E("provision.code", en="Types of documents", fr="Types de documents", binding=("required", "dmp-document-type")),
        E("provision.dataPeriod", en="Period of the acts", fr="Période des actes"),
        E(
            "provision.data",
            en="One document, or an author",
            fr="Un document, ou un auteur",
            rules=[
                Rule(
                    "dmp-con-4",
                    "error",
                    "A mask names an instance or an author.",
                    "Un masque désigne un document ou un auteur.",
                    "meaning = 'instance' or meaning = 'authoredby'",
                )
            ],
        ),
        E(
            "provision",
            rules=[
                Rule(
                    "dmp-con-5",
                    "error",
                    "A mask by rule says what it masks: data, class, code or dataPeriod.",
                    "Un masque par règle dit ce qu'il masque : data, class, code ou dataPeriod.",
                    "data.exists() or class.exists() or code.exists() or dataPeriod.exists()",
                )
            ],
        ),
    ]


WILL = Profile(
    "dmp-consent-will",
    "Consent",
    "Will: organ donation, advance directives",
    "Volontés : don d'organes, directives anticipées",
    [
        E("scope", "1..1", "Advance directive", "Directive anticipée", pattern=concept(SCOPE, "adr"), ms=True),
        E("patient", "1..1", "Whose will it is", "De qui sont les volontés", ms=True),
        E("dateTime", "1..1", "When it was written", "Quand elles ont été écrites", ms=True),
        E("source[x]", en="The document that says it", fr="Le document qui les dit", ms=True),
    ],
)

PROFILES = (EVIDENCE, BASE, *(of_category(code, shape) for code, shape in SHAPES.items()), WILL)
