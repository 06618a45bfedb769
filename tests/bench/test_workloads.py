"""Workloads: each has a form in every mode, and a real server answers each request as its check wants it."""

import os
from random import Random

import pytest

from fhir_dmp.bench import data, importing
from fhir_dmp.bench.asking import Asker
from fhir_dmp.bench.deposits import FULL, LARGE, TEXT, provided
from fhir_dmp.bench.figures import IMPORT, ORDER
from fhir_dmp.bench.host import MODES, serving
from fhir_dmp.bench.loading import loaded
from fhir_dmp.bench.workloads import of_mode
from fhir_dmp.bench.world import World
from fhir_dmp.fhir.schema import validate

# Where nothing is masked, nobody reads among what is.
MASKED = {"W8 read", "W8 search"}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_every_mode_has_every_workload_once(mode):
    names = [one.name for one in of_mode(mode)]
    every = {name for name in ORDER if name.startswith("W")} - {IMPORT} - (MASKED if mode.sandbox else set())
    assert set(names) == every and len(names) == len(every)


def test_a_deposit_is_a_submission_set_with_documents_and_contents():
    documents = [data.document(1, k, "Patient/p", "Practitioner/q") for k in range(3)]
    entries = provided(Random(1), documents, [(TEXT, b"one"), (TEXT, b"two")])
    assert [resource["resourceType"] for _, resource in entries] == ["List", *["DocumentReference", "Binary"] * 2, "DocumentReference"]
    addresses = dict(entries)
    assert len(addresses) == 6 and all(validate(resource) == [] for resource in addresses.values())
    (submitted, *others) = addresses.values()
    sent = [addresses[one["item"]["reference"]] for one in submitted["entry"]]
    assert [one["masterIdentifier"] for one in sent] == [one["masterIdentifier"] for one in documents]
    assert [addresses.get(one["content"][0]["attachment"]["url"]) for one in sent] == [others[1], others[3], None]


@pytest.mark.at_length
@pytest.mark.parametrize("name", ["production", "sandbox"])
def test_a_real_server_answers_each_request_as_its_check_wants_it(name, tmp_path):
    mode = MODES[name]
    store = loaded("tiny", tmp_path, mode.sandbox, lambda *_: None)
    with serving(store, tmp_path / "run", mode, 1) as host:
        world, asker = World(host), Asker(host.address)
        for one in of_mode(mode):
            asked = one.asked(world)
            assert asked[0].check(asker.ask(asked[0].request), asker.ask) == "", one.name
        assert len(world.large) == LARGE and all(len(added) == FULL - data.DOCUMENTS - 2 for added in world.large.values())
        importing.prepare(host.uri, host.data, mode.sandbox)
        for repetition in (1, 2):
            found = importing.measure(world, mode, 60, repetition)
            assert (found.outcome.requests, found.errors) == (60, {})
        asker.close()
    assert os.listdir(tmp_path) == [store.folder.name]
