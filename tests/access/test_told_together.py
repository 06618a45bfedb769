"""Entries of one transaction: each is told as itself, so that none tells of what another one hides, and none writes without it."""

import base64
import json

import pytest

from tests.access.test_deposits import submission
from tests.access.test_double_entry import identified
from tests.access.test_masks import ARCHIVED
from tests.access.test_traces import asked, codes, named
from tests.access.world import VISIBILITY, Dossier, document, listed
from tests.interactions.making import bundle, entry, statuses

URN = "urn:uuid:00000000-0000-4000-8000-00000000e{:03d}"
ARCHIVE = [{"op": "add", "path": "/extension", "value": [ARCHIVED]}]
SAME = [{"op": "replace", "path": "/status", "value": "current"}]
HIDE = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}}]


def changing(number: int, address: str, operations: list) -> dict:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    value = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    return entry("PATCH", address, value, URN.format(number))


def sent(by, value: dict, path: str = "") -> str:
    """Send it, which succeeds; the id of the request."""
    answer, name = asked(by, lambda asker: asker.post(path, value))
    assert answer.status_code in (200, 201), answer.text
    return name


def told(reader, dossier: Dossier, name: str) -> list[dict]:
    """What the journal of the dossier tells its reader of one request."""
    return listed(reader, dossier, "AuditEvent", **{"entity:identifier": name})


def address(made: dict) -> str:
    return f"DocumentReference/{made['id']}"


@pytest.fixture
def scene(world):
    """A dossier, its holder, and an author who has a right to it."""
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna)
    return dossier, world.holder(dossier), anna


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("beside", ["an act", "a deposit"])
def test_labels_of_one_entry_are_told_with_no_other(world, scene, beside, first):
    dossier, holder, anna = scene
    hidden, other = world.deposit(dossier, anna), world.deposit(dossier, anna)
    hiding = changing(1, address(hidden), HIDE)
    if beside == "an act":
        more = [changing(2, address(other), ARCHIVE)]
    else:
        more = submission(dossier, anna, document(dossier, anna))["entry"]
    name = sent(anna, bundle("transaction", *([hiding, *more] if first else [*more, hiding])))
    found = told(holder, dossier, name)
    assert found and not any(hidden["id"] in str(one) for one in found)
    assert not [entity for one in found for entity in one["entity"] if "detail" in entity]
    (own,) = [one for one in told(anna, dossier, name) if codes(one)[-1] == "mask"]
    assert [one["detail"][1]["valueString"] for one in own["entity"] if "detail" in one] == ["INVISIBLE_PATIENT"]


@pytest.mark.parametrize("how", ["by address", "by criteria", "not created, as it is there"])
def test_what_changes_nothing_in_a_transaction_is_told_as_itself(world, scene, how):
    dossier, holder, anna = scene
    value = identified(world, dossier, anna, labels=("INVISIBLE_PATIENT",))
    hidden, seen = anna.post("DocumentReference", value).json(), world.deposit(dossier, anna)
    criteria = f"patient={dossier.id}&identifier={value['masterIdentifier']['system']}|{value['masterIdentifier']['value']}"
    same = {
        "by address": changing(1, address(hidden), SAME),
        "by criteria": changing(1, f"DocumentReference?{criteria}", SAME),
        "not created, as it is there": entry("POST", "DocumentReference", document(dossier, anna), URN.format(1), ifNoneExist=criteria),
    }[how]
    name = sent(anna, bundle("transaction", same))
    assert not told(holder, dossier, name)
    (own,) = told(anna, dossier, name)
    assert named(own) == {f"{address(hidden)}/_history/{hidden['meta']['versionId']}"} and codes(own)[-1] in ("patch", "read")
    # Beside it what the holder sees is told, as it would be alone.
    (other,) = told(holder, dossier, sent(anna, bundle("transaction", same, changing(2, address(seen), SAME))))
    assert named(other) == {f"{address(seen)}/_history/{seen['meta']['versionId']}"} and codes(other)[-1] == "patch"


@pytest.mark.parametrize("way", ["alone", "in a batch", "in a transaction"])
@pytest.mark.parametrize("by", ["a structure", "its author", "its author, who hid it afterwards", "its author, by that one alone"])
def test_a_deposit_sent_again_is_told_as_what_was_deposited(world, scene, way, by):
    """Whoever does not see the document is not told that it came again; whoever sees it is."""
    dossier, holder, anna = scene
    depositor = world.structure() if by == "a structure" else world.professional() if by.endswith("alone") else anna
    author = anna if by == "a structure" else depositor
    found = []
    for hidden in (True, False):
        labels = ("INVISIBLE_PATIENT",) if hidden and "afterwards" not in by else ()
        value = identified(world, dossier, author, labels=labels)
        value, path = {
            "alone": (value, "DocumentReference"),
            "in a batch": (bundle("batch", entry("POST", "DocumentReference", value)), ""),
            "in a transaction": (submission(dossier, author, value), ""),
        }[way]
        sent(depositor, value, path)
        if hidden and "afterwards" in by:
            (made,) = listed(anna, dossier, "DocumentReference", _sort="-_lastUpdated")
            assert anna.patch(address(made), HIDE).status_code == 200
        found.append(told(holder, dossier, sent(depositor, value, path)))
    assert [len(one) for one in found] == [0, 1], found
    assert not any("INVISIBLE" in str(one) for one in found[1])


@pytest.mark.parametrize("first", [0, 1])
def test_what_one_entry_hides_another_one_writes_hidden(world, first):
    """Two documents of one lineage in one transaction: a label on the one, a new version of the other."""
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna)
    before = world.deposit(dossier, anna)
    target = {"reference": f"DocumentReference/{before['id']}"}
    after = world.deposit(dossier, anna, relatesTo=[{"code": "replaces", "target": target}])
    both = [changing(1, f"DocumentReference/{before['id']}", HIDE), changing(2, f"DocumentReference/{after['id']}", ARCHIVE)]
    answer = anna.post("", bundle("transaction", both[first], both[1 - first]))
    assert statuses(answer) == ["200", "200"]
    assert [world.holder(dossier).get(f"DocumentReference/{one['id']}").status_code for one in (before, after)] == [404, 404]
