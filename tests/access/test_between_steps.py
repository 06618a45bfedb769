"""What changes between two steps of one request: it is answered by what is there then, and by no word of something else."""

from datetime import date

import pytest

from fhir_dmp.fhir.instants import HOUR
from fhir_dmp.interactions import reviewing
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.reading import Reader
from tests.access.test_authorisation_rows import Family


@pytest.fixture
def family(runner, host):
    return Family(runner, host, date(1950, 1, 1))


def test_what_is_destroyed_while_a_transaction_looks_it_up_is_absent(host, family, monkeypatch):
    condition = {"resourceType": "Condition", "subject": {"reference": family.path}, "code": {"text": "asthme"}}
    made = family.send("traitant", "POST", "Condition", condition).value()
    key, load_many = host.services.store.vault.locate("Condition", made["id"]), Reader.load_many

    async def without(reader, keys, **given):
        found = await load_many(reader, keys, **given)
        return found if given.get("bodies") is False else {one: row for one, row in found.items() if one != key}

    monkeypatch.setattr(Reader, "load_many", without)
    request = {"method": "PUT", "url": f"Condition/{made['id']}"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": made, "request": request}]}
    assert family.send("traitant", "POST", "", bundle).status == 404


def test_whom_the_door_of_a_dossier_is_shut_to_is_told_so_and_nobody_else(host, family, monkeypatch):

    async def lost(inside, reviews):
        raise Conflict(0, None)

    path = f"DocumentReference?patient={family.id}"
    assert family.send("samu", "GET", path).status == 200
    host.now += 2 * HOUR
    monkeypatch.setattr(reviewing, "store", lost)
    assert family.send("samu", "GET", path).status == 409
