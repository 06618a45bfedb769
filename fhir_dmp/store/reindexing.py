"""The blind index of stored rows, replaced without a new version; and what it was computed by.

https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from bson import Binary

from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import OPTIONS, Row, index_fields

RECORD = {"_id": "store"}


class Entries(Protocol):
    """See search.blind.Entries."""

    x: Iterable[int]
    g: Iterable[int]
    c: Iterable[int]
    n: Iterable[tuple[int, int | Decimal, int | Decimal]]


class Reindexed(NamedTuple):
    """A row as it was read, and its new index."""

    row: Row
    entries: Entries


@translated
async def replace_entries(store: Store, changes: Sequence[Reindexed]) -> int:
    """Replace the index of rows that still have the version that was read; how many had. One that was changed meanwhile has a new index."""
    if not changes:
        return 0
    updates = []
    for row, entries in changes:
        fields = index_fields(entries.x, entries.g, entries.c, entries.n)
        absent = {name: "" for name in ("x", "g", "c", "n") if name not in fields}
        change = {name: part for name, part in (("$set", fields), ("$unset", absent)) if part}
        updates.append({"q": {"_id": Binary(row.key), "v": row.version}, "u": change})
    answer = await store.connection.database.command({"update": "resources", "updates": updates, "ordered": False}, codec_options=OPTIONS)
    return answer["n"]


async def computed_by(store: Store) -> str | None:
    """Digest of the definitions the index of this store was computed by; None when it was never said."""
    return (await store.connection.database["meta"].find_one(RECORD)).get("index")


async def set_computed_by(store: Store, digest: str) -> None:
    """Say so, once every row is done."""
    await store.connection.database["meta"].update_one(RECORD, {"$set": {"index": digest}})
