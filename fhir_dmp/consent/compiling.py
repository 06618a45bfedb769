"""The policy of a dossier, compiled from its resources: Patient, Consents, CareTeams, RelatedPersons, break-glass grants.

https://profiles.ihe.net/ITI/PCF/ ; done in the transaction of whatever changes one of them
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fhir_dmp.consent.directives import EMERGENCIES, Directive, Resolve, is_professional, read
from fhir_dmp.consent.dossier import RELATIVE, Dossier, Permit, Right, Title
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.documents import named
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.dmp.paris import span, window
from fhir_dmp.fhir.instants import MIN_MS

# relationship codes: v3-RoleCode, v2-0131 aside; step-parents have no parental authority, a curateur only assists.
PARENTS = frozenset({"PRN", "MTH", "FTH", "NPRN", "NMTH", "NFTH", "ADOPTP", "ADOPTM", "ADOPTF"})
GUARDIANS = frozenset({"GUARD", "TUTEUR"})
DEFAULTS = {"emergency-regulation": True, "emergency-break-glass": True, "emergency-masked": False}


def compiled(
    patient: Mapping[str, Any],
    consents: Iterable[Mapping[str, Any]],
    care_teams: Iterable[Mapping[str, Any]],
    related_persons: Iterable[Mapping[str, Any]],
    resolve: Resolve,
    *,
    grants: tuple[Right, ...] = (),
    epoch: int = 0,
    closed_ms: int | None = None,
    roots: Mapping[str, str] | None = None,
    secret: Container[str] = (),
    said: Mapping[str, int] | None = None,
    of_minor: Container[str] = (),
) -> Dossier:
    """The policy. consents: in order of lastUpdated. resolve: reference -> who it names. roots: address of a document named by a mask ->
    address of the first document of its lineage; one that is not listed stands for itself. secret: addresses of Consents and CareTeams
    written in a minor's secret session. said: logical id of a Consent -> when its version was written, UTC ms. of_minor: addresses of
    mandates and RelatedPersons that a representative of a minor wrote.
    """
    directives = [one for consent in consents if (one := read(consent, resolve)) is not None]
    active = [one for one in directives if one.active]
    emergencies = {category: emergency(directives, category) for category in EMERGENCIES}
    people = {one.get("id", ""): one for one in related_persons}
    return Dossier(
        patient=patient["id"],
        birth_date=patient.get("birthDate") or "",
        status=status_of(patient, directives),
        closed_ms=closed_ms,
        deceased_ms=deceased_ms(patient),
        traitant=traitant_of(patient, resolve),
        assimilated=rights(active, "administrator"),
        team=tuple(team(care_teams, resolve, secret)),
        access=rights(active, "access", secret),
        blocks=rights(active, "block"),
        titles=(*parents(people.values(), of_minor), *mandates(active, people, of_minor)),
        regulation=emergencies["emergency-regulation"],
        break_glass=emergencies["emergency-break-glass"],
        emergency_masked=emergencies["emergency-masked"],
        grants=grants,
        masks=tuple(
            rooted(one, roots or {}, (said or {}).get(one.id, MIN_MS)) for one in active if one.mask is not None and not one.permits
        ),
        permits=permits(active),
        epoch=epoch,
        joined=any(link.get("type") == "replaced-by" for link in patient.get("link") or ()),
    )


def status_of(patient: Mapping[str, Any], directives: list[Directive]) -> Status:
    """Closed without an active opening Consent; open but no longer insured while Patient.active is false."""
    if not any(one.category == "opening" and one.active for one in directives):
        return Status.CLOSED
    return Status.RIGHTS_LOST if patient.get("active") is False else Status.OPEN


def deceased_ms(patient: Mapping[str, Any]) -> int | None:
    """Recorded instant of death; dead without an instant means since ever."""
    if patient.get("deceasedDateTime"):
        return span(patient["deceasedDateTime"])[0]
    return MIN_MS if patient.get("deceasedBoolean") is True else None


def traitant_of(patient: Mapping[str, Any], resolve: Resolve) -> frozenset[str]:
    """Names of the declared médecin traitant: professionals alone."""
    inside = {f"#{one.get('id')}": one for one in patient.get("contained") or ()}
    found = (name for reference in patient.get("generalPractitioner") or () for name in named(reference, inside, resolve))
    return frozenset(filter(is_professional, found))


def rights(active: list[Directive], category: str, secret: Container[str] = ()) -> tuple[Right, ...]:
    """Everybody a category names, with the period."""
    return tuple(
        Right(name, one.since_ms, one.until_ms, one.id, f"Consent/{one.id}" in secret)
        for one in active
        if one.category == category
        for name in sorted(one.names)
    )


def emergency(directives: list[Directive], category: str) -> bool:
    """What the latest Consent of an emergency category says; the later supersedes the former. Who takes his yes back says no."""
    said = [one for one in directives if one.category == category]
    in_force = [one.permits for one in said if one.active]
    return in_force[-1] if in_force else DEFAULTS[category] and not (said and said[-1].permits)


def permits(active: list[Directive]) -> tuple[Permit, ...]:
    """Uses the holder says yes to; the latest Consent of each kind speaks."""
    latest = {one.category: one for one in active if one.category in ("reimbursement", "takeover", "feed")}
    return tuple(Permit(one.category, one.since_ms, one.until_ms) for one in latest.values() if one.permits)


def rooted(directive: Directive, roots: Mapping[str, str], set_ms: int):
    """The mask of a directive that was written at set_ms, its instances replaced by the first documents of their lineages."""
    named = directive.mask.roots
    return replace(directive.mask, roots=named and frozenset(roots.get(one, one) for one in named), set_ms=set_ms)


def team(care_teams: Iterable[Mapping[str, Any]], resolve: Resolve, secret: Container[str] = ()):
    """Members by name of the active teams; an organisation in a team adds nobody."""
    for care_team in care_teams:
        if care_team.get("status") != "active":
            continue
        since, until = _window(care_team.get("period"))
        inside = {f"#{one.get('id')}": one for one in care_team.get("contained") or ()}
        id = care_team.get("id", "")
        for participant in care_team.get("participant") or ():
            begins, ends = _window(participant.get("period"))
            for name in sorted(filter(is_professional, named(participant.get("member") or {}, inside, resolve))):
                yield Right(name, max(since, begins), min(until, ends), id, f"CareTeam/{id}" in secret)


def parents(people: Iterable[Mapping[str, Any]], of_minor: Container[str] = ()):
    """Titles that RelatedPersons hold by themselves: parent, guardian. Who holds it no longer is still the mother."""
    for person in people:
        codes = {c.get("code") for concept in person.get("relationship") or () for c in concept.get("coding") or ()}
        kind = "guardian" if codes & GUARDIANS else "parent" if codes & PARENTS else ""
        if not kind:
            continue
        id, who, window = person.get("id", ""), _names(person), _window(person.get("period"))
        given = f"RelatedPerson/{id}" in of_minor
        if person.get("active") is not False:
            yield Title(id, kind, *window, who=who, of_minor=given)
        elif who:
            yield Title(id, RELATIVE, who=who, of_minor=True) if kind == "parent" else Title(id, RELATIVE, *window, who=who, of_minor=given)


def mandates(active: list[Directive], people: Mapping[str, Mapping[str, Any]], of_minor: Container[str] = ()):
    """Titles that mandates give."""
    for one in active:
        for related in sorted(one.related) if one.category == "mandate" else ():
            person = people.get(related)
            if person is not None and person.get("active") is not False:
                given = f"Consent/{one.id}" in of_minor
                yield Title(related, "mandataire", one.since_ms, one.until_ms, who=_names(person), of_minor=given)


def _names(person: Mapping[str, Any]) -> frozenset[str]:
    return identity.known_as(person.get("identifier") or ())


def _window(period: Mapping[str, Any] | None) -> tuple[int, int]:
    return window((period or {}).get("start"), (period or {}).get("end"))
