"""What a run of an import is told from outside: its instant, and what its ids are drawn from.

https://docs.python.org/3/reference/datamodel.html#object.__del__

Values by themselves: what a run holds is let go of when it ends, without anybody looking for garbage, as nothing of it is held in a circle.
"""

from collections.abc import Callable


class Moment:
    """The instant of one transaction, UTC milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self._at_ms = clock, clock()

    def now_ms(self) -> int:
        """As Context.now_ms."""
        return self._at_ms

    def pass_on(self) -> None:
        """The next transaction begins."""
        self._at_ms = max(self._at_ms, self._clock())


class Drawn:
    """Ids are drawn from `source`, which is another one for each resource."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self.source = source

    def __call__(self, size: int) -> bytes:
        return self.source(size)
