"""Smart batching: calls of one kind that wait together go to the database together.

https://www.mongodb.com/docs/manual/core/bulk-write-operations/
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Failed(NamedTuple):
    """In the place of a result: this item alone failed, with this error."""

    error: BaseException


class _Waiting(NamedTuple):
    item: object
    size: int
    future: asyncio.Future


class Batcher(Generic[Item, Result]):
    """At most `in_flight` batches at a time; the next one gathers whoever waits meanwhile. Nobody waits when it is idle.

    run: called with the items of a batch, in order of arrival; answers one result (or Failed) for each. What it raises goes to every
    waiter of that batch. observe: told the number of items of each batch.
    A waiter who is cancelled before its batch starts is left out of it; cancelled later, its item is done all the same and nobody is
    told. Others are never touched: the batch runs in a task of its own.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Result | Failed]]],
        *,
        in_flight: int = 1,
        max_items: int = 1000,
        max_bytes: int = 32 * 1024 * 1024,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._observe = observe
        self._run, self._in_flight, self._max_items, self._max_bytes = run, in_flight, max_items, max_bytes
        self._waiting: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task] = set()
        self._running = 0
        self._closed = False

    async def submit(self, item: Item, size: int = 0) -> Result:
        """The result of an item. size: bytes it adds to a batch."""
        return await self.put(item, size)

    def put(self, item: Item, size: int = 0) -> "asyncio.Future[Result]":
        """The same, to be awaited later."""
        if self._closed:
            raise RuntimeError("the store is closed")
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, size, future))
        if self._running < self._in_flight:
            self._running += 1
            # The task starts at the next turn of the loop, so what is submitted in this turn goes along.
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def close(self) -> None:
        """Refuse new items, finish those that wait."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _work(self) -> None:
        try:
            await self._work_off()
        finally:
            # In the same step that saw an empty queue: an item submitted later finds a free place.
            self._running -= 1

    async def _work_off(self) -> None:
        while batch := self._next_batch():
            self._observe(len(batch))
            try:
                results = await self._run([waiting.item for waiting in batch])
                if len(results) != len(batch):
                    raise RuntimeError(f"a batch of {len(batch)} gave {len(results)} results")
            except asyncio.CancelledError:
                for waiting in (*batch, *self._waiting):
                    waiting.future.cancel()
                self._waiting.clear()
                raise
            except BaseException as error:
                results = [Failed(error)] * len(batch)
                if not isinstance(error, Exception):
                    _answer(batch, results)
                    raise
            _answer(batch, results)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < self._max_items:
            waiting = self._waiting[0]
            if waiting.future.done():
                self._waiting.popleft()
                continue
            if batch and size + waiting.size > self._max_bytes:
                break
            batch.append(self._waiting.popleft())
            size += waiting.size
        return batch


def _answer(batch: list[_Waiting], results: Sequence) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.future.done():
            continue
        if isinstance(result, Failed):
            waiting.future.set_exception(result.error)
        else:
            waiting.future.set_result(result)
