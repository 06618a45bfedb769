"""`fhir-dmp bench import`: mixed resources imported portion by portion, beside bare `insert_many` after each, as the collection grows.

https://hl7.org/fhir/R4/nd-json.html ; floor B is that of bench/bulk.py, in rows as large as the stored ones; floor C that of bench/ready.py
"""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fhir_dmp.bench import data, mixed, ready, report
from fhir_dmp.bench.bench import Options, bulk, forget_dead
from fhir_dmp.bench.host import MODES, plain
from fhir_dmp.bench.importing import SAID, SOURCE, options_of, prepare
from fhir_dmp.bench.processes import cpu_seconds
from fhir_dmp.bench.streaming import watched
from fhir_dmp.bench.world import encoded
from fhir_dmp.commands import Failed
from fhir_dmp.consent.dossier import Dossier, Permit
from fhir_dmp.exchange.opening import ADDRESS, context_of
from fhir_dmp.exchange.rules import CARE_RECORD, Rules
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.settings import Settings
from fhir_dmp.store import bare
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.resources import Store
from fhir_dmp.store.transaction import Transaction

NAME = "import"
TARGET = 0.25
# Resources of each size, and portions they come in.
SIZES = {"tiny": 800, "small": 100_000, "medium": 400_000, "large": 1_000_000}
PORTIONS = {"tiny": 2, "small": 5, "medium": 8, "large": 10}
HEADS = (
    *("stored before", "entries/s", "B rows/s", "C entries/s", "ratio to B", "to C", "C to B"),
    *("CPU µs an entry: import", "mongod", "C", "B", "ratio to B by CPU", "to C", "peak MiB"),
)


class Portion(NamedTuple):
    """One import of `entries`. before: resources that were there. seconds: without the start of the program.

    rows: floor B beside it, rows per second. cpu, mongod: µs of CPU an entry. floor_cpu: µs a row of B, driver and database.
    ready: floor C. mib: most memory of the import's processes together (proportional set size). refused: entries not taken.
    """

    before: int
    entries: int
    seconds: float
    rows: float
    cpu: float
    mongod: float
    floor_cpu: float
    ready: ready.Ready
    mib: float
    refused: int

    @property
    def ratio(self) -> float:
        """Entries per second by rows per second."""
        return self.entries / self.seconds / self.rows

    @property
    def ready_ratio(self) -> float:
        """Entries per second by those of floor C."""
        return self.entries / self.seconds / self.ready.rate

    @property
    def ready_floor(self) -> float:
        """Floor C by floor B: the most that the ratio to B can come to."""
        return self.ready.rate / self.rows

    @property
    def ready_cpu_ratio(self) -> float:
        """The ratio to floor C by CPU time."""
        return self.ready.cpu / (self.cpu + self.mongod)

    @property
    def cpu_ratio(self) -> float:
        """The same by CPU time, which other work on the machine disturbs less."""
        return self.floor_cpu / (self.cpu + self.mongod)


class Found(NamedTuple):
    """A run. row_bytes: mean size of the stored rows, and of those of B."""

    portions: list[Portion]
    row_bytes: int
    mode: str
    workers: int
    start: report.Start

    @property
    def ratio(self) -> float:
        """The median."""
        return median(one.ratio for one in self.portions)

    @property
    def ready_ratio(self) -> float:
        """The same to floor C."""
        return median(one.ready_ratio for one in self.portions)

    @property
    def floor(self) -> float:
        """Floor C by floor B."""
        return median(one.ready_floor for one in self.portions)

    @property
    def rows_an_entry(self) -> float:
        """That an import writes, see bench.ready."""
        return median(one.ready.rows for one in self.portions)

    @property
    def bytes_an_entry(self) -> float:
        """Of these rows."""
        return median(one.ready.octets for one in self.portions)

    @property
    def growth(self) -> float:
        """Ratio of the last third of the portions by that of the first: 1 when it does not fall."""
        third = max(1, len(self.portions) // 3)
        return median(one.ratio for one in self.portions[-third:]) / median(one.ratio for one in self.portions[:third])


def run(options: Options, seconds: float, progress: Callable[[str, int, int], None]) -> Found:
    """Import into a new store, in a sandbox or, in any other mode, from a registered source into opened dossiers."""
    runs = options.folder / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    place, sandbox = runs / f"{os.getpid()}-import", MODES[options.mode].sandbox
    (place / "data").mkdir(mode=0o700, parents=True)
    start = report.Start.now(options)
    try:
        mongod = Embedded.start(place / "data")
        try:
            prepare(mongod.uri, place / "data", sandbox)
            found, size = [], 0
            count, total = PORTIONS[options.size], SIZES[options.size]
            dossiers = total // mixed.RESOURCES // count
            for number in range(count):
                progress(NAME, number, count)
                numbers = range(number * dossiers, (number + 1) * dossiers)
                if not sandbox:
                    asyncio.run(_opened(mongod.uri, place / "data", numbers))
                found.append(portion(mongod, place, numbers, sandbox, options.workers, seconds))
                size = bare.row_bytes(mongod.uri, "fhir_dmp")
            return Found(found, size, options.mode, options.workers, start)
        finally:
            mongod.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def portion(mongod: Embedded, place: Path, numbers: range, sandbox: bool, workers: int, seconds: float) -> Portion:
    """Import these dossiers, then write bare rows."""
    file = place / "dossiers.ndjson"
    with file.open("wb") as out:
        out.writelines(encoded(one) + b"\n" for number in numbers for one in mixed.dossier(number))
    command = [sys.executable, "-m", "fhir_dmp", "import", str(file), "--data", str(place / "data"), "--workers", str(workers)]
    command += options_of(sandbox)
    before, own, since_ms = cpu_seconds(mongod.process.pid), _children(), int(time.time() * 1000)
    process = subprocess.Popen(command, env=plain(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process, watched(process.pid) as memory:
        out, said = process.communicate()
    cpu, served = _children() - own, cpu_seconds(mongod.process.pid) - before
    told = SAID.search(out)
    if told is None:
        raise Failed(f"the import failed: {(said or out).strip()[-400:]}")
    entries = int(told[1])
    before, own = cpu_seconds(mongod.process.pid), _children()
    rows = bulk(mongod.uri, bare.row_bytes(mongod.uri, "fhir_dmp"), seconds)
    written = rows * seconds
    floor = (_children() - own + cpu_seconds(mongod.process.pid) - before) / written
    made = ready.measure(mongod.uri, since_ms, mongod.process.pid)
    stored = numbers[0] * mixed.RESOURCES
    mib = max((one for _, one in memory), default=0.0)
    refused = entries - int(told[3])
    return Portion(stored, entries, float(told[2]), rows, cpu / entries * 1e6, served / entries * 1e6, floor * 1e6, made, mib, refused)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _opened(uri: str, place: Path, numbers: Iterable[int]) -> None:
    store = await Store.open(uri, data_dir=place, sandbox=None)
    try:
        await open_dossiers(store, place, list(numbers))
    finally:
        await store.close()


async def open_dossiers(store: Store, place: Path, numbers: list[int]) -> list[str]:
    """Open the dossiers of these holders of bench.mixed, each with a policy; ids of the Patients. place: data folder."""
    context, found = context_of(store, Settings(data=place), Rules(source=SOURCE, kind=CARE_RECORD), ADDRESS), []
    for start in range(0, len(numbers), 100):
        some = numbers[start : start + 100]
        stamped = [stamp(context, check(context, encoded(mixed.holder(one)), "Patient"), method="POST") for one in some]
        await asyncio.gather(*(store.create(one.row) for one in stamped))

        async def work(transaction: Transaction, some: list[int] = some, stamped: list = stamped) -> None:
            for number, one in zip(some, stamped, strict=True):
                permits = (Permit("feed"),)
                policy = Dossier(patient=one.id, birth_date=data.patient(number)["birthDate"], permits=permits, epoch=1)
                await transaction.set_policy(store.vault.dossier_of_patient(one.id), policy, at_ms=1)

        await store.transact(work)
        found += [one.id for one in stamped]
    return found


# Results


def table(found: Found) -> list[tuple[str, ...]]:
    """Rows of text, the heads first."""
    rows = [HEADS]
    for one in found.portions:
        speeds = (one.before, one.entries / one.seconds, one.rows, one.ready.rate)
        used = (one.cpu, one.mongod, one.ready.cpu, one.floor_cpu)
        cells = [*(f"{value:,.0f}" for value in speeds), *(f"{value:.3f}" for value in (one.ratio, one.ready_ratio, one.ready_floor))]
        cells += [*(f"{value:,.0f}" for value in used), *(f"{value:.3f}" for value in (one.cpu_ratio, one.ready_cpu_ratio))]
        rows.append((*cells, f"{one.mib:,.0f}"))
    return rows


def told(found: Found) -> report.Told:
    """What was found."""
    refused, total = sum(one.refused for one in found.portions), sum(one.entries for one in found.portions)
    lines = [
        f"Ratio to B {found.ratio:.3f} (wanted {TARGET}); of the last third of the portions to the first {found.growth:.2f} (wanted 1).",
        f"{total:,} resources in mode {found.mode}, {found.workers} workers, {refused} refused; rows of {found.row_bytes:,} bytes.",
        f"C, what the import wrote for an entry ({found.rows_an_entry:.1f} rows, {found.bytes_an_entry:,.0f} bytes together), ready made, "
        f"inserted by itself with the indexes of the store: {found.floor:.3f} of B, which no import exceeds that stores these rows; "
        f"ratio to C {found.ready_ratio:.3f}.",
        *found.start.lines,
    ]
    ratios = ("ratio", "cpu_ratio", "ready_ratio", "ready_floor", "ready_cpu_ratio")
    portions = [{**one._asdict(), "ready": one.ready._asdict(), **{name: getattr(one, name) for name in ratios}} for one in found.portions]
    shape = {"row_bytes": found.row_bytes, "mode": found.mode, "workers": found.workers}
    value = {
        **found.start.value,
        **shape,
        "ratio": found.ratio,
        "growth": found.growth,
        "ready_ratio": found.ready_ratio,
        "ready_floor": found.floor,
        "portions": portions,
    }
    return report.Told(NAME, lines, table(found), value, f"{refused} resources were not taken" if refused else "")
