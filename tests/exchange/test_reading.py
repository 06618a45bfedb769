"""What an import holds while it reads: the runs under way, whatever the size of the input; and the order in which things are done."""

import asyncio
import json
import tracemalloc
from collections.abc import Iterator

from fhir_dmp.exchange.importer import RUN, RUN_BYTES, Importer
from fhir_dmp.exchange.inputs import Input, Item, items
from fhir_dmp.exchange.results import Result


class Watching:
    """Does nothing with the runs but note them; each takes a turn of the loop. last: position of the latest version of each resource."""

    at_once = 4

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.under = self.most = 0
        self.done: list[str] = []

    async def run(self, items: list[Item], *, last: bool = False) -> list[list[Result]]:
        self.under += 1
        self.most = max(self.most, self.under)
        self.runs.append([item.place for item in items])
        await asyncio.sleep(0.001 * (len(self.runs) % 3))
        self.under -= 1
        self.done += [item.place for item in items]
        return [[Result(item.place, 201)] for item in items]

    async def close(self) -> None:
        return None


def line(number: int, size: int) -> bytes:
    return json.dumps({"resourceType": "Basic", "id": f"b{number}", "code": {"text": "x" * size}}).encode() + b"\n"


def test_memory_does_not_grow_with_the_input(tmp_path):
    path = tmp_path / "large.ndjson"
    with path.open("wb") as file:
        for number in range(6_000):
            file.write(line(number, 5000))
    assert path.stat().st_size > 30_000_000
    source, pool, told = Input("large.ndjson", path), Watching(), []
    tracemalloc.start()
    try:
        importer = Importer(pool, lambda result: told.append(None), lambda size: None, people_first=False)
        counts = asyncio.run(importer.run(lambda: items(source)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counts.accepted == 6_000 == len(told)
    assert pool.most <= pool.at_once and all(len(run) <= RUN for run in pool.runs)
    # The runs under way, one being gathered, and names of places.
    assert peak < (pool.at_once + 2) * RUN_BYTES * 2 + 8_000_000, peak


def test_results_are_told_in_the_order_of_the_input(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(line(number, 10) for number in range(3 * RUN)))
    told: list[str] = []
    importer = Importer(Watching(), lambda result: told.append(result.place), lambda size: None, people_first=False)
    asyncio.run(importer.run(lambda: items(Input("a.ndjson", path))))
    assert told == [f"a.ndjson:{number + 1}" for number in range(3 * RUN)]


def test_versions_of_one_resource_are_never_under_way_at_the_same_time():
    def listed() -> Iterator[Item]:
        for number in range(8 * RUN):
            yield Item(f"{number}", line(number % (2 * RUN), 10), 1)

    pool = Watching()
    asyncio.run(Importer(pool, lambda result: None, lambda size: None, people_first=False).run(listed))
    places = {place: at for at, place in enumerate(pool.done)}
    for number in range(6 * RUN):
        assert places[f"{number}"] < places[f"{number + 2 * RUN}"]


def test_people_come_before_what_refers_to_them():
    def listed() -> Iterator[Item]:
        yield Item("observation", b'{"resourceType":"Observation"}', 1)
        yield Item("patient", b'{"resourceType":"Patient"}', 1)
        yield Item("broken", b"{", 1)

    pool = Watching()
    asyncio.run(Importer(pool, lambda result: None, lambda size: None, people_first=True).run(listed))
    assert pool.done == ["patient", "observation", "broken"]
