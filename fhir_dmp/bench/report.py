"""The report: a table for the terminal, the same in Markdown between two markers of a page, and figures for programs.

ig/performance.md
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fhir_dmp.bench.bench import Findings, Options, machine
from fhir_dmp.bench.data import DOCUMENTS, SIZES
from fhir_dmp.bench.figures import Figure, figures
from fhir_dmp.bench.peers import Peer
from fhir_dmp.bench.plot import plot
from fhir_dmp.commands import Failed

NAME = "bench"
# The picture is of the mode that a host runs in.
PAGE, PICTURE, PICTURED = "performance.md", "performance.svg", "production"
HEADS = ("work", "", "conns", "req/s", "resources/s", "× floor", "p50 ms", "p95", "p99", "errors", "cores", "other / steal", "MiB")
COST_HEADS = ("patients", "documents", "dossier search p50 ms", "type and year, page 1 p50 ms", "page", "that page p50 ms", "errors")


class Start(NamedTuple):
    """When and where a measurement began. load: average of the machine then. machine: what it is made of, in words."""

    at: datetime
    load: float
    machine: dict[str, str]

    @classmethod
    def now(cls, options: Options) -> "Start":
        return cls(datetime.now(UTC), os.getloadavg()[0], machine(options))

    @property
    def lines(self) -> list[str]:
        """In words."""
        told = [f"{name.capitalize()}: {self.machine[name]}." for name in ("machine", "programs")]
        return [f"{self.at:%Y-%m-%d %H:%M} UTC; load average {self.load:.2f} at the start.", *told]

    @property
    def value(self) -> dict[str, Any]:
        """For programs."""
        return {"begun": self.at.isoformat(), "load": self.load, "machine": self.machine}


class Told(NamedTuple):
    """What a measurement of its own came to. name: of its markers in the page. table: with its heads, or nothing. fault: "" for none."""

    name: str
    lines: list[str]
    table: list[tuple[str, ...]]
    value: dict[str, Any]
    fault: str = ""

    @property
    def text(self) -> str:
        """For a terminal."""
        listed = "\n".join(self.lines)
        return f"{listed}\n\n{aligned(self.table)}" if self.table else listed

    def write(self, folder: Path) -> Path:
        """Put it between its markers in the page of figures; the page."""
        listed = "\n".join(f"- {line}" for line in self.lines)
        return put(folder / PAGE, self.name, f"{listed}\n\n{markdown_table(self.table)}" if self.table else listed)


def rows(found: list[Figure]) -> list[tuple[str, ...]]:
    """Cells of the table."""
    return [
        (
            row.name,
            row.title,
            str(row.connections) if row.name != "W7" else "",
            " / ".join(number(rate) for rate in row.rates),
            number(row.rate * row.resources) if row.resources > 1 else "",
            (f"{row.ratio:.2f} {row.floor}" + (f" (target {row.target:g})" if row.target else "")) if row.ratio else "",
            *(f"{value:.2f}" if value else "" for value in row.times_ms),
            str(sum(row.errors.values())),
            " ".join(f"{name} {value:.2f}" for name, value in row.cores.items()),
            f"{row.other:.2f} / {row.steal:.2f}",
            " ".join(f"{name} {value:.0f}" for name, value in row.mib.items()),
        )
        for row in found
    ]


def number(value: float) -> str:
    """Three digits or more.

    >>> number(12345.6), number(87.65), number(0.456)
    ('12,346', '87.7', '0.46')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def heading(findings: Findings) -> list[str]:
    """What was measured, where and when, in lines."""
    options = findings.options
    patients = SIZES[options.size]
    return [
        f"{findings.begun:%Y-%m-%d %H:%M} UTC, size {options.size}: {patients:,} patients, {patients * DOCUMENTS:,} documents; "
        f"repetitions {options.repetitions}, interleaved, {options.seconds:g} s a measurement, {findings.seconds / 60:.1f} minutes in all; "
        f"load average {findings.load:.2f} at the start.",
        *(f"{name.capitalize()}: {value}." for name, value in findings.machine.items()),
    ]


def bulk(findings: Findings) -> str:
    """Floor B in a sentence."""
    if not findings.bulk:
        return ""
    rates = " / ".join(number(rate) for rate in findings.bulk)
    return f"B, bare insert_many of rows of {findings.row_bytes:,} bytes, batches of 1,000, 4 threads: {rates} rows/s."


def costs(findings: Findings) -> list[tuple[str, ...]]:
    """Cells of the table of `search`."""
    return [
        (
            f"{one.patients:,}",
            f"{one.documents:,}",
            f"{one.dossier_ms:.2f}",
            f"{one.first_page_ms:.2f}",
            str(one.page),
            f"{one.far_page_ms:.2f}",
            str(len(one.wrong)),
        )
        for one in findings.costs
    ]


def faults(findings: Findings, found: list[Figure]) -> list[str]:
    """Everything that was not as it should be, in words."""
    told = [f"{row.name} at {row.connections}: {count} × {what}" for row in found for what, count in row.errors.items()]
    return told + [f"search at {one.patients:,} patients: {what}" for one in findings.costs for what in one.wrong]


def text(findings: Findings, peers: list[Peer]) -> str:
    """For a terminal."""
    found = figures(findings)
    parts = ["\n".join(heading(findings))]
    if found:
        parts.append(aligned([HEADS, *rows(found)]))
    parts += [bulk(findings)] if findings.bulk else []
    if findings.costs:
        parts.append(aligned([COST_HEADS, *costs(findings)]))
    if compared := beside(found, peers):
        parts.append(aligned(compared))
    told = faults(findings, found)
    parts.append("\n".join(told) if told else "No errors; every sampled answer was right.")
    return "\n\n".join(parts)


def beside(found: list[Figure], peers: list[Peer]) -> list[tuple[str, ...]]:
    """Our rates beside those of others, best repetition of each; [] when nothing is in common."""
    ours = {(row.name, row.connections): max(row.rates) for row in found}
    theirs = {(peer.server, peer.name, peer.connections): peer.rate for peer in peers if peer.size == "small"}
    works = {(server, name) for server, name, connections in theirs if (name, connections) in ours}
    # Whoever has one workload only is no server but a floor of that day.
    most = max((sum(one == server for one, _ in works) for server, _ in works), default=0)
    servers = sorted({server for server, _ in works if sum(one == server for one, _ in works) > most / 2})
    table = []
    for (name, connections), rate in ours.items():
        cells = [theirs.get((server, name, connections)) for server in servers]
        if any(cells):
            table.append((name, str(connections), number(rate), *(number(cell) if cell else "" for cell in cells)))
    return [("work", "conns", "here, req/s", *servers), *table] if table else []


def aligned(table: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)


def markdown_table(table: list[tuple[str, ...]]) -> str:
    """GitHub's Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([lines[0], "|" + "---|" * len(table[0]), *lines[1:]])


def markdown(findings: Findings, peers: list[Peer], source: str) -> str:
    """What stands between the markers. source: name of the file of the peers."""
    found = figures(findings)
    parts = ["\n".join(f"- {line}" for line in heading(findings))]
    if found and findings.options.mode == PICTURED:
        parts.append(f"![How many times its floor each workload reaches]({PICTURE})")
    parts += [markdown_table([HEADS, *rows(found)])] if found else []
    parts += [bulk(findings)] if findings.bulk else []
    if findings.costs:
        parts += ["Cost of a search as the store grows and as pages are turned, one connection:"]
        parts += [markdown_table([COST_HEADS, *costs(findings)])]
    if compared := beside(found, peers):
        parts += [f"Beside other servers, measured on another day on a machine of this kind ({source}), best repetition of each:"]
        parts += [markdown_table(compared)]
    told = faults(findings, found)
    parts.append("\n".join(f"- {line}" for line in told) if told else "No errors; every sampled answer was right.")
    return "\n\n".join(parts)


def write(findings: Findings, peers: list[Peer], source: str, folder: Path) -> list[Path]:
    """Replace what stands between the markers of this mode and size in the page, and the picture; the files written."""
    run = f"{findings.options.mode} {findings.options.size}"
    heading = f"### Mode {findings.options.mode}, size {findings.options.size}"
    page, picture = put(folder / PAGE, f"{NAME} {run}", markdown(findings, peers, source), heading), folder / PICTURE
    found = figures(findings)
    if findings.options.mode != PICTURED or not any(row.ratio for row in found):
        return [page]
    title = f"Times its floor, {findings.options.mode}, size {findings.options.size}, {findings.begun:%Y-%m-%d}"
    picture.write_text(plot(found, title), "utf-8")
    return [page, picture]


def put(page: Path, name: str, text: str, heading: str = "") -> Path:
    """Replace what stands between the two markers of this name in a page; the page. heading: of a new section, if there are none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    try:
        written = page.read_text("utf-8")
    except FileNotFoundError:
        raise Failed(f"there is no {page}: run this in the folder of the source") from None
    if heading and begin not in written:
        written = f"{written.rstrip()}\n\n{heading}\n\n{begin}\n{end}\n"
    before, _, rest = written.partition(begin)
    _, marked, after = rest.partition(end)
    if not marked:
        raise Failed(f"{page} has no line `{begin}` followed by a line `{end}`")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", "utf-8")
    return page


def value(findings: Findings) -> dict:
    """For programs."""
    found = figures(findings)
    return {
        "size": findings.options.size,
        "mode": findings.options.mode,
        "driver": findings.options.driver.name,
        "begun": findings.begun.isoformat(),
        "load": findings.load,
        "machine": findings.machine,
        "figures": [row._asdict() for row in found],
        "points": [
            {
                "name": point.name,
                "connections": point.connections,
                "repetition": point.repetition,
                "requests": point.outcome.requests,
                "samples": point.samples,
                "answered": point.answered,
                "errors": point.errors,
            }
            for point in findings.points
        ],
        "bulk": findings.bulk,
        "costs": [one._asdict() for one in findings.costs],
        "faults": faults(findings, found),
    }
