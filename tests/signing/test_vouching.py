"""What is looked at to judge a version: what vouches for it, whatever vouches for others, and no more than that."""

import os

import pytest

from fhir_dmp.fhir import json
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import create, update, verify_seal
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.resources import wall_clock_ms
from tests.interactions.making import observation, patient

VERSIONS = 4


def vouching(target: str, holder: str) -> bytes:
    return json.dump(
        {
            "resourceType": "Provenance",
            "target": [{"reference": target}, {"reference": holder}],
            "recorded": "2026-11-20T10:00:00Z",
            "agent": [{"who": {"display": "somebody"}}],
        }
    )


@pytest.fixture
async def judged(sandbox_store):
    """(context, the current version of a resource, its id, addresses of what each Provenance is about, oldest first)."""
    actor = Actor(kind="system", issuer="test", subject="test", expires=float("inf"))
    context = Context(sandbox_store, actor, Settings(), "http://localhost/fhir", wall_clock_ms, os.urandom)
    holder = await create.run(context, "Patient", json.dump(patient("VOUCHED")))
    about = "/".join(holder.location.split("/")[:2])
    value = observation(about)
    address = (await create.run(context, "Observation", json.dump(value))).location
    id, told = address.split("/")[1], [f"Observation/{address.split('/')[1]}"]
    for number in range(VERSIONS):
        if number:
            sent = json.dump({**value, "id": id, "note": [{"text": str(number)}]})
            await update.run(context, "Observation", id, sent)
        row = await sandbox_store.load(sandbox_store.vault.locate("Observation", id))
        told.append(f"Observation/{id}/_history/{verify_seal.version_id(row.version)}")
    for target in told:
        await create.run(context, "Provenance", vouching(target, about))
    return context, row, id, told


async def test_what_vouches_for_a_version_is_found_however_much_vouches_for_former_ones(judged, monkeypatch):
    context, row, id, told = judged
    for most in (200, 3):
        monkeypatch.setattr(verify_seal, "MOST_PROOFS", most)
        found = await verify_seal.provenances(context, None, row, id)
        assert [one.value["target"][0]["reference"] for one in found] == [told[0], told[-1]], most


async def test_the_seal_of_a_version_is_looked_for_one_by_one(judged, monkeypatch):
    context, row, id, told = judged
    for _ in range(3):
        await create.run(context, "Provenance", vouching(told[-1], json.parse(row.body)["subject"]["reference"]))
    asked, find = [], Reader.find

    async def counting(self, *given, **more):
        rows = await find(self, *given, **more)
        asked.append(len(rows))
        return rows

    monkeypatch.setattr(Reader, "find", counting)
    about = verify_seal._naming(context, verify_seal.ReferenceIs("Observation", id, told[-1].rpartition("/")[2]))
    rows = [one async for one in verify_seal._oldest_first(context, about, row.dossier)]
    assert asked == [1, 1, 1, 1, 0] and [one.place for one in rows] == sorted(one.place for one in rows)
