"""Counts over all dossiers, made by the database over index fields; nothing is opened, nothing names a dossier.

https://www.mongodb.com/docs/manual/reference/operator/aggregation/group/
"""

from fhir_dmp.store.erasing import LEFT
from fhir_dmp.store.failures import translated
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import COMMON


@translated
async def dossiers(store: Store) -> int:
    """Dossiers that have a Patient, closed ones among them."""
    stages = [{"$match": {"t": "Patient", "d": {"$ne": COMMON}}}, {"$group": {"_id": "$d"}}, {"$count": "n"}]
    return await _number(store, stages, "type")


@translated
async def closed(store: Store) -> int:
    """Dossiers that are closed and kept."""
    return await _number(store, [{"$match": {"q": {"$gt": LEFT}}}, {"$count": "n"}], "closing")


@translated
async def per_dossier(store: Store, type_name: str) -> dict[int, int]:
    """How many dossiers have so many resources of a type: number of resources -> number of dossiers."""
    stages = [
        {"$match": {"t": type_name, "d": {"$ne": COMMON}}},
        {"$group": {"_id": "$d", "n": {"$sum": 1}}},
        {"$group": {"_id": "$n", "dossiers": {"$sum": 1}}},
    ]
    return {found["_id"]: found["dossiers"] for found in await _found(store, stages, "type")}


async def _number(store: Store, stages: list[dict], hint: str) -> int:
    found = await _found(store, stages, hint)
    return found[0]["n"] if found else 0


async def _found(store: Store, stages: list[dict], hint: str) -> list[dict]:
    command = {"aggregate": "resources", "pipeline": stages, "cursor": {}, "hint": hint, "allowDiskUse": True}
    return await store.connection.read(command)
