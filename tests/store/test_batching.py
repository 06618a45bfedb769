"""Smart batching: nobody waits when it is idle, nobody suffers from another one's failure or cancellation."""

import asyncio
import random

import pytest

from fhir_dmp.store.batching import Batcher, Failed


class Recorder:
    """A batch call that notes what it was given. hold: each call waits until released."""

    def __init__(self) -> None:
        self.batches: list[list] = []
        self.running = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items):
        self.batches.append(list(items))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
        finally:
            self.running -= 1
        return [Failed(ValueError(item)) if isinstance(item, str) else item * 2 for item in items]


async def test_those_who_wait_go_together_and_each_gets_its_own_answer():
    recorder = Recorder()
    batcher = Batcher(recorder)
    first = asyncio.create_task(batcher.submit(1))
    recorder.gate.clear()
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(batcher.submit(n)) for n in range(2, 6)]
    await asyncio.sleep(0.01)
    assert recorder.batches == [[1]]
    recorder.gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]
    assert recorder.batches == [[1], [2, 3, 4, 5]]


async def test_at_most_the_allowed_number_of_batches_is_in_flight():
    recorder = Recorder()
    batcher = Batcher(recorder, in_flight=2, max_items=3)
    assert await asyncio.gather(*(batcher.submit(n) for n in range(20))) == [2 * n for n in range(20)]
    assert recorder.most == 2
    assert max(map(len, recorder.batches)) == 3


async def test_batches_are_bounded_in_bytes_but_a_large_item_goes_alone():
    recorder = Recorder()
    batcher = Batcher(recorder, max_bytes=10)
    await asyncio.gather(*(batcher.submit(n, size) for n, size in enumerate((4, 4, 4, 50, 1))))
    assert recorder.batches == [[0, 1], [2], [3], [4]]


async def test_a_failure_reaches_the_one_it_belongs_to(gather):
    batcher = Batcher(Recorder())
    results = await gather(*(batcher.submit(item) for item in (1, "bad", 3)))
    assert results[0] == 2 and results[2] == 6
    assert isinstance(results[1], ValueError)


async def test_a_failure_of_the_call_reaches_everyone_in_it_and_nobody_else(gather):
    calls = []

    async def run(items):
        calls.append(items)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise OSError("away")
        return items

    batcher = Batcher(run, max_items=2)
    results = await gather(*(batcher.submit(n) for n in range(4)))
    assert [type(result) for result in results] == [OSError, OSError, int, int]


async def test_a_wrong_number_of_answers_is_an_error_not_a_mix_up(gather):
    async def run(items):
        return items[:-1]

    results = await gather(*(Batcher(run).submit(n) for n in range(3)))
    assert all(isinstance(result, RuntimeError) for result in results)


async def test_a_waiter_cancelled_before_its_turn_is_left_out():
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder)
    tasks = [asyncio.create_task(batcher.submit(0))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(batcher.submit(n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    recorder.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], asyncio.CancelledError)
    assert (results[:2], results[3]) == ([0, 2], 6)
    assert recorder.batches == [[0], [1, 3]]


async def test_closing_finishes_what_waits_and_refuses_what_comes_later():
    batcher = Batcher(Recorder())
    task = asyncio.create_task(batcher.submit(21))
    await asyncio.sleep(0)
    await batcher.close()
    assert task.done() or await task == 42
    assert task.result() == 42
    with pytest.raises(RuntimeError):
        await batcher.submit(1)


@pytest.mark.parametrize("seed", range(15))
async def test_laws_hold_for_any_order_of_arrivals_failures_and_cancellations(seed):
    """Each item runs at most once, exactly once when its waiter stays; each waiter gets its own answer; nobody hangs."""
    chance = random.Random(seed)
    ran: list[int] = []

    async def run(items):
        ran.extend(items)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.15:
            raise OSError("away")
        return [Failed(ValueError(item)) if item % 7 == 0 else -item for item in items]

    batcher = Batcher(run, in_flight=chance.choice((1, 2, 3)), max_items=chance.choice((1, 2, 5, 100)), max_bytes=30)
    tasks: dict[int, asyncio.Task] = {}
    cancelled = set()
    for item in range(1, 200):
        tasks[item] = asyncio.create_task(batcher.submit(item, chance.randrange(12)))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if chance.random() < 0.2:
            victim = chance.choice(list(tasks))
            if tasks[victim].cancel():
                cancelled.add(victim)
    async with asyncio.timeout(10):
        await asyncio.wait(tasks.values())
        await batcher.close()
    assert len(ran) == len(set(ran))
    for item, task in tasks.items():
        if item in cancelled:
            assert task.cancelled()
            continue
        assert item in ran
        error = task.exception()
        if error is None:
            assert item % 7 and task.result() == -item
        else:
            assert isinstance(error, OSError) or (isinstance(error, ValueError) and error.args == (item,))
