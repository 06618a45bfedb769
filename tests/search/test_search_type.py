"""FHIR search on a real MongoDB that refuses every collection scan. https://hl7.org/fhir/R4/http.html#search"""

from dataclasses import replace

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.identity.scopes import parse as scopes
from fhir_dmp.interactions import search_chains, search_match
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search.limits import Limits
from tests.search.hosting import BASE, ask, context_on, found, ids, put

LOINC = "http://loinc.org"


def to(address: str) -> dict:
    return {"reference": address}


def plain(type_name: str, id: str, **fields) -> dict:
    return {"resourceType": type_name, "id": id, **fields}


def patient(id: str, family: str, given: str = "Solange", **fields) -> dict:
    return {"resourceType": "Patient", "id": id, "name": [{"family": family, "given": [given]}], **fields}


def observation(id: str, subject: str, code: str, value: str | None = None, **fields) -> dict:
    measured = {"valueQuantity": {"value": float(value), "unit": "mg"}} if value else {}
    about = {"subject": {"reference": subject}}
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        **about,
        **measured,
        **fields,
    }


@pytest.fixture
async def ward(sandbox_store):
    """Two patients, their physicians, measures, documents: in the order they were written."""
    made = [{"resourceType": "Practitioner", "id": "a", "name": [{"family": "Lefèvre", "given": ["Ève"]}]}]
    identifier = [{"system": "http://rpps", "value": "1"}]
    await put(
        sandbox_store,
        plain("Organization", "o1", name="Hôpital des Lilas", partOf=to("Organization/o2")),
        plain("Organization", "o2", name="Groupement du Nord"),
        plain("Practitioner", "dr1", name=[{"family": "Moreau"}], identifier=identifier),
        plain("Practitioner", "dr2", name=[{"family": "Petit"}]),
        patient("p1", "Martin", "Zoé", gender="female", birthDate="1980-05-12", generalPractitioner=[to("Practitioner/dr1")]),
        patient("p2", "Bernard", gender="male", birthDate="1975", managingOrganization=to("Organization/o1")),
        patient("p3", "Durand", gender="male"),
        observation("b1", "Patient/p1", "8302-2", "10", performer=[to("Practitioner/dr1")], effectiveDateTime="2020-01-01"),
        observation("b2", "Patient/p1", "29463-7", "20", performer=[to("Practitioner/dr2")], effectiveDateTime="2021-01-01"),
        observation("b3", "Patient/p2", "8302-2", "30", performer=[to("Organization/o1")]),
        observation("b4", "Device/d1", "8302-2", "40"),
        plain("DocumentReference", "t1", status="current", subject=to("Patient/p1"), contained=made, author=[to("#a")]),
        plain("AuditEvent", "e1", entity=[{"what": to("Patient/p1")}, {"what": to("Observation/b1")}]),
        plain("AuditEvent", "e2", entity=[{"what": to("Patient/p1")}, {"what": to("Patient/p2")}]),
        plain("Provenance", "v1", target=[to("DocumentReference/t1")]),
        plain("Provenance", "v2", target=[to("Provenance/v1")]),
        plain("List", "l1", status="current", entry=[{"item": to("Observation/b2")}]),
        plain("Group", "g1", type="person", member=[{"entity": to("Patient/p1")}, {"entity": to("Patient/p2")}]),
    )
    return context_on(sandbox_store)


QUESTIONS = [
    ("Patient", ["p3", "p2", "p1"]),
    ("Patient?_sort=_lastUpdated", ["p1", "p2", "p3"]),
    ("Patient?name=mart", ["p1"]),
    ("Patient?name=zoe", ["p1"]),
    ("Patient?family:contains=ar", ["p2", "p1"]),
    ("Patient?birthdate=1980-05-12", ["p1"]),
    ("Patient?birthdate=ge1975", ["p2", "p1"]),
    ("Patient?birthdate:missing=true", ["p3"]),
    ("Patient?gender:not=male", ["p1"]),
    ("Patient?_id=p1,p3", ["p3", "p1"]),
    ("Patient?_sort=family", ["p2", "p3", "p1"]),
    ("Patient?_sort=-family", ["p1", "p3", "p2"]),
    ("Patient?_sort=birthdate", ["p2", "p1", "p3"]),
    ("Patient?_sort=-birthdate", ["p1", "p2", "p3"]),
    ("Patient?_sort=gender,-family", ["p1", "p3", "p2"]),
    # chains
    ("Observation?subject:Patient.name=martin", ["b2", "b1"]),
    ("Observation?patient.gender=male", ["b3"]),
    ("Observation?subject.name=martin", ["b2", "b1"]),
    ("Observation?patient.general-practitioner.name=moreau", ["b2", "b1"]),
    ("Observation?patient.organization.partof.name=groupement", ["b3"]),
    ("Observation?performer:Practitioner.identifier=http://rpps|1", ["b1"]),
    ("Observation?performer.name=hopital", ["b3"]),
    ("Observation?patient.birthdate=lt1978&code=8302-2", ["b3"]),
    ("DocumentReference?author.given=eve", ["t1"]),
    ("DocumentReference?author:Practitioner.family=lefevre&patient=p1", ["t1"]),
    ("DocumentReference?author.family=moreau", []),
    ("DocumentReference?author:Practitioner.given:missing=true", []),
    ("DocumentReference?author:Practitioner.family:missing=false", ["t1"]),
    ("DocumentReference?author:Practitioner.address-city:missing=true", ["t1"]),
    ("Observation?patient.birthdate:missing=true", []),
    ("Observation?patient.gender:not=male", ["b2", "b1"]),
    ("Observation?subject:Patient.organization:missing=true", ["b2", "b1"]),
    # backwards
    ("Patient?_has:Observation:patient:code=29463-7", ["p1"]),
    ("Patient?_has:Observation:patient:code=8302-2", ["p2", "p1"]),
    ("Patient?_has:Observation:patient:performer.name=petit", ["p1"]),
    ("Patient?_has:Group:member:_id=g1", ["p2", "p1"]),
    ("Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:code=29463-7", ["dr1"]),
    ("Observation?subject:Patient._has:Group:member:_id=g1", ["b3", "b2", "b1"]),
    ("Observation?_list=l1", ["b2"]),
    ("Observation?_list=unknown", []),
    # dossiers and what is outside them
    ("Observation?patient=p1", ["b2", "b1"]),
    ("Observation?patient=Patient/p1&value-quantity=gt15", ["b2"]),
    ("Observation?subject=d1", ["b4"]),
    ("Observation?subject=Device/d1,Patient/p2", ["b4", "b3"]),
    ("Group?member=Patient/p1", ["g1"]),
    ("AuditEvent?entity=Patient/p1", ["e2", "e1"]),
    ("AuditEvent?entity=Observation/b1", ["e1"]),
    ("Patient/p1/Observation", ["b2", "b1"]),
    ("Patient/p1/Observation?code=8302-2", ["b1"]),
    ("Patient/p1/*", ["g1", "e2", "e1", "t1", "b2", "b1", "p1"]),
    ("Practitioner/dr1/Observation", ["b1"]),
    # across
    ("Observation?code=8302-2&_count=1", ["b4", "b3", "b1"]),
    ("Observation?code-value-quantity=8302-2$gt15", ["b4", "b3"]),
    ("Observation?_filter=value-quantity gt 15 and not (code eq 8302-2)", ["b2"]),
    ("Observation?date=2020,2021", ["b2", "b1"]),
    ("?_type=Patient,Group", ["g1", "p3", "p2", "p1"]),
    ("?_id=p1,g1", ["g1", "p1"]),
    ("DocumentReference?_content=lefevre", ["t1"]),
]


async def test_what_a_search_finds_in_order(ward):
    assert {address: await ids(ward, address) for address, _ in QUESTIONS} == dict(QUESTIONS)
    assert {address: (await ask(ward, address)).total for address, _ in QUESTIONS} == {
        address: len(expected) for address, expected in QUESTIONS
    }


CHAINED = {address: expected for address, expected in QUESTIONS if "." in address or "_has" in address}


@pytest.mark.parametrize(("way", "limits"), [("far", Limits(followed=0)), ("near", Limits(intermediates=0))])
async def test_a_chain_is_the_same_from_either_end(ward, monkeypatch, way, limits):
    monkeypatch.setattr(search_chains, "limits_of", lambda context: limits)
    # A reverse chain has only one end to begin at.
    asked = {address: expected for address, expected in CHAINED.items() if way == "far" or "_has" not in address}
    assert {address: await ids(ward, address) for address in asked} == asked


async def test_a_chain_inside_a_dossier_follows_the_references_of_that_dossier(ward, monkeypatch):
    monkeypatch.setattr(search_chains, "addressed", None)
    assert await ids(ward, "Observation?patient=p1&performer.name=petit") == ["b2"]
    assert await ids(ward, "Observation?patient=p1&performer.name:missing=false") == ["b2", "b1"]


async def test_iteration_over_a_long_chain_of_references_is_refused(ward):
    derived = [plain("Observation", f"c{n}", status="final", derivedFrom=[to(f"Observation/c{n + 1}")]) for n in range(30)]
    await put(ward.store, *derived)
    with pytest.raises(FhirError, match=":iterate"):
        await ask(ward, "Observation?_id=c0&_include:iterate=Observation:derived-from")
    near_the_end = await ask(ward, "Observation?_id=c20&_include:iterate=Observation:derived-from")
    assert found(near_the_end, "include") == [f"Observation/c{n}" for n in range(21, 30)]


async def test_canonical_references_chain_and_include(ward):
    named = {"url": "http://q.example/q1", "version": "1.0", "title": "Douleur"}
    form = {"resourceType": "Questionnaire", "id": "q1", "status": "active", **named}
    await put(ward.store, form, plain("QuestionnaireResponse", "r1", status="completed", questionnaire="http://q.example/q1|1.0"))
    assert await ids(ward, "QuestionnaireResponse?questionnaire.title=douleur") == ["r1"]
    result = await ask(ward, "QuestionnaireResponse?questionnaire=http://q.example/q1&_include=QuestionnaireResponse:questionnaire")
    assert (found(result), found(result, "include")) == (["QuestionnaireResponse/r1"], ["Questionnaire/q1"])


async def test_a_search_for_a_patient_stays_in_the_dossier(ward):
    assert (await ask(ward, "Observation?patient=p1")).explained is None
    asking = replace(ward, explain=True)
    assert (await ask(asking, "Observation?patient=p1&code=8302-2")).explained["segments"][0] == {
        "index": "dossier", "types": ["Observation"], "dossiers": 1, "exact": True, "batches": 1,
        "keysExamined": 2, "rowsExamined": 2, "rowsFound": 1,
    }  # fmt: skip
    assert (await ask(asking, "Practitioner?identifier=1")).explained["segments"][0]["index"] == "selective"
    assert (await ask(asking, "Observation?code=8302-2")).explained["segments"][0]["index"] == "code"
    assert (await ask(asking, "Observation?status=final")).explained["segments"][0]["index"] == "type"
    assert (await ask(asking, "Observation?_id=b1")).explained["segments"][0]["index"] == "id"


async def test_includes_add_each_resource_once_and_never_a_match(ward):
    result = await ask(ward, "Observation?patient=p1&_include=Observation:performer&_include=Observation:subject")
    assert found(result) == ["Observation/b2", "Observation/b1"]
    assert sorted(found(result, "include")) == ["Patient/p1", "Practitioner/dr1", "Practitioner/dr2"]
    assert result.total == 2
    typed = await ask(ward, "Observation?_include=Observation:performer:Organization&_include:iterate=Organization:partof")
    assert found(typed, "include") == ["Organization/o1", "Organization/o2"]
    everything = await ask(ward, "Observation?_id=b3&_include=*&_include:iterate=Patient:organization")
    assert sorted(found(everything, "include")) == ["Organization/o1", "Patient/p2"]


async def test_revinclude_goes_backwards_and_iterates(ward):
    once = await ask(ward, "DocumentReference?_id=t1&_revinclude=Provenance:target")
    assert found(once, "include") == ["Provenance/v1"]
    again = await ask(ward, "DocumentReference?_id=t1&_revinclude:iterate=Provenance:target")
    assert found(again, "include") == ["Provenance/v1", "Provenance/v2"]
    members = await ask(ward, "Patient?_id=p1&_revinclude=Observation:*&_revinclude=Group:member")
    assert sorted(found(members, "include")) == ["Group/g1", "Observation/b1", "Observation/b2"]


async def test_revinclude_of_everything_brings_whatever_refers_to_a_match(sandbox_store):
    context = context_on(sandbox_store)
    about, other = {"subject": {"reference": "Patient/p1"}}, {"reference": "Patient/p2"}
    seen = {"type": {"code": "x"}, "recorded": "2024-01-01T00:00:00Z", "agent": [{"requestor": True}], "source": {"observer": other}}
    await put(
        sandbox_store,
        {"resourceType": "Patient", "id": "p1"},
        {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}, **about},
        {"resourceType": "Condition", "id": "c1", **about, "asserter": other},
        {"resourceType": "Group", "id": "g1", "type": "person", "actual": True, "member": [{"entity": about["subject"]}]},
        {"resourceType": "Provenance", "id": "v1", "recorded": "2024-01-01T00:00:00Z", "target": [{"reference": "Observation/o1"}]},
        {"resourceType": "Observation", "id": "o2", "status": "final", "code": {"text": "x"}, "subject": other},
        {"resourceType": "AuditEvent", "id": "a1", **seen, "entity": [{"what": {"reference": "Provenance/v1"}}]},
        {"resourceType": "AuditEvent", "id": "a2", **seen, "entity": [{"what": about["subject"]}]},
    )
    whole = await ask(context, "Patient?_revinclude=*")
    assert (found(whole), sorted(found(whole, "include"))) == (["Patient/p1"], ["Condition/c1", "Group/g1", "Observation/o1"])
    further = await ask(context, "Patient?_revinclude:iterate=*")
    assert sorted(found(further, "include")) == ["Condition/c1", "Group/g1", "Observation/o1", "Provenance/v1"]
    traced = await ask(context, "Patient?_revinclude:iterate=*&_revinclude:iterate=AuditEvent:entity")
    assert "AuditEvent/a1" in found(traced, "include")
    assert found(await ask(context, "Patient?_revinclude=AuditEvent:*"), "include") == ["AuditEvent/a2"]
    narrow = replace(context, actor=replace(context.actor, scopes=scopes("system/Patient.rs system/Condition.r")))
    assert found(await ask(narrow, "Patient?_revinclude=*"), "include") == ["Condition/c1"]


async def test_documents_are_found_by_their_relationship_either_way_round(sandbox_store):
    context = context_on(sandbox_store)
    await put(
        sandbox_store,
        *(
            {
                "resourceType": "DocumentReference",
                "id": f"{code}-{target}",
                "relatesTo": [{"code": code, "target": {"reference": f"DocumentReference/{target}"}}],
            }
            for code in ("replaces", "appends")
            for target in ("d1", "d2")
        ),
    )
    for asked in ("replaces$DocumentReference/d1", "DocumentReference/d1$replaces", "replaces$d1", "d1$replaces"):
        assert await ids(context, f"DocumentReference?relationship={asked}") == ["replaces-d1"]
    assert await ids(context, "DocumentReference?relationship=d1$replaces,appends$d2&_sort=_id") == ["appends-d2", "replaces-d1"]


@pytest.mark.parametrize("order", ["", "&_sort=_lastUpdated", "&_sort=value-quantity", "&_sort=-value-quantity", "&_sort=-status"])
async def test_pages_go_forth_and_back(ward, order):
    address = f"Observation?_count=1{order}"
    expected = await ids(ward, address)
    pages, result = [], await ask(ward, address)
    assert "previous" not in dict(result.links)
    while True:
        assert result.total == 4
        pages.append(found(result))
        if "next" not in dict(result.links):
            break
        result = await ask(ward, dict(result.links)["next"])
    assert [page[0].partition("/")[2] for page in pages] == expected and len(set(expected)) == 4
    for page in reversed(pages[:-1]):
        result = await ask(ward, dict(result.links)["previous"])
        assert found(result) == page
    assert "previous" not in dict(result.links)


async def test_a_cursor_serves_its_search_and_its_reader_only(ward):
    link = dict((await ask(ward, "Observation?_count=1")).links)["next"]
    other = context_on(ward.store)
    object.__setattr__(other, "actor", type(ward.actor)(kind="system", issuer="i", subject="somebody else", expires=0))
    for context, address in ((other, link), (ward, link.replace("_count=1", "_count=2")), (ward, link[:-4] + "AAAA"), (ward, link + "x")):
        with pytest.raises(FhirError) as refused:
            await ask(context, address)
        assert refused.value.status == 400 and "_cursor" in refused.value.message


async def test_only_the_number_is_told_when_only_that_is_asked(ward):
    for address in ("Observation?_summary=count", "Observation?_count=0", "Observation?_summary=count&subject:Patient.name=martin"):
        result = await ask(ward, address)
        assert (result.entries, result.total) == ((), 2 if "martin" in address else 4)
    assert (await ask(ward, "Observation?_total=none")).total is None


async def test_links_say_what_was_understood(ward):
    result = await ask(ward, "Patient?name=mart&foo=1&_count=5", lenient=True)
    assert dict(result.links)["self"] == f"{BASE}/Patient?name=mart&_count=5"
    (outcome,) = [entry for entry in result.entries if entry.mode == "outcome"]
    assert b"`foo`" in outcome.body
    with pytest.raises(FhirError, match="`foo`"):
        await ask(ward, "Patient?foo=1")


async def test_more_candidates_than_the_limit_is_too_costly_and_never_a_part(ward):
    for number in range(110):
        link = [{"other": to(f"Patient/x{number}"), "type": "seealso"}]
        await put(ward.store, patient(f"x{number}", f"Xavier{number}", link=link))
    narrow = context_on(ward.store, max_candidates=100)
    for address in ("Patient?family:contains=avier", "Patient?_sort=family", "Patient?link:Patient.family=xavier"):
        with pytest.raises(FhirError) as refused:
            await ask(narrow, address)
        assert (refused.value.kind, refused.value.status) == ("too-costly", 400)
    assert (await ask(ward, "Patient?family:contains=avier&_count=100")).total == 110


async def test_what_the_asker_may_not_see_is_in_no_result_chain_or_include(ward):
    hidden = ward.store.vault.locate("Patient", "p1")
    sight = Sight(lambda type_name: {"_id": {"$ne": hidden}}, lambda row: row.key != hidden)
    assert await ids(ward, "Patient", sight=sight) == ["p3", "p2"]
    assert await ids(ward, "Observation?patient.name=martin", sight=sight) == []
    result = await ask(ward, "Observation?_include=Observation:subject", sight=sight)
    assert found(result, "include") == ["Patient/p2"]
    assert await ids(ward, "Observation?patient=p1&subject:Patient.name=martin", sight=sight) == []
    assert await ids(ward, "?_type=Patient,Group", sight=sight) == ["g1", "p3", "p2"]
    back = await ask(ward, "Group?_revinclude=Patient:link&_include=Group:member", sight=sight)
    assert found(back, "include") == ["Patient/p2"]


async def test_criteria_of_conditional_interactions(ward):
    assert [id for id, _ in await search_match.run(ward, "Patient", [("family", "martin")], 2)] == ["p1"]
    assert len(await search_match.run(ward, "Patient", [("gender", "male,female")], 2)) == 2
    with pytest.raises(FhirError):
        await search_match.run(ward, "Patient", [("family", "martin"), ("_sort", "family")], 2)
    with pytest.raises(FhirError):
        await search_match.run(ward, "Patient", [("foo", "martin")], 2)
    with pytest.raises(FhirError) as nothing:
        await search_match.run(ward, "Patient", [("_format", "json")], 2)
    assert nothing.value.status == 412


async def test_chains_do_not_go_through_what_the_scopes_leave_out(ward):
    def with_scopes(text: str):
        return replace(ward, actor=replace(ward.actor, scopes=scopes(text)))

    asked = {
        "Observation?subject:Patient.name=martin": "system/Observation.rs system/Patient.rs",
        "Observation?subject.name=martin": "system/Observation.rs system/Patient.rs",
        "Patient?_has:Observation:patient:status=final": "system/Patient.rs system/Observation.rs",
    }
    for address, enough in asked.items():
        assert await ids(with_scopes(enough), address) == await ids(ward, address) != []
        alone = enough.split()[0]
        assert await ids(with_scopes(alone), address) == [] == await ids(with_scopes(f"{alone} system/Device.rs"), address)
