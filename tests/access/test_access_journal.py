"""Who reads the journal of a dossier, and that nobody writes it; $proof, $access-journal, $statistics with real tokens."""

import time

import pytest

from tests.access.world import listed, refused


def lines(answer) -> list[dict]:
    """Parts of each entry by name."""
    assert answer.status_code == 200, answer.text
    return [{part["name"]: part for part in entry["part"]} for entry in answer.json().get("parameter", ())]


@pytest.fixture(scope="module")
def scene(world):
    """A dossier that its médecin traitant and another author fed."""
    anna, bob = world.professional(), world.professional()
    dossier = world.open(traitant=anna, by=anna)
    documents = [world.deposit(dossier, anna), world.deposit(dossier, bob)]
    assert bob.get(f"DocumentReference/{documents[1]['id']}").status_code == 200
    return dossier, anna, bob, documents


def people(world, dossier, asker) -> set[str]:
    return {one["who"]["valueString"] for one in lines(asker.get(f"{dossier.path}/$access-journal"))}


def test_the_holder_and_the_medecin_traitant_read_who_did_what(world, scene):
    dossier, anna, bob, documents = scene
    found = lines(world.holder(dossier).get(f"{dossier.path}/$access-journal"))
    read = next(one for one in found if one["what"]["valueString"] == "Lecture : 1 document")
    assert (read["who"]["valueString"], read["role"]["valueString"]) == (bob.idnps, "Médecin")
    assert read["establishment"]["valueString"] == f"1{bob.organization}"
    assert read["document"]["valueReference"]["reference"] == f"DocumentReference/{documents[1]['id']}"
    assert people(world, dossier, anna) >= {anna.idnps, bob.idnps}


def test_a_professional_reads_his_own_traces_and_a_stranger_none(world, scene):
    dossier, anna, bob, _ = scene
    assert people(world, dossier, bob) == {bob.idnps}
    stranger = world.professional().get(f"{dossier.path}/$access-journal")
    nowhere = world.professional().get(f"Patient/{'a' * 26}/$access-journal")
    assert refused(stranger) and refused(nowhere)
    assert stranger.content == nowhere.content


def test_the_page_itself_leaves_a_trace_before_it_is_shown(world, scene):
    dossier = scene[0]
    holder = world.holder(dossier)
    page = holder.get(f"{dossier.path}/$access-journal", accept="text/html")
    assert page.status_code == 200 and "Journal des accès" in page.text
    first = lines(holder.get(f"{dossier.path}/$access-journal"))[0]
    assert first["who"]["valueString"] == "le titulaire"


def test_whoever_may_read_a_trace_may_have_its_proof(world, scene):
    dossier, anna, bob, _ = scene
    holder = world.holder(dossier)
    theirs = next(one for one in listed(holder, dossier, "AuditEvent") if anna.idnps in str(one["agent"]) and one["action"] == "C")
    for _ in range(300):  # until a head is signed over it: every second
        answer = holder.get(f"AuditEvent/{theirs['id']}/$proof")
        if answer.status_code != 503:
            break
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text
    assert {one["name"] for one in answer.json()["parameter"]} >= {"salt", "path", "checkpoint", "publicKey"}
    for other in (bob, world.professional(), world.holder(world.open())):
        assert other.get(f"AuditEvent/{theirs['id']}/$proof").status_code == 404


def test_the_words_of_a_query_are_for_who_asked_and_the_medecin_traitant(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    hidden = world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",))
    anna.get(f"DocumentReference?patient={dossier.id}&_id={hidden['id']}")
    told = listed(world.holder(dossier), dossier, "AuditEvent")
    assert told and "query" not in str(told)
    assert "query" in str(listed(anna, dossier, "AuditEvent"))


def test_nobody_writes_a_trace(world, scene):
    dossier, anna, _, _ = scene
    holder = world.holder(dossier)
    theirs = listed(holder, dossier, "AuditEvent")[0]
    for asker in (holder, anna, world.operator()):
        for answer in (
            asker.post("AuditEvent", theirs),
            asker.put(f"AuditEvent/{theirs['id']}", theirs),
            asker.patch(f"AuditEvent/{theirs['id']}", [{"op": "remove", "path": "/agent/0"}]),
            asker.delete(f"AuditEvent/{theirs['id']}"),
        ):
            assert answer.status_code == 405, answer.text
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": theirs, "request": {"method": "POST", "url": "AuditEvent"}}]}
    assert anna.post("", batch).json()["entry"][0]["response"]["status"].startswith("405")
    assert anna.post("", {**batch, "type": "transaction"}).status_code == 405


def test_figures_are_for_the_administrator_of_the_host(world, scene):
    assert world.operator("admin").get("$statistics").status_code == 200
    for asker in (world.operator("physician", "T1"), scene[1], world.holder(scene[0]), world.host(), world.feed()):
        assert refused(asker.get("$statistics"))


def test_figures_come_from_what_people_did(world):
    anna = world.professional()
    for _ in range(5):
        dossier = world.open(traitant=anna)
        document = world.deposit(dossier, anna)
        holder = world.holder(dossier)
        assert holder.get(f"DocumentReference/{document['id']}").status_code == 200
        assert holder.get(f"{dossier.path}/$access-journal").status_code == 200
    told = world.operator("admin").get("$statistics").json()["parameter"]
    plain = {one["name"]: one for one in told if "part" not in one}
    for name in ("dossiersOpen", "dossiersFed", "dossiersActive", "dossiersFedByProfessionals"):
        assert plain[name]["valueInteger"] >= 5
    for name in ("documentsPerDossier", "professionalsPerDossier", "connectionsPerPatient"):
        assert plain[name]["valueDecimal"] >= 1
    assert 0 < plain["patientsWhoConsulted"]["valueDecimal"] <= 100
    listed = {(one["name"], one["part"][0]["valueCode"]): one["part"] for one in told if "part" in one}
    assert listed["reads", "DocumentReference"][-1]["valueInteger"] >= 5
    assert listed["documentReads", "11488-4"][-1]["valueInteger"] >= 5
    for action in ("document-read", "traces-viewed"):
        assert listed["patientActions", action][1]["valueInteger"] >= 5
    assert "Patient/" not in str(told) and dossier.id not in str(told)
