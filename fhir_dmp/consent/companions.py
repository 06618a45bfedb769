"""Resources of a dossier that are no documents: Consents, traces, the Patient and who stands around; who sees them.

Code de la santé publique L1111-19; https://profiles.ihe.net/ITI/BALP/ (traces), https://profiles.ihe.net/ITI/PCF/ (Consents)

They are rows with `y` like documents (predicate), read by the same two evaluators.
"""

from collections.abc import Iterable

from fhir_dmp.consent.directives import SHAPES, Directive
from fhir_dmp.consent.predicate import SECRET_SESSION, All, AuthoredBy, Labelled, Not, Predicate, TypeIn, when
from fhir_dmp.consent.rules import (
    ADMISSION,
    COMPANION,
    HIDE,
    HOLDERS_SIDE,
    KEPT_FROM_REPRESENTATIVES,
    PERMIT,
    PERMITS,
    Act,
    Rule,
    but_for_relatives,
    permit,
    refuse,
    waiting_for,
)
from fhir_dmp.consent.standing import Standing
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.visibility import INVISIBLE_RL

TRACE = "trace"
NOTICE = "notice"
MASK = frozenset({"consent:mask"})
# What a mandataire manages, hence sees.
MANAGED = frozenset(f"consent:{category}" for category in SHAPES if category not in ("mask", "administrator", "mandate"))
NOT_MANDATAIRE = (
    *(rule for rule in ADMISSION if rule.name != "mandataire-reads-nothing"),
    refuse("no-valid-title", lambda s: s.request.kind == "mandataire" and not s.mandataire),
)


def consent_facts(directive: Directive, root: str) -> Facts:
    """Facts of a Consent row. root: its own address."""
    return Facts(type=f"consent:{directive.category}", authors=directive.names, root=root)


def notice_facts(recipients: Iterable[str], root: str, labels: frozenset[str] = frozenset()) -> Facts:
    """Facts of a notice. recipients: identity.HOLDER for the holder's side, "ps:IDNPS" for a professional. root: its own address."""
    return Facts(type=NOTICE, authors=frozenset(recipients), labels=labels, root=root)


def trace_facts(agents: Iterable[str], document: Facts | None, secret: bool) -> Facts:
    """Facts of a trace: its agents, and the lineage it tells of. secret: of a minor's secret session."""
    labels = (document.labels if document else frozenset()) | ({SECRET_SESSION} if secret else set())
    if document is None:
        return Facts(type=TRACE, authors=frozenset(agents), labels=labels)
    return Facts(
        type=TRACE,
        authors=frozenset(agents),
        labels=labels,
        first_deposit_ms=document.first_deposit_ms,
        release_ms=document.release_ms,
        root=document.root,
    )


def named(s: Standing) -> Predicate:
    """Rows that name the asker or his structure."""
    return AuthoredBy(s.names) if s.professional and s.names else when(False)


def himself(s: Standing) -> Predicate:
    """Rows that name the asker."""
    return AuthoredBy(s.person) if s.professional and s.person else when(False)


def addressed(s: Standing) -> Predicate:
    """Notices addressed to the asker."""
    return AuthoredBy(frozenset({identity.HOLDER})) if s.request.kind in HOLDERS_SIDE else himself(s)


def secrets(s: Standing) -> Predicate:
    """What was given in a minor's secret session is told to no representative, nor to whom he appoints."""
    given = Labelled(SECRET_SESSION)
    return given if s.kept_from else but_for_relatives(s, given, himself(s))


SECRETS = Rule("hidden-from-representatives", HIDE, secrets)

CONSENTS = (
    *NOT_MANDATAIRE,
    Rule("masks-are-the-holders", HIDE, lambda s: when(False) if s.request.kind in HOLDERS_SIDE else TypeIn(MASK)),
    Rule("mandataire-manages-access-alone", HIDE, lambda s: Not(TypeIn(MANAGED)) if s.mandataire else when(False)),
    Rule("names-others", HIDE, lambda s: Not(named(s)) if s.professional else when(False)),
    SECRETS,
    permit("holder", lambda s: s.holder),
    permit("representative", lambda s: s.representative),
    permit("mandataire", lambda s: s.mandataire),
    Rule("names-him", PERMIT, named),
)

TRACES = (
    *ADMISSION,
    Rule("traces-of-others", HIDE, lambda s: Not(himself(s)) if s.professional and not s.traitant else when(False)),
    Rule("hidden-from-patient", HIDE, lambda s: waiting_for(s, himself(s))),
    Rule(
        "hidden-from-representatives",
        HIDE,
        lambda s: but_for_relatives(s, KEPT_FROM_REPRESENTATIVES, himself(s)),
    ),
    permit("holder", lambda s: s.holder),
    permit("representative", lambda s: s.representative),
    permit("medecin-traitant", lambda s: s.traitant),
    Rule("own-traces", PERMIT, himself),
)

NOTICES = (
    *ADMISSION,
    Rule("addressed-to-others", HIDE, lambda s: Not(All((TypeIn(frozenset({NOTICE})), addressed(s))))),
    Rule(
        "hidden-from-representatives",
        HIDE,
        lambda s: but_for_relatives(s, Labelled(INVISIBLE_RL), when(False)),
    ),
    permit("holder", lambda s: s.holder),
    permit("representative", lambda s: s.representative),
    Rule("addressed-to-him", PERMIT, himself),
)

# The Patient, and those who stand around him: whoever has a relationship sees them; a mandataire sees whose rights he manages. To have
# deposited something is none: it lets nobody see more than that.
AROUND = (
    *NOT_MANDATAIRE,
    SECRETS,
    *(rule for rule in PERMITS if rule.name != "author"),
    permit("mandataire", lambda s: s.mandataire),
)

ACTS = {
    "see-consent": Act(COMPANION, CONSENTS),
    "see-notice": Act(COMPANION, NOTICES),
    "see-trace": Act(COMPANION, TRACES),
    "see-patient": Act(COMPANION, AROUND),
}

# FHIR type -> the act that judges reading it; every other type of a dossier is judged as a document.
SEEN_AS = {
    "AuditEvent": "see-trace",
    "CareTeam": "see-patient",
    "Communication": "see-notice",
    "Consent": "see-consent",
    "Patient": "see-patient",
    "RelatedPerson": "see-patient",
}
