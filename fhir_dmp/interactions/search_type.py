"""FHIR search: on a type, on all types, in a compartment.

https://hl7.org/fhir/R4/http.html#search
IHE MHD Find Document Lists [ITI-66], Find Document References [ITI-67]; DMP transaction TD3.1.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fhir_dmp.consent.decide import OBLIGATIONS
from fhir_dmp.errors import FhirError, Issue, outcome
from fhir_dmp.fhir import summary
from fhir_dmp.fhir.bundle import Hit, searchset
from fhir_dmp.fhir.references import is_id
from fhir_dmp.interactions import appearing, facts, octets, search_derived, search_labels, search_shown, search_walk, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.search_chains import resolved
from fhir_dmp.interactions.search_contained import Held, by_containers
from fhir_dmp.interactions.search_explain import explained
from fhir_dmp.interactions.search_includes import included
from fhir_dmp.interactions.search_pages import Page, by_decision, by_index, by_rows
from fhir_dmp.interactions.search_plan import Alternatives, Compartment, Plan, inside, plan
from fhir_dmp.interactions.search_rows import id_in, limits_of
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.search import sentences
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.query import CURSOR, Query
from fhir_dmp.search.sorting import shown_by
from fhir_dmp.search.terminology import shipped
from fhir_dmp.store.rows import Row

Pairs = Sequence[tuple[str, str]]
COMPARTMENTS = ("Patient", "Encounter", "Practitioner", "Device", "RelatedPerson")


class Entry(NamedTuple):
    """One entry of a searchset. mode: match | include | outcome; an outcome has no id and no row.

    within: "Type/id" of the row, where the entry is a resource it contains.
    """

    type: str
    id: str
    body: bytes
    mode: str
    row: Row | None = None
    within: str = ""

    @property
    def address(self) -> str:
        """Below the base, "" where it has none."""
        return f"{self.within}#{self.id}" if self.within else f"{self.type}/{self.id}" if self.id else ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a search found. total: None when it was not counted. links: (relation, absolute address), self first.

    explained: for X-Explain, how it was done; None when that was not asked for.
    """

    query: Query
    entries: tuple[Entry, ...]
    total: int | None
    links: tuple[tuple[str, str], ...]
    explained: dict | None = None


async def run(
    context: Context,
    type_name: str | None,
    pairs: Pairs,
    *,
    compartment: tuple[str, str] | None = None,
    sight: Sight = UNRESTRICTED,
) -> Answer:
    """The searchset of one page, as bytes. Arguments as those of `search`."""
    await in_step(context.transaction)
    result = await search(context, type_name, pairs, compartment=compartment, sight=sight)
    await in_step(context.transaction)
    budget, plain = octets.Budget(context), not (result.query.summary or result.query.elements)
    hits = []
    for entry in result.entries:
        if entry.row is not None and entry.row.content is not None and not entry.within and not result.query.summary:
            entry = entry._replace(body=await budget.whole(entry.body, entry.row.content))
        address = entry.address
        body = entry.body if plain else shaped(entry, result.query)
        hits.append(Hit(f"{context.base_url}/{address}" if address else "", body, entry.mode))
    return Answer(200, searchset(hits, total=result.total, links=result.links), explained=result.explained)


def shaped(entry: Entry, query: Query) -> bytes:
    """The body of an entry as `_summary` and `_elements` want it; names of `_elements` may say of which type, e.g. `Patient.name`."""
    if entry.mode == "outcome":
        return entry.body
    if query.summary:
        return summary.summary(entry.body, entry.type, query.summary)
    if query.elements and entry.mode == "match":
        named = [name.rpartition(".") for name in query.elements]
        return summary.elements(entry.body, entry.type, [name for owner, _, name in named if owner in ("", entry.type)])
    return entry.body


async def search(
    context: Context,
    type_name: str | None,
    pairs: Pairs,
    *,
    compartment: tuple[str, str] | None = None,
    lenient: bool | None = None,
    sight: Sight = UNRESTRICTED,
) -> Result:
    """One page. type_name: None for all types. pairs: decoded parameters in order. lenient: by default as the context says.

    compartment: (type, id), e.g. ("Patient", "p1").

    sight: what the asker may see; it joins the query, its chains and its includes.
    """
    admit(context, type_name, "s")
    if compartment is not None:
        compartment = Compartment(*compartment)
        if compartment.type not in COMPARTMENTS or not is_id(compartment.id):
            raise FhirError("not-found", f"there is no compartment `{compartment.type[:40]}/{compartment.id[:64]}`")
        admit(context, compartment.type, "s")
    query = understood(context, type_name, pairs, context.lenient if lenient is None else lenient, contained=True)
    scope = "/".join(compartment) if compartment else ""
    walk = search_walk.begun(context, sight)
    if query.cursor:
        walk = search_walk.opened(context, query.cursor, query.digest(scope), reader_digest(context))
    cursor = walk.cursor
    if query.contained and context.enforcer is not None:
        raise FhirError(
            "not-supported", "search parameter `_contained` is not served here: contained resources are found by their containers"
        )
    if query.contained:
        page, found = await by_containers(context, query, inside(query.alternatives, compartment), sight, cursor)
        rows, matches = [each.row for each in page.rows], [_entry_held(each) for each in page.rows]
    else:
        if sight.met is not None and sight.met.request.authored_here and compartment is None:
            pairs, query = _named_by_id(context, type_name, pairs, query, sight.met.patient)
        asked, labelled = search_labels.apart(context, type_name, pairs, query, sight)
        alternatives = await alternatives_of(context, asked, compartment, sight)
        found = plan(context, alternatives, await search_walk.sight_of(walk, labelled))
        await in_step(context.transaction)
        page = await _page(context, query, alternatives, found, cursor)
        await in_step(context.transaction)
        identified = await shown.identified(context, sight, page.rows)
        rows = [row for row, _ in identified]
        matches = [Entry(row.type, id, row.body or b"", "match", row) for row, id in identified]
    stored = rows if query.contained else page.rows
    others = []
    if rows and (query.includes or query.revincludes):
        others = await shown.rows(context, sight, await included(context, query, stored, sight))
    entries = [*matches, *[entry_of(row, "include") for row in others], *_warnings(query), *_restricted(sight, [*rows, *others])]
    address = _address(context, query, compartment)
    links = [("self", _with_cursor(address, query.cursor))]
    if not query.only_count:
        links.append(("first", address))
        for relation, place in (("next", page.next), ("previous", page.previous)):
            if place is not None:
                sealed = search_walk.sealed(context, walk, place, query.digest(scope), reader_digest(context))
                links.append((relation, _with_cursor(address, sealed)))
        bounded(context, links)
    told = await explained(context, query, found, cursor, page) if context.explain else None
    return Result(query, tuple(entries), page.total if query.counts else None, tuple(links), told)


def understood(context: Context, type_name: str | None, pairs: Pairs, lenient: bool, *, contained: bool = False) -> Query:
    """The query of the pairs, with the limits and terminology of this host. contained: it may ask for contained resources."""
    query = sentences.understood(
        type_name,
        pairs,
        now_ms=context.now_ms(),
        limits=limits_of(context),
        base_urls=(context.base_url,),
        terminology=shipped(),
        lenient=lenient,
    )
    if query.contained and not contained:
        raise FhirError("not-supported", "search parameter `_contained` belongs to a search")
    return query


def _named_by_id(context: Context, type_name: str | None, pairs: Pairs, query: Query, patient: str) -> tuple[Pairs, Query]:
    """The same criteria, where those that name the dossier by a number of its holder name him by his id, see search_named.by_id."""
    from fhir_dmp.interactions.search_named import by_id

    named = pairs if type_name == "Patient" else by_id(pairs, patient)
    if named is pairs:
        return pairs, query
    return named, query._replace(alternatives=understood(context, type_name, named, lenient=True).alternatives)


async def alternatives_of(context: Context, query: Query, compartment: Compartment | None, sight: Sight) -> Alternatives:
    """What rows must meet: the query in its compartment, chains looked up through what the asker may see."""
    await appearing.lateness(sight.met)
    asked = query.alternatives if context.enforcer is None else search_derived.completed(query.alternatives)
    met = await search_shown.seen_alone(context, asked, sight)
    return await resolved(context, inside(met, compartment), sight)


async def _page(context: Context, query: Query, alternatives: Alternatives, found: Plan, cursor: Cursor | None) -> Page:
    if query.only_count and not query.counts:
        return Page((), None)
    if search_shown.depends(found.sight, alternatives, [key.code for key in query.sort]):
        return await by_decision(context, query, alternatives, found, cursor)
    if found.exact and (query.by_time or query.only_count):
        return await by_index(context, query, found, cursor)
    if found.exact and (places := shown_by([name for name, _ in alternatives], query.sort, context.store.vault.hash64)) is not None:
        return await by_rows(context, query, found, places, cursor)
    return await by_decision(context, query, alternatives, found, cursor)


def entry_of(row: Row, mode: str) -> Entry:
    """The entry of a row; its id is read from the body."""
    return Entry(row.type, id_in(row), row.body or b"", mode, row)


def _entry_held(each: Held) -> Entry:
    entry = entry_of(each.row, "match")
    return Entry(each.type, each.fragment, each.body, "match", each.row, entry.address) if each.body else entry


def _warnings(query: Query) -> list[Entry]:
    if not query.ignored:
        return []
    issues = [Issue("warning", "not-supported", f"search parameter `{name[:80]}` is not known and was left out") for name in query.ignored]
    return [Entry("OperationOutcome", "", outcome(issues), "outcome")]


def _restricted(sight: Sight, rows: Sequence[Row]) -> list[Entry]:
    """Words about documents whose visibility is restricted, for whoever is to be warned on screen."""
    issues = []
    for row in rows if sight.met is not None and sight.met.policy is not None else ():
        # A trace carries the labels of what it tells of: to warn of it would tell them.
        for one in facts.opened(sight.met.context, row) if row.type == shown.LABELLED and shown.restricted(row) else ():
            for label in sorted(sight.met.view.warnings(one)):
                said = OBLIGATIONS[f"warn:{label}"].removeprefix("say on screen that ")
                issues.append(Issue("information", "informational", f"{row.type}/{shown.id_of(row.body or b'{}')}: {said}"))
    return [Entry("OperationOutcome", "", outcome(issues), "outcome")] if issues else []


def reader_digest(context: Context) -> bytes:
    """Who a cursor is made for."""
    actor = context.actor
    said = "\0".join((actor.issuer, actor.kind, actor.subject, actor.subject_name_id, actor.organization, actor.client_id))
    return hashlib.blake2b(said.encode(), digest_size=16).digest()


def _address(context: Context, query: Query, compartment: Compartment | None) -> str:
    parts = [context.base_url]
    if compartment is not None:
        parts += [compartment.type, compartment.id, query.type or "*"]
    elif query.type is not None:
        parts.append(query.type)
    asked_for = query.self_link()
    return "/".join(parts) + (f"?{asked_for}" if asked_for else "")


def bounded(context: Context, links: Sequence[tuple[str, str]]) -> None:
    """Refuse criteria so long that the links to other pages, which carry them, could not be followed."""
    most = context.settings.max_url_bytes
    if any(len(url) > most for relation, url in links if relation in ("next", "previous")):
        raise FhirError("too-costly", f"the criteria are too long for the links between pages, which may have {most} characters")


def _with_cursor(address: str, cursor: str | None) -> str:
    return address if cursor is None else f"{address}{'&' if '?' in address else '?'}{CURSOR}={cursor}"
