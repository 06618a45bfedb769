"""What was stored by rules of before, and is not valid any more, is hidden, shown and withdrawn all the same. CSP R1111-49"""

from datetime import date

import pytest

from fhir_dmp.dmp.identity import IDNST
from fhir_dmp.fhir import json
from fhir_dmp.interactions import depositing
from tests.access.test_authorisation_rows import Family
from tests.access.world import REPORT, VISIBILITY, now
from tests.worlds import people
from tests.worlds.asking import PATCH
from tests.worlds.hosting import Call

HIDE = {"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}
WRONG = {"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS", "display": ""}]}}
WITHDRAW = {"op": "replace", "path": "/status", "value": "entered-in-error"}
KEEPER = {"identifier": {"system": IDNST, "value": ""}}


@pytest.fixture
def family(runner, host):
    found = Family(runner, host, date(1950, 1, 1))
    found.cast["holder"] = people.Person("holder", "patient", people.token(host, "patient", sub="holder", patient=found.id))
    return found


@pytest.fixture
def stored(family, monkeypatch):
    """Documents whose keeper has an empty number, as it was once written."""
    apart = depositing._apart

    def former(context, met, checked):
        made = apart(context, met, checked)
        body = json.set_members(made.body, {"custodian": json.dump(KEEPER)})
        return depositing.rebuilt(context, made, body, {**made.value, "custodian": KEEPER})

    def deposit(**fields):
        with monkeypatch.context() as before:
            before.setattr(depositing, "_apart", former)
            family.number += 1
            value = people.document(family.id, family.cast["traitant"], REPORT, family.number, at=now(), **fields)
            made = family.send("traitant", "POST", "DocumentReference", value)
        assert made.status == 201 and made.value()["custodian"] == KEEPER, made.body
        return f"DocumentReference/{made.value()['id']}"

    return deposit


def patched(family, by, path, *operations):
    call = Call("PATCH", path, family.cast[by].token, people.dumped(list(operations)), PATCH)
    return family.runner.run(family.host.send(call))


def test_its_holder_hides_it_and_shows_it(family, stored):
    path = stored()
    assert patched(family, "holder", path, WRONG).status == 422
    answer = patched(family, "holder", path, HIDE)
    assert answer.status == 200 and b"MASQUE_PS" in answer.body, answer.body
    labels = answer.value()["securityLabel"]
    place = next(at for at, one in enumerate(labels) if "MASQUE_PS" in repr(one))
    assert patched(family, "holder", path, {"op": "remove", "path": f"/securityLabel/{place}"}).status == 200


def test_its_author_withdraws_and_replaces_it(family, stored):
    path = stored()
    assert patched(family, "traitant", path, WITHDRAW).status == 200
    path = stored()
    newer = people.document(
        family.id, family.cast["traitant"], REPORT, 1, at=now(), relatesTo=[{"code": "replaces", "target": {"reference": path}}]
    )
    assert family.send("traitant", "POST", "DocumentReference", newer).status == 201
    assert family.send("traitant", "GET", path).value()["status"] == "superseded"
