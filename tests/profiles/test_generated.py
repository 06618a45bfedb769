"""The artefacts of profiles/ are what their sources make, and hold together. https://hl7.org/fhir/R4/profiling.html"""

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from fhir_dmp.audit.kinds import ACTS
from fhir_dmp.audit.kinds import KINDS as TRACES
from fhir_dmp.consent.directives import CATEGORY, EVIDENCES, SHAPES
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.profile_codes import members
from fhir_dmp.fhir.schema import validate
from fhir_dmp.identity.actor import KINDS as ACTORS
from tests.profiles.reading import GOOD, PROFILES, artefacts, read

ROOT = Path(__file__).resolve().parents[2]
CANONICAL = "https://fhir-dmp.example.org/fhir/"
R4 = "http://hl7.org/fhir/"
# An address in `url` of an extension: examples are spread over lines, profiles are not.
EXTENSION = re.compile(r'"(?:url|fixedUri)": ?"(https?://[^"]*/StructureDefinition/[^"]*)"')
KINDS = ("StructureDefinition", "ValueSet", "CodeSystem", "ConceptMap", "NamingSystem", "SearchParameter", "OperationDefinition")
FILES = sorted(path for kind in KINDS for path in PROFILES.glob(f"{kind}-*.json"))


@cache
def script():
    spec = importlib.util.spec_from_file_location("generate_profiles", ROOT / "scripts" / "generate_profiles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generating_again_gives_the_same_bytes():
    made = script().files()
    assert set(made) == script().listed(PROFILES)
    for name, content in made.items():
        assert (PROFILES / name).read_bytes() == content, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_artefact_is_valid_r4(path):
    resource = read(path)
    assert validate(resource) == []
    assert path.stem == f"{resource['resourceType']}-{resource['id']}"
    if resource["resourceType"] != "NamingSystem":
        assert resource["url"] == f"{CANONICAL}{resource['resourceType']}/{resource['id']}"


def test_what_was_not_made_here_is_left_alone(tmp_path, monkeypatch):
    beside = tmp_path / "ConceptMap-of-somebody-else.json"
    beside.write_text("{}")
    monkeypatch.setattr("sys.argv", ["generate_profiles.py", "--target", str(tmp_path)])
    assert script().main() == 0
    stale = tmp_path / "ValueSet-dmp-notice.json"
    monkeypatch.setattr(script(), "files", lambda: {})
    assert stale.exists() and script().main() == 0
    assert beside.exists() and not stale.exists()


def test_no_two_artefacts_share_an_address():
    urls = [read(path).get("url") for path in FILES if not path.name.startswith("NamingSystem")]
    assert len(urls) == len(set(urls))


def definitions():
    return artefacts("StructureDefinition").values()


@pytest.mark.parametrize("definition", definitions(), ids=lambda one: one["id"])
def test_a_snapshot_is_whole(definition):
    snapshot, differential = (definition[name]["element"] for name in ("snapshot", "differential"))
    ids = [element["id"] for element in snapshot]
    assert len(ids) == len(set(ids)) and ids[0] == definition["type"]
    for element in snapshot:
        assert element["definition"] and {"min", "max", "base", "path"} <= element.keys()
        assert element["path"] == ".".join(part.partition(":")[0] for part in element["id"].split("."))
    places = [ids.index(element["id"]) for element in differential]
    assert places == sorted(places), "a differential is in the order of the snapshot"
    by_id = {element["id"]: element for element in snapshot}
    for element in differential:
        assert {**by_id[element["id"]], **element, "constraint": 0} == {**by_id[element["id"]], "constraint": 0}
    top = {element["path"].partition(".")[2] for element in snapshot if element["path"].count(".") == 1 and ":" not in element["id"]}
    assert top == {f"{e.name}[x]" if e.choice else e.name for e in tables.elements(definition["type"]).values()}


def test_texts_of_differentials_are_in_both_languages():
    for definition in definitions():
        for owner in (definition, *definition["differential"]["element"]):
            for name in ("title", "short", "description"):
                if owner.get(name):
                    extension = owner[f"_{name}"]["extension"][0]
                    assert extension["extension"][0] == {"url": "lang", "valueCode": "fr"}, (definition["id"], owner.get("id"))
        for element in definition["differential"]["element"]:
            for rule in element.get("constraint", ()):
                assert "_human" in rule and rule["severity"] in ("error", "warning")


def test_keys_of_invariants_belong_to_one_rule_each():
    said = {}
    for definition in definitions():
        for element in definition["differential"]["element"]:
            for rule in element.get("constraint", ()):
                assert said.setdefault(rule["key"], rule["expression"]) == rule["expression"], rule["key"]
    assert len(said) >= 40


def test_bindings_name_value_sets_that_are_published_or_of_r4():
    for definition in definitions():
        for element in definition["snapshot"]["element"]:
            url = element.get("binding", {}).get("valueSet", "").partition("|")[0]
            if url.startswith(CANONICAL):
                assert members(url), (definition["id"], element["id"])
            elif url:
                assert url in tables.value_sets()


def test_profiles_and_targets_exist():
    own = artefacts("StructureDefinition")
    for definition in definitions():
        for element in definition["snapshot"]["element"]:
            for one in element.get("type", ()):
                for url in (*one.get("profile", ()), *one.get("targetProfile", ())):
                    assert url in own or tables.known_type(url.rpartition("/")[2]) or url.endswith(("/Resource", "/SimpleQuantity")), url


def test_code_lists_say_where_they_come_from():
    for one in (*artefacts("ValueSet").values(), *artefacts("CodeSystem").values()):
        own = one["resourceType"] == "ValueSet" and "concept" not in one["compose"]["include"][0]
        assert own or one["purpose"].startswith("Source: "), one["id"]


def test_concept_maps_speak_of_codes_that_exist():
    for one in artefacts("ConceptMap").values():
        sources = members(one.get("sourceCanonical", CANONICAL + "ValueSet/dmp-document-type"))
        sources |= members(CANONICAL + "ValueSet/dmp-confidentiality")
        targets = members(one["targetCanonical"])
        for group in one["group"]:
            for element in group["element"]:
                if not group["source"].startswith("urn:"):
                    assert element["code"] in sources[group["source"]], (one["id"], element["code"])
                assert all(target["code"] in targets[group["target"]] for target in element["target"]), (one["id"], element["code"])


def test_own_code_systems_hold_what_the_server_understands():
    codes = {one["id"]: {concept["code"] for concept in one["concept"]} for one in artefacts("CodeSystem").values()}
    assert codes["dmp-consent-category"] == set(SHAPES)
    assert codes["dmp-consent-evidence"] == set(EVIDENCES)
    assert codes["dmp-actor-kind"] == set(ACTORS)
    assert CATEGORY in artefacts("CodeSystem")


def test_codes_in_traces_are_published_with_the_words_that_traces_use():
    published = artefacts("CodeSystem")[ACTS]["concept"]
    said = {(code, display) for kind in TRACES.values() for system, code, display in kind.subtypes if system == ACTS}
    assert said <= {(one["code"], one["display"]) for one in published}


def test_what_others_define_is_told_in_short_and_marked_so():
    """Every extension that examples carry and profiles name is in the package; a part of a list of codes never stands for the whole."""
    others = [read(path) for path in sorted((PROFILES / "others").glob("*.json"))]
    assert [validate(one) for one in others if validate(one)] == []
    known = {one["url"] for one in others} | artefacts("StructureDefinition").keys()
    texts = [path.read_text("utf-8") for path in (*GOOD, *PROFILES.glob("StructureDefinition-*.json"))]
    used = {url for text in texts for url in EXTENSION.findall(text) if not url.startswith(R4)}
    assert used - known == set()
    for one in others:
        assert not one["url"].startswith(CANONICAL) and "original prevails" in one["description"]
        assert one["resourceType"] == "StructureDefinition" or (one["content"], one["count"]) == ("fragment", len(one["concept"]))
