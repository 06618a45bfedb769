"""Labels make no version: of what may lead to something hidden nobody is told that it is as he had it. Access-rules 6 and 7 (I7)."""

import pytest

from tests.access.test_deposits import stored, submission
from tests.access.test_masks import ADD
from tests.access.world import document

UNMASK = [{"op": "remove", "path": "/securityLabel/1"}]


def again(asker, address: str, answer, **headers: str):
    """The same read, by who has that answer."""
    known = [{"if_none_match": answer.headers["etag"]}, {"if_modified_since": "Wed, 01 Jan 2098 00:00:00 GMT"}]
    found = [asker.get(address, **one, **headers) for one in known]
    assert {one.status_code for one in found} == {200} and len({one.content for one in found}) == 1
    return found[0]


@pytest.fixture
def lot(world):
    """(holder, addresses of two documents, of their List and of what leads to both, who sees all of it)."""
    anna, nora, dossier = world.professional(), world.professional(), world.open()
    world.consent(dossier, "access", nora)
    answer = anna.post("", submission(dossier, anna, document(dossier, anna), document(dossier, anna)))
    made = [f"DocumentReference/{id}" for id in stored(answer, "DocumentReference")]
    (listed,) = stored(answer, "List")
    return world.holder(dossier), made, f"List/{listed}", nora


def test_who_has_a_list_is_shown_it_as_it_is_now(lot):
    holder, made, address, nora = lot
    whole = nora.get(address)
    assert len(whole.json()["entry"]) == 2
    assert holder.patch(made[1], ADD).status_code == 200
    part = again(nora, address, whole)
    assert [entry["item"]["reference"] for entry in part.json()["entry"]] == made[:1]
    batch = {"resourceType": "Bundle", "type": "batch"}
    request = {"method": "GET", "url": address, "ifNoneMatch": whole.headers["etag"]}
    (entry,) = nora.post("", {**batch, "entry": [{"request": request}]}).json()["entry"]
    assert entry["response"]["status"].startswith("200") and len(entry["resource"]["entry"]) == 1
    assert holder.patch(made[1], UNMASK).status_code == 200
    assert len(again(nora, address, part).json()["entry"]) == 2


def test_who_has_a_content_as_a_resource_is_shown_it_as_it_is_now(world):
    anna, nora, dossier = world.professional(), world.professional(), world.open()
    world.consent(dossier, "access", nora)
    other = world.deposit(dossier, anna)
    sent = submission(dossier, anna, document(dossier, anna))
    (content,) = (one["resource"] for one in sent["entry"] if one["resource"]["resourceType"] == "Binary")
    content["securityContext"] = {"reference": f"DocumentReference/{other['id']}"}
    (id,) = stored(anna.post("", sent), "Binary")
    as_resource, octets = {"accept": "application/fhir+json"}, {"accept": "text/plain"}
    whole, plain = (nora.get(f"Binary/{id}", **one) for one in (as_resource, octets))
    assert "securityContext" in whole.json()
    holder = world.holder(dossier)
    assert holder.patch(f"DocumentReference/{other['id']}", ADD).status_code == 200
    assert "securityContext" not in again(nora, f"Binary/{id}", whole, **as_resource).json()
    # Octets are what they were.
    assert nora.get(f"Binary/{id}", if_none_match=plain.headers["etag"], **octets).status_code == 304


def test_what_is_answered_so_is_declared_by_type(world, lot):
    holder, made, address, nora = lot
    entry = nora.get("metadata").json()["rest"][0]["resource"]
    declared = {one["type"]: one["conditionalRead"] for one in entry}
    clinic = world.write(world.operator(), {"resourceType": "Organization", "name": "Clinique"})
    content = nora.get(made[0]).json()["content"][0]["attachment"]["url"]
    for asker, path in (
        (nora, f"Organization/{clinic['id']}"),
        (nora, content),
        (nora, made[0]),
        (nora, address),
        (holder, f"Patient/{holder.claims['patient']}"),
    ):
        accept = "text/plain" if path == content else "application/fhir+json"
        tag = asker.get(path, accept=accept).headers["etag"]
        status = asker.get(path, accept=accept, if_none_match=tag).status_code
        kind = path.rpartition("/fhir/")[2].partition("/")[0]
        assert (status, declared[kind]) in ((304, "full-support"), (200, "not-supported")), path
    assert set(declared.values()) == {"full-support", "not-supported"} and declared["Binary"] == "full-support"


def test_the_directory_is_read_as_before(world):
    nora = world.professional()
    made = world.write(world.operator(), {"resourceType": "Organization", "name": "Cabinet"})
    address = f"Organization/{made['id']}"
    tag = nora.get(address).headers["etag"]
    assert nora.get(address, if_none_match=tag).status_code == 304
