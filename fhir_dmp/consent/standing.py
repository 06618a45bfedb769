"""Where the asker stands towards one dossier at one moment: holder, representative, médecin traitant, care team, emergency, nobody.

Code de la santé publique L1111-16, L1111-17, R1111-46
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.break_glass import open_at
from fhir_dmp.consent.dossier import Dossier, Title
from fhir_dmp.consent.law import Law
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.lifecycle import Status, is_minor

TREAT, ETREAT, BTG = "TREAT", "ETREAT", "BTG"


class once:
    """A property computed at most once. Without the lock of functools.cached_property, which costs more than most of these."""

    def __init__(self, compute: Callable[["Standing"], Any]) -> None:
        self.compute, self.name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, standing: "Standing", owner: type) -> Any:
        value = standing.__dict__[self.name] = self.compute(standing)
        return value


def known_relatives(dossier: Dossier, now_ms: int) -> frozenset[str]:
    """What the holder's parents and guardians are called as professionals: "ps:IDNPS". A parent whose title is over is one still.

    A birth date that says nothing is that of a minor: on doubt more is hidden.
    """
    found: frozenset[str] = frozenset()
    for title in dossier.titles:
        if title.who and title.names_relative(now_ms, minor=perhaps_minor(dossier, now_ms)):
            found |= title.who
    return found


def perhaps_minor(dossier: Dossier, now_ms: int) -> bool:
    """Whether the holder is under 18, or his birth date says nothing: where on doubt more is hidden."""
    try:
        return is_minor(dossier.birth_date, now_ms)
    except ValueError:
        return True


@dataclass(frozen=True)
class Standing:
    """Everything the rules ask about request and dossier, computed at most once. How long it holds: consent.stances."""

    request: Request
    dossier: Dossier
    now_ms: int
    law: Law

    def doing(self, request: Request) -> "Standing":
        """The same asker at the same moment, asking for another act: only the act differs, so what was found out is kept."""
        found = Standing.__new__(Standing)
        found.__dict__.update(self.__dict__, request=request)
        return found

    def at(self, now_ms: int) -> "Standing":
        """The same at another moment, between which and this one nothing begins or ends."""
        if now_ms == self.now_ms:
            return self
        found = Standing.__new__(Standing)
        found.__dict__.update(self.__dict__, now_ms=now_ms)
        return found

    # ---- kinds

    @once
    def professional(self) -> bool:
        """A health professional, known by name."""
        return self.request.kind == "professional"

    @property
    def host_physician(self) -> bool:
        """The host's own physician, under a ticket."""
        return self.request.kind == "operator" and self.request.role == "physician" and bool(self.request.ticket)

    @once
    def names(self) -> frozenset[str]:
        """His name and that of his structure."""
        return frozenset(name for name in (self.request.person, self.request.organization) if name)

    @once
    def person(self) -> frozenset[str]:
        """His own name alone."""
        return frozenset({self.request.person} - {""})

    # ---- the holder's side

    @once
    def minor(self) -> bool:
        """The holder is under 18. Raises when the birth date says nothing: the rule that asked then denies."""
        return is_minor(self.dossier.birth_date, self.now_ms)

    @property
    def secret_session(self) -> bool:
        """A professional's secret session with a minor. With an adult there is none, whatever the token says: his guardian is told."""
        return self.professional and self.request.secret_session and perhaps_minor(self.dossier, self.now_ms)

    @property
    def deceased(self) -> bool:
        """The holder's death is recorded, at an instant that has come."""
        return self.dossier.deceased_ms is not None and self.dossier.deceased_ms <= self.now_ms

    @property
    def closed(self) -> bool:
        """The dossier is closed."""
        return self.dossier.status is Status.CLOSED

    @property
    def closed_in_life(self) -> bool:
        """Closed by the holder or given to another host, not by his death: what comes late has no place in it."""
        at_ms, died_ms = self.dossier.closed_ms, self.dossier.deceased_ms
        before = at_ms is not None and died_ms is not None and at_ms < died_ms
        return self.closed and (not self.deceased or bool(self.dossier.given) or before)

    @property
    def rights_lost(self) -> bool:
        """The holder is no longer insured: kept, read-only for his side."""
        return self.dossier.status is Status.RIGHTS_LOST

    @property
    def holder(self) -> bool:
        """The token is the holder's own."""
        return self.request.kind == "patient" and bool(self.request.patient) and self.request.patient == self.dossier.patient

    @once
    def title(self) -> Title | None:
        """The valid title of a representative or mandataire, checked now whatever the token."""
        request = self.request
        if request.patient != self.dossier.patient or not request.related_person or self.deceased:
            return None
        wanted = {"representative": ("parent", "guardian"), "mandataire": ("mandataire",)}.get(request.kind, ())
        for title in self.dossier.titles:
            if title.related_person != request.related_person or title.kind not in wanted or not title.holds(self.now_ms):
                continue
            if not title.ends_with_majority or self.minor:
                return title
        return None

    @property
    def representative(self) -> bool:
        """A parent or guardian with a valid title."""
        return self.request.kind == "representative" and self.title is not None

    @property
    def mandataire(self) -> bool:
        """A mandataire within his mandate."""
        return self.request.kind == "mandataire" and self.title is not None

    @property
    def kept_from(self) -> bool:
        """What was given in a minor's secret session is kept from him: he acts for the holder, or is appointed by who does or did."""
        return self.request.kind == "representative" or (self.request.kind == "mandataire" and (self.minor or self.once_guarded))

    @property
    def once_guarded(self) -> bool:
        """A guardian acts for the holder, or did: a mandate that he gave may outlast his measure."""
        return any(t.kind == "guardian" and t.since_ms <= self.now_ms for t in self.dossier.titles)

    @once
    def relative(self) -> bool:
        """A professional whom the title of a parent or guardian names: what is hidden from representatives is hidden from him too."""
        return self.professional and not self.person.isdisjoint(known_relatives(self.dossier, self.now_ms))

    @property
    def is_waited_for(self) -> bool:
        """What waits to be announced to the holder is hidden from him: he is of the holder's side, whatever he asks as."""
        return self.request.kind in ("patient", "representative") or self.relative

    @once
    def under_guardianship(self) -> bool:
        """An adult whose guardian acts for him."""
        guardians = [t for t in self.dossier.titles if t.kind == "guardian" and t.holds(self.now_ms)]
        return any(not t.ends_with_majority or self.minor for t in guardians)

    @once
    def gestionnaire(self) -> bool:
        """The adult holder, or the parent or guardian of a minor or protected adult."""
        if self.holder:
            return not self.minor and not self.under_guardianship
        return self.representative

    @once
    def minor_accompanied(self) -> bool:
        """The minor holder together with a professional who is not blocked, and none of those who stand for him."""
        if not self.holder or not self.minor or not self.request.beside or self.beside_blocked:
            return False
        return self.request.beside not in known_relatives(self.dossier, self.now_ms)

    @once
    def beside_blocked(self) -> bool:
        """The professional beside the minor is blocked in this dossier."""
        beside = frozenset({self.request.beside} - {""})
        beside |= identity.houses(beside)
        return any(right.covers(beside, self.now_ms) for right in self.dossier.blocks)

    # ---- professionals

    @once
    def physician(self) -> bool:
        """Of a profession that may ask in an emergency."""
        return self.professional and bool(self.request.professions & self.law.emergency_professions)

    @once
    def occupational(self) -> bool:
        """Occupational or fire-service physician: nothing without the holder's express Consent for him."""
        asked = self.request.traits & self.law.occupational_specialties or self.request.sector in self.law.occupational_sectors
        return self.professional and bool(asked) and not self.traitant and not self.assimilated

    @once
    def blocked(self) -> bool:
        """He, or his structure, is blocked; also the one by whose own number he is known."""
        names = self.names | identity.houses(self.names)
        return any(right.covers(names, self.now_ms) for right in self.dossier.blocks)

    @once
    def traitant(self) -> bool:
        """The declared médecin traitant."""
        return self.professional and bool(self.person & self.dossier.traitant)

    @once
    def assimilated(self) -> bool:
        """Given the rights of the médecin traitant."""
        return self.professional and any(right.covers(self.person, self.now_ms) for right in self.dossier.assimilated)

    @once
    def care_team(self) -> bool:
        """A member by his own name; an organisation in the team adds nobody. Ends with the holder's death."""
        return self.professional and not self.occupational and any(r.covers(self.person, self.now_ms) for r in self.dossier.team)

    @once
    def consented(self) -> bool:
        """The holder's Consent names him or, unless it must be express, his structure."""
        names = self.person if self.occupational else self.names
        return self.professional and any(right.covers(names, self.now_ms) for right in self.dossier.access)

    @once
    def grant(self) -> bool:
        """A break-glass grant of his is open."""
        return self.professional and any(right.covers(self.person, self.now_ms) for right in open_at(self.dossier, self.now_ms))

    @once
    def mode(self) -> str:
        """TREAT, ETREAT or BTG. An open grant makes his requests BTG whatever the token; to claim a purpose alone gives nothing."""
        if self.grant:
            return BTG
        if ETREAT in self.request.purposes and self.request.regulation and self.physician:
            return ETREAT
        return TREAT

    @property
    def emergency(self) -> bool:
        """He asks in an emergency that the holder does not oppose."""
        return (self.mode == ETREAT and self.dossier.regulation) or (self.mode == BTG and self.dossier.break_glass)

    @once
    def authorised(self) -> bool:
        """Someone or something but an emergency lets him in."""
        return self.traitant or self.assimilated or self.care_team or self.consented

    @property
    def related(self) -> bool:
        """He has a relationship with the whole dossier; authorship is one with his own documents alone."""
        return self.authorised or self.emergency

    @property
    def in_charge(self) -> bool:
        """He may stand in for his establishment's depositor: care team or the holder's Consent, not as occupational physician."""
        able = self.law.in_charge_sees_masked and bool(self.request.organization) and not self.occupational
        return able and (self.care_team or self.consented)
