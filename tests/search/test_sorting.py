"""Order read from rows and from opened bodies is one order. https://hl7.org/fhir/R4/search.html#sort"""

from itertools import pairwise
from random import Random

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions.search_rows import opened
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.query import SortKey
from fhir_dmp.search.sorting import compare, in_order, shown_by, shown_values, sort_values
from tests.search.building import add
from tests.search.hosting import ask, context_on, found, put

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
        places = [(*(random.choice((None, 1, 2, 3)) for _ in keys), random.randrange(3), bytes([n]), f"row {n}") for n in range(60)]
        ordered = in_order(places, keys)
        assert len(ordered) == 60
        assert all(compare(a[:-1], b[:-1], keys) < 0 for a, b in pairwise(ordered))


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
    assert len(whole) == 23 and whole[-1] == "DocumentReference/d0"
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
