"""Consents as acts on rights. Code de la santé publique L1111-19; access rules of the contract"""

import pytest

from tests.access.world import FINESS, category, consent, day, document, listed, now, refused, related
from tests.interactions.making import issue, places


def reads(asker, dossier):
    """Whether he reads the dossier: searches it and its Patient alike."""
    statuses = {asker.get(dossier.path).status_code, asker.get(f"DocumentReference?patient={dossier.id}").status_code}
    assert len(statuses) == 1
    return statuses == {200}


# ---- authorising and blocking


def test_the_holder_authorises_and_revokes(world):
    dossier, anna = world.open(), world.professional()
    assert not reads(anna, dossier)
    given = world.consent(dossier, "access", anna)
    assert reads(anna, dossier)
    world.revoke(world.holder(dossier), given)
    assert not reads(anna, dossier)


def test_a_period_that_ended_gives_nothing(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna, period={"start": day(days=-30), "end": day(days=-2)})
    assert not reads(anna, dossier)


def test_an_access_without_a_period_is_refused_and_can_always_be_revoked(world):
    dossier, anna = world.open(), world.professional()
    holder, value = world.holder(dossier), consent(dossier, "access", anna)
    del value["provision"]["period"]
    answer = holder.post("Consent", value)
    assert answer.status_code == 422 and places(answer) == ["Consent.provision.period"] and not reads(anna, dossier)
    given = world.consent(dossier, "access", anna)
    endless = {**given, "provision": {name: part for name, part in given["provision"].items() if name != "period"}}
    assert holder.put(f"Consent/{given['id']}", endless).status_code == 422 and reads(anna, dossier)
    assert holder.put(f"Consent/{given['id']}", {**endless, "status": "inactive"}).status_code == 200 and not reads(anna, dossier)


def test_a_structure_is_authorised(world):
    dossier = world.open()
    finess = "750099123"
    anna = world.professional(organization=finess)
    world.consent(dossier, "access", {"identifier": {"system": FINESS, "value": finess}})
    assert reads(anna, dossier)


def test_a_practitioner_of_the_directory_is_named_by_reference(world):
    dossier, anna = world.open(), world.professional()
    admin = world.operator("admin")
    practitioner = world.write(admin, {"resourceType": "Practitioner", "identifier": [anna.reference["identifier"]]})
    world.consent(dossier, "access", {"reference": f"Practitioner/{practitioner['id']}"})
    assert reads(anna, dossier)
    assert [category(one) for one in listed(anna, dossier, "Consent")] == ["access"]


def test_a_block_wins_over_everything(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna)
    block = world.consent(dossier, "block", anna)
    assert not reads(anna, dossier)
    assert refused(anna.post("Consent", consent(dossier, "access", anna, evidence="oral", period={"end": day(days=30)})))
    world.revoke(world.holder(dossier), block)
    assert reads(anna, dossier)


def test_a_blocked_structure_is_given_nothing(world):
    """Who opened the dossier neither: with the sheet of codes it would read as the holder."""
    structure = world.structure()
    anna = world.professional(organization=structure.organization)
    dossier = world.open(by=structure)
    sent = {**document(dossier, structure), "author": [structure.reference]}
    stored = structure.post("DocumentReference", sent)
    assert stored.status_code == 201
    block = world.consent(dossier, "block", structure)
    newer = [{"code": "replaces", "target": {"reference": f"DocumentReference/{stored.json()['id']}"}}]
    replacing = {**sent, "relatesTo": newer}
    for asker in (structure, anna):
        for accept in ("text/plain", "application/pdf", "application/fhir+json"):
            assert refused(asker.post(f"{dossier.path}/$access-sheet", None, accept=accept)), accept
    for value in (sent, replacing):
        assert refused(structure.post("DocumentReference", value))
    world.revoke(world.holder(dossier), block)
    assert structure.run(f"{dossier.path}/$access-sheet").status_code == 200
    assert structure.post("DocumentReference", replacing).status_code == 201


def test_the_medecin_traitant_is_changed_not_blocked(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    answer = world.holder(dossier).post("Consent", consent(dossier, "block", anna))
    assert (answer.status_code, issue(answer)) == (409, ("error", "conflict"))
    assert reads(anna, dossier)


def test_a_block_of_who_is_the_medecin_traitant_by_now_is_taken_back(world):
    anna, carl = world.professional(), world.professional()
    dossier = world.open()
    holder = world.holder(dossier)
    over = {"start": day(days=-9), "end": day(days=-2)}
    first, second = (world.consent(dossier, "block", anna, period=over) for _ in range(2))
    world.declare(dossier, anna)
    assert world.revoke(holder, first)["status"] == "inactive"
    assert holder.put(f"Consent/{first['id']}", first).status_code == 409
    answer = holder.put(f"Consent/{second['id']}", {**second, "provision": consent(dossier, "block", carl)["provision"]})
    assert answer.status_code == 200
    assert holder.put(f"Consent/{second['id']}", second).status_code == 409
    assert reads(anna, dossier)


def test_nobody_learns_the_medecin_traitant_by_trying_to_block_him(world):
    anna, carl = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    assert refused(carl.post("Consent", consent(dossier, "block", anna)))


def test_the_rights_of_the_medecin_traitant_are_given(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "administrator", anna)
    assert reads(anna, dossier)


def test_an_unrelated_professional_writes_no_consent_about_others(world):
    dossier, anna, carl = world.open(), world.professional(), world.professional()
    for name in ("access", "administrator", "block", "emergency-break-glass", "mask", "reimbursement", "mandate", "opening"):
        assert refused(carl.post("Consent", consent(dossier, name, anna))), name


def test_an_unknown_dossier_is_refused_in_the_same_words(world):
    dossier, anna = world.open(), world.professional()
    known = anna.post("Consent", consent(dossier, "block", anna))
    value = consent(dossier, "block", anna)
    value["patient"]["reference"] = "Patient/unknown"
    assert refused(known) and anna.post("Consent", value).content == known.content


def test_who_may_not_is_refused_before_the_content_is_judged(world):
    dossier, anna = world.open(), world.professional()
    wrong = {**consent(dossier, "block"), "category": consent(dossier, "block")["category"][:1]}
    assert refused(anna.post("Consent", wrong))
    answer = world.holder(dossier).post("Consent", wrong)
    assert answer.status_code == 422 and "Consent.category" in places(answer)


# ---- a professional for himself


def test_a_professional_authorises_himself_with_evidence(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna, by=anna, evidence="oral", period={"start": day(), "end": day(days=30)})
    assert reads(anna, dossier)
    told = [one for one in listed(world.holder(dossier), dossier, "Communication")]
    assert [one["category"][0]["coding"][0]["code"] for one in told] == ["authorisation"]
    assert anna.idnps in told[0]["payload"][0]["contentString"]


def test_who_gives_up_what_he_authorised_himself_is_not_told_to_have_authorised_himself(world):
    dossier, anna = world.open(), world.professional()
    own = world.consent(dossier, "access", anna, by=anna, evidence="oral", period={"start": day(), "end": day(days=30)})
    world.revoke(anna, own)
    assert not reads(anna, dossier)
    assert len(listed(world.holder(dossier), dossier, "Communication")) == 1


@pytest.mark.parametrize(
    ("evidence", "period"),
    [("", {"end": day(days=30)}), ("hearsay", {"end": day(days=30)}), ("oral", {"end": day(days=800)}), ("oral", None)],
)
def test_self_authorisation_needs_evidence_and_an_end_within_a_year(world, evidence, period):
    dossier, anna = world.open(), world.professional()
    answer = anna.post("Consent", consent(dossier, "access", anna, evidence=evidence, **({"period": period} if period else {})))
    assert answer.status_code == 422
    assert not reads(anna, dossier) and listed(world.holder(dossier), dossier, "Communication") == []


def test_a_professional_authorises_nobody_else(world):
    dossier, anna, carl = world.open(), world.professional(), world.professional()
    assert refused(anna.post("Consent", consent(dossier, "access", carl, evidence="oral", period={"end": day(days=3)})))
    assert refused(anna.post("Consent", consent(dossier, "access", anna, carl, evidence="oral", period={"end": day(days=3)})))


def test_a_professional_does_not_lengthen_what_the_holder_gave(world):
    dossier, anna = world.open(), world.professional()
    given = world.consent(dossier, "access", anna, period={"end": day(days=3)})
    longer = {**given, **{"provision": {**given["provision"], "period": {"end": day(days=300)}}}}
    longer["extension"] = consent(dossier, "access", evidence="oral")["extension"]
    assert refused(anna.put(f"Consent/{given['id']}", longer))


# ---- who sees which Consents


def test_a_professional_sees_the_consents_that_name_him(world):
    dossier, anna, carl = world.open(), world.professional(), world.professional()
    own = world.consent(dossier, "access", anna)
    other = world.consent(dossier, "access", carl)
    assert [one["id"] for one in listed(anna, dossier, "Consent")] == [own["id"]]
    hidden, absent = anna.get(f"Consent/{other['id']}"), anna.get(f"Consent/{other['id'][:-2]}AA")
    assert hidden.status_code == 404 and hidden.content == absent.content
    assert anna.put(f"Consent/{other['id']}", other).status_code == 404


def test_masks_by_rule_are_known_to_the_holder_alone(world):
    dossier, anna = world.open(), world.professional()
    world.consent(dossier, "access", anna)
    mask = world.consent(dossier, "mask", code=[{"coding": [{"system": "http://loinc.org", "code": "11502-2"}]}])
    assert mask["id"] in {one["id"] for one in listed(world.holder(dossier), dossier, "Consent")}
    assert anna.get(f"Consent/{mask['id']}").status_code == 404


# ---- emergencies


def test_a_new_emergency_consent_supersedes_the_former(world):
    dossier = world.open()
    holder = world.holder(dossier)
    samu = world.professional(regulation=True, purpose="ETREAT")
    assert reads(samu, dossier)
    world.consent(dossier, "emergency-regulation", permit=False)
    assert not reads(samu, dossier)
    found = [
        (one["status"], one["provision"]["type"]) for one in listed(holder, dossier, "Consent") if category(one) == "emergency-regulation"
    ]
    assert sorted(found) == [("active", "deny"), ("inactive", "permit")]
    world.consent(dossier, "emergency-regulation", permit=True)
    assert reads(samu, dossier)
    active = [one for one in listed(holder, dossier, "Consent", status="active") if category(one) == "emergency-regulation"]
    assert len(active) == 1


# ---- mandataires


def mandated(world, dossier, **period):
    """A mandataire of the dossier, and his mandate."""
    person = world.write(world.holder(dossier), {**related("FRND"), "patient": {"reference": dossier.path}})
    period = period or {"start": day(), "end": day(days=30)}
    mandate = world.consent(dossier, "mandate", {"reference": f"RelatedPerson/{person['id']}"}, period=period)
    return world.mandataire(dossier, person["id"]), mandate


def test_a_mandataire_manages_access_and_the_holder_is_told(world):
    dossier, anna = world.open(), world.professional()
    mandataire, _ = mandated(world, dossier)
    world.consent(dossier, "access", anna, by=mandataire)
    assert reads(anna, dossier)
    told = listed(world.holder(dossier), dossier, "Communication")
    assert [one["category"][0]["coding"][0]["code"] for one in told] == ["mandate-act"]


@pytest.mark.parametrize("name", ["administrator", "mask", "mandate", "reimbursement", "feed"])
def test_a_mandataire_manages_nothing_else(world, name):
    dossier = world.open()
    mandataire, _ = mandated(world, dossier)
    assert refused(mandataire.post("Consent", consent(dossier, name, world.professional())))


def test_a_mandataire_does_not_read_documents(world):
    dossier = world.open()
    mandataire, _ = mandated(world, dossier)
    assert refused(mandataire.get(f"DocumentReference?patient={dossier.id}"))


def test_a_mandataire_never_serves_himself(world):
    dossier, anna = world.open(), world.professional()
    person = {**related("FRND"), "patient": {"reference": dossier.path}, "identifier": [anna.reference["identifier"]]}
    person = world.write(world.holder(dossier), person)
    period = {"start": day(), "end": day(days=30)}
    world.consent(dossier, "mandate", {"reference": f"RelatedPerson/{person['id']}"}, period=period)
    assert refused(world.mandataire(dossier, person["id"]).post("Consent", consent(dossier, "access", anna)))


def test_a_mandate_that_ended_or_was_revoked_gives_nothing(world):
    dossier, anna = world.open(), world.professional()
    ended, _ = mandated(world, dossier, start=day(days=-30), end=day(days=-3))
    assert refused(ended.post("Consent", consent(dossier, "access", anna)))
    mandataire, mandate = mandated(world, dossier)
    world.revoke(world.holder(dossier), mandate)
    assert refused(mandataire.post("Consent", consent(dossier, "access", anna)))
    for asker in (ended, mandataire):
        for path in ("Consent?patient={}", "RelatedPerson?patient={}", "DocumentReference?patient={}", "Patient/{}"):
            answer, unknown = asker.get(path.format(dossier.id)), asker.get(path.format("b" * 26))
            assert (answer.status_code, answer.content) == (403, unknown.content), path


def test_a_mandate_is_renewed(world):
    dossier, anna = world.open(), world.professional()
    ended, mandate = mandated(world, dossier, start=day(days=-30), end=day(days=-3))
    longer = {**mandate, "provision": {**mandate["provision"], "period": {"start": day(days=-30), "end": day(days=60)}}}
    assert world.holder(dossier).put(f"Consent/{mandate['id']}", longer).status_code == 200
    world.consent(dossier, "access", anna, by=ended)


def test_a_mandate_names_a_related_person_of_the_dossier(world):
    dossier, other = world.open(), world.open()
    person = world.write(world.holder(other), {**related("FRND"), "patient": {"reference": other.path}})
    value = consent(dossier, "mandate", {"reference": f"RelatedPerson/{person['id']}"}, period={"start": day(), "end": day(days=9)})
    answer = world.holder(dossier).post("Consent", value)
    assert answer.status_code == 422 and "Consent.provision.actor" in places(answer)


# ---- what a Consent must be


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "treatment"}]}}, "Consent.scope"),
        ({"status": "draft"}, "Consent.status"),
        ({"dateTime": None}, "Consent.dateTime"),
        ({"performer": None}, "Consent.performer"),
        ({"organization": None}, "Consent.organization"),
        ({"policy": None}, "Consent.policy"),
        ({"provision": None}, "Consent.provision"),
        ({"implicitRules": "urn:x-test:rules"}, "Consent.implicitRules"),
    ],
)
def test_faults_are_told_with_their_place(world, change, place):
    dossier = world.open()
    value = {name: part for name, part in {**consent(dossier, "access", world.professional()), **change}.items() if part is not None}
    answer = world.holder(dossier).post("Consent", value)
    assert answer.status_code == 422 and place in places(answer)


def test_the_opening_consent_is_written_by_the_operation_alone(world):
    dossier = world.open()
    holder = world.holder(dossier)
    assert holder.post("Consent", consent(dossier, "opening")).status_code == 422
    (opening,) = [one for one in listed(holder, dossier, "Consent") if category(one) == "opening"]
    assert holder.put(f"Consent/{opening['id']}", {**opening, "status": "inactive"}).status_code == 422
    assert holder.get(dossier.path).status_code == 200


def test_category_and_patient_of_a_consent_do_not_change(world):
    dossier, other, anna = world.open(), world.open(), world.professional()
    holder = world.holder(dossier)
    given = world.consent(dossier, "access", anna)
    block = {**consent(dossier, "block", anna), "id": given["id"]}
    assert holder.put(f"Consent/{given['id']}", block).status_code == 422
    moved = {**given, "patient": {"reference": other.path}}
    assert holder.put(f"Consent/{given['id']}", moved).status_code == 422


def test_consents_are_never_deleted(world):
    dossier, anna = world.open(), world.professional()
    given = world.consent(dossier, "access", anna)
    assert world.holder(dossier).delete(f"Consent/{given['id']}").status_code == 405


def test_a_right_is_revoked_by_patch_too(world):
    dossier, anna = world.open(), world.professional()
    given = world.consent(dossier, "access", anna)
    answer = world.holder(dossier).patch(f"Consent/{given['id']}", [{"op": "replace", "path": "/status", "value": "inactive"}])
    assert answer.status_code == 200 and answer.json()["status"] == "inactive"
    assert not reads(anna, dossier)


def test_if_match_protects_against_lost_updates(world):
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    given = world.consent(dossier, "access", anna)
    stale = f'W/"{given["meta"]["versionId"]}"'
    world.revoke(holder, given)
    assert holder.put(f"Consent/{given['id']}", given, if_match=stale).status_code == 412


def test_reimbursements_and_wills_are_the_holders_choice(world):
    dossier = world.open()
    holder = world.holder(dossier)
    assert world.consent(dossier, "reimbursement", permit=True)["status"] == "active"
    assert world.consent(dossier, "reimbursement", permit=False)["provision"]["type"] == "deny"
    uses = [one for one in listed(holder, dossier, "Consent", status="active") if category(one) == "reimbursement"]
    assert len(uses) == 1
    will = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "adr"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "64293-4"}]}],
        "patient": {"reference": dossier.path},
        "dateTime": now(),
        "policyRule": {"text": "don d'organes"},
    }
    assert holder.post("Consent", will).status_code == 201
    assert refused(world.professional().post("Consent", will))


def test_an_authorisation_for_himself_ends_within_a_year_from_now(world):
    """Whenever it is dated: without a start it holds since ever."""
    anna, dossier = world.professional(), world.open()
    for start in ({}, {"start": "2039-07-01"}):
        value = consent(dossier, "access", anna, evidence="oral", performer=anna.reference, period={**start, "end": "2040-06-01"})
        answer = anna.post("Consent", {**value, "dateTime": "2039-07-01"})
        assert (answer.status_code, places(answer)) == (422, ["Consent.provision.period"])
    assert not reads(anna, dossier)


def test_a_mandate_lasts_no_longer_than_the_title_of_who_gives_it(world):
    """Else a parent would go on managing the dossier of the child who has come of age."""
    dossier = world.open(age=17, people=("MTH",))
    mother = world.representative(dossier)
    friend = world.write(mother, {**related("FRND"), "patient": {"reference": dossier.path}})
    for person in (dossier.people["MTH"], friend["id"]):
        actor = {"reference": f"RelatedPerson/{person}"}
        value = consent(
            dossier, "mandate", actor, performer={"reference": f"RelatedPerson/{dossier.people['MTH']}"}, period={"end": day(days=900)}
        )
        answer = mother.post("Consent", value)
        assert (answer.status_code, places(answer)) == (422, ["Consent.provision.period"])
        value["provision"]["period"] = {"end": day(days=20)}
        assert mother.post("Consent", value).status_code == 201


@pytest.mark.parametrize("base", ["", "https://dmp.elsewhere.test/fhir/"])
def test_a_mask_by_its_holder_names_nothing_that_is_hidden_from_him(world, base):
    dossier, anna = world.open(), world.professional()
    hidden = world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",))["id"]
    said = []
    for id in (hidden, hidden[:-2] + ("aa" if hidden[-2:] != "aa" else "ba")):
        value = consent(dossier, "mask", data=[{"meaning": "instance", "reference": {"reference": f"{base}DocumentReference/{id}"}}])
        answer = world.holder(dossier).post("Consent", value)
        said.append((answer.status_code, answer.text.replace(id, "ID")))
    assert said[0] == said[1] and said[0][0] == 422
