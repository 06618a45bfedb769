"""`fhir-dmp export`: dossiers as signed packages for another host or this one, and the closing once that host has acknowledged them.

See fhir_dmp/exchange/transfer.py and package.py.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from fhir_dmp.commands import Failed, _prepared, with_settings
from fhir_dmp.commands.sources import on_store
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, transfer
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded

NONE_DONE, SOME_REFUSED = 1, 3
# Dossiers whose export is traced before their packages are written: they wait for the journal once.
AT_ONCE = 200
RECEIPT = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("dossiers", nargs=-1, metavar="DOSSIER...")
@click.option("--to", "recipient", default="", help="registered host, see `fhir-dmp hosts`, which alone opens the packages; else this host")
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
    """Write the package of each DOSSIER (logical id of its Patient). Exit 0 all written, 3 some not, 1 none, or failed.

    Without --to they are copies that this host alone can open, verify and take back (`fhir-dmp takeover --source this-host`). Nothing is
    closed by it: a dossier closes here when its new host has acknowledged it (--acknowledged).
    """
    if not (bool(dossiers) ^ everything ^ bool(receipts)):
        raise click.UsageError("name dossiers, or --all, or receipts")
    if receipts and not recipient:
        raise click.UsageError("name with --to the host that the receipts are of")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    console = Console(stderr=True)

    async def work(plain: Context) -> int:
        """How many failed, below zero when all did."""
        refused = done = 0
        data = loaded.settings.data
        left = await _prepared.joined(plain.store, plain.settings)
        to = recipient or await hosts.itself(plain.store, data)
        if not recipient:
            click.echo(f"for this host itself: `fhir-dmp takeover PATH --source {to}` takes it back; --to names another host", err=True)
        context = transfer.as_host(plain, data, to)
        for path in receipts:
            try:
                receipt = await transfer.settled(context, path.read_text("ascii"), to)
                click.echo(f"Patient/{receipt.patient} is closed: transferred to {to}")
                done += 1
            except FhirError as error:
                refused += 1
                click.echo(f"{path}: {error}", err=True)
        named = [one async for one in transfer.dossiers(context)] if everything else [one.removeprefix("Patient/") for one in dossiers]
        with console.status("export") as status:
            for start in range(0, len(named), AT_ONCE):
                announced = []
                for patient in named[start : start + AT_ONCE]:
                    with told(patient) as failed:
                        await _prepared.check(plain.store, plain.store.vault.dossier_of_patient(patient), left)
                        await transfer.announce(transfer.as_host(plain, data, to), patient, to)
                        announced.append(patient)
                    refused += len(failed)
                for number, patient in enumerate(announced, start):
                    status.update(f"{number} of {len(named)} dossiers")
                    with told(patient) as failed:
                        path = out / f"{patient}{transfer.SUFFIX}"
                        context = transfer.as_host(plain, data, to)
                        manifest = await transfer.write(context, patient, to, path, reason)
                        done += 1
                        click.echo(f"{path}  {sum(manifest.counts.values())} resources")
                    refused += len(failed)
        return refused if done else -refused

    try:
        refused = on_store(loaded, "", work)
    except OSError as error:
        raise Failed(f"{error.filename or 'export'}: {error.strerror or error}") from None
    if refused:
        sys.exit(SOME_REFUSED if refused > 0 else NONE_DONE)


@contextlib.contextmanager
def told(patient: str) -> Iterator[list[FhirError]]:
    """What cannot be done about one dossier is said, and the next one follows; the list holds it then."""
    failed: list[FhirError] = []
    try:
        yield failed
    except FhirError as error:
        failed.append(error)
        click.echo(f"Patient/{patient}: {error}", err=True)
