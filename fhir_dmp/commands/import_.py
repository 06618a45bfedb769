"""`fhir-dmp import`: files, folders, archives or standard input into the store.

See fhir_dmp/exchange/importer.py.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fhir_dmp.commands import Failed, _prepared, takeover, with_settings
from fhir_dmp.commands.serve import mongodb, private_folder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.importer import Importer
from fhir_dmp.exchange.inputs import Input, Item, inputs
from fhir_dmp.exchange.opening import ADDRESS, context_of, opened
from fhir_dmp.exchange.points import reached
from fhir_dmp.exchange.pool import Here, Pool, Workers
from fhir_dmp.exchange.processes import Process, forked, started
from fhir_dmp.exchange.received import Files
from fhir_dmp.exchange.results import Counts, Result
from fhir_dmp.exchange.rules import SANDBOX, Rules
from fhir_dmp.exchange.transfer import SUFFIX
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.ledger import Ledger
from fhir_dmp.store.records import Job

SOME_REFUSED = 3
SHOWN = 20
# Less than this is not worth other processes.
LITTLE = 2 * 1024 * 1024
STDIN = "standard input"


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--source",
    show_default=SANDBOX,
    help="registered source the data come from, see `fhir-dmp sources`; `sandbox` exists on a sandbox",
)
@click.option("--resume", metavar="JOB", help="go on with an import that was cut off; it knows its paths and its source")
@click.option("--report", type=click.Path(path_type=Path), help="report file, one JSON line per resource; default in the data folder")
@with_settings("sandbox", "workers")
def command(loaded: Loaded, paths: tuple[str, ...], source: str | None, resume: str | None, report: Path | None) -> None:
    """Load .json, .ndjson, .xml (CDA), .gz, .zip (also IHE XDM), folders or - (standard input); .dmp packages of another host.

    A transaction Bundle is all or nothing, everything else goes entry by entry. What was imported from the source before brings nothing
    new. Exit 0 all accepted, 3 some refused or in quarantine, 1 failed.
    """
    if not paths and not resume:
        raise click.UsageError("name what to import, or the job to resume")
    if not resume and all(path.endswith(SUFFIX) for path in paths):
        takeover.take(loaded, tuple(Path(path) for path in paths), source or SANDBOX)
        return
    try:
        if not resume:
            inputs([path for path in paths if path != "-"])
        private_folder(loaded.settings.data)
        count = loaded.settings.workers or os.cpu_count() or 1
        with forked(count if count > 1 else 0) as workers, mongodb(loaded.settings) as running:
            # A resumed import may be told of from another folder.
            named = tuple(path if path == "-" else os.path.abspath(path) for path in paths)
            counts, written = asyncio.run(load(running, Asked(named, source, resume, report and report.absolute()), workers))
    except (StoreError, FhirError) as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(f"{error.filename or 'import'}: {error.strerror or error}") from None
    if counts.refused or counts.quarantined:
        waiting = f", {counts.quarantined} in quarantine" if counts.quarantined else ""
        click.echo(f"{counts.refused} refused{waiting}; each with its reason in {written}", err=True)
        sys.exit(SOME_REFUSED)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says; source: None for nothing."""

    paths: tuple[str, ...]
    source: str | None
    resume: str | None
    report: Path | None


async def load(settings: Settings, asked: Asked, workers: list[Process]) -> tuple[Counts, Path]:
    """Import everything named; what became of it, and where that is written. workers: those that may be taken."""
    settings = replace(settings, base_url=settings.base_url or ADDRESS)
    async with opened(settings, Rules(source=asked.source or SANDBOX)) as plain:
        await _prepared.joined(plain.store, settings)
        job, asked = await _job(settings, asked)
        rules = await sources.rules_of(plain.store, job.source)
        sources.by_itself(rules)
        report = asked.report or settings.data / "imports" / f"{job.id}.ndjson"
        for folder in (report.parent, _spool(settings, job).parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if asked.resume:
            await Ledger(plain.store).end_abandoned()
        else:
            await job.insert()
        listed = _listed(settings, job, asked.paths)
        if sum(one.size for one in listed) >= LITTLE:
            click.echo(f"import {job.id}; if it is cut off, go on with --resume {job.id}", err=True)
        context = context_of(plain.store, settings, rules)
        pool = await _pool(context, rules, job.id, sum(one.size for one in listed), workers)
        try:
            files = await Files.checked(context, rules, listed)
            return await reported(pool, rules, listed, job, report, files), report
        except BaseException:
            await job.update_fields(state="failed", finished=datetime.now(UTC))
            raise
        finally:
            await pool.close()


async def _job(settings: Settings, asked: Asked) -> tuple[Job, Asked]:
    """A new job, or the one to go on with and what was then asked."""
    if asked.resume is None:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}-{os.urandom(2).hex()}"
        detail = {"paths": list(asked.paths), "report": str(asked.report) if asked.report else ""}
        return Job(id=name, kind="import", state="running", source=asked.source or SANDBOX, detail=detail), asked
    job = await Job.get(asked.resume)
    if job is None or job.kind != "import" or "paths" not in job.detail:
        raise Failed(f"there is no import `{asked.resume}` in this store")
    if asked.source not in (None, job.source):
        raise Failed(f"import `{asked.resume}` is of the source `{job.source}`, not `{asked.source}`")
    if asked.paths and list(asked.paths) != job.detail["paths"]:
        raise Failed(f"import `{asked.resume}` reads {', '.join(job.detail['paths'])}: name these, or nothing")
    if "-" in job.detail["paths"] and not _spool(settings, job).exists():
        raise Failed(f"import `{asked.resume}` read standard input, which was not kept whole: send it again")
    report = asked.report or (Path(job.detail["report"]) if job.detail["report"] else None)
    return job, Asked(tuple(job.detail["paths"]), job.source, asked.resume, report)


def _spool(settings: Settings, job: Job) -> Path:
    return settings.data / "imports" / f"{job.id}.input"


def _listed(settings: Settings, job: Job, paths: tuple[str, ...]) -> list[Input]:
    """The files to read. Standard input is kept first: it is read as often as a file."""
    listed: list[Input] = []
    for one in inputs(list(paths)):
        if one.path is None:
            kept = _spool(settings, job)
            if not kept.exists():
                draft = kept.with_suffix(".part")
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                draft.rename(kept)
            one = Input(STDIN, kept)
        listed.append(one)
    return listed


async def _pool(context: Context, rules: Rules, job: str, size: int, workers: list[Process]) -> Pool:
    """This process when there is little to do, else a process for each core."""
    count = context.settings.workers or os.cpu_count() or 1
    if size < LITTLE or count == 1:
        return Here(context, rules, job)
    taken = [workers.pop() if workers else started() for _ in range(count)]
    return await Workers.start(taken, context.settings, context.base_url, rules, job)


async def reported(pool: Pool, rules: Rules, listed: list[Input], job: Job, report: Path, files: Files) -> Counts:
    """Import, with a bar, a report file, a record of the job, and a summary."""
    begun = time.monotonic()
    refused: list[Result] = []
    total = sum(one.size for one in listed)
    await job.update_fields(state="running", total=total)
    # What is wrong is told with the words that are wrong, and these may be about people.
    private = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(private, "w", encoding="utf-8") as lines, progress(total) as advance:

        def told(result: Result) -> None:
            lines.write(json.dumps(result.value(), ensure_ascii=False) + "\n")
            if not result.accepted and len(refused) < SHOWN:
                refused.append(result)

        def every() -> Iterator[Item]:
            return (item for one in listed for item in files.items(one))

        counts = await Importer(pool, told, advance, people_first=not rules.plain).run(every)
        lines.flush()
        reached("report-written")
    detail = {**job.detail, "files": len(listed), "accepted by type": counts.by_type, "quarantined": counts.quarantined}
    done = {"done": counts.total, "total": counts.total, "refused": counts.refused}
    await job.update_fields(state="done", detail=detail, finished=datetime.now(UTC), **done)
    reached("job-done")
    for one in listed:
        if one.name == STDIN:
            one.path.unlink(missing_ok=True)
    summary(counts, refused, len(listed), time.monotonic() - begun, report)
    return counts


@contextlib.contextmanager
def progress(total: int):
    """A bar on a terminal, nothing elsewhere. Gives the function that advances it by bytes."""
    console = Console(stderr=True)
    columns = (TextColumn("import"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("import", total=total or None)
        yield (lambda size: bar.advance(task, size)) if console.is_terminal else (lambda size: None)


def summary(counts: Counts, refused: list[Result], files: int, seconds: float, report: Path) -> None:
    """What happened, in a few lines."""
    for result in refused:
        issue = result.issues[0] if result.issues else None
        where = f" {issue.expression}" if issue and issue.expression else ""
        click.echo(f"  {result.place}: {result.status}{where}: {issue.diagnostics if issue else ''}", err=True)
    hidden = counts.refused + counts.quarantined - len(refused)
    if hidden:
        click.echo(f"  ... and {hidden} more", err=True)
    types = ", ".join(f"{name} {number}" for name, number in sorted(counts.by_type.items(), key=lambda pair: (-pair[1], pair[0]))[:8])
    more = f", and {len(counts.by_type) - 8} more types" if len(counts.by_type) > 8 else ""
    told = f"{counts.accepted} accepted, {counts.refused} refused"
    told += f", {counts.quarantined} in quarantine" if counts.quarantined else ""
    told += f", {counts.known} of them imported before" if counts.known else ""
    click.echo(f"{files} files, {counts.total} resources in {seconds:.1f} s: {told}")
    if types:
        click.echo(f"{types}{more}")
    click.echo(f"report: {report}")
