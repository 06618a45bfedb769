"""`fhir-dmp bench lasting`: the memory of a server under the mix W6, rules and traces, for as long as one cares to wait.

See ig/performance.md.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from fhir_dmp.bench import report
from fhir_dmp.bench.bench import Options, chosen, forget_dead, target_of
from fhir_dmp.bench.host import MODES, serving
from fhir_dmp.bench.loading import loaded
from fhir_dmp.bench.measuring import measure
from fhir_dmp.bench.streaming import watched
from fhir_dmp.bench.world import World

NAME, MODE, WORK = "lasting", "production", "W6"
LIMIT_MIB = 300
PARTS = 6


class Found(NamedTuple):
    """A run. samples: (seconds since the start, MiB of the server's processes together, proportional set size). requests: answered."""

    seconds: float
    connections: int
    requests: int
    errors: dict[str, int]
    samples: list[tuple[float, float]]
    start: report.Start

    def part(self, number: int) -> float:
        """Median memory in one of equal parts of the time."""
        length = self.samples[-1][0] / PARTS
        inside = sorted(mib for at, mib in self.samples if number * length <= at <= (number + 1) * length)
        return inside[len(inside) // 2] if inside else 0.0

    @property
    def peak(self) -> float:
        """Most memory."""
        return max(mib for _, mib in self.samples)


def run(options: Options, progress: Callable[[str, int, int], None]) -> Found:
    """Load what is missing, then one long measurement at the largest number of connections asked for."""
    options = replace(options, mode=MODE, names=(WORK,))
    runs, mode = options.folder / "runs", MODES[MODE]
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    place, start = runs / f"{os.getpid()}-{NAME}", report.Start.now(options)
    store = loaded(options.size, options.folder, mode.sandbox, progress)
    with serving(store, place, mode, options.workers) as host:
        progress(WORK, 0, 1)
        target = target_of(chosen((WORK,), mode)[0], World(host), place)
        with watched(host.server) as samples:
            point = measure(options.driver, target, options.connections[-1], options.seconds, 1)
    return Found(options.seconds, point.connections, point.outcome.requests, point.errors, samples, start)


def told(found: Found) -> report.Told:
    """What was found."""
    parts = [found.part(number) for number in range(PARTS)]
    lines = [
        f"{WORK}, {MODE}, {found.connections} connections, {found.seconds / 60:,.1f} minutes, {found.requests:,} requests, "
        f"{sum(found.errors.values())} errors: at most {found.peak:,.0f} MiB (wanted: under {LIMIT_MIB} for a worker), "
        f"medians of sixths of the time {', '.join(f'{one:,.0f}' for one in parts)}.",
        *found.start.lines,
        f"Server: {found.start.machine['server']}.",
    ]
    value = {**found._asdict(), **found.start.value, "peak": found.peak, "parts": parts}
    del value["start"]
    return report.Told(NAME, lines, [], value, f"the measurement had errors: {found.errors}" if found.errors else "")
