"""One data folder into which everything there is was imported, for all who look at it."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.serving import run

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "import"
CORPORA = ROOT.parent / "shared" / "corpora"
# What some examples of the corpora refer to without bringing it.
NEEDED = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.8", "value": "123456789012345"}],
    "name": [{"family": "PASTOUREAU", "given": ["Philippine"]}],
}


class Imported(NamedTuple):
    """data: the data folder, closed. folder: what was imported. told: lines of the report. code: exit code."""

    data: Path
    folder: Path
    told: list[dict]
    code: int


def sources() -> list[str]:
    """Names of the folders that are imported: those of the corpora, as far as they are there, and our own."""
    found = [path.name for path in sorted(CORPORA.iterdir()) if path.is_dir()] if CORPORA.is_dir() else []
    return ["own", *found]


@pytest.fixture(scope="session")
def imported(tmp_path_factory) -> Imported:
    """The store with our own fixtures and the corpora in it."""
    place = tmp_path_factory.mktemp("imported")
    folder, data = place / "sources", place / "data"
    folder.mkdir()
    for name in sources():
        shutil.copytree(FIXTURES if name == "own" else CORPORA / name, folder / name)
    needed = place / "needed.json"
    needed.write_text(json.dumps(NEEDED), "utf-8")
    options = ("--data", str(data), "--sandbox")
    environment = {"FHIR_DMP_MONGOD_CACHE_GB": "0.25"}
    first = run("import", str(needed), *options, environment=environment)
    assert first.returncode == 0, first.stderr
    report = place / "report.ndjson"
    done = run("import", str(folder), *options, "--report", str(report), environment=environment)
    assert done.returncode in (0, 3), done.stderr
    return Imported(data, folder, [json.loads(line) for line in report.read_text("utf-8").splitlines()], done.returncode)
