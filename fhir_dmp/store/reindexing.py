"""The blind index of stored rows, and the dates that they lack, replaced without a new version; and what it was computed by.

https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from bson import Binary

from fhir_dmp.consent.predicate import DATES
from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import OPTIONS, Row, index_fields

RECORD = {"_id": "store"}
DOCUMENT = "DocumentReference"


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


@translated
async def give_dates(store: Store, row: Row, dates: tuple[int, int]) -> None:
    """Give the span of all its dates to a row that lacks it, and to what is dated as it is and lacks it too. dates: half-open, UTC ms.

    What vouches for it, and with a document its contents and Lists.
    """
    same = {name: row.visible[name] for name in ("rt", "pa", "pb")}
    lacking, told = {DATES[0]: {"$exists": False}}, dict(zip(DATES, dates, strict=True))
    alone = {f"y.{name}": part for name, part in {**same, **lacking}.items()} | {"y": {"$not": {"$type": "array"}}}
    given = {"$set": {f"y.{name}": part for name, part in told.items()}}
    with_it = {"d": row.dossier, "t": {"$nin": [DOCUMENT]} if row.type == DOCUMENT else "Provenance"}
    one = {f"one.{name}": part for name, part in {**same, **lacking}.items()}
    several = {"$set": {f"y.$[one].{name}": part for name, part in told.items()}}
    rows = (
        {"q": {"_id": Binary(row.key), "v": row.version, **alone}, "u": given},
        {"q": {**with_it, **alone}, "u": given, "multi": True, "hint": "dossier"},
        {"q": {**with_it, "y": {"$elemMatch": {**same, **lacking}}}, "u": several, "arrayFilters": [one], "multi": True, "hint": "dossier"},
    )
    # Where an act touched it, it has facts now that are later than those that the act left.
    updates = [
        {**each, "q": {**each["q"], "a": {"$exists": acted}}, "u": {**each["u"], **({"$inc": {"a": 1}} if acted else {})}}
        for each in rows
        for acted in (False, True)
    ]
    await store.connection.database.command({"update": "resources", "updates": updates}, codec_options=OPTIONS)


@translated
async def computed_by(store: Store) -> str | None:
    """Digest of the definitions the index of this store was computed by; None when it was never said."""
    return (await store.connection.database["meta"].find_one(RECORD)).get("index")


async def set_computed_by(store: Store, digest: str) -> None:
    """Say so, once every row is done."""
    await store.connection.database["meta"].update_one(RECORD, {"$set": {"index": digest}})
