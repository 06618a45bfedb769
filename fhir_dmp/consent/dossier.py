"""What is known of a dossier when a decision is made: one frozen value, compiled from its resources, kept sealed in the dossier's row.

https://profiles.ihe.net/ITI/PCF/ ; the resources it is compiled from are the truth, this is their digest (consent.compiling).
"""

from dataclasses import dataclass, replace

import msgspec

from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Right:
    """Somebody, from since_ms to before until_ms. who: "ps:IDNPS" or "org:IDNST". id: logical id of the resource that says it.

    secret: given in a minor's secret session; it holds like any other, and representatives are not told of it. organization: of a
    break-glass grant, the structure from which it was asked for, "" for none.
    """

    who: str
    since_ms: int = MIN_MS
    until_ms: int = MAX_MS
    id: str = ""
    secret: bool = False
    organization: str = ""

    def covers(self, names: frozenset[str], now_ms: int) -> bool:
        """Whether one of these names has it now."""
        return self.who in names and self.since_ms <= now_ms < self.until_ms


# Of a dossier that was closed to be transferred, before a host has said that it took it over.
TRANSFER = "transfer"
# Kind of a title that was ended, or stayed behind when two dossiers were joined: it lets nobody in, and says who is a parent or guardian.
RELATIVE = "relative"


@dataclass(frozen=True, slots=True)
class Title:
    """A person beside the holder. related_person: logical id. kind: parent, guardian, mandataire or RELATIVE.

    who: his names as a professional and those of his employers, when he has any. of_minor: given for a minor by who acts for him.
    """

    related_person: str
    kind: str
    since_ms: int = MIN_MS
    until_ms: int = MAX_MS
    who: frozenset[str] = frozenset()
    of_minor: bool = False

    def holds(self, now_ms: int) -> bool:
        """Whether its period covers this moment. The majority of the holder is asked elsewhere."""
        return self.since_ms <= now_ms < self.until_ms

    @property
    def ends_with_majority(self) -> bool:
        """Whether it is one beside a minor alone: the birth date may have been another when its period was said."""
        return self.kind == "parent" or self.of_minor

    def acts(self, now_ms: int, *, minor: bool) -> bool:
        """Whether it lets a parent or guardian act now for the holder. minor: whether the holder is one."""
        return self.kind in ("parent", "guardian") and self.holds(now_ms) and (minor or not self.ends_with_majority)

    def names_relative(self, now_ms: int, *, minor: bool) -> bool:
        """Whether it is of a parent of this minor, over or not, or of a guardian while the measure lasts. minor: as of `acts`."""
        lasts = self.kind == "parent" or (self.kind != "mandataire" and self.holds(now_ms))
        return lasts and (minor or not self.ends_with_majority)


@dataclass(frozen=True, slots=True)
class Permit:
    """A yes or no of the holder to a use. kind: reimbursement, takeover or feed."""

    kind: str
    since_ms: int = MIN_MS
    until_ms: int = MAX_MS


@dataclass(frozen=True, slots=True)
class MaskRule:
    """A mask by rule: (one of the roots or one of the authors) and one of the types and the dates; None asks nothing.

    roots: addresses of the first documents of lineages. authors: "ps:IDNPS" of authors, "org:IDNST" of depositing structures. types:
    spaces.type_token. dated: half-open, ms. A rule that asks nothing masks everything. set_ms: when this was said; it holds at once, also
    by a clock that is behind.
    """

    roots: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    types: frozenset[str] | None = None
    dated: tuple[int, int] | None = None
    since_ms: int = MIN_MS
    until_ms: int = MAX_MS
    set_ms: int = MIN_MS

    def hides(self, now_ms: int) -> bool:
        """Whether its period covers this moment."""
        return self.since_ms <= now_ms < self.until_ms

    def over(self, now_ms: int) -> bool:
        """Whether it hid something until its period ended. One that was said only then never did, and nothing may tell of it."""
        return max(self.since_ms, self.set_ms) < self.until_ms <= now_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """The policy of one dossier.

    patient: logical id of the Patient. birth_date: FHIR date. deceased_ms: recorded instant of death. traitant: names of the declared
    médecin traitant ("ps:IDNPS", several spellings of one). regulation, break_glass, emergency_masked: True permits.
    grants: open break-glass grants. lifted: something of it was hidden once and is not any more. joined: it ended in another dossier of
    the same person, which goes on. given: identity of the host that has
    it now and took it from here by its receipt, TRANSFER where nobody said which, "" for none. lost: it was closed while rights were
    lost. epoch: bumped by every change of this value.
    """

    patient: str
    birth_date: str
    status: Status = Status.OPEN
    closed_ms: int | None = None
    deceased_ms: int | None = None
    traitant: frozenset[str] = frozenset()
    assimilated: tuple[Right, ...] = ()
    team: tuple[Right, ...] = ()
    access: tuple[Right, ...] = ()
    blocks: tuple[Right, ...] = ()
    titles: tuple[Title, ...] = ()
    regulation: bool = True
    break_glass: bool = True
    emergency_masked: bool = False
    grants: tuple[Right, ...] = ()
    masks: tuple[MaskRule, ...] = ()
    permits: tuple[Permit, ...] = ()
    lifted: bool = False
    epoch: int = 0
    joined: bool = False
    given: str = ""
    lost: bool = False

    def permitted(self, kind: str, now_ms: int) -> bool:
        """Whether the holder says yes to this use now."""
        return any(p.kind == kind and p.since_ms <= now_ms < p.until_ms for p in self.permits)

    @property
    def secrets(self) -> bool:
        """Whether anything was given in a minor's secret session."""
        return any(one.secret for those in (self.team, self.access, self.grants) for one in those)

    def without_secrets(self) -> "Dossier":
        """As representatives are told of it: without what was given in a minor's secret session."""
        team, access, grants = (tuple(one for one in those if not one.secret) for those in (self.team, self.access, self.grants))
        return replace(self, team=team, access=access, grants=grants)

    @property
    def masked_in_emergency(self) -> bool:
        """Whether an emergency sees masked documents: no when both emergencies are refused."""
        return self.emergency_masked and (self.regulation or self.break_glass)


def pack(dossier: Dossier) -> bytes:
    """The value as bytes for the vault: one byte of format, then MessagePack."""
    return bytes([FORMAT]) + msgspec.msgpack.encode(dossier)


def unpack(data: bytes) -> Dossier:
    """The value of such bytes; ValueError when they are of another format (then it is compiled anew from the resources)."""
    if data[:1] != bytes([FORMAT]):
        raise ValueError("the policy of this dossier was written in another format")
    return _DECODER.decode(data[1:])


_DECODER = msgspec.msgpack.Decoder(Dossier)
