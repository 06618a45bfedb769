"""Deposits: ITI-65, ITI-105, replacement; what a deposit fixes, what it refuses. https://interop.esante.gouv.fr/ig/fhir/pdsm/"""

import base64
import json

import pytest

from tests.access.world import INS, LABORATORY, REIMBURSEMENT, VISIBILITY, document, listed, new_ins, refused

TRE_A05 = "https://mos.esante.gouv.fr/NOS/TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire"
FUND = {"identifier": {"system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1750000099"}}
LISTS = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
SUPERSEDE = [
    {"name": "type", "valueCode": "replace"},
    {"name": "path", "valueString": "DocumentReference.status"},
    {"name": "value", "valueCode": "superseded"},
]


def submission(dossier, by, *documents: dict, more: tuple[dict, ...] = ()) -> dict:
    """An ITI-65 transaction: the submission set, documents with their contents, further entries."""
    entries = []
    for place, value in enumerate(documents):
        content = f"urn:uuid:00000000-0000-4000-8000-00000000b{place:03d}"
        data = value["content"][0]["attachment"]["data"]
        value = {**value, "content": [{"attachment": {"contentType": "text/plain", "url": content}}]}
        entries.append(posted(value, f"urn:uuid:00000000-0000-4000-8000-00000000d{place:03d}"))
        entries.append(posted({"resourceType": "Binary", "contentType": "text/plain", "data": data}, content))
    items = [{"item": {"reference": one["fullUrl"]}} for one in entries[::2]]
    named = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": LISTS, "code": "submissionset"}]},
        "subject": {"reference": dossier.path},
        "date": "2026-11-20T10:00:00Z",
        "source": by.reference,
        "entry": items,
    }
    first = posted(named, "urn:uuid:00000000-0000-4000-8000-00000000a000")
    return {"resourceType": "Bundle", "type": "transaction", "entry": [first, *entries, *more]}


def posted(value: dict, url: str) -> dict:
    return {"fullUrl": url, "resource": value, "request": {"method": "POST", "url": value["resourceType"]}}


def stored(answer, type_name: str) -> list[str]:
    """Logical ids of what a transaction stored of a type."""
    assert answer.status_code == 200, answer.text
    places = [entry["response"]["location"].split("/fhir/")[1].split("/") for entry in answer.json()["entry"]]
    return [place[1] for place in places if place[0] == type_name]


def test_a_transaction_deposits_a_document_with_its_content_and_list(world):
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    answer = anna.post("", submission(dossier, anna, document(dossier, anna, text="bonjour")))
    (id,) = stored(answer, "DocumentReference")
    found = holder.get(f"DocumentReference/{id}").json()
    assert found["custodian"]["identifier"]["value"] == f"1{anna.organization}"
    assert holder.get(found["content"][0]["attachment"]["url"]).content.startswith(b"bonjour")
    (named,) = listed(holder, dossier, "List")
    assert named["entry"][0]["item"]["reference"] == f"DocumentReference/{id}"


def test_a_list_is_shown_as_soon_as_one_of_its_documents_is(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    answer = anna.post("", submission(dossier, anna, document(dossier, anna), document(dossier, anna)))
    first, second = stored(answer, "DocumentReference")
    holder, mask = world.holder(dossier), {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
    assert len(listed(nora, dossier, "List")[0]["entry"]) == 2
    holder.patch(f"DocumentReference/{first}", [{"op": "add", "path": "/securityLabel/-", "value": mask}])
    (named,) = listed(nora, dossier, "List")
    assert [entry["item"]["reference"] for entry in named["entry"]] == [f"DocumentReference/{second}"]
    holder.patch(f"DocumentReference/{second}", [{"op": "add", "path": "/securityLabel/-", "value": mask}])
    assert listed(nora, dossier, "List") == []
    assert nora.get(f"List/{named['id']}").status_code == 404
    assert len(listed(holder, dossier, "List")[0]["entry"]) == 2


@pytest.mark.parametrize("patched", [False, True])
def test_a_new_version_supersedes_and_inherits_the_mask(world, patched):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    old = world.deposit(dossier, anna)
    mask = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
    world.holder(dossier).patch(f"DocumentReference/{old['id']}", mask)
    target = {"reference": f"DocumentReference/{old['id']}"}
    new = document(dossier, anna, relatesTo=[{"code": "replaces", "target": target}])
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": SUPERSEDE}]}
    entry = {"fullUrl": "urn:uuid:00000000-0000-4000-8000-00000000f000", "resource": parameters}
    more = ({**entry, "request": {"method": "PATCH", "url": target["reference"]}},) if patched else ()
    (id,) = stored(anna.post("", submission(dossier, anna, new, more=more)), "DocumentReference")[: 1 if not patched else None][:1]
    assert anna.get(f"DocumentReference/{old['id']}").json()["status"] == "superseded"
    assert nora.get(f"DocumentReference/{id}").status_code == 404
    assert "MASQUE_PS" in world.holder(dossier).get(f"DocumentReference/{id}").text


def test_an_absent_status_means_current(world):
    dossier, anna = world.open(), world.professional()
    old = world.deposit(dossier, anna)
    target = {"reference": f"DocumentReference/{old['id']}"}
    new = world.deposit(dossier, anna, relatesTo=[{"code": "replaces", "target": target}])
    assert [one["id"] for one in listed(anna, dossier, "DocumentReference")] == [new["id"]]
    assert [one["id"] for one in listed(anna, dossier, "DocumentReference", status="superseded")] == [old["id"]]


def test_a_hidden_document_is_replaced_no_more_than_an_absent_one(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    hidden = world.deposit(dossier, anna, labels=("MASQUE_PS",))
    answers = []
    for id in (hidden["id"], "nobodyatallnobodyatallnobo"):
        related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{id}"}}]
        answers.append(nora.post("DocumentReference", document(dossier, nora, relatesTo=related)))
    assert [one.status_code for one in answers] == [422, 422] and answers[0].content == answers[1].content


def test_who_sends_is_among_the_authors_unless_a_structure_answers_for_him(world):
    dossier, anna, other = world.open(), world.professional(), world.professional()
    assert anna.post("DocumentReference", document(dossier, other)).status_code == 422
    named = world.again(anna, auth_mode="AIR")
    assert named.post("DocumentReference", document(dossier, other)).status_code == 201


def test_the_matrix_says_who_writes_what(world):
    dossier, anna = world.open(), world.professional(specialty="SM54")
    assert anna.post("DocumentReference", document(dossier, anna, type=LABORATORY)).status_code == 403


@pytest.mark.parametrize("age", [50, 9])
def test_whom_a_professional_names_beside_himself_withdraws_nothing(world, age):
    anna = world.professional()
    dossier = world.open(age=age, people=("MTH",) if age < 18 else (), traitant=anna)
    theirs = world.representative(dossier) if age < 18 else world.holder(dossier)
    beside = {"reference": dossier.path} if age > 18 else {"type": "RelatedPerson", "display": "sa mère"}
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    clinic = world.structure(anna.organization)
    for by in (anna, clinic):
        paper = by.post("DocumentReference", document(dossier, anna, author=[anna.reference, beside])).json()
        assert theirs.patch(f"DocumentReference/{paper['id']}", gone).status_code == 403
        assert anna.get(f"DocumentReference/{paper['id']}").json()["status"] == "current"
        assert anna.patch(f"DocumentReference/{paper['id']}", gone).status_code == 200


def test_a_certificate_deposits_and_reads_nothing(world):
    dossier, author, hospital = world.open(), world.professional(), world.structure()
    made = hospital.post("DocumentReference", document(dossier, author))
    assert made.status_code == 201
    assert hospital.get(f"DocumentReference/{made.json()['id']}").status_code == 404
    assert hospital.get(f"DocumentReference?patient={dossier.id}").status_code == 403


def test_nothing_is_deposited_without_a_dossier(world):
    anna, dossier = world.professional(), world.open()
    nobody = {**document(dossier, anna), "subject": {"reference": "Patient/nobodyatallnobodyatallnobo"}}
    assert anna.post("DocumentReference", nobody).status_code == 403
    assert (
        anna.post("Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(b"x").decode()}).status_code
        == 405
    )


def test_a_deposit_in_two_dossiers_is_none(world):
    one, two, anna = world.open(), world.open(), world.professional()
    answer = anna.post("", submission(one, anna, document(one, anna), document(two, anna)))
    assert answer.status_code in (403, 422)
    assert listed(world.holder(one), one, "DocumentReference") == []


def test_a_document_points_to_its_own_content_alone(world):
    dossier, author, other = world.open(), world.professional(), world.professional()
    url = world.deposit(dossier, author)["content"][0]["attachment"]["url"]
    for named in (url, "Binary/nobodyatallnobodyatallnobo", "urn:uuid:00000000-0000-4000-8000-00000000ffff"):
        value = {**document(dossier, other), "content": [{"attachment": {"contentType": "text/plain", "url": named}}]}
        assert other.post("DocumentReference", value).status_code == 422
        assert other.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [posted(value, "urn:uuid:0")]}).status_code in (
            400,
            422,
        )
    assert author.get(url).status_code == 200


def test_a_document_made_of_several_is_not_kept_for_others(world):
    dossier, anna = world.open(), world.professional()
    assert anna.get("Composition/nobodyatallnobodyatallnobo/$document?persist=true").status_code == 400
    assert anna.get("Composition/nobodyatallnobodyatallnobo/$document").status_code == 404
    assert anna.delete(f"Consent/{dossier.id}").headers["allow"] == "GET, HEAD, PUT, PATCH"


@pytest.mark.parametrize(
    "wrong", [{"masterIdentifier": [{"coding": None}]}, {"content": [{"attachment": "x"}]}, {"securityLabel": "N"}, {"relatesTo": [None]}]
)
def test_what_is_no_document_is_told_in_a_transaction_too(world, wrong):
    dossier, anna = world.open(), world.professional()
    value = {**document(dossier, anna), **wrong}
    answer = anna.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [posted(value, "urn:uuid:0")]})
    assert answer.status_code == 422 and answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[0].resource"), answer.text


def test_what_is_no_document_is_replaced_in_place_by_its_author_alone(world):
    anna, bob = world.professional(), world.professional()
    dossier = world.open(traitant=bob)
    code = {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]}
    made = world.write(anna, {"resourceType": "Observation", "status": "final", "code": code, "subject": {"reference": dossier.path}})
    changed = {**made, "status": "amended"}
    assert bob.get(f"Observation/{made['id']}").status_code == 200
    assert bob.put(f"Observation/{made['id']}", changed).status_code == 403
    assert anna.put(f"Observation/{made['id']}", changed).status_code == 200


def test_a_certificate_replaces_its_own_and_finds_nothing_else(world):
    dossier, anna, hospital = world.open(), world.professional(), world.structure()
    answers = []
    for id in (world.deposit(dossier, anna)["id"], "nobodyatallnobodyatallnobo"):
        related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{id}"}}]
        answers.append(hospital.post("DocumentReference", document(dossier, anna, relatesTo=related)))
    assert [one.status_code for one in answers] == [422, 422] and answers[0].content == answers[1].content
    own = hospital.post("DocumentReference", document(dossier, anna)).json()
    related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{own['id']}"}}]
    assert hospital.post("DocumentReference", document(dossier, anna, relatesTo=related)).status_code == 201


def test_the_feed_learns_nothing_by_references(world):
    """It reads nothing, and no structure of its own is told of it: whatever it refers to is absent."""
    anna, dossier = world.professional(), world.open()
    other = world.open()
    theirs = [
        world.deposit(dossier, anna)["id"],
        world.deposit(dossier, anna, labels=("MASQUE_PS",))["id"],
        world.deposit(other, anna)["id"],
    ]
    history = {"type": {"coding": [{"system": TRE_A05, "code": REIMBURSEMENT}]}}
    feed = world.feed()

    def sent(id: str):
        leading = {"related": [{"reference": f"DocumentReference/{id}"}]}
        return feed.post("DocumentReference", document(dossier, feed, author=[FUND], context=leading) | history)

    own = feed.post("DocumentReference", document(dossier, feed, author=[FUND]) | history)
    assert own.status_code == 201, own.text
    theirs.append(own.json()["id"])
    absent = sent("b" * 26)
    assert absent.status_code == 422
    for id in theirs:
        answer = sent(id)
        assert (answer.status_code, answer.text.replace(id, "b" * 26)) == (422, absent.text)


@pytest.mark.parametrize("claimed", [None, "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.ProvideBundle"])
def test_a_deposit_as_a_whole_follows_iti_65(world, claimed):
    """Two submission sets, or none where the transaction says that it is a deposit; told to those who may deposit."""
    dossier, anna = world.open(), world.professional()
    whole = submission(dossier, anna, document(dossier, anna))
    lot = posted(whole["entry"][0]["resource"], "urn:uuid:00000000-0000-4000-8000-00000000a001")
    broken = {**whole, "entry": [*whole["entry"], lot]} if claimed is None else {**whole, "entry": whole["entry"][1:]}
    meta = {"meta": {"profile": [claimed]}} if claimed else {}
    answer = anna.post("", {**broken, **meta})
    assert answer.status_code == 422 and "(dmp-iti65-1)" in answer.text, answer.text
    assert refused(world.professional(profession="99").post("", {**broken, **meta}))
    assert stored(anna.post("", {**whole, **meta}), "DocumentReference")
    if claimed:  # which a transaction that says nothing need not be
        assert stored(anna.post("", broken), "DocumentReference")


def test_a_deposit_may_name_the_holder_by_a_search_for_his_ins(world):
    """To feed a dossier nobody needs to read it; who has none, and whose dossier is closed, get the same refusal."""
    dossier, closed, doctor = world.open(), world.open(), world.professional()
    world.holder(closed).run(f"{closed.path}/$close", reason="holder-request")

    def both(asker, ins: str) -> list:
        value = {**document(dossier, asker), "context": {"sourcePatientInfo": {"reference": dossier.path}}}
        made = (("DocumentReference", value), ("", submission(dossier, doctor, value)))
        search = f"Patient?identifier={INS}|{ins}"
        return [asker.post(path, json.loads(json.dumps(each).replace(dossier.path, search))) for path, each in made]

    for asker in (doctor, world.structure()):
        alone, together = both(asker, dossier.ins)
        assert (alone.status_code, together.status_code) == (201, 200), (alone.text, together.text)
        answers = [answer for ins in (new_ins(), closed.ins, "12") for answer in both(asker, ins)]
        assert {(answer.status_code, answer.content) for answer in answers} == {(403, answers[0].content)}
    value = {**document(dossier, doctor), "subject": {"reference": f"Patient?identifier={INS}"}}
    assert doctor.post("DocumentReference", value).status_code == 403
    seen = listed(world.holder(dossier), dossier, "DocumentReference")
    assert len(seen) == 4
    assert {one["subject"]["reference"] for one in seen} | {one["context"]["sourcePatientInfo"]["reference"] for one in seen} == {
        dossier.path
    }


@pytest.mark.parametrize("form", ["/{}", "{base}//{}", "{base}/x/../{}", "{base}/{}?x=y"])
def test_a_reference_that_nobody_would_resolve_is_refused(world, form):
    """It would be shown to whom what it means is hidden from, and found by nobody."""
    anna = world.professional()
    dossier = world.open(traitant=anna)
    there = f"DocumentReference/{world.deposit(dossier, anna)['id']}"
    text = form.format(there, base=anna.base)
    answer = anna.post("DocumentReference", document(dossier, anna, context={"related": [{"reference": text}]}))
    issue, place = answer.json()["issue"][0], "DocumentReference.context.related[0]"
    assert (answer.status_code, issue["code"], issue["expression"]) == (422, "invalid", [place]), answer.text
