"""Parts of a resource. https://hl7.org/fhir/R4/search.html#summary"""

import doctest

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json as exact
from fhir_dmp.fhir import summary as module
from fhir_dmp.fhir.summary import elements, parse_mode, summary

TAG = (
    b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED",'
    b'"display":"Resource encoded in summary mode"}'
)
OBSERVATION = (
    b'{"resourceType":"Observation","id":"1","meta":{"versionId":"2","tag":[{"code":"t"}]},'
    b'"text":{"status":"generated","div":"<div>x</div>"},'
    b'"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value": 1.00},'
    b'"note":[{"text":"n"}],"issued":"2026-01-01"}'
)


def names(body):
    return list(exact.members(body))


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(module).failed == 0


def test_summary_true_keeps_the_flagged_elements_byte_for_byte():
    answer = summary(OBSERVATION, "Observation", "true")
    assert answer == (
        b'{"resourceType":"Observation","id":"1","meta":{"versionId":"2","tag":[{"code":"t"},' + TAG + b"]},"
        b'"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value": 1.00},"issued":"2026-01-01"}'
    )


def test_summary_text_keeps_the_narrative_and_what_is_mandatory():
    assert names(summary(OBSERVATION, "Observation", "text")) == ["resourceType", "id", "meta", "text", "status", "_status", "code"]


def test_summary_data_leaves_out_the_narrative_only():
    answer = summary(OBSERVATION, "Observation", "data")
    assert names(answer) == [name for name in names(OBSERVATION) if name != "text"] and TAG in answer


@pytest.mark.parametrize("mode", ["false", "count"])
def test_the_whole_resource_is_the_same_bytes(mode):
    assert summary(OBSERVATION, "Observation", mode) is OBSERVATION


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (["note"], ["note"]),
        (["Observation.note.text"], ["note"]),
        (["value"], ["valueQuantity"]),
        (["value[x]"], ["valueQuantity"]),
        (["valueQuantity"], ["valueQuantity"]),
        (["issued", "unknown", ""], ["issued"]),
        ([], []),
    ],
)
def test_elements_keeps_what_is_named_and_what_is_mandatory(asked, kept):
    answer = elements(OBSERVATION, "Observation", asked)
    assert names(answer) == ["resourceType", "id", "meta", "status", "_status", "code", *kept] and TAG in answer


def test_a_resource_without_meta_gets_one_for_the_tag():
    answer = elements(b'{"resourceType":"Patient","id":"1","active":true,"gender":"male"}', "Patient", ["gender"])
    assert answer == b'{"resourceType":"Patient","id":"1","meta":{"tag":[' + TAG + b']},"gender":"male"}'


def test_the_tag_is_not_repeated():
    once = summary(OBSERVATION, "Observation", "true")
    assert summary(once, "Observation", "true") == once


def test_what_changes_the_meaning_of_a_resource_is_never_left_out():
    body = b'{"resourceType":"Patient","modifierExtension":[{"url":"u","valueBoolean":true}],"implicitRules":"r","active":true}'
    assert names(elements(body, "Patient", ["name"])) == ["resourceType", "meta", "modifierExtension", "implicitRules"]


def test_other_modes_are_refused():
    assert parse_mode("text") == "text"
    with pytest.raises(FhirError):
        parse_mode("True")
