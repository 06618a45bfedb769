"""A search finds by what somebody is shown: not by what stands beside what is taken out, not through what is contained.

Access rules, section 6; https://hl7.org/fhir/R4/search.html#chaining
"""

import pytest

from tests.access.test_deposits import posted, stored, submission
from tests.access.test_masks import ADD
from tests.access.test_written_back import CODE, observed, scene, to  # noqa: F401  a fixture
from tests.access.world import document

WITHIN = "urn:uuid:00000000-0000-4000-8000-00000000e000"
CHAINS = (
    "Observation?patient={id}&has-member:Observation.derived-from:missing=false",
    "Observation?patient={id}&has-member:Observation.derived-from:missing=false&_summary=count",
    "Observation?patient={id}&has-member.derived-from:identifier=urn:x|h",
    "Observation?patient={id}&_filter=has-member[derived-from pr true].status eq final",
    "Patient?_id={id}&_has:Observation:patient:has-member:Observation.derived-from:missing=false",
)
WHO = "https://example.org/who"
BESIDE = ("characteristic=urn:x|SECRET", "exclude=true&_summary=count", "_sort=exclude&exclude=true")


def total(by, path: str) -> int:
    answer = by.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()["total"]


def test_a_chain_through_a_contained_resource_finds_what_is_shown_of_it(world, scene):  # noqa: F811
    dossier, holder, bruno, secret, plain, anna = scene
    inner = {"resourceType": "Observation", "id": "c", "status": "final", "code": CODE, "subject": to(dossier.path)}
    named = {**inner, "derivedFrom": [to(secret, identifier={"system": "urn:x", "value": "h"})]}
    observed(world, dossier, bruno, contained=[named], hasMember=[to("#c")])
    code = f"Observation?patient={dossier.id}&has-member:Observation.code=8867-4"
    paths = [path.format(id=dossier.id) for path in CHAINS]
    assert [total(bruno, path) for path in paths] == [1] * len(paths)
    assert holder.patch(secret, ADD).status_code == 200
    assert [total(bruno, path) for path in paths] == [0] * len(paths)
    assert total(bruno, code) == total(bruno, paths[0].replace("missing=false", "missing=true")) == 1
    assert [total(anna, path) for path in paths] == [1] * len(paths)


@pytest.mark.parametrize("criteria", BESIDE)
def test_what_stands_beside_a_reference_that_is_taken_out_finds_nothing(world, scene, criteria):  # noqa: F811
    dossier, holder, bruno, secret, plain, anna = scene
    seen = observed(world, dossier, anna, derivedFrom=[to(secret)])
    said = {"code": {"coding": [{"system": "urn:x", "code": "SECRET"}]}, "valueReference": to(seen), "exclude": True}
    kept = {"code": {"text": "y"}, "valueBoolean": True, "exclude": False}
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": [{"entity": to(dossier.path)}]}
    group["characteristic"] = [said, kept]
    letter = document(dossier, anna, context={"related": [to(WITHIN)]})
    (id,) = stored(anna.post("", submission(dossier, anna, letter, more=(posted(group, WITHIN),))), "Group")
    assert holder.patch(secret, ADD).status_code == 200
    assert bruno.get(seen).status_code == 404 and bruno.get(f"Group/{id}").json()["characteristic"] == [kept]
    found = f"{dossier.path}/Group?{criteria}"
    assert (total(bruno, found), total(anna, found)) == (0, 1)
    assert total(bruno, f"{dossier.path}/Group?exclude=false") == 1


@pytest.mark.parametrize("criteria", ["", "?_type=Practitioner", "?_count=2", "?_since=2020-01-01T00:00:00Z"])
def test_who_stands_beside_a_reference_that_is_taken_out_is_not_in_everything(world, scene, criteria):  # noqa: F811
    dossier, holder, bruno, secret, plain, anna = scene
    admin = world.operator()
    one, other = (
        f"Practitioner/{world.write(admin, {'resourceType': 'Practitioner', 'name': [{'family': 'SECRET'}]})['id']}" for _ in "12"
    )
    beside, kept = ([{"url": WHO, "valueReference": to(address)}] for address in (one, other))
    entries = [{"item": to(plain), "extension": kept}, {"item": to(secret), "extension": beside}]
    subject = {"subject": to(dossier.path), "source": anna.reference}
    world.write(anna, {"resourceType": "List", "status": "current", "mode": "working", "title": "t", **subject, "entry": entries})

    def included(by) -> list[str]:
        found, next = [], f"{dossier.path}/$everything{criteria}"
        while next:
            answer = by.get(next).json()
            found += [entry["fullUrl"].split("/fhir/")[1] for entry in answer.get("entry", ()) if entry["search"]["mode"] == "include"]
            next = {link["relation"]: link["url"] for link in answer["link"]}.get("next", "")
        return [address for address in found if address in (one, other)]

    assert included(bruno) == sorted((one, other), key=included(bruno).index)
    assert holder.patch(secret, ADD).status_code == 200
    assert included(bruno) == [other]
    assert sorted(included(anna)) == sorted((one, other))


@pytest.mark.parametrize("criteria", ["item={}", "item:DocumentReference._id={id}", "_filter=item re {}", "_filter=not(item pr true)"])
def test_what_goes_with_another_reference_is_not_found_by_its_own(world, scene, criteria):  # noqa: F811
    dossier, holder, bruno, secret, plain, anna = scene
    beside = [{"url": WHO, "valueReference": to(secret)}]
    subject = {"subject": to(dossier.path), "source": anna.reference}
    entries = [{"item": to(plain), "extension": beside}]
    made = world.write(anna, {"resourceType": "List", "status": "current", "mode": "working", "title": "t", **subject, "entry": entries})
    path = f"List?patient={dossier.id}&_id={made['id']}&{criteria.format(plain, id=plain.split('/')[1])}"
    before, none = (0, 1) if "not" in criteria else (1, 0)
    listed = f"DocumentReference?patient={dossier.id}&_list={made['id']}"
    assert total(bruno, path) == before and total(bruno, listed) == 1
    assert holder.patch(secret, ADD).status_code == 200
    assert "entry" not in bruno.get(f"List/{made['id']}").json()
    assert (total(bruno, path), total(anna, path)) == (none, before)
    assert (total(bruno, listed), total(anna, listed)) == (0, 1)
