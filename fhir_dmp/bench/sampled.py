"""`python -m fhir_dmp.bench.sampled serve ...`: the same server, whose workers note every millisecond of their CPU time what they are at.

https://docs.python.org/3/library/signal.html#signal.setitimer ; so that what a request costs is told by its parts: see bench/profiling.py.
What a C function takes is noted by the next step of Python, which is nearly always in the same part.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from fhir_dmp import app
from fhir_dmp.cli import main
from fhir_dmp.settings import Settings

EVERY_SECONDS = 0.001
# Written again after so many.
WRITTEN = 250
FILES = "samples-*.json"
OTHERS = ("driver and event loop", "")
# What only started everything.
STARTERS = ("commands/", "bench/", "cli", "__main__")
_ROOT = str(Path(app.__file__).parent) + os.sep

# Where code stands -> what it is for. What everything uses is counted for who uses it.
SHARED = ("store/connection", "store/failures", "store/batching", "store/vault", "store/rows", "fhir/json", "fhir/instants", "errors")
PARTS = {
    "HTTP: address, token, headers": ("app", "http/", "identity/", "settings", "fhir/bundle", "fhir/http_types"),
    "rules": ("consent/", "dmp/", "interactions/enforcement", "interactions/appearing", "interactions/policy", "interactions/facts"),
    "trace: made, sealed, chained, stored": ("interactions/tracing", "audit/", "store/journal", "store/lanes", "store/compressed"),
    "journal: merged into the log, heads signed": ("audit/merger", "store/merging"),
    "search: understood, filtered, put in order": ("search/", "interactions/search_"),
    "rows: read, opened": ("store/",),
    "interaction: everything else": ("",),
}
_NAMES = sorted(((start, part) for part, starts in PARTS.items() for start in starts), key=lambda one: -len(one[0]))


def part_of(file: str) -> str | None:
    """What a file of this project is for; None for what everything uses.

    >>> part_of("audit/merger.py"), part_of("audit/event.py"), part_of("store/rows.py"), part_of("interactions/read.py")
    ('journal: merged into the log, heads signed', 'trace: made, sealed, chained, stored', None, 'interaction: everything else')
    """
    if file.startswith(SHARED):
        return None
    return next(part for start, part in _NAMES if file.startswith(start))


class Sampler:
    """Counts (part, function) of the innermost frame that belongs to a part."""

    def __init__(self, path: Path) -> None:
        self.path, self.found, self.known = path, Counter(), {}

    def start(self) -> None:
        """From now on, in this process."""
        signal.signal(signal.SIGPROF, self.note)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)

    def note(self, number: int, frame: FrameType | None) -> None:
        """One sample."""
        self.found[self.place(frame)] += 1
        if self.found.total() % WRITTEN == 0:
            draft = self.path.with_suffix(".draft")
            draft.write_text(json.dumps([[*place, count] for place, count in self.found.items()]), "utf-8")
            draft.rename(self.path)

    def place(self, frame: FrameType | None) -> tuple[str, str]:
        """Part and function."""
        shared = None
        while frame is not None:
            code = frame.f_code
            if code not in self.known:
                file = code.co_filename.removeprefix(_ROOT)
                own = file is not code.co_filename and not file.startswith(STARTERS)
                self.known[code] = (part_of(file), f"{file} {code.co_name}") if own else None
            found = self.known[code]
            if found is not None:
                if found[0] is not None:
                    return found
                shared = shared or ("rows: read, opened", found[1])
            frame = frame.f_back
        return shared or OTHERS


def sampled(create: Callable) -> Callable:
    """In place of app.create: samples are taken once the worker serves."""

    def creates(settings: Settings, started: Callable[[], object]):
        def begun() -> None:
            started()
            Sampler(settings.data / f"samples-{os.getpid()}.json").start()

        return create(settings, started=begun)

    return creates


if __name__ == "__main__":
    app.create = sampled(app.create)
    main()
