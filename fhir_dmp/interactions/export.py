"""FHIR Bulk Data export: what is asked for, and the job that answers it later.

https://hl7.org/fhir/uv/bulkdata/export.html

All of an export is read at one moment, the one its first read looked at. Its files are sealed under a key of their own, as if the export
were a dossier: deleting it destroys the key.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Pairs, Url, parse_query
from fhir_dmp.fhir.instants import from_instant, to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.fhir.tables import RESOURCE_TYPES, compartment, known_type
from fhir_dmp.interactions import enforcement, read
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_access import public_sight
from fhir_dmp.interactions.search_plan import Alternatives
from fhir_dmp.interactions.search_rows import limits_of
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import alternatives_of, reader_digest, understood
from fhir_dmp.search.blind import self_hash
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.predicate import All, AnyOf, DateIs, Has, IdIn, Predicate, ReferenceTo, simplified
from fhir_dmp.store.records import Job

KIND = "export"
FORMATS = ("application/fhir+ndjson", "application/ndjson", "ndjson")
PARAMETERS = (
    Parameter("_outputFormat"),
    Parameter("_since", "instant"),
    Parameter("_type", many=True),
    Parameter("_typeFilter", many=True),
)
LIFE_MS = 24 * 3600 * 1000
# A running job says that it lives; one that is silent for so long has lost its server.
SILENCE_MS = 30_000
PURPOSE = "export request"
_NEXT_FILTER = re.compile(r",(?=[A-Z][A-Za-z]+\?)")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export reads, type by type. patients: it goes into the compartments of patients only, whoever they are."""

    parts: tuple[tuple[str, Alternatives], ...]
    patients: bool
    request: str
    sight: Sight = UNRESTRICTED


async def run(context: Context, url: Url, given: Given) -> Answer:
    """As a part of something else an export has no answer."""
    raise FhirError("not-supported", "an export is asked for by itself, with `Prefer: respond-async`")


async def planned(context: Context, url: Url, given: Given, request: str, sight: Sight = UNRESTRICTED) -> Plan:
    """Understand a request, before anything is promised. request: its address, for the manifest."""
    # Whole dossiers leave sealed, one by one, by $export-dossier; in bulk goes what the rules show to hosts and administrators.
    if context.enforcer is not None:
        if context.enforcer.request.kind not in ("host", "operator"):
            raise enforcement.refused()
        sight = public_sight()
    form = given.one("_outputFormat")
    if form is not None and form.replace(" ", "+") not in FORMATS:  # `+` of an unescaped media type arrives as a space
        raise FhirError("not-supported", f"`_outputFormat`: `{form[:60]}` is not served; exports are {FORMATS[0]}")
    types = _types(context, url, given)
    since = given.one("_since")
    filters = _filters(context, given, types)
    within = await _members(context, url, sight) if url.type == "Group" else None
    parts: list[tuple[str, Alternatives]] = []
    for name in types:
        wanted: list[Predicate] = [await _one(context, name, pairs, sight) for pairs in filters.get(name, [()])]
        part = wanted[0] if len(wanted) == 1 else AnyOf(tuple(wanted))
        if since is not None:
            at = from_instant(since)
            part = All((part, Has("_lastUpdated", DateIs("ge", at, at + 1))))
        if within is not None:
            part = All((part, _of(context, name, within)))
        parts.append((name, [(name, simplified(part))]))
    return Plan(tuple(parts), url.type == "Patient", request, sight)


def _types(context: Context, url: Url, given: Given) -> list[str]:
    """Types to export, as far as the token's scopes go; those that are named must be within them."""
    possible = sorted({*compartment("Patient"), "Patient"}) if url.type else list(RESOURCE_TYPES)
    named = given.listed("_type")
    for each in named:
        if not known_type(each):
            raise FhirError("invalid", f"`_type`: `{each[:60]}` is not a resource type")
        if each not in possible:
            raise FhirError("not-supported", f"`_type`: no {each} is in the compartment of a patient; ask for it at system level")
        admit(context, each, "r")
        admit(context, each, "s")
    types = list(named) or [each for each in possible if context.actor.allows(each, "r") and context.actor.allows(each, "s")]
    if not types:
        admit(context, None, "s")
    return types


def _filters(context: Context, given: Given, types: list[str]) -> dict[str, list[Pairs]]:
    found: dict[str, list[Pairs]] = {}
    for text in given.all("_typeFilter"):
        for each in _NEXT_FILTER.split(text):
            name, asked, query = each.partition("?")
            if not asked or name not in types:
                raise FhirError("invalid", f"`_typeFilter`: `{each[:80]}` is not a search on a type of this export")
            found.setdefault(name, []).append(parse_query(query))
    return found


async def _one(context: Context, type_name: str, pairs: Pairs, sight: Sight) -> Predicate:
    query = understood(context, type_name, pairs, False)
    if query.controls:
        raise FhirError("invalid", f"`_typeFilter` only says what to look for: `{query.controls[0][:80]}` does not")
    ((_, part),) = await alternatives_of(context, query, None, sight)
    return part


async def _members(context: Context, url: Url, sight: Sight) -> frozenset[str]:
    """Ids of the patients of a Group, those of Groups in it included, inactive members not."""
    admit(context, "Group", "r")
    patients: set[str] = set()
    seen: set[str] = set()
    waiting = [url.id]
    while waiting:
        id = waiting.pop()
        seen.add(id)
        row = await read.current(context, "Group", id)
        gone = row is None or row.deleted or row.body is None
        if gone or not sight.sees(row):
            if id == url.id:
                raise read.deleted(row) if row is not None and row.deleted else read.absent()
            continue
        for member in json.parse(row.body).get("member", ()):
            said = parse_reference((member.get("entity") or {}).get("reference") or "", (context.base_url,))
            if said.kind == "local" and not member.get("inactive"):
                if said.type == "Patient":
                    patients.add(said.id)
                elif said.type == "Group" and said.id not in seen:
                    waiting.append(said.id)
        if len(patients) > limits_of(context).candidates:
            raise FhirError("too-costly", f"a Group of more than {limits_of(context).candidates} patients is not exported at once")
    return frozenset(patients)


def _of(context: Context, type_name: str, patients: frozenset[str]) -> Predicate:
    """In the compartment of one of these patients."""
    vault = context.store.vault
    addresses = frozenset(self_hash("Patient", id, vault.hash64) for id in patients)
    theirs = ReferenceTo(addresses, frozenset(vault.dossier_of_patient(id) for id in patients))
    if type_name == "Patient":
        return Has("_id", IdIn(patients))
    known = parameters(type_name)
    return AnyOf(tuple(Has(code, theirs) for code in compartment("Patient")[type_name] if code in known))


# What is asked about a job


@dataclass(frozen=True, slots=True)
class State:
    """A job as its client may know it. manifest: JSON of the answer, None while it runs. progress: words. expires_ms: UTC."""

    manifest: bytes | None
    progress: str = ""
    expires_ms: int = 0


def _may_ask(context: Context) -> None:
    """Refuse a token whose scopes leave nothing that could be exported."""
    if not any(context.actor.allows(each, "r") and context.actor.allows(each, "s") for each in RESOURCE_TYPES):
        admit(context, None, "s")


async def job_of(context: Context, id: str) -> Job:
    """The job, for whoever asked for it; for anybody else there is none."""
    job = await Job.get(id) if id.startswith(f"{KIND}-") and len(id) <= 64 else None
    if job is None or job.kind != KIND or job.detail.get("asker") != reader_digest(context).hex():
        raise FhirError("not-found", "there is no such export")
    if _created_ms(job) + LIFE_MS < context.now_ms():
        await remove(context, id)
        raise FhirError("not-found", "there is no such export")
    return job


async def state_of(context: Context, id: str) -> State:
    """How far it is; of its files those that the token's scopes leave. One that failed is refused with the reason."""
    _may_ask(context)
    job = await job_of(context, id)
    # A server that is only slow stops too: it looks for its job with every beat.
    if job.state == "running" and context.now_ms() - job.detail["beat"] > SILENCE_MS:
        lost = "the server that ran this export has stopped: delete it and ask again"
        if await close(id, "failed", {"problem": "exception", "words": lost}):
            await context.store.destroy_dossier(int(job.detail["dossier"]))
        job = await job_of(context, id)
    if job.state == "failed":
        raise FhirError(job.detail.get("problem", "exception"), job.detail.get("words", "the export failed: ask again"))
    if job.state != "done":
        return State(None, f"{job.done} resources, {job.detail.get('types', 0)} of {job.total} types")
    request = context.store.vault.open_token(job.detail["request"], PURPOSE) or b""
    manifest = {
        "transactionTime": to_instant(job.detail["moment"]),
        "request": request.decode(),
        "requiresAccessToken": True,
        "output": [
            {"type": each["type"], "url": f"{context.base_url}/${KIND}/{id}/{number}", "count": each["count"]}
            for number, each in enumerate(job.detail["outputs"])
            if context.actor.allows(each["type"], "r")
        ],
        "error": [],
    }
    return State(json.dump(manifest), expires_ms=_created_ms(job) + LIFE_MS)


async def output_of(context: Context, id: str, number: str) -> tuple[bytes, int]:
    """(content, size in bytes) of one file of a finished export."""
    job = await job_of(context, id)
    outputs = job.detail.get("outputs", []) if job.state == "done" else []
    if not (number.isascii() and number.isdigit() and len(number) < 6 and int(number) < len(outputs)):
        raise FhirError("not-found", "there is no such file")
    each = outputs[int(number)]
    admit(context, each["type"], "r")
    return bytes.fromhex(each["content"]), each["size"]


async def cancel(context: Context, id: str) -> None:
    """Stop it if it runs, and destroy what it wrote."""
    _may_ask(context)
    await job_of(context, id)
    await remove(context, id)


async def remove(context: Context, id: str) -> None:
    """Forget a job; whoever runs it notices. Then nothing it wrote can be read any more."""
    job = await Job.get(id)
    await Job.objects(pk=id).delete()
    if job is not None:
        await context.store.destroy_dossier(int(job.detail["dossier"]))


async def close(id: str, state: str, detail: dict, **fields: object) -> bool:
    """End a running job, unless it ended already or was deleted."""
    said = {f"set__detail__{name}": value for name, value in detail.items()}
    return bool(await Job.objects(pk=id, state="running").update(set__state=state, set__finished=datetime.now(UTC), **said, **fields))


def _created_ms(job: Job) -> int:
    return int(job.created.replace(tzinfo=UTC).timestamp() * 1000)


def accepted() -> Issue:
    return Issue("information", "informational", "the export has begun; its state is at Content-Location")
