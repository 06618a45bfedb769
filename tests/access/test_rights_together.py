"""Acts on rights in a transaction: the same rules as alone, all or nothing. https://hl7.org/fhir/R4/http.html#trules"""

import pytest

from tests.access.test_deposits import posted
from tests.access.test_findings import places
from tests.access.test_masks import ADD, labels
from tests.access.test_told_together import changing
from tests.access.world import LABORATORY, care_team, category, consent, day, document, listed, parameters, refused, related
from tests.interactions.making import bundle

URN = "urn:uuid:00000000-0000-4000-8000-00000000c{:03d}"


def together(asker, *resources: dict):
    """Create these, each under URN of its place."""
    return asker.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry(n, one) for n, one in enumerate(resources)]})


def entry(number: int, resource: dict) -> dict:
    if "id" in resource:
        address = f"{resource['resourceType']}/{resource['id']}"
        return {"fullUrl": f"http://x.example/{address}", "resource": resource, "request": {"method": "PUT", "url": address}}
    return posted(resource, URN.format(number))


def statuses(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["response"]["status"][:3] for one in answer.json()["entry"]]


def consents(world, dossier) -> list[str]:
    return sorted(category(one) for one in listed(world.holder(dossier), dossier, "Consent"))


def test_a_person_her_mandate_and_rights_come_together(world):
    """The Consent names the RelatedPerson by her place in the Bundle, and comes before her."""
    dossier, anna, bob = world.open(), world.professional(), world.professional()
    id = world.deposit(dossier, bob)["id"]
    mandate = consent(dossier, "mandate", {"reference": URN.format(1)}, period={"start": day(days=-1), "end": day(days=90)})
    person = related("NOK", patient={"reference": dossier.path})
    answer = together(world.holder(dossier), mandate, person, consent(dossier, "access", anna), care_team(dossier, bob))
    assert statuses(answer) == ["201"] * 4
    made = answer.json()["entry"][1]["response"]["location"].split("/")[-3]
    assert world.holder(dossier).get(f"RelatedPerson/{made}").status_code == 200
    assert [one.get(f"DocumentReference/{id}").status_code for one in (anna, bob)] == [200, 200]
    world.consent(dossier, "block", anna, by=world.mandataire(dossier, made))
    assert anna.get(f"DocumentReference/{id}").status_code == 404
    told = [one for one in listed(world.holder(dossier), dossier, "AuditEvent") if made in str(one["entity"])]
    assert told


def test_one_act_that_is_refused_refuses_all(world):
    dossier, anna, other = world.open(), world.professional(), world.professional()
    before = consents(world, dossier)
    holder, stranger = world.holder(dossier), world.professional()
    wrong = {**consent(dossier, "access", other), "performer": [{"reference": "Patient/" + "b" * 26}]}
    answer = together(holder, consent(dossier, "access", anna), wrong)
    assert answer.status_code == 422 and places(answer) == ["Bundle.entry[1].resource.performer[0]"]
    assert refused(together(stranger, consent(dossier, "block", other)))
    # A deposit that is refused takes the right with it that was given before.
    assert refused(together(holder, consent(dossier, "access", anna), document(dossier, holder, type=LABORATORY)))
    assert consents(world, dossier) == before and refused(anna.get(dossier.path))


def test_acts_go_one_after_the_other(world):
    """A block and the declaration of whom it blocks never meet, in whatever order they are sent."""
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    declared = {**holder.get(dossier.path).json(), "generalPractitioner": [anna.reference]}
    for resources in ((declared, consent(dossier, "block", anna)), (consent(dossier, "block", anna), declared)):
        assert together(holder, *resources).status_code == 409
    assert "generalPractitioner" not in holder.get(dossier.path).json() and "block" not in consents(world, dossier)
    assert statuses(together(holder, declared)) == ["200"]
    assert anna.get(dossier.path).status_code == 200


def test_what_is_deposited_with_rights_is_decided_by_them(world):
    """The holder gives a right and writes into his personal space, in one request."""
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    answer = together(holder, consent(dossier, "access", anna), posted_document(dossier, holder)[0], posted_document(dossier, holder)[1])
    assert statuses(answer) == ["201"] * 3
    assert anna.get(answer.json()["entry"][1]["response"]["location"].split("/_history")[0].partition("/fhir/")[2]).status_code == 200


def posted_document(dossier, holder) -> tuple[dict, dict]:
    value = document(dossier, holder, type="EXPPAT_2")
    coding = {
        "system": "https://mos.esante.gouv.fr/NOS/TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire",
        "code": "EXPPAT_2",
    }
    data = value["content"][0]["attachment"]["data"]
    value |= {"type": {"coding": [coding]}, "content": [{"attachment": {"contentType": "text/plain", "url": URN.format(2)}}]}
    return value, {"resourceType": "Binary", "contentType": "text/plain", "data": data}


@pytest.mark.parametrize(("method", "type_name"), [("DELETE", "Consent"), ("POST", "Patient"), ("POST", "Communication")])
def test_what_is_never_done_alone_is_not_done_together(world, method, type_name):
    dossier = world.open()
    holder = world.holder(dossier)
    if method == "DELETE":
        found = listed(holder, dossier, "Consent")[0]
        one = {"request": {"method": "DELETE", "url": f"Consent/{found['id']}"}}
    elif type_name == "Patient":
        one = posted({"resourceType": "Patient"}, URN.format(0))
    else:
        one = posted({"resourceType": "Communication", "status": "completed", "subject": {"reference": dossier.path}}, URN.format(0))
    assert holder.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [one]}).status_code == 405


def test_a_right_is_revoked_by_a_patch_among_others(world):
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    made = world.consent(dossier, "access", anna)
    part = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Consent.status"},
        {"name": "value", "valueCode": "inactive"},
    ]
    revoking = parameters()
    revoking["parameter"] = [{"name": "operation", "part": part}]
    one = {
        "resource": revoking,
        "request": {"method": "PATCH", "url": f"Consent/{made['id']}", "ifMatch": 'W/"' + made["meta"]["versionId"] + '"'},
    }
    assert anna.get(dossier.path).status_code == 200
    assert statuses(holder.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [one]})) == ["200"]
    assert refused(anna.get(dossier.path))


@pytest.mark.parametrize("category_", ["block", "access", "emergency-masked"])
def test_a_document_is_masked_together_with_an_act_on_rights(world, category_):
    """In either order: the mask is decided by what the act left."""
    dossier, anna, bob = world.open(), world.professional(), world.professional()
    holder = world.holder(dossier)
    world.consent(dossier, "access", anna)
    about = (bob,) if category_ in ("block", "access") else ()
    for turn in (1, -1):
        id = world.deposit(dossier, world.professional())["id"]
        both = [posted(consent(dossier, category_, *about), URN.format(1)), changing(2, f"DocumentReference/{id}", ADD)]
        assert statuses(holder.post("", bundle("transaction", *both[::turn])))[both[::turn].index(both[0])] == "201"
        assert anna.get(f"DocumentReference/{id}").status_code == 404 and labels(holder, {"id": id}) == ["N", "MASQUE_PS"]


READS = ("Consent/_search?patient={id}", "CareTeam/_search?patient={id}", "Patient/_search?_id={id}", "Communication/_search?patient={id}")
ASKED = ("everything", "summary", "access-list", "access-journal")
ACTS = {"access-sheet": {}, "close": {"reason": "holder-request"}, "reactivate": {}, "break-glass": {"justification": "coma"}}


def asked(by, url: str, kind: str = "transaction", **given: object):
    entry = {"request": {"method": "POST", "url": url}, **({"resource": parameters(**given)} if "$" in url else {})}
    return by.post("", {"resourceType": "Bundle", "type": kind, "entry": [entry]})


def test_what_is_asked_by_post_in_a_transaction_is_no_act_on_rights(world):
    dossier = world.open()
    holder = world.holder(dossier)
    for url in (*(one.format(id=dossier.id) for one in READS), *(f"{dossier.path}/${name}" for name in ASKED)):
        answers = [asked(holder, url, kind) for kind in ("batch", "transaction")]
        assert [statuses(one) for one in answers] == [["200"]] * 2, url
        sizes = [len(one.json()["entry"][0]["resource"].get("entry", ())) for one in answers]
        assert sizes[0] == sizes[1], url


@pytest.mark.parametrize("name", ACTS)
def test_an_operation_that_acts_is_no_part_of_a_transaction(world, name):
    """It would have happened though the transaction failed afterwards."""
    dossier = world.open()
    by = world.professional() if name == "break-glass" else world.holder(dossier)
    answer = asked(by, f"{dossier.path}/${name}", **ACTS[name])
    assert answer.status_code == 400 and f"`${name}` is asked for by a request of its own" in answer.text, answer.text
    assert world.holder(dossier).get(dossier.path).json()["active"] is True
