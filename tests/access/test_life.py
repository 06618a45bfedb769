"""$close and $reactivate. Code de la santé publique L1111-14, L1111-18"""

import pytest

from tests.access.test_consents import mandated
from tests.access.world import INS, category, day, document, listed, refused, related
from tests.interactions.making import issue


def close(asker, dossier, reason="holder-request", **more):
    return asker.run(f"{dossier.path}/$close", reason=reason, **more)


def reopen(asker, dossier, reason="holder-request"):
    return asker.run(f"{dossier.path}/$reactivate", reason=reason)


def exists(world, dossier):
    found = world.professional().get(f"Patient?identifier={INS}|{dossier.ins}").json()
    return [entry["resource"]["active"] for entry in found.get("entry", [])]


def test_the_holder_closes_and_opens_again(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    world.deposit(dossier, anna)
    answer = close(holder, dossier)
    assert answer.status_code == 200 and answer.json()["active"] is False
    assert exists(world, dossier) == [False]
    assert refused(anna.get(dossier.path)) and refused(anna.get(f"DocumentReference?patient={dossier.id}"))
    assert refused(holder.get(f"DocumentReference?patient={dossier.id}"))
    again = reopen(holder, dossier)
    assert again.status_code == 200 and again.json()["active"] is True
    assert exists(world, dossier) == [True]
    assert anna.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1


def test_the_opening_consent_follows(world):
    dossier = world.open()
    holder = world.holder(dossier)
    close(holder, dossier)
    reopen(holder, dossier)
    (opening,) = [one for one in listed(holder, dossier, "Consent") if category(one) == "opening"]
    told = [entry["resource"]["status"] for entry in holder.get(f"Consent/{opening['id']}/_history").json()["entry"]]
    assert told == ["active", "inactive", "active"]


def test_closing_twice_is_a_conflict(world):
    dossier = world.open()
    holder = world.holder(dossier)
    assert reopen(holder, dossier).status_code == 409
    close(holder, dossier)
    answer = close(holder, dossier)
    assert (answer.status_code, issue(answer)) == (409, ("error", "conflict"))


def test_nobody_else_closes_or_learns_the_state(world):
    anna = world.professional()
    dossier, closed = world.open(traitant=anna), world.open()
    close(world.holder(closed), closed)
    mandataire, _ = mandated(world, dossier)
    for asker in (anna, world.professional(), world.structure(), world.feed(), world.support(), mandataire, world.holder(closed)):
        assert refused(close(asker, dossier)), asker.kind
    stranger = world.professional()
    unknown = stranger.run("Patient/unknown/$close", reason="holder-request")
    assert close(stranger, closed).content == close(stranger, dossier).content == unknown.content
    assert reopen(stranger, dossier).content == unknown.content


def test_a_parent_closes_for_a_child_not_the_child(world):
    dossier = world.open(age=9, people=("MTH",))
    assert refused(close(world.holder(dossier), dossier))
    assert close(world.representative(dossier), dossier).status_code == 200
    assert reopen(world.representative(dossier), dossier).status_code == 200


def test_the_reason_is_one_of_the_operation(world):
    dossier = world.open()
    assert close(world.holder(dossier), dossier, "rights-recovered").status_code == 422
    assert reopen(world.holder(dossier), dossier, "deceased").status_code == 422
    assert refused(close(world.holder(dossier), dossier, "deceased"))


@pytest.mark.parametrize("kind", ["host", "operator"])
def test_death_ends_every_right(world, kind):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    mandataire, _ = mandated(world, dossier)
    answer = close(getattr(world, kind)(), dossier, "deceased", date=day(days=-1))
    assert answer.status_code == 200 and answer.json()["deceasedDateTime"] == day(days=-1)
    assert "name" not in answer.json()
    assert refused(anna.get(dossier.path)) and refused(mandataire.run(f"{dossier.path}/$access-list"))
    assert exists(world, dossier) == [False]
    assert refused(reopen(world.holder(dossier), dossier)) and refused(reopen(world.operator(), dossier))


def test_what_was_closed_in_life_takes_nothing_after_the_death(world):
    shut, anna = world.open(), world.professional()
    assert close(world.holder(shut), shut).status_code == 200
    late = world.open()
    for dossier in (shut, late):
        assert close(world.operator(), dossier, "deceased").status_code == 200
    told = world.operator("physician", "T1").get(late.path).json()["deceasedDateTime"]
    assert close(world.host(), late, "deceased").json()["deceasedDateTime"] == told
    assert anna.post("DocumentReference", document(late, anna)).status_code == 201
    clinic = world.structure()
    for by in (anna, clinic):
        assert refused(by.post("DocumentReference", document(shut, anna)))


def test_death_has_come(world):
    assert close(world.operator(), world.open(), "deceased", date=day(days=9)).status_code == 422


def test_the_rights_of_a_deceased_childs_parents_end(world):
    dossier = world.open(age=9, people=("MTH",))
    assert close(world.operator(), dossier, "deceased").status_code == 200
    assert refused(world.representative(dossier).get(dossier.path))


def test_lost_rights_leave_the_holder_reading(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    world.deposit(dossier, anna)
    holder = world.holder(dossier)
    assert close(world.operator(), dossier, "rights-lost").status_code == 200
    assert holder.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1
    assert refused(anna.get(f"DocumentReference?patient={dossier.id}"))
    assert refused(holder.post("RelatedPerson", {**related("FRND"), "patient": {"reference": dossier.path}}))
    assert exists(world, dossier) == [False]
    assert reopen(world.operator(), dossier, "rights-recovered").status_code == 200
    assert anna.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1


@pytest.mark.parametrize("reason", ["holder-request", "transfer"])
def test_lost_rights_stay_lost_while_the_dossier_is_closed(world, reason):
    """Who closes it and opens it again is where he was: a host or the operator alone says that the rights are back."""
    anna = world.professional()
    dossier = world.open(traitant=anna)
    made = world.deposit(dossier, anna)
    holder, admin = world.holder(dossier), world.operator()
    assert close(admin, dossier, "rights-lost").status_code == 200
    for _ in range(2):
        assert close(holder if reason == "holder-request" else admin, dossier, reason).status_code == 200
        again = reopen(holder, dossier, reason)
        assert again.status_code == 200 and again.json()["active"] is False
        assert holder.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1
        assert anna.get(f"DocumentReference/{made['id']}").status_code == 404
        assert refused(anna.get(f"DocumentReference?patient={dossier.id}"))
        assert refused(holder.post("RelatedPerson", {**related("FRND"), "patient": {"reference": dossier.path}}))
        assert exists(world, dossier) == [False]
    assert reopen(admin, dossier, "rights-recovered").status_code == 200
    assert anna.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1
    # From then on a closing keeps nothing of it.
    assert close(holder, dossier).status_code == reopen(holder, dossier).status_code == 200
    assert exists(world, dossier) == [True]


def test_a_closed_dossier_of_an_ins_is_reactivated_not_opened(world):
    from tests.access.test_open import given

    dossier = world.open()
    close(world.holder(dossier), dossier)
    assert world.professional().run("Patient/$open", **given(dossier.ins)).status_code == 409


def test_closing_ends_an_emergency_access_for_good(world):
    anna, dossier = world.professional(), world.open()
    assert anna.run(f"{dossier.path}/$break-glass", justification="inconscient").status_code == 200
    holder = world.holder(dossier)
    close(holder, dossier)
    reopen(holder, dossier)
    assert refused(anna.get(dossier.path))


def test_the_holder_known_by_ins_reactivates(world):
    dossier = world.open()
    by_ins = world.holder(dossier.ins)
    assert close(by_ins, dossier).status_code == 200 and reopen(by_ins, dossier).status_code == 200


def test_nothing_is_closed_without_a_reason(world):
    dossier = world.open()
    holder = world.holder(dossier)
    assert holder.run(f"{dossier.path}/$close").status_code == 422
    assert holder.get(dossier.path).status_code == 200
    assert holder.run(f"{dossier.path}/$close", reason="holder-request").status_code == 200


def test_staff_is_told_which_dossier_is_meant_and_no_more(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    admin = world.operator("admin")
    answer = admin.post("Patient/$match", {"resourceType": "Patient", "identifier": [{"system": INS, "value": dossier.ins}]})
    (entry,) = answer.json()["entry"]
    assert set(entry["resource"]) == {"resourceType", "id", "identifier", "active"} and entry["search"]["score"]
    assert any("operator" in str(one["agent"]) for one in listed(anna, dossier, "AuditEvent"))


def test_the_holder_of_a_closed_dossier_keeps_a_copy_and_nothing_else(world):
    """By id and as a whole, contents too, hidden things left out; no search, no act. Nobody else keeps anything."""
    anna = world.professional()
    dossier = world.open(traitant=anna)
    holder, other = world.holder(dossier), world.holder(world.open())
    shown, waiting = world.deposit(dossier, anna), world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",))
    close(holder, dossier)
    copy = holder.get(f"{dossier.path}/$everything")
    assert copy.status_code == 200, copy.text
    found = {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in copy.json()["entry"]}
    assert {dossier.path, f"DocumentReference/{shown['id']}"} <= found and f"DocumentReference/{waiting['id']}" not in found
    assert holder.get(f"DocumentReference/{shown['id']}").status_code == 200
    assert holder.get(shown["content"][0]["attachment"]["url"], accept="text/plain").content.startswith(b"compte rendu")
    assert holder.get(f"DocumentReference/{waiting['id']}").status_code == 404
    for path in (f"DocumentReference?patient={dossier.id}", f"{dossier.path}/$summary", f"{dossier.path}/$access-journal"):
        assert refused(holder.get(path)), path
    status = [{"op": "replace", "path": "/status", "value": "superseded"}]
    assert holder.patch(f"DocumentReference/{shown['id']}", status).status_code == 403
    for asker in (anna, other, world.professional(), world.host(), world.operator()):
        assert refused(asker.get(f"{dossier.path}/$everything")) and asker.get(f"DocumentReference/{shown['id']}").status_code == 404


def test_a_parent_keeps_the_copy_of_a_child(world):
    dossier = world.open(age=9, people=("MTH",))
    assert close(world.representative(dossier), dossier).status_code == 200
    assert world.representative(dossier).get(f"{dossier.path}/$everything").status_code == 200
    assert refused(world.holder(dossier).get(f"{dossier.path}/$everything"))


def test_only_what_was_given_to_another_host_comes_back_from_one(world):
    """What its holder closed stays closed, whatever a host or the staff of this one says."""
    anna = world.professional()
    dossier, given = world.open(traitant=anna), world.open(traitant=anna)
    assert close(world.holder(dossier), dossier).status_code == 200
    assert close(world.host(), given, "transfer").status_code == 200
    for asker in (world.host(), world.operator(), world.operator("physician", "T1")):
        assert reopen(asker, dossier, "transfer").status_code == 409
        assert refused(reopen(asker, dossier)) and refused(reopen(asker, given))
    assert exists(world, dossier) == [False] and refused(anna.get(dossier.path))
    assert reopen(world.host(), given, "transfer").status_code == 200
    assert exists(world, given) == [True]
    # Closed by its holder afterwards, it comes back no more.
    assert close(world.holder(given), given).status_code == 200
    assert reopen(world.host(), given, "transfer").status_code == 409
    assert reopen(world.holder(dossier), dossier).status_code == 200
