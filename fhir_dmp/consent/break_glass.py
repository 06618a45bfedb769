"""Breaking the glass: how long a grant lasts, and what ends it before its time.

Code de la santé publique L1111-17 I, R1111-48; who may is in acts.BREAK_GLASS
"""

from dataclasses import replace

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.dossier import Dossier, Right
from fhir_dmp.consent.law import LAW, Law
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.fhir.instants import MINUTE


def granted(request: Request, grant_id: str, now_ms: int, law: Law = LAW) -> Right:
    """A new grant of the professional who asks, in one dossier."""
    ends_ms = now_ms + law.break_glass_minutes * MINUTE
    return Right(request.person, now_ms, ends_ms, grant_id, request.secret_session, request.organization)


def no_longer(grant: Right, now_ms: int, law: Law = LAW) -> Right:
    """A grant that another host says it gave: it lasts no longer than one of this host."""
    return replace(grant, until_ms=min(grant.until_ms, min(grant.since_ms, now_ms) + law.break_glass_minutes * MINUTE))


def open_at(dossier: Dossier, now_ms: int) -> tuple[Right, ...]:
    """The grants that neither their hour nor a block has ended. A block whose period begins later ends them as it begins, and for good."""
    if not dossier.grants:  # as nearly always
        return ()
    return tuple(grant for grant in dossier.grants if now_ms < grant.until_ms and not _blocked(grant, dossier.blocks, now_ms))


def _blocked(grant: Right, blocks: tuple[Right, ...], now_ms: int) -> bool:
    """Whether there was a block of the professional, or of the structure from which he asked, since the grant began."""
    names = {grant.who, grant.organization, *identity.houses((grant.who,))} - {""}
    return any(block.who in names and block.since_ms <= now_ms and grant.since_ms < block.until_ms for block in blocks)


def surviving(dossier: Dossier, now_ms: int) -> tuple[Right, ...]:
    """The grants that a new policy leaves open; what was ended never opens again, even if the block or opposition is lifted later."""
    if dossier.status is not Status.OPEN or not dossier.break_glass or (dossier.deceased_ms is not None and dossier.deceased_ms <= now_ms):
        return ()
    return open_at(dossier, now_ms)
