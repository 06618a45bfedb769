"""What processes use of the machine: CPU and memory of each, and what else ran meanwhile.

https://www.kernel.org/doc/html/latest/filesystems/proc.html
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
# Cores that an idle server uses at most.
QUIET = 0.15


class Usage(NamedTuple):
    """cores: name -> mean cores used. mib: name -> proportional memory at the end. other: cores used by anything else. steal: cores the
    hypervisor took away."""

    cores: dict[str, float]
    mib: dict[str, float]
    other: float
    steal: float


def family(pid: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                below.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        queue += below.get(one, ())
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/pid/stat after the name, from the state on."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used, 0 when it is gone."""
    with contextlib.suppress(OSError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def memory_mib(pid: int) -> float:
    """Proportional set size, 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _machine() -> tuple[float, float]:
    """CPU seconds of the whole machine since its start: busy, stolen."""
    words = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (int(word) / TICKS for word in words)
    return user + nice + system + irq + softirq, steal


def settle(pid: int, seconds: float = 30) -> None:
    """Wait until a process and those below it have nothing to do: a load that was stopped leaves requests under way."""
    members, end = family(pid), time.monotonic() + seconds
    before, quiet = sum(map(cpu_seconds, members)), 0
    while quiet < 3 and time.monotonic() < end:
        time.sleep(0.1)
        now = sum(map(cpu_seconds, members))
        quiet = quiet + 1 if now - before < QUIET * 0.1 else 0
        before = now


class Meter:
    """Measures from its making to `stop`. groups: name -> first process of a family; a process of two families counts for the first."""

    def __init__(self, groups: Mapping[str, int]) -> None:
        self._members: dict[str, dict[int, float]] = {}
        known: set[int] = set()
        # A database started by a server is its child, yet a group of its own: those named are not taken by another group.
        for name, pid in groups.items():
            members = [one for one in family(pid) if one not in known and (one == pid or one not in groups.values())]
            known.update(members)
            self._members[name] = {one: cpu_seconds(one) for one in members}
        self._begun, self._machine = time.perf_counter(), _machine()

    def stop(self) -> Usage:
        """What was used since."""
        seconds = time.perf_counter() - self._begun
        busy, stolen = (now - then for now, then in zip(_machine(), self._machine, strict=True))
        used = {
            name: sum(max(0.0, cpu_seconds(one) - before) for one, before in members.items()) / seconds
            for name, members in self._members.items()
        }
        mib = {name: sum(memory_mib(one) for one in members) for name, members in self._members.items()}
        return Usage(used, mib, busy / seconds - sum(used.values()), stolen / seconds)
