"""A PATCH runs on what its sender sees, its answer shows no more, and what is kept from him stays. Access rules, section 5"""

import pytest

from tests.access.test_deposits import posted
from tests.access.test_hidden_together import MASK, URN
from tests.access.world import care_team, consent, listed


@pytest.fixture
def scene(world):
    """A care team for a reason that is masked, and one of its members."""
    dossier, anna, member = world.open(), world.professional(), world.professional()
    holder = world.holder(dossier)
    world.consent(dossier, "access", member)
    made = world.deposit(dossier, anna)
    named = {"evidence": [{"detail": [{"reference": f"DocumentReference/{made['id']}"}]}], "code": {"text": "secret"}}
    reason = world.write(anna, {"resourceType": "Condition", "subject": {"reference": dossier.path}, **named})
    shown = world.deposit(dossier, anna)
    team = care_team(dossier, anna, member, name="equipe")
    team["reasonReference"] = [
        {"reference": f"Condition/{reason['id']}", "display": "secret"},
        {"reference": f"Condition/{world.write(anna, {'resourceType': 'Condition', 'subject': {'reference': dossier.path}})['id']}"},
    ]
    team = world.write(holder, team)
    assert holder.patch(f"DocumentReference/{made['id']}", MASK).status_code == 200
    assert shown["id"] in {one["id"] for one in listed(member, dossier, "DocumentReference")}
    return dossier, holder, member, team


@pytest.mark.parametrize("how", ["alone", "in a transaction"])
def test_a_patch_runs_on_what_its_sender_sees(scene, how):
    dossier, holder, member, team = scene
    path = f"CareTeam/{team['id']}"
    secret, plain = team["reasonReference"]

    def patch(*operations):
        if how == "alone":
            return member.patch(path, list(operations))
        entry = posted({"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data(operations)}, f"{URN}e1")
        entry["request"] = {"method": "PATCH", "url": path}
        return member.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    for guess in ("secret", "grippe"):
        answer = patch({"op": "test", "path": "/reasonReference/0/display", "value": guess})
        assert answer.status_code == 422 and secret["reference"] not in answer.text
    answer = patch({"op": "replace", "path": "/name", "value": "autre"}, {"op": "add", "path": "/note", "value": [{"text": "vu"}]})
    assert answer.status_code == 200 and "secret" not in answer.text
    assert "secret" not in member.get(path).text and member.get(path).json()["name"] == "autre"
    assert holder.get(path).json()["reasonReference"] == [secret, plain] and holder.get(path).json()["note"] == [{"text": "vu"}]


def test_whoever_is_shown_less_writes_back_no_less(scene):
    dossier, holder, member, team = scene
    path = f"CareTeam/{team['id']}"
    secret, plain = team["reasonReference"]
    seen = member.get(path).json()
    assert seen["reasonReference"] == [plain]
    answer = member.put(path, {**seen, "name": "autre"})
    assert answer.status_code == 200 and "secret" not in answer.text
    assert holder.get(path).json()["reasonReference"] == [secret, plain]
    # What he was shown he may take away.
    rest = {name: part for name, part in member.get(path).json().items() if name != "reasonReference"}
    assert member.put(path, rest).status_code == 200
    assert holder.get(path).json()["reasonReference"] == [secret] and "reasonReference" not in member.get(path).json()


def data(operations):
    import base64
    import json

    return base64.b64encode(json.dumps(operations).encode()).decode()


def named_then_masked(world):
    """A Consent for himself that names a document which was masked since: holder, professional, address of the Consent, what it names."""
    dossier, anna, other = world.open(), world.professional(), world.professional()
    holder = world.holder(dossier)
    world.consent(dossier, "access", other)
    made = world.deposit(dossier, anna)
    source = {"sourceReference": {"reference": f"DocumentReference/{made['id']}"}}
    period = {"start": made["meta"]["lastUpdated"][:10], "end": made["meta"]["lastUpdated"][:10]}
    own = world.write(other, {**consent(dossier, "access", other, evidence="oral", performer=other.reference, period=period), **source})
    assert holder.patch(f"DocumentReference/{made['id']}", MASK).status_code == 200
    return holder, other, f"Consent/{own['id']}", source["sourceReference"]


def test_the_answer_to_a_right_shows_what_a_read_shows(world):
    holder, other, path, source = named_then_masked(world)
    assert "sourceReference" not in other.get(path).json()
    answer = other.patch(path, [{"op": "replace", "path": "/status", "value": "inactive"}])
    assert answer.status_code == 200 and source["reference"].partition("/")[2] not in answer.text
    assert holder.get(path).json()["sourceReference"] == source


def test_who_says_another_way_what_is_hidden_from_him_is_not_told_of_it(world):
    holder, other, path, _ = named_then_masked(world)
    said = {**other.get(path).json(), "sourceAttachment": {"title": "paper"}}
    answer = other.put(path, said)
    assert answer.status_code == 200 and answer.json()["sourceAttachment"] == {"title": "paper"}, answer.text
    assert "sourceReference" not in holder.get(path).json()
