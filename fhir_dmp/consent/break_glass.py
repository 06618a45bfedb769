"""Breaking the glass: how long a grant lasts, and what ends it before its time.

Code de la santé publique L1111-17 I, R1111-48; who may is in acts.BREAK_GLASS
"""

from fhir_dmp.consent.dossier import Dossier, Right
from fhir_dmp.consent.law import LAW, Law
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.fhir.instants import MINUTE


def granted(person: str, grant_id: str, now_ms: int, law: Law = LAW, *, secret: bool = False) -> Right:
    """A new grant of one professional, "ps:IDNPS", in one dossier. secret: asked for in a minor's secret session."""
    return Right(person, now_ms, now_ms + law.break_glass_minutes * MINUTE, grant_id, secret)


def surviving(dossier: Dossier, organizations: dict[str, str], now_ms: int) -> tuple[Right, ...]:
    """The grants that a new policy leaves open; what was ended never opens again, even if the block or opposition is lifted later.

    organizations: person of a grant -> his structure, for blocks that name a structure.
    """
    if dossier.status is not Status.OPEN or not dossier.break_glass or (dossier.deceased_ms is not None and dossier.deceased_ms <= now_ms):
        return ()
    return tuple(
        grant
        for grant in dossier.grants
        if now_ms < grant.until_ms
        and not any(block.covers(frozenset({grant.who, organizations.get(grant.who, "")}) - {""}, now_ms) for block in dossier.blocks)
    )
