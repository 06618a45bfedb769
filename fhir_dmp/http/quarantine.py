"""$quarantine and $resolve over HTTP: what sources sent and nobody understood yet; what an operator says of it; and once more.

https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-resolve
"""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError, outcome_value
from fhir_dmp.exchange import reviewing, sources, waiting
from fhir_dmp.exchange.reviewing import LIST, RESOLVE
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.http.answers import send_bytes, shape_of
from fhir_dmp.interactions import operations, quarantine, tracing
from fhir_dmp.interactions.context import Context

MOST = 100


def concerns(url: Url) -> bool:
    """Whether an address is one of these."""
    return not url.type and url.tail in ((LIST,), (RESOLVE,))


async def serve(request: Request, send: Send, context: Context, url: Url, body: bytes) -> None:
    """Answer a request. body: of a POST."""
    given = operations.understood(context, request.method, url, body).given
    quarantine.admit_staff(context, "s" if url.tail == (LIST,) else "u")
    rules = await sources.rules_of(context.store, given.one("source") or "", sends=False)
    told = await (_listed if url.tail == (LIST,) else _resolved)(context, rules, given)
    if url.tail == (LIST,) or given.flag("replay"):
        await tracing.shown(context, "operation", f"{url.tail[0]}?source={rules.source}")
    answer = json.dump({"resourceType": "Parameters", **({"parameter": told} if told else {})})
    await send_bytes(send, 200, [(b"cache-control", b"no-store")], answer, shape_of(request, url.query)._replace(prefer=""))


async def _listed(context: Context, rules: Rules, given: Given) -> list[dict]:
    kind, after, count = given.one("kind"), given.one("after") or "", min(given.number("count", MOST), MOST)
    if kind is not None and kind not in quarantine.KINDS:
        raise FhirError("invalid", f"`kind` must be one of {', '.join(quarantine.KINDS)}")
    told: list[dict] = []
    async for key, what, held in reviewing.waiting_things(context, rules):
        if key <= after or kind not in (None, what):
            continue
        if len(told) == count:
            return [*told, {"name": "after", "valueString": told[-1]["part"][0]["valueString"]}]
        told.append({"name": "waiting", "part": _parts(key, what, held)})
    return told


def _parts(key: str, kind: str, held: waiting.Held) -> list[dict]:
    parts: list[dict] = [
        {"name": "id", "valueString": key},
        {"name": "kind", "valueCode": kind},
        {"name": "place", "valueString": held.place},
        {"name": "reason", "valueString": held.why},
    ]
    for element, local, text, near in held.codes:
        system, _, code = local.partition("|")
        coding = {name: value for name, value in (("system", system), ("code", code), ("display", text)) if value}
        inside = [{"name": "element", "valueCode": element}, {"name": "local", "valueCoding": coding}]
        inside += [{"name": "candidate", "valueCoding": {"system": s, "code": c, **({"display": d} if d else {})}} for s, c, d in near]
        parts.append({"name": "unknown", "part": inside})
    for patient, score, grade, by in held.people:
        match = [{"name": "patient", "valueReference": {"reference": patient}}, {"name": "score", "valueDecimal": score}]
        match += [{"name": "grade", "valueCode": grade}, {"name": "by", "valueString": by}]
        parts.append({"name": "candidate", "part": match})
    return parts


async def _resolved(context: Context, rules: Rules, given: Given) -> list[dict]:
    """Say what a code means, or who is meant; then, where that is asked for, import again what waits."""
    local, id, replay = given.one("local"), given.one("id"), given.flag("replay")
    if not (local or id or replay):
        raise FhirError("invalid", "nothing is resolved: `local` with `code`, `id` with `patient`, or `replay`")
    if replay:
        sources.by_itself(rules)
    told: list[dict] = []
    if local:
        code, element = (given.one("code") or "").rpartition("|")[2], given.one("element") or "type"
        target = await reviewing.map_code(context, rules.source, element, local if "|" in local else f"|{local}", code)
        coding = {name: value for name, value in target._asdict().items() if value}
        told.append({"name": "mapped", "valueCoding": coding})
        rules = await sources.rules_of(context.store, rules.source, sends=False)
    if id:
        patient = (given.one("patient") or "").removeprefix(f"{context.base_url}/").removeprefix("Patient/")
        linked = await reviewing.link(context, rules, id, patient)
        told.append({"name": "linked", "valueReference": {"reference": f"Patient/{linked}"}})
    if replay:
        told += await _replayed(context, rules)
    return told


async def _replayed(context: Context, rules: Rules) -> list[dict]:
    job = f"replay-{datetime.fromtimestamp(context.now_ms() / 1000, UTC):%Y%m%dT%H%M%SZ}"
    told = []
    async for result in reviewing.replay(context, rules, job):
        parts: list[dict] = [{"name": "place", "valueString": result.place}, {"name": "status", "valueInteger": result.status}]
        if result.location:
            parts.append({"name": "location", "valueReference": {"reference": result.location}})
        if result.issues:
            parts.append({"name": "outcome", "resource": outcome_value(result.issues)})
        told.append({"name": "result", "part": parts})
    return told
