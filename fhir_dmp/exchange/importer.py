"""Import: resources and Bundles from files, through the same interactions as the API.

A transaction is all or nothing. Entries of other Bundles, and single resources, stand for themselves: a bad one never stops the others.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from fhir_dmp.errors import FhirError, Issue, outcome_value
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.references import rewrite
from fhir_dmp.interactions import batch, dispatch, transaction
from fhir_dmp.interactions.context import Context
from fhir_dmp.store.resources import Locks
from fhir_dmp.store.vault import COMMON

log = logging.getLogger("fhir_dmp.exchange")

# Items under way at a time: enough for the store to gather, little enough for memory.
AT_ONCE = 48
# Bundles whose entries are taken one by one. Documents, messages and answers are one thing and stay whole.
OPENED = ("collection", "searchset", "history")
# A reference that found nothing may find it once everything else is there.
WORTH_ANOTHER_TRY = (404, 409, 412, 503)


class Result(NamedTuple):
    """What became of one resource. place: file, line, entry. location: Type/id/_history/version when it was accepted."""

    place: str
    status: int
    location: str = ""
    issues: tuple[Issue, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.status < 400

    def value(self) -> dict:
        """For the report."""
        told = {"place": self.place, "status": self.status}
        if self.location:
            told["location"] = self.location
        if self.issues:
            told["outcome"] = outcome_value(self.issues)
        return told


@dataclass(slots=True)
class Counts:
    """accepted, refused: resources. by_type: of the accepted ones."""

    accepted: int = 0
    refused: int = 0
    by_type: dict[str, int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one result."""
        if not result.accepted:
            self.refused += 1
            return
        self.accepted += 1
        if result.location:
            name = result.location.partition("/")[0]
            self.by_type[name] = self.by_type.get(name, 0) + 1


async def run(context: Context, items: Iterable[Item], told: Callable[[Result], None], consumed: Callable[[int], None]) -> Counts:
    """Import items in order, several at a time. told: called with each final result. consumed: with the bytes of input done."""
    counts = Counts()
    turns = Locks()
    again: list[Item] = []

    def tell(results: list[Result]) -> None:
        for result in results:
            counts.add(result)
            told(result)

    async def first(item: Item) -> None:
        results = await one(context, item, turns)
        if any(result.status in WORTH_ANOTHER_TRY for result in results):
            again.append(item)
        else:
            tell(results)
        consumed(item.consumed)

    await _side_by_side(items, first)
    # What waited for something later in the input. Each round must bring something, else it is the last.
    while again:
        waiting, again = again, []
        before = counts.accepted
        kept: list[tuple[Item, list[Result]]] = []
        for item in waiting:
            results = await one(context, item, turns)
            if all(result.accepted for result in results):
                tell(results)
            else:
                kept.append((item, results))
        if counts.accepted > before:
            again = [item for item, _ in kept]
        else:
            for _, results in kept:
                tell(results)
    return counts


async def _side_by_side(items: Iterable[Item], work: Callable) -> None:
    running: set[asyncio.Task] = set()
    try:
        for item in items:
            running.add(asyncio.create_task(work(item)))
            if len(running) >= AT_ONCE:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        for task in running:
            await task
    finally:
        for task in running:
            task.cancel()


async def one(context: Context, item: Item, turns: Locks) -> list[Result]:
    """One resource or Bundle. Results in the order of its entries. turns: held while a resource is written, by its address."""
    if item.fault is not None:
        return [Result(item.place, item.fault.status, issues=item.fault.issues)]
    try:
        tree = json.parse_exact(item.body, max_depth=context.settings.max_depth + 3)
        kind = tree.get("type") if tree.get("resourceType") == "Bundle" else None
        if kind in ("transaction", "batch"):
            return await _processed(context, item, tree)
        if kind in OPENED:
            return [result async for result in _entries(context, item, tree, turns)]
        return [await _resource(context, item.place, tree, item.body, turns)]
    except FhirError as error:
        return [Result(item.place, error.status, issues=error.issues)]
    except Exception as error:
        # What nobody foresaw about one resource must not stop the others: it is told as a fault of this program.
        log.error("unforeseen fault, import of %s", item.place, exc_info=error)
        return [Result(item.place, 500, issues=(Issue("fatal", "exception", f"this program failed: {type(error).__name__}"),))]


async def _processed(context: Context, item: Item, tree: dict) -> list[Result]:
    plan = bundle.plan(tree, base_urls=(context.base_url,))
    run_bundle = transaction.run if plan.kind == "transaction" else batch.run
    answered = json.parse(await run_bundle(context, plan, "minimal"))
    results = []
    for index, entry in enumerate(answered.get("entry", ())):
        response = entry["response"]
        issues = tuple(
            Issue(i["severity"], i["code"], i.get("diagnostics", ""), (i.get("expression") or [""])[0])
            for i in response.get("outcome", {}).get("issue", ())
        )
        location = response.get("location", "").removeprefix(context.base_url + "/")
        results.append(Result(f"{item.place} entry[{index}]", int(response["status"][:3]), location, issues))
    return results


async def _entries(context: Context, item: Item, tree: dict, turns: Locks) -> AsyncIterator[Result]:
    """Entries of a collection, searchset or history one by one; links between them that are urns are replaced."""
    listed = tree.get("entry", [])
    if not isinstance(listed, list):
        raise FhirError("invalid", "entry is not a list", "Bundle.entry")
    entries = [entry if isinstance(entry, dict) else {"resource": entry} for entry in listed]
    links = {}
    for entry in entries:
        resource, full_url = entry.get("resource"), entry.get("fullUrl")
        if isinstance(resource, dict) and isinstance(full_url, str) and full_url.startswith("urn:") and "resourceType" in resource:
            if "id" not in resource:
                dossier = context.store.vault.new_dossier(context.random) if resource["resourceType"] == "Patient" else COMMON
                entry["resource"] = resource = {**resource, "id": context.store.vault.new_id(dossier, context.random)}
            links[full_url] = f"{resource['resourceType']}/{resource['id']}"
    # A history is told newest first.
    numbered = list(enumerate(entries))
    for index, entry in reversed(numbered) if tree["type"] == "history" else numbered:
        place = f"{item.place} entry[{index}]"
        resource = entry.get("resource")
        deleted = tree["type"] == "history" and "resource" not in entry and _within(entry, "request").get("method") == "DELETE"
        if ("resource" not in entry and not deleted) or _within(entry, "search").get("mode") == "outcome":
            continue
        try:
            if deleted:
                yield await _deletion(context, place, _within(entry, "request"))
                continue
            if not isinstance(resource, dict):
                raise FhirError("invalid", "an entry holds a resource", f"Bundle.entry[{index}].resource")
            linked = rewrite(resource, links)
            yield await _resource(context, place, linked, json.dump(linked), turns)
        except FhirError as error:
            yield Result(place, error.status, issues=error.issues)


def _within(entry: dict, name: str) -> dict:
    found = entry.get(name)
    return found if isinstance(found, dict) else {}


async def _deletion(context: Context, place: str, request: dict) -> Result:
    """A version of a history that says that the resource is gone."""
    url = bundle.parse_url(str(request.get("url")))
    answer = await dispatch.run(context, dispatch.Request("DELETE", url._replace(query=(), conditional=False)))
    return Result(place, answer.status)


async def _resource(context: Context, place: str, tree: dict, body: bytes, turns: Locks) -> Result:
    """One resource: under its own id when it has one, else under a new one. Several of one id are written in the order of the input."""
    type_name, id = tree.get("resourceType"), tree.get("id")
    if not isinstance(type_name, str):
        raise FhirError("invalid", "the resource has no `resourceType`", "resourceType")
    url = bundle.parse_url(f"{type_name}/{id}" if id is not None else type_name)
    async with turns.hold([] if id is None else [url.identity.encode()]):
        answer = await dispatch.run(context, dispatch.Request("POST" if id is None else "PUT", url, body))
    return Result(place, answer.status, answer.location or "")
