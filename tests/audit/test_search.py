"""Traces are found by FHIR search like any other resource. https://hl7.org/fhir/R4/auditevent.html#search"""

import pytest

from fhir_dmp.audit.event import Disclosed
from fhir_dmp.audit.recorder import Recorder
from tests.audit.making import new_patient, read_of
from tests.search.hosting import context_on, ids

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"


@pytest.fixture
async def traced(sandbox_store):
    """(store, patient, document): one search that disclosed the document, one refusal, and as much about another patient."""
    recorder = Recorder(sandbox_store)
    patient, other = await new_patient(sandbox_store), await new_patient(sandbox_store)
    document = sandbox_store.vault.new_id(sandbox_store.vault.dossier_of_patient(patient))
    for one in (patient, other):
        shown = (Disclosed("DocumentReference", document, "v1"),) if one == patient else ()
        await recorder.record([read_of(one, kind="search-type", disclosed=shown, at_ms=1_790_000_000_000, request_id="r-one")])
        await recorder.record([read_of(one, kind="refusal", outcome="8", reason="blocked", disclosed=(), at_ms=1_790_000_060_000)])
    return sandbox_store, patient, document


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 2),
        ("&date=ge2026-09-21T14:14:00Z", 1),
        ("&date=2026", 2),
        ("&type=rest", 1),
        ("&subtype=http://hl7.org/fhir/restful-interaction|search-type", 1),
        ("&subtype=AuthZ-Consent", 1),
        ("&outcome=8", 1),
        ("&outcome=0", 1),
        ("&action=E", 2),
        (f"&agent:identifier={IDNPS}|810001234567", 2),
        (f"&agent:identifier={IDNPS}|819999999999", 0),
        ("&agent-role=professional", 2),
        ("&entity=DocumentReference/{document}", 1),
        ("&entity:identifier=r-one", 1),
        ("&policy=urn:ietf:params:oauth:jti:7c0f", 2),
        ("&entity-role=24", 2),
    ],
)
async def test_found_by_every_parameter_of_the_journal(traced, query, number):
    store, patient, document = traced
    found = await ids(context_on(store), f"AuditEvent?patient=Patient/{patient}{query.format(document=document)}")
    assert len(found) == number


async def test_a_professional_finds_his_own_across_dossiers(traced):
    store, _, _ = traced
    assert len(await ids(context_on(store), f"AuditEvent?agent:identifier={IDNPS}|810001234567")) == 4
