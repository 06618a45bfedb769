"""A deposit that is given a keeper and loses its labels is not parsed again, and is what it would be if it were."""

import os

import pytest

from fhir_dmp.fhir import json
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import depositing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.prepare import check
from fhir_dmp.settings import Settings
from fhir_dmp.store.resources import wall_clock_ms

LABELS = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
PLAIN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}
MASK = {"coding": [{"system": LABELS, "code": "MASQUE_PS"}]}


@pytest.mark.parametrize("labels", [[PLAIN], [PLAIN, MASK], [MASK], None], ids=["plain", "both", "mask", "none"])
@pytest.mark.parametrize("keeper", [None, {"display": "Archives", "reference": "Organization/1"}], ids=["no keeper", "keeper"])
def test_the_resource_its_index_and_its_references_are_those_of_its_bytes(store, labels, keeper):
    actor = Actor(kind="structure", issuer="test", subject="test", expires=float("inf"), organization="1750000001")
    context = Context(store, actor, Settings(), "http://localhost/fhir", wall_clock_ms, os.urandom)
    sent = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "author": [{"reference": "Practitioner/1"}],
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/1", "size": 15}}],
        **({"securityLabel": labels} if labels else {}),
        **({"custodian": keeper} if keeper else {}),
    }
    made = depositing._apart(context, None, check(context, json.dump(sent), "DocumentReference"))
    whole = check(context, made.body, "DocumentReference")
    assert made.value == whole.value and ("custodian" in made.value) and ("securityLabel" in made.value) == (PLAIN in (labels or ()))
    assert made.told.entries("Patient/p1") == whole.told.entries("Patient/p1")
    assert sorted(made.references) == sorted(whole.references)


def test_another_context_is_the_same_but_for_what_is_said(store):
    actor = Actor(kind="system", issuer="test", subject="test", expires=float("inf"))
    context = Context(store, actor, Settings(), "http://localhost/fhir", wall_clock_ms, os.urandom, lenient=True, election="one")
    other = context.but(language="fr", transaction="a transaction")
    assert (other.language, other.transaction, context.language, context.transaction) == ("fr", "a transaction", "en", None)
    same = [name for name in Context.__slots__ if name not in ("language", "transaction")]
    assert [getattr(other, name) for name in same] == [getattr(context, name) for name in same]
