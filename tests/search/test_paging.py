"""Pages while others write: every entry once. https://hl7.org/fhir/R4/http.html#paging"""

import asyncio
from decimal import Decimal
from random import Random

import pytest

from fhir_dmp.search import paging
from fhir_dmp.search.paging import Cursor
from fhir_dmp.store.rows import Change
from tests.search.hosting import ask, context_on, found, put, rows_of


def measure(number: int, code: str = "a", value: int | None = None) -> dict:
    return {
        "resourceType": "Observation",
        "id": f"m{number}",
        "status": "final",
        "code": {"coding": [{"code": code}]},
        "subject": {"reference": f"Patient/p{number % 3}"},
        "valueQuantity": {"value": number if value is None else value, "unit": "mg"},
    }


@pytest.mark.parametrize(
    "order", ["", "&_sort=_lastUpdated", "&_sort=value-quantity", "&_sort=-value-quantity,-_lastUpdated", "&value-quantity:missing=false"]
)
async def test_a_reader_meets_every_entry_once_while_others_write(sandbox_store, order):
    context, random = context_on(sandbox_store), Random(5)
    await asyncio.gather(*(sandbox_store.create(rows_of(sandbox_store, measure(number))) for number in range(120)))
    done, written = asyncio.Event(), []

    async def write() -> None:
        while not done.is_set():
            number = random.randrange(240)  # half of them are new ones
            await put(sandbox_store, measure(number, value=random.randrange(1000)))
            written.append(number)

    async def read() -> list[str]:
        result, seen = await ask(context, f"Observation?code=a&_count=7{order}"), []
        while True:
            page = found(result)
            seen += page
            link = dict(result.links).get("next")
            if link is None:
                return seen
            assert len(page) == 7, "pages are full"
            await asyncio.sleep(0.01)
            result = await ask(context, link)

    writers = [asyncio.create_task(write()) for _ in range(1)]
    await asyncio.sleep(0.05)
    try:
        readings = [await read() for _ in range(2)]
    finally:
        done.set()
        await asyncio.gather(*writers)
    assert len(written) > 20
    for seen in readings:
        assert len(seen) == len(set(seen))
        assert {f"Observation/m{number}" for number in range(120)} <= set(seen)


async def test_going_back_shows_the_page_one_came_from_while_others_write(sandbox_store):
    context = context_on(sandbox_store)
    await asyncio.gather(*(sandbox_store.create(rows_of(sandbox_store, measure(number))) for number in range(30)))
    first = await ask(context, "Observation?_count=10")
    second = await ask(context, dict(first.links)["next"])
    await put(sandbox_store, measure(3), measure(25), measure(99))
    again = await ask(context, dict(second.links)["previous"])
    assert found(again) == found(first) and again.total == first.total == 30
    third = await ask(context, dict(second.links)["next"])
    assert found(third)[-1] == "Observation/m0" and "next" not in dict(third.links)


async def test_what_was_deleted_meanwhile_is_not_shown_and_the_page_is_filled(sandbox_store):

    context = context_on(sandbox_store)
    rows = [rows_of(sandbox_store, measure(number)) for number in range(30)]
    await asyncio.gather(*(sandbox_store.create(row) for row in rows))
    first = await ask(context, "Observation?_count=10")
    for row in rows[12:18]:
        gone = row._replace(
            version=row.version ^ 1, updated_ms=row.updated_ms + 10_000, deleted=True, body=None, method="DELETE", x=(), g=(), c=(), n=()
        )
        await sandbox_store.commit([Change(gone, row.version)])
    second = await ask(context, dict(first.links)["next"])
    assert found(second) == [f"Observation/m{number}" for number in (19, 18, 11, 10, 9, 8, 7, 6, 5, 4)]
    third = await ask(context, dict(second.links)["next"])
    assert found(third) == [f"Observation/m{number}" for number in (3, 2, 1, 0)]


def test_a_cursor_keeps_what_it_is_given():
    box: dict[str, bytes] = {}

    def seal(data: bytes, purpose: str) -> str:
        box["token"] = data
        return "token"

    cursor = Cursor(7, None, True, ("zoé", None, Decimal("-1.50"), 1_700_000_000_000, b"\x00" * 16))
    assert paging.decode(paging.encode(cursor, seal, b"q", b"r"), lambda text, purpose: box[text], b"q", b"r") == cursor
