"""What a search reads: one dossier where a patient is named, otherwise as many keys of an index as it needs. Seen in the commands sent."""

import asyncio

import pytest

from fhir_dmp.store.resources import Store
from tests.search.hosting import ask, context_on, found, ids, rows_of

PATIENTS, EACH = 20, 30


def measure(patient: int, number: int) -> dict:
    return {
        "resourceType": "Observation",
        "id": f"o{patient}-{number}",
        "identifier": [{"system": "urn:lab", "value": f"L{patient}-{number}"}],
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": str(number % 10)}]},
        "subject": {"reference": f"Patient/p{patient}"},
        "performer": [{"reference": f"Practitioner/dr{number % 3}"}],
        "effectiveDateTime": f"2020-01-{1 + number % 28:02}",
    }


@pytest.fixture(params=[False, True], ids=["real", "sandbox"])
async def filled(request, mongod, data_dir, database):
    """A store of either kind, twenty dossiers in it."""
    store = await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=request.param)
    made = [measure(patient, number) for patient in range(PATIENTS) for number in range(EACH)]
    made += [{"resourceType": "Patient", "id": f"p{patient}", "name": [{"family": f"Famille{patient}"}]} for patient in range(PATIENTS)]
    made += [{"resourceType": "Practitioner", "id": f"dr{number}", "name": [{"family": f"Docteur{number}"}]} for number in range(3)]
    await asyncio.gather(*(store.create(rows_of(store, resource)) for resource in made))
    yield store
    await store.close()


@pytest.fixture
def commands(filled, monkeypatch) -> list[dict]:
    """The find and aggregate commands that a search sends."""
    sent: list[dict] = []

    def recorded(read):
        async def recording(command, *rest, **named):
            sent.append(command)
            return await read(command, *rest, **named)

        return recording

    for name in ("read", "read_once"):
        monkeypatch.setattr(filled._connection, name, recorded(getattr(filled._connection, name)))
    return sent


async def examined(store: Store, commands: list[dict]) -> list[tuple[str, int, int]]:
    """(index, keys examined, rows returned) of each search command; loads by key are left aside."""
    told = []
    for command in commands:
        if "hint" not in command:
            continue
        plan = await store._connection.database.command("explain", dict(command), verbosity="executionStats")
        stats = plan["executionStats"] if "executionStats" in plan else plan["stages"][0]["$cursor"]["executionStats"]
        told.append((command["hint"], stats["totalKeysExamined"], stats["nReturned"]))
    return told


def filters(commands: list[dict]) -> list[dict]:
    return [command.get("filter") or command["pipeline"][0]["$match"] for command in commands if "hint" in command]


async def test_a_search_that_names_a_patient_reads_one_dossier(filled, commands):
    context = context_on(filled)
    dossier = filled.vault.dossier_of_patient("p3")
    for address in (
        "Observation?patient=p3",
        "Observation?patient=Patient/p3&code=5",
        "Observation?subject:Patient=p3&date=ge2020-01-15&_sort=date",
        "Observation?patient=p3&performer.name=docteur1",
        "Patient/p3/Observation?_summary=count",
        "Patient/p3/*?_count=5",
        "Observation?patient=p3&_count=4&_include=Observation:performer",
    ):
        commands.clear()
        result = await ask(context, address)
        assert result.total
        seen = filters(commands)
        assert seen
        for filter in seen:
            text = repr(filter)
            in_dossier = filter.get("d") == dossier
            outside = filled.sandbox and "'d': 0}" in text and "g" in filter  # rows naming several patients, by their token
            by_key = "_id" in filter
            linked = filter.get("t") == "Patient" and "g" in filter  # other Patients linked to this one are in its compartment
            assert in_dossier or outside or by_key or linked, (address, filter)


async def test_keys_examined_stay_near_what_is_found(filled, commands):
    context = context_on(filled)
    for address, index, number in (
        ("Observation?patient=p3&_count=100", "dossier", EACH),
        ("Observation?identifier=urn:lab|L7-7", "selective", 1),
        ("Observation?performer=Practitioner/dr1&_count=1000", "selective", PATIENTS * EACH // 3),
        ("Patient?family=famille7", "selective", 1),
        ("Observation?code=http://loinc.org|7&_count=1000", "code", PATIENTS * EACH // 10),
        ("Observation?_id=o3-3", "_id_", 1),
    ):
        commands.clear()
        result = await ask(context, address)
        assert result.total == number and len(found(result)) == number
        told = await examined(filled, commands)
        assert index in {used for used, _, _ in told}
        assert sum(keys for _, keys, _ in told) <= 3 * number + 3, (address, told)


async def test_a_later_page_costs_what_the_first_cost(filled, commands):
    context = context_on(filled)
    result, costs = await ask(context, "Observation?date=ge2020-01-02&_count=50&_total=none"), []
    while "next" in dict(result.links):
        commands.clear()
        result = await ask(context, dict(result.links)["next"])
        costs.append(sum(keys for _, keys, _ in await examined(filled, commands)))
    assert len(costs) > 8 and max(costs) <= 3 * 51


async def test_every_entry_is_met_whatever_the_index(filled):
    context = context_on(filled)
    everything = await ids(context, "Observation?_count=1000")
    assert len(everything) == PATIENTS * EACH
    by_dossier = [id for patient in range(PATIENTS) for id in await ids(context, f"Observation?patient=p{patient}&_count=1000")]
    by_code = [id for code in range(10) for id in await ids(context, f"Observation?code={code}&_count=1000")]
    by_performer = [id for number in range(3) for id in await ids(context, f"Observation?performer=dr{number}&_count=1000")]
    for some in (by_dossier, by_code, by_performer):
        assert sorted(some) == sorted(everything)
