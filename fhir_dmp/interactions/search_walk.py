"""The walk over the pages of one search: its links, and what is not in them because it came to the asker only after the first page.

https://hl7.org/fhir/R4/http.html#paging ; access-rules: what becomes visible to a class is seen by it as a late deposit

All pages look at the moment of the first, so that what is deposited since is in none of the later ones. What was there already and hidden
is found at that moment too. Once it is shown it is left out of them like a late deposit: where it stands among the others would tell when
it was deposited. A link keeps when its first page was read, as the rules told the time then.
"""

from dataclasses import replace
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import appearing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search import paging
from fhir_dmp.search.paging import Cursor
from fhir_dmp.store.rows import Row, Unopened


class Walk(NamedTuple):
    """cursor: of the page, None for the first. began_ms: when the rules were asked for the first page, UTC ms."""

    cursor: Cursor | None
    began_ms: int


def begun(context: Context, sight: Sight) -> Walk:
    """The walk of a first page."""
    return Walk(None, sight.met.now_ms if sight.met is not None else context.now_ms())


def opened(context: Context, text: str, query: bytes, reader: bytes) -> Walk:
    """The walk that a link goes on with; arguments and errors as of `paging.decode`. 410 for a link of another form."""
    cursor = paging.decode(text, context.store.vault.open_token, query, reader)
    *place, began_ms = cursor.place
    if not isinstance(began_ms, int):
        raise FhirError("deleted", "this page is no longer kept, please begin the search again")
    return Walk(replace(cursor, place=tuple(place)), began_ms)


def sealed(context: Context, walk: Walk, place: Cursor, query: bytes, reader: bytes) -> str:
    """The text of a link to another page of the walk."""
    kept = replace(place, place=(*place.place, walk.began_ms))
    return paging.encode(kept, context.store.vault.seal_token, query, reader)


async def sight_of(walk: Walk, sight: Sight) -> Sight:
    """What a page may show: what the asker sees, on a later page without what came to him since the first.

    A link made inside a transaction names no moment, and its page is read as of now, with what was deposited since.
    """
    if walk.cursor is None or not walk.cursor.moment or sight.met is None:
        return sight
    since = await appearing.keys_since(sight.met, walk.began_ms)
    if not since:
        return sight
    before = {"_id": {"$nin": sorted(since)}}

    def filter(type_name: str | None) -> dict:
        return {"$and": [sight.filter(type_name), before]}

    def sees(row: Row | Unopened) -> bool:
        return row.key not in since and sight.sees(row)

    return Sight(filter, sees, sight.met)
