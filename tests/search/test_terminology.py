"""Value sets and hierarchies of searches. https://hl7.org/fhir/R4/search.html#modifiers"""

import json

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import tables
from fhir_dmp.search.parameters import PROFILES
from fhir_dmp.search.terminology import shipped
from tests.search.hosting import ask, context_on, ids, put

R4 = "http://hl7.org/fhir/ValueSet"


def test_value_sets_that_r4_requires_and_those_of_its_own_codes_are_known():
    known = shipped()
    assert all(known.expand(url) for url in tables.value_sets() if tables.codes(url))
    assert ("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs") in known.expand(f"{R4}/observation-category")
    assert known.expand(f"{R4}/observation-status|4.0.1") == known.expand(f"{R4}/observation-status")
    assert known.expand(f"{R4}/mimetypes") is None
    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    assert known.below(clinical, "active") == {(clinical, code) for code in ("active", "recurrence", "relapse")}
    assert known.above(clinical, "relapse") == {(clinical, "relapse"), (clinical, "active")}


def test_resources_of_the_guide_go_before(tmp_path):
    value_set = {
        "resourceType": "ValueSet",
        "url": "http://v",
        "compose": {"include": [{"system": "http://s", "concept": [{"code": "A"}]}]},
    }
    (tmp_path / "ValueSet-v.json").write_text(json.dumps(value_set))
    assert shipped(tmp_path).expand("http://v") == {("http://s", "a")}


def test_every_value_set_of_the_guide_is_known_with_its_codes():
    urls = [json.loads(file.read_bytes())["url"] for file in PROFILES.glob("ValueSet-*.json")]
    assert len(urls) > 10 and all(shipped().expand(url) for url in urls)


async def test_value_sets_answer_and_those_only_stored_are_refused_by_name(sandbox_store):
    context = context_on(sandbox_store)
    category = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}]
    stored = {"resourceType": "ValueSet", "id": "v", "status": "active", "url": "http://v.example/mine"}
    await put(
        sandbox_store,
        {"resourceType": "Observation", "id": "o1", "status": "final", "category": category},
        {"resourceType": "Observation", "id": "o2", "status": "final", "category": [{"coding": [{"system": "http://x", "code": "y"}]}]},
        {**stored, "compose": {"include": [{"system": "http://x"}]}},
    )
    assert await ids(context, f"Observation?category:in={R4}/observation-category") == ["o1"]
    assert await ids(context, f"Observation?category:not-in={R4}/observation-category") == ["o2"]
    assert await ids(context, f"Observation?status:in={R4}/observation-status") == ["o2", "o1"]
    assert await ids(context, "Observation?status:below=http://hl7.org/fhir/observation-status|registered") == []
    with pytest.raises(FhirError, match="http://v.example/mine") as refused:
        await ask(context, "Observation?category:in=http://v.example/mine")
    assert refused.value.kind == "not-supported"


def test_hierarchies_of_hl7_v3_are_known_with_several_parents_and_value_sets_by_their_filters():
    known = shipped()
    reason, act = (f"http://terminology.hl7.org/CodeSystem/v3-{name}" for name in ("ActReason", "ActCode"))
    assert {(reason, "treat"), (reason, "etreat"), (reason, "btg")} <= known.below(reason, "PurposeOfUse")
    assert known.above(reason, "BTG") >= {(reason, "btg"), (reason, "etreat"), (reason, "treat"), (reason, "purposeofuse")}
    assert known.above(reason, "HMARKT") & {(reason, "treat"), (reason, "btg")} == frozenset()
    # A dose may be an issue to be validated, and by its second parent one of how a drug is given.
    assert (act, "dose") in known.below(act, "VALIDAT") & known.below(act, "_AdministrationDetectedIssueCode")
    assert {(act, "validat"), (act, "_administrationdetectedissuecode")} <= known.above(act, "DOSE")
    purposes = known.expand("http://terminology.hl7.org/ValueSet/v3-PurposeOfUse")
    assert (reason, "treat") in purposes and (reason, "clintrch") in purposes and (reason, "_actcoveragereason") not in purposes
    assert (act, "_actcoveragetypecode") not in known.expand(f"{R4}/coverage-type")
    assert (act, "ehcpol") in known.expand(f"{R4}/coverage-type")
    assert ("http://terminology.hl7.org/CodeSystem/v2-0203", "mr") in known.expand("http://terminology.hl7.org/ValueSet/v2-0203")
    marital = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
    assert known.below(marital, "M") == known.above(marital, "M") == {(marital, "m")}
    assert known.below("http://loinc.org", "1-8") is None


async def test_codes_above_and_below_are_found(sandbox_store):
    context = context_on(sandbox_store)
    reason = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
    await put(
        sandbox_store,
        *(
            {"resourceType": "Basic", "id": code.lower(), "code": {"coding": [{"system": reason, "code": code}]}}
            for code in ("TREAT", "ETREAT", "BTG", "HMARKT")
        ),
    )
    assert await ids(context, f"Basic?code:below={reason}|TREAT&_sort=_id") == ["btg", "etreat", "treat"]
    assert await ids(context, f"Basic?code:above={reason}|ETREAT&_sort=_id") == ["etreat", "treat"]
    assert await ids(context, f"Basic?code:below={reason}|BTG,{reason}|HMARKT&_sort=_id") == ["btg", "hmarkt"]
    assert await ids(context, "Basic?code:in=http://terminology.hl7.org/ValueSet/v3-PurposeOfUse&_sort=_id") == [
        "btg", "etreat", "hmarkt", "treat",
    ]  # fmt: skip
    with pytest.raises(FhirError, match="http://loinc.org") as refused:
        await ask(context, "Basic?code:below=http://loinc.org|1-8")
    assert refused.value.kind == "not-supported"
