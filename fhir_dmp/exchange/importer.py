"""An import from its first byte to its report: read in a stream, done in runs, reported in the order of the input.

https://hl7.org/fhir/R4/nd-json.html

Memory holds the runs under way and nothing else, whatever the size of the input. Nothing is kept about how far it is: what was stored is
in the ledger, so that an import that was cut off is simply done again, and ends as if it had not been.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.points import reached
from fhir_dmp.exchange.pool import Pool
from fhir_dmp.exchange.referring import BINARY, DOCUMENT, contents_of
from fhir_dmp.exchange.results import REFUSED, WORTH_ANOTHER_TRY, Counts, Result
from fhir_dmp.fhir import json

RUN = 500
RUN_BYTES = 1024 * 1024
# A run beyond this is one Bundle that is stored at once; two of them together could fill what the cache may hold unwritten.
LARGE_BYTES = 8 * 1024 * 1024
# Who and where comes before what: everything else refers to them.
PEOPLE = frozenset({"Patient", "Practitioner", "Organization"})

Items = Callable[[], Iterable[Item]]


class Head(msgspec.Struct):
    """What tells where a resource belongs, read without the rest."""

    resourceType: str = ""
    id: str = ""


_HEAD = msgspec.json.Decoder(Head)


def head(body: bytes) -> Head:
    """Type and id of a resource; empty for what is none, which is told when it is read in full."""
    try:
        return _HEAD.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Head()


class _Under(NamedTuple):
    """A run under way. about: type and id of each of its resources."""

    task: asyncio.Task
    items: list[Item]
    about: frozenset[str]

    @property
    def large(self) -> bool:
        return _large(self.items)


class Importer:
    """One import. people_first: read the input twice, first for those whom the rest is about."""

    def __init__(self, pool: Pool, told: Callable[[Result], None], consumed: Callable[[int], None], *, people_first: bool) -> None:
        self.pool, self._told, self._consumed, self._people_first = pool, told, consumed, people_first
        self.counts = Counts()
        self._again: set[str] = set()
        # What waits for something later in this round: what comes about the same waits behind it, so that versions keep their order.
        self._held: set[str] = set()
        # Names of contents whose documents were refused, which are not kept either.
        self._refused: set[str] = set()

    async def run(self, items: Items) -> Counts:
        """Import. items: reads the input from its beginning, each time it is called."""
        if self._people_first:
            await self._round(item for item in items() if head(item.body).resourceType in PEOPLE)
            await self._round(item for item in items() if head(item.body).resourceType not in PEOPLE)
        else:
            await self._round(items())
        # What waited for something later in the input. Each round must bring something, else it is the last.
        last = not self._people_first
        while waiting := self._again:
            before, self._again = self.counts.accepted, set()
            kept: list[list[Result]] = []
            chosen = (item for item in items() if item.place in waiting)
            await self._round(map(self._alone, chosen) if last else chosen, kept=kept, last=last)
            if self.counts.accepted == before and last:
                for results in kept:
                    self._tell(results)
                return self.counts
            last = last or self.counts.accepted == before
        return self.counts

    async def _round(self, items: Iterable[Item], kept: list[list[Result]] | None = None, *, last: bool = False) -> None:
        under: deque[_Under] = deque()
        self._held = set()
        try:
            for chosen, about in _runs(items):
                # Two versions of one thing are stored in their order.
                large = _large(chosen)
                while under and (len(under) >= self.pool.at_once or any(one.about & about or (large and one.large) for one in under)):
                    await self._finish(under.popleft(), kept)
                chosen = chosen if last else self._in_turn(chosen, kept)
                under.append(_Under(asyncio.create_task(self.pool.run(chosen, last=last)), chosen, about))
                await asyncio.sleep(0)
            while under:
                await self._finish(under.popleft(), kept)
        finally:
            for one in under:
                one.task.cancel()

    async def _finish(self, one: _Under, kept: list[list[Result]] | None) -> None:
        for item, results in zip(one.items, await one.task, strict=True):
            reached("item-read")
            if any(result.state == REFUSED and result.status not in WORTH_ANOTHER_TRY for result in results):
                self._refused |= _contents(item)
            if any(result.status in WORTH_ANOTHER_TRY for result in results):
                self._again.add(item.place)
                self._held |= {named} if (named := _name(item)) else set()
                if kept is not None:
                    kept.append(results)
            else:
                self._tell(results)
            if kept is None:
                self._consumed(item.consumed)

    def _in_turn(self, chosen: list[Item], kept: list[list[Result]] | None) -> list[Item]:
        """These items without those before which another one about the same thing waits: they wait too."""
        if not self._held:
            return chosen
        left = [item for item in chosen if _name(item) not in self._held]
        for item in chosen:
            if _name(item) in self._held:
                self._again.add(item.place)
                if kept is None:
                    self._consumed(item.consumed)
        return left

    def _alone(self, item: Item) -> Item:
        """An item in the last round: a content whose document was refused waits for nobody."""
        found = head(item.body)
        if found.resourceType == BINARY and f"{BINARY}/{found.id}" in self._refused:
            return item._replace(fault=FhirError("not-found", "the document that points to this content was refused", BINARY))
        return item

    def _tell(self, results: list[Result]) -> None:
        for result in results:
            self.counts.add(result)
            self._told(result)


def _name(item: Item) -> str:
    found = head(item.body)
    return f"{found.resourceType}/{found.id}" if found.id else ""


def _contents(item: Item) -> set[str]:
    """Names of the contents that a document points to."""
    with contextlib.suppress(FhirError):
        if head(item.body).resourceType == DOCUMENT:
            return set(contents_of(json.parse(item.body)).values())
    return set()


def _large(run: list[Item]) -> bool:
    return sum(len(item.body) for item in run) > LARGE_BYTES


def _runs(items: Iterable[Item]) -> Iterator[tuple[list[Item], frozenset[str]]]:
    """Items in runs of bounded number and size, with what they are about."""
    run: list[Item] = []
    about: set[str] = set()
    size = 0
    for item in items:
        if run and (len(run) >= RUN or size + len(item.body) > RUN_BYTES):
            yield run, frozenset(about)
            run, about, size = [], set(), 0
        run.append(item)
        size += len(item.body)
        if named := _name(item):
            about.add(named)
    if run:
        yield run, frozenset(about)
