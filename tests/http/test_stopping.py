"""A worker that is told to stop stops what runs behind its requests.

https://docs.python.org/3/library/asyncio-task.html#task-cancellation
"""

import asyncio

from fhir_dmp import app


async def test_a_task_whose_first_cancellation_was_swallowed_is_stopped_all_the_same(monkeypatch):
    monkeypatch.setattr(app, "TOLD_AGAIN_SECONDS", 0.01)
    swallowed = []

    async def round_after_round():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed.append(True)

    async def failing():
        await asyncio.sleep(0)
        raise ValueError

    tasks = [asyncio.create_task(round_after_round()), asyncio.create_task(failing())]
    await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await app.ended(tasks)
    assert swallowed and tasks[0].cancelled() and isinstance(tasks[1].exception(), ValueError)
