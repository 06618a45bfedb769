"""Older versions are judged by what each says itself. https://hl7.org/fhir/R4/http.html#history"""

from tests.access.world import LOINC, VISIBILITY, consent

NURSE, PSYCHIATRY, REPORT = "60", "75496-0", "11488-4"


def versions(asker, address: str) -> list[dict]:
    """Of a history, newest first; its total agrees, and each is read by itself."""
    found = asker.get(f"{address}/_history").json()
    listed = [one["resource"] for one in found.get("entry", ())]
    assert found["total"] == len(listed) == asker.get(f"{address}/_history?_summary=count").json()["total"]
    for one in listed:
        assert asker.get(f"{address}/_history/{one['meta']['versionId']}").json() == one
    pages, link = [], f"{address}/_history?_count=1"
    while link:
        page = asker.get(link).json()
        pages += [one["resource"] for one in page.get("entry", ())]
        link = next((one["url"].partition("/fhir/")[2] for one in page["link"] if one["relation"] == "next"), "")
    assert pages == listed
    return listed


def test_a_consent_is_seen_by_whom_it_names_in_the_versions_that_name_him(world):
    dossier, bob, carl = world.open(), world.professional(), world.professional()
    holder, made = world.holder(dossier), world.consent(dossier, "access", carl)
    address = f"Consent/{made['id']}"
    assert len(versions(carl, address)) == 1
    assert holder.put(address, {**consent(dossier, "access", bob), "id": made["id"]}).status_code == 200
    assert len(versions(holder, address)) == 2
    (now,) = versions(bob, address)
    assert carl.rpps not in str(now) and bob.rpps in str(now)
    first = f"{address}/_history/{made['meta']['versionId']}"
    assert bob.get(first).content == bob.get(f"{address}/_history/{'a' * 13}").content
    assert {asker.get(path).status_code for asker, path in ((bob, first), (carl, address), (carl, first))} == {404}


def test_what_was_of_a_type_that_is_not_his_is_not_in_the_history(world):
    author, nurse = world.professional(), world.professional(profession=NURSE)
    dossier = world.open(traitant=author)
    world.consent(dossier, "access", nurse)

    def report(code: str) -> dict:
        coded = {"coding": [{"system": LOINC, "code": code}]}
        return {"resourceType": "DiagnosticReport", "status": "final", "code": coded, "subject": {"reference": dossier.path}}

    made = author.post("DiagnosticReport", report(PSYCHIATRY)).json()
    address = f"DiagnosticReport/{made['id']}"
    assert nurse.get(address).status_code == 404
    assert author.put(address, {**report(REPORT), "id": made["id"]}).status_code == 200
    assert len(versions(author, address)) == 2 and len(versions(nurse, address)) == 1


def test_an_older_version_names_nothing_that_is_hidden(world):
    doctor, bob = world.professional(), world.professional()
    dossier = world.open(traitant=doctor)
    holder, hidden = world.holder(dossier), world.deposit(dossier, doctor)
    named = {"reference": f"DocumentReference/{hidden['id']}"}
    given = consent(dossier, "access", bob)
    made = holder.post("Consent", {**given, "sourceReference": named}).json()
    address = f"Consent/{made['id']}"
    assert hidden["id"] in bob.get(address).text
    patch = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
    assert holder.patch(named["reference"], patch).status_code == 200
    assert hidden["id"] not in bob.get(address).text
    assert holder.put(address, {**given, "id": made["id"]}).status_code == 200
    assert [hidden["id"] in str(one) for one in versions(holder, address)] == [False, True]
    assert [hidden["id"] in str(one) for one in versions(bob, address)] == [False, False]
