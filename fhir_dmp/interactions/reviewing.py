"""What an act leaves for the host's physician to look at: noted when it is decided, stored in its transaction.

Code de la santé publique L1111-17 (emergency access), R1111-41; obligations `review` and `queue-for-host-physician` of consent.decide
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_dmp.consent.decide import Decision
from fhir_dmp.fhir import json
from fhir_dmp.store import reviews
from fhir_dmp.store.reviews import Review

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context
    from fhir_dmp.interactions.enforcement import Known

EMERGENCY, LATE = "emergency-access", "late-deposit"
KINDS = {"review": EMERGENCY, "queue-for-host-physician": LATE}


@dataclass(frozen=True, slots=True)
class Pending:
    """One entry of the queue before it is stored. dossier: its number. body: octets."""

    dossier: int
    at_ms: int
    body: bytes


def noted(context: "Context", met: "Known", decision: Decision, *, resource: str = "", why: str = "") -> None:
    """Note what a decision obliges to leave for review. resource: "Type/id" of what is deposited. why: the justification given."""
    kind = next((KINDS[one] for one in decision.obligations if one in KINDS), "")
    if kind:
        context.enforcer.ledger.reviews.append(pending(met, kind, resource, why))


def pending(met: "Known", kind: str, resource: str = "", why: str = "") -> Pending:
    """An entry about what one asker does now. kind: of KINDS."""
    told = {
        "kind": kind,
        "patient": met.patient,
        "professional": met.request.person.removeprefix("ps:"),
        "organization": met.request.organization.removeprefix("org:"),
        "resource": resource,
        "why": why,
    }
    return Pending(met.number, met.now_ms, json.dump(told))


def taken(context: "Context") -> list[Pending]:
    """What was noted, to be stored now."""
    if context.enforcer is None:
        return []
    found, context.enforcer.ledger.reviews = context.enforcer.ledger.reviews, []
    return found


async def store(inside: "Context", those: list[Pending]) -> None:
    """Let it wait, in the transaction of the act."""
    for one in those:
        await reviews.add(inside.transaction, entry(inside, one))


def entry(context: "Context", one: Pending) -> Review:
    """As it is stored."""
    return Review(context.random(16), one.dossier, one.at_ms, True, one.body)
