"""Profiles of traces, made from the codes the server writes; of seals and signatures; of notices.

https://profiles.ihe.net/ITI/BALP/ ; https://hl7.org/fhir/R4/provenance.html ; fhir_dmp/audit/kinds.py
"""

from fhir_dmp.audit.kinds import ACTS, KINDS, Coding, Kind
from scripts.profile_sources.making import E, Profile, Rule
from scripts.profile_sources.systems import (
    BALP_ENTITY,
    CUSTODIAN,
    DCM,
    ENTITY_TYPE,
    NOTICE,
    OBJECT_ROLE,
    PARTICIPATION,
    PROOF_LEVEL,
    ROLE_CLASS,
    SIGNATURE_TYPE,
    coding,
    concept,
)

NAMES = {
    "read": ("Trace of a read", "Trace d'une lecture"),
    "search": ("Trace of a search", "Trace d'une recherche"),
    "create": ("Trace of a creation", "Trace d'une création"),
    "update": ("Trace of a change", "Trace d'une modification"),
    "delete": ("Trace of a deletion", "Trace d'une suppression"),
    "refusal": ("Trace of a refusal", "Trace d'un refus"),
    "break-glass": ("Trace of a broken glass", "Trace d'un bris de glace"),
    "login": ("Trace of a login", "Trace d'une connexion"),
    "consent": ("Trace of an act about rights", "Trace d'un acte sur les droits"),
    "mask": ("Trace of a masking", "Trace d'un masquage"),
    "unmask": ("Trace of an unmasking", "Trace d'un démasquage"),
    "import": ("Trace of an import", "Trace d'un import"),
    "export": ("Trace of an export", "Trace d'un export"),
}
LABELS = ("label-before", "label-after")


def entity(name: str, card: str, type_code: dict, role: str, en: str, fr: str) -> list[E]:
    rows = [E(f"entity:{name}", card, en, fr, ms=True), E(f"entity:{name}.type", "1..1", pattern=type_code)]
    return rows + ([E(f"entity:{name}.role", "1..1", pattern=coding(OBJECT_ROLE, role))] if role else [])


BASE = Profile(
    "dmp-audit-event",
    "AuditEvent",
    "Trace of the DMP",
    "Trace du DMP",
    [
        E("type", "1..1", "Kind of event", "Nature de l'événement", ms=True),
        E("subtype", "1..*", "Interaction or act", "Interaction ou acte", ms=True),
        E("action", "1..1", "C, R, U, D or E", "C, R, U, D ou E", ms=True),
        E("recorded", "1..1", "Instant of the event", "Instant de l'événement", ms=True),
        E("outcome", "1..1", "Success or failure", "Succès ou échec", ms=True),
        E("outcomeDesc", en="Why it failed", fr="Raison de l'échec", ms=True),
        E(
            "agent",
            "2..*",
            "Software, server, person, structure",
            "Logiciel, serveur, personne, structure",
            slicing=("pattern", "type"),
            ms=True,
        ),
        E("agent.type", "1..1"),
        E("agent:user", "0..1", "Who asked", "Qui a demandé", ms=True),
        E("agent:user.type", pattern=concept(PARTICIPATION, "IRCP")),
        E(
            "agent:user.who",
            "1..1",
            "The person, by national identifier or reference",
            "La personne, par identifiant national ou référence",
        ),
        E("agent:user.requestor", fixed=True),
        E("agent:organization", "0..1", "For which structure", "Pour quelle structure", ms=True),
        E("agent:organization.type", pattern=concept(ROLE_CLASS, "PROV")),
        E("agent:organization.who", "1..1"),
        E("source.observer", en="The host that watched", fr="L'hébergeur qui a observé", ms=True),
        E("entity", en="What it was about", fr="Ce dont il s'agissait", slicing=("pattern", "type", "pattern", "role"), ms=True),
        *entity("patient", "0..1", coding(ENTITY_TYPE, "1"), "1", "Whose DMP", "DMP de qui"),
        *entity("data", "0..*", coding(ENTITY_TYPE, "2"), "4", "What was disclosed or written", "Ce qui a été montré ou écrit"),
        *entity("query", "0..1", coding(ENTITY_TYPE, "2"), "24", "The request", "La requête"),
        E("entity:query.query", "1..1"),
        *entity("consent", "0..*", coding("http://hl7.org/fhir/resource-types", "Consent"), "4", "Decided by", "Décidé par"),
        *entity("request", "0..1", coding(BALP_ENTITY, "XrequestId"), "", "X-Request-Id", "X-Request-Id"),
        E(
            "",
            rules=[
                Rule(
                    "dmp-aud-1",
                    "error",
                    "A failure says why.",
                    "Un échec dit pourquoi.",
                    "outcome.empty() or outcome = '0' or outcomeDesc.exists()",
                ),
                Rule(
                    "dmp-aud-2",
                    "error",
                    "An entity that is a resource of a dossier comes with its patient.",
                    "Une entité qui est une ressource d'un dossier est accompagnée de son patient.",
                    "entity.what.reference.where(startsWith('DocumentReference/')).empty()"
                    f" or entity.where(type.system = '{ENTITY_TYPE}' and type.code = '1').exists()",
                ),
            ],
        ),
    ],
    (
        "What happened, when, by whom, for what, about whose DMP. Written before the answer leaves; never changed.",
        "Ce qui s'est passé, quand, par qui, dans quel but, sur le DMP de qui. Écrit avant que la réponse parte ; jamais modifié.",
    ),
    abstract=True,
)


def of_kind(name: str, kind: Kind) -> Profile:
    en, fr = NAMES[name]
    rows = [
        E("type", pattern=_plain(kind.type)),
        E("subtype", slicing=("pattern", "$this")),
        E(f"subtype:{name}", "1..1", en, fr, pattern=_plain(_own(kind))) if name in ("mask", "unmask", "consent", "break-glass") else None,
        E("action", fixed=kind.action),
        E("agent:client", "1..1", "Software that asked", "Logiciel demandeur", ms=True),
        E("agent:client.type", pattern=concept(kind.client[0], kind.client[1])),
        E("agent:server", "1..1", "Server that answered", "Serveur qui a répondu", ms=True),
        E("agent:server.type", pattern=concept(kind.server[0], kind.server[1])),
    ]
    if name not in ("mask", "unmask", "consent", "break-glass", "read", "search", "update", "refusal"):
        rows[2] = E(f"subtype:{name}", "1..1", en, fr, pattern=_plain(kind.subtypes[0]))
    if name in ("read", "create", "update", "delete", "mask", "unmask"):
        rows.append(E("entity:data", "1..*"))
    if name == "search":
        rows.append(E("entity:query", "1..1"))
    if name == "refusal":
        rows.append(E("outcome", "1..1", rules=[_not_success()]))
    if name in ("mask", "unmask"):
        rows.append(E("entity:data", rules=[_labels()]))
    if name == "break-glass":
        rows += [E("agent:user", "1..1"), E("entity:patient", "1..1")]
    return Profile(f"dmp-audit-{name}", "dmp-audit-event", en, fr, [row for row in rows if row])


def _not_success() -> Rule:
    return Rule("dmp-aud-3", "error", "A refusal is no success.", "Un refus n'est pas un succès.", "$this != '0'")


def _labels() -> Rule:
    both = " and ".join(f"detail.exists(type = '{one}')" for one in LABELS)
    en, fr = "An act of masking tells the labels before and after.", "Un acte de masquage dit les étiquettes avant et après."
    return Rule("dmp-aud-4", "error", en, fr, both)


def _plain(one: Coding) -> dict:
    return coding(one[0], one[1])


def _own(kind: Kind) -> Coding:
    return next((one for one in kind.subtypes if one[0] == ACTS), kind.subtypes[0])


def _signed(code: str) -> list[E]:
    return [
        E("signature", "1..*", "Seal or signature", "Cachet ou signature", ms=True),
        E("signature.type", "1..1", "Purpose of the signature", "But de la signature", pattern=coding(SIGNATURE_TYPE, code)),
        E("signature.sigFormat", "1..1", "Format of the signature", "Format de la signature", ms=True),
        E("signature.data", "1..1", "The signature", "La signature", ms=True),
    ]


PROVENANCE = Profile(
    "dmp-provenance",
    "Provenance",
    "Proof about documents",
    "Preuve sur des documents",
    [
        E("target", "1..*", "What is proved, by version", "Ce qui est prouvé, par version", ms=True),
        E("recorded", "1..1", "When the proof was made", "Quand la preuve a été faite", ms=True),
        E("activity", "1..1", "Level of proof", "Niveau de preuve", ms=True, binding=("required", "dmp-proof-level")),
        E("agent", "1..*", "Who vouches", "Qui s'engage", ms=True),
        E("agent.type", en="As what", fr="À quel titre"),
        E("agent.who", "1..1", ms=True),
        E("signature.when", en="When it was signed", fr="Date de signature"),
        E("signature.who", en="Who signed", fr="Signataire"),
    ],
    abstract=True,
)
SEAL = Profile(
    "dmp-provenance-seal",
    "dmp-provenance",
    "Seal of the host on arrival",
    "Cachet de l'hébergeur à l'arrivée",
    [
        E("activity", pattern=concept(PROOF_LEVEL, "seal")),
        E("agent", slicing=("pattern", "type")),
        E("agent:host", "1..1", "The host", "L'hébergeur"),
        E("agent:host.type", pattern=concept(CUSTODIAN, "custodian")),
        *_signed("1.2.840.10065.1.12.1.14"),
    ],
    (
        "Level 1: what arrived is what is kept. The signature covers the octets received.",
        "Niveau 1 : ce qui est arrivé est ce qui est conservé. La signature porte sur les octets reçus.",
    ),
)
MESSAGE = Profile(
    "dmp-provenance-message",
    "dmp-provenance",
    "Seal of the message",
    "Cachet du message",
    [
        E("activity", pattern=concept(PROOF_LEVEL, "message")),
        E("agent", slicing=("pattern", "type")),
        E("agent:sender", "1..1", "Who sent the message", "Émetteur du message"),
        E("agent:sender.type", pattern=concept(DCM, "110153")),
        *_signed("1.2.840.10065.1.12.1.7"),
    ],
    (
        "Level 2: the deposit arrived as it was sent. "
        "Its signature was checked and is kept, unless it was that of a Bundle, which tells of all that it brought.",
        "Niveau 2 : le dépôt est arrivé tel qu'envoyé. "
        "Sa signature a été vérifiée et est conservée, sauf celle d'un Bundle, qui dit tout ce qu'il a apporté.",
    ),
)
AUTHOR = Profile(
    "dmp-provenance-author",
    "dmp-provenance",
    "Signature of the author",
    "Signature de l'auteur",
    [
        E("activity", pattern=concept(PROOF_LEVEL, "author")),
        E("agent", slicing=("pattern", "type")),
        E("agent:author", "1..*", "The author", "L'auteur"),
        E("agent:author.type", pattern=concept(CUSTODIAN, "author")),
        *_signed("1.2.840.10065.1.12.1.1"),
    ],
    ("Level 3: the author signed the document himself.", "Niveau 3 : l'auteur a signé le document lui-même."),
)

COMMUNICATION = Profile(
    "dmp-notice",
    "Communication",
    "Notice to the holder or the médecin traitant",
    "Avis au titulaire ou au médecin traitant",
    [
        E("status", "1..1", en="Completed when it left", fr="Terminé quand il est parti", ms=True),
        E("category", "1..1", "What the notice is about", "Objet de l'avis", ms=True, binding=("required", "dmp-notice")),
        E("subject", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True, targets=("Patient",)),
        E("recipient", "1..*", "Who is told", "Qui est prévenu", ms=True),
        E("recipient", targets=("Patient", "RelatedPerson", "Practitioner", "PractitionerRole")),
        E("sent", "1..1", "When it was sent", "Date d'envoi", ms=True),
        E("payload", "1..*", "What is said, in plain words", "Ce qui est dit, en clair", ms=True),
        E("payload.content[x]", types=("string",)),
        E(
            "",
            rules=[
                Rule(
                    "dmp-not-1",
                    "error",
                    "The notice at two weeks says nothing of the document.",
                    "L'avis à deux semaines ne dit rien du document.",
                    f"category.coding.where(system = '{NOTICE}' and code = 'announcement').empty() or about.empty()",
                )
            ],
        ),
    ],
)

PROFILES = (BASE, *(of_kind(name, KINDS[name]) for name in NAMES), PROVENANCE, SEAL, MESSAGE, AUTHOR, COMMUNICATION)
