"""The store record: format version with its migrations, sandbox flag for life, key check, indexes.

https://www.mongodb.com/docs/manual/indexes/
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bson import Binary
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from fhir_dmp.search.parameters import definitions_digest
from fhir_dmp.store.connection import Connection
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.rows import PARTED
from fhir_dmp.store.vault import COMMON, Vault, dossier_row

FORMAT = 1
# How long a migration may go without a word before another process takes it over.
LEASE_MS = 60_000
# Key of the note in `meta` that a restore has begun and not ended.
RESTORING = "restoring"

Progress = Callable[[str, int, int], None]
Migration = Callable[[Connection, Vault, Callable[[int, int], Awaitable[None]]], Awaitable[None]]

# from format n -> to format n + 1. Each may be interrupted and run again from its start.
MIGRATIONS: dict[int, Migration] = {}

# Names are those that hints use, see reading.Reader.find.
INDEXES: dict[str, tuple[IndexModel, ...]] = {
    "resources": (
        IndexModel([("d", ASCENDING), ("t", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="dossier"),
        IndexModel([("t", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="type"),
        IndexModel([("l", DESCENDING), ("_id", DESCENDING)], name="time"),
        IndexModel(
            [("g", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="selective", partialFilterExpression={"g": {"$exists": True}}
        ),
        IndexModel(
            [("c", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="code", partialFilterExpression={"c": {"$exists": True}}
        ),
        IndexModel([("f.i", ASCENDING)], name="contents", sparse=True),
        IndexModel([("j.w", ASCENDING), ("j.q", ASCENDING)], name="journal", sparse=True),
        IndexModel([("q", ASCENDING)], name="closing", sparse=True),
        IndexModel([(PARTED, ASCENDING)], name="parted", sparse=True),
    ),
    "journal.chains": (IndexModel([("open", ASCENDING)], name="open"),),
    "journal.leaves": (IndexModel([("w", ASCENDING), ("q", ASCENDING)], name="place"),),
    "journal.heads": (IndexModel([("at", ASCENDING)], name="time"),),
    "versions": (
        IndexModel([("k", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="instance"),
        IndexModel([("d", ASCENDING), ("t", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="dossier"),
        IndexModel([("t", ASCENDING), ("l", DESCENDING), ("_id", DESCENDING)], name="type"),
        IndexModel([("l", DESCENDING), ("_id", DESCENDING)], name="time"),
        IndexModel([("f.i", ASCENDING)], name="contents", sparse=True),
    ),
    "imports": (IndexModel([("m", ASCENDING)], name="joined", sparse=True),),
    "quarantine": (
        IndexModel([("s", ASCENDING), ("_id", ASCENDING)], name="source"),
        IndexModel([("d", ASCENDING)], name="dossier", sparse=True),
    ),
    "claims": (IndexModel([("at", ASCENDING)], name="age", expireAfterSeconds=3600),),
    "contents.files": (
        IndexModel([("filename", ASCENDING), ("uploadDate", ASCENDING)], name="filename"),
        IndexModel([("metadata.d", ASCENDING)], name="dossier"),
        IndexModel([("uploadDate", ASCENDING), ("_id", ASCENDING)], name="age"),
    ),
    "host.credentials": (
        IndexModel([("login", ASCENDING)], name="login", unique=True),
        IndexModel([("dossier", ASCENDING)], name="dossier"),
    ),
    "host.outbox": (IndexModel([("at", ASCENDING)], name="time", sparse=True), IndexModel([("d", ASCENDING)], name="dossier")),
    "host.reviews": (
        IndexModel([("o", ASCENDING), ("at", ASCENDING), ("_id", ASCENDING)], name="open"),
        IndexModel([("d", ASCENDING)], name="dossier"),
    ),
    "acts.waiting": (IndexModel([("d", ASCENDING)], name="dossier"),),
    "host.counts": (IndexModel([("until", ASCENDING)], name="age", expireAfterSeconds=60),),
    "contents.chunks": (IndexModel([("files_id", ASCENDING), ("n", ASCENDING)], name="blocks", unique=True),),
}


class Record(NamedTuple):
    """What is fixed for the life of a store. identity: 32 hex characters, e.g. for the issuer of its tokens. created_ms: UTC."""

    identity: str
    sandbox: bool
    created_ms: int


async def open_record(
    connection: Connection,
    data_dir: Path,
    *,
    sandbox: bool | None,
    now_ms: Callable[[], int],
    progress: Progress | None = None,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    current: int = FORMAT,
) -> tuple[Vault, Record]:
    """Check, or write first, the store record; migrate an older format; make sure of the indexes.

    sandbox: None takes the store as it is, and creates none.
    """
    meta = connection.database["meta"]
    found = await meta.find_one({"_id": "store"})
    if found is None:
        if await meta.find_one({"_id": RESTORING}):
            raise StoreError("a backup is being restored here, or was only in part: run `fhir-dmp restore` to its end first")
        if sandbox is None:
            raise StoreError(f"there is no store in {data_dir} yet: start a server on it first, or say --sandbox to create a sandbox")
        vault = Vault.load_or_create(data_dir)
        found = await _create(connection, vault, sandbox, now_ms(), current)
    else:
        vault = _matching_vault(data_dir, found)
    if bytes(found["check"]) != vault.check:
        raise StoreError(_MISMATCH.format(data_dir=data_dir, database=connection.database.name))
    if sandbox is not None and found["sandbox"] != sandbox:
        raise StoreError(
            "this store was created as a sandbox and stays one: start it with --sandbox"
            if found["sandbox"]
            else "this store was created for real use: it cannot be started with --sandbox"
        )
    if found["format"] > current:
        raise StoreError(f"this store has format {found['format']}, this program knows formats up to {current}: use a newer program")
    if found["format"] < current:
        await _migrate(connection, vault, found["format"], current, migrations, progress, now_ms)
    await ensure_indexes(connection)
    return vault, Record(found["identity"], found["sandbox"], found["created"])


_MISMATCH = (
    "the host key {data_dir}/keys/host.key is not the one the store `{database}` was created with: nothing in it could be read. "
    "Give the --data folder that belongs to this store, or restore its keys/host.key"
)


def _matching_vault(data_dir: Path, found: Mapping[str, Any]) -> Vault:
    vault = Vault.load(data_dir)
    if vault is None:
        raise StoreError(
            f"this store exists already, but {data_dir}/keys/host.key does not: without it nothing can be read. Restore it from your backup"
        )
    return vault


async def _create(connection: Connection, vault: Vault, sandbox: bool, now_ms: int, format: int) -> dict[str, Any]:
    database = connection.database
    await ensure_indexes(connection)
    try:
        key_row = {"_id": Binary(dossier_row(COMMON)), "k": Binary(vault.new_dossier_key(COMMON))}
        await database["resources"].insert_one(key_row)
    except DuplicateKeyError:
        pass  # another process creates the same store at the same time
    record = {
        "_id": "store",
        "format": format,
        "sandbox": sandbox,
        "check": Binary(vault.check),
        "identity": os.urandom(16).hex(),
        "created": now_ms,
        "index": definitions_digest(),
    }
    try:
        await database["meta"].insert_one(record)
        return record
    except DuplicateKeyError:
        return await database["meta"].find_one({"_id": "store"})


async def ensure_indexes(connection: Connection) -> None:
    """Create what is missing: collections too, since a transaction cannot wait for them."""
    for name, indexes in INDEXES.items():
        await connection.database[name].create_indexes(list(indexes))


async def _migrate(
    connection: Connection,
    vault: Vault,
    found: int,
    current: int,
    migrations: Mapping[int, Migration],
    progress: Progress | None,
    now_ms: Callable[[], int],
) -> None:
    """Step by step to the current format, by one process at a time; the others wait."""
    meta = connection.database["meta"]
    step = found
    while step < current:
        if step not in migrations:
            raise StoreError(f"this store has format {step}, which this program no longer migrates: use a version in between first")
        lease = now_ms()
        free = {"_id": "store", "format": step, "$or": [{"lease": {"$exists": False}}, {"lease": {"$lt": lease - LEASE_MS}}]}
        taken = await meta.update_one(free, {"$set": {"lease": lease}})
        if not taken.modified_count:
            await asyncio.sleep(0.2)
            step = (await meta.find_one({"_id": "store"}))["format"]
            continue
        text = f"format {step} to {step + 1}"

        async def report(done: int, total: int, text: str = text) -> None:
            await meta.update_one({"_id": "store"}, {"$set": {"lease": now_ms()}})
            if progress:
                progress(text, done, total)

        try:
            await migrations[step](connection, vault, report)
        except BaseException:
            await meta.update_one({"_id": "store", "format": step}, {"$unset": {"lease": ""}})
            raise
        await meta.update_one({"_id": "store", "format": step}, {"$set": {"format": step + 1}, "$unset": {"lease": ""}})
        step += 1
