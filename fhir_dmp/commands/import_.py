"""`fhir-dmp import`: files, folders, archives or standard input into the store.

See fhir_dmp/exchange/importer.py.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.serve import mongodb, private_folder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.importer import Counts, Result, run
from fhir_dmp.exchange.inputs import Input, inputs, items
from fhir_dmp.identity.actor import Actor
from fhir_dmp.identity.scopes import parse
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.records import Job, Source
from fhir_dmp.store.resources import Store, wall_clock_ms

SOME_REFUSED = 3
SHOWN = 20
SANDBOX_SOURCE = "sandbox"


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--source", default=SANDBOX_SOURCE, show_default=True, help="registered source the data come from; `sandbox` exists on a sandbox"
)
@click.option("--report", type=click.Path(path_type=Path), help="report file, one JSON line per resource; default in the data folder")
@with_settings("sandbox")
def command(loaded: Loaded, paths: tuple[str, ...], source: str, report: Path | None) -> None:
    """Load .json, .ndjson, .gz, .zip, folders or - (standard input).

    A transaction Bundle is all or nothing, everything else goes entry by entry. Exit 0 all accepted, 3 some refused, 1 failed.
    """
    try:
        listed = inputs(list(paths))
        private_folder(loaded.settings.data)
        with mongodb(loaded.settings) as running:
            counts, written = asyncio.run(load(running, listed, source, report))
    except (StoreError, FhirError) as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(f"{error.filename or 'import'}: {error.strerror or error}") from None
    if counts.refused:
        click.echo(f"{counts.refused} refused; each with its reason in {written}", err=True)
        sys.exit(SOME_REFUSED)


async def load(settings: Settings, listed: list[Input], source: str, report: Path | None) -> tuple[Counts, Path]:
    """Import everything listed; what became of it, and where that is written."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=settings.sandbox or None)
    try:
        await known_source(store, source)
        job = Job(id=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}", kind="import", state="running", source=source)
        await job.insert()
        report = report or settings.data / "imports" / f"{job.id}.ndjson"
        report.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        context = Context(
            store=store,
            actor=Actor(kind="system", issuer="import", subject=source, expires=float("inf"), scopes=parse("system/*.cruds")),
            settings=settings,
            base_url=settings.base_url or "http://localhost/fhir",
            now_ms=wall_clock_ms,
            random=os.urandom,
        )
        try:
            return await reported(context, listed, job, report), report
        except BaseException:
            await job.update_fields(state="failed", finished=datetime.now(UTC))
            raise
    finally:
        await store.close()


async def reported(context: Context, listed: list[Input], job: Job, report: Path) -> Counts:
    """Import, with a bar, a report file, a record of the job, and a summary."""
    begun = time.monotonic()
    refused: list[Result] = []
    # What is wrong is told with the words that are wrong, and these may be about people.
    private = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(private, "w", encoding="utf-8") as lines, progress(sum(one.size for one in listed)) as advance:

        def told(result: Result) -> None:
            lines.write(json.dumps(result.value(), ensure_ascii=False) + "\n")
            if not result.accepted and len(refused) < SHOWN:
                refused.append(result)

        every = (item for one in listed for item in items(one, sys.stdin.buffer))
        counts = await run(context, every, told, advance)
    done = counts.accepted + counts.refused
    detail = {"files": len(listed), "accepted by type": counts.by_type}
    await job.update_fields(state="done", done=done, total=done, refused=counts.refused, detail=detail, finished=datetime.now(UTC))
    summary(counts, refused, len(listed), time.monotonic() - begun, report)
    return counts


async def known_source(store: Store, source: str) -> None:
    """Refuse data from a source nobody registered; a sandbox has one of its own."""
    if await Source.get(source) is not None:
        return
    if source != SANDBOX_SOURCE or not store.sandbox:
        raise Failed(f"source `{source}` is not registered in this store")
    with contextlib.suppress(FhirError):  # another import registers it at the same moment
        await Source(id=SANDBOX_SOURCE, name="files given on the command line").insert()


@contextlib.contextmanager
def progress(total: int):
    """A bar on a terminal, nothing elsewhere. Gives the function that advances it by bytes."""
    console = Console(stderr=True)
    columns = (TextColumn("import"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("import", total=total or None)
        yield lambda size: bar.advance(task, size)


def summary(counts: Counts, refused: list[Result], files: int, seconds: float, report: Path) -> None:
    """What happened, in a few lines."""
    for result in refused:
        issue = result.issues[0] if result.issues else None
        where = f" {issue.expression}" if issue and issue.expression else ""
        click.echo(f"  {result.place}: {result.status}{where}: {issue.diagnostics if issue else ''}", err=True)
    if counts.refused > len(refused):
        click.echo(f"  ... and {counts.refused - len(refused)} more", err=True)
    types = ", ".join(f"{name} {number}" for name, number in sorted(counts.by_type.items(), key=lambda pair: (-pair[1], pair[0]))[:8])
    more = f", and {len(counts.by_type) - 8} more types" if len(counts.by_type) > 8 else ""
    done = counts.accepted + counts.refused
    click.echo(f"{files} files, {done} resources in {seconds:.1f} s: {counts.accepted} accepted, {counts.refused} refused")
    if types:
        click.echo(f"{types}{more}")
    click.echo(f"report: {report}")
