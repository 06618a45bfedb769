"""Large Bundles: what is admitted is committed, with a database whose cache is small; what is not is refused before anything is stored.

https://hl7.org/fhir/R4/http.html#transaction ; the database of the tests has a quarter of the cache that a host has by default
"""

import asyncio
import json

import pytest

from fhir_dmp.exchange.importer import LARGE_BYTES, Importer
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.pool import Here
from fhir_dmp.exchange.results import Result
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.settings import Settings
from fhir_dmp.store.ledger import Ledger

RULES = Rules(source="sandbox")
MIB = 1024 * 1024


def large(number: int, size: int) -> Item:
    """A transaction of `size` bytes in entries of 64 KiB."""
    resources = ({"resourceType": "Basic", "code": {"text": f"{number} {k} " + "x" * 65_000}} for k in range(size // 65_536 + 1))
    entries = [{"resource": one, "request": {"method": "POST", "url": "Basic"}} for one in resources]
    return Item(f"{number}.json", json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode(), 0)


@pytest.fixture
async def load(sandbox_store, data_dir):
    """Import items into a sandbox; the results."""
    await Ledger(sandbox_store).ready()

    async def loaded(*items: Item, **settings: int) -> list[Result]:
        told: list[Result] = []
        context = context_of(sandbox_store, Settings(data=data_dir, **settings), RULES, "http://localhost/fhir")
        importer = Importer(Here(context, RULES, "job"), told.append, lambda size: None, people_first=False)
        await importer.run(lambda: iter(items))
        return told

    return loaded


async def test_the_largest_that_is_admitted_is_committed(load, sandbox_store):
    # A quarter of the cache, a quarter of the size that is admitted by default.
    told = await load(large(1, 16 * MIB))
    assert {result.status for result in told} == {201} and len(told) == 257
    assert sum([row.type == "Basic" async for row in sandbox_store.scan(batch=50)]) == 257


async def test_what_is_larger_is_refused_whole_with_the_reason(load, sandbox_store):
    (told,) = await load(large(1, MIB), max_body_bytes=MIB)
    assert told.status == 413 and f"a transaction may take {MIB} bytes" in told.issues[0].diagnostics
    assert await sandbox_store.count() == 0


async def test_large_bundles_wait_for_one_another_and_small_ones_do_not():
    class Watching:
        at_once = 4

        def __init__(self) -> None:
            self.under: list[str] = []
            self.seen: list[frozenset[str]] = []

        async def run(self, items, *, last=False):
            self.under += [item.place for item in items]
            await asyncio.sleep(0.01)
            self.seen.append(frozenset(self.under))
            self.under = [place for place in self.under if place not in {item.place for item in items}]
            return [[Result(item.place, 201)] for item in items]

    pool, body = Watching(), b"{" + b" " * LARGE_BYTES + b"}"
    listed = [Item("large 1", body, 0), Item("small", b"{}", 0), Item("large 2", body, 0), Item("large 3", body, 0)]
    await Importer(pool, lambda result: None, lambda size: None, people_first=False).run(lambda: iter(listed))
    assert not any(len({"large 1", "large 2", "large 3"} & under) > 1 for under in pool.seen)
    assert any({"large 1", "small"} <= under for under in pool.seen)
