"""Which units of a run are prepared in step with one another, and how.

See interactions.pace: what sixteen units do one after the other, step by step, takes less time than each of them from end to end.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Set
from types import coroutine
from typing import Any

from fhir_dmp.exchange.units import PEOPLE, RESOURCE, Unit

# Units of a wave, and the largest of them: all of a wave may come on top of a group that is almost full.
WAVE = 16
WAVE_BYTES = 256 * 1024


def waves(units: Iterable[Unit], plain: bool, referred: Callable[[Unit], Set[bytes]]) -> Iterator[list[Unit]]:
    """Units in their order; together those that follow one another and do not speak of one another. referred: keys of what a unit names.

    What may have others stored before it is prepared comes alone.
    """
    wave: list[Unit] = []
    spoken: set[bytes] = set()
    for unit in units:
        alone = unit.work != RESOURCE or len(unit.body) > WAVE_BYTES or not (plain or _simple(unit))
        names = {*unit.keys} if plain or alone else {*unit.keys, *referred(unit)}
        if wave and (alone or len(wave) == WAVE or not spoken.isdisjoint(names)):
            yield wave
            wave, spoken = [], set()
        if alone:
            yield [unit]
            continue
        wave.append(unit)
        # With a document its contents have their place.
        spoken.update(names if unit.type == "DocumentReference" else unit.keys)
    if wave:
        yield wave


def _simple(unit: Unit) -> bool:
    """Of a real source: nobody who must be found first, no content, which follows its document, and no document that replaces another."""
    return unit.type not in PEOPLE and unit.type != "Binary" and "relatesTo" not in unit.tree


@coroutine
def in_turns(works: Iterable[Coroutine[Any, Any, None]]) -> Generator[Any, Any, None]:
    """Do these works, each in its turn as far as its next step (interactions.pace), within the task that awaits this.

    A task for each of them would cost as much as one of its steps. Where one waits for something else than the others, all of them wait.
    Other tasks have their turn when each has gone one step.
    """
    every = left = list(works)
    try:
        while left:
            left, these = [], left
            for work in these:
                if (yield from _step(work)):
                    left.append(work)
            yield
    finally:
        for work in every:
            work.close()


def _step(work: Coroutine[Any, Any, None]) -> Generator[Any, Any, bool]:
    """Whether it goes on after its next step."""
    go_on, said = work.send, None
    while True:
        try:
            awaited = go_on(said)
        except StopIteration:
            return False
        if awaited is None:
            return True
        try:
            go_on, said = work.send, (yield awaited)
        except BaseException as error:
            go_on, said = work.throw, error
