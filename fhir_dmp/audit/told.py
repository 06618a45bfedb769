"""What a trace says, for people: who, in what role, for which establishment, when, what; in French and in English.

CSP R1111-43; Regulation (EU) 2025/327 art. 9; https://hl7.org/fhir/R4/auditevent.html
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_dmp.audit.event import ACTOR_KINDS, JTI
from fhir_dmp.audit.kinds import KINDS
from fhir_dmp.dmp.habilitation import PROFILES, profession
from fhir_dmp.dmp.identity import known_as
from fhir_dmp.fhir.references import parse_reference


class Text(NamedTuple):
    """The same in two languages."""

    fr: str
    en: str


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the journal.

    id: of the AuditEvent. when: FHIR instant. person, organisation: names in the rules ("ps:IDNPS", "org:IDNST"), "" for none.
    documents: references. failed: it was refused or did not succeed.
    """

    id: str
    when: str
    who: Text
    role: Text
    establishment: str
    what: Text
    person: str = ""
    organisation: str = ""
    documents: tuple[str, ...] = ()
    failed: bool = False


NOBODY = Text("inconnu", "unknown")
# What each kind of trace is called; of several kinds with the same codes the first one.
ACTS: dict[str, Text] = {
    "read": Text("Lecture", "Read"),
    "vread": Text("Lecture d'une version", "Version read"),
    "history": Text("Consultation de l'historique", "History viewed"),
    "history-instance": Text("Consultation de l'historique", "History viewed"),
    "history-type": Text("Consultation de l'historique", "History viewed"),
    "history-system": Text("Consultation de l'historique", "History viewed"),
    "search": Text("Recherche", "Search"),
    "search-type": Text("Recherche", "Search"),
    "search-system": Text("Recherche", "Search"),
    "create": Text("Ajout", "Added"),
    "update": Text("Modification", "Changed"),
    "patch": Text("Modification", "Changed"),
    "delete": Text("Suppression", "Deleted"),
    "operation": Text("Opération", "Operation"),
    "batch": Text("Lot de requêtes", "Batch of requests"),
    # What a transaction writes is told as what each part did; its own trace tells what it read.
    "transaction": Text("Lot de requêtes", "Batch of requests"),
    "capabilities": Text("Capacités du serveur", "Capabilities of the server"),
    "AuthZ-Consent": Text("Accès refusé", "Access refused"),
    "110127": Text("Bris de glace", "Break-glass"),
    "110122": Text("Connexion", "Login"),
    "110123": Text("Déconnexion", "Logout"),
    "consent": Text("Gestion des droits d'accès", "Access rights changed"),
    "mask": Text("Masquage", "Masked"),
    "unmask": Text("Démasquage", "Unmasked"),
    "receive": Text("Import", "Import"),
    "disclose": Text("Export", "Export"),
    "key": Text("Acte sur une clé", "Act about a key"),
    "backup": Text("Sauvegarde", "Backup"),
    "restore": Text("Restauration", "Restore"),
    "erasure": Text("Destruction du dossier", "Dossier destroyed"),
}
OPERATIONS: dict[str, Text] = {
    "$access-journal": Text("Consultation du journal des accès", "Access journal viewed"),
    "$access-list": Text("Consultation de la liste des professionnels autorisés", "List of authorised professionals viewed"),
    "$access-sheet": Text("Remise de la feuille de codes d'accès", "Sheet of login codes issued"),
    "$break-glass": Text("Bris de glace", "Break-glass"),
    "$close": Text("Clôture du dossier", "Dossier closed"),
    "$everything": Text("Consultation de tout le dossier", "Whole record viewed"),
    "$explain-access": Text("Demande d'explication d'un droit d'accès", "Access right explained"),
    "$export-dossier": Text("Export du dossier", "Dossier exported"),
    "$merge": Text("Rapprochement de deux dossiers", "Two dossiers merged"),
    "$open": Text("Ouverture du dossier", "Dossier opened"),
    "$reactivate": Text("Réactivation du dossier", "Dossier reactivated"),
    "$summary": Text("Consultation de la synthèse", "Summary viewed"),
    "$unmerge": Text("Séparation de deux dossiers", "Two dossiers separated"),
}
KIND_OF_PERSON: dict[str, Text] = {
    "professional": Text("Professionnel", "Professional"),
    "patient": Text("Titulaire", "Holder"),
    "representative": Text("Représentant", "Representative"),
    "mandataire": Text("Mandataire", "Mandataire"),
    "structure": Text("Établissement", "Establishment"),
    "host": Text("Autre hébergeur", "Another host"),
    "feed": Text("Assurance Maladie", "Health insurance"),
    "system": Text("Système", "System"),
    "support": Text("Support", "Support"),
    "operator": Text("Hébergeur", "Host"),
}
# Where nobody gave a name: the holder of the journal is not told his own.
UNNAMED: dict[str, Text] = {
    "patient": Text("le titulaire", "the holder"),
    "representative": Text("un représentant", "a representative"),
    "mandataire": Text("un mandataire", "a mandataire"),
}
PURPOSES: dict[str, Text] = {
    "ETREAT": Text("en urgence", "in an emergency"),
    "BTG": Text("bris de glace", "break-glass"),
}
THINGS: dict[str, tuple[Text, Text]] = {
    "DocumentReference": (Text("document", "document"), Text("documents", "documents")),
    "Binary": (Text("contenu de document", "document content"), Text("contenus de documents", "document contents")),
    "Patient": (Text("identité du titulaire", "identity of the holder"), Text("identités", "identities")),
    "Consent": (Text("droit d'accès", "access right"), Text("droits d'accès", "access rights")),
    "AuditEvent": (Text("trace", "trace"), Text("traces", "traces")),
    "List": (Text("liste de documents", "list of documents"), Text("listes de documents", "lists of documents")),
    "Composition": (Text("document structuré", "structured document"), Text("documents structurés", "structured documents")),
    "RelatedPerson": (Text("personne proche", "related person"), Text("personnes proches", "related persons")),
    "CareTeam": (Text("équipe de soins", "care team"), Text("équipes de soins", "care teams")),
}
ENGLISH = {
    "G15|10": "Physician", "G15|21": "Pharmacist", "G15|26": "Hearing aid specialist", "G15|28": "Optician", "G15|31": "Dental assistant",
    "G15|35": "Nursing assistant", "G15|36": "Ambulance attendant", "G15|40": "Dentist", "G15|50": "Midwife", "G15|60": "Nurse",
    "G15|69": "Psychiatric nurse", "G15|70": "Physiotherapist", "G15|80": "Podiatrist", "G15|86": "Medical laboratory technician",
    "G15|91": "Speech therapist", "G15|92": "Orthoptist", "G15|94": "Occupational therapist", "G15|95": "Dietitian",
    "G15|96": "Psychomotor therapist", "G15|98": "Radiographer", "G16|10": "Physician in training", "G16|21": "Pharmacist in training",
    "G16|40": "Dentist in training", "G16|50": "Midwife in training", "R95|71": "Osteopath", "R95|72": "Psychotherapist",
    "R95|73": "Chiropractor", "R95|93": "Psychologist", "R95|97": "Genetic counsellor", "R94|41": "Social worker",
    "A00|SECRETARIAT_MEDICAL": "Medical secretary",
}  # fmt: skip


def told(event: Mapping[str, Any], names: Mapping[str, str]) -> Told:
    """One line. event: an AuditEvent, of this host or another. names: of people and structures, by "ps:IDNPS", "org:IDNST" or reference."""
    user = user_of(event)
    people = [agent for agent in event.get("agent") or () if agent is not user]
    kind = kind_of(user)
    person = next(iter(_known(user)), "")
    organisation = next((name for agent in people for name in _known(agent) if name.startswith("org:")), "")
    failed = event.get("outcome", "0") != "0"
    what = _what(event, user, failed)
    return Told(
        id=event.get("id", ""),
        when=event.get("recorded", ""),
        who=_who(user, kind, person, names),
        role=_role(user, kind),
        establishment=names.get(organisation, organisation.removeprefix("org:")),
        what=what,
        person=person,
        organisation=organisation,
        documents=tuple(one for one in disclosed(event) if one.startswith("DocumentReference/")),
        failed=failed,
    )


def named_in(event: Mapping[str, Any]) -> set[str]:
    """Whom an event names: "ps:IDNPS", "org:IDNST", and references to RelatedPersons."""
    found: set[str] = set()
    for agent in event.get("agent") or ():
        found.update(_known(agent))
        reference = (agent.get("who") or {}).get("reference", "")
        if reference.startswith("RelatedPerson/"):
            found.add(reference)
    return found


def user_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The agent who asked, {} when none did."""
    agents = event.get("agent") or ()
    asking = [agent for agent in agents if agent.get("requestor") is True]
    return next((agent for agent in asking if agent.get("role")), asking[0] if asking else {})


def kind_of(agent: Mapping[str, Any]) -> str:
    """Kind of the bearer, as this host's traces say; "" in those of another host."""
    return next((coding["code"] for coding in _roles(agent) if coding.get("system") == ACTOR_KINDS and coding.get("code")), "")


def session_of(agent: Mapping[str, Any]) -> str:
    """The token an agent acted by, "" when it is not said."""
    return next((policy for policy in agent.get("policy") or () if policy.startswith(JTI)), "")


def disclosed(event: Mapping[str, Any]) -> list[str]:
    """ "Type/id" of what was shown or written, without the patient it is about and the rights it was decided by."""
    found = []
    for entity in event.get("entity") or ():
        said = parse_reference((entity.get("what") or {}).get("reference", ""), ())
        role = (entity.get("role") or {}).get("code")
        if said.kind == "local" and role == "4" and (entity.get("type") or {}).get("code") != "Consent":
            found.append(f"{said.type}/{said.id}")
    return found


def query_of(event: Mapping[str, Any]) -> str:
    """The request as sent, "" when it is not told."""
    for entity in event.get("entity") or ():
        if "query" in entity:
            try:
                return base64.b64decode(entity["query"]).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                return ""
    return ""


def act_of(event: Mapping[str, Any]) -> str:
    """Code of what happened, a key of ACTS where it is one of this host's."""
    codes = [one.get("code", "") for one in event.get("subtype") or ()]
    # An act about rights says more than the interaction that carries it.
    return next((code for code in reversed(codes) if code in ACTS and (code != "AuthZ-Consent" or len(codes) == 1)), "")


def is_act(event: Mapping[str, Any], *kinds: str) -> bool:
    """Whether an event has the subtypes of one of these kinds of KINDS."""
    said = [one.get("code") for one in event.get("subtype") or ()]
    return any(said == [code for _, code, _ in KINDS[kind].subtypes] for kind in kinds)


def things(references: Iterable[str]) -> Text:
    """What was shown, counted by type.

    >>> things(["DocumentReference/a", "DocumentReference/b", "Observation/c"])
    Text(fr='2 documents, 1 Observation', en='2 documents, 1 Observation')
    """
    counted = Counter(reference.partition("/")[0] for reference in references)
    said: list[Text] = []
    for type_name, number in counted.items():
        one, several = THINGS.get(type_name, (Text(type_name, type_name), Text(type_name, type_name)))
        word = one if number == 1 else several
        said.append(Text(f"{number} {word.fr}", f"{number} {word.en}"))
    return Text(", ".join(one.fr for one in said), ", ".join(one.en for one in said))


def _what(event: Mapping[str, Any], user: Mapping[str, Any], failed: bool) -> Text:
    query = query_of(event)
    operation = next((part for part in query.partition("?")[0].split("/") if part in OPERATIONS), "")
    act = act_of(event)
    said = OPERATIONS[operation] if operation and act in ("operation", "") else ACTS.get(act) or _foreign(event)
    shown = things(disclosed(event))
    if shown.fr:
        said = Text(f"{said.fr} : {shown.fr}", f"{said.en}: {shown.en}")
    codes = {c.get("code") for concept in user.get("purposeOfUse") or () for c in concept.get("coding") or ()}
    for purpose in (PURPOSES[code] for code in PURPOSES if code in codes):
        said = Text(f"{said.fr} ({purpose.fr})", f"{said.en} ({purpose.en})")
    if failed and act != "AuthZ-Consent":
        said = Text(f"{said.fr}, sans succès", f"{said.en}, without success")
    return said


def _foreign(event: Mapping[str, Any]) -> Text:
    """In the words of another host."""
    listed = [*(event.get("subtype") or ()), event.get("type") or {}]
    said = next((one.get("display") or one.get("code") for one in listed if one.get("display") or one.get("code")), "")
    return Text(said, said) if said else NOBODY


def _who(user: Mapping[str, Any], kind: str, person: str, names: Mapping[str, str]) -> Text:
    who = user.get("who") or {}
    name = names.get(person) or names.get(who.get("reference", "")) or user.get("name") or who.get("display")
    if name and name != NOBODY.en:
        return Text(name, name)
    if person:
        number = person.partition(":")[2]
        return Text(number, number)
    if kind in UNNAMED:
        return UNNAMED[kind]
    value = (who.get("identifier") or {}).get("value")
    return KIND_OF_PERSON.get(kind) or (Text(value, value) if value else NOBODY)


def _role(user: Mapping[str, Any], kind: str) -> Text:
    for coding in _roles(user):
        system, code = coding.get("system", ""), coding.get("code", "")
        if system == ACTOR_KINDS or not code:
            continue
        known = profession(f"{code}^{system.removeprefix('urn:oid:')}" if system.startswith("urn:oid:") else code)
        if known in professions():
            return Text(professions()[known], ENGLISH.get(known, professions()[known]))
    return KIND_OF_PERSON.get(kind, Text("", ""))


def _roles(agent: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [coding for concept in agent.get("role") or () for coding in concept.get("coding") or ()]


def _known(agent: Mapping[str, Any]) -> list[str]:
    identifier = (agent.get("who") or {}).get("identifier")
    return sorted(known_as([identifier])) if identifier else []


@lru_cache(maxsize=1)
def professions() -> dict[str, str]:
    """French display of every profession by "system|code", e.g. "G15|10"."""
    table = json.loads((PROFILES / "professions.json").read_bytes())
    return {f"{one['system']}|{one['code']}": one["display"] for one in table["professions"]}
