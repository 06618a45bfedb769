"""Order read from rows and from opened bodies is one order. https://hl7.org/fhir/R4/search.html#sort"""

from itertools import pairwise
from random import Random

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions.search_rows import opened
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.query import SortKey
from fhir_dmp.search.sorting import compare, in_order, shown_by, shown_values, sort_values
from fhir_dmp.store import rows
from tests.search.building import add
from tests.search.hosting import ask, context_on, found, put, rows_of

TYPES = ("DocumentReference", "Observation", "Encounter", "RiskAssessment", "ServiceRequest", "Patient")


async def test_rows_show_the_sort_values_that_their_bodies_have(sandbox_store):
    context, random, told = context_on(sandbox_store), Random(4), 0
    hash64 = sandbox_store.vault.hash64
    for type_name in TYPES:
        known = [p for p in parameters(type_name).values() if p.type in ("date", "number")]
        keys = [SortKey(p.code, down) for p in known for down in (True, False) if shown_by([type_name], [SortKey(p.code, down)], hash64)]
        for number in range(8):
            made = {"resourceType": type_name, "id": f"r{number}"}
            for parameter in known:
                if parameter.code != "_lastUpdated" and random.random() < 0.8:
                    add(made, parameter, random)
                    add(made, parameter, random)
            await put(sandbox_store, made)
        for row in await sandbox_store.find(types=(type_name,), intervals=True):
            index = opened(context, row).index
            for key in keys:
                expected = sort_values(index, (key,))
                assert shown_values(row.intervals, row.updated_ms, shown_by([type_name], [key], hash64)[type_name], [key]) == expected
                told += expected != (None,)
    assert told > 100
    assert shown_by(["Patient"], [SortKey("birthdate", True)], hash64) is None  # hashed by day: not shown


def test_sorting_agrees_with_comparing():
    random = Random(7)
    for keys in ((SortKey("a", True),), (SortKey("a", False), SortKey("b", True))):
        places = [(tuple(random.choice((None, 1, 2, 3)) for _ in keys), n) for n in range(60)]
        ordered = in_order(places, keys)
        assert len(ordered) == 60
        sides = [(compare(a[0], b[0], keys), a[1] < b[1]) for a, b in pairwise(ordered)]
        assert all(side < 0 or (side == 0 and earlier) for side, earlier in sides) and {side for side, _ in sides} == {-1, 0}


async def walked(context, address: str) -> list[list[str]]:
    """All pages of a search; on the way back they are the same, and the first leads nowhere."""
    result = await ask(context, address)
    pages = [found(result)]
    assert "previous" not in dict(result.links)
    while "next" in dict(result.links):
        result = await ask(context, dict(result.links)["next"])
        pages.append(found(result))
    for page in reversed(pages[:-1]):
        result = await ask(context, dict(result.links)["previous"])
        assert found(result) == page
    assert "previous" not in dict(result.links)
    return pages


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 50])
async def test_what_the_keys_do_not_tell_apart_goes_by_id(sandbox_store, count):
    context, names = context_on(sandbox_store), [f"{random_name:02x}" for random_name in Random(3).sample(range(256), 24)]
    vault = sandbox_store.vault
    names[:3] = [vault.seal_id(vault.locate("Encounter", name)) for name in names[:3]]  # as given by the server
    made = {}
    for number, name in enumerate(names):
        encounter = {
            "resourceType": "Encounter",
            "id": name,
            "status": ("planned", "arrived", "finished")[number % 3],
            "class": {"code": "AMB"},
        }
        if number % 4:
            encounter["period"] = {"start": f"2024-0{1 + number % 2}-01"}
        about = {"subject": {"reference": f"Patient/{'ab'[number % 2]}"}}
        made[name] = encounter | about
        updated = 1_700_000_000_000 + number // 9  # three milliseconds
        await sandbox_store.create(rows_of(sandbox_store, made[name], updated_ms=updated))
    times = {name: number // 9 for number, name in enumerate(names)}

    def start(name: str) -> str:
        return made[name].get("period", {}).get("start", "9")

    orders = {
        "": lambda name: (-times[name], name),
        "_sort=-_lastUpdated": lambda name: (-times[name], name),
        "_sort=_lastUpdated": lambda name: (times[name], name),
        "_sort=date": lambda name: (start(name), name),
        "_sort=status": lambda name: (made[name]["status"], name),
        "_sort=status,-_lastUpdated": lambda name: (made[name]["status"], -times[name], name),
        "_sort=class": lambda name: name,
    }
    for order, key in orders.items():
        pages = await walked(context, f"Encounter?_count={count}&{order}")
        assert [each for page in pages for each in page] == [f"Encounter/{name}" for name in sorted(names, key=key)], order
        assert all(len(page) == count for page in pages[:-1])
        mine = [name for name in names if made[name]["subject"]["reference"] == "Patient/a"]
        pages = await walked(context, f"Encounter?patient=Patient/a&_count={count}&{order}")
        assert [each for page in pages for each in page] == [f"Encounter/{name}" for name in sorted(mine, key=key)], order
    pages = await walked(context, f"Patient/a/*?_type=Encounter,Observation&_count={count}")
    assert [each for page in pages for each in page] == [f"Encounter/{name}" for name in sorted(mine, key=orders[""])]


async def test_where_the_server_gives_the_ids_no_body_is_opened_for_them(store, monkeypatch):
    context, vault = context_on(store), store.vault
    patient = vault.new_id(vault.new_dossier())
    names = [vault.new_id(vault.dossier_of_patient(patient)) for _ in range(9)]
    about = {"status": "finished", "class": {"code": "AMB"}, "subject": {"reference": f"Patient/{patient}"}, "period": {"start": "2024"}}
    for name in names:
        await store.create(rows_of(store, {"resourceType": "Encounter", "id": name, **about}, updated_ms=1_700_000_000_000))
    loaded, unsealed = [], rows.unseal

    def unsealing(key, sealed, associated):
        loaded.append(associated)
        return unsealed(key, sealed, associated)

    monkeypatch.setattr(rows, "unseal", unsealing)
    expected = [f"Encounter/{name}" for name in sorted(names)]
    for order in ("", "&_sort=date", "&_sort=-date", "&_sort=status", "&_sort=-_lastUpdated"):
        pages = await walked(context, f"Encounter?patient={patient}&_count=4{order}")
        assert pages == [expected[:4], expected[4:8], expected[8:]]
    loaded.clear()
    await ask(context, f"Encounter?patient={patient}&_count=4&_sort=date")
    assert len(loaded) == 4  # those of the page


async def test_pages_sorted_by_date_go_forward_and_back(sandbox_store):
    context = context_on(sandbox_store)
    dates = [{"date": f"2024-01-{1 + number % 7:02}T10:00:00Z"} if number % 5 else {} for number in range(23)]
    await put(
        sandbox_store,
        *(
            {"resourceType": "DocumentReference", "id": f"d{n}", "status": "current", "subject": {"reference": "Patient/p1"}, **date}
            for n, date in enumerate(dates)
        ),
    )
    address = "DocumentReference?patient=Patient/p1&_sort=-date&_count=5"
    whole = found(await ask(context, address.replace("=5", "=100")))
    assert len(whole) == 23 and whole[-5:] == [f"DocumentReference/d{n}" for n in (0, 10, 15, 20, 5)]
    pages, result = [], await ask(context, address)
    while True:
        pages.append(found(result))
        assert result.total == 23
        if "next" not in dict(result.links):
            break
        result = await ask(context, dict(result.links)["next"])
    assert [entry for page in pages for entry in page] == whole
    back = await ask(context, dict(result.links)["previous"])
    assert found(back) == pages[-2]
    assert (await ask(context, address + "&_summary=count")).total == 23


async def test_an_order_by_time_takes_any_number_of_matches_another_is_refused_beyond_the_limit(sandbox_store):
    context = context_on(sandbox_store, max_candidates=10)
    await put(sandbox_store, *({"resourceType": "Basic", "id": f"b{n:02}", "created": "2024"} for n in range(12)))
    newest = [f"Basic/b{n:02}" for n in reversed(range(12))]
    assert found(await ask(context, "Basic?_sort=-_lastUpdated")) == found(await ask(context, "Basic")) == newest
    assert found(await ask(context, "Basic?_sort=_lastUpdated&_count=12")) == newest[::-1]
    for order in ("_id", "created", "-code"):
        with pytest.raises(FhirError) as refused:
            await ask(context, f"Basic?_sort={order}")
        assert refused.value.kind == "too-costly"
        assert (await ask(context, f"Basic?_sort={order}&_summary=count")).total == 12
    assert found(await ask(context, "Basic?_sort=_id&_id=b03,b01,b02")) == ["Basic/b01", "Basic/b02", "Basic/b03"]
