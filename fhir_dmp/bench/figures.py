"""From measurements to rows of a table.

Rates of every repetition, the median of everything else; ratios are to the floor of the same repetition.
"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from fhir_dmp.bench.bench import Findings
from fhir_dmp.bench.host import MODES
from fhir_dmp.bench.measuring import Point
from fhir_dmp.bench.workloads import WORKLOADS, of_mode

FLOORS = {
    "S": "static bytes, same ASGI server",
    "F": "one bare find by id a request",
    "I": "one bare insert a request, majority and journaled",
}
IMPORT = "W7"
ORDER = [*FLOORS, *sorted({IMPORT, *(one.name for one in WORKLOADS)}, key=lambda name: (name[:2], len(name), name))]

# (mode, workload, connections) -> least ratio to its floor
TARGETS = {
    ("sandbox", "W2", 64): 4.0,
    ("sandbox", "W2", 1): 0.9,
    ("production", "W2", 64): 2.0,
    ("production", "W2", 1): 0.25,
    ("production", "W3", 64): 1.5,
    ("production", "W6", 64): 1.5,
    ("production", "W1", 64): 1.5,
    ("production", "W5x3", 64): 0.2,
    ("production", "W5x100", 4): 0.2,
    ("production", "W5x1000", 4): 0.2,
    ("production", "W7", 1): 0.2,
}


class Figure(NamedTuple):
    """One row. title: what was asked, in this mode. rates: requests a second, one a repetition. ratio: to `floor`, 0 when there is none.

    resources: in one request. times_ms: p50, p95, p99. cores, mib: by process. errors: what -> how many. target: least ratio wanted, 0 for
    none.
    """

    name: str
    title: str
    connections: int
    rates: tuple[float, ...]
    resources: int
    floor: str
    ratio: float
    target: float
    times_ms: tuple[float, float, float]
    cores: dict[str, float]
    mib: dict[str, float]
    other: float
    steal: float
    errors: dict[str, int]

    @property
    def rate(self) -> float:
        return median(self.rates)


def figures(findings: Findings) -> list[Figure]:
    """Rows in the order of the report."""
    together: dict[tuple[str, int], list[Point]] = {}
    for point in findings.points:
        together.setdefault((point.name, point.connections), []).append(point)
    floors = {(p.name, p.connections, p.repetition): p.outcome.rate for p in findings.points if p.name in FLOORS}
    rows = [_figure(findings, points, floors) for points in together.values()]
    return sorted(rows, key=lambda row: (ORDER.index(row.name), row.connections))


def _figure(findings: Findings, points: Sequence[Point], floors: dict[tuple[str, int, int], float]) -> Figure:
    name, connections = points[0].name, points[0].connections
    title, resources, floor = _told(name, findings.options.mode)
    ratios = []
    for point in points:
        under = findings.bulk[point.repetition - 1] / resources if floor == "B" else floors.get((floor, connections, point.repetition), 0)
        if under:
            ratios.append(point.outcome.rate / under)
    errors: dict[str, int] = {}
    for point in points:
        for what, count in point.errors.items():
            errors[what] = errors.get(what, 0) + count
    return Figure(
        name,
        title,
        connections,
        tuple(point.outcome.rate for point in points),
        resources,
        floor,
        median(ratios) if ratios else 0.0,
        TARGETS.get((findings.options.mode, name, connections), 0.0),
        tuple(median(values) for values in zip(*((p.outcome.p50_ms, p.outcome.p95_ms, p.outcome.p99_ms) for p in points), strict=True)),
        _medians([point.usage.cores for point in points]),
        _medians([point.usage.mib for point in points]),
        median(point.usage.other for point in points),
        median(point.usage.steal for point in points),
        errors,
    )


def _told(name: str, mode: str) -> tuple[str, int, str]:
    """Title, resources in a request, and floor."""
    if name in FLOORS:
        return FLOORS[name], 1, ""
    if name == IMPORT:
        return ("import of NDJSON" if MODES[mode].sandbox else "import of NDJSON from another host"), 1, "B"
    one = next(each for each in of_mode(MODES[mode]) if each.name == name)
    return one.title, one.resources, one.floor


def _medians(several: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(one.get(name, 0.0) for one in several) for name in several[0]}
