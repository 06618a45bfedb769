"""Searches of dossiers that wait together are read together, and each is answered as if it were alone."""

import asyncio
from random import Random

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.store import together
from tests.search.hosting import ask, context_on, found, put


def document(id: str, patients: list[str], status: str, date: str) -> dict:
    about = {"subject": {"reference": f"Patient/{patients[0]}"}}
    author = {"author": [{"reference": f"Patient/{each}"} for each in patients[1:]]} if len(patients) > 1 else {}
    return {"resourceType": "DocumentReference", "id": id, "status": status, "date": date, **about, **author}


@pytest.fixture
async def wards(sandbox_store):
    """Ten patients with four documents each, and one document of two of them, which is in no dossier."""
    random = Random(3)
    made = [
        document(f"d{p}-{n}", [f"p{p}"], random.choice(("current", "superseded")), f"2024-{random.randint(1, 12):02}-01T00:00:00Z")
        for p in range(10)
        for n in range(4)
    ]
    await put(sandbox_store, *made, document("both", ["p1", "p2"], "current", "2025-01-01T00:00:00Z"))
    return context_on(sandbox_store)


async def test_together_and_alone_the_answers_are_the_same(wards):
    addresses = [
        f"DocumentReference?patient=p{p}{status}&_sort={sort}"
        for p in range(10)
        for status in ("", "&status=current", "&status=superseded")
        for sort in ("-date", "date")
    ]
    alone = [(found(result := await ask(wards, each)), result.total) for each in addresses]
    results = await asyncio.gather(*(ask(wards, each) for each in addresses))
    assert [(found(result), result.total) for result in results] == alone
    assert [address for address, (names, _) in zip(addresses, alone, strict=True) if "DocumentReference/both" in names] == [
        "DocumentReference?patient=p1&_sort=-date", "DocumentReference?patient=p1&_sort=date",
        "DocumentReference?patient=p1&status=current&_sort=-date", "DocumentReference?patient=p1&status=current&_sort=date",
    ]  # fmt: skip
    for address, (names, _) in zip(addresses, alone, strict=True):
        mine = address.partition("patient=p")[2][0]
        assert all(name.startswith(f"DocumentReference/d{mine}-") or name.endswith("/both") for name in names)


async def test_a_large_dossier_is_read_without_its_bodies_first(wards, monkeypatch):
    address = "DocumentReference?patient=p4&_sort=-date"
    small = found(await ask(wards, address))
    assert len(small) == 4 and not wards.store._large._known
    monkeypatch.setattr(together, "MOST_WHOLE", 3)
    loaded, load_many = [], wards.store.load_many

    async def loading(keys, **options):
        keys = list(keys)
        loaded.extend(keys)
        return await load_many(keys, **options)

    monkeypatch.setattr(wards.store, "load_many", loading)
    assert found(await ask(wards, address)) == small and len(loaded) == 4
    assert len(wards.store._large._known) == 1
    assert found(await ask(wards, address)) == small and len(loaded) == 8


async def test_bodies_that_are_too_large_together_are_read_one_page_at_a_time(wards):
    for number in range(4):
        much = {"description": "x" * 900_000}
        for patient in range(5, 10):
            await put(wards.store, document(f"l{patient}-{number}", [f"p{patient}"], "current", f"2025-0{number + 1}-01T00:00:00Z") | much)
    addresses = [f"DocumentReference?patient=p{p}&_sort=-date&_count=2" for p in range(5, 10)]
    results = await asyncio.gather(*(ask(wards, each) for each in addresses))
    assert [found(each) for each in results] == [[f"DocumentReference/l{p}-3", f"DocumentReference/l{p}-2"] for p in range(5, 10)]


async def test_too_many_rows_are_not_read_for_several_at_once(wards, monkeypatch):
    monkeypatch.setattr(together, "MOST_ROWS", 5)
    addresses = [f"DocumentReference?patient=p{p}&_sort=-date" for p in range(3, 10)]
    assert [len(found(each)) for each in await asyncio.gather(*(ask(wards, each) for each in addresses))] == [4] * 7
    small = context_on(wards.store, max_candidates=3)
    with pytest.raises(FhirError, match="more than 3 resources"):
        await ask(small, addresses[0])
