"""`fhir-dmp takeover`: packages of dossiers that another host gives away, one after the other, whatever their number.

See fhir_dmp/exchange/package_import.py.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from fhir_dmp.commands import Failed, _prepared, with_settings
from fhir_dmp.commands.serve import mongodb, private_folder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import package_import, sources
from fhir_dmp.exchange.opening import context_of, opened
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.exchange.transfer import SUFFIX
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store.failures import StoreError

SOME_REFUSED = 3
RECEIPT = ".receipt"


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, exists=True))
@click.option("--source", required=True, help="registered host that gives them, see `fhir-dmp hosts`")
@with_settings("sandbox", "base_url")
def command(loaded: Loaded, paths: tuple[Path, ...], source: str) -> None:
    """Take over the packages (.dmp) in files and folders; beside each a .receipt is written, which the giving host closes its dossier by.

    A package is taken whole or not at all; one that was taken before brings nothing new. Exit 0 all taken, 3 some refused, 1 failed.
    """
    take(loaded, paths, source)


def take(loaded: Loaded, paths: tuple[Path, ...], source: str) -> None:
    """Take packages over, and say so."""
    private_folder(loaded.settings.data)
    try:
        with mongodb(loaded.settings) as running:
            refused = asyncio.run(taken(running, paths, source))
    except (StoreError, FhirError) as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(f"{error.filename or 'takeover'}: {error.strerror or error}") from None
    if refused:
        sys.exit(SOME_REFUSED)


async def taken(settings: Settings, paths: tuple[Path, ...], source: str) -> int:
    """Take everything named; how many were refused."""
    refused = number = 0
    async with opened(settings, Rules(source=source)) as plain:
        await _prepared.joined(plain.store, settings)
        rules = await sources.rules_of(plain.store, source)
        context = context_of(plain.store, settings, rules)
        with Console(stderr=True).status("takeover") as status:
            for path in packages(paths):
                number += 1
                status.update(f"{number} packages")
                try:
                    with path.open("rb") as file:
                        done = await package_import.read(context, rules, file)
                    path.with_suffix(RECEIPT).write_text(done.receipt + "\n", "ascii")
                    unproved = f", {done.unproved} traces stand in no journal as that host says" if done.unproved else ""
                    click.echo(f"{path}  Patient/{done.patient}  {done.new} new versions{unproved}")
                except FhirError as error:
                    refused += 1
                    click.echo(f"{path}: {error}", err=True)
    return refused


def packages(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Files as they are named, folders with all packages beneath."""
    for path in paths:
        yield from sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else (path,)
