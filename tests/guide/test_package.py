"""The FHIR package: its parts, its index, every resource valid, the same bytes each time.

https://confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

import io
import json
import re
import tarfile

import pytest

from fhir_dmp.fhir import schema
from fhir_dmp.guide import package, sources


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Name -> content."""
    with tarfile.open(fileobj=io.BytesIO(package.archive())) as made:
        assert all(entry.isfile() and entry.mtime == 0 for entry in made.getmembers())
        return {entry.name: made.extractfile(entry).read() for entry in made.getmembers()}


def test_the_manifest_says_what_it_is(files):
    manifest = json.loads(files["package/package.json"])
    assert re.fullmatch(r"[a-z][a-z0-9\-]*(\.[a-z0-9\-]+)+", manifest["name"])
    assert manifest["fhirVersions"] == ["4.0.1"] and manifest["dependencies"] == {"hl7.fhir.r4.core": "4.0.1"}
    assert next(iter(files)) == "package/package.json"


@pytest.mark.parametrize("folder", ["package", "package/example"])
def test_the_index_lists_every_resource_of_its_folder(files, folder):
    index = json.loads(files[f"{folder}/.index.json"])
    inside = {name.removeprefix(f"{folder}/") for name in files if name.rpartition("/")[0] == folder} - {".index.json", "package.json"}
    assert index["index-version"] == 2 and [one["filename"] for one in index["files"]] == sorted(inside)
    for one in index["files"]:
        resource = json.loads(files[f"{folder}/{one['filename']}"])
        assert {name: resource[name] for name in one if name != "filename"} == {name: one[name] for name in one if name != "filename"}
        assert one["filename"] == f"{resource['resourceType']}-{resource['id']}.json"


def test_it_holds_every_artefact_and_at_least_sixty_examples(files):
    made = [path.name for path in sources.PROFILES.glob("*-*.json") if "resourceType" in json.loads(path.read_text("utf-8"))]
    assert made and {name for name in made if f"package/{name}" not in files} == set()
    assert sum(name.startswith("package/example/") for name in files) > 60
    guide = json.loads(next(content for name, content in files.items() if "ImplementationGuide-" in name))
    listed = {one["reference"]["reference"] for one in guide["definition"]["resource"]}
    assert {f"{one['resourceType']}/{one['id']}" for name, one in parsed(files) if "ImplementationGuide-" not in name} == listed


def test_every_resource_is_valid_fhir(files):
    faults = {}
    for name, one in parsed(files):
        # Slots of the fixtures of TestScripts are filled when they are played.
        text = re.sub(r"\$\{[\w-]+\}", "1", json.dumps(one)) if one["resourceType"] == "TestScript" else json.dumps(one)
        if found := [issue for issue in schema.validate(json.loads(text)) if issue.severity in ("error", "fatal")]:
            faults[name] = found[:2]
    assert faults == {}


def test_canonicals_are_unique(files):
    urls = [one["url"] for name, one in parsed(files) if "url" in one and "example" not in name]
    assert len(urls) == len(set(urls))


def test_the_same_sources_give_the_same_bytes():
    assert package.archive() == package.archive()


def parsed(files):
    return [(name, one) for name, content in files.items() if "resourceType" in (one := json.loads(content))]
