"""One measurement: a load for a time, samples of the answers beside it, what the processes used, what the server says it answered.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import resource
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from fhir_dmp.bench.asking import Asker, counted
from fhir_dmp.bench.driver import SOCKETS, Driver, Outcome
from fhir_dmp.bench.processes import Meter, Usage, memory_mib, settle
from fhir_dmp.bench.world import Asked

# Samples ask at most this often, and take at most a tenth of the time of one connection.
SAMPLE_SECONDS = 0.2
WARM_SECONDS = 1.0
CLIENT_GONE = "499"


class Target(NamedTuple):
    """Where load goes. file: the requests. groups: name -> process. asked: the same requests with their checks, empty for a floor."""

    name: str
    address: str
    file: Path
    groups: Mapping[str, int]
    asked: Sequence[Asked] = ()


class Point(NamedTuple):
    """One measurement. repetition: from 1. answered: by status, as the server counted them. samples: answers looked at. wrong: what was
    found wrong in them, each once."""

    name: str
    connections: int
    repetition: int
    outcome: Outcome
    usage: Usage
    answered: dict[str, int]
    samples: int = 0
    wrong: tuple[str, ...] = ()

    @property
    def errors(self) -> dict[str, int]:
        """Everything that was not as it should be: what -> how many."""
        found = dict(self.outcome.errors)
        found |= {f"status {status}": count for status, count in self.answered.items() if int(status) > 399 and status != CLIENT_GONE}
        found |= {what: 1 for what in self.wrong}
        if not self.outcome.requests:
            found["no answer within the time"] = 1
        if self.answered:
            # Those under way when the driver hangs up are answered, or given up, without the driver counting them.
            more = sum(self.answered.values()) - self.outcome.requests - self.samples
            if not 0 <= more <= self.connections:
                found["answers only one side has counted"] = abs(more)
        return found


class Sampler(threading.Thread):
    """Asks requests of a target now and then while a load runs, and checks the answers."""

    def __init__(self, target: Target, seed: str) -> None:
        super().__init__(daemon=True)
        self.target, self.chance, self.over = target, Random(seed), threading.Event()
        self.asked = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        asker = Asker(self.target.address)

        def ask(request: bytes):
            self.asked += 1
            return asker.ask(request)

        while True:
            one = self.chance.choice(self.target.asked)
            begun = time.perf_counter()
            try:
                wrong = one.check(ask(one.request), ask)
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                wrong = f"an answer could not be read: {type(error).__name__}"
            if wrong and wrong not in self.wrong:
                self.wrong.append(wrong)
            if self.over.wait(max(SAMPLE_SECONDS, 10 * (time.perf_counter() - begun))):
                break
        asker.close()


def warm(target: Target, connections: int, seconds: float, *, fully: bool = False) -> None:
    """Load that is not measured. seconds: of a measurement. fully: as long as that."""
    seconds = seconds if fully else min(WARM_SECONDS, seconds / 3)
    SOCKETS.finish(SOCKETS.start(target.address, target.file, connections, seconds, 0), seconds)


def measure(driver: Driver, target: Target, connections: int, seconds: float, repetition: int) -> Point:
    """One measurement, on a server that is at rest before and afterwards."""
    settle(target.groups["server"])
    asker = Asker(target.address)
    before = counted(asker) if target.asked else {}
    sampler = Sampler(target, f"{target.name} {connections} {repetition}") if target.asked else None
    meter, children = Meter(target.groups), _children_seconds()
    begun = time.perf_counter()
    process = driver.start(target.address, target.file, connections, seconds, repetition * 997)
    if sampler:
        sampler.start()
    time.sleep(seconds / 2)
    client_mib = memory_mib(process.pid)
    outcome = driver.finish(process, seconds)
    took = time.perf_counter() - begun
    usage = meter.stop()
    client = (_children_seconds() - children) / took
    usage = usage._replace(cores={**usage.cores, "client": client}, mib={**usage.mib, "client": client_mib}, other=usage.other - client)
    samples, wrong = 0, ()
    if sampler:
        sampler.over.set()
        sampler.join()
        samples, wrong = sampler.asked, tuple(sampler.wrong)
    answered = {}
    if target.asked:
        settle(target.groups["server"])
        after = counted(asker)
        answered = {status: count - before.get(status, 0) for status, count in after.items() if count != before.get(status, 0)}
    asker.close()
    return Point(target.name, connections, repetition, outcome, usage, answered, samples, wrong)


def _children_seconds() -> float:
    """CPU of processes that this one started and waited for: of a load driver, once it has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
