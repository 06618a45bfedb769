"""The FHIR package of the guide, as package managers and validators load it.

https://confluence.hl7.org/display/FHIR/NPM+Package+Specification : package/package.json, package/.index.json, package/example/.
"""

import gzip
import io
import json
import tarfile
from pathlib import Path

import msgspec

from fhir_dmp import __version__
from fhir_dmp.guide import sources

NAME = "fr.fhir-dmp"
CANONICAL = "https://fhir-dmp.example.org/fhir"
CONFORMANCE = (
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "ConceptMap",
    "NamingSystem",
    "SearchParameter",
    "OperationDefinition",
    "CapabilityStatement",
    "TestScript",
    "ImplementationGuide",
)
INDEXED = ("resourceType", "id", "url", "version", "kind", "type", "supplements", "content", "derivation", "valueSet")


def conformance() -> list[tuple[Path, dict]]:
    """(file, resource) of every artefact of profiles/, and the CapabilityStatement."""
    found = []
    for path in [*sorted(sources.PROFILES.glob("*.json")), sources.ROOT / "capability_statement.json"]:
        resource = json.loads(path.read_text("utf-8"))
        if isinstance(resource, dict) and resource.get("resourceType") in CONFORMANCE:
            found.append((path, resource))
    return found


def others() -> list[dict]:
    """Short forms of what others define, and of which these artefacts make use: a validator need not have the originals."""
    return [json.loads(path.read_text("utf-8")) for path in sorted((sources.PROFILES / "others").glob("*.json"))]


def examples() -> list[tuple[Path, dict]]:
    """(file, resource) of every good example."""
    paths = sorted((sources.PROFILES / "examples" / "good").glob("*.json"))
    return [(path, json.loads(path.read_text("utf-8"))) for path in paths]


def file_name(resource: dict) -> str:
    """As packages name their files."""
    return f"{resource['resourceType']}-{resource['id']}.json"


def implementation_guide(artefacts: list[dict], shown: list[dict]) -> dict:
    """The ImplementationGuide resource that lists what the package holds."""
    entries = [
        {
            "reference": {"reference": f"{one['resourceType']}/{one['id']}"},
            "name": one.get("title") or one.get("name") or one["id"],
            "exampleBoolean": False,
        }
        for one in artefacts
    ]
    for one in shown:
        profile = (one.get("meta", {}).get("profile") or [None])[0]
        entry = {"reference": {"reference": f"{one['resourceType']}/{one['id']}"}, "name": one["id"]}
        entries.append(entry | ({"exampleCanonical": profile} if profile else {"exampleBoolean": True}))
    return {
        "resourceType": "ImplementationGuide",
        "id": NAME,
        "url": f"{CANONICAL}/ImplementationGuide/{NAME}",
        "version": __version__,
        "name": "FhirDmp",
        "title": "fhir_dmp: the Dossier Médical Partagé over FHIR R4",
        "status": "draft",
        "publisher": "fhir_dmp",
        "packageId": NAME,
        "license": "GPL-3.0-or-later",
        "fhirVersion": ["4.0.1"],
        "definition": {"resource": entries, "page": {"nameUrl": "index.html", "title": "fhir_dmp", "generation": "html"}},
    }


def archive() -> bytes:
    """The package, the same bytes for the same sources."""
    artefacts = [*(resource for _, resource in conformance()), *others()]
    for resource in artefacts:
        # Only the CapabilityStatement, which describes every server of this version, has no id of its own.
        resource.setdefault("id", "fhir-dmp")
    shown = [resource for _, resource in examples()]
    shown = [{**one, "id": one.get("id") or path.stem} for (path, one) in zip([path for path, _ in examples()], shown, strict=True)]
    artefacts.append(implementation_guide(artefacts, shown))
    files = {f"package/{file_name(one)}": encoded(one) for one in artefacts}
    files |= {f"package/example/{file_name(one)}": encoded(one) for one in shown}
    files["package/.index.json"] = encoded(index(artefacts))
    files["package/example/.index.json"] = encoded(index(shown))
    files["package/package.json"] = encoded(manifest())
    raw = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as made,
    ):
        for name in sorted(files, key=lambda name: (name != "package/package.json", name)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            made.addfile(entry, io.BytesIO(files[name]))
    return raw.getvalue()


def manifest() -> dict:
    """package.json."""
    return {
        "name": NAME,
        "version": __version__,
        "type": "IG",
        "tools-version": 3,
        "canonical": CANONICAL,
        "url": CANONICAL,
        "title": "fhir_dmp: the Dossier Médical Partagé over FHIR R4",
        "description": "Profiles, code lists, operations, test scripts and examples of a FHIR R4 server for the French DMP.",
        "author": "fhir_dmp",
        "license": "GPL-3.0-or-later",
        "fhirVersions": ["4.0.1"],
        "jurisdiction": "urn:iso:std:iso:3166#FR",
        "dependencies": {"hl7.fhir.r4.core": "4.0.1"},
        "directories": {"lib": "package", "example": "example"},
    }


def index(resources: list[dict]) -> dict:
    """.index.json of one folder."""
    rows = [
        {"filename": file_name(one)} | {name: one[name] for name in INDEXED if isinstance(one.get(name), str)}
        for one in sorted(resources, key=file_name)
    ]
    return {"index-version": 2, "files": rows}


def encoded(value: dict) -> bytes:
    return msgspec.json.format(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), indent=1)
