"""Traces and stores to test with."""

import itertools

from fhir_dmp.audit.event import Disclosed, Trace
from fhir_dmp.identity.actor import Actor
from fhir_dmp.store.resources import Store
from tests.store.making import new_row

DOCTOR = Actor(
    kind="professional",
    issuer="https://login.example.org",
    subject="s1",
    expires=2e9,
    jti="7c0f",
    client_id="software-1",
    software="Cabinet 3.2",
    subject_name_id="810001234567",
    roles=("10^1.2.250.1.213.1.1.5.5",),
    specialties=("SM54",),
    organization="1750000001",
    purposes=(("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT"),),
)
_numbers = itertools.count(1)


async def new_patient(store: Store) -> str:
    """Id of a stored Patient."""
    row = new_row(store)
    await store.create(row)
    return store.vault.seal_id(row.key)


def read_of(patient: str, **fields) -> Trace:
    """A read by a doctor."""
    number = next(_numbers)
    values = {
        "kind": "read",
        "at_ms": 1_790_000_000_000 + number,
        "actor": DOCTOR,
        "patient": patient,
        "disclosed": (Disclosed("DocumentReference", f"d{number}", "v1"),),
        "query": f"DocumentReference/d{number}",
        "request_id": f"r-{number}",
        "client_address": "10.0.0.1",
    }
    return Trace(**{**values, **fields})
