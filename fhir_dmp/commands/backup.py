"""`fhir-dmp backup`: a copy of the whole store as it is at one moment, while it goes on serving.

See fhir_dmp/store/backup.py.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from fhir_dmp.audit.event import Trace
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.serve import mongodb, private_folder
from fhir_dmp.errors import FhirError
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store import backup
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store


@click.command()
@click.argument("target", type=click.Path(path_type=Path), required=False)
@click.option("--with-keys", is_flag=True, help="the keys folder too: whoever has such a backup can read everything in it")
@with_settings()
def command(loaded: Loaded, target: Path | None, with_keys: bool) -> None:
    """Back up into the new folder TARGET; without one, into a folder named by the time. Prints its name.

    The host key is not in it unless --with-keys: keep DATA/keys apart, nothing can be restored without it.
    """
    target = (target or Path(f"fhir-dmp-backup-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")).absolute()
    private_folder(loaded.settings.data)
    try:
        with mongodb(loaded.settings) as running, bars() as progress:
            manifest = asyncio.run(work(running, target, with_keys, progress))
    except (StoreError, FhirError) as error:
        raise Failed(error) from None
    except OSError as error:
        raise Failed(f"{error.filename or target}: {error.strerror}") from None
    when = datetime.fromtimestamp(manifest.moment_ms / 1000, UTC)
    click.echo(f"{manifest.documents} documents, {manifest.size} octets, as they were at {when:%Y-%m-%dT%H:%M:%SZ}", err=True)
    if not with_keys:
        click.echo(f"without the keys: keep a copy of {loaded.settings.data / 'keys'} in another place", err=True)
    click.echo(target)


async def work(settings: Settings, target: Path, keys: bool, progress: backup.Progress) -> backup.Manifest:
    """Back up the store of these settings, and trace it."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=None)
    try:
        manifest = await backup.write(store.connection, store.vault, settings.data, target, keys=keys, progress=progress)
        said = f"{manifest.documents} documents{', with the keys' if keys else ''}"
        await Recorder(store, settings.base_url or "localhost").record([Trace(kind="backup", at_ms=store.clock(), query=said)])
        return manifest
    finally:
        await store.close()


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each thing that is done, on a terminal; elsewhere a line every ten seconds."""
    console = Console(stderr=True)
    if not console.is_terminal:
        said = time.monotonic()

        def line(what: str, done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= 10:
                said = time.monotonic()
                click.echo(f"{what}, {done} of {total}", err=True)

        yield line
        return
    with Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console) as shown:
        tasks: dict[str, int] = {}

        def bar(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield bar
