"""FHIR operation Patient/[id]/$everything: the compartment of a patient, and what it refers to outside of it.

https://hl7.org/fhir/R4/patient-operation-everything.html

First the compartment, newest first, then what it refers to, each resource once over all pages; all pages look at one moment.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Hit, Url, searchset
from fhir_dmp.fhir.instants import from_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.fhir.tables import compartment, known_type
from fhir_dmp.interactions import appearing, care_dates, octets, read, search_shown, search_walk, sets, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import patients_named
from fhir_dmp.interactions.search_pages import Page, by_decision, by_index
from fhir_dmp.interactions.search_plan import Alternatives, Compartment, inside, plan
from fhir_dmp.interactions.search_rows import limits_of, opened
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import entry_of
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.predicate import EVERYTHING, All, DateIs, Has, Predicate
from fhir_dmp.search.query import CURSOR, Query
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON

PARAMETERS = (
    Parameter("start", "date"),
    Parameter("end", "date"),
    Parameter("_since", "instant"),
    Parameter("_type", "code", many=True),
    Parameter("_count", "integer"),
    Parameter(CURSOR),
)
# Contents are read one by one, each traced.
LEFT_OUT = frozenset({"Binary"})
# A place after all of a compartment, newest first.
THE_END = (0, "")


@dataclass(frozen=True, slots=True)
class _Asked:
    """inside: types of the compartment that are wanted. outside: whether another type is. since_ms: None for all."""

    context: Context
    id: str
    given: Given
    sight: Sight
    inside: tuple[str, ...]
    types: frozenset[str] | None
    since_ms: int | None

    def alternatives(self, types: Iterable[str], *, since: bool) -> Alternatives:
        """What is in the compartment, of these types, within the dates asked for."""
        changed: Predicate = EVERYTHING
        if since and self.since_ms is not None:
            changed = Has("_lastUpdated", DateIs("ge", self.since_ms, self.since_ms + 1))
        start, end = self.given.one("start"), self.given.one("end")
        wanted = [(each, All((changed, care_dates.within(each, start, end, undated=True)))) for each in types]
        return inside(wanted, Compartment("Patient", self.id))

    def shows(self, row: Row) -> bool:
        """Whether a resource outside the compartment may be in the answer: it exists, is no other patient's, and may be seen."""
        if row.deleted or row.body is None or row.dossier != COMMON or row.type in LEFT_OUT or not self.context.actor.allows(row.type, "r"):
            return False
        return self.sight.sees(row) and not patients_named(row.type, opened(self.context, row).index)


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """One page. Without `_count` as much as a page may hold."""
    admit(context, "Patient", "r")
    await _check_patient(context, url.id, sight)
    await appearing.lateness(sight.met)
    walk = sets.opened_walk(context, url, given.pairs, sight)
    work, cursor = _asked(context, url.id, given, await search_walk.sight_of(walk, sight)), walk.cursor
    most = context.settings.max_count
    count = min(given.number("_count", most), most)
    found = await (_before(work, count, cursor) if cursor and cursor.back and _outside_place(cursor) else _from(work, count, cursor))
    budget = octets.Budget(context)
    matches, others = await shown.rows(context, sight, found.page.rows), await shown.rows(context, sight, found.others)
    entries = [*(entry_of(row, "match") for row in matches), *(entry_of(row, "include") for row in others)]
    hits = [Hit(f"{context.base_url}/{entry.type}/{entry.id}", await sets.hit_body(budget, entry.row), entry.mode) for entry in entries]
    links = [("self", sets.address(context, url, given.pairs, given.one(CURSOR)))]
    for relation, place in (("next", found.next), ("previous", found.previous)):
        if place is not None:
            links.append((relation, sets.address(context, url, given.pairs, sets.sealed(context, url, given.pairs, walk, place))))
    return Answer(200, searchset(hits, total=found.page.total, links=links))


@dataclass(frozen=True, slots=True)
class _Found:
    """page: of the compartment. others: what it refers to outside, which comes after it, by key. A place of those is their key alone."""

    page: Page
    others: list[Row]
    next: Cursor | None
    previous: Cursor | None


def _outside_place(cursor: Cursor | None) -> bool:
    return cursor is not None and len(cursor.place) == 1


async def _from(work: _Asked, count: int, cursor: Cursor | None) -> _Found:
    """The first page, one after a place, or one of the compartment before a place."""
    page = Page((), cursor.total if cursor else 0)
    if work.inside and not _outside_place(cursor):
        page = await _compartment(work, count, cursor)
    rows = [*page.rows]
    following, moment = page.next, Moment((page.next or cursor).moment if page.next or cursor else None)
    others: list[Row] = []
    before = False
    if following is None and count:
        others = await _outside(work, moment, rows if cursor is None else None)
        after = cursor.place[0] if _outside_place(cursor) else b""
        before = any(row.key <= after for row in others)
        others = [row for row in others if row.key > after]
        room = count - len(rows)
        if len(others) > room:
            last = others[room - 1].key if room else after
            if not moment.time:  # nothing was read at a moment yet: later pages look at this one
                await work.context.reads.count(types=("Patient",), limit=1, moment=moment)
            following = Cursor(moment.time or 0, page.total, False, (last,))
        others = others[:room]
    preceding = page.previous
    if not rows and others and cursor is not None and (page.total or before):
        preceding = Cursor(moment.time or 0, page.total, True, (others[0].key,))
    return _Found(page, others, following, preceding)


async def _before(work: _Asked, count: int, cursor: Cursor) -> _Found:
    """The page that ends before a place outside: others, filled up with the last of the compartment."""
    moment, total = Moment(cursor.moment), cursor.total
    there = [row for row in await _outside(work, moment, None) if row.key < cursor.place[0]]
    others = there[-count:]
    page, preceding = Page((), total), None
    if len(others) < count:
        if work.inside and total:
            page = await _compartment(work, count - len(others), Cursor(cursor.moment, total, True, THE_END))
            preceding = page.previous
    elif len(there) > count or total:
        preceding = Cursor(cursor.moment, total, True, (others[0].key,))
    following = Cursor(cursor.moment, total, False, (others[-1].key,)) if others else page.next
    return _Found(page, others, following, preceding)


async def _check_patient(context: Context, id: str, sight: Sight) -> None:
    row = await read.current(context, "Patient", id)
    if row is None or (not row.deleted and not sight.sees(row)):
        raise read.absent()
    if row.deleted:
        raise read.deleted(row)


def _asked(context: Context, id: str, given: Given, sight: Sight) -> _Asked:
    members = {*compartment("Patient"), "Patient"}
    named = given.listed("_type")
    if unknown := [each for each in named if not known_type(each)]:
        raise FhirError("invalid", f"parameter `_type`: `{unknown[0][:60]}` is not a resource type")
    for each in named:
        admit(context, each, "r")
    # Who looked is no part of what there is: in a dossier the journal is asked for by name.
    apart = {"AuditEvent"} if context.enforcer is not None else set()
    inside = [each for each in sorted(members) if (each in named if named else each not in apart and context.actor.allows(each, "r"))]
    since = given.one("_since")
    since_ms = None if since is None else from_instant(since)
    return _Asked(context, id, given, sight, tuple(inside), frozenset(named) or None, since_ms)


async def _compartment(work: _Asked, count: int, cursor: Cursor | None) -> Page:
    alternatives = work.alternatives(work.inside, since=True)
    query = Query(None, tuple(alternatives), count=count)
    found = plan(work.context, alternatives, work.sight)
    if found.exact and not search_shown.depends(work.sight, alternatives):
        return await by_index(work.context, query, found, cursor)
    return await by_decision(work.context, query, alternatives, found, cursor)


async def _outside(work: _Asked, moment: Moment, whole: list[Row] | None) -> list[Row]:
    """What the compartment refers to outside of it, directly or through others, by key. whole: what was found of it, when on one page.

    With `_since`: what a changed resource leads to, and what has changed itself.
    """
    members = {*compartment("Patient"), "Patient"}
    if work.types is not None and work.types <= members | LEFT_OUT:
        return []
    readable = sorted(each for each in members if work.context.actor.allows(each, "r"))
    if whole is not None and work.since_ms is None and list(work.inside) == readable:
        rows = whole
    else:
        rows = await sets.all_rows(work.context, work.alternatives(readable, since=False), work.sight, moment)
    since = work.since_ms or 0
    # What is shown leads outside: what stands beside a reference to something hidden does not.
    rows = [shown.timed(work.sight.met, row) for row in await shown.unhiding(work.context, work.sight.met, rows)]
    known = {row.key for row in rows}
    led = await _closure(work, [row for row in rows if row.updated_ms >= since], known)
    led += [row for row in await _closure(work, [row for row in rows if row.updated_ms < since], known) if row.updated_ms >= since]
    return sorted((row for row in led if work.types is None or row.type in work.types), key=lambda row: row.key)


async def _closure(work: _Asked, rows: list[Row], known: set[bytes]) -> list[Row]:
    """Resources that these lead to; known: keys that were met already, added to."""
    context = work.context
    found: list[Row] = []
    while rows:
        keys: dict[bytes, str] = {}
        for row in rows:
            for _, type_name, id in sets.local_references(context, row.body):
                key = context.store.vault.locate(type_name, id)
                if key not in known and type_name not in LEFT_OUT:
                    keys[key] = type_name
        known |= keys.keys()
        loaded = await context.reads.load_many(keys, bodies=work.sight.sees) if keys else {}
        rows = [row for key, row in loaded.items() if row.type == keys[key] and work.shows(row)]
        found += rows
        if len(found) > limits_of(context).included:
            raise FhirError("too-costly", f"the compartment refers to more than {limits_of(context).included} others: name types, `_type`")
    return found
