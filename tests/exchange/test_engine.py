"""The engine of imports on a real store: dossiers of a registered source, stored few transactions at a time."""

import json
import random
from collections import Counter

import pytest

from fhir_dmp.bench import mixed
from fhir_dmp.bench.growth import open_dossiers
from fhir_dmp.exchange import engine as engines
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.rules import HOST, Rules
from fhir_dmp.settings import Settings
from fhir_dmp.store.failures import unavailable
from fhir_dmp.store.ledger import Ledger

RULES = Rules(source="other-host", kind=HOST, host="other-host", organization="1750000001")
HOLDERS = [1, 2, 3]


@pytest.fixture
async def importing(store, data_dir):
    """Engines of one import into opened dossiers; the persons are known."""
    await Ledger(store).ready()
    await open_dossiers(store, data_dir, HOLDERS)
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")

    def made() -> Engine:
        return Engine(context, RULES, "job")

    told = await made().run(items([mixed.person(number) for number in HOLDERS]))
    assert {result.status for (result,) in told} == {200}
    return made


def items(resources: list[dict]) -> list[Item]:
    return [Item(f"a.ndjson:{number}", json.dumps(one).encode(), 0) for number, one in enumerate(resources, 1)]


def dossiers() -> list[dict]:
    """What the source has of each holder, but who he is."""
    return [one for number in HOLDERS for one in mixed.dossier(number) if one["resourceType"] != "Patient"]


class Counting:
    """Counts the transactions of an engine, and lets one fail."""

    def __init__(self, ledger: Ledger, failing: int = 0) -> None:
        self._commit, self.sizes, self._failing = ledger.commit, [], failing
        ledger.commit = self

    async def __call__(self, entries, *arguments):
        self.sizes.append(len(entries))
        if len(self.sizes) == self._failing:
            raise unavailable()
        return await self._commit(entries, *arguments)


async def test_what_refers_to_one_another_is_stored_together(importing, store):
    engine = importing()
    counting = Counting(engine.ledger)
    told = await engine.run(items(dossiers()))
    assert Counter(result.status for (result,) in told) == {201: 19 * len(HOLDERS)}
    # Contents come after the documents that point to them, all else together.
    assert counting.sizes == [17 * len(HOLDERS), 2 * len(HOLDERS)]
    rows = {f"{row.type}/{store.vault.seal_id(row.key)}": row async for row in store.scan()}
    for result, sent in zip(told, dossiers(), strict=True):
        body = json.loads(rows[result[0].location.partition("/_history")[0]].body)
        said = [body[name]["reference"] for name in ("subject", "patient", "encounter") if name in body]
        assert all(text in rows for text in said) and len(said) == sum(name in sent for name in ("subject", "patient", "encounter"))
    again = await importing().run(items(dossiers()))
    assert [result.location for (result,) in again] == [result.location for (result,) in told]


async def test_the_order_does_not_matter_once_everything_has_come(importing):
    mixed_up = dossiers()
    random.Random(7).shuffle(mixed_up)
    for _ in range(4):
        told = await importing().run(items(mixed_up))
        statuses = Counter(result.status for (result,) in told)
        assert set(statuses) <= {201, 200, 404}
        if not statuses[404]:
            break
    assert not statuses[404] and statuses.total() == 19 * len(HOLDERS)


async def test_nothing_refers_to_what_could_not_be_stored(importing, store, monkeypatch):
    monkeypatch.setattr(engines, "GROUP", 2)
    engine = importing()
    Counting(engine.ledger, failing=1)
    one = [resource for resource in mixed.dossier(1) if resource["resourceType"] in ("Encounter", "Observation")][:4]
    told = [result for (result,) in await engine.run(items(one))]
    # Two stays of which none was stored, then what was observed during one of them.
    assert [result.status for result in told] == [503, 503, 404, 404]
    assert "Encounter/enc-1-0" in told[2].issues[0].diagnostics
    assert {row.type async for row in store.scan()} <= {"Patient", "AuditEvent"}
