"""What is good for PDSm, MHD and fr-core is good for us: the published examples of those guides follow our profiles.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ ; differences in ig/profiles-differences.md. Runs where the corpora are.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_dmp.fhir.profiles import faults, url_of
from tests.profiles.reading import broken, good, read

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"
# Profile of another guide, last part of its address -> ours.
OURS = {
    "pdsm-comprehensive-document-reference": "dmp-document-reference",
    "pdsm-simplified-publish": "dmp-simplified-publish",
    "pdsm-submissionset-comprehensive": "dmp-submission-set",
    "pdsm-folder-comprehensive": "dmp-folder",
    "pdsm-comprehensive-provide-document-bundle": "dmp-provide-document-bundle",
    "IHE.MHD.ProvideDocumentBundleResponse": "dmp-provide-document-response",
    "fr-core-patient-ins": "dmp-patient",
    "as-dp-practitioner": "dmp-practitioner",
    "as-dp-organization": "dmp-organization",
    "as-dp-practitionerrole": "dmp-practitioner-role",
}


def claims(value: object) -> Iterator[tuple[dict, str]]:
    """(resource, profile of ours) for everything inside that claims a profile we answer to."""
    if isinstance(value, dict):
        for url in value.get("meta", {}).get("profile", ()) if "resourceType" in value else ():
            if mine := OURS.get(url.rpartition("/")[2]):
                yield value, mine
        for inner in value.values():
            yield from claims(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from claims(inner)


FOUND = [(path, *one) for path in sorted(CORPORA.glob("pdsm*/*.json")) for one in claims(read(path))]


@pytest.mark.parametrize(("path", "resource", "profile"), FOUND, ids=lambda value: value.stem if isinstance(value, Path) else None)
def test_an_example_of_another_guide_breaks_no_rule_of_ours(path, resource, profile):
    assert [(fault.rule, fault.expression) for fault in faults(resource, url_of(profile)) if fault.severity == "error"] == []


def test_what_pdsm_refuses_we_refuse():
    """The prohibitions of PDSm that protect a reader, each on an entry that is otherwise right."""
    for name, value in (("docStatus", "final"), ("modifierExtension", [{"url": "http://x.example", "valueString": "not"}])):
        assert broken(good("DocumentReference-consultation") | {name: value}, "dmp-document-reference")
    for element in ("masterIdentifier", "type", "subject", "date", "author", "securityLabel", "context"):
        entry = good("DocumentReference-consultation")
        del entry[element]
        assert broken(entry, "dmp-document-reference") == [("min", f"DocumentReference.{element}")]
