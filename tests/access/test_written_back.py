"""Whoever is shown less than there is and corrects what he wrote leaves what is hidden from him. Access rules, section 6"""

import pytest

from tests.access.test_deposits import posted
from tests.access.test_masks import ADD
from tests.access.world import LOINC, care_team

WITHDRAW = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
CODE = {"coding": [{"system": LOINC, "code": "8867-4"}]}


@pytest.fixture
def scene(world):
    """(dossier, holder, bruno, a document that will be hidden from him, one that will not, anna, who wrote both)."""
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    secret, plain = (f"DocumentReference/{world.deposit(dossier, anna)['id']}" for _ in range(2))
    return dossier, world.holder(dossier), bruno, secret, plain, anna


def observed(world, dossier, by, **fields):
    about = {"status": "final", "code": CODE, "subject": {"reference": dossier.path}}
    made = world.write(by, {"resourceType": "Observation", **about, **fields})
    return f"Observation/{made['id']}"


def to(address, **more):
    return {"reference": address, **more}


def content(value):
    return {name: part for name, part in value.items() if name != "meta"}


@pytest.mark.parametrize("how", ["alone", "in a batch", "in a transaction", "by criteria"])
def test_who_corrects_what_he_wrote_leaves_the_references_that_are_hidden_from_him(world, scene, how):
    dossier, holder, bruno, secret, plain, anna = scene
    where = observed(world, dossier, bruno, derivedFrom=[to(secret), to(plain)], identifier=[{"system": "urn:x", "value": dossier.id}])
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert seen["derivedFrom"] == [to(plain)]
    told = {**seen, "note": [{"text": "corrected"}]}
    if how == "alone":
        answer = bruno.put(where, told, prefer="return=representation")
        assert answer.status_code == 200 and content(answer.json()) == content(told)
    elif how == "by criteria":
        answer = bruno.put(f"Observation?patient={dossier.id}&identifier=urn:x|{dossier.id}", told)
        assert answer.status_code == 200 and content(answer.json()) == content(told)
    else:
        entry = {**posted(told, ""), "request": {"method": "PUT", "url": where}}
        del entry["fullUrl"]
        sent = {"resourceType": "Bundle", "type": how.rpartition(" ")[2], "entry": [entry]}
        answer = bruno.post("", sent, prefer="return=representation")
        assert answer.status_code == 200 and content(answer.json()["entry"][0]["resource"]) == content(told), answer.text
    assert secret not in answer.text
    after = bruno.get(where)
    assert content(after.json()) == content(told) and after.headers["etag"] != f'W/"{seen["meta"]["versionId"]}"'
    for by in (holder, anna):
        assert by.get(where).json()["derivedFrom"] == [to(secret), to(plain)]
    versions = [entry["resource"]["derivedFrom"] for entry in anna.get(f"{where}/_history").json()["entry"]]
    assert versions == [[to(secret), to(plain)]] * 2
    assert bruno.get(f"{where}/$verify").json()["parameter"][0]["valueCode"] == "passed"


def test_what_he_was_shown_he_takes_away_and_what_he_replaces_is_replaced(world, scene):
    dossier, holder, bruno, secret, plain, anna = scene
    procedure = {"resourceType": "Procedure", "status": "completed", "code": CODE, "subject": {"reference": dossier.path}}
    where = world.write(bruno, {**procedure, "report": [to(plain), to(secret)], "reasonReference": [to(secret)]})
    where = f"Procedure/{where['id']}"
    assert holder.patch(secret, ADD).status_code == 200
    value = bruno.get(where).json()
    assert value["report"] == [to(plain)] and "reasonReference" not in value
    del value["report"]
    assert bruno.put(where, {**value, "reasonReference": [to(plain)]}).status_code == 200
    after = holder.get(where).json()
    assert after["report"] == [to(secret)] and after["reasonReference"] == [to(plain), to(secret)]


def test_what_is_hidden_within_an_entry_stays_with_the_entry(world, scene):
    dossier, holder, bruno, secret, plain, _ = scene
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": dossier.path}}
    told = [{"outcomeReference": [to(secret), to(plain)], "progress": [{"text": text}]} for text in ("walks", "sleeps", "eats")]
    where = f"CarePlan/{world.write(bruno, {**plan, 'activity': [*told, {'outcomeReference': [to(secret)]}]})['id']}"
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    shown = [{**one, "outcomeReference": [to(plain)]} for one in told]
    assert seen["activity"] == shown
    # As it was, changed in its place, without what he was shown of it.
    changed = [shown[0], {**shown[1], "progress": [{"text": "sleeps well"}]}, {"progress": [{"text": "eats"}]}]
    assert bruno.put(where, {**seen, "activity": changed}).json()["activity"] == changed
    kept = [to(secret), to(plain)]
    stored = [told[0], {**changed[1], "outcomeReference": kept}, {**changed[2], "outcomeReference": [to(secret)]}]
    assert holder.get(where).json()["activity"] == [*stored, {"outcomeReference": [to(secret)]}]
    # What he takes away goes with what was hidden in it; what he moves takes it along, and what he adds has nothing of it.
    moved = [{"progress": [{"text": "reads"}]}, {"progress": [{"text": "drinks"}]}, changed[1], changed[0]]
    assert bruno.put(where, {**seen, "activity": moved}).json()["activity"] == moved
    assert holder.get(where).json()["activity"] == [*moved[:2], stored[1], told[0], {"outcomeReference": [to(secret)]}]


def test_what_is_hidden_within_something_contained_stays_with_its_id(world, scene):
    dossier, holder, bruno, secret, plain, anna = scene
    inner = {"resourceType": "Observation", "id": "a", "status": "final", "code": CODE, "derivedFrom": [to(secret)]}
    other = {**inner, "id": "b", "derivedFrom": [to(plain)]}
    where = observed(world, dossier, bruno, contained=[other, inner], hasMember=[to("#a"), to("#b")])
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    shown = {name: part for name, part in inner.items() if name != "derivedFrom"}
    assert seen["contained"] == [other, shown]
    sent = {**seen, "contained": [{**shown, "status": "amended"}], "hasMember": [to("#a")]}
    assert content(bruno.put(where, sent).json()) == content(sent)
    assert holder.get(where).json()["contained"] == [{**inner, "status": "amended"}]


def test_what_is_hidden_beside_a_value_stays_with_the_value(world, scene):
    dossier, holder, bruno, secret, plain, anna = scene

    def leading(address):
        return {"extension": [{"url": "https://example.org/source", "valueReference": to(address)}]}

    plan = {
        "resourceType": "CarePlan",
        "status": "active",
        "_status": leading(secret),
        "intent": "plan",
        "subject": {"reference": dossier.path},
    }
    plan |= {"instantiatesUri": ["urn:a", "urn:b", "urn:c"], "_instantiatesUri": [leading(secret), None, leading(plain)]}
    where = f"CarePlan/{world.write(bruno, plan)['id']}"
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    # Each stands beside its own value.
    assert "_status" not in seen and seen["_instantiatesUri"] == [None, None, leading(plain)]
    for status in ("active", "on-hold"):
        assert content(bruno.put(where, {**seen, "status": status}).json()) == content({**seen, "status": status})
        after = holder.get(where).json()
        assert after["_instantiatesUri"] == plan["_instantiatesUri"] and ("_status" in after) is (status == "active")
    sent = {**seen, "instantiatesUri": ["urn:c"], "_instantiatesUri": [leading(plain)]}
    assert content(bruno.put(where, sent).json()) == content(sent)
    assert holder.get(where).json()["_instantiatesUri"] == [leading(plain)]


def test_what_no_longer_goes_with_something_hidden_is_not_refused_for_it(world, scene):
    """An extension has a value or extensions (ext-1): he is not shown that it has more of these."""
    dossier, holder, bruno, secret, plain, anna = scene
    inner = [{"url": "from", "valueReference": to(secret)}, {"url": "to", "valueString": "here"}]
    where = observed(world, dossier, bruno, extension=[{"url": "https://example.org/way", "extension": inner}])
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert seen["extension"] == [{"url": "https://example.org/way", "extension": inner[1:]}]
    sent = {**seen, "extension": [{"url": "https://example.org/way", "valueString": "here"}]}
    answer = bruno.put(where, sent)
    assert answer.status_code == 200 and content(answer.json()) == content(sent), answer.text


@pytest.mark.parametrize("masked", [False, True])
def test_what_no_longer_goes_with_something_hidden_in_a_right_is_not_refused_either(world, scene, masked):
    dossier, holder, bruno, secret, _, anna = scene
    inner = [{"url": "from", "valueReference": to(secret)}] if masked else []
    inner = [*inner, {"url": "to", "valueString": "here"}]
    team = care_team(dossier, bruno, extension=[{"url": "https://example.org/way", "extension": inner}])
    where = f"CareTeam/{world.write(anna, team)['id']}"
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert seen["extension"] == [{"url": "https://example.org/way", "extension": inner[-1:]}]
    # What goes with it stays.
    assert bruno.put(where, {**seen, "name": "a"}).status_code == 200
    assert holder.get(where).json()["extension"][0]["extension"] == inner
    sent = {**seen, "extension": [{"url": "https://example.org/way", "valueString": "here"}]}
    answer = bruno.put(where, sent)
    assert answer.status_code == 200 and content(answer.json()) == content(sent), answer.text


def test_a_document_that_hides_more_lets_its_witness_be_corrected(world, scene):
    """It belongs to the more hidden of the documents that it names, which its author is not shown any more."""
    dossier, holder, bruno, _, plain, anna = scene
    secret = f"DocumentReference/{world.deposit(dossier, anna, labels=('INVISIBLE_PATIENT',))['id']}"
    where = observed(world, dossier, bruno, derivedFrom=[to(plain), to(secret)])
    assert anna.patch(secret, [{"op": "remove", "path": "/securityLabel/1"}]).status_code == 200
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert seen["derivedFrom"] == [to(plain)]
    answer = bruno.put(where, {**seen, "note": [{"text": "corrected"}]})
    assert answer.status_code == 200, answer.text
    assert holder.get(where).json()["derivedFrom"] == [to(plain), to(secret)]
    # What it had not named it does not come to belong to.
    other = f"DocumentReference/{world.deposit(dossier, anna)['id']}"
    assert bruno.put(where, {**seen, "derivedFrom": [to(other)]}).status_code == 422


@pytest.mark.parametrize("how", ["masked", "withdrawn", "masked in a seen version"])
def test_what_is_hidden_is_named_as_in_vain_as_what_is_absent(world, scene, how):
    """To name a document that he sees is refused in words of its own: what he corrects belongs to none."""
    dossier, holder, bruno, secret, plain, anna = scene
    where = observed(world, dossier, bruno)
    version = f"/_history/{anna.get(secret).json()['meta']['versionId']}" if how == "masked in a seen version" else ""
    if how == "withdrawn":
        assert anna.patch(secret, WITHDRAW).status_code == 200
    else:
        assert holder.patch(secret, ADD).status_code == 200
    seen, absent = bruno.get(where).json(), f"DocumentReference/{'a' * 26}"
    linked = {"resourceType": "Observation", "status": "final", "code": CODE, "subject": {"reference": dossier.path}}

    def told(target):
        """Answers to who names it in what he corrects: alone, by criteria, in a transaction, and over what comes with it."""
        value = {**seen, "derivedFrom": [to(target + version)]}
        put = {"resource": value, "request": {"method": "PUT", "url": where}}
        over = {"resource": {**seen, "hasMember": [to("urn:uuid:1")]}, "request": {"method": "PUT", "url": where}}
        with_it = posted({**linked, "derivedFrom": [to(target + version)]}, "urn:uuid:1")
        yield bruno.put(where, value)
        yield bruno.put(f"Observation?patient={dossier.id}&_id={seen['id']}", {**seen, "focus": [to(target + version)]})
        for entries in ([put], [over, with_it], [with_it, over]):
            yield bruno.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    for hidden, none in zip(told(secret), told(absent), strict=True):
        assert hidden.status_code == none.status_code == 422
        assert hidden.text.replace(secret, absent) == none.text and "leads to no resource" in none.text
    assert "belongs to it from its deposit on" in next(told(plain)).text
    assert bruno.put(where, {**seen, "note": [{"text": "corrected"}]}).status_code == 200
