"""What the operations that answer with a set have in common: addresses, cursors, references that lead out of the set.

https://hl7.org/fhir/R4/operations.html
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.references import parse_reference, references
from fhir_dmp.fhir.tables import known_type
from fhir_dmp.interactions import octets, search_walk
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_plan import Alternatives, plan
from fhir_dmp.interactions.search_rows import candidates, limits_of, matching
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.interactions.search_type import reader_digest
from fhir_dmp.interactions.search_walk import Walk
from fhir_dmp.search.paging import Cursor
from fhir_dmp.search.query import CURSOR
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.rows import Row


def address(context: Context, url: Url, pairs: Iterable[tuple[str, str]], cursor: str | None = None) -> str:
    """Address that asks for the same. pairs: as given, without a cursor."""
    parts = [part for part in (context.base_url, url.type, url.id, *url.tail) if part]
    said = [*((name, text) for name, text in pairs if name != CURSOR), *([(CURSOR, cursor)] if cursor else [])]
    query = "&".join(f"{quote(name, safe=':._-')}={quote(text, safe=':._-,|$/')}" for name, text in said)
    return "/".join(parts) + (f"?{query}" if query else "")


def sealed(context: Context, url: Url, pairs: Sequence[tuple[str, str]], walk: Walk, cursor: Cursor) -> str:
    """A cursor for this request and this reader alone."""
    return search_walk.sealed(context, walk, cursor, _digest(url, pairs), reader_digest(context))


def opened_walk(context: Context, url: Url, pairs: Sequence[tuple[str, str]], sight: Sight) -> Walk:
    """That of the cursor among the pairs, refused when it was made for another request or reader; without one a walk begins."""
    text = next((text for name, text in pairs if name == CURSOR), None)
    if text is None:
        return search_walk.begun(context, sight)
    return search_walk.opened(context, text, _digest(url, pairs), reader_digest(context))


def _digest(url: Url, pairs: Sequence[tuple[str, str]]) -> bytes:
    said = [url.type, url.id, *url.tail, *(f"{name}={text}" for name, text in sorted(pairs) if name != CURSOR)]
    return hashlib.blake2b("\0".join(said).encode(), digest_size=16).digest()


async def all_rows(context: Context, alternatives: Alternatives, sight: Sight, moment: Moment | None = None) -> list[Row]:
    """Every row of a set, opened; 400 beyond what a search may examine."""
    found = plan(context, alternatives, sight)
    limit = limits_of(context).candidates
    if found.exact:
        return [row async for row in candidates(context, found, limit=limit, moment=moment)]
    return [each.row for each in await matching(context, alternatives, sight, limit=limit, moment=moment)]


def local_references(context: Context, body: bytes) -> Iterator[tuple[str, str, str]]:
    """(place, type, id) of each reference to a resource of this server, contained resources included."""
    for place, reference in references(json.parse(body)):
        said = parse_reference(reference["reference"], (context.base_url,))
        if said.kind == "local" and known_type(said.type):
            yield place, said.type, said.id


async def hit_body(budget: octets.Budget, row: Row) -> bytes:
    """The resource of a row, its octets put back as far as they fit."""
    return await budget.whole(row.body or b"{}", row.content)
