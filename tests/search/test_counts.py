"""How many there are, or not: `_total`, `_count=0`, `_summary=count`. https://hl7.org/fhir/R4/search.html#total"""

import pytest

from tests.search.hosting import ask, context_on, put

QUERIES = ("Basic?", "Basic?code:text=x&", "Basic?_sort=-created&", "Basic?_contained=both&", "?_type=Basic&")


@pytest.mark.parametrize("query", QUERIES)
async def test_a_total_is_told_unless_it_is_not_wanted(sandbox_store, query):
    context = context_on(sandbox_store)
    await put(sandbox_store, *({"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x"}} for n in range(3)))
    told = {
        "_count=0": (3, 0),
        "_count=0&_total=accurate": (3, 0),
        "_count=0&_total=estimate": (3, 0),
        "_count=0&_total=none": (None, 0),
        "_summary=count": (3, 0),
        "_summary=count&_total=none": (3, 0),
        "_count=2": (3, 2),
        "_count=2&_total=none": (None, 2),
        "_count=2&_total=estimate": (3, 2),
    }
    found = {}
    for asked in told:
        result = await ask(context, query + asked)
        found[asked] = (result.total, len(result.entries))
    assert found == told
    second = dict((await ask(context, f"{query}_count=2&_total=none")).links)["next"]
    assert (await ask(context, second)).total is None and len((await ask(context, second)).entries) == 1


async def test_nothing_is_counted_that_is_not_told(sandbox_store, monkeypatch):
    context, counted = context_on(sandbox_store), []
    count = sandbox_store.count

    async def counting(*positional, **named):
        counted.append(named)
        return await count(*positional, **named)

    monkeypatch.setattr(sandbox_store, "count", counting)
    await put(sandbox_store, *({"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x"}} for n in range(3)))
    for asked in ("_count=0&_total=none", "_count=2&_total=none"):
        await ask(context, f"Basic?{asked}")
    assert counted == []
    assert (await ask(context, "Basic?_count=2")).total == 3 and len(counted) == 1
