"""What is deposited with a hidden document, or replaces one, is hidden with it: whatever is linked to what, and whoever replaced.

CSP R1111-49, R1111-50; IHE MHD Provide Document Bundle [ITI-65]
"""

import pytest

from tests.access.test_deposits import posted, stored, submission
from tests.access.test_findings import observed, reported
from tests.access.world import LOINC, NURSE, REPORT, VISIBILITY, consent, document, listed, number

URN = "urn:uuid:00000000-0000-4000-8000-0000000000"
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
AROUND = ("Encounter", "Observation", "DiagnosticReport", "AllergyIntolerance")


def around(dossier, bundle: dict) -> dict:
    """A submission with what is linked to its document over something else, or not at all."""
    (source,) = [entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "DocumentReference"]
    kept = {"status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}}
    encounter = {"resourceType": "Encounter", **kept, "subject": {"reference": dossier.path}}
    seen = {**observed(dossier, "vital-signs"), "derivedFrom": [{"reference": source}]}
    told = {**reported(dossier, "OTH"), "result": [{"reference": f"{URN}e2"}]}
    pollen = {"resourceType": "AllergyIntolerance", "patient": {"reference": dossier.path}, "code": {"text": "pollen"}}
    pollen["clinicalStatus"] = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]
    }
    pollen["encounter"] = {"reference": f"{URN}e1"}
    bundle["entry"] += [posted(one, f"{URN}e{place}") for place, one in enumerate((encounter, seen, told, pollen), 1)]
    return bundle


@pytest.mark.parametrize("labels", [(), ("MASQUE_PS",), ("INVISIBLE_PATIENT",)])
def test_what_is_deposited_with_a_document_is_hidden_with_it_whatever_leads_to_it(world, labels):
    dossier, anna, team = world.open(traitant=world.professional()), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    holder = world.holder(dossier)
    answer = anna.post("", around(dossier, submission(dossier, anna, document(dossier, anna, labels=labels))))
    (id,) = stored(answer, "DocumentReference")
    blind = holder if "INVISIBLE_PATIENT" in labels else team
    if not labels:
        assert all(len(listed(team, dossier, name)) == 1 for name in AROUND)
        assert holder.patch(f"DocumentReference/{id}", MASK).status_code == 200
    for name in (*AROUND, "List", "Provenance"):
        assert listed(blind, dossier, name) == [], name
        for one in stored(answer, name):
            assert blind.get(f"{name}/{one}").status_code == 404
    assert "pollen" not in blind.get(f"{dossier.path}/$everything?_count=1000").text


def test_of_two_documents_what_belongs_to_neither_is_hidden_with_the_more_hidden_one(world):
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    both = [posted(document(dossier, anna, labels=labels), f"{URN}d{place}") for place, labels in enumerate(((), ("MASQUE_PS",)))]
    loose = posted(observed(dossier, "vital-signs"), f"{URN}e0")
    linked = posted({**observed(dossier, "social-history"), "derivedFrom": [{"reference": f"{URN}d0"}]}, f"{URN}e1")
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [*both, loose, linked]}
    answer = anna.post("", bundle)
    assert len(listed(team, dossier, "DocumentReference")) == 1
    assert [one["id"] for one in listed(team, dossier, "Observation")] == stored(answer, "Observation")[1:]


@pytest.mark.parametrize("hiding", ["before", "after", "withdrawn"])
def test_what_names_a_document_that_was_there_before_is_hidden_with_it(world, hiding):
    """Itself, or over something else: how the software cut its messages makes no difference."""
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    made = world.deposit(dossier, anna, labels=("MASQUE_PS",) if hiding == "before" else ())
    value = world.write(anna, {**observed(dossier, "vital-signs"), "derivedFrom": [{"reference": f"DocumentReference/{made['id']}"}]})
    told = world.write(anna, {**reported(dossier, "OTH"), "result": [{"reference": f"Observation/{value['id']}"}]})
    beside = world.write(anna, observed(dossier, "vital-signs"))
    path = f"DocumentReference/{made['id']}"
    if hiding == "after":
        assert world.holder(dossier).patch(path, MASK).status_code == 200
    if hiding == "withdrawn":
        gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
        assert anna.patch(path, gone).status_code == 200
    assert [one["id"] for one in listed(team, dossier, "Observation")] == [beside["id"]]
    assert listed(team, dossier, "DiagnosticReport") == []
    assert team.get(f"DiagnosticReport/{told['id']}").status_code == 404
    assert anna.get(f"Observation/{value['id']}").status_code == 200


@pytest.mark.parametrize("hidden", ["matrix", "mask by rule", "withdrawn", "withdrawn twice"])
def test_what_came_with_a_document_stays_hidden_with_it_when_its_author_corrects_it(world, hidden):
    psychiatric = "75496-0"
    dossier, anna = world.open(), world.professional()
    team = world.professional(profession=NURSE) if hidden == "matrix" else world.professional()
    world.consent(dossier, "access", team)
    value = document(dossier, anna, type=REPORT if "withdrawn" in hidden else psychiatric)
    bundle = submission(dossier, anna, value)
    (source,) = [entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "DocumentReference"]
    bundle["entry"].append(posted({**observed(dossier, "vital-signs"), "derivedFrom": [{"reference": source}]}, f"{URN}e1"))
    answer = anna.post("", bundle)
    (made,), (id,) = stored(answer, "DocumentReference"), stored(answer, "Observation")
    path = f"Observation/{id}"
    if hidden == "mask by rule":
        assert team.get(path).status_code == 200
        world.consent(dossier, "mask", code=[{"coding": [{"system": LOINC, "code": psychiatric}]}])
    if "withdrawn" in hidden:
        assert team.get(path).status_code == 200
        if hidden == "withdrawn twice":
            assert anna.put(path, {**anna.get(path).json(), "status": "entered-in-error"}).status_code == 200
        gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
        assert anna.patch(f"DocumentReference/{made}", gone).status_code == 200
    for note in ("one", "two"):  # of a version that was corrected already, too
        assert team.get(path).status_code == 404
        corrected = {**anna.get(path).json(), "status": "final", "note": [{"text": note}]}
        assert anna.put(path, corrected).status_code == 200
    assert team.get(path).status_code == 404 and listed(team, dossier, "Observation") == []
    if "withdrawn" in hidden:
        back = [{"op": "replace", "path": "/status", "value": "current"}]
        assert anna.patch(f"DocumentReference/{made}", back).status_code == 200
        assert team.get(path).json()["note"] == [{"text": "two"}]


def test_what_its_author_withdraws_by_itself_he_brings_back_by_itself(world):
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    (id,) = stored(anna.post("", around(dossier, submission(dossier, anna, document(dossier, anna)))), "Observation")
    for status, answered in (("entered-in-error", 404), ("final", 200)):
        assert anna.put(f"Observation/{id}", {**anna.get(f"Observation/{id}").json(), "status": status}).status_code == 200
        assert team.get(f"Observation/{id}").status_code == answered


def test_what_comes_with_a_document_and_names_one_that_was_there_is_hidden_with_either(world):
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    made = world.deposit(dossier, anna, labels=("MASQUE_PS",))
    value = document(dossier, anna, masterIdentifier={"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}"})
    bundle = submission(dossier, anna, value)
    (lot,) = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "List"]
    lot["entry"].append({"item": {"reference": f"DocumentReference/{made['id']}"}})
    named = {**observed(dossier, "vital-signs"), "derivedFrom": [{"reference": f"DocumentReference/{made['id']}"}]}
    bundle["entry"].append(posted(named, f"{URN}e7"))
    assert anna.post("", bundle).status_code == 200
    assert len(listed(team, dossier, "DocumentReference")) == 1
    assert listed(team, dossier, "Observation") == [] and len(listed(world.holder(dossier), dossier, "Observation")) == 1


def test_what_somebody_else_wrote_about_a_document_is_not_withdrawn_with_it(world):
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    made = world.deposit(dossier, anna)
    named = {"derivedFrom": [{"reference": f"DocumentReference/{made['id']}"}]}
    theirs = world.write(team, {**observed(dossier, "vital-signs"), **named})
    alone = world.write(team, observed(dossier, "vital-signs"))
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert anna.patch(f"DocumentReference/{made['id']}", gone).status_code == 200
    assert len(listed(team, dossier, "Observation")) == 2 and theirs["id"] != alone["id"]
    # Later it is not made to belong to one.
    other = world.deposit(dossier, anna)
    named = {"derivedFrom": [{"reference": f"DocumentReference/{other['id']}"}]}
    assert team.put(f"Observation/{alone['id']}", {**alone, **named}).status_code == 422


@pytest.mark.parametrize("masked", [True, False])
def test_that_somebody_hides_by_replacing_does_not_tell_of_a_mask(world, masked):
    """A colleague in charge is not told whether the holder masked it; nor is its author, by what is traced."""
    dossier, anna = world.open(), world.professional()
    colleague = world.professional(organization=anna.organization)
    world.consent(dossier, "access", colleague)
    made = world.deposit(dossier, anna)
    if masked:
        assert world.holder(dossier).patch(f"DocumentReference/{made['id']}", MASK).status_code == 200
    related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{made['id']}"}}]
    answer = colleague.post("DocumentReference", document(dossier, colleague, labels=("MASQUE_PS",), relatesTo=related))
    assert answer.status_code == 422
    world.deposit(dossier, anna, labels=("MASQUE_PS",), relatesTo=related)
    assert len(listed(anna, dossier, "AuditEvent", subtype="mask")) == 1


@pytest.mark.parametrize("how", ["ITI-105", "ITI-65"])
@pytest.mark.parametrize("label", ["MASQUE_PS", "INVISIBLE_PATIENT"])
def test_what_replaces_a_document_and_hides_more_hides_all_of_it(world, how, label):
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    made, other = world.deposit(dossier, anna), world.deposit(dossier, anna)
    blind = world.holder(dossier) if label == "INVISIBLE_PATIENT" else team
    assert len(listed(blind, dossier, "DocumentReference")) == 2
    related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{made['id']}"}}]
    value = document(dossier, anna, labels=(label,), relatesTo=related)
    answer = anna.post("DocumentReference", value) if how == "ITI-105" else anna.post("", submission(dossier, anna, value))
    assert answer.status_code in (200, 201), answer.text
    assert [one["id"] for one in listed(blind, dossier, "DocumentReference", status="current,superseded")] == [other["id"]]
    assert blind.get(f"DocumentReference/{made['id']}").status_code == 404
    assert blind.get(made["content"][0]["attachment"]["url"]).status_code == 404
    sealed = listed(blind, dossier, "Provenance")
    assert sealed and made["id"] not in str(sealed)
    masked = listed(anna, dossier, "AuditEvent", subtype="mask")
    assert len(masked) == 1


@pytest.mark.parametrize("how", ["MASQUE_PS", "INVISIBLE_PATIENT", "secret session"])
def test_nobody_hides_the_document_of_somebody_else_by_replacing_it(world, how):
    dossier, anna = world.open(age=14, people=("MTH",)), world.professional()
    made, other = world.deposit(dossier, anna), world.professional(secret_session=how == "secret session")
    world.consent(dossier, "access", other, by=world.representative(dossier, dossier.people["MTH"]))
    related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{made['id']}"}}]
    labels = () if other.claims.get("secret_session") else (how,)
    answer = other.post("DocumentReference", document(dossier, other, labels=labels, relatesTo=related))
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, ["DocumentReference.securityLabel"])
    if not other.claims.get("secret_session"):
        assert other.post("DocumentReference", document(dossier, other, relatesTo=related)).status_code == 201


def test_that_a_replacement_of_what_is_hidden_was_refused_is_told_to_whoever_sees_that(world):
    dossier, anna = world.open(traitant=(doctor := world.professional())), world.professional()
    holder, other = world.holder(dossier), world.professional()
    world.consent(dossier, "access", other)
    hidden, plain = world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",)), world.deposit(dossier, anna)

    def failures() -> list[int]:
        return [by.get(f"AuditEvent?patient={dossier.id}&outcome=4&_summary=count").json()["total"] for by in (holder, doctor)]

    for made, told in ((hidden, [0, 1]), (plain, [1, 1])):
        related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{made['id']}"}}]
        before = failures()
        answer = other.post("DocumentReference", document(dossier, other, labels=("MASQUE_PS",), relatesTo=related))
        assert answer.status_code == 422
        assert [now - then for now, then in zip(failures(), before, strict=True)] == told


def test_a_document_replaces_one_document_or_versions_of_one(world):
    """One that carried on two could be hidden with one of them alone."""
    dossier, anna = world.open(), world.professional()
    first, other = world.deposit(dossier, anna), world.deposit(dossier, anna)

    def replacing(*those: dict) -> dict:
        named = [{"code": "replaces", "target": {"reference": f"DocumentReference/{one['id']}"}} for one in those]
        return document(dossier, anna, relatesTo=named)

    answer = anna.post("DocumentReference", replacing(first, other))
    assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, ["DocumentReference.relatesTo"])
    assert anna.post("DocumentReference", replacing(first)).status_code == 201


@pytest.mark.parametrize("by", ["its author", "who sees it"])
def test_what_a_withdrawn_document_had_replaced_is_brought_back_by_whoever_may_replace_it(world, by):
    """That a document was replaced is an act on that document, told to whoever sees it, until somebody takes the act back."""
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    made = world.deposit(dossier, anna)
    after = world.deposit(dossier, anna, relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{made['id']}"}}])

    def become(value: str) -> list[dict]:
        return [{"op": "replace", "path": "/status", "value": value}]

    assert anna.patch(f"DocumentReference/{after['id']}", become("entered-in-error")).status_code == 200
    assert listed(team, dossier, "DocumentReference", status="current") == []
    assert [one["id"] for one in listed(team, dossier, "DocumentReference", status="superseded")] == [made["id"]]
    stranger, who = world.professional(), anna if by == "its author" else team
    assert stranger.patch(f"DocumentReference/{made['id']}", become("current")).status_code == 404
    assert who.patch(f"DocumentReference/{made['id']}", become("current")).status_code == 200
    assert [one["id"] for one in listed(team, dossier, "DocumentReference", status="current")] == [made["id"]]


def test_a_label_stands_on_a_document_and_nowhere_else(world):
    dossier, anna = world.open(), world.professional()
    security = {"meta": {"security": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}
    for value in (document(dossier, anna), observed(dossier, "vital-signs")):
        kind = value["resourceType"]
        answer = anna.post(kind, {**value, **security})
        assert (answer.status_code, answer.json()["issue"][0]["expression"]) == (422, [f"{kind}.meta.security"])


def test_a_structure_lists_what_it_deposited_before(world):
    dossier, structure = world.open(), world.structure()
    author = world.professional(organization=structure.organization)
    (first,) = stored(structure.post("", submission(dossier, author, document(dossier, author))), "DocumentReference")
    bundle = submission(dossier, author, document(dossier, author))
    (lists,) = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "List"]
    lists["entry"].append({"item": {"reference": f"DocumentReference/{first}"}})
    assert len(stored(structure.post("", bundle), "List")) == 1


def test_a_mask_names_what_it_hides(world):
    """What belongs to a document is masked with that; a mask that hid nothing would be acknowledged for nothing."""
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    answer = anna.post("", around(dossier, submission(dossier, anna, document(dossier, anna))))
    alone = world.write(anna, observed(dossier, "vital-signs"))["id"]
    named = [f"{name}/{stored(answer, name)[0]}" for name in ("Binary", "List", "Encounter")]
    for reference in (*named, "DocumentReference?identifier=x", "http://elsewhere.test/fhir/DocumentReference/x"):
        data = [{"meaning": "instance", "reference": {"reference": reference}}]
        assert world.holder(dossier).post("Consent", consent(dossier, "mask", data=data)).status_code == 422, reference
    for reference in (f"Observation/{alone}", f"DocumentReference/{stored(answer, 'DocumentReference')[0]}"):
        world.consent(dossier, "mask", data=[{"meaning": "instance", "reference": {"reference": reference}}])
        assert team.get(reference).status_code == 404
    assert team.get(named[2]).status_code == 404


def test_the_trace_of_a_label_tells_its_author_of_no_mask(world):
    dossier, anna = world.open(), world.professional()
    found = []
    for masked in (True, False):
        id = world.deposit(dossier, anna)["id"]
        if masked:
            assert world.holder(dossier).patch(f"DocumentReference/{id}", MASK).status_code == 200
        hide = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}]}}]
        assert anna.patch(f"DocumentReference/{id}", hide).status_code == 200
        (trace,) = listed(anna, dossier, "AuditEvent", entity=f"DocumentReference/{id}", subtype="mask")
        found.append([detail for entity in trace["entity"] for detail in entity.get("detail", ())])
    assert found[0] == found[1] and [one["valueString"] for one in found[0]] == ["none", "INVISIBLE_PATIENT"]


@pytest.mark.parametrize(
    ("name", "element", "system"),
    [
        ("Condition", "verificationStatus", "http://terminology.hl7.org/CodeSystem/condition-ver-status"),
        ("AllergyIntolerance", "verificationStatus", "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"),
        ("Goal", "lifecycleStatus", None),
    ],
)
def test_what_has_no_status_is_withdrawn_by_the_element_that_says_so(world, name, element, system):
    """https://hl7.org/fhir/R4/condition.html con-5, allergyintolerance.html ait-2, goal.html"""
    dossier, anna, team = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", team)
    person = "subject" if name != "AllergyIntolerance" else "patient"
    made = {"resourceType": name, person: {"reference": dossier.path}}
    made |= {"lifecycleStatus": "active", "description": {"text": "to walk"}} if name == "Goal" else {"code": {"text": "pollen"}}
    if name != "Goal":
        clinical = "condition-clinical" if name == "Condition" else "allergyintolerance-clinical"
        active = {"system": f"http://terminology.hl7.org/CodeSystem/{clinical}", "code": "active"}
        made |= {"clinicalStatus": {"coding": [active]}}
    bundle = submission(dossier, anna, document(dossier, anna))
    bundle["entry"].append(posted(made, f"{URN}e1"))
    (id,) = stored(anna.post("", bundle), name)
    assert team.get(f"{name}/{id}").status_code == 200
    wrong = "entered-in-error" if system is None else {"coding": [{"system": system, "code": "entered-in-error"}]}
    withdrawn = {key: value for key, value in anna.get(f"{name}/{id}").json().items() if key != "clinicalStatus"}
    assert anna.put(f"{name}/{id}", {**withdrawn, element: wrong}).status_code == 200
    assert team.get(f"{name}/{id}").status_code == 404 and listed(team, dossier, name) == []
    assert anna.get(f"{name}/{id}").status_code == 200
