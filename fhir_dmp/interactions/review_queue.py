"""Operations $review-queue and $review: the host's physician looks at emergency accesses and at deposits after a death, and closes each.

Code de la santé publique L1111-17; seed 002: emergency accesses are looked at afterwards

Without a ticket the queue tells who, when and in whose dossier; why, and what was deposited, is content and needs one.
"""

from fhir_dmp.dmp import identity
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement, tracing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.store import reviews
from fhir_dmp.store.reviews import Review

QUEUE_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-review-queue"
REVIEW_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-review"
STATUSES = {"requested": True, "completed": False}
OUTCOMES = ("justified", "unjustified", "noted")
QUEUE = (Parameter("status", "code"), Parameter("after", "string"), Parameter("count", "positiveInt"))
REVIEW = (Parameter("id", "string", required=True), Parameter("outcome", "code", required=True), Parameter("note", "text"))
MOST = 100


async def queue(context: Context, url: Url, given: Given) -> Answer:
    """Parameters, one `review` each, from the oldest; `after` names the last one of the page before. Traced for each patient."""
    _physician(context, "s")
    status = given.one("status") or "requested"
    if status not in STATUSES:
        raise FhirError("invalid", f"`status` must be one of {', '.join(STATUSES)}")
    after = _id(given.one("after") or "")
    found = await reviews.listed(context.store, open=STATUSES[status], most=min(given.number("count", MOST), MOST), after=after)
    told = []
    for one in found:
        value = json.parse(one.body)
        if context.enforcer is not None:
            context.enforcer.ledger.disclosed.setdefault(value["patient"], {})
        told.append({"name": "review", "part": _parts(one, value, bool(context.actor.ticket))})
    return Answer(200, json.dump({"resourceType": "Parameters", **({"parameter": told} if told else {})}))


async def review(context: Context, url: Url, given: Given) -> Answer:
    """Close one, with what it was found to be; 409 when it is closed already."""
    _physician(context, "u")
    outcome = given.one("outcome") or ""
    if outcome not in OUTCOMES:
        raise FhirError("business-rule", f"`outcome` must be one of {', '.join(OUTCOMES)}", "Parameters.parameter")
    found = await reviews.one(context.store, _id(given.one("id") or ""))
    if found is None:
        raise FhirError("not-found", "there is no such review")
    now_ms = context.now_ms()
    closed = {"at": to_instant(now_ms), "by": context.actor.subject, "outcome": outcome, "note": (given.one("note") or "").strip()}
    value = {**json.parse(found.body), "closed": closed}
    after = found._replace(open=False, body=json.dump(value))
    traces = []
    if context.recorder is not None and context.enforcer is not None:
        context.enforcer.ledger.patient, context.enforcer.ledger.written = value["patient"], True
        asked = f"$review?id={found.id.hex()}&outcome={outcome}"
        traces = context.recorder.changes([tracing.trace(context, "operation", patient=value["patient"], query=asked)])

    async def work(transaction) -> None:
        if not await reviews.close(transaction, after):
            raise FhirError("conflict", "this review is closed already")
        await transaction.write(traces)

    await context.store.transact(work, claims=[found.id])
    part = {"name": "review", "part": _parts(after, value, bool(context.actor.ticket))}
    return Answer(200, json.dump({"resourceType": "Parameters", "parameter": [part]}))


def _physician(context: Context, letter: str) -> None:
    """The queue is for this host's physician and nobody else, but for a sandbox's `system`. letter: of scopes on everything."""
    admit(context, None, letter)
    request = context.enforcer.request if context.enforcer is not None else None
    if request is not None and not (request.kind == "operator" and request.role == "physician"):
        raise enforcement.refused()


def _id(text: str) -> bytes:
    """b"" for a text that is the id of no review."""
    try:
        return bytes.fromhex(text) if len(text) == 32 else b""
    except ValueError:
        return b""


def _parts(one: Review, value: dict, ticket: bool) -> list[dict]:
    closed = value.get("closed") or {}
    parts: list[dict] = [
        {"name": "id", "valueId": one.id.hex()},
        {"name": "code", "valueCode": value["kind"]},
        {"name": "status", "valueCode": "requested" if one.open else "completed"},
        {"name": "recorded", "valueInstant": to_instant(one.at_ms)},
        {"name": "patient", "valueReference": {"reference": f"Patient/{value['patient']}"}},
    ]
    if value["professional"]:
        parts.append({"name": "professional", "valueIdentifier": {"system": identity.IDNPS, "value": value["professional"]}})
    if value["organization"]:
        parts.append({"name": "organization", "valueIdentifier": {"system": identity.IDNST, "value": value["organization"]}})
    if ticket and value["why"]:
        parts.append({"name": "justification", "valueString": value["why"]})
    if ticket and value["resource"]:
        parts.append({"name": "resource", "valueReference": {"reference": value["resource"]}})
    if closed:
        parts += [{"name": "closed", "valueInstant": closed["at"]}, {"name": "outcome", "valueCode": closed["outcome"]}]
        if ticket and closed["note"]:
            parts.append({"name": "note", "valueString": closed["note"]})
    return parts
