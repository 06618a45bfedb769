"""Bundles: plans of batches and transactions, spliced answers. https://hl7.org/fhir/R4/bundle.html"""

import base64
import doctest
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import bundle as module
from fhir_dmp.fhir.bundle import (
    Answer,
    Hit,
    Url,
    Version,
    batch_response,
    conditional_references,
    history_bundle,
    overlaps,
    parse_url,
    plan,
    searchset,
    transaction_response,
    unresolved,
)
from fhir_dmp.fhir.json import parse, pretty
from fhir_dmp.fhir.references import rewrite

BASE = ("https://dmp.example/fhir",)


def entry(method, url, resource=None, full_url=None, **request):
    made = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url is not None:
        made["fullUrl"] = full_url
    return made


def transaction(*entries, kind="transaction"):
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def patient(**members):
    return {"resourceType": "Patient", **members}


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(module).failed == 0


def test_a_transaction_takes_effect_in_the_order_of_the_standard():
    sent = transaction(
        entry("GET", "Patient/1"),
        entry("PUT", "Patient/2", patient(id="2")),
        entry("POST", "Patient", patient(), "urn:uuid:1"),
        entry("HEAD", "Patient/4"),
        entry("PATCH", "Patient/5", {"resourceType": "Parameters"}),
        entry("DELETE", "Patient/6"),
        entry("POST", "Patient", patient()),
    )
    assert [e.index for e in plan(sent).ordered()] == [5, 2, 6, 1, 4, 0, 3]
    assert [e.index for e in plan({**sent, "type": "batch"}).ordered()] == [0, 1, 2, 3, 4, 5, 6]


def test_an_entry_says_what_is_asked():
    sent = transaction(
        entry("POST", "Patient", patient(), "urn:uuid:1", ifNoneExist="identifier=urn:oid:1.2%7C3"),
        entry("PUT", "Patient?identifier=a|b", patient(), ifMatch='W/"2"'),
        entry("GET", "https://dmp.example/fhir/Patient/1/_history/2", ifNoneMatch='W/"2"', ifModifiedSince="1970-01-01T00:00:01Z"),
        entry("POST", "Patient/1/$validate", {"resourceType": "Parameters"}),
        entry("PUT", "Patient/9", patient(id="9"), "https://dmp.example/fhir/Patient/9"),
    )
    first, second, third, fourth, fifth = plan(sent, base_urls=BASE).entries
    assert (first.full_url, first.if_none_exist, first.creates) == ("urn:uuid:1", (("identifier", "urn:oid:1.2|3"),), True)
    assert (second.target.query, second.target.conditional, second.if_match) == ((("identifier", "a|b"),), True, 'W/"2"')
    assert (third.target, third.if_none_match, third.if_modified_since) == (
        Url("Patient", "1", ("_history", "2"), (), False),
        'W/"2"',
        1000,
    )
    assert (fourth.target.tail, fourth.creates) == (("$validate",), False)
    assert (fifth.base, fifth.target.identity, fifth.resource) == ("https://dmp.example/fhir", "Patient/9", patient(id="9"))


PATCHES = [
    ({"resourceType": "Parameters", "parameter": []}, "fhirpath", None),
    (
        {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": base64.b64encode(b'[{"op":"test"}]').decode()},
        "json",
        [{"op": "test"}],
    ),
]


@pytest.mark.parametrize(("resource", "language", "operations"), PATCHES)
def test_a_patch_is_parameters_or_a_binary(resource, language, operations):
    found = plan(transaction(entry("PATCH", "DocumentReference?identifier=1", resource))).entries[0]
    assert (found.patch, found.operations) == (language, operations)


FAULTS = [
    ({"resource": patient()}, 400, "Bundle.entry[0].request", "an entry needs a request"),
    (entry("FETCH", "Patient/1"), 400, "Bundle.entry[0].request.method", "unknown method"),
    (entry({}, "Patient/1"), 400, "Bundle.entry[0].request.method", "unknown method"),
    (entry("GET", ""), 400, "Bundle.entry[0].request.url", "GET cannot be sent to"),
    (entry("GET", 3), 400, "Bundle.entry[0].request.url", "GET cannot be sent to"),
    (entry("GET", "https://other.example/fhir/Patient/1"), 400, "Bundle.entry[0].request.url", "not an address relative"),
    (entry("GET", "//other.example/Patient/1"), 400, "Bundle.entry[0].request.url", "not an address"),
    (entry("GET", "Patient/../../etc"), 400, "Bundle.entry[0].request.url", "not an address of"),
    (entry("GET", "Patient/%2e%2e"), 400, "Bundle.entry[0].request.url", "not an address of"),
    (entry("GET", "Patient/a%2Fb"), 400, "Bundle.entry[0].request.url", "not an address of"),
    (entry("GET", "Patient/" + "1" * 65), 400, "Bundle.entry[0].request.url", "is not an id"),
    (entry("GET", "Patient/１"), 400, "Bundle.entry[0].request.url", "not an address of"),
    (entry("GET", "Patient?" + "x" * 60_000), 400, "Bundle.entry[0].request.url", "more than 60000 characters"),
    (entry("GET", "Patient?" + "a&" * 2000), 400, "Bundle.entry[0].request.url", "is not a query"),
    (entry("GET", "Shoe/1"), 422, "Bundle.entry[0].request.url", "`Shoe` is not a resource type"),
    (entry("POST", "Patient/1", patient()), 400, "Bundle.entry[0].request.url", "POST cannot be sent to"),
    (entry("PUT", "Patient", patient()), 400, "Bundle.entry[0].request.url", "PUT cannot be sent to"),
    (entry("PUT", "Patient?", patient()), 400, "Bundle.entry[0].request.url", "PUT cannot be sent to"),
    (entry("DELETE", "Patient/1/_history/2"), 400, "Bundle.entry[0].request.url", "DELETE cannot be sent to"),
    (entry("POST", "Patient"), 400, "Bundle.entry[0].resource", "POST needs a resource"),
    (entry("POST", "Patient", {"resourceType": "Basic"}), 400, "Bundle.entry[0].resource.resourceType", "not a Patient"),
    (entry("PUT", "Patient/1", patient(id="2")), 400, "Bundle.entry[0].resource.id", "id of the resource is not `1`"),
    (entry("PUT", "Patient/1", patient()), 400, "Bundle.entry[0].resource.id", "id of the resource is not `1`"),
    (entry("PATCH", "Patient/1"), 400, "Bundle.entry[0].resource", "PATCH needs Parameters"),
    (
        entry("PATCH", "Patient/1", {"resourceType": "Binary", "contentType": "text/plain"}),
        400,
        "Bundle.entry[0].resource.contentType",
        "json-patch",
    ),
    (
        entry("PATCH", "Patient/1", {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "e30="}),
        400,
        "Bundle.entry[0].resource.data",
        "list of operations",
    ),
    (
        entry("PATCH", "Patient/1", {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "€"}),
        400,
        "Bundle.entry[0].resource.data",
        "not base64",
    ),
    (entry("POST", "Patient", patient(), ifNoneExist=""), 400, "Bundle.entry[0].request.ifNoneExist", "without a search parameter"),
    (entry("GET", "Patient/1", ifModifiedSince="now"), 400, "Bundle.entry[0].request.ifModifiedSince", "not an instant"),
    (entry("POST", "Patient", patient(), "http://a/Patient/1/_history/2"), 422, "Bundle.entry[0].fullUrl", "names no version"),
]


@pytest.mark.parametrize(("sent", "status", "place", "words"), FAULTS, ids=range(len(FAULTS)))
def test_a_faulty_entry_refuses_the_transaction_and_only_itself_in_a_batch(sent, status, place, words):
    with pytest.raises(FhirError) as caught:
        plan(transaction(sent, entry("GET", "Patient/1")), base_urls=BASE)
    assert caught.value.status == status
    assert [issue.expression for issue in caught.value.issues] == [place] and words in caught.value.message
    first, second = plan(transaction(sent, entry("GET", "Patient/1"), kind="batch"), base_urls=BASE).entries
    assert words in first.fault.message and second.fault is None


def test_all_faults_of_a_transaction_are_named_at_once():
    with pytest.raises(FhirError) as caught:
        plan(transaction(entry("GET", "Shoe/1"), entry("PUT", "Patient/1", patient(id="1")), entry("DELETE", "Patient/1")))
    assert caught.value.status == 422
    assert [issue.expression for issue in caught.value.issues] == ["Bundle.entry[0].request.url", "Bundle.entry[2]"]


def test_the_same_full_url_twice_refuses_a_transaction():
    with pytest.raises(FhirError, match="already the fullUrl of") as caught:
        plan(transaction(entry("POST", "Patient", patient(), "urn:uuid:1"), entry("POST", "Patient", patient(), "urn:uuid:1")))
    assert (caught.value.status, caught.value.where) == (422, "Bundle.entry[1].fullUrl")


def test_a_resource_changed_twice_is_found_also_behind_conditions():
    made = plan(transaction(entry("PUT", "Patient?identifier=1", patient()), entry("DELETE", "Patient/7"), entry("GET", "Patient/7")))
    assert overlaps(made.entries) == []
    assert [fault.where for fault in overlaps(made.entries, {0: "Patient/7"})] == ["Bundle.entry[1]"]


@pytest.mark.parametrize(
    "sent",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Bundle"},
        transaction() | {"entry": {}},
    ],
)
def test_other_bundles_are_not_processed(sent):
    with pytest.raises(FhirError) as caught:
        plan(sent)
    assert caught.value.status == 400


def test_an_empty_transaction_is_an_empty_plan():
    assert plan({"resourceType": "Bundle", "type": "transaction"}).entries == ()


def test_links_lead_from_full_urls_to_what_the_entries_became():
    u1, u2 = "urn:uuid:1", "urn:uuid:2"
    made = plan(
        transaction(
            entry("POST", "Patient", patient(link=[{"other": {"reference": u2}}]), u1),
            entry("POST", "Patient", patient(link=[{"other": {"reference": u1}}]), u2),
            entry("POST", "Observation", {"resourceType": "Observation", "subject": {"reference": "urn:uuid:3"}}),
        )
    )
    links = made.links({0: "Patient/a", 1: "Patient/b", 2: "Observation/c"})
    assert links == {u1: "Patient/a", u2: "Patient/b"}
    assert rewrite(made.entries[0].resource, links) == patient(link=[{"other": {"reference": "Patient/b"}}])
    assert [unresolved(e, made.full_urls) for e in made.entries[:2]] == [[], []]
    assert [i.expression for i in unresolved(made.entries[2], made.full_urls)] == ["Bundle.entry[2].resource.subject.reference"]


def test_conditional_references_are_listed_with_their_query():
    resource = {"resourceType": "Observation", "subject": {"reference": "Patient?identifier=urn:oid:1|2"}, "focus": [{"reference": "#x"}]}
    assert list(conditional_references(resource)) == [
        ("Observation.subject.reference", "Patient?identifier=urn:oid:1|2", "Patient", (("identifier", "urn:oid:1|2"),))
    ]


def test_ten_thousand_circular_entries_are_planned():
    count = 10_000
    made = plan(
        transaction(
            *(
                entry("POST", "Patient", patient(link=[{"other": {"reference": f"urn:uuid:{(i + 1) % count}"}}]), f"urn:uuid:{i}")
                for i in range(count)
            )
        )
    )
    links = made.links({i: f"Patient/{i}" for i in range(count)})
    assert rewrite(made.entries[-1].resource, links)["link"][0]["other"]["reference"] == "Patient/0"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("Patient", Url("Patient", "", (), (), False)),
        ("/Patient/1", Url("Patient", "1", (), (), False)),
        ("Patient/1/Observation?code=a", Url("Patient", "1", ("Observation",), (("code", "a"),), True)),
        ("Patient/_history", Url("Patient", "", ("_history",), (), False)),
        ("_history?_count=2", Url("", "", ("_history",), (("_count", "2"),), True)),
        ("metadata", Url("", "", ("metadata",), (), False)),
        ("$export", Url("", "", ("$export",), (), False)),
        ("?_type=Patient", Url("", "", (), (("_type", "Patient"),), True)),
        ("https://dmp.example/fhir?_type=Patient", Url("", "", (), (("_type", "Patient"),), True)),
    ],
)
def test_addresses(text, url):
    assert parse_url(text, BASE) == url


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["POST", "Patient", "Patient/1", "Patient?a=b", "urn:uuid:1", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["request", "method", "url", "resource", "resourceType", "fullUrl", "id", "ifNoneExist"]), inner),
    ),
    max_leaves=20,
)


@given(st.lists(JUNK, max_size=4), st.sampled_from(["batch", "transaction"]))
def test_any_entries_are_planned_or_refused(entries, kind):
    try:
        made = plan(transaction(*entries, kind=kind))
    except FhirError as error:
        assert error.status in (400, 422) and kind == "transaction"
    else:
        assert len(made.entries) == len(entries)


BODY = b'{"resourceType":"Observation","id":"1", "valueQuantity":{"value":1.00}}'


def test_a_searchset_holds_the_bytes_as_they_are():
    answer = searchset(
        [Hit("http://b/Observation/1", BODY), Hit("http://b/Patient/1", b'{"resourceType":"Patient"}', "include")],
        total=7,
        links=[("self", 'http://b/Observation?x=a&y="é"'), ("next", "http://b?p=2")],
        id="s",
        last_updated_ms=0,
    )
    assert answer == (
        b'{"resourceType":"Bundle","id":"s","meta":{"lastUpdated":"1970-01-01T00:00:00.000Z"},"type":"searchset","total":7,'
        b'"link":[{"relation":"self","url":"http://b/Observation?x=a&y=\\"\xc3\xa9\\""},{"relation":"next","url":"http://b?p=2"}],'
        b'"entry":[{"fullUrl":"http://b/Observation/1","resource":' + BODY + b',"search":{"mode":"match"}},'
        b'{"fullUrl":"http://b/Patient/1","resource":{"resourceType":"Patient"},"search":{"mode":"include"}}]}'
    )


def test_an_empty_searchset_has_no_empty_lists():
    assert searchset([], total=0) == b'{"resourceType":"Bundle","type":"searchset","total":0}'


def test_a_history_tells_what_made_each_version():
    answer = json.loads(
        history_bundle(
            [Version("u", None, "DELETE", "Observation/1", 204, "2", 1000), Version("u", BODY, "POST", "Observation", 201, "1", 0)], total=2
        )
    )
    assert answer["entry"] == [
        {
            "fullUrl": "u",
            "request": {"method": "DELETE", "url": "Observation/1"},
            "response": {"status": "204 No Content", "etag": 'W/"2"', "lastModified": "1970-01-01T00:00:01.000Z"},
        },
        {
            "fullUrl": "u",
            "resource": json.loads(BODY),
            "request": {"method": "POST", "url": "Observation"},
            "response": {"status": "201 Created", "etag": 'W/"1"', "lastModified": "1970-01-01T00:00:00.000Z"},
        },
    ]


def test_responses_follow_their_requests():
    assert transaction_response([Answer(201, "Patient/1/_history/1", "1", 0), Answer(200, resource=BODY), Answer(204)]) == (
        b'{"resourceType":"Bundle","type":"transaction-response","entry":['
        b'{"response":{"status":"201 Created","location":"Patient/1/_history/1","etag":"W/\\"1\\"",'
        b'"lastModified":"1970-01-01T00:00:00.000Z"}},'
        b'{"resource":' + BODY + b',"response":{"status":"200 OK"}},{"response":{"status":"204 No Content"}}]}'
    )
    assert batch_response([Answer(404, outcome=b'{"resourceType":"OperationOutcome"}')]) == (
        b'{"resourceType":"Bundle","type":"batch-response","entry":['
        b'{"response":{"status":"404 Not Found","outcome":{"resourceType":"OperationOutcome"}}}]}'
    )


def test_pretty_json_keeps_numbers_and_texts():
    body = b'{"a":[1.00,-0,1E2,123456789012345678901234567890],"b":{},"c":"\\u00e9"}'
    shown = pretty(body)
    assert b"1.00" in shown and b"-0" in shown and b"1E2" in shown and b"\\u00e9" in shown and shown.count(b"\n") == 9
    assert parse(shown) == parse(body) and parse(shown)["a"][0] == Decimal("1.00")
