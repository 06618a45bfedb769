"""`fhir-dmp bench access` and `bench traces`: two modes of the server beside each other in one run, reading the same data.

access: rules beside a sandbox, at least 85 % of its speed; traces: with traces beside without, at least half. https://profiles.ihe.net/ITI/PCF/
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from fhir_dmp.bench import report
from fhir_dmp.bench.bench import Options, forget_dead
from fhir_dmp.bench.driver import write_requests
from fhir_dmp.bench.host import MODES, serving
from fhir_dmp.bench.loading import loaded
from fhir_dmp.bench.measuring import Point, Target, measure, warm
from fhir_dmp.bench.workloads import dossier_search, read
from fhir_dmp.bench.world import World

WORK = {"read": read, "search": dossier_search}


class Pair(NamedTuple):
    """Modes. target: share of the speed of `without` that shall be left."""

    without: str
    with_: str
    target: float


PAIRS = {"access": Pair("sandbox", "rules", 0.85), "traces": Pair("rules", "production", 0.5)}


class Line(NamedTuple):
    """One comparison. rates: requests per second by repetition. p50_ms: the median of theirs. Both, and errors, by mode."""

    work: str
    connections: int
    pair: Pair
    rates: dict[str, tuple[float, ...]]
    p50_ms: dict[str, float]
    errors: dict[str, int]

    @property
    def share(self) -> float:
        """Of the speed without that is left: of repetitions beside each other, the median."""
        rates = zip(self.rates[self.pair.with_], self.rates[self.pair.without], strict=True)
        # One that answered nothing in its time has errors that say so.
        return median(one / other if other else 0.0 for one, other in rates)


class Found(NamedTuple):
    """A run."""

    lines: list[Line]
    start: report.Start


def run(name: str, options: Options, progress: Callable[[str, int, int], None]) -> Found:
    """Load stores where they are missing, and measure both servers in turn. name: key of PAIRS."""
    pair, runs = PAIRS[name], options.folder / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    with contextlib.ExitStack() as servers:
        worlds = {}
        for mode in (pair.without, pair.with_):
            store = loaded(options.size, options.folder, MODES[mode].sandbox, progress)
            worlds[mode] = World(servers.enter_context(serving(store, runs / f"{os.getpid()}-{mode}", MODES[mode], options.workers)))
        start = report.Start.now(options)
        return Found(list(compared(options, pair, worlds, progress)), start)


def compared(options: Options, pair: Pair, worlds: dict[str, World], progress: Callable[[str, int, int], None]) -> Iterator[Line]:
    """One line for each kind of work and number of connections."""
    total, done = len(WORK) * len(options.connections) * options.repetitions * len(worlds), 0
    for work, made in WORK.items():
        targets = {mode: target(work, world, made(world)) for mode, world in worlds.items()}
        for connections in options.connections:
            points: dict[str, list[Point]] = {mode: [] for mode in worlds}
            for repetition in range(1, options.repetitions + 1):
                # One and the other, then the other and one: what the machine does meanwhile falls on both.
                for mode in worlds if repetition % 2 else reversed(worlds):
                    progress(f"{work} at {connections}", done, total)
                    if repetition == 1:
                        # Most askers and dossiers are met again then, as by practice software.
                        warm(targets[mode], connections, options.seconds, fully=True)
                    points[mode].append(measure(options.driver, targets[mode], connections, options.seconds, repetition))
                    done += 1
            yield line(work, connections, pair, points)


def target(work: str, world: World, asked: list) -> Target:
    """One of the two servers under one kind of work."""
    file = world.host.data.parent / f"{work}.requests"
    write_requests(file, (one.request for one in asked))
    return Target(work, world.host.address, file, {"server": world.host.server, "mongod": world.host.mongod}, asked)


def line(work: str, connections: int, pair: Pair, points: dict[str, list[Point]]) -> Line:
    """The comparison of what was measured."""
    errors: dict[str, int] = {}
    for mode, found in points.items():
        for point in found:
            errors |= {f"{mode}: {what}": number for what, number in point.errors.items()}
    rates = {mode: tuple(point.outcome.rate for point in found) for mode, found in points.items()}
    times = {mode: median(point.outcome.p50_ms for point in found) for mode, found in points.items()}
    return Line(work, connections, pair, rates, times, errors)


def told(name: str, found: Found) -> report.Told:
    """What was found. name: key of PAIRS."""
    without, with_, target = PAIRS[name]
    heads = ("work", "conns", f"req/s {without}", f"req/s {with_}", "left", f"p50 ms {without}", f"p50 ms {with_}", "errors")
    table, faults = [heads], {}
    for one in found.lines:
        rates = [" / ".join(f"{rate:,.0f}" for rate in one.rates[mode]) for mode in (without, with_)]
        times = [f"{one.p50_ms[mode]:.2f}" for mode in (without, with_)]
        left, errors = f"{one.share:.0%} (target {target:.0%})", str(sum(one.errors.values()))
        table.append((one.work, str(one.connections), *rates, left, *times, errors))
        faults |= one.errors
    value = {**found.start.value, "lines": [{**one._asdict(), "pair": one.pair._asdict(), "share": one.share} for one in found.lines]}
    return report.Told(name, found.start.lines, table, value, f"measurements had errors: {faults}" if faults else "")
