"""Codes between two dates go by code and month: fewer rows are looked at, the same are found. https://hl7.org/fhir/R4/search.html#date"""

from random import Random

import pytest

from fhir_dmp.fhir.bundle import parse_query
from fhir_dmp.interactions.search_plan import plan
from fhir_dmp.interactions.search_rows import opened
from fhir_dmp.interactions.search_type import understood
from fhir_dmp.search.narrow import to_mongo
from fhir_dmp.search.predicate import matches
from fhir_dmp.search.spelling import months
from tests.search.hosting import ask, context_on, ids, put

LOINC = "http://loinc.org"
DATES = (
    "2023-12-31T23:59:59.999Z", "2024-01", "2024-01-01", "2024-01-31T23:30:00-01:00", "2024-02-29", "2024", "2024-03-01T00:00:00Z",
    "2024-03-15", "2024-04", "2025-01-01",
)  # fmt: skip


def dated(random: Random) -> dict:
    """effective[x] of each form, or none."""
    start, end = sorted((random.choice(DATES), random.choice(DATES)))
    match random.randrange(8):
        case 0:
            return {}
        case 1:
            return {"effectivePeriod": {"start": start, "end": end}}
        case 2:
            return {"effectivePeriod": {"start": start} if random.random() < 0.5 else {"end": end}}
        case 3:
            return {"effectiveTiming": {"event": ["2024-01-05T00:00:00Z", "2024-04-05T00:00:00Z"]}}
        case 4:
            return {"effectiveInstant": "2024-02-10T10:00:00.5Z"}
    return {"effectiveDateTime": random.choice(DATES)}


async def test_the_same_is_found_as_without_months(sandbox_store, histories):
    context, random, timed, results = context_on(sandbox_store), Random(11), 0, 0
    made = []
    for number in range(120):
        code = {"coding": [{"system": random.choice((LOINC, "http://s.example")), "code": random.choice("abc")}]}
        made.append({"resourceType": "Observation", "id": f"o{number:03}", "status": "final", "code": code, **dated(random)})
    await put(sandbox_store, *made)
    hash64 = sandbox_store.vault.hash64
    indexes = {row.body: opened(context, row).index for row in await sandbox_store.find(types=("Observation",), limit=200)}
    codes = ("a", f"{LOINC}|a", f"a,{LOINC}|b", f"{LOINC}|a,b,c", "http://s.example|c,c")
    prefixes = ("", "ge", "gt", "le", "lt", "sa", "eb", "ap", "ne")
    for _ in range(histories(70, 150)):
        asked = [f"date={random.choice(prefixes)}{random.choice(DATES).replace('+', '%2B')}" for _ in range(random.choice((1, 2, 2, 3)))]
        query = f"code={random.choice(codes)}&{'&'.join(asked)}"
        ((_, predicate),) = understood(context, "Observation", parse_query(query), False).alternatives
        narrow = to_mongo(predicate, "Observation", hash64, sandbox_store.vault.locate)
        timed += len(narrow.anchors or ()) > 3
        expected = sorted(index["_id"][0].code for index in indexes.values() if matches(predicate, index, hash64))
        found = await ids(context, f"Observation?{query}&_count=7")
        assert sorted(found) == expected and (await ask(context, f"Observation?{query}&_count=1")).total == len(expected), query
        results += len(found)
    assert timed > 14 and results > 140


async def test_only_the_months_asked_for_are_examined(sandbox_store):
    context = context_on(sandbox_store)
    about = {"status": "current", "type": {"coding": [{"system": LOINC, "code": "11488-4"}]}}
    await put(
        sandbox_store,
        *(
            {"resourceType": "DocumentReference", "id": f"d{n}", "date": f"20{20 + n % 5}-{1 + n % 12:02}-10T10:00:00Z", **about}
            for n in range(60)
        ),
    )
    query = f"type={LOINC}|11488-4&date=ge2022-03-01&date=lt2022-03-15"
    ((name, predicate),) = understood(context, "DocumentReference", parse_query(query), False).alternatives
    (segment,) = plan(context, [(name, predicate)]).segments
    told = await sandbox_store.examined(**segment.asked(), limit=51)
    assert (segment.hint, told["found"]) == ("code", 1) and told["keys"] <= 3 and told["rows"] == 1
    assert (await ask(context, f"DocumentReference?{query}")).total == 1


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("code=a&date=2024-03", 2),
        ("code=a&date=ge2024-01-01&date=lt2024-04-01", 4),
        (f"code={LOINC}|a,b&date=ge2024-01-15&date=lt2024-02-15", 6),
        ("code=a&date=ge2024-01-01", 1),
        ("code=a&date=ne2024-01-01", 1),
        ("code=a&date=ge2000&date=lt2024", 1),
        ("date=2024-03", 0),
        ("code=a&date=ge2024&_id=x", 1),
        ("code:not=a&date=2024-03", 0),
        ("code=|a&date=2024-03", 0),
    ],
)
async def test_where_it_looks(sandbox_store, asked, count):
    context = context_on(sandbox_store)
    ((_, predicate),) = understood(context, "Observation", parse_query(asked), False).alternatives
    assert len(to_mongo(predicate, "Observation", sandbox_store.vault.hash64, sandbox_store.vault.locate).anchors or ()) == count


def test_months_end_before_their_last_moment():
    day = 86_400_000
    first = 19_723 * day  # 1 January 2024
    assert months(first, first + 1, 2) == ("2024-01",) == months(first, first + 31 * day, 2)
    assert months(first - 1, first, 2) == ("2023-12",)
    assert months(first - 1, first + 1, 2) == ("2023-12", "2024-01") and months(first - 1, first + 1, 1) == ()
    assert months(first, first, 2) == months(first, first - 5, 2) == () == months(-(10**17), -(10**17) + 1, 2)
