"""Whether time tells hidden from absent: requests for both, interleaved at random, and how well the durations sort them.

https://profiles.ihe.net/ITI/PCF/ ; access-rules: no extra message or timing path. AUC 0.5: time tells nothing; bound: 0.55.

The AUC is the probability that a request of the one kind took longer than one of the other (Mann and Whitney 1947); its interval is
that of Hanley and McNeil (1982).
"""

import math
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

BOUND = 0.55
WARM_UP = 100
# Standard deviations on either side that hold 95 of 100 measurements.
CERTAIN = 1.96


class Told(NamedTuple):
    """What a measurement found. auc: at least 0.5, whichever kind is slower. p: that chance alone makes such a one (two-sided).

    medians: of the one kind and the other, milliseconds. requests: of each kind.
    """

    auc: float
    p: float
    medians: tuple[float, float]
    requests: int

    @property
    def holds(self) -> bool:
        """Whether an observer cannot do noticeably better than guess."""
        return self.auc <= BOUND

    @property
    def interval(self) -> tuple[float, float]:
        """Between which the AUC lies, with 95 % confidence."""
        area, more = self.auc, self.requests - 1
        one, other = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
        half = CERTAIN * math.sqrt((area * (1 - area) + more * one + more * other) / self.requests**2)
        return max(0.0, area - half), min(1.0, area + half)


def interleaved(ask: Callable[[bytes], object], hidden: Sequence[bytes], absent: Sequence[bytes], requests: int, seed: int = 1) -> Told:
    """Ask for one or the other `requests` times each, in random order, and judge. ask: sends one request and waits for its answer.

    hidden, absent: requests of the same shape and length, taken in turn.
    """
    order = [True, False] * requests
    Random(seed).shuffle(order)
    turns = {True: 0, False: 0}
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number, kind in enumerate([True, False] * (WARM_UP // 2) + order):
        among = hidden if kind else absent
        request = among[turns[kind] % len(among)]
        turns[kind] += 1
        begun = time.perf_counter()
        ask(request)
        if number >= WARM_UP:
            taken[kind].append((time.perf_counter() - begun) * 1000)
    return judged(taken[True], taken[False])


def judged(one: Sequence[float], other: Sequence[float]) -> Told:
    """What two samples of durations, in milliseconds, tell."""
    area = auc(one, other)
    count, total = len(one) * len(other), len(one) + len(other) + 1
    deviation = math.sqrt(total / (12 * count))
    p = math.erfc(abs(area - 0.5) / deviation / math.sqrt(2))
    return Told(max(area, 1 - area), p, (median(one), median(other)), min(len(one), len(other)))


def auc(one: Sequence[float], other: Sequence[float]) -> float:
    """Probability that a value of `one` is larger than a value of `other`; equal ones count half.

    >>> auc([2.0, 3.0], [1.0, 2.0])
    0.875
    """
    marked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks, place = 0.0, 0
    while place < len(marked):
        end = place
        while end < len(marked) and marked[end][0] == marked[place][0]:
            end += 1
        middle = (place + end + 1) / 2
        ranks += middle * sum(kind == 0 for _, kind in marked[place:end])
        place = end
    return (ranks - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))


def median(values: Sequence[float]) -> float:
    """Milliseconds."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
