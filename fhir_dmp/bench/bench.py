"""The whole benchmark: server, floors and workloads on one machine in one run, interleaved.

Repetitions are the outer loop: S F I W2 W3 ... then again S F I W2 W3 ..., so that what disturbs the machine meets all of them.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fhir_dmp.bench import importing
from fhir_dmp.bench.cost import Cost, measure_cost
from fhir_dmp.bench.data import document
from fhir_dmp.bench.driver import Driver, write_requests
from fhir_dmp.bench.host import MODES, Host, Mode, floor_server, plain, serving
from fhir_dmp.bench.loading import loaded
from fhir_dmp.bench.measuring import Point, Target, measure, warm
from fhir_dmp.bench.workloads import Workload, of_mode
from fhir_dmp.bench.world import World, encoded
from fhir_dmp.store import bare
from fhir_dmp.store.embedded import find_mongod

# Beside the size asked for, to see how the cost of a search grows.
BEFORE = {"small": "tiny", "medium": "small", "large": "medium"}
NAMES = ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "search")
# What crosses dossiers in every form: nobody can ask for it where the rules hold.
UNRULED = ("search",)
IMPORT_A_SECOND = 800
LEAST_SECONDS = {"W5x100": 5, "W5x1000": 30, "W9 write": 3, "W10": 5}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """names: of NAMES. seconds: of one measurement. folder: for data that are kept and for what is thrown away."""

    names: tuple[str, ...]
    size: str
    seconds: float
    connections: tuple[int, ...]
    repetitions: int
    workers: int
    mode: str
    driver: Driver
    folder: Path


@dataclass(slots=True)
class Findings:
    """What a run found. points: workloads and floors S, F, I. bulk: floor B in rows per second, by repetition. row_bytes: of B."""

    options: Options
    begun: datetime
    load: float
    machine: dict[str, str]
    points: list[Point] = field(default_factory=list)
    bulk: list[float] = field(default_factory=list)
    row_bytes: int = 0
    costs: list[Cost] = field(default_factory=list)
    seconds: float = 0.0


def run(options: Options, progress: Progress) -> Findings:
    """Load what is missing, measure everything."""
    mode, began = MODES[options.mode], time.monotonic()
    if not mode.sandbox:
        options = replace(options, names=tuple(name for name in options.names if name not in UNRULED))
    (options.folder / "runs").mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(options.folder / "runs")
    place = options.folder / "runs" / str(os.getpid())
    before = BEFORE.get(options.size) if "search" in options.names else None
    stores = [loaded(size, options.folder, mode.sandbox, progress) for size in (options.size, before) if size]
    findings = Findings(options, datetime.now(UTC), os.getloadavg()[0], machine(options))
    with contextlib.ExitStack() as servers:
        world = World(servers.enter_context(serving(stores[0], place, mode, options.workers)))
        # First what reads alone: the workloads add to the larger of the two stores.
        if "search" in options.names:
            progress("search", 0, 1)
            with contextlib.ExitStack() as more:
                smaller = [
                    World(more.enter_context(serving(store, place.with_name(f"{place.name}-{number}"), mode, options.workers)))
                    for number, store in enumerate(stores[1:])
                ]
                findings.costs = measure_cost(options.driver, [*smaller, world], place, options.seconds, options.repetitions)
        measure_workloads(findings, world, place, mode, progress)
    findings.seconds = time.monotonic() - began
    return findings


def forget_dead(runs: Path) -> None:
    """Remove what benchmarks left that were killed."""
    for left in runs.iterdir():
        if not Path("/proc", left.name.partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)


def chosen(names: Sequence[str], mode: Mode) -> list[Workload]:
    """The workloads of these names that a mode has; W5, W8 and W9 are several."""
    wanted = {name.upper() for name in names}
    return [one for one in of_mode(mode) if one.name.partition("x")[0].partition(" ")[0] in wanted]


def measure_workloads(findings: Findings, world: World, place: Path, mode: Mode, progress: Progress) -> None:
    """Every workload and the floors it is compared with, by repetition, then by connections."""
    options, host = findings.options, world.host
    workloads, imports = chosen(options.names, mode), importing.NAME in options.names
    if not workloads and not imports:
        return
    if imports:
        importing.prepare(host.uri, host.data, mode.sandbox)
    author = f"Practitioner/{world.practitioners[0]}"
    body = encoded(document(0, 0, f"Patient/{world.patients[0]}", author))
    findings.row_bytes = bare.row_bytes(host.uri, "fhir_dmp")
    with floor_server(host, place, options.workers, body) as (address, pid):
        wanted = {"S", *(one.floor for one in workloads)}
        targets = [_floor(name, address, pid, host, place, body) for name in "SFI" if name in wanted]
        targets += [target_of(one, world, place) for one in workloads]
        plan = list(_plan(options, workloads, targets))
        total, done = options.repetitions * (len(plan) + 1 + imports), 0
        for repetition in range(1, options.repetitions + 1):
            for target, connections in plan:
                progress(f"{target.name} at {connections}", done, total)
                # A few of the longest answers must fit.
                seconds = max(options.seconds, LEAST_SECONDS.get(target.name, 0))
                if repetition == 1:
                    warm(target, connections, seconds)
                findings.points.append(measure(options.driver, target, connections, seconds, repetition))
                done += 1
            if imports or any(one.floor == "B" for one in workloads):
                progress("B", done, total)
                findings.bulk.append(bulk(host.uri, findings.row_bytes, options.seconds))
            done += 1
            if imports:
                progress(importing.NAME, done, total)
                resources = max(200, int(options.seconds * IMPORT_A_SECOND))
                findings.points.append(importing.measure(world, mode, resources, repetition))
                done += 1


def _plan(options: Options, workloads: list[Workload], targets: list[Target]) -> Iterator[tuple[Target, int]]:
    own = {one.name: one.connections for one in workloads}
    every = {*options.connections, *(c for one in workloads if one.floor in ("S", "F", "I") for c in one.connections)}
    for connections in sorted({*every, *(c for one in workloads for c in one.connections)}):
        for target in targets:
            if connections in (own.get(target.name) or (options.connections if target.name in own else every)):
                yield target, connections


def target_of(workload: Workload, world: World, place: Path) -> Target:
    """Where the load of a workload goes; its requests are written below `place`."""
    asked, file = workload.asked(world), place / f"{workload.name}.requests"
    write_requests(file, (one.request for one in asked))
    return Target(workload.name, world.host.address, file, {"server": world.host.server, "mongod": world.host.mongod}, asked)


def _floor(name: str, address: str, pid: int, host: Host, place: Path, body: bytes) -> Target:
    head = f"Host: {address}\r\nAuthorization: Bearer {host.token}\r\n"
    if name == "S":
        requests = [f"GET /static HTTP/1.1\r\n{head}\r\n".encode()]
    elif name == "F":
        numbers = (number * 7919 % bare.ROWS for number in range(5000))
        requests = [f"GET /find/{number} HTTP/1.1\r\n{head}\r\n".encode() for number in numbers]
    else:
        requests = [f"POST /insert HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body]
    write_requests(place / f"{name}.requests", requests)
    return Target(name, address, place / f"{name}.requests", {"server": pid, "mongod": host.mongod})


def bulk(uri: str, size: int, seconds: float) -> float:
    """Floor B, in rows per second, by a process of its own."""
    command = [sys.executable, "-m", "fhir_dmp.bench.bulk", uri, str(size), str(seconds)]
    return float(subprocess.run(command, env=plain(), capture_output=True, text=True, check=True).stdout)


def machine(options: Options) -> dict[str, str]:
    """What a reader must know of the machine and the programs."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    mongod = subprocess.run([find_mongod(), "--version"], capture_output=True, text=True, check=False).stdout.split()
    return {
        "machine": f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}",
        "programs": f"fhir-dmp {version('fhir-dmp')}, Python {platform.python_version()}, granian {version('granian')}, "
        f"PyMongo {version('pymongo')}, MongoDB {next((w.lstrip('v') for w in mongod if w[:1] == 'v' and w[1:2].isdigit()), '')}",
        "driver": options.driver.name,
        "server": f"{options.workers} worker{'s' if options.workers > 1 else ''}, mode {options.mode}, settings at their defaults; "
        "load driver, server and database share the cores, over loopback without TLS",
    }
