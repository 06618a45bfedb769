"""`fhir-dmp export`: dossiers as signed packages for another host, and the closing once that host has acknowledged them.

See fhir_dmp/exchange/transfer.py and package.py.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.sources import on_store
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import transfer
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded

SOME_REFUSED = 3
# Dossiers whose export is traced before their packages are written: they wait for the journal once.
AT_ONCE = 200
RECEIPT = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("dossiers", nargs=-1, metavar="DOSSIER...")
@click.option("--to", "recipient", required=True, help="registered host, see `fhir-dmp hosts`; the packages open there alone")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="folder of the packages")
@click.option("--all", "everything", is_flag=True, help="every dossier of this store")
@click.option("--reason", default="", help="why, as the package will say")
@click.option("--acknowledged", "receipts", type=RECEIPT, multiple=True, help="receipt of the new host: close the dossier it names")
@with_settings("sandbox")
def command(
    loaded: Loaded,
    dossiers: tuple[str, ...],
    recipient: str,
    out: Path,
    everything: bool,
    reason: str,
    receipts: tuple[Path, ...],
) -> None:
    """Write the package of each DOSSIER (logical id of its Patient). Exit 0 all written, 3 some not, 1 failed.

    Nothing is closed by it: a dossier closes here when its new host has acknowledged it (--acknowledged).
    """
    if not (bool(dossiers) ^ everything ^ bool(receipts)):
        raise click.UsageError("name dossiers, or --all, or receipts")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    console = Console(stderr=True)

    async def work(plain: Context) -> int:
        refused = 0
        context = transfer.as_host(plain, loaded.settings.data, recipient)
        for path in receipts:
            try:
                receipt = await transfer.settled(context, path.read_text("ascii"), recipient)
                click.echo(f"Patient/{receipt.patient} is closed: transferred to {recipient}")
            except FhirError as error:
                refused += 1
                click.echo(f"{path}: {error}", err=True)
        named = [one async for one in transfer.dossiers(context)] if everything else [one.removeprefix("Patient/") for one in dossiers]
        with console.status("export") as status:
            for start in range(0, len(named), AT_ONCE):
                announced = []
                for patient in named[start : start + AT_ONCE]:
                    with told(patient) as failed:
                        await transfer.announce(transfer.as_host(plain, loaded.settings.data, recipient), patient, recipient)
                        announced.append(patient)
                    refused += len(failed)
                for number, patient in enumerate(announced, start):
                    status.update(f"{number} of {len(named)} dossiers")
                    with told(patient) as failed:
                        path = out / f"{patient}{transfer.SUFFIX}"
                        context = transfer.as_host(plain, loaded.settings.data, recipient)
                        manifest = await transfer.write(context, patient, recipient, path, reason)
                        click.echo(f"{path}  {sum(manifest.counts.values())} resources")
                    refused += len(failed)
        return refused

    try:
        refused = on_store(loaded, "", work)
    except OSError as error:
        raise Failed(f"{error.filename or 'export'}: {error.strerror or error}") from None
    if refused:
        sys.exit(SOME_REFUSED)


@contextlib.contextmanager
def told(patient: str) -> Iterator[list[FhirError]]:
    """What cannot be done about one dossier is said, and the next one follows; the list holds it then."""
    failed: list[FhirError] = []
    try:
        yield failed
    except FhirError as error:
        failed.append(error)
        click.echo(f"Patient/{patient}: {error}", err=True)
