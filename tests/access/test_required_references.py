"""What R4 requires and the asker does not see is told as unknown: the same whatever it was. Access rules, section 6"""

import re

import pytest

from tests.access.test_deposits import posted, stored, submission
from tests.access.world import LOINC, document, listed

CODE = {"coding": [{"system": LOINC, "code": "8867-4"}]}
UNKNOWN = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


def urn(number: int) -> str:
    return f"urn:uuid:00000000-0000-4000-8000-00000000c{number:03d}"


def observation(dossier, **fields) -> dict:
    return {"resourceType": "Observation", "status": "final", "code": CODE, "subject": {"reference": dossier.path}, **fields}


def provenance(dossier, by, *targets: str) -> dict:
    said = {
        "target": [{"reference": one} for one in (*targets, dossier.path)],
        "recorded": "2026-11-20T10:00:00Z",
        "agent": [{"who": by.reference}],
    }
    return {"resourceType": "Provenance", **said}


def withdraw(by, address: str) -> None:
    value = by.get(address).json()
    answer = by.put(address, {**value, "status": "entered-in-error"})
    assert answer.status_code == 200, answer.text


@pytest.fixture
def scene(world):
    """(dossier, anna, who writes, bruno, who has written one of the documents with her, their reference)."""
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna, people=("MTH", "FTH"))
    return dossier, anna, bruno, f"RelatedPerson/{dossier.people['MTH']}"


def coverage(dossier, *payors: dict) -> dict:
    return {"resourceType": "Coverage", "status": "active", "beneficiary": {"reference": dossier.path}, "payor": list(payors)}


def written_together(world, scene, *payors: dict) -> str:
    """The Coverage that comes with a document of two authors."""
    dossier, anna, bruno, _ = scene
    both = document(dossier, anna, author=[anna.reference, bruno.reference])
    answer = anna.post("", submission(dossier, anna, both, more=(posted(coverage(dossier, *payors), urn(1)),)))
    (id,) = stored(answer, "Coverage")
    return f"Coverage/{id}"


def test_whom_a_coverage_names_is_told_to_nobody_who_does_not_see_him(world, scene):
    dossier, anna, bruno, mother = scene
    where = written_together(world, scene, {"reference": mother, "display": "Odile"})
    assert bruno.get(mother).status_code == 404
    seen = bruno.get(where)
    assert seen.status_code == 200 and seen.json()["payor"] == [UNKNOWN] and mother not in seen.text
    assert anna.get(where).json()["payor"] == [{"reference": mother, "display": "Odile"}]
    for path in (f"Coverage?patient={dossier.id}", f"{where}/_history", f"Patient/{dossier.id}/$everything"):
        assert mother not in bruno.get(path).text
    assert bruno.post("Coverage/$validate", seen.json()).status_code == 200


def test_what_is_left_of_several_is_all_that_is_told(world, scene):
    _, anna, bruno, mother = scene
    where = written_together(world, scene, {"reference": mother}, anna.reference | {"type": "Organization"})
    assert bruno.get(where).json()["payor"] == [anna.reference | {"type": "Organization"}]


@pytest.mark.parametrize("criterion", ["payor={}", "payor:RelatedPerson={}", "payor:RelatedPerson.name=quatremere", "payor.active=true"])
def test_no_search_tells_whom_it_names(world, scene, criterion):
    dossier, anna, bruno, mother = scene
    written_together(world, scene, {"reference": mother})
    path = f"Coverage?patient={dossier.id}&{criterion.format(mother.partition('/')[2] if ':' in criterion else mother)}"
    assert anna.get(path).json()["total"] == 1
    answer = bruno.get(path)
    assert answer.status_code == 200 and answer.json()["total"] == 0, answer.text


def test_no_order_and_no_include_tells_whom_it_names(world, scene):
    dossier, _, bruno, mother = scene
    father = f"RelatedPerson/{dossier.people['FTH']}"
    payors = ({"reference": mother}, UNKNOWN, {"reference": father}, UNKNOWN)
    ids = sorted(written_together(world, scene, one).partition("/")[2] for one in payors)
    for order in ("payor", "-payor"):  # what is the same goes by its id
        entries = bruno.get(f"Coverage?patient={dossier.id}&_sort={order}").json()["entry"]
        assert [one["resource"]["id"] for one in entries] == ids
    included = bruno.get(f"Coverage?patient={dossier.id}&_include=Coverage:payor&_include=*").json()["entry"]
    assert not any(one["resource"]["resourceType"] == "RelatedPerson" for one in included)


INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+\d\d:\d\d)")


def told(asker, dossier, address: str) -> list[tuple]:
    """Everything that is answered about a Coverage, its own names and instants left out."""
    kind, id = address.split("/")
    version = asker.get(address).json()["meta"]["versionId"]
    where = f"{kind}?patient={dossier.id}&_id={id}"
    searches = (
        "",
        "&payor:missing=true",
        "&payor:missing=false",
        "&payor=RelatedPerson/x",
        "&_content=odile",
        "&_text=odile",
        "&_sort=payor",
    )
    searches += ("&_include=*", "&_elements=payor", "&_summary=true", "&_summary=count", "&payor:RelatedPerson.name=odile")
    below = ("", "?_elements=payor", "?_summary=data", "/_history", f"/_history/{version}", "/$meta", "/$verify", "/$validate")
    answers = [asker.get(f"{address}{path}") for path in below] + [asker.get(f"{where}{more}") for more in searches]
    shown = asker.get(address).json()
    answers += [asker.get(address, if_none_match=f'W/"{version}"'), asker.patch(address, []), asker.get(f"Provenance?target={address}")]
    answers += [asker.put(address, {**shown, "dependent": "1"}), asker.get(address)]
    found = []
    for one in answers:
        if one.request.method == "PUT":
            version += f"|{one.json()['meta']['versionId']}"
        text = re.sub(f"{id}|{version}", "-", INSTANT.sub("-", one.text))
        headers = {
            name: re.sub(f"{id}|{version}", "-", one.headers.get(name, "")) for name in ("etag", "location", "allow", "content-type")
        }
        found.append((one.status_code, headers, text))
    return found


def test_what_is_not_shown_is_told_as_what_nobody_knew(world, scene):
    """It is the same, octet by octet, in whatever is asked: that there is something hidden no answer tells."""
    dossier, _, bruno, mother = scene
    hidden, unknown = (written_together(world, scene, one) for one in ({"reference": mother, "display": "Odile"}, UNKNOWN))
    for one, other in zip(told(bruno, dossier, hidden), told(bruno, dossier, unknown), strict=True):
        assert one == other


def test_a_provenance_tells_nothing_of_what_was_withdrawn(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    more = (
        posted(observation(dossier), urn(1)),
        posted(provenance(dossier, bruno, urn(1)), urn(2)),
        posted(provenance(dossier, anna, urn(1)), urn(3)),
    )
    answer = anna.post("", submission(dossier, anna, document(dossier, anna), more=more))
    (gone,) = stored(answer, "Observation")
    withdraw(anna, f"Observation/{gone}")
    assert bruno.get(f"Observation/{gone}").status_code == 404
    for path in (
        f"Provenance?patient={dossier.id}",
        f"Patient/{dossier.id}/$everything",
        f"DocumentReference?patient={dossier.id}&_revinclude=*",
    ):
        assert gone not in bruno.get(path).text
    for id in stored(answer, "Provenance"):
        assert gone not in bruno.get(f"Provenance/{id}").text
    assert bruno.get(f"Provenance?patient={dossier.id}&target=Observation/{gone}").json()["total"] == 0


def test_a_manifest_tells_nothing_of_what_was_withdrawn(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    manifest = {"resourceType": "DocumentManifest", "status": "current", "subject": {"reference": dossier.path}}
    more = (posted(observation(dossier), urn(1)), posted({**manifest, "content": [{"reference": urn(1)}]}, urn(2)))
    answer = anna.post("", submission(dossier, anna, document(dossier, anna), more=more))
    (gone,), (id,) = stored(answer, "Observation"), stored(answer, "DocumentManifest")
    withdraw(anna, f"Observation/{gone}")
    assert bruno.get(f"DocumentManifest/{id}").json()["content"] == [UNKNOWN]
    assert listed(bruno, dossier, "DocumentManifest")[0]["content"] == [UNKNOWN]


def test_who_corrects_leaves_what_is_required_and_hidden_from_him(world):
    """As `anna`, whose consent ended, sees what she wrote herself and nobody around the holder."""
    anna = world.professional()
    dossier = world.open(people=("MTH",))
    holder, mother = world.holder(dossier), f"RelatedPerson/{dossier.people['MTH']}"
    given = world.consent(dossier, "access", anna)
    where = f"Coverage/{world.write(anna, coverage(dossier, {'reference': mother}))['id']}"
    world.revoke(holder, given)
    seen = anna.get(where).json()
    assert seen["payor"] == [UNKNOWN]
    told = anna.put(where, {**seen, "policyHolder": {"reference": dossier.path}})
    assert told.status_code == 200 and told.json()["payor"] == [UNKNOWN]
    assert holder.get(where).json()["payor"] == [{"reference": mother}]
    fund = {"display": "caisse"}
    assert anna.put(where, {**seen, "payor": [fund]}).json()["payor"] == [fund]
    assert holder.get(where).json()["payor"] == [fund]
