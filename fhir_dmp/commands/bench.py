"""`fhir-dmp bench`: figures of this server on this machine, beside the floors measured in the same run.

See ig/performance.md.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fhir_dmp.bench import bench, comparing, driver, growth, hiding, lasting, peers, profiling, report, streaming
from fhir_dmp.bench.bench import NAMES, Options
from fhir_dmp.bench.data import SIZES
from fhir_dmp.bench.host import MODES
from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.serve import private_folder
from fhir_dmp.settings import Loaded
from fhir_dmp.store.failures import StoreError

# Told (what, done, total).
Tell = Callable[[str, int, int], None]
# Measured apart from the workloads.
APART = (*comparing.PAIRS, hiding.NAME, growth.NAME, streaming.NAME, lasting.NAME, profiling.NAME)


def numbers(context: click.Context, parameter: click.Parameter, given: str) -> tuple[int, ...]:
    """A list of positive whole numbers, separated by commas."""
    try:
        found = tuple(sorted({int(part) for part in given.split(",")}))
    except ValueError:
        raise click.BadParameter("whole numbers separated by commas, e.g. 1,16,64") from None
    if not found or found[0] < 1 or found[-1] > 1024:
        raise click.BadParameter("numbers from 1 to 1024")
    return found


@click.command()
@click.argument("names", nargs=-1, type=click.Choice((*NAMES, *APART), case_sensitive=False), metavar="[WORKLOAD]...")
@click.option("--size", type=click.Choice(list(SIZES)), default="small", show_default=True, help="how much data is loaded first")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10, show_default=True, help="length of one measurement")
@click.option("--connections", default="1,16,64", show_default=True, callback=numbers, help="how many clients ask at a time")
@click.option("--repetitions", type=click.IntRange(1, 100), default=2, show_default=True)
@click.option("--requests", type=click.IntRange(100, 1_000_000), default=2000, show_default=True, help="timing: of each way to ask")
@click.option("--mode", type=click.Choice(list(MODES)), default=next(iter(MODES)), show_default=True, help="rules and traces in force")
@click.option("--driver", "wanted", type=click.Choice(driver.NAMES), help="load driver; default wrk when it is installed")
@click.option("--peers", "others", type=click.Path(path_type=Path, dir_okay=False), help="Markdown tables of other servers' figures")
@click.option("--json", "machine", type=click.Path(path_type=Path, dir_okay=False), help="write every figure to this file too")
@click.option("--write", is_flag=True, help="put the report into ig/performance.md of the current folder, and a plot of mode production")
@with_settings("workers")
def command(
    loaded: Loaded,
    names: tuple[str, ...],
    size: str,
    seconds: float,
    connections: tuple[int, ...],
    repetitions: int,
    requests: int,
    mode: str,
    wanted: str | None,
    others: Path | None,
    machine: Path | None,
    write: bool,
) -> None:
    """Measure workloads on a server of its own, beside the floors of this machine.

    W1 create, W2 read, W3 dossier search, W4 type and date, W5 transactions of 3, 100 and 1,000, W6 mix, W7 import, W8 W2 and W3 among
    masked documents, W9 Binary of 1 MB, W10 $everything of 500, search: its cost as the store grows. Default: all of these that the mode
    has. access, traces: reads and searches in two modes side by side, sandbox and rules, rules and production. Data are loaded once and
    kept in the data folder, in `bench`. timing: whether time tells what is hidden from what is absent, requests for both interleaved, in
    production mode. import: 100,000 mixed resources (medium 400,000, large 1,000,000) portion by portion, beside bare insert_many after
    each; in a sandbox, or in another mode from a registered source into opened dossiers. streaming: the memory that the import of one file
    of 0.5 GB (medium 1, large 5) takes. lasting: the memory of the server under W6 in production mode for --seconds, e.g. 1800.
    profile: what reads and searches cost the worker, by parts. Exit 1
    when any answer was wrong.
    """
    settings = loaded.settings
    if settings.mongodb_uri:
        raise Failed("bench measures the embedded MongoDB of this machine: leave --mongodb-uri out")
    compared = peers.read(others) if others else []
    private_folder(settings.data)
    # What was started is stopped also when this is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = Options(
        names=tuple(name for name in dict.fromkeys(names) if name not in APART) or NAMES,
        size=size,
        seconds=seconds,
        connections=connections,
        repetitions=repetitions,
        workers=settings.workers or max(1, (os.cpu_count() or 1) // 2),
        mode=mode,
        driver=driver.choose(wanted),
        folder=settings.data / "bench",
    )
    options.folder.mkdir(mode=0o700, exist_ok=True)
    try:
        importing = replace(options, workers=settings.workers or os.cpu_count() or 1)
        for name in comparing.PAIRS:
            apart(name, names, lambda tell, name=name: comparing.told(name, comparing.run(name, options, tell)), machine, write)
        apart(profiling.NAME, names, lambda tell: profiling.told(profiling.run(options, tell)), machine, write)
        apart(hiding.NAME, names, lambda tell: hiding.told(hiding.run(options, requests, tell)), machine, write)
        apart(growth.NAME, names, lambda tell: growth.told(growth.run(importing, min(seconds, 5), tell)), machine, write)
        apart(streaming.NAME, names, lambda tell: streaming.told(streaming.run(importing, tell)), machine, write)
        apart(lasting.NAME, names, lambda tell: lasting.told(lasting.run(options, tell)), machine, write)
        if names and set(names) <= set(APART):
            return
        with progress() as tell:
            findings = bench.run(options, tell)
    except StoreError as error:
        raise Failed(str(error)) from None
    click.echo(report.text(findings, compared))
    if machine:
        machine.write_text(json.dumps(report.value(findings), indent=1, default=str), "utf-8")
    if write:
        for path in report.write(findings, compared, others.name if others else "", Path("ig")):
            click.echo(f"wrote {path}")
    if faults := report.value(findings)["faults"]:
        raise Failed(f"{len(faults)} measurements had errors")


def apart(name: str, names: tuple[str, ...], run: Callable[[Tell], report.Told], machine: Path | None, write: bool) -> None:
    """One measurement apart from the workloads, where it was asked for: done, and told."""
    if name not in names:
        return
    with progress() as tell:
        told = run(tell)
    click.echo(told.text)
    if machine:
        machine.write_text(json.dumps(told.value, indent=1), "utf-8")
    if write:
        click.echo(f"wrote {told.write(Path('ig'))}")
    if told.fault:
        raise Failed(told.fault)


@contextlib.contextmanager
def progress() -> Iterator[Tell]:
    """A bar on a terminal, nothing elsewhere. Gives the function that is told (what, done, total)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("bench", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
