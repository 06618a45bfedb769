"""Life of a dossier: opening, closing, death, loss and recovery of rights, majority, ten years of keeping.

CSP L1111-14, L1111-18, R1111-40 https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006190273
"""

from enum import StrEnum

from fhir_dmp.dmp.paris import birthday_ms, years_later_ms

MAJORITY = 18
KEPT_YEARS = 10


class Status(StrEnum):
    """open; closed by the holder, for death or by transfer; rights-lost: kept, read-only for the holder."""

    OPEN = "open"
    CLOSED = "closed"
    RIGHTS_LOST = "rights-lost"


# reason of $close and $reactivate -> (statuses it may come from, status it leads to)
STEPS: dict[str, tuple[frozenset[Status], Status]] = {
    "holder-request": (frozenset({Status.OPEN, Status.RIGHTS_LOST}), Status.CLOSED),
    "deceased": (frozenset(Status), Status.CLOSED),
    "transfer": (frozenset({Status.OPEN, Status.RIGHTS_LOST}), Status.CLOSED),
    "rights-lost": (frozenset({Status.OPEN}), Status.RIGHTS_LOST),
    "rights-recovered": (frozenset({Status.RIGHTS_LOST}), Status.OPEN),
    "reopened": (frozenset({Status.CLOSED}), Status.OPEN),
    "returned": (frozenset({Status.CLOSED}), Status.OPEN),
}
GESTIONNAIRE_REASONS = frozenset({"holder-request", "reopened", "returned"})


def step(status: Status, reason: str, deceased: bool = False, lost: bool = False) -> Status | None:
    """Status a reason leads to; None when it cannot happen now. A deceased person's dossier never opens again.

    lost: rights were lost when it was closed: who opens it again is where he was.

    >>> step(Status.RIGHTS_LOST, "rights-recovered"), step(Status.CLOSED, "rights-lost"), step(Status.CLOSED, "reopened", deceased=True)
    (<Status.OPEN: 'open'>, None, None)
    """
    origins, target = STEPS.get(reason, (frozenset(), status))
    if status not in origins or (deceased and target is Status.OPEN):
        return None
    return Status.RIGHTS_LOST if lost and status is Status.CLOSED and target is Status.OPEN else target


def majority_ms(birth_date: str) -> int:
    """00:00 Europe/Paris on the 18th birthday; ValueError when the birth date is none."""
    return birthday_ms(birth_date, MAJORITY)


def is_minor(birth_date: str, now_ms: int) -> bool:
    """Whether the holder is under 18 at that instant."""
    return now_ms < majority_ms(birth_date)


def destruction_ms(closed_ms: int) -> int:
    """When a closed dossier and its traces are destroyed: ten years after the closing."""
    return years_later_ms(closed_ms, KEPT_YEARS)


def is_due(closed_ms: int, now_ms: int) -> bool:
    """Whether a dossier closed then is to be destroyed now.

    >>> from fhir_dmp.fhir.instants import from_instant
    >>> closed = from_instant("2016-02-29T10:00:00Z")
    >>> is_due(closed, from_instant("2026-02-28T09:59:59Z")), is_due(closed, from_instant("2026-02-28T10:00:00Z"))
    (False, True)
    """
    return now_ms >= destruction_ms(closed_ms)


def may_be_due_ms(now_ms: int) -> int:
    """No dossier closed after this instant is due: ten years never have fewer days."""
    return now_ms - KEPT_YEARS * 365 * 86_400_000
