"""Servers shared by the tests of this room: one as it comes, one with narrow limits."""

import pytest

from tests.serving import serving

ORIGIN = "https://app.example.org"
TIGHT = {
    "FHIR_DMP_MAX_BODY_BYTES": "200000",
    "FHIR_DMP_BODY_SECONDS": "1",
    "FHIR_DMP_HEADER_SECONDS": "1",
    "FHIR_DMP_CORS_ORIGINS": ORIGIN,
    "FHIR_DMP_MAX_URL_BYTES": "2000",
}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A sandbox with two workers and the settings as they come."""
    with serving(tmp_path_factory.mktemp("server"), "--workers", "2") as running:
        yield running


@pytest.fixture(scope="session")
def tight(tmp_path_factory):
    """A store for real use, with narrow limits and one web origin."""
    with serving(tmp_path_factory.mktemp("tight"), environment=TIGHT, sandbox=False) as running:
        yield running


def issue(answer):
    """The first issue of an OperationOutcome: (severity, code)."""
    assert answer.headers["content-type"].startswith("application/fhir+json"), answer.text
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome" and body["issue"][0]["diagnostics"]
    return body["issue"][0]["severity"], body["issue"][0]["code"]
