"""The index of a seal is written down: it is what extraction finds. Its signature is that of the library over the whole."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from joserfc import jwk

from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import vouching
from fhir_dmp.interactions.sealing import index_of
from fhir_dmp.search import blind
from fhir_dmp.search.extract import extract
from fhir_dmp.signing import jws
from fhir_dmp.signing.keys import new_key
from fhir_dmp.store.rows import NewRow
from fhir_dmp.store.vault import Vault

AT = 1_795_323_600_123
DOCUMENT, BINARY = f"DocumentReference/{'a' * 26}/_history/{'b' * 13}", f"Binary/{'c' * 26}/_history/{'d' * 13}"
HOLDER = f"Patient/{'e' * 26}"


@pytest.mark.parametrize(
    "targets",
    [[DOCUMENT], [DOCUMENT, BINARY, HOLDER], [f"{HOLDER}/_history/{'f' * 13}", HOLDER], [f"Consent/{'a' * 26}/_history/x", HOLDER]],
)
def test_the_index_of_a_seal_is_that_of_its_body(targets):
    body = {"resourceType": "Provenance", "target": [{"reference": one} for one in targets], "recorded": to_instant(AT)}
    found = extract("Provenance", body, base_urls=("http://dmp.test/fhir",))
    assert {code: set(values) for code, values in index_of(targets, AT).items()} == {code: set(values) for code, values in found.items()}


@pytest.mark.parametrize("patient", [HOLDER, ""])
def test_a_row_made_of_parts_is_indexed_like_the_whole(patient):
    vault = Vault(bytes(32))
    about = NewRow(bytes(16), 7, "DocumentReference", 1, AT, 0, (), (), (), (), b"{}", "POST")
    agent = {"type": {"coding": [{"system": "urn:s", "code": "custodian"}]}, "who": {"identifier": {"system": "urn:h", "value": "host"}}}
    shared = blind.entries("Provenance", extract("Provenance", {"resourceType": "Provenance", "agent": [agent]}), vault.hash64)
    versions = [DOCUMENT, BINARY]
    targets = [*versions, patient] if patient else versions
    body = {"target": [{"reference": one} for one in targets], "recorded": to_instant(AT), "agent": [agent]}
    made = vouching.made(vault, os.urandom, about, body, index_of(versions, AT), shared, patient=patient, at_ms=AT).row
    whole = blind.entries("Provenance", extract("Provenance", {"resourceType": "Provenance", **body}), vault.hash64, patient or None)
    assert [set(made.x), set(made.g), set(made.c), set(made.n)] == [set(part) for part in whole]


@pytest.mark.parametrize(("algorithm", "hashing"), [("ES256", SHA256), ("ES384", SHA384)])
def test_a_signature_is_the_deterministic_one_over_the_octets(algorithm, hashing):
    key = new_key(algorithm)
    head, payload, signature = jws.Signer(key).sign(b"some octets").split(".")
    private = jwk.import_key(dict(key), "EC").private_key
    r, s = decode_dss_signature(private.sign(f"{head}.{payload}".encode(), ec.ECDSA(hashing(), deterministic_signing=True)))
    size = jws.SIGNS[algorithm][3]
    assert jws.decoded(signature) == r.to_bytes(size) + s.to_bytes(size)
