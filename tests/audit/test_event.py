"""Traces as AuditEvents: valid FHIR in the shape of BALP, found by search exactly as the generic index would have them."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_dmp.audit.event import Disclosed, Server, Trace, encode
from fhir_dmp.audit.index import Indexer
from fhir_dmp.audit.kinds import ALERT, DCM, KINDS
from fhir_dmp.fhir import schema
from fhir_dmp.identity.actor import Actor
from fhir_dmp.search import blind, extract
from fhir_dmp.store.vault import Vault
from tests.audit.making import DOCTOR

NOW = 1_790_000_000_123
SERVER = Server("0f" * 16, "fhir-dmp", "https://dmp.example.org/fhir")
VAULT = Vault(bytes(32))


def traced(**fields) -> Trace:
    return Trace(
        **{"kind": "read", "at_ms": NOW, "actor": DOCTOR, "patient": "p1", "request_id": "r-1", "client_address": "10.0.0.1", **fields}
    )


def event(trace: Trace) -> dict:
    return json.loads(encode(trace, id="e1", version_id="v1", server=SERVER))


def codes(concept: dict) -> set[str]:
    return {f"{one.get('system', '')}|{one['code']}" for one in concept["coding"]}


def test_one_person_and_one_structure_have_one_spelling():
    """However their tokens say them: one search finds all their traces. What names nobody is told as it was said."""

    def told(**said) -> list[str]:
        agents = event(traced(actor=replace(DOCTOR, **said)))["agent"]
        return [one["who"]["identifier"]["value"] for one in agents if "identifier" in one["who"]]

    plain = told(subject_name_id="810001234567", organization="1750000001", with_professional="810001234568")
    assert told(subject_name_id="10001234567", organization="F750000001", with_professional="10001234568") == plain
    assert plain == ["810001234567", "1750000001", "810001234568"]
    assert told(subject_name_id="x", organization="hospital") == ["x", "hospital"]
    assert told(kind="structure", subject_name_id="", organization="750000001") == ["1750000001", "1750000001"]


names = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(["", "a b", "Ünï|ç,$", "\x00\n", '"\\'])
ids = st.from_regex(r"[A-Za-z0-9\-.]{1,20}", fullmatch=True)
codings = st.tuples(st.sampled_from(["", "urn:oid:1.2", "http://a.fr/x"]), names)
actors = st.builds(
    Actor,
    kind=st.sampled_from(["professional", "patient", "representative", "structure", "host", "operator", "system"]),
    issuer=names,
    subject=names,
    expires=st.just(2e9),
    jti=names,
    client_id=names,
    software=names,
    subject_name_id=st.just("") | names,
    roles=st.lists(names, max_size=2).map(tuple),
    specialties=st.lists(names, max_size=2).map(tuple),
    organization=names,
    purposes=st.lists(codings, max_size=2).map(tuple),
    patient=st.sampled_from(["", "p1", "p2"]),
    ins=st.none() | st.tuples(st.just("urn:oid:1.2.250.1.213.1.4.10"), names),
    related_person=st.just("") | ids,
    with_professional=st.just("") | names,
)
disclosures = st.builds(
    Disclosed, st.sampled_from(["DocumentReference", "Patient", "Binary"]), ids | st.sampled_from(["p1", "p2"]), st.just("") | ids
)
traces = st.builds(
    Trace,
    kind=st.sampled_from(sorted(KINDS)),
    at_ms=st.integers(0, 4_000_000_000_000),
    outcome=st.sampled_from("048") | st.just("12"),
    reason=names,
    actor=st.none() | actors,
    purposes=st.none() | st.lists(codings, max_size=1).map(tuple),
    patient=st.sampled_from(["", "p1"]),
    disclosed=st.lists(disclosures, max_size=4).map(tuple),
    consents=st.lists(ids, max_size=2).map(tuple),
    query=names,
    request_id=names,
    client_address=names,
    labels=st.none() | st.tuples(st.lists(ids, max_size=2).map(tuple), st.lists(ids, max_size=2).map(tuple)),
)
INDEXER = Indexer(VAULT.hash64, SERVER)


@settings(max_examples=150, deadline=None)
@given(traces)
def test_every_trace_is_valid_and_its_index_is_that_of_the_generic_way(trace):
    body, entries = INDEXER.build(trace, "e1", "v1")
    value = json.loads(body)
    assert schema.validate(value) == []
    assert body == encode(trace, id="e1", version_id="v1", server=SERVER)
    patient = f"Patient/{trace.patient}" if trace.patient else None
    expected = blind.entries("AuditEvent", extract.extract("AuditEvent", value), VAULT.hash64, patient)
    for field in "xgcn":
        shown = getattr(entries, field)
        assert set(shown) == set(getattr(expected, field)), field
        assert len(shown) == len(set(shown))


@pytest.mark.parametrize(
    ("kind", "action", "client", "server", "profile"),
    [
        ("read", "R", "110152", "110153", "PatientRead"),
        ("vread", "R", "110152", "110153", "PatientRead"),
        ("search-type", "E", "110153", "110152", "PatientQuery"),
        ("create", "C", "110153", "110152", "PatientCreate"),
        ("update", "U", "110153", "110152", "PatientUpdate"),
        ("patch", "U", "110153", "110152", "PatientUpdate"),
        ("delete", "D", "110150", "custodian", "PatientDelete"),
    ],
)
def test_interactions_have_the_shape_of_balp(kind, action, client, server, profile):
    value = event(traced(kind=kind, disclosed=(Disclosed("DocumentReference", "d1", "v7"),), query="DocumentReference/d1"))
    assert value["meta"]["profile"] == [f"https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{profile}"]
    assert value["type"]["code"] == "rest"
    assert [one["code"] for one in value["subtype"]] == [kind]
    assert (value["action"], value["outcome"]) == (action, "0")
    machines = [next(iter(codes(agent["type"]))).rpartition("|")[2] for agent in value["agent"][:2]]
    assert machines == [client, server]
    assert all(agent["who"] and agent["network"]["address"] for agent in value["agent"][:2])
    data = [one for one in value["entity"] if one.get("role", {}).get("code") == "4"]
    assert [one["what"]["reference"] for one in data] == ["DocumentReference/d1/_history/v7"]
    people = [one for one in value["entity"] if one["type"]["code"] == "1"]
    assert [(one["what"]["reference"], one["role"]["code"]) for one in people] == [("Patient/p1", "1")]


def test_the_user_is_named_with_role_purpose_and_token():
    (user,) = [agent for agent in event(traced())["agent"] if agent["requestor"]]
    assert codes(user["type"]) == {"http://terminology.hl7.org/CodeSystem/v3-ParticipationType|IRCP"}
    assert user["who"]["identifier"] == {"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810001234567"}
    assert "urn:oid:1.2.250.1.213.1.1.5.5|10" in codes({"coding": [c for role in user["role"] for c in role["coding"]]})
    assert user["policy"] == ["urn:ietf:params:oauth:jti:7c0f"]
    assert codes(user["purposeOfUse"][0]) == {"http://terminology.hl7.org/CodeSystem/v3-ActReason|TREAT"}
    organisations = [agent for agent in event(traced())["agent"] if "|PROV" in "".join(codes(agent["type"]))]
    assert [one["who"]["identifier"]["value"] for one in organisations] == ["1750000001"]


def test_a_search_tells_the_query_and_each_document_with_its_version():
    documents = tuple(Disclosed("DocumentReference", f"d{n}", f"v{n}") for n in range(3))
    value = event(traced(kind="search-type", disclosed=documents, query="DocumentReference?patient=p1"))
    (query,) = [one["query"] for one in value["entity"] if "query" in one]
    assert base64.b64decode(query) == b"DocumentReference?patient=p1"
    named = [one["what"]["reference"] for one in value["entity"] if one.get("role", {}).get("code") == "4"]
    assert named == [f"DocumentReference/d{n}/_history/v{n}" for n in range(3)]
    assert [one["what"]["identifier"]["value"] for one in value["entity"] if one["type"]["code"] == "XrequestId"] == ["r-1"]


def test_a_refusal_says_why_and_claims_no_profile():
    value = event(traced(kind="refusal", outcome="8", reason="blocked-professional", query="Patient/p1"))
    assert (value["outcome"], value["outcomeDesc"]) == ("8", "blocked-professional")
    assert (value["type"]["system"], value["type"]["code"]) == ALERT[:2] == (DCM, "110113")
    assert "profile" not in value["meta"]


def test_masking_keeps_both_labels():
    value = event(traced(kind="mask", disclosed=(Disclosed("DocumentReference", "d1", "v1"),), labels=((), ("MASQUE_PS",))))
    (entity,) = [one for one in value["entity"] if "detail" in one]
    assert {one["type"]: one["valueString"] for one in entity["detail"]} == {"label-before": "none", "label-after": "MASQUE_PS"}


def test_the_holder_of_another_dossier_is_not_a_second_patient_of_the_trace():
    other = Actor(kind="patient", issuer="i", subject="s", expires=2e9, patient="p2")
    value = event(traced(kind="refusal", outcome="8", actor=other))
    (user,) = [agent for agent in value["agent"] if agent["requestor"]]
    assert "reference" not in user["who"]
    assert user["who"]["identifier"]["value"] == "p2"
