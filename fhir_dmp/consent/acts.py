"""The rules of doing: opening, managing rights, depositing, masking, withdrawing, each act with its own named rules.

Code de la santé publique L1111-14 to L1111-19, R1111-46 to R1111-53; https://interop.esante.gouv.fr/ig/fhir/pdsm/st_maj.html
"""

from fhir_dmp.consent import companions, rules
from fhir_dmp.consent.predicate import ALWAYS, All, DepositedBy, Labelled, Not, Predicate, StatusIn, TypeIn, when
from fhir_dmp.consent.rules import DEPOSIT, DOCUMENT, DOSSIER, MACHINES, PERMIT, REFUSE, Act, Rule, own, permit, refuse
from fhir_dmp.consent.standing import Standing, perhaps_minor
from fhir_dmp.dmp import spaces
from fhir_dmp.dmp.documents import WITHDRAWN
from fhir_dmp.dmp.habilitation import FEED, PATIENT, WRITE
from fhir_dmp.dmp.lifecycle import GESTIONNAIRE_REASONS, step
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, INVISIBLE_RL

# ---- conditions used by several acts


def serves_himself(s: Standing) -> bool:
    """A mandataire acting for himself or his employer."""
    return s.mandataire and s.title is not None and bool(s.title.who & s.request.about)


def host_staff(s: Standing) -> bool:
    return s.request.kind in ("host", "operator")


def writable(s: Standing) -> Predicate:
    """Types the asker may write: a professional by his profession, the holder's side as EXP_PATIENT, the feed as ALIM_AM."""
    professions = {"patient": {PATIENT}, "representative": {PATIENT}, "feed": {FEED}}.get(s.request.kind, s.request.professions)
    return Not(rules.outside(s.law.matrix.allowed(professions, s.request.traits, WRITE)))


def not_for_structures(s: Standing) -> Predicate:
    """What a certificate alone never deposits: the holder's own words and the reimbursement history."""
    own_words = s.law.matrix.allowed({PATIENT}, frozenset(), WRITE).named
    return TypeIn(own_words | {spaces.REIMBURSEMENT})


GESTIONNAIRE = permit("gestionnaire", lambda s: s.gestionnaire)
MANDATAIRE = permit("mandataire", lambda s: s.mandataire)
SELF_SERVING = refuse("mandataire-serves-himself", serves_himself)
# Told to those alone who may manage rights: to anybody else it would tell who the médecin traitant is.
TRAITANT_NOT_BLOCKED = refuse(
    "medecin-traitant-is-changed-not-blocked", lambda s: (s.gestionnaire or s.mandataire) and bool(s.request.about & s.dossier.traitant)
)
NOBODY_HERE = ("insurer-or-employer", "professional-not-identified", "structure-not-identified", "purpose-is-not-care", "blocked")
NEVER_SERVED = tuple(r for r in rules.ADMISSION if r.name in NOBODY_HERE)
ENDED = (
    refuse("holder-deceased", lambda s: s.deceased),
    refuse("dossier-closed", lambda s: s.closed),
    refuse("rights-lost", lambda s: s.rights_lost),
)
# Admission speaks of professionals: a certificate is refused by its own words.
STRUCTURE_BLOCKED = refuse("structure-blocked", lambda s: s.request.kind in MACHINES and s.blocked)
# Acts about rights are done in an open dossier by whoever the rule names.
OPEN = (*NEVER_SERVED, STRUCTURE_BLOCKED, *ENDED)


def declares(s: Standing) -> bool:
    """He may declare a médecin traitant: to anybody else a refusal would tell who is blocked."""
    return s.gestionnaire or s.request.kind == "feed"


def names_blocked(s: Standing) -> bool:
    """Somebody the act is about is blocked, or will be: the médecin traitant and a block never meet."""
    return any(right.who in s.request.about and s.now_ms < right.until_ms for right in s.dossier.blocks)


def managed(*more: Rule) -> Act:
    """An act of the gestionnaire alone, in an open dossier."""
    return Act(DOSSIER, (*OPEN, *more, GESTIONNAIRE))


def rights(*more: Rule) -> Act:
    """An act of the gestionnaire or a mandataire, in an open dossier."""
    return Act(DOSSIER, (*OPEN, SELF_SERVING, *more, GESTIONNAIRE, MANDATAIRE))


# ---- documents


def on_document(*own_rules: Rule) -> Act:
    return Act(DOCUMENT, own_rules)


# What all who read a document are told of it, without hiding anything: isArchived, and N, R or V.
FOR_ALL = on_document(Rule("author", PERMIT, own), permit("medecin-traitant", lambda s: s.traitant), GESTIONNAIRE)


def deposits_by_holder(s: Standing) -> Predicate:
    return writable(s) if s.gestionnaire else when(False)


def imports(s: Standing) -> bool:
    """Another system feeds under the holder's Consent: of an experiment, or of other dossiers; a transfer by his choice of host."""
    kind = {"experimental": "takeover", "other-dossier": "feed"}.get(s.request.source, "")
    return bool(kind) and s.dossier.permitted(kind, s.now_ms)


def for_an_adult(s: Standing) -> bool:
    """Somebody who deposits for an adult: there are no parents to keep anything from. An import brings labels as they are."""
    return (s.professional or s.request.kind == "structure") and not perhaps_minor(s.dossier, s.now_ms)


DEPOSIT_RULES = (
    *NEVER_SERVED,
    refuse("dossier-closed", lambda s: s.closed_in_life),
    refuse("rights-lost", lambda s: s.rights_lost and not s.deceased),
    refuse("holder-deceased", lambda s: s.deceased and not (s.professional or s.request.kind in MACHINES)),
    STRUCTURE_BLOCKED,
    refuse("no-import-without-permit", lambda s: s.request.kind == "host" and s.request.source != "transfer" and not imports(s)),
    Rule("never-by-certificate", REFUSE, lambda s: not_for_structures(s) if s.request.kind == "structure" else when(False)),
    Rule(
        "only-professionals-hide-from-patient",
        REFUSE,
        lambda s: when(False) if s.professional or s.request.kind in MACHINES else Labelled(INVISIBLE_PATIENT),
    ),
    Rule("hides-from-himself", REFUSE, lambda s: Labelled(INVISIBLE_RL) if s.request.kind == "representative" else when(False)),
    Rule("only-a-minor-hides-from-representatives", REFUSE, lambda s: Labelled(INVISIBLE_RL) if for_an_adult(s) else when(False)),
    Rule("not-writable", REFUSE, lambda s: Not(writable(s)) if s.professional or s.request.kind == "feed" else when(False)),
    permit("professional", lambda s: s.professional),
    permit("structure", lambda s: s.request.kind == "structure"),
    permit("host", lambda s: s.request.kind == "host"),
    permit("feed", lambda s: s.request.kind == "feed"),
    Rule("holder-writes", PERMIT, deposits_by_holder),
)

REPLACE_RULES = (
    Rule("not-writable", REFUSE, lambda s: Not(writable(s)) if s.professional else when(False)),
    permit("supersedes-what-he-sees", lambda s: s.professional),
    Rule(
        "holder-writes",
        PERMIT,
        lambda s: All((rules.author_of_holder(), writable(s))) if s.gestionnaire else when(False),
    ),
)

# A certificate sees nothing, yet replaces what its own structure deposited.
REPLACE_BY_STRUCTURE = (
    *ENDED,
    refuse("structure-blocked", lambda s: s.blocked),
    Rule("never-by-certificate", REFUSE, not_for_structures),
    Rule("depositing-structure", PERMIT, lambda s: All((DepositedBy(s.request.organization), Not(StatusIn(frozenset({WITHDRAWN})))))),
)

# ---- emergency and consultation


def already_authorised(s: Standing) -> bool:
    return s.authorised or s.grant


# Whom his purpose lets read nothing opens nothing: else the holder would be told of an access that cannot be.
BREAK_GLASS = (
    *OPEN,
    refuse("break-glass-opposed", lambda s: not s.dossier.break_glass),
    refuse("only-a-physician-breaks-the-glass", lambda s: not s.physician),
    refuse("already-authorised", already_authorised),
    refuse("justification-missing", lambda s: not s.request.justification.strip()),
    permit("break-glass", lambda s: bool(s.person)),
)

SELF_AUTHORISE = (
    *OPEN,
    refuse("only-for-himself", lambda s: not s.person or not s.request.about <= s.person),
    refuse("consent-not-attested", lambda s: not s.request.evidence),
    permit("attested-consent", lambda s: s.professional),
)


# ---- life of the dossier


def closes(s: Standing) -> bool:
    """Whether the reason leads anywhere. Only what was given to another host comes back from it."""
    returns = s.request.reason != "returned" or s.dossier.given
    return returns and step(s.dossier.status, s.request.reason, s.deceased) is not None


# Told to those alone who may close or open it: to anybody else it would tell that there is a dossier, and its state.
LIFE = refuse("not-in-this-state", lambda s: (s.gestionnaire or host_staff(s)) and not closes(s))

ACTS: dict[str, Act] = {
    "open": Act(DOSSIER, (refuse("already-open", lambda s: True),)),
    "close": Act(
        DOSSIER,
        (
            LIFE,
            permit("gestionnaire", lambda s: s.gestionnaire and s.request.reason == "holder-request"),
            permit("host", lambda s: host_staff(s) and s.request.reason in ("deceased", "rights-lost", "transfer")),
        ),
    ),
    "reactivate": Act(
        DOSSIER,
        (
            refuse("holder-deceased", lambda s: s.deceased),
            LIFE,
            permit("gestionnaire", lambda s: s.gestionnaire and s.request.reason in GESTIONNAIRE_REASONS),
            permit("host", lambda s: host_staff(s) and s.request.reason in ("rights-recovered", "returned")),
        ),
    ),
    "change-host": managed(),
    "appoint-mandataire": managed(),
    "authorise": rights(),
    "block": rights(TRAITANT_NOT_BLOCKED),
    "lift-block": rights(),
    "emergency-consents": rights(),
    "give-traitant-rights": managed(),
    "mask-by-rule": managed(),
    "permit-use": managed(),
    "wills": managed(),
    "edit-identification": managed(),
    # Traits of the INS, as the teleservice says them.
    "renew-identity": Act(DOSSIER, (*ENDED, permit("feed", lambda s: s.request.kind == "feed"))),
    "edit-related-persons": managed(),
    "declare-traitant": Act(
        DOSSIER,
        (
            *ENDED,
            refuse("blocked-professional-not-declared", lambda s: declares(s) and names_blocked(s)),
            GESTIONNAIRE,
            permit("feed", lambda s: s.request.kind == "feed"),
        ),
    ),
    "edit-care-team": Act(
        DOSSIER,
        (
            *OPEN,
            refuse("never-adds-himself", lambda s: s.professional and bool(s.request.about & s.person)),
            GESTIONNAIRE,
            permit("medecin-traitant", lambda s: s.traitant),
            permit("care-team", lambda s: s.care_team),
        ),
    ),
    "access-list": Act(DOSSIER, (*ENDED[:2], GESTIONNAIRE, MANDATAIRE)),
    "access-sheet": Act(
        DOSSIER, (*OPEN, GESTIONNAIRE, permit("opener", lambda s: s.request.opener and s.request.kind in ("professional", "structure")))
    ),
    "explain": Act(
        DOSSIER,
        (*rules.ADMISSION, GESTIONNAIRE, permit("himself", lambda s: s.professional and s.request.about <= s.person)),
    ),
    "read-traces": Act(
        DOSSIER,
        (
            *rules.ADMISSION,
            permit("holder", lambda s: s.holder),
            permit("representative", lambda s: s.representative),
            permit("medecin-traitant", lambda s: s.traitant),
            permit("own-traces", lambda s: s.professional and bool(s.person)),
        ),
    ),
    "export": Act(
        DOSSIER,
        (
            refuse("holder-deceased", lambda s: s.deceased and s.request.kind != "host"),
            GESTIONNAIRE,
            permit("host", lambda s: s.request.kind == "host"),
        ),
    ),
    "break-glass": Act(DOSSIER, BREAK_GLASS),
    "self-authorise": Act(DOSSIER, SELF_AUTHORISE),
    "deposit": Act(DEPOSIT, DEPOSIT_RULES),
    # What is there already, named in a List of its own: by whoever may see it, in an open dossier.
    "list": Act(
        DOSSIER,
        (
            *rules.ADMISSION,
            *ENDED,
            permit("lists-what-he-sees", lambda s: s.professional),
            GESTIONNAIRE,
            permit("minor-with-professional", lambda s: s.minor_accompanied),
        ),
    ),
    "replace": Act(DOCUMENT, REPLACE_RULES),
    "replace-by-structure": Act(DEPOSIT, REPLACE_BY_STRUCTURE),
    "mask": on_document(GESTIONNAIRE),
    "unmask": on_document(GESTIONNAIRE),
    "hide-from-patient": on_document(Rule("author", PERMIT, own)),
    "announce": on_document(permit("announces-what-he-sees", lambda s: s.professional)),
    "hide-from-representatives": on_document(
        permit("minor-with-professional", lambda s: s.minor_accompanied),
        permit("secret-session", lambda s: s.professional and s.request.secret_session and s.minor),
    ),
    "show-to-representatives": on_document(
        permit("minor-with-professional", lambda s: s.minor_accompanied),
        permit("holder", lambda s: s.holder and s.gestionnaire),
        # What a minor hides only he shows; of an adult under guardianship nobody else could take the label off.
        Rule("author", PERMIT, lambda s: when(False) if s.minor else own(s)),
    ),
    "withdraw": on_document(
        Rule("author", PERMIT, own),
        Rule("holder-writes", PERMIT, lambda s: rules.author_of_holder() if s.gestionnaire else when(False)),
        Rule("only-the-author-withdraws", REFUSE, lambda s: ALWAYS),
    ),
    "archive": FOR_ALL,
    "classify": FOR_ALL,
}

ACTS |= companions.ACTS

# Opening is judged without a dossier: who may, before there is anything to protect.
MAY_OPEN = frozenset({"professional", "structure", "patient", "representative"})
