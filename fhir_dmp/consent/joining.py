"""What the rights of one dossier become when it is joined to another of the same person: restrictions come along, permissions do not.

Code de la santé publique L1111-14 to L1111-19; https://hl7.org/fhir/R5/patient-operation-merge.html

Who was let into one of the two was not let into both: he is let in by the dossier that goes on, or asks the holder again. Who was kept
out of one is kept out of both; and who is kept out while they are one is kept out of both when they are parted.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

from fhir_dmp.consent.compiling import team
from fhir_dmp.consent.directives import ACTIVE, EMERGENCIES, INACTIVE, ONE_SPEAKS, WILLS, Directive, Resolve, read
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.paris import window
from fhir_dmp.fhir.instants import MIN_MS

RESTRICTING = frozenset({"block", "mask"})
ALONG = RESTRICTING | {WILLS}
LETTING = frozenset({"access", "administrator", "mandate"})
TEAM = "team"


class Carried(NamedTuple):
    """value: the resource in the other dossier. renewed: it needs a version of its own there, so that it speaks last or no longer."""

    value: Mapping[str, Any]
    renewed: bool


def taken_back(consents: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the Consents by which a holder took back his yes to an emergency, where nothing else speaks. consents: in their order."""
    said: dict[str, list[Directive]] = {}
    for one in consents:
        if (directive := read(one, lambda text: frozenset())) is not None and directive.category in EMERGENCIES:
            said.setdefault(directive.category, []).append(directive)
    return frozenset(each[-1].id for each in said.values() if each[-1].permits and not any(one.active for one in each))


def denied(consent: Mapping[str, Any]) -> dict[str, Any]:
    """A Consent that was taken back as the no that it is."""
    return {**consent, "status": ACTIVE, "provision": {**consent["provision"], "type": "deny"}}


def mask_over(consent: Mapping[str, Any], at_ms: int) -> dict[str, Any] | None:
    """A mask by rule whose time is over as one that is ended; None for anything else. at_ms: UTC."""
    one = read(consent, lambda text: frozenset())
    over = one is not None and one.active and one.mask is not None and one.until_ms <= at_ms
    return {**consent, "status": INACTIVE} if over else None


def carried(resource: Mapping[str, Any], at_ms: int, refused: Container[str] = ()) -> Carried:
    """The current version of a resource as it goes along. refused: Consents that say no there, though the dossier that goes on says yes.

    at_ms: of the merge, UTC.

    >>> carried({"resourceType": "CareTeam", "status": "active"}, 0).value["status"]
    'inactive'
    """
    match resource["resourceType"]:
        case "CareTeam":
            return _ended(resource, "status", INACTIVE) if resource.get("status") == "active" else Carried(resource, False)
        case "RelatedPerson":
            return _ended(resource, "active", False) if resource.get("active") is not False else Carried(resource, False)
        case "Consent":
            directive = read(resource, lambda text: frozenset())
            if directive is not None and directive.id in refused:
                return Carried(denied(resource), True)
            if directive is not None and directive.active and directive.mask is not None and directive.until_ms <= at_ms:
                # It hid nothing of the dossier that goes on; when it ended, the documents that it hid say themselves.
                return _ended(resource, "status", INACTIVE)
            if directive is None or not directive.active or directive.category in ALONG:
                return Carried(resource, False)
            if directive.category in ONE_SPEAKS and not directive.permits:
                return Carried(resource, True)
            return _ended(resource, "status", INACTIVE)
    return Carried(resource, False)


def _ended(resource: Mapping[str, Any], name: str, value: object) -> Carried:
    return Carried({**resource, name: value}, True)


def restricts(directive: Directive) -> bool:
    """Whether a Consent keeps somebody out: a block, a mask, an opposition.

    >>> restricts(Directive(id="", category="feed", active=True, permits=False))
    True
    """
    return directive.active and (directive.category in RESTRICTING or (directive.category in ONE_SPEAKS and not directive.permits))


def lets(resource: Mapping[str, Any], resolve: Resolve, since_ms: int = MIN_MS) -> frozenset[tuple[str, str]]:
    """Whom a CareTeam or a Consent lets in at since_ms or later: (category, name or logical id), (category, "") for a use.

    resolve: reference -> who it names.
    """
    if resource["resourceType"] == "CareTeam":
        return frozenset((TEAM, one.who) for one in team([resource], resolve) if one.until_ms > since_ms)
    one = read(resource, resolve)
    if one is None or not one.active or not one.permits or one.until_ms <= since_ms:
        return frozenset()
    if one.category in LETTING:
        return frozenset((one.category, who) for who in one.names | one.related)
    return frozenset({(one.category, "")} if one.category in ONE_SPEAKS else ())


def acting(person: Mapping[str, Any], at_ms: int) -> frozenset[str]:
    """Numbers of a RelatedPerson who may act at at_ms or later, UTC ms.

    >>> sorted(acting({"identifier": [{"system": "urn:x", "value": "1"}]}, 0))
    ['urn:x|1']
    """
    period = person.get("period") or {}
    if person.get("active") is False or window(period.get("start"), period.get("end"))[1] <= at_ms:
        return frozenset()
    listed = person.get("identifier") or ()
    return identity.known_as(listed) | {f"{one.get('system') or ''}|{one['value']}" for one in listed if one.get("value")}


def without(resource: Mapping[str, Any], gone: frozenset[tuple[str, str]], resolve: Resolve) -> Mapping[str, Any] | None:
    """The same without those who are let in no longer; None where it lets in none of them. gone, resolve: as of `lets`."""
    if lets(resource, resolve).isdisjoint(gone):
        return None

    def left(listed: Any, alone: Callable[[Any], Mapping[str, Any]]) -> list[Any]:
        return [one for one in listed or () if lets(alone(one), resolve).isdisjoint(gone)]

    if resource["resourceType"] == "CareTeam":
        members = left(resource.get("participant"), lambda one: {**resource, "participant": [one]})
        return {**resource, "participant": members} if members else {**resource, "status": INACTIVE}
    provision = resource["provision"]
    actors = left(provision.get("actor"), lambda one: {**resource, "provision": {**provision, "actor": [one]}})
    if not actors:
        return {**resource, "status": INACTIVE}
    return {**resource, "provision": {**provision, "actor": actors}}
