"""`fhir-dmp verify`: the journal, every stored row and every seal, derived again; what differs is named.

See fhir_dmp/audit/verify.py.
"""

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from fhir_dmp.audit.verify import Report, Verifier
from fhir_dmp.audit.verify_rows import Derive, rows
from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.serve import mongodb
from fhir_dmp.errors import FhirError
from fhir_dmp.interactions.reindex import entries_of, facts_said
from fhir_dmp.interactions.seal_reading import foreign
from fhir_dmp.interactions.verify_seals import seals
from fhir_dmp.search.blind import Entries
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.store import acts_told
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Row

DIFFERS = 1
KEPT = click.Path(path_type=Path, exists=True, dir_okay=False)
COUNTS = ("traces", "unmerged", "erased", "heads", "lost", "rows", "seals")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="one JSON line for each fault, and one for the summary")
@click.option("--journal-only", is_flag=True, help="leave out the rows that are no traces")
@click.option("--witness", multiple=True, type=KEPT, help="file of checkpoints kept elsewhere, as /journal/checkpoint gives them")
@with_settings("base_url")
def command(loaded: Loaded, as_json: bool, journal_only: bool, witness: tuple[Path, ...]) -> None:
    """Verify traces, log, checkpoints, stored rows and their index. Exit 0 when all is sound, 1 with a list when anything differs."""
    begun = time.monotonic()
    try:
        with mongodb(loaded.settings) as running:
            report = asyncio.run(verified(running, journal_only, witness))
    except (StoreError, FhirError) as error:
        raise Failed(str(error)) from None
    for fault in report.faults:
        click.echo(json.dumps(fault._asdict(), ensure_ascii=False) if as_json else str(fault))
    if report.lost and not as_json:
        click.echo(f"{report.lost} traces that a checkpoint knows were lost by the restore of a backup", err=True)
    summary = {name: getattr(report, name) for name in COUNTS} | {"faults": len(report.faults)}
    if as_json:
        click.echo(json.dumps(summary))
    else:
        told = ", ".join(f"{number} {name}" for name, number in summary.items())
        click.echo(f"{told} in {time.monotonic() - begun:.1f} s", err=bool(report.faults))
    if report.faults:
        sys.exit(DIFFERS)


def derivation(store: Store, base_url: str) -> Derive:
    """How the index of a row follows from its body."""

    def derive(row: Row) -> Entries | None:
        # Without the address of the server nobody can tell which absolute references are its own.
        if not base_url and b'"reference":"http' in row.body.replace(b" ", b""):
            return None
        return entries_of(store, row, (base_url,) if base_url else ())

    return derive


async def verified(settings: Settings, journal_only: bool, witnesses: tuple[Path, ...] = ()) -> Report:
    """The report on the store of these settings."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=settings.sandbox or None)
    console = Console(stderr=True)
    try:
        with console.status("journal") as status:
            report = await Verifier(store, settings.data, witnesses).run()
            if not journal_only:
                said = partial(facts_said, store)
                await rows(store, report, lambda done: status.update(f"{done} rows"), derivation(store, settings.base_url), said)
                for one in await acts_told.differences(store, settings.data):
                    report.add(*one)
                keys = [SealKeys(settings.data), *await foreign()]
                report.seals = await seals(store, report, keys, lambda done: status.update(f"{done} seals"))
            return report
    finally:
        await store.close()
