"""Who has access to a dossier, and why: the list its holder reads and changes.

Code de la santé publique L1111-19
"""

from typing import NamedTuple

from fhir_dmp.consent.break_glass import open_at
from fhir_dmp.consent.dossier import Dossier, Right
from fhir_dmp.fhir.instants import MAX_MS

# In the order in which a reason speaks for somebody who has several.
REASONS = ("medecin-traitant", "assimilated", "care-team", "consent", "break-glass")


class Listed(NamedTuple):
    """who: "ps:IDNPS" or "org:IDNST". reason: one of REASONS, "" for somebody who is only blocked. until_ms: None without end."""

    who: str
    reason: str
    until_ms: int | None
    blocked: bool


def access_list(dossier: Dossier, now_ms: int) -> tuple[Listed, ...]:
    """Everybody who has a right now or is blocked, once each, sorted by name. A right of one who is blocked opens nothing."""
    found: dict[str, tuple[str, int]] = {}
    sources: tuple[tuple[str, tuple[Right, ...]], ...] = (
        ("medecin-traitant", tuple(Right(who) for who in sorted(dossier.traitant))),
        ("assimilated", dossier.assimilated),
        ("care-team", dossier.team),
        ("consent", dossier.access),
        ("break-glass", open_at(dossier, now_ms) if dossier.break_glass else ()),
    )
    for reason, rights in sources:
        for right in rights:
            if right.since_ms <= now_ms < right.until_ms:
                kept, until = found.get(right.who, (reason, right.until_ms))
                found[right.who] = kept, max(until, right.until_ms) if kept == reason else until
    blocked = {right.who for right in dossier.blocks if right.since_ms <= now_ms < right.until_ms}
    return tuple(
        Listed(who, reason, None if until == MAX_MS else until, who in blocked)
        for who, (reason, until) in sorted({**{who: ("", MAX_MS) for who in blocked}, **found}.items())
    )
