"""What is asked: one frozen value made of a verified token, an action and what the act is about.

https://profiles.ihe.net/ITI/PCF/ Consent Decision Service, the decision request
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from fhir_dmp.dmp import identity
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.habilitation import FEED, PATIENT, profession, specialty

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_REASONS = (ACT_REASON, "urn:oid:2.16.840.1.113883.5.8", "")

READ, SEARCH = "read", "search"
# Nobody's profession: what the matrix gives to the holder's side and to the feed, which their own tokens say.
NO_PROFESSION = frozenset({PATIENT, FEED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to the rules. Empty texts and sets: the token or the act does not say.

    kind: of the token. action: READ, SEARCH or a key of acts.ACTS. person: "ps:IDNPS". organization: "org:IDNST"; unplaced: one is said
    that is the number of none. professions: "G15|10".
    traits: specialty and sector codes, as rows of the matrix ask for them. purposes: v3-ActReason codes. patient: logical id that the
    token speaks for. beside: the professional beside a minor. authored_here: he is an author of some document of this dossier (the store
    looks it up when nothing else relates him; without it an unrelated author is refused). opener: he opened this dossier within 24 hours.
    copying: he reads by id, or the whole: all that is left to the holder of a closed dossier.

    Of an act: about: professionals and structures it concerns. evidence: the holder's consent is attested. justification: text.
    reason: of $close and $reactivate. source: of an import, experimental, other-dossier or transfer.
    """

    kind: str
    action: str = READ
    person: str = ""
    organization: str = ""
    unplaced: bool = False
    professions: frozenset[str] = frozenset()
    traits: frozenset[str] = frozenset()
    sector: str = ""
    auth_mode: str = ""
    purposes: frozenset[str] = frozenset()
    regulation: bool = False
    secret_session: bool = False
    patient: str = ""
    related_person: str = ""
    beside: str = ""
    role: str = ""
    ticket: str = ""
    authored_here: bool = False
    opener: bool = False
    copying: bool = False
    about: frozenset[str] = frozenset()
    evidence: bool = False
    justification: str = ""
    reason: str = ""
    source: str = ""

    def doing(self, action: str, **about) -> "Request":
        """The same asker, another action."""
        return replace(self, action=action, **about) if about else _doing(self, action)


@lru_cache(4096)
def _doing(request: Request, action: str) -> Request:
    return replace(request, action=action)


@lru_cache(4096)
def author_here(request: Request) -> Request:
    """The same asker, who is an author of some document of the dossier; equal ones are the same."""
    return replace(request, authored_here=True)


@lru_cache(4096)
def openly(request: Request) -> Request:
    """The same asker in an ordinary session; equal ones are the same."""
    return replace(request, secret_session=False)


@lru_cache(4096)
def copier(request: Request) -> Request:
    """The same asker, who keeps a copy of a closed dossier; equal ones are the same."""
    return replace(request, copying=True)


def asking(actor, action: str = READ, *, patient: str = "", **about) -> Request:
    """The request of a verified bearer. actor: identity.actor.Actor. patient: logical id found for the INS of a holder's token."""
    sector = actor.sector.partition("^")[0]
    specialties = {specialty(one) for one in actor.specialties}
    structure = identity.org(identity.structure(None, actor.organization)) if actor.organization else ""
    return Request(
        kind=actor.kind,
        action=action,
        person=identity.ps(identity.professional(None, actor.subject_name_id)) if actor.subject_name_id else "",
        organization=structure,
        unplaced=bool(actor.organization) and not structure,
        professions=frozenset(one for role in actor.roles if (one := profession(role, actor.category))) - NO_PROFESSION,
        traits=frozenset(specialties | ({sector} if sector else set())),
        sector=sector,
        auth_mode=actor.auth_mode,
        purposes=frozenset(code for system, code in actor.purposes if system in ACT_REASONS),
        regulation=actor.regulation,
        secret_session=actor.secret_session,
        patient=actor.patient or patient,
        related_person=actor.related_person,
        beside=identity.ps(identity.professional(None, actor.with_professional)) if actor.with_professional else "",
        role=actor.role,
        ticket=actor.ticket,
        **about,
    )


def knowing(request: Request, document: Facts) -> Request:
    """The request once a document is loaded: to be its author is to have authored in this dossier."""
    own = document.of("author", frozenset({request.person} - {""}))
    return request if request.authored_here or own.isdisjoint(document.authors) else author_here(request)
