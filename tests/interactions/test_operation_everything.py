"""Patient/[id]/$everything. https://hl7.org/fhir/R4/patient-operation-everything.html"""

import pytest

from tests.interactions.making import bundle, entry, issues, observation, patient, refused, scoped, statuses


@pytest.fixture(scope="module")
def dossier(fhir):
    """A patient with a record, those who care, and another patient."""
    made = {"other": fhir.new(patient("AUTRE"))}
    made["practice"] = fhir.new({"resourceType": "Organization", "name": "Cabinet"})
    made["doctor"] = fhir.new({"resourceType": "Practitioner", "name": [{"family": "SOIN"}]})
    role = {"practitioner": {"reference": made["doctor"].path}, "organization": {"reference": made["practice"].path}}
    made["role"] = fhir.new({"resourceType": "PractitionerRole", **role})
    made["medication"] = fhir.new({"resourceType": "Medication", "code": {"text": "aspirine"}})
    made["patient"] = fhir.new(patient("TOUT", link=[{"other": {"reference": made["other"].path}, "type": "seealso"}]))
    subject = {"subject": {"reference": made["patient"].path}}
    made["old"] = fhir.new(observation(made["patient"].path, effectiveDateTime="2019-05-01"))
    made["new"] = fhir.new(observation(made["patient"].path, effectiveDateTime="2026-05-01", performer=[{"reference": made["role"].path}]))
    taken = {"medicationReference": {"reference": made["medication"].path}, "status": "active", **subject}
    made["taken"] = fhir.new({"resourceType": "MedicationStatement", **taken})
    made["binary"] = fhir.new(
        {"resourceType": "Binary", "contentType": "text/plain", "securityContext": {"reference": made["patient"].path}}
    )
    made["his"] = fhir.new(observation(made["other"].path))
    return made


def entries(answer, mode=None):
    """Type/id of the entries."""
    assert answer.status_code == 200, answer.text
    listed = answer.json().get("entry", [])
    return [e["fullUrl"].split("/fhir/")[1] for e in listed if mode in (None, e["search"]["mode"])]


def paths(dossier, *names):
    return sorted(dossier[name].path for name in names)


def pages(fhir, address):
    """Entries of all pages, page by page."""
    found = []
    while address:
        answer = fhir.get(address)
        found.append(entries(answer))
        address = next((link["url"] for link in answer.json()["link"] if link["relation"] == "next"), None)
    return found


def test_the_compartment_and_what_it_refers_to_each_once(fhir, dossier):
    answer = fhir.get(f"{dossier['patient'].path}/$everything")
    assert sorted(entries(answer, "match")) == paths(dossier, "patient", "old", "new", "taken")
    assert sorted(entries(answer, "include")) == paths(dossier, "role", "doctor", "practice", "medication")
    assert answer.json()["type"] == "searchset" and answer.json()["total"] == 4
    assert answer.json()["link"][0]["url"] == f"{fhir.base}/{dossier['patient'].path}/$everything"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8])
def test_pages_are_full_and_hold_each_resource_once(fhir, dossier, count):
    found = pages(fhir, f"{dossier['patient'].path}/$everything?_count={count}")
    assert [len(page) for page in found] == [count] * (8 // count) + ([8 % count] if 8 % count else [])
    assert len({each for page in found for each in page}) == 8


@pytest.mark.parametrize("asked", ["", "&_type=Practitioner,Organization,PractitionerRole", "&_type=Observation", "&start=2019-01-01"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8])
def test_the_pages_on_the_way_back_are_those_of_the_way_there(fhir, dossier, count, asked):
    def page(address):
        answer = fhir.get(address)
        return entries(answer), {link["relation"]: link["url"] for link in answer.json()["link"]}

    found, links = page(f"{dossier['patient'].path}/$everything?_count={count}{asked}")
    there = [found]
    assert "previous" not in links
    while "next" in links:
        found, links = page(links["next"])
        there.append(found)
    for expected in reversed(there[:-1]):
        found, links = page(links["previous"])
        assert found == expected
        assert page(links["next"])[0] == there[there.index(expected) + 1]
    assert "previous" not in links


def test_a_page_belongs_to_its_request(fhir, dossier):
    first = fhir.get(f"{dossier['patient'].path}/$everything?_count=2").json()
    cursor = next(link["url"] for link in first["link"] if link["relation"] == "next").partition("_cursor=")[2]
    assert refused(fhir.get(f"{dossier['patient'].path}/$everything?_count=3&_cursor={cursor}")) == (400, "invalid")
    assert refused(fhir.get(f"{dossier['other'].path}/$everything?_count=2&_cursor={cursor}")) == (400, "invalid")
    assert refused(fhir.get(f"{dossier['patient'].path}/$everything?_count=2&_cursor=x")) == (400, "invalid")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_type=Observation", ("old", "new")),
        ("_type=Observation,Patient", ("old", "new", "patient")),
        ("_type=Patient&_type=Practitioner", ("patient", "doctor")),
        ("_type=Medication", ("medication",)),
        ("_type=Binary", ()),
        ("start=2026-01-01&_type=Observation", ("new",)),
        ("end=2019&_type=Observation", ("old",)),
        ("start=2019-05-01&end=2019-05-01&_type=Observation", ("old",)),
        ("start=2027-01-01", ("patient", "taken", "medication")),
    ],
)
def test_types_and_care_dates(fhir, dossier, query, expected):
    assert sorted(entries(fhir.get(f"{dossier['patient'].path}/$everything?{query}"))) == paths(dossier, *expected)


def test_since_gives_what_has_changed_and_what_that_leads_to(fhir):
    doctor = fhir.new({"resourceType": "Practitioner", "name": [{"family": "AVANT"}]})
    nurse = fhir.new({"resourceType": "Practitioner", "name": [{"family": "PENDANT"}]})
    who = fhir.new(patient("DEPUIS", generalPractitioner=[{"reference": doctor.path}, {"reference": nurse.path}]))
    since = fhir.new(observation(who.path)).value["meta"]["lastUpdated"]
    later = fhir.new(observation(who.path, performer=[{"reference": doctor.path}]))
    answer = fhir.get(f"{who.path}/$everything?_since={since}")
    assert later.path in entries(answer, "match") and who.path not in entries(answer)
    assert entries(answer, "include") == [doctor.path]
    fhir.put(nurse.path, {**nurse.value, "active": False})
    assert sorted(entries(fhir.get(f"{who.path}/$everything?_since={since}"), "include")) == sorted([doctor.path, nurse.path])


def test_post_is_get(fhir, dossier):
    given = [
        {"name": "_type", "valueCode": "Observation"},
        {"name": "start", "valueDate": "2026-01-01"},
        {"name": "_count", "valueInteger": 5},
    ]
    answer = fhir.post(f"{dossier['patient'].path}/$everything", {"resourceType": "Parameters", "parameter": given})
    assert entries(answer) == [dossier["new"].path]
    assert answer.json()["link"][0]["url"].endswith("/$everything?_type=Observation&start=2026-01-01&_count=5")
    assert len(entries(fhir.send("POST", f"{dossier['patient'].path}/$everything"))) == 8


def test_head_tells_nothing_but_that_it_is_there(fhir, dossier):
    answer = fhir.send("HEAD", f"{dossier['patient'].path}/$everything")
    assert (answer.status_code, answer.content) == (200, b"")


def test_in_a_batch_it_is_an_entry(fhir, dossier):
    answer = fhir.post("", bundle("batch", entry("GET", f"{dossier['patient'].path}/$everything?_type=Patient")))
    assert statuses(answer) == ["200"]
    assert answer.json()["entry"][0]["resource"]["total"] == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("start=yesterday", "`yesterday` is not of type date"),
        ("_since=2026", "`2026` is not of type instant"),
        ("_type=Patients", "`Patients` is not a resource type"),
        ("_count=-1", "`-1` is not of type integer"),
        ("begin=2026&_sort=date", "`begin` is not known to this operation"),
        ("start=2026&start=2027", "given more than once"),
        ("end=", "has no value"),
    ],
)
def test_what_is_not_understood_is_refused(fhir, dossier, query, words):
    answer = fhir.get(f"{dossier['patient'].path}/$everything?{query}")
    assert answer.status_code == 400
    assert any(words in issue["diagnostics"] for issue in issues(answer))


def test_what_is_not_known_may_be_left_out(fhir, dossier):
    answer = fhir.get(f"{dossier['patient'].path}/$everything?begin=2026&_type=Patient", prefer="handling=lenient")
    assert entries(answer) == [dossier["patient"].path]
    assert answer.json()["link"][0]["url"].endswith("/$everything?_type=Patient")


def test_nobody_has_nothing(fhir):
    gone = fhir.new(patient("PARTI"))
    fhir.delete(gone.path)
    assert refused(fhir.get("Patient/nobody/$everything")) == (404, "not-found")
    assert refused(fhir.get(f"{gone.path}/$everything")) == (410, "deleted")


def test_scopes_narrow_it(fhir, server, dossier):
    def asked(scope, query=""):
        return fhir.get(f"{dossier['patient'].path}/$everything{query}", **scoped(server, scope))

    assert sorted(entries(asked("system/Patient.r system/Observation.r system/Practitioner.r"))) == paths(dossier, "patient", "old", "new")
    assert asked("system/Observation.r").status_code == 403
    assert asked("system/Patient.r", "?_type=Observation").status_code == 403


def test_a_large_record_is_paged_by_itself_and_whole(fhir):
    who = fhir.new(patient("EPAIS"))
    doctors = [fhir.new({"resourceType": "Practitioner", "identifier": [{"value": str(n)}]}) for n in range(3)]
    made = [observation(who.path, performer=[{"reference": doctors[n % 3].path}]) for n in range(1100)]
    statuses(fhir.post("", bundle("transaction", *(entry("POST", "Observation", each) for each in made))))
    found = pages(fhir, f"{who.path}/$everything")
    assert [len(page) for page in found] == [1000, 104]
    assert len({each for page in found for each in page}) == 1104


def test_pages_stay_what_they_were_while_others_write(fhir):
    who = fhir.new(patient("PENDANT"))
    made = [fhir.new(observation(who.path)) for _ in range(12)]
    address, seen = f"{who.path}/$everything?_count=5", []
    while address:
        answer = fhir.get(address)
        seen += entries(answer)
        # One moves to the front, one is new, one disappears.
        fhir.put(made[4].path, {**made[4].value, "valueInteger": len(seen)})
        fhir.new(observation(who.path))
        if len(seen) == 5:
            fhir.delete(made[0].path)
        address = next((link["url"] for link in answer.json()["link"] if link["relation"] == "next"), None)
    assert sorted(seen) == sorted([who.path, *(each.path for each in made[1:])])


def test_what_belongs_to_several_patients_is_in_each_record(fhir):
    one, two = fhir.new(patient("UN")), fhir.new(patient("DEUX"))
    both = [{"entity": {"reference": each.path}} for each in (one, two)]
    group = fhir.new({"resourceType": "Group", "type": "person", "actual": True, "member": both})
    for each in (one, two):
        assert sorted(entries(fhir.get(f"{each.path}/$everything"))) == sorted([each.path, group.path])
