"""`fhir-dmp restore`: a backup into an empty database; what was masked, blocked or erased after it stays so.

See fhir_dmp/store/backup.py and fhir_dmp/store/acts.py.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import click

from fhir_dmp.audit.event import Trace
from fhir_dmp.audit.merger import note_restore
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.backup import bars
from fhir_dmp.commands.serve import mongodb, own_address, private_folder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import restoring
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store import backup
from fhir_dmp.store.acts import Replayed
from fhir_dmp.store.connection import Connection
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import Vault


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@with_settings()
def command(loaded: Loaded, source: Path) -> None:
    """Restore the backup SOURCE into an empty data folder or database.

    Before: put the keys folder of the host into DATA/keys, unless the backup holds it, and the newest journal/acts.log that is left into
    DATA/journal, so that no mask, block or erasure is lost. Where it and the one of the backup each hold acts that the other does not,
    nothing is restored, and the message says what goes together.
    """
    settings = loaded.settings
    private_folder(settings.data)
    try:
        keys = backup.keys_of(source, settings.data)
        vault = Vault.load(settings.data)
        if vault is None:
            raise Failed(f"this backup holds no keys: put those of its host into {settings.data / 'keys'} first")
        backup.opened(source, vault)
        with mongodb(settings) as running, bars() as progress:
            manifest, replayed = asyncio.run(work(running, vault, source, progress))
    except (StoreError, FhirError) as error:
        raise Failed(error) from None
    except OSError as error:
        raise Failed(f"{error.filename or source}: {error.strerror}") from None
    told = f"{manifest.documents} documents restored{', with their keys' if keys else ''}; "
    click.echo(f"{told}{replayed.acts} protective acts looked at, {replayed.rows} rows protected again, {replayed.lost} not here")


async def work(settings: Settings, vault: Vault, source: Path, progress: backup.Progress) -> tuple[backup.Manifest, Replayed]:
    """Restore, apply the protective acts, trace it, join what was joined: the next thing that is done may be a command."""
    connection = Connection(settings.mongodb_uri, settings.database)
    try:
        await connection.check_server()
        manifest = await backup.restore(connection, vault, settings.data, source, progress=progress)
    finally:
        await connection.close()
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=None)
    try:
        replayed = await restoring.replayed(store, settings.data)
        await note_restore(store, settings.data)
        said = f"{manifest.documents} documents of {manifest.moment_ms} ms, {replayed.rows} rows protected again"
        await Recorder(store, settings.base_url or "localhost").record([Trace(kind="restore", at_ms=store.clock(), query=said)])
        await restoring.joined_again(store, replace(settings, base_url=settings.base_url or own_address(settings)))
        return manifest, replayed
    finally:
        await store.close()
