"""A store that is opened, lost and restored: for tests of backups."""

import contextlib
from pathlib import Path

from fhir_dmp.store import backup
from fhir_dmp.store.connection import Connection
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import Vault


@contextlib.asynccontextmanager
async def opened(mongod, database: str, folder: Path):
    store = await Store.open(mongod.uri, database, data_dir=folder)
    try:
        yield store
    finally:
        await store.close()


async def restored(mongod, database: str, folder: Path, source: Path) -> backup.Manifest:
    connection = Connection(mongod.uri, database)
    try:
        return await backup.restore(connection, Vault.load(folder), folder, source)
    finally:
        await connection.close()
