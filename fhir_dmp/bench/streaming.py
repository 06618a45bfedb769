"""`fhir-dmp bench streaming`: the memory that the import of one large NDJSON file takes, from its beginning to its end.

https://hl7.org/fhir/R4/nd-json.html
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

from fhir_dmp.bench import mixed, report
from fhir_dmp.bench.bench import Options, forget_dead
from fhir_dmp.bench.host import plain
from fhir_dmp.bench.importing import SAID
from fhir_dmp.bench.processes import family, memory_mib
from fhir_dmp.bench.world import encoded
from fhir_dmp.commands import Failed
from fhir_dmp.store.embedded import Embedded

NAME = "streaming"
# Bytes of the file of each size.
SIZES = {"tiny": 6_000_000, "small": 500_000_000, "medium": 1_000_000_000, "large": 5_000_000_000}
LIMIT_MIB = 500
# Content of each dossier beside its twenty resources.
CONTENT_BYTES = 150_000
EVERY_SECONDS = 0.5


class Found(NamedTuple):
    """A run. samples: (seconds since the start, MiB of all processes of the import together, proportional set size).

    bytes: of the file. entries, accepted: resources. seconds: of the import.
    """

    bytes: int
    entries: int
    accepted: int
    seconds: float
    samples: list[tuple[float, float]]
    workers: int
    start: report.Start

    @property
    def peak(self) -> float:
        """Most memory."""
        return max(mib for _, mib in self.samples)

    def part(self, number: int, of: int = 5) -> float:
        """Most memory in one of equal parts of the time."""
        length = self.samples[-1][0] / of
        return max((mib for at, mib in self.samples if number * length <= at <= (number + 1) * length), default=0.0)


def run(options: Options, progress: Callable[[str, int, int], None]) -> Found:
    """Write the file, import it into a new sandbox, and watch."""
    runs = options.folder / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget_dead(runs)
    place, start = runs / f"{os.getpid()}-{NAME}", report.Start.now(options)
    (place / "data").mkdir(mode=0o700, parents=True)
    try:
        file, size = place / "large.ndjson", SIZES[options.size]
        with file.open("wb") as out:
            for line in lines():
                if out.tell() >= size:
                    break
                out.write(line)
                progress("write", out.tell(), size)
        mongod = Embedded.start(place / "data")
        try:
            command = [sys.executable, "-m", "fhir_dmp", "import", str(file), "--sandbox"]
            command += ["--data", str(place / "data"), "--workers", str(options.workers)]
            process = subprocess.Popen(command, env=plain(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            with process, watched(process.pid) as samples:
                out, said = process.communicate()
        finally:
            mongod.stop()
        told = SAID.search(out)
        if told is None:
            raise Failed(f"the import failed: {(said or out).strip()[-400:]}")
        seconds, written = float(told[2]), file.stat().st_size
        return Found(written, int(told[1]), int(told[3]), seconds, samples, options.workers, start)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def lines() -> Iterator[bytes]:
    """Dossiers without end, each with a content that does not compress."""
    number = 0
    while True:
        yield from (encoded(one) + b"\n" for one in mixed.dossier(number))
        data = b64encode(Random(f"large {number}").randbytes(CONTENT_BYTES)).decode()
        yield encoded({"resourceType": "Binary", "id": f"large-{number}", "contentType": "application/pdf", "data": data}) + b"\n"
        number += 1


@contextmanager
def watched(pid: int) -> Iterator[list[tuple[float, float]]]:
    """Samples of the memory of a process and those below it, as long as the block lasts."""
    samples: list[tuple[float, float]] = []
    over, begun = threading.Event(), time.monotonic()

    def watch() -> None:
        while not over.wait(EVERY_SECONDS):
            if found := sum(map(memory_mib, family(pid))):
                samples.append((time.monotonic() - begun, found))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield samples
    finally:
        over.set()
        watching.join()


def told(found: Found) -> report.Told:
    """What was found."""
    parts = ", ".join(f"{found.part(number):,.0f}" for number in range(5))
    lines = [
        f"{found.bytes / 1e9:.2f} GB, {found.entries:,} resources, {found.accepted:,} accepted, in {found.seconds:,.0f} s with "
        f"{found.workers} workers: at most {found.peak:,.0f} MiB (wanted: under {LIMIT_MIB}), by fifths of the time {parts}.",
        *found.start.lines,
    ]
    value = {**found._asdict(), **found.start.value, "peak": found.peak, "limit": LIMIT_MIB}
    del value["start"]
    failed = found.accepted < found.entries or found.peak >= LIMIT_MIB
    return report.Told(NAME, lines, [], value, "it takes more memory than it may, or refuses something" if failed else "")
