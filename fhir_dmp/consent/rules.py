"""The rules of reading, by name, in the order in which they speak; the first that speaks wins, nothing said means REFUSE.

Code de la santé publique L1111-14 to L1111-19, R1111-40 to R1111-53; https://profiles.ihe.net/ITI/PCF/

A rule is a name, an effect and a predicate over documents that depends on the asker's standing. Rules that REFUSE when reading speak of
request and dossier alone: their predicate is ALWAYS or NEVER. Rules that HIDE and PERMIT may ask about the document.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from fhir_dmp.consent.asking import SEARCH
from fhir_dmp.consent.dossier import MaskRule
from fhir_dmp.consent.predicate import (
    ALWAYS,
    NEVER,
    SECRET_SESSION,
    All,
    AnyOf,
    AuthoredBy,
    DatedWithin,
    DepositedBy,
    Labelled,
    LineageIn,
    Not,
    Predicate,
    ReleasedBy,
    StatusIn,
    TypeIn,
    lately,
    when,
)
from fhir_dmp.consent.standing import BTG, ETREAT, Standing
from fhir_dmp.dmp import identity, spaces
from fhir_dmp.dmp.documents import WITHDRAWN
from fhir_dmp.dmp.habilitation import READ, TypeSet
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, INVISIBLE_RL, MASKED

PERMIT, HIDE, REFUSE = "permit", "hide", "refuse"

STAFF = ("support", "operator", "system")
MACHINES = ("structure", "host", "feed")
HOLDERS_SIDE = ("patient", "representative")
# By its label, or as what a minor's secret session made or joined to something that they see.
KEPT_FROM_REPRESENTATIVES = AnyOf((Labelled(INVISIBLE_RL), Labelled(SECRET_SESSION)))


class Rule(NamedTuple):
    """effect: PERMIT, HIDE or REFUSE. speaks: standing -> the documents about which it speaks."""

    name: str
    effect: str
    speaks: Callable[[Standing], Predicate]


# What an act is done on: the dossier, a stored document (first he must see it), a new one (the facts are its own), a companion row.
DOSSIER, DOCUMENT, DEPOSIT, COMPANION = "dossier", "document", "deposit", "companion"


class Act(NamedTuple):
    """on: DOSSIER, DOCUMENT, DEPOSIT or COMPANION."""

    on: str
    rules: tuple[Rule, ...]


def permit(name: str, holds: Callable[[Standing], bool]) -> Rule:
    """A permission that depends on the standing alone."""
    return Rule(name, PERMIT, lambda s: when(holds(s)))


def refuse(name: str, holds: Callable[[Standing], bool]) -> Rule:
    """A refusal that depends on the standing alone."""
    return Rule(name, REFUSE, lambda s: when(holds(s)))


# ---- predicates


def own(s: Standing) -> Predicate:
    """What he authored himself."""
    return AuthoredBy(s.person) if s.professional and s.person else NEVER


@lru_cache(maxsize=1024)
def outside(allowed: TypeSet) -> Predicate:
    """Documents of no allowed type."""
    if allowed.others:
        return TypeIn(frozenset(spaces.types()) - allowed.named)
    return Not(TypeIn(allowed.named))


def unmasked_for(s: Standing) -> Predicate:
    """Documents on which a mask does not bind him: all, his own, or those of his establishment."""
    if not s.professional or s.traitant or s.assimilated or (s.emergency and s.dossier.masked_in_emergency):
        return ALWAYS
    return AnyOf((own(s), DepositedBy(s.request.organization) if s.in_charge else NEVER))


def meets(rule: MaskRule) -> Predicate:
    """What a mask by rule covers."""
    parts: list[Predicate] = []
    if rule.roots is not None or rule.authors is not None:
        authors = rule.authors or frozenset()
        people = frozenset(name for name in authors if name.startswith("ps:"))
        structures = tuple(DepositedBy(name) for name in sorted(authors - people))
        parts.append(AnyOf((LineageIn(rule.roots or frozenset()), AuthoredBy(people), *structures)))
    if rule.types is not None:
        parts.append(TypeIn(rule.types))
    if rule.dated is not None:
        parts.append(DatedWithin(*rule.dated))
    return All(tuple(parts))


def masked_by_rule(s: Standing) -> Predicate:
    """What the holder's masks by rule cover now."""
    return AnyOf(tuple(meets(rule) for rule in s.dossier.masks if rule.hides(s.now_ms)))


def waiting(s: Standing) -> Predicate:
    """INVISIBLE_PATIENT while it lasts: neither announced (then the label is gone) nor a month old."""
    return All((Labelled(INVISIBLE_PATIENT), Not(ReleasedBy(s.now_ms))))


def waiting_for(s: Standing, his: Predicate) -> Predicate:
    """What waits to be announced to somebody of the holder's side, also when he asks as a professional, but for what is his own then."""
    return waiting(s) if s.request.kind in HOLDERS_SIDE else but_for_relatives(s, waiting(s), his) if s.relative else NEVER


def but_for_relatives(s: Standing, hidden: Predicate, his: Predicate) -> Predicate:
    """What is hidden from a representative, also when he asks as a professional, but for what is his own then."""
    if s.relative:
        return All((hidden, Not(his)))
    return hidden if s.request.kind == "representative" else NEVER


# ---- rules about the asker and the dossier


def staff(s: Standing) -> Predicate:
    return when(s.request.kind in STAFF and not s.host_physician)


def never_served(s: Standing) -> Predicate:
    return when(s.professional and s.request.sector in s.law.never_served_sectors)


def unnamed(s: Standing) -> Predicate:
    # Whoever cannot be named cannot be blocked.
    return when(s.professional and not s.request.person)


def unplaced(s: Standing) -> Predicate:
    # A block of his structure would not meet him.
    return when(s.request.unplaced)


def not_care(s: Standing) -> Predicate:
    return when(s.professional and bool(s.request.purposes) and not s.request.purposes & s.law.care_purposes)


def deceased(s: Standing) -> Predicate:
    return when(s.deceased and not s.host_physician)


def closed(s: Standing) -> Predicate:
    # Of a dossier that was joined to another one there is no copy to keep: what is hidden in that one is not written back. Nor, for who
    # acts for a holder, of one that another host has: what is hidden from him there since is not hidden here.
    elsewhere = s.dossier.joined or (bool(s.dossier.given) and s.request.kind == "representative")
    copied = s.request.copying and s.request.kind in HOLDERS_SIDE and not elsewhere
    return when(s.closed and not s.host_physician and not copied)


def rights_lost(s: Standing) -> Predicate:
    return when(s.rights_lost and s.request.kind not in HOLDERS_SIDE and not s.host_physician)


def regulation_opposed(s: Standing) -> Predicate:
    # While the glass is broken his requests are no regulation, whatever the token says: the two oppositions are independent.
    return when(s.professional and ETREAT in s.request.purposes and not s.grant and not s.dossier.regulation)


def break_glass_opposed(s: Standing) -> Predicate:
    return when(s.professional and (BTG in s.request.purposes or s.grant) and not s.dossier.break_glass)


def blocked(s: Standing) -> Predicate:
    return when(s.professional and s.blocked)


def deposit_only(s: Standing) -> Predicate:
    return when(s.request.kind in MACHINES)


def mandataire(s: Standing) -> Predicate:
    return when(s.request.kind == "mandataire")


def not_the_holder(s: Standing) -> Predicate:
    return when(s.request.kind == "patient" and not s.holder)


def beside_blocked(s: Standing) -> Predicate:
    return when(s.request.kind == "patient" and s.minor and s.beside_blocked)


def minor_alone(s: Standing) -> Predicate:
    return when(s.request.kind == "patient" and s.minor and not s.minor_accompanied)


def no_title(s: Standing) -> Predicate:
    return when(s.request.kind == "representative" and not s.representative)


def unrelated(s: Standing) -> Predicate:
    return when(s.professional and not (s.related or s.request.authored_here))


# ---- rules about the document


def withdrawn(s: Standing) -> Predicate:
    gone = StatusIn(frozenset({WITHDRAWN}))
    if s.request.action == SEARCH:
        return gone
    return NEVER if s.holder else All((gone, Not(own(s))))


def only_own(s: Standing) -> Predicate:
    return Not(own(s)) if s.professional and not s.related else NEVER


def habilitation(s: Standing) -> Predicate:
    return outside(s.law.matrix.allowed(s.request.professions, s.request.traits, READ)) if s.professional else NEVER


def reimbursement(s: Standing) -> Predicate:
    hidden = s.professional and not s.dossier.permitted("reimbursement", s.now_ms)
    return TypeIn(frozenset({spaces.REIMBURSEMENT})) if hidden else NEVER


def reimbursement_past(s: Standing) -> Predicate:
    old = Not(lately(s.now_ms, s.law.reimbursement_months))
    return All((TypeIn(frozenset({spaces.REIMBURSEMENT})), old)) if s.professional else NEVER


def personal_occupational(s: Standing) -> Predicate:
    return TypeIn(spaces.personal_space()) if s.occupational else NEVER


def personal_emergency(s: Standing) -> Predicate:
    bound = s.professional and s.emergency and not (s.traitant or s.assimilated)
    return TypeIn(spaces.personal_space() - spaces.EMERGENCY_PERSONAL) if bound else NEVER


def masked(s: Standing) -> Predicate:
    return All((Labelled(MASKED), Not(unmasked_for(s))))


def masked_rule(s: Standing) -> Predicate:
    return All((masked_by_rule(s), Not(unmasked_for(s)))) if s.professional and s.dossier.masks else NEVER


def hidden_from_patient(s: Standing) -> Predicate:
    return waiting_for(s, own(s))


def hidden_from_representatives(s: Standing) -> Predicate:
    return but_for_relatives(s, KEPT_FROM_REPRESENTATIVES, own(s))


# Who may not ask at all: sections 1 to 5 of the order.
ADMISSION = (
    Rule("staff-without-ticket", REFUSE, staff),
    Rule("insurer-or-employer", REFUSE, never_served),
    Rule("professional-not-identified", REFUSE, unnamed),
    Rule("structure-not-identified", REFUSE, unplaced),
    Rule("purpose-is-not-care", REFUSE, not_care),
    Rule("holder-deceased", REFUSE, deceased),
    Rule("dossier-closed", REFUSE, closed),
    Rule("rights-lost", REFUSE, rights_lost),
    Rule("regulation-opposed", REFUSE, regulation_opposed),
    Rule("break-glass-opposed", REFUSE, break_glass_opposed),
    Rule("blocked", REFUSE, blocked),
    Rule("deposit-only", REFUSE, deposit_only),
    Rule("mandataire-reads-nothing", REFUSE, mandataire),
    Rule("not-the-holder", REFUSE, not_the_holder),
    Rule("professional-beside-is-blocked", REFUSE, beside_blocked),
    Rule("minor-alone", REFUSE, minor_alone),
    Rule("no-valid-title", REFUSE, no_title),
    Rule("unrelated", REFUSE, unrelated),
)

# What of a dossier stays hidden: sections 6 and 7.
CURTAINS = (
    Rule("withdrawn", HIDE, withdrawn),
    Rule("only-own-documents", HIDE, only_own),
    Rule("habilitation", HIDE, habilitation),
    Rule("reimbursement-not-shown", HIDE, reimbursement),
    Rule("reimbursement-past", HIDE, reimbursement_past),
    Rule("personal-space-and-occupational-medicine", HIDE, personal_occupational),
    Rule("personal-space-in-emergency", HIDE, personal_emergency),
    Rule("masked", HIDE, masked),
    Rule("masked-by-rule", HIDE, masked_rule),
    Rule("hidden-from-patient", HIDE, hidden_from_patient),
    Rule("hidden-from-representatives", HIDE, hidden_from_representatives),
)

# Why he may read: section 8.
PERMITS = (
    Rule("author", PERMIT, own),
    Rule("medecin-traitant", PERMIT, lambda s: when(s.traitant)),
    Rule("assimilated", PERMIT, lambda s: when(s.assimilated)),
    Rule("care-team", PERMIT, lambda s: when(s.care_team)),
    Rule("consent", PERMIT, lambda s: when(s.consented)),
    Rule("regulation", PERMIT, lambda s: when(s.emergency and s.mode == ETREAT)),
    Rule("break-glass", PERMIT, lambda s: when(s.emergency and s.mode == BTG)),
    Rule("holder", PERMIT, lambda s: when(s.holder and not s.minor)),
    Rule("minor-with-professional", PERMIT, lambda s: when(s.minor_accompanied)),
    Rule("representative", PERMIT, lambda s: when(s.representative)),
    Rule("host-physician", PERMIT, lambda s: when(s.host_physician)),
)

READING = ADMISSION + CURTAINS + PERMITS


# ---- what is shown of what may be read


def labels_shown(s: Standing) -> dict[str, Predicate]:
    """For each visibility label, the documents on which this asker may know of it; N, R and V are everybody's.

    A mask is known to the holder's side and to those with the médecin traitant's rights, not to its author nor to the host's physician:
    to see a restriction is to know that there is one.
    """
    masks = s.request.kind in HOLDERS_SIDE or s.traitant or s.assimilated
    return {
        MASKED: when(masks),
        INVISIBLE_PATIENT: waiting(s) if s.professional or s.host_physician else NEVER,
        # Whom it hides from does not know of it, be he the author: as with a mask.
        INVISIBLE_RL: when(not (s.request.kind == "representative" or s.relative)),
    }


def warnings(s: Standing) -> dict[str, Predicate]:
    """For each visibility label, the documents whose reading comes with a warning on screen."""
    if not s.professional:
        return {}
    return {
        MASKED: when(s.traitant or s.assimilated),
        INVISIBLE_PATIENT: waiting(s),
        INVISIBLE_RL: when(not s.relative),
    }


def author_of_holder() -> Predicate:
    """What the holder's side wrote."""
    return AuthoredBy(frozenset({identity.HOLDER}))
