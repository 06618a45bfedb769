"""What this host decided outside of dossiers, and a restore must not undo: sources switched off, keys of tokens never to serve again.

Kept in the row of the common dossier, which the journal of protective acts carries over like that of any dossier. See store/acts.py.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bson import Binary

from fhir_dmp.store.failures import translated
from fhir_dmp.store.vault import COMMON, dossier_row

if TYPE_CHECKING:
    from fhir_dmp.store.resources import Store

# id of a source, `_` for `.` -> its last switch: [instant, "enabled" or "disabled", why].
SWITCHES = "hs"
# kids of the keys that signed access tokens once and verify none any more.
KIDS = "hk"
_ROW = Binary(dossier_row(COMMON))


@translated
async def switched(store: "Store", source: str, said: list[str], at_ms: int) -> None:
    """Keep that a source was switched; on the disk when it returns."""
    await _keep(store, {f"{SWITCHES}.{_name(source)}": {"$literal": said}}, at_ms)


@translated
async def switches(store: "Store") -> dict[str, list[str]]:
    """The last switch of each source that was ever switched."""
    return {name.replace("_", "."): said for name, said in (await _found(store, SWITCHES) or {}).items()}


@translated
async def begun_anew(store: "Store", source: str) -> None:
    """A source is registered that was not: what was said of a former one of this id does not count."""
    if source in await switches(store):
        await _keep(store, {f"{SWITCHES}.{_name(source)}": "$$REMOVE"}, store.clock())


@translated
async def forgotten(store: "Store", kids: Iterable[str], at_ms: int) -> None:
    """Keep that these keys verify no access token any more; on the disk when it returns."""
    await _keep(store, {KIDS: {"$setUnion": [{"$ifNull": [f"${KIDS}", []]}, {"$literal": sorted(kids)}]}}, at_ms)


@translated
async def kids(store: "Store") -> frozenset[str]:
    """All keys that verify no access token any more, as far as the store knows."""
    return frozenset(await _found(store, KIDS) or ())


async def _keep(store: "Store", changes: dict[str, Any], at_ms: int) -> None:
    # Later than all before it also where a clock went back: the latest one counts.
    later = {"a": {"$max": [at_ms, {"$add": [{"$ifNull": ["$a", 0]}, 1]}]}}
    await store.connection.database["resources"].update_one({"_id": _ROW}, [{"$set": {**changes, **later}}])
    await store.acts.keep("host", [bytes(_ROW)], at_ms)


async def _found(store: "Store", name: str) -> Any:
    row = await store.connection.database["resources"].find_one({"_id": _ROW}, {name: 1})
    return row.get(name) if row else None


def _name(source: str) -> str:
    """An id as the name of a field; no id of a source has a `_`."""
    return source.replace(".", "_")
