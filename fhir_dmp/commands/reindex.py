"""`fhir-dmp reindex`: compute the search index of every stored resource again, and copy into the database the acts it lacks of their file.

See fhir_dmp/interactions/reindex.py.
"""

import asyncio
import sys

import click

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.serve import mongodb
from fhir_dmp.interactions import reindex
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store import acts_told
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store


@click.command()
@with_settings("base_url")
def command(loaded: Loaded) -> None:
    """Compute the search index of every stored resource again; a running server goes on meanwhile."""
    try:
        with mongodb(loaded.settings) as running:
            click.echo(f"{asyncio.run(work(running))} resources indexed")
    except StoreError as error:
        raise Failed(error) from None


async def work(settings: Settings) -> int:
    """Open the store as it is, and do it."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=None)
    try:
        await acts_told.copy(store, settings.data)
        return await reindex.run(store, (settings.base_url,) if settings.base_url else (), progress)
    finally:
        await store.close()


def progress(done: int, total: int) -> None:
    """One line on a terminal, which fills up."""
    if sys.stderr.isatty():
        click.echo(f"\rindexing, {done} of {total}", nl=done >= total, err=True)
