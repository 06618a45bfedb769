"""FHIR batch: each entry is an interaction of its own, with its own answer.

https://hl7.org/fhir/R4/http.html#transaction
"""

import asyncio
from dataclasses import replace
from itertools import groupby

from fhir_dmp.errors import FhirError, outcome
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.http_types import http_date
from fhir_dmp.interactions import dispatch, octets, operations, tracing
from fhir_dmp.interactions.context import Answer, Context, unread
from fhir_dmp.interactions.enforcement import Enforcer
from fhir_dmp.interactions.request_ledger import Ledger

# Entries of one method go together, so that the store can gather them; more at a time would only queue.
AT_ONCE = 64


async def run(context: Context, plan: bundle.Plan, prefer: str = "") -> bytes:
    """The batch-response. prefer: minimal, representation or OperationOutcome, else what each interaction gives by itself."""
    gate = asyncio.Semaphore(AT_ONCE)
    answers: dict[int, bundle.Answer] = {}
    # Entries run side by side: each has a ledger of its own. They are told in their order, whichever ended first.
    enforcers: dict[int, Enforcer] = {}

    async def one(entry: bundle.Entry) -> None:
        async with gate:
            alone = context
            if context.enforcer is not None:
                enforcers[entry.index] = context.enforcer.apart()
                alone = replace(context, enforcer=enforcers[entry.index])
            answers[entry.index] = await answer_of(alone, entry, prefer)

    # In the order of the entries: what a client puts first is done first, as far as it can tell.
    for _, entries in groupby(plan.ordered(), key=lambda entry: entry.method):
        group = [asyncio.create_task(one(entry)) for entry in entries]
        try:
            await asyncio.gather(*group)
        finally:
            for task in group:
                task.cancel()
    entries = {entry.index: entry for entry in plan.entries}
    for index, enforcer in sorted(enforcers.items()):
        if answers[index].status < 400:
            told(context, entries[index], enforcer.ledger)
        else:  # traced by itself
            context.enforcer.ledger.add(enforcer.ledger)
            context.enforcer.ledger.told = True
    return bundle.batch_response(answers[index] for index in range(len(plan.entries)))


def told(context: Context, entry: bundle.Entry, ledger: Ledger) -> None:
    """Note for the trace what an entry was shown and did: of one resource by itself, else by its words."""
    name = dispatch.name_of(entry.method, entry.target)
    if tracing.is_single(name, entry.url, ledger):
        context.enforcer.ledger.set_apart(ledger, name, entry.url)
    else:
        context.enforcer.ledger.add(ledger, f"{entry.method} {entry.url}")


async def answer_of(context: Context, entry: bundle.Entry, prefer: str) -> bundle.Answer:
    """What became of one entry; a refusal is an answer too, and is traced."""
    name = ""
    try:
        if entry.fault is not None:
            raise entry.fault
        request = request_of(entry)
        name = dispatch.name_of(request.method, request.url)
        return await entry_answer(context, entry, await dispatch.run(context, request), prefer)
    except FhirError as error:
        await tracing.refused(context, name, f"{entry.method} {entry.url}", error)
        return bundle.Answer(status=error.status, outcome=outcome(error.issues))


def request_of(entry: bundle.Entry, resource: dict | None = None) -> dispatch.Request:
    """The interaction of an entry. resource: in place of the one of the entry."""
    body = resource if resource is not None else entry.operations if entry.patch == "json" else entry.resource
    return dispatch.Request(
        method=entry.method,
        url=entry.target,
        body=b"" if body is None else json.dump(body),
        patch=entry.patch,
        if_match=entry.if_match,
        if_none_match=entry.if_none_match,
        if_modified_since=None if entry.if_modified_since is None else http_date(entry.if_modified_since),
        if_none_exist=entry.if_none_exist,
    )


async def entry_answer(context: Context, entry: bundle.Entry, answer: Answer, prefer: str) -> bundle.Answer:
    """An interaction's answer as an entry of a response Bundle. Reads give their resource, writes only on request."""
    asks = entry.target.tail[-1:] == ("_search",) or operations.is_operation(entry.target)
    answer = unread(context, entry.target.type, answer) if entry.method == "PATCH" else answer
    reads = entry.method in ("GET", "HEAD") or asks
    shows = entry.method != "HEAD" if reads else prefer == "representation"
    return bundle.Answer(
        status=answer.status,
        location="" if answer.location is None or reads else f"{context.base_url}/{answer.location}",
        version_id=answer.version or "",
        last_updated_ms=answer.updated_ms,
        resource=await octets.whole(context, answer.body, answer.content) if shows and answer.body is not None else None,
    )
