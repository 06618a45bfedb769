"""Profiles compile, and judge cardinality, slices, bindings, references, types and nested resources. https://hl7.org/fhir/R4/profiling.html"""

import copy
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import profile_codes
from fhir_dmp.fhir.profile_checks import ProfileError, compiled
from fhir_dmp.fhir.profile_codes import holds, members
from fhir_dmp.fhir.profile_tree import definitions
from fhir_dmp.fhir.profiles import (
    claimed,
    deposit_errors,
    deposit_issues,
    deposit_profiles,
    faults,
    known,
    needed,
    profiles_for,
    type_of,
    url_of,
    validate_profile,
)
from tests.profiles.reading import GOOD, broken, good, read

ENTRY = "dmp-document-reference"


@pytest.mark.parametrize("url", definitions())
def test_every_profile_compiles(url):
    assert compiled(url).type == type_of(url)


def test_a_profile_that_is_unknown_or_of_another_version_is_refused():
    assert known(url_of(ENTRY)) and known(f"{url_of(ENTRY)}|{definitions()[url_of(ENTRY)]['version']}")
    for url in (f"{url_of(ENTRY)}|9.9", "http://x.example/profile", ""):
        assert not known(url)
        with pytest.raises(FhirError) as refused:
            faults({"resourceType": "DocumentReference"}, url)
        assert refused.value.kind == "not-supported"
    with pytest.raises(ProfileError):
        compiled("http://x.example/profile")


def test_a_resource_of_another_type_is_one_fault():
    assert broken({"resourceType": "Patient"}, ENTRY) == [("resource", "Patient")]
    assert broken({}, ENTRY) == [("resource", "Resource")]


def test_all_faults_are_told_at_once_each_at_its_place():
    found = broken({"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": {}}, {"attachment": {}}]}, ENTRY)
    assert ("min", "DocumentReference.type") in found and ("max", "DocumentReference.content") in found
    assert ("min", "DocumentReference.content[1].attachment.hash") in found
    assert len(found) == len(set(found)) > 12


def test_a_profile_asks_what_the_one_it_stands_on_asks():
    entry = good("DocumentReference-consultation")
    entry["docStatus"] = "final"
    assert broken(entry, ENTRY) == broken(entry, "dmp-document-reference-core") == [("absent", "DocumentReference.docStatus")]


def test_an_element_that_has_extensions_alone_is_there():
    publication = good("DocumentReference-publication")
    del publication["date"]
    assert broken(publication, "dmp-simplified-publish") == [("min", "DocumentReference.date")]
    publication["_date"] = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
    assert broken(publication, "dmp-simplified-publish") == []


def test_slices_by_value_are_told_apart_and_others_are_left_alone():
    patient = good("Patient-camille-essai")
    patient["identifier"].append({"system": "http://x.example/card", "value": "?"})
    assert broken(patient, "dmp-patient") == []
    patient["identifier"].append({"system": "urn:oid:1.2.250.1.213.1.4.9", "value": "?"})
    assert broken(patient, "dmp-patient") == [("dmp-pat-ins-nia", "Patient.identifier[2]")]
    patient["name"] *= 2
    assert ("max", "Patient.name") in broken(patient, "dmp-patient")


def test_slices_by_pattern_need_all_the_pattern_says():
    consent = good("Consent-samu")
    consent["category"][0]["coding"].append({"system": "http://x.example", "code": "x"})
    assert broken(consent, "dmp-consent-emergency-regulation") == []
    consent["category"][0]["coding"][0]["code"] = "other"
    assert broken(consent, "dmp-consent-emergency-regulation") == [("min", "Consent.category")]


def test_slices_of_bundle_entries_go_by_type_and_judge_what_is_inside():
    deposit = good("Bundle-depot")
    documents = [n for n, entry in enumerate(deposit["entry"]) if entry["resource"]["resourceType"] == "DocumentReference"]
    for number in documents:
        del deposit["entry"][number]["resource"]["masterIdentifier"]
    assert broken(deposit, "dmp-provide-document-bundle") == [
        ("min", f"Bundle.entry[{number}].resource.masterIdentifier") for number in documents
    ]


def test_of_several_profiles_the_one_that_fits_judges():
    deposit = good("Bundle-depot-classeur")
    number = next(n for n, entry in enumerate(deposit["entry"]) if entry["resource"].get("title") == "Suivi du diabète")
    del deposit["entry"][number]["resource"]["date"]
    assert broken(deposit, "dmp-provide-document-bundle") == [("min", f"Bundle.entry[{number}].resource.date")]
    deposit["entry"][number]["resource"]["code"] = {"text": "neither"}
    assert broken(deposit, "dmp-provide-document-bundle") == [("profile", f"Bundle.entry[{number}].resource")]


def test_references_inside_an_entry_are_read_there():
    deposit = good("Bundle-depot")
    number = next(n for n, entry in enumerate(deposit["entry"]) if entry["resource"]["resourceType"] == "DocumentReference")
    document = deposit["entry"][number]["resource"]
    document["subject"] = {"reference": "#auteur"}
    assert broken(deposit, "dmp-provide-document-bundle") == [("target", f"Bundle.entry[{number}].resource.subject")]


@pytest.mark.parametrize(
    ("subject", "fits"),
    [
        ({"reference": "Patient/1"}, True),
        ({"reference": "Patient/1/_history/2"}, True),
        ({"reference": "https://dmp.example.org/fhir/Patient/1"}, True),
        ({"reference": "Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|279035121518989"}, True),
        ({"reference": "urn:uuid:0b6c2f6e-0c5c-4a6c-8d6f-0f5a0c0f0a0b"}, True),
        ({"type": "Patient", "identifier": {"value": "1"}}, True),
        ({"display": "somebody"}, True),
        ({"reference": "Group/1"}, False),
        ({"reference": "https://dmp.example.org/fhir/Device/1"}, False),
        ({"type": "Group", "identifier": {"value": "1"}}, False),
    ],
)
def test_a_reference_names_one_of_the_types(subject, fits):
    entry = good("DocumentReference-consultation") | {"subject": subject}
    assert broken(entry, ENTRY) == ([] if fits else [("target", "DocumentReference.subject")])


def test_an_extension_of_ours_is_judged_by_its_own_profile():
    consent = good("Consent-acces-atteste")
    consent["extension"][0] = {"url": url_of("consent-evidence"), "valueString": "oral"}
    assert broken(consent, "dmp-consent-access") == [("type", "Consent.extension[0].value.ofType(string)")]
    consent["extension"] = [{"url": url_of("consent-evidence"), "valueCode": "oral"}] * 2
    assert ("max", "Consent.extension") in broken(consent, "dmp-consent-access")


def test_bindings_are_required_or_advised():
    notice = good("Communication-avis-urgence")
    notice["category"][0] = {"coding": [{"system": "http://x.example", "code": "y"}]}
    (fault,) = faults(notice, url_of("dmp-notice"))
    assert (fault.rule, fault.severity) == ("binding", "error")
    entry = good("DocumentReference-consultation")
    entry["type"] = {"coding": [{"system": "http://loinc.org", "code": "8480-6"}, entry["type"]["coding"][0]]}
    assert broken(entry, ENTRY) == []


def test_value_sets_hold_codes_with_their_system():
    types = members("https://fhir-dmp.example.org/fhir/ValueSet/dmp-document-type")
    assert holds(types, {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]})
    assert holds(types, {"coding": [{"code": "11488-4"}]}) is False
    assert (
        holds(types, {"text": "no code at all"}) is None
        and holds(types, {"coding": [{"display": "x"}]}) is None
        and holds(types, 3) is None
    )
    assert members("http://x.example/ValueSet/none") is None
    own = members("https://fhir-dmp.example.org/fhir/ValueSet/dmp-notice")
    assert set(own) == {"https://fhir-dmp.example.org/fhir/CodeSystem/dmp-notice"} and profile_codes.members is members


def test_faults_are_told_in_english_and_french():
    entry = good("DocumentReference-consultation")
    del entry["type"]
    (english,) = validate_profile(entry, url_of(ENTRY))
    (french,) = validate_profile(entry, url_of(ENTRY), language="fr")
    assert english == Issue(
        "error", "required", "`type` is required here: Type of document: space, class and rights follow from it", "DocumentReference.type"
    )
    assert french == english._replace(diagnostics="`type` est exigé ici : Type de document : espace, classe et droits en découlent")


def test_profiles_of_a_type_and_of_an_asker():
    assert [url.rpartition("/")[2] for url in profiles_for("List", "professional")] == ["dmp-folder", "dmp-submission-set"]
    assert profiles_for("Observation", "professional") == () == profiles_for("List", "system")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DocumentReference-consultation", "dmp-document-reference"),
        ("DocumentReference-publication", "dmp-simplified-publish"),
        ("List-lot", "dmp-submission-set"),
        ("List-classeur-diabete", "dmp-folder"),
        ("Consent-mandat", "dmp-consent-mandate"),
        ("Consent-don-d-organes", "dmp-consent-will"),
        ("Patient-camille-essai", "dmp-patient"),
        ("CareTeam-equipe", "dmp-care-team"),
        ("Bundle-depot-classeur", "dmp-provide-document-bundle"),
    ],
)
def test_a_deposit_follows_the_profile_of_what_it_is(name, expected):
    resource = good(name)
    assert deposit_profiles(resource, "professional") == (url_of(expected),) == claimed(resource)
    assert deposit_profiles(resource, "system") == ()


def test_where_no_profile_is_meant_none_is_asked():
    assert deposit_profiles({"resourceType": "List", "code": {"text": "shopping"}}, "professional") == ()
    assert deposit_profiles({"resourceType": "Observation"}, "professional") == ()
    assert deposit_profiles({"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": 3}, None]}, "professional") == ()
    assert deposit_profiles({"resourceType": "Consent", "category": [{"text": "?"}]}, "patient") == (url_of("dmp-consent"),)


def test_what_a_deposit_leaves_unsaid_is_an_error_where_the_rules_need_it():
    little = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "subject": {"reference": "Patient/1"},
        "author": [{"reference": "Patient/1"}],
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/1"}}],
    }

    def severities(resource, **how):
        return {issue.severity for issue in deposit_issues(resource, "professional", **how)}

    assert severities(little) == {"warning"} and "error" in severities(little, strict=True)
    assert deposit_issues(little, "system", strict=True) == []
    for element in ("type", "subject", "author", "content"):
        less = {name: value for name, value in little.items() if name != element}
        assert [i.expression for i in deposit_issues(less, "professional") if i.severity == "error"] == [f"DocumentReference.{element}"]
    wrong = little | {"docStatus": "final"}
    assert [i.code for i in deposit_issues(wrong, "professional") if i.severity == "error"] == ["structure"]
    consent = good("Consent-mandat")
    del consent["provision"]["period"]["end"]
    assert [i.severity for i in deposit_issues(consent, "patient")] == ["error"]
    assert {"DocumentReference.type", "DocumentReference.subject", "DocumentReference.content"} <= needed()


def test_what_refuses_a_deposit_is_what_is_told_of_it_as_an_error():
    for resource in [*(read(path) for path in GOOD), {"resourceType": "DocumentReference"}, good("Consent-mandat") | {"provision": {}}]:
        for strict in (False, True):
            told = deposit_issues(resource, "professional", strict=strict)
            assert deposit_errors(resource, "professional", strict=strict) == [one for one in told if one.severity == "error"]


def test_alone_a_bundle_tells_what_is_its_own():
    bundle = next(read(path) for path in GOOD if path.name == "Bundle-depot-de-trois.json")
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "DocumentReference":
            entry["resource"]["docStatus"] = "final"
        entry.pop("fullUrl", None)
    (url,) = deposit_profiles(bundle, "professional")
    every, own = faults(bundle, url), faults(bundle, url, alone=True)
    assert own == [one for one in every if one.element.partition(".")[0].partition(":")[0] == "Bundle"] and len(own) < len(every)


RESOURCES = [(read(path), url) for path in GOOD for url in claimed(read(path))]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["coding", "system", "code", "resource", "reference", "extension", "url", "entry", "value"]), inner
        )
    ),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(RESOURCES), st.data())
def test_no_shape_of_a_resource_makes_it_fail(example, data):
    resource, url = copy.deepcopy(example[0]), example[1]
    for _ in range(3):
        owner = resource
        while True:
            keys = list(owner) if isinstance(owner, dict) else range(len(owner))
            if not keys:
                break
            key = data.draw(st.sampled_from(list(keys)))
            if isinstance(owner[key], dict | list) and owner[key] and data.draw(st.booleans()):
                owner = owner[key]
                continue
            owner[key] = data.draw(JUNK)
            break
    found = faults(resource, url)
    assert all(fault.severity in ("error", "warning") and fault.issue("fr").diagnostics for fault in found)


def test_many_faults_are_cut_short():
    team = good("CareTeam-equipe")
    team["participant"] = [{"member": {"reference": "Group/1"}}] * 500
    found = faults(team, url_of("dmp-care-team"))
    assert len(found) == 201 and found[-1].issue().code == "too-costly"


def test_an_element_that_repeats_beyond_measure_is_not_walked():
    team = good("CareTeam-equipe")
    team["participant"] = [{"member": {"reference": "Group/1"}}] * 20_001
    assert broken(team, "dmp-care-team") == [("crowded", "CareTeam.participant")]


def test_a_large_deposit_costs_in_proportion():
    deposit = good("Bundle-depot")
    head, rest = deposit["entry"][0], deposit["entry"][1:]

    def of(number):
        entries = [copy.deepcopy(entry) for _ in range(number) for entry in rest]
        for position, entry in enumerate(entries):
            entry["fullUrl"] = f"urn:uuid:{position}"
        return {**deposit, "entry": [head, *entries]}

    small, large, url = of(50), of(500), url_of("dmp-provide-document-bundle")
    faults(small, url)
    assert min(_timed(lambda: faults(large, url)) for _ in range(3)) < 60 * min(_timed(lambda: faults(small, url)) for _ in range(3))


def _timed(call):
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
