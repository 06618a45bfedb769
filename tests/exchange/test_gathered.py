"""What the units of one run ask the store for is asked for all of them at once, and each is judged as if it had been asked for alone."""

import json

import pytest

from fhir_dmp.bench import mixed
from fhir_dmp.bench.growth import open_dossiers
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.rules import HOST, Rules
from fhir_dmp.settings import Settings
from fhir_dmp.store.ledger import Ledger
from tests.access.world import VISIBILITY

RULES = Rules(source="other-host", kind=HOST, host="other-host", organization="1750000001")
HOLDERS = [1, 2, 3, 4]


@pytest.fixture
async def run(store, data_dir):
    """Imports resources in one run: the results, each of its resource."""
    await Ledger(store).ready()
    await open_dossiers(store, data_dir, HOLDERS)
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")

    async def done(*resources: dict):
        listed = [Item(f"a.ndjson:{number}", json.dumps(one).encode(), 0) for number, one in enumerate(resources, 1)]
        return [result for (result,) in await Engine(context, RULES, "job").run(listed)]

    return done


@pytest.fixture
def finds(store, monkeypatch):
    """Names of the fields that each query of rows asks by."""
    read, found = store.connection.read, []

    async def noted(command, *arguments):
        if command.get("find") == "resources":
            found.append(frozenset(command["filter"]))
        return await read(command, *arguments)

    monkeypatch.setattr(store.connection, "read", noted)
    return found


def of(number: int, *types: str) -> list[dict]:
    return [one for one in mixed.dossier(number) if one["resourceType"] in types]


async def test_people_and_contents_of_a_run_are_read_together(run, finds):
    assert {one.status for one in await run(*map(mixed.person, HOLDERS))} == {200}
    assert sum("g" in fields for fields in finds) == 1
    finds.clear()
    sent = [one for number in HOLDERS for one in of(number, "DocumentReference", "Binary")]
    assert {one.status for one in await run(*sent)} == {201} and len(sent) == 4 * len(HOLDERS)
    assert sum({"d", "x"} <= fields for fields in finds) == 1


async def test_a_content_is_seen_as_the_strictest_of_its_documents(run, store):
    await run(*map(mixed.person, HOLDERS))
    first, second = of(1, "DocumentReference")
    masked = {
        **first,
        "id": "doc-masked",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.250.1.999.77"},
        "securityLabel": [*first.get("securityLabel", ()), {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}],
    }
    told = await run(masked, first, second, *of(1, "Binary"), *of(2, "DocumentReference", "Binary"))
    assert {one.status for one in told} == {201}
    rows = {f"{row.type}/{store.vault.seal_id(row.key)}": row async for row in store.scan(types=("Binary", "DocumentReference"))}
    found = [rows[one.location.partition("/_history")[0]] for one in told]
    strict = [row.visible["lb"] & LABEL_BITS["MASQUE_PS"] for row in found]
    # The masked document, then the first content, to which both point; nothing else.
    assert [place for place, bit in enumerate(strict) if bit] == [0, 3]
    assert found[3].visible["rt"] == found[0].visible["rt"] and found[4].visible["rt"] == found[2].visible["rt"]


async def test_each_of_many_is_found_or_doubted_for_himself(run):
    certain, doubtful, broken, nobody = (mixed.person(number) for number in (1, 2, 3, 99))
    doubtful["extension"] = []
    broken["identifier"] = [{"system": {"of": "what"}, "value": "1"}]
    told = await run(certain, doubtful, broken, nobody)
    assert [one.status for one in told][:2] == [200, 202] and "who this is" in told[1].issues[0].diagnostics
    assert told[2].status in (400, 422) and told[3].status == 202 and told[3].issues == told[1].issues
