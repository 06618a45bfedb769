"""`fhir-dmp bench profile`: what reads and searches cost the worker, by parts, in a sandbox and in production mode.

See ig/performance.md. Samples are taken inside of the running server, see bench/sampled.py.
"""

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from fhir_dmp.bench import report
from fhir_dmp.bench.bench import Options, forget_dead
from fhir_dmp.bench.comparing import WORK, target
from fhir_dmp.bench.host import MODES, Host, serving
from fhir_dmp.bench.loading import loaded
from fhir_dmp.bench.measuring import Point, measure, warm
from fhir_dmp.bench.sampled import FILES, OTHERS, PARTS
from fhir_dmp.bench.world import World

NAME = "profile"
NATURES = ("sandbox", "production")
# Functions named of each part.
NAMED = 3


class Column(NamedTuple):
    """One kind of work in one mode. cpu: µs of the worker a request. mongod: of the database. places: (part, function) -> samples."""

    work: str
    mode: str
    connections: int
    rate: float
    cpu: float
    mongod: float
    places: dict[tuple[str, str], int]
    errors: dict[str, int]

    def part(self, name: str) -> float:
        """µs of a part a request."""
        total = sum(self.places.values())
        return self.cpu * sum(count for (part, _), count in self.places.items() if part == name) / total if total else 0.0


class Found(NamedTuple):
    """A run."""

    columns: list[Column]
    start: report.Start


def run(options: Options, progress: Callable[[str, int, int], None]) -> Found:
    """Load what is missing, and measure at the largest number of connections asked for."""
    runs = options.folder / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    stores = {mode: loaded(options.size, options.folder, MODES[mode].sandbox, progress) for mode in NATURES}
    columns, start = [], report.Start.now(options)
    for mode in NATURES:
        nature = MODES[mode]._replace(module="fhir_dmp.bench.sampled")
        with contextlib.ExitStack() as stack:
            world = World(stack.enter_context(serving(stores[mode], runs / f"{os.getpid()}-{NAME}-{mode}", nature, options.workers)))
            for work, made in WORK.items():
                progress(f"{work}, {mode}", len(columns), len(WORK) * len(NATURES))
                asked = target(work, world, made(world))
                warm(asked, options.connections[-1], options.seconds)
                before = samples(world.host)
                began = time.perf_counter()
                point = measure(options.driver, asked, options.connections[-1], options.seconds, 1)
                took = time.perf_counter() - began
                columns.append(column(work, mode, point, took, samples(world.host) - before))
    return Found(columns, start)


def samples(host: Host) -> Counter:
    """Those that the workers of a server have written so far."""
    found: Counter = Counter()
    for path in host.data.glob(FILES):
        found.update({(part, function): count for part, function, count in json.loads(path.read_text("utf-8"))})
    return found


def column(work: str, mode: str, point: Point, took: float, places: Counter) -> Column:
    """took: seconds of the measurement."""
    share = {name: cores * took * 1e6 / max(1, point.outcome.requests) for name, cores in point.usage.cores.items()}
    return Column(work, mode, point.connections, point.outcome.rate, share["server"], share["mongod"], dict(places), point.errors)


def told(found: Found) -> report.Told:
    """What was found."""
    heads = ("µs of CPU a request", *(f"{one.work}, {one.mode}" for one in found.columns), "most of it in")
    table = [heads]
    for name in (*PARTS, OTHERS[0]):
        functions: Counter = Counter()
        for one in found.columns:
            functions.update({place: one.cpu * count for (part, place), count in one.places.items() if part == name and place})
        most = ", ".join(f"`{place}`" for place, _ in functions.most_common(NAMED))
        table.append((name, *(f"{one.part(name):,.0f}" for one in found.columns), most))
    table.append(("worker in all", *(f"{one.cpu:,.0f}" for one in found.columns), ""))
    table.append(("mongod", *(f"{one.mongod:,.0f}" for one in found.columns), ""))
    table.append(("requests a second", *(f"{one.rate:,.0f}" for one in found.columns), ""))
    faults = {what: number for one in found.columns for what, number in one.errors.items()}
    value = {
        **found.start.value,
        "columns": [
            {**one._asdict(), "places": None, "parts": {name: one.part(name) for name in (*PARTS, OTHERS[0])}} for one in found.columns
        ],
    }
    lines = [f"{found.columns[0].connections} connections; samples of every millisecond of CPU.", *found.start.lines]
    return report.Told(NAME, lines, table, value, f"measurements had errors: {faults}" if faults else "")
