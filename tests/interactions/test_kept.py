"""Nobody writes a trace through the API but the server; https://hl7.org/fhir/R4/auditevent.html"""

import os
from dataclasses import replace

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions.context import Context, admit
from fhir_dmp.settings import Settings
from tests.audit.making import DOCTOR


def context(**actor) -> Context:
    return Context(None, replace(DOCTOR, **actor), Settings(), "http://localhost/fhir", lambda: 0, os.urandom)


@pytest.mark.parametrize("kind", ["professional", "patient", "representative", "structure", "host", "feed", "operator", "support"])
@pytest.mark.parametrize("letter", "cud")
def test_a_trace_is_neither_made_nor_changed_nor_deleted(kind, letter):
    with pytest.raises(FhirError) as error:
        admit(context(kind=kind), "AuditEvent", letter)
    assert (error.value.status, error.value.headers) == (405, {"Allow": "GET, HEAD"})
    admit(context(kind=kind), "Observation", letter)


def test_traces_are_read_imported_and_free_in_a_sandbox():
    admit(context(), "AuditEvent", "r")
    admit(context(), "AuditEvent", "s")
    admit(replace(context(kind="host"), importing=True), "AuditEvent", "c")
    admit(context(kind="system"), "AuditEvent", "c")
