"""Notices to the holder and the médecin traitant: what each says, and to whom, as Communication resources.

Code de la santé publique L1111-17, R1111-48 (the holder is told of emergency access); https://hl7.org/fhir/R4/communication.html
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.lifecycle import is_minor
from fhir_dmp.dmp.paris import PARIS
from fhir_dmp.fhir.instants import to_instant

CODES = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-notice"
EMERGENCY, AUTHORISATION, MANDATE, ANNOUNCEMENT = "emergency-access", "authorisation", "mandate-act", "announcement"
REGULATION = "regulation"
MERGE, UNMERGE = "dossiers-joined", "dossiers-parted"
HOLDER, TRAITANT = "notify-holder", "notify-medecin-traitant"
# What a notice says.
TEXTS = {
    EMERGENCY: "Accès en urgence au DMP (bris de glace) le {when} par {who}. Motif indiqué : {why}",
    AUTHORISATION: "{who} s'est autorisé à accéder au DMP le {when}, en attestant de l'accord du titulaire.",
    MANDATE: "Le mandataire a modifié les droits d'accès au DMP le {when}.",
    MERGE: "Un second DMP ouvert à votre nom a été réuni à celui-ci le {when}. Les restrictions de chacun ont été conservées ; les accès "
    "accordés dans le second ne l'ont pas été : accordez-les de nouveau si vous le souhaitez.",
    UNMERGE: "Le DMP qui avait été réuni à un autre en a été séparé le {when}. Chacun contient de nouveau ce qui lui appartient.",
    # Decided: it carries no fact of the document, not even a date.
    ANNOUNCEMENT: "Un document du DMP attend une consultation d'annonce. Parlez-en à un professionnel de santé.",
}
# Told under a code of another.
WORDS = {REGULATION: "Accès au DMP par la régulation médicale (SAMU) le {when} par {who}."}
MAIL_SUBJECT = "Votre DMP : un nouvel avis"
MAIL_TEXT = "Un nouvel avis vous attend dans votre DMP. Connectez-vous pour le lire : {address}\n"


def text(code: str, *, at_ms: int, who: str = "", why: str = "") -> str:
    """What a notice says. at_ms: of the act. who: of a professional, "ps:IDNPS". why: his justification."""
    when = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(PARIS).strftime("%d/%m/%Y à %H:%M")
    named = f"le professionnel {who.removeprefix('ps:')}" if who else "un professionnel"
    said = (TEXTS.get(code) or WORDS[code]).format(when=when, who=named, why=why.strip())
    return said[0].upper() + said[1:]


def holders_side(policy: Dossier, now_ms: int) -> list[dict[str, str]]:
    """The holder, and whoever acts for him now, as References."""
    try:
        minor = is_minor(policy.birth_date, now_ms)
    except ValueError:
        minor = False
    acting = [one.related_person for one in policy.titles if one.acts(now_ms, minor=minor)]
    return [{"reference": f"Patient/{policy.patient}"}, *({"reference": f"RelatedPerson/{id}"} for id in dict.fromkeys(acting))]


def medecin_traitant(policy: Dossier) -> list[dict[str, Any]]:
    """The declared médecin traitant, as References by identifier."""
    names = sorted(name.removeprefix("ps:") for name in policy.traitant)
    return [{"type": "Practitioner", "identifier": {"system": identity.IDNPS, "value": name}} for name in names]


def notice(code: str, *, patient: str, recipients: Iterable[Mapping[str, Any]], said: str, at_ms: int) -> dict[str, Any]:
    """A Communication. patient: logical id. recipients: References."""
    return {
        "resourceType": "Communication",
        "status": "completed",
        "category": [{"coding": [{"system": CODES, "code": code}]}],
        "subject": {"reference": f"Patient/{patient}"},
        "sent": to_instant(at_ms),
        "recipient": [dict(one) for one in recipients],
        "payload": [{"contentString": said}],
    }


def is_notice(communication: Mapping[str, Any]) -> bool:
    """Whether a Communication is one of ours."""
    return code_of(communication) is not None


def code_of(communication: Mapping[str, Any]) -> str | None:
    """What a Communication of ours is about; None of any other."""
    codings = (coding for concept in communication.get("category") or () for coding in concept.get("coding") or ())
    return next((coding.get("code") or "" for coding in codings if coding.get("system") == CODES), None)


def addressed(communication: Mapping[str, Any]) -> frozenset[str]:
    """Whom a notice is addressed to: identity.HOLDER for the holder's side, "ps:IDNPS" for professionals."""
    found: set[str] = set()
    for one in communication.get("recipient") or ():
        found |= identity.known_as([one["identifier"]]) if one.get("identifier") else frozenset()
        if (one.get("reference") or "").rpartition("/")[0] in ("Patient", "RelatedPerson"):
            found.add(identity.HOLDER)
    return frozenset(found)
