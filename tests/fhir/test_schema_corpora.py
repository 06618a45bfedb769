"""Real resources are valid. https://hl7.org/fhir/R4/validation.html"""

import gzip
from pathlib import Path

import jiter
import pytest

from fhir_dmp.fhir.schema import validate

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "corpora"
FILES = sorted(p for pattern in ("*/*.json", "*/*.ndjson", "*/*.json.gz") for p in CORPORA.glob(pattern))


def _resources(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for text in data.splitlines() if path.suffix == ".ndjson" else [data]:
        if text.strip():
            yield jiter.from_json(text, float_mode="decimal")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_resource_of_the_corpora_is_valid(path):
    for resource in _resources(path):
        assert validate(resource) == [], resource.get("id")
