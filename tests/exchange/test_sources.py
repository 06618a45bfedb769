"""Dossiers of real sources, in a store for real use: who is meant, what codes mean, what the holder allows, who sees it then."""

import asyncio
import base64
import json
import os
import time
from pathlib import Path

import pytest
from pymongo import MongoClient

from fhir_dmp.exchange.provenance import SID
from fhir_dmp.fhir.profiles import faults, url_of
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import COMMON
from tests.access.world import IDNPS, INS, LOINC, RPPS, VISIBILITY, World, number
from tests.exchange.test_documents import archive
from tests.exchange.test_documents import document as cda
from tests.interactions.making import bundle, dumped, entry
from tests.serving import here, serving

DATABASE = f"sources_{os.getpid()}"
RELIABILITY = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
OLD_TYPES = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-source-2007"
PILOT, CARE = "pilot-alsace", "cabinet-lestrelin"


@pytest.fixture(scope="module")
def server(mongod, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    environment = {"FHIR_DMP_DATABASE": DATABASE}
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "1", environment=environment, sandbox=False) as running:
        running.uri = mongod.uri
        yield running
    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)


@pytest.fixture(scope="module")
def command(server):
    """Run a command on the store, in this process: (exit code, what it printed)."""

    def run(*arguments: object, **settings: object) -> tuple[int, str]:
        own = {f"FHIR_DMP_{name.upper()}": str(value) for name, value in {"database": DATABASE, **settings}.items()}
        return here(*arguments, "--mongodb-uri", server.uri, "--data", server.data, environment=own)

    return run


@pytest.fixture(scope="module")
def world(server, command) -> World:
    assert command("sources", "register", PILOT)[0] == 0
    assert command("sources", "register", CARE, "--name", "Cabinet du Dr Lestrelin", "--system", "IPP=urn:x-cabinet:patient")[0] == 0
    return World(server)


@pytest.fixture
def load(command, tmp_path):
    """Import resources as NDJSON, or one Bundle: (exit code, lines of the report, what was printed)."""

    def loaded(*resources: dict, source: str = PILOT, name: str = "export.ndjson", **settings: object) -> tuple[int, list[dict], str]:
        path, report = tmp_path / name, tmp_path / "report.ndjson"
        path.write_bytes(b"".join(dumped(resource) + b"\n" for resource in resources))
        code, said = command("import", path, "--source", source, "--report", report, **settings)
        assert code in (0, 3), said
        return code, [json.loads(line) for line in report.read_text("utf-8").splitlines()] if report.exists() else [], said

    return loaded


class Sender:
    """What one source tells of one person."""

    def __init__(self, world: World, dossier) -> None:
        self.tag, self.dossier = f"x{number()}", dossier
        self.doctor = world.professional()

    def patient(self, **changes: object) -> dict:
        """The Patient with a qualified INS, under an id of the source's own."""
        status = {"url": RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": "QUAL"}}]}
        kept = {name: self.dossier.patient[name] for name in ("identifier", "name", "gender", "birthDate")}
        return {"resourceType": "Patient", "id": f"p-{self.tag}", "extension": [status], **kept, **changes}

    def practitioner(self) -> dict:
        identifier = [{"system": RPPS, "value": self.doctor.rpps}]
        return {"resourceType": "Practitioner", "id": f"dr-{self.tag}", "identifier": identifier, "name": [{"family": "LESTRELIN"}]}

    def document(self, id: str, *, labels: tuple[str, ...] = (), type: dict | None = None, **changes: object) -> dict:
        shown = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}]
        shown += [{"coding": [{"system": VISIBILITY, "code": label}]} for label in labels]
        return {
            "resourceType": "DocumentReference",
            "id": f"{id}-{self.tag}",
            "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}.{id_number(id)}"},
            "status": "current",
            "type": type or {"coding": [{"system": OLD_TYPES, "code": "cr-consultation", "display": "Compte-rendu de consultation"}]},
            "subject": {"reference": f"Patient/p-{self.tag}"},
            "author": [{"reference": f"Practitioner/dr-{self.tag}"}],
            "securityLabel": shown,
            "content": [{"attachment": {"contentType": "text/plain", "url": f"Binary/{id}-{self.tag}"}}],
            **changes,
        }

    def binary(self, id: str) -> dict:
        data = base64.b64encode(f"contenu de {id}".encode()).decode()
        return {"resourceType": "Binary", "id": f"{id}-{self.tag}", "contentType": "text/plain", "data": data}


def id_number(id: str) -> int:
    return sum(id.encode())


@pytest.fixture
def sender(world) -> Sender:
    """A source of a person whose dossier is open, and who has a name of his own."""
    return Sender(world, world.open(family="".join(chr(ord("A") + int(digit)) for digit in str(number()))))


def issues(line: dict) -> str:
    return " ".join(issue["diagnostics"] for issue in line["outcome"]["issue"])


def test_only_registered_sources_send(command, world, tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"resourceType":"Basic","code":{"text":"x"}}\n')
    code, said = command("import", path, "--source", "nobody")
    assert code == 1 and "`nobody` is not registered" in said
    assert command("import", path)[0] == 1  # `sandbox` exists on a sandbox only
    assert "Cegedim – Thalès" in command("sources", "list")[1]
    assert command("sources", "register", PILOT)[0] == 1
    known = command("sources", "list", "--known")[1].splitlines()
    assert sum(line.startswith("pilot-") and "2009" not in line for line in known) == 17


def test_nothing_enters_without_the_consent_of_the_holder_and_then_the_rules_show_it(load, world, sender):
    sent = (sender.patient(), sender.practitioner(), sender.document("a"), sender.binary("a"))
    code, told, _ = load(*sent)
    assert code == 3
    by_place = {line["place"].rpartition(":")[2]: line for line in told}
    assert by_place["1"]["status"] == 200 and by_place["1"]["location"] == sender.dossier.path
    assert by_place["3"]["status"] == 403 and "takeover" in issues(by_place["3"])
    world.consent(sender.dossier, "takeover")
    code, told, said = load(*sent)
    assert code == 0, (told, said)
    document = next(line["location"] for line in told if line.get("location", "").startswith("DocumentReference"))
    seen = world.holder(sender.dossier).get(document.partition("/_history")[0]).json()
    assert [coding["code"] for coding in seen["type"]["coding"]] == ["11488-4", "cr-consultation"]
    assert seen["subject"]["reference"] == sender.dossier.path
    assert seen["author"][0]["identifier"] == {"system": RPPS, "value": sender.doctor.rpps}
    content = world.holder(sender.dossier).get(seen["content"][0]["attachment"]["url"], accept="text/plain")
    assert content.content == b"contenu de a"
    # The author is the professional whom the source names, and nobody else.
    assert sender.doctor.get(document.partition("/_history")[0]).status_code == 200
    assert world.professional().get(document.partition("/_history")[0]).status_code == 404
    # Where it comes from is told, and the host has sealed it.
    about = world.holder(sender.dossier).get(f"Provenance?patient={sender.dossier.id}&target={document.partition('/_history')[0]}").json()
    (told,) = [one["resource"] for one in about["entry"]]
    assert [one["code"] for one in told["activity"]["coding"]] == ["seal", "CREATE"] and len(told["signature"]) == 1
    ((author, behalf),) = [(one["who"], one["onBehalfOf"]) for one in told["agent"] if one["type"]["coding"][0]["code"] == "author"]
    assert author["identifier"]["value"] == PILOT and behalf == {"display": "Cegedim – Thalès"}
    assert (told["target"][0]["reference"], told["target"][0]["display"]) == (document, f"DocumentReference/a-{sender.tag}")
    assert [fault for fault in faults(told, url_of("dmp-provenance-seal")) if fault.severity == "error"] == []
    by_source = f"Provenance?patient={sender.dossier.id}&agent:identifier={SID}import-source|{PILOT}"
    assert world.holder(sender.dossier).get(by_source).json()["total"] == 2
    again = load(*sent)
    assert again[0] == 0 and "4 of them imported before" in again[2]
    found = world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()
    assert found["total"] == 1


def test_a_mask_comes_along_and_is_never_lost(load, world, sender):
    world.consent(sender.dossier, "takeover")
    member = world.professional()
    world.consent(sender.dossier, "access", member)
    first = sender.document("m", labels=("MASQUE_PS",))
    assert load(sender.patient(), sender.practitioner(), first, sender.binary("m"))[0] == 0
    search = f"DocumentReference?patient={sender.dossier.id}"
    assert world.holder(sender.dossier).get(search).json()["total"] == 1
    assert member.get(search).json()["total"] == 0
    assert member.get(f"Provenance?patient={sender.dossier.id}").json()["total"] == 0
    # The version that replaces it says nothing of a mask; the lineage is masked all the same.
    target = {"reference": f"DocumentReference/{first['id']}"}
    second = sender.document("n", relatesTo=[{"code": "replaces", "target": target}])
    code, told, said = load(second, sender.binary("n"))
    assert code == 0, told
    assert member.get(search).json()["total"] == 0
    statuses = {
        one["resource"]["status"] for one in world.holder(sender.dossier).get(f"{search}&status=current,superseded").json()["entry"]
    }
    assert statuses == {"current", "superseded"}
    # Nor does what comes with it in one transaction.
    here, target = "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a00", {"reference": f"DocumentReference/{second['id']}"}
    third = sender.document("q", relatesTo=[{"code": "replaces", "target": target}])
    third["content"][0]["attachment"]["url"] = f"{here}02"
    size = {"code": {"coding": [{"system": LOINC, "code": "8302-2"}]}, "valueQuantity": {"value": 162, "unit": "cm"}}
    subject = {"status": "final", "subject": third["subject"], "derivedFrom": [{"reference": f"{here}01"}]}
    sent = [third, sender.binary("q"), {"resourceType": "Observation", **subject, **size}]
    entries = [entry("POST", one["resourceType"], one, f"{here}{place:02}") for place, one in enumerate(sent, 1)]
    code, told, said = load(bundle("transaction", *entries), name="bundle.json")
    assert code == 0, told
    searches = [f"{name}?patient={sender.dossier.id}" for name in ("DocumentReference", "Observation", "Provenance")]
    assert [member.get(one).json()["total"] for one in searches] == [0, 0, 0]
    assert [world.holder(sender.dossier).get(one).json()["total"] > 0 for one in searches] == [True] * 3


def test_what_was_withdrawn_is_not_shown_again_by_what_replaces_it(load, world, sender):
    world.consent(sender.dossier, "takeover")
    world.consent(sender.dossier, "access", member := world.professional())
    first = sender.document("w")
    code, told, _ = load(sender.patient(), sender.practitioner(), first, sender.binary("w"))
    assert code == 0, told
    places = [line.get("location", "").partition("/_history")[0] for line in told]
    (address,) = [place for place in places if place.startswith("DocumentReference")]
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert sender.doctor.patch(address, gone).status_code == 200
    newer = sender.document("x", relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{first['id']}"}}])
    assert load(newer, sender.binary("x"))[0] == 0
    assert member.get(address).status_code == 404
    assert [
        member.get(f"DocumentReference?patient={sender.dossier.id}&status={one}").json()["total"] for one in ("current", "superseded")
    ] == [1, 0]


def test_a_source_refers_to_nothing_by_addresses_of_this_host(load, world, sender):
    """It can neither replace nor bind what others deposited, nor learn of it."""
    world.consent(sender.dossier, "takeover")
    made = world.deposit(sender.dossier, world.professional())
    holder, base = world.holder(sender.dossier), world.server.fhir
    assert load(sender.patient(), sender.practitioner())[0] == 0
    for place, address in enumerate((base, "http://an.other.name/fhir")):
        target = {"reference": f"{address}/DocumentReference/{made['id']}"}
        content = [{"attachment": {"contentType": "text/plain", "url": f"{address}/{made['content'][0]['attachment']['url']}"}}]
        for name, told in (
            ("replaces", {"relatesTo": [{"code": "replaces", "target": target}]}),
            ("appends", {"relatesTo": [{"code": "appends", "target": target}]}),
            ("related", {"context": {"related": [target]}}),
            ("content", {"content": content}),
        ):
            code, (line,), _ = load(sender.document(f"{name}{place}", **told))
            assert (code, line["status"]) == (3, 404) and "has not come from this source" in issues(line), (name, line)
    assert holder.get(f"DocumentReference/{made['id']}").json()["status"] == "current"


def test_a_structure_that_is_blocked_brings_nothing(load, command, world, sender):
    source, finess = f"cabinet-{sender.tag}", f"75{number() % 10**7:07d}"
    assert command("sources", "register", source, "--name", "Cabinet", "--kind", "care-record", "--organization", finess)[0] == 0
    world.consent(sender.dossier, "feed")
    type = {"coding": [{"system": LOINC, "code": "11488-4"}]}
    assert load(sender.patient(), sender.practitioner(), sender.document("y", type=type), sender.binary("y"), source=source)[0] == 0
    structure = {"identifier": {"system": "https://finess.esante.gouv.fr", "value": finess}}
    world.consent(sender.dossier, "block", structure)
    code, told, _ = load(sender.document("z", type=type), source=source)
    assert code == 3 and told[0]["status"] == 403


def test_what_comes_late_of_a_withdrawn_document_is_withdrawn_and_told_to_nobody(load, world, sender):
    world.consent(sender.dossier, "takeover")
    world.consent(sender.dossier, "access", member := world.professional())
    code, told, _ = load(sender.patient(), sender.practitioner(), sender.document("l"))
    assert code == 0, told
    places = [line.get("location", "").partition("/_history")[0] for line in told]
    (address,) = [place for place in places if place.startswith("DocumentReference")]
    searches = [f"{name}?patient={sender.dossier.id}&_summary=count" for name in ("Provenance", "DocumentReference")]
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert sender.doctor.patch(address, gone).status_code == 200
    before = [member.get(search).json()["total"] for search in searches]
    assert load(sender.binary("l"))[0] == 0
    assert [member.get(search).json()["total"] for search in searches] == before == [0, 0]


@pytest.mark.parametrize("label", ["MASQUE_PS", "INVISIBLE_PATIENT"])
def test_what_replaces_a_document_and_hides_more_hides_all_of_it(load, world, sender, label):
    world.consent(sender.dossier, "takeover")
    world.consent(sender.dossier, "access", member := world.professional())
    blind = world.holder(sender.dossier) if label == "INVISIBLE_PATIENT" else member
    first = sender.document("f")
    assert load(sender.patient(), sender.practitioner(), first, sender.binary("f"))[0] == 0
    searches = [f"{name}?patient={sender.dossier.id}" for name in ("DocumentReference", "Provenance")]
    assert all(blind.get(search).json()["total"] for search in searches)
    traces = f"AuditEvent?patient={sender.dossier.id}&subtype=receive&_summary=count"
    told = blind.get(traces).json()["total"]
    target = {"reference": f"DocumentReference/{first['id']}"}
    newer = sender.document("g", labels=(label,), relatesTo=[{"code": "replaces", "target": target}])
    assert load(newer, sender.binary("g"))[0] == 0
    assert [blind.get(f"{search}&status=current,superseded" if "Doc" in search else search).json()["total"] for search in searches] == [
        0,
        0,
    ]
    if label == "INVISIBLE_PATIENT":  # what was told of its import is told no more
        assert told and blind.get(traces).json()["total"] < told


def test_what_names_a_hidden_document_in_one_file_is_hidden_with_it(load, world, sender):
    world.consent(sender.dossier, "takeover")
    document = sender.document("v", labels=("INVISIBLE_PATIENT",))
    subject = {"status": "final", "subject": document["subject"], "code": {"text": "x"}}
    seen = {
        "resourceType": "Observation",
        "id": f"v-{sender.tag}",
        **subject,
        "derivedFrom": [{"reference": f"DocumentReference/{document['id']}"}],
    }
    told = {"resourceType": "DiagnosticReport", "id": f"v-{sender.tag}", **subject, "result": [{"reference": f"Observation/{seen['id']}"}]}
    code, lines, _ = load(sender.patient(), sender.practitioner(), document, sender.binary("v"), seen, told)
    assert code == 0, lines
    for name in ("Observation", "DiagnosticReport", "Provenance"):
        search = f"{name}?patient={sender.dossier.id}&_summary=count"
        assert (world.holder(sender.dossier).get(search).json()["total"], sender.doctor.get(search).json()["total"] > 0) == (0, True)


def test_one_identifier_one_content(load, world, sender):
    world.consent(sender.dossier, "takeover")
    document = sender.document("d")
    assert load(sender.patient(), sender.practitioner(), document, sender.binary("d"))[0] == 0
    code, told, _ = load({**document, "description": "autre chose"})
    assert code == 3 and told[0]["status"] == 409
    # Under another id, but the same masterIdentifier, it is the same document.
    code, told, _ = load({**document, "id": f"other-{sender.tag}"})
    assert code == 0 and told[0]["status"] == 200
    assert world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()["total"] == 1


def test_an_unknown_code_waits_until_somebody_says_what_it_means(load, command, world, sender):
    world.consent(sender.dossier, "takeover")
    local = {"coding": [{"system": "urn:x-alsace", "code": f"OPE{sender.tag}", "display": "Compte rendu opératoire"}]}
    sent = (sender.patient(), sender.practitioner(), sender.document("o", type=local))
    code, told, said = load(*sent)
    waiting = next(line for line in told if line["status"] == 202)
    assert code == 3 and "1 in quarantine" in said and "34874-8 CR opératoire" in issues(waiting)
    search = f"DocumentReference?patient={sender.dossier.id}"
    assert world.holder(sender.dossier).get(search).json()["total"] == 0
    listed = command("quarantine", "list", "--source", PILOT)[1]
    assert f"urn:x-alsace|OPE{sender.tag}" in listed and "34874-8" in listed
    assert command("quarantine", "map", "--source", PILOT, f"urn:x-alsace|OPE{sender.tag}", "nonsense")[0] == 1
    assert command("quarantine", "map", "--source", PILOT, f"urn:x-alsace|OPE{sender.tag}", "34874-8")[0] == 0
    assert "1 accepted" in command("quarantine", "replay", "--source", PILOT)[1]
    (found,) = world.holder(sender.dossier).get(search).json()["entry"]
    assert found["resource"]["type"]["coding"][0]["code"] == "34874-8"
    assert f"OPE{sender.tag}" not in command("quarantine", "list", "--source", PILOT)[1]
    # From now on the source is understood.
    assert load(sender.document("q", type=local))[0] == 0


def test_a_source_brings_maps_of_its_own(load, command, world, sender, tmp_path):
    """Types, specialities and structures: a ConceptMap of its vendor says what its codes mean, and what HL7 calls alike is known."""
    world.consent(sender.dossier, "takeover")
    vendor = f"urn:x-vendor:{sender.tag}"
    nos = "https://mos.esante.gouv.fr/NOS"
    targets = {
        "http://loinc.org": ("OPE", "34874-8"),
        f"{nos}/TRE_A01-CadreExercice/FHIR/TRE-A01-CadreExercice": ("GEN", "AMBULATOIRE"),
        "urn:oid:1.2.250.1.71.4.2.4": ("CAB", "SA07"),
    }
    groups = [
        {"source": vendor, "target": system, "element": [{"code": code, "target": [{"code": meant, "equivalence": "wider"}]}]}
        for system, (code, meant) in targets.items()
    ]
    path = tmp_path / "map.json"

    def brought(*groups: dict, **more: object) -> tuple[int, str]:
        path.write_bytes(dumped({"resourceType": "ConceptMap", "status": "active", "group": list(groups), **more}))
        return command("sources", "map", PILOT, path)

    coded = (
        {"coding": [{"system": vendor, "code": "OPE"}]},
        {"coding": [{"system": vendor, "code": "GEN"}]},
        {"coding": [{"system": vendor, "code": "CAB"}]},
    )
    sent = sender.document("m", type=coded[0], context={"practiceSetting": coded[1], "facilityType": coded[2]})
    hl7 = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}]}
    code, told, _ = load(sender.patient(), sender.practitioner(), sender.document("n", context={"practiceSetting": hl7}), sent)
    assert (code, [line["status"] for line in told][-2:]) == (3, [201, 202])
    wrong = {
        "source": vendor,
        "target": "http://loinc.org",
        "element": [{"code": "X", "target": [{"code": "1-8", "equivalence": "equal"}]}],
    }
    assert brought(wrong)[0] == 1 and "1-8" in brought(wrong)[1]
    assert brought(status="nonsense")[0] == 1
    assert brought(*groups) == (0, f"3 codes of {PILOT} are known; `fhir-dmp quarantine replay` takes what waited for them\n")
    assert "1 accepted" in command("quarantine", "replay", "--source", PILOT)[1]
    found = [one["resource"] for one in world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()["entry"]]
    told = {one["type"]["coding"][0]["code"]: {name: part["coding"][0]["code"] for name, part in one["context"].items()} for one in found}
    assert told.pop("34874-8") == {"practiceSetting": "AMBULATOIRE", "facilityType": "SA07"}
    assert list(told.values()) == [{"practiceSetting": "AMBULATOIRE"}]


@pytest.mark.parametrize(
    "changes",
    [{"birthDate": "1901-01-01"}, {"extension": []}, {"identifier": [{"system": "urn:x", "value": "1"}]}],
    ids=["other birth date", "not qualified", "traits alone"],
)
def test_in_doubt_about_a_person_somebody_looks_and_nothing_is_merged(load, command, world, sender, changes):
    world.consent(sender.dossier, "takeover")
    code, told, _ = load(sender.patient(**changes), sender.practitioner(), sender.document("i"))
    assert code == 3 and sorted(line["status"] for line in told) == [200, 202, 202]
    listed = command("quarantine", "list", "--source", PILOT)[1].splitlines()
    own = next(at for at, line in enumerate(listed) if "who is this" in line and sender.dossier.path in "".join(listed[at : at + 6]))
    key = listed[own].split()[0]
    assert command("quarantine", "link", "--source", PILOT, key, "nobody")[0] == 1
    assert command("quarantine", "link", "--source", PILOT, key, sender.dossier.path)[0] == 0
    assert "1 accepted" in command("quarantine", "replay", "--source", PILOT)[1]
    assert world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()["total"] == 1


def test_rights_people_and_traces_are_not_imported(load, world, sender):
    world.consent(sender.dossier, "takeover")
    about = {"reference": f"Patient/p-{sender.tag}"}
    member = {"member": {"identifier": {"system": IDNPS, "value": sender.doctor.idnps}}}
    team = {"resourceType": "CareTeam", "id": f"t-{sender.tag}", "status": "active", "subject": about, "participant": [member]}
    trace = {"resourceType": "AuditEvent", "id": f"a-{sender.tag}", "recorded": "2008-06-12T08:30:00+02:00", "type": {"code": "rest"}}
    trace |= {"agent": [{"requestor": True, "who": about}], "source": {"observer": {"display": "pilot"}}, "entity": [{"what": about}]}
    code, told, _ = load(sender.patient(), team, trace)
    assert code == 3 and [line["status"] for line in told] == [200, 403, 403] and "set by its holder" in issues(told[1])


def test_clinical_resources_arrive_with_links_between_them(load, world, sender):
    world.consent(sender.dossier, "takeover")
    about = {"reference": f"Patient/p-{sender.tag}"}
    encounter = {
        "resourceType": "Encounter",
        "id": f"e-{sender.tag}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": about,
    }
    observation = {
        "resourceType": "Observation",
        "id": f"o-{sender.tag}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8302-2"}]},
        "subject": about,
        "encounter": {"reference": f"Encounter/e-{sender.tag}"},
        "valueQuantity": {"value": 162.5, "unit": "cm"},
    }
    code, told, said = load(observation, sender.patient(), encounter)
    assert code == 0, told
    # What the source corrects of its own is a new version of it; of a content it is not.
    corrected = observation | {"meta": {"versionId": "2"}, "valueQuantity": {"value": 163, "unit": "cm"}}
    code, (second,), _ = load(corrected, name="corrected.ndjson")
    assert (code, second["status"]) == (0, 200)
    versions = world.holder(sender.dossier).get(f"{second['location'].partition('/_history')[0]}/_history").json()
    assert [one["resource"]["valueQuantity"]["value"] for one in versions["entry"]] == [163, 162.5]
    document = sender.document("c", type={"coding": [{"system": LOINC, "code": "11488-4"}]})
    assert load(sender.practitioner(), document, sender.binary("c"), name="document.ndjson")[0] == 0
    code, (octets,), _ = load(sender.binary("c") | {"data": "QUJD"}, name="octets.ndjson")
    assert (code, octets["status"]) == (3, 409) and "other octets" in issues(octets)
    place = next(line["location"] for line in told if line["location"].startswith("Observation"))
    seen = world.holder(sender.dossier).get(place.partition("/_history")[0]).json()
    assert seen["subject"]["reference"] == sender.dossier.path and seen["encounter"]["reference"].startswith("Encounter/")
    assert world.holder(sender.dossier).get(seen["encounter"]["reference"]).status_code == 200


def test_what_names_a_dossier_that_was_joined_comes_into_the_one_that_goes_on(load, world, sender):
    """As long as the two are one; parted again, the source's person is who he was."""
    ends, goes_on = sender.dossier, world.open()
    world.consent(goes_on, "feed")
    world.consent(ends, "feed")
    about = {"reference": f"Patient/p-{sender.tag}"}
    stay = {"resourceType": "Encounter", "id": f"e-{sender.tag}", "status": "finished", "class": {"code": "AMB"}, "subject": about}
    pulse = {"resourceType": "Observation", "status": "final", "code": {"text": "pouls"}, "subject": about}
    pulse |= {"encounter": {"reference": f"Encounter/e-{sender.tag}"}, "valueQuantity": {"value": 61}}
    person = sender.patient(identifier=[*sender.dossier.patient["identifier"], {"system": "urn:x-cabinet:patient", "value": sender.tag}])
    assert load(person, stay, source=CARE)[0] == 0
    admin, given = world.operator(), {"source-patient": {"reference": ends.path}}
    assert admin.run(f"{goes_on.path}/$merge", **given).status_code == 200

    def sent(dossier: object, text: str, name: str) -> str:
        """Import something new, and a new version of what was there; address of the stay, as the holder then finds both."""
        new = {**pulse, "id": f"{text}-{sender.tag}", "code": {"text": text}}
        changed = {**stay, "meta": {"versionId": text}, "reasonCode": [{"text": text}]}
        again = {**person, "meta": {"versionId": text}, "active": True}
        code, told, said = load(again, changed, new, source=CARE, name=name)
        assert code == 0, (told, said)
        located = {line["location"].partition("/")[0]: line["location"].partition("/_history")[0] for line in told}
        assert located["Patient"] == dossier.path
        reader = world.holder(dossier)
        seen = reader.get(located["Observation"]).json()
        assert seen["subject"]["reference"] == dossier.path and seen["encounter"]["reference"] == located["Encounter"]
        assert reader.get(located["Encounter"]).json()["reasonCode"] == [{"text": text}]
        return located["Encounter"]

    copy = sent(goes_on, "joined", "one.ndjson")
    known = load(stay, pulse | {"id": f"joined-{sender.tag}", "code": {"text": "joined"}}, source=CARE, name="two.ndjson")
    assert [line["location"].partition("/_history")[0] for line in known[1]][0] == copy and "2 of them imported before" in known[2]
    assert admin.run(f"{goes_on.path}/$unmerge", **given).status_code == 200
    assert sent(ends, "parted", "three.ndjson") != copy
    assert world.holder(goes_on).get(copy).status_code == 404


def test_what_came_for_one_of_two_joined_dossiers_is_his_when_they_are_parted(load, command, world, sender):
    """Alone or in a transaction, with its seals and where it comes from; sent again, it is neither there twice nor refused."""
    ends, goes_on = sender.dossier, world.open()
    other = Sender(world, goes_on)
    for dossier in (ends, goes_on):
        world.consent(dossier, "feed")
    admin, given = world.operator(), {"source-patient": {"reference": ends.path}}
    assert admin.run(f"{goes_on.path}/$merge", **given).status_code == 200
    weight = {"resourceType": "Observation", "id": f"o-{sender.tag}", "status": "final", "code": {"text": "poids"}, "valueInteger": 70}
    weight["subject"] = {"reference": f"Patient/p-{sender.tag}"}
    type = {"coding": [{"system": LOINC, "code": "11488-4"}]}
    sent = (sender.patient(), sender.practitioner(), weight, *(sender.document(id, type=type) for id in "jk"), sender.binary("j"))
    theirs = (other.patient(), other.practitioner(), weight | {"id": f"o-{other.tag}", "subject": {"reference": f"Patient/p-{other.tag}"}})
    subject = {"subject": {"reference": f"Patient?identifier={INS}|{ends.ins}"}}
    whole = bundle("transaction", entry("POST", "Observation", weight | subject | {"id": "x", "code": {"text": "taille"}}, "urn:uuid:1"))
    for name, some in (("one.ndjson", sent), ("two.ndjson", theirs), ("three.json", (whole,))):
        code, told, said = load(*some, source=CARE, name=name)
        assert code == 0, (told, said)
    reader = world.holder(goes_on)
    assert (found(reader, goes_on, "Observation"), found(reader, goes_on, "DocumentReference")) == (3, 2)
    assert admin.run(f"{goes_on.path}/$unmerge", **given).status_code == 200

    def parted() -> None:
        reader, other = world.holder(ends), world.holder(goes_on)
        assert (found(reader, ends, "Observation"), found(reader, ends, "DocumentReference")) == (2, 2)
        assert (found(other, goes_on, "Observation"), found(other, goes_on, "DocumentReference")) == (1, 0)
        assert {one["resource"]["subject"]["reference"] for one in listed(reader, ends, "Observation")} == {ends.path}
        assert found(reader, ends, "Provenance") >= 5

    parted()
    for name, some in (("four.ndjson", (*sent[2:], *theirs)), ("three.json", (whole,))):
        code, told, said = load(*some, source=CARE, name=name)
        assert code == 0 and f"{len(told)} of them imported before" in said, (told, said)
    changed = weight | {"meta": {"versionId": "2"}, "valueInteger": 71}
    code, told, said = load(changed, sender.binary("k"), source=CARE, name="six.ndjson")
    assert code == 0, (told, said)
    reader, places = world.holder(ends), [one["location"].partition("/_history")[0] for one in told]
    assert reader.get(places[0]).json()["valueInteger"] == 71
    assert reader.get(places[1], accept="text/plain").content == b"contenu de k"
    parted()


def listed(reader, dossier, type_name: str) -> list[dict]:
    answer = reader.get(f"{type_name}?patient={dossier.id}&_count=1000")
    assert answer.status_code == 200, answer.text
    return answer.json().get("entry", [])


def found(reader, dossier, type_name: str) -> int:
    return len(listed(reader, dossier, type_name))


def test_a_provide_document_transaction_of_practice_software(load, world):
    dossier = world.open()
    world.consent(dossier, "feed")
    sender = Sender(world, dossier)
    subject = {"reference": f"Patient?identifier={INS}|{dossier.ins}"}
    document = sender.document("t", type={"coding": [{"system": LOINC, "code": "11488-4"}]}, subject=subject)
    document["author"] = [sender.doctor.reference]
    document["content"][0]["attachment"]["url"] = "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0001"
    binary = sender.binary("t")
    sent = bundle(
        "transaction",
        entry("POST", "DocumentReference", document, "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0002"),
        entry("POST", "Binary", binary, "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0001"),
    )
    code, told, said = load(sent, source=CARE, name="lot.json")
    assert code == 0, (told, said)
    assert [line["status"] for line in told] == [201, 201]
    (found,) = world.holder(dossier).get(f"DocumentReference?patient={dossier.id}").json()["entry"]
    url = found["resource"]["content"][0]["attachment"]["url"]
    assert world.holder(dossier).get(url, accept="text/plain").content == b"contenu de t"
    again = load(sent, source=CARE, name="lot2.json")
    assert again[0] == 0 and all(line["status"] == 200 for line in again[1])
    assert world.holder(dossier).get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1


def test_cda_documents_of_practice_software_enter_the_dossier_of_their_ins(command, world, tmp_path):
    dossier = world.open()
    world.consent(dossier, "feed")
    first, second = str(number()), str(number())
    told = {"ins": dossier.ins, "birth": dossier.patient["birthDate"].replace("-", "")}
    (tmp_path / "a.xml").write_bytes(cda(first, **told))
    (tmp_path / "b.xml").write_bytes(cda(second, first, **told))
    code, said = command("import", tmp_path, "--source", CARE, "--report", tmp_path / "report.txt")
    assert code == 0, said + (tmp_path / "report.txt").read_text("utf-8")
    search = f"DocumentReference?patient={dossier.id}&status=current,superseded&_sort=_lastUpdated"
    entries = [one["resource"] for one in world.holder(dossier).get(search).json()["entry"]]
    assert {one["status"] for one in entries} == {"current", "superseded"}
    shown = next(one for one in entries if one["status"] == "superseded")
    content = world.holder(dossier).get(shown["content"][0]["attachment"]["url"], accept="text/xml")
    assert content.content == (tmp_path / "a.xml").read_bytes()
    author = world.professional(rpps="10001234567")
    assert author.get(f"DocumentReference/{shown['id']}").status_code == 200
    # Masked by its own confidentialityCode: others do not see it, even with the holder's consent.
    other = world.professional()
    world.consent(dossier, "access", other)
    assert other.get(f"DocumentReference/{shown['id']}").status_code == 404


def test_an_xdm_archive_of_practice_software_needs_no_mapping(command, world, tmp_path):
    """Its codes come under the OIDs of their systems, as IHE has them."""
    dossier = world.open()
    world.consent(dossier, "feed")
    (tmp_path / "lot.zip").write_bytes(archive(dossier.ins, dossier.patient["birthDate"].replace("-", "")))
    code, said = command("import", tmp_path / "lot.zip", "--source", CARE, "--report", tmp_path / "report.txt")
    # The person twice, two documents with their contents; the metadata name a third one that is not there.
    assert (code, "6 accepted, 1 refused" in said, "quarantine" in said) == (3, True, False), said
    search = f"DocumentReference?patient={dossier.id}&status=current,superseded"
    found = [one["resource"] for one in world.holder(dossier).get(search).json()["entry"]]
    assert sorted(one["status"] for one in found) == ["current", "superseded"]
    for one in found:
        assert one["context"]["practiceSetting"]["coding"][0]["system"].endswith("/TRE-A01-CadreExercice")
        assert world.holder(dossier).get(one["content"][0]["attachment"]["url"], accept="application/pdf").content.startswith(b"%PDF-1.4")


def ended(asker, answer, seconds: float = 90) -> dict:
    """Ask until an import has ended: its Parameters as name -> value."""
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = asker.get(answer.headers["content-location"])
        assert state.status_code == 200, state.text
        told = {one["name"]: next(value for name, value in one.items() if name != "name") for one in state.json()["parameter"]}
        if told["state"] == "completed":
            return told
        time.sleep(0.2)
    raise AssertionError("the import did not end")


def test_a_host_sends_as_itself_and_the_holder_reads_in_his_traces_that_it_did(world, sender):
    world.consent(sender.dossier, "takeover")
    body = b"".join(dumped(one) + b"\n" for one in (sender.document("h"), sender.patient(), sender.practitioner(), sender.binary("h")))
    other, own = world.host("host-ct"), world.host(PILOT)
    assert other.post(f"$import?source={PILOT}", body, content_type="application/fhir+ndjson").status_code == 403
    assert world.professional().post(f"$import?source={PILOT}", body, content_type="application/fhir+ndjson").status_code == 403
    answer = own.post(f"$import?source={PILOT}", body, content_type="application/fhir+ndjson")
    told = ended(own, answer)
    assert (told["accepted"], told["refused"]) == (4, 0), json.dumps(told["report"])
    assert other.get(answer.headers["content-location"]).status_code == 404
    found = world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()
    assert found["total"] == 1
    # A host deposits and reads nothing.
    assert own.get(f"DocumentReference?patient={sender.dossier.id}").status_code == 403
    traces = world.holder(sender.dossier).get(f"AuditEvent?patient={sender.dossier.id}&_count=100").json()["entry"]
    imports = [one["resource"] for one in traces if one["resource"]["type"]["code"] == "110107"]
    named = {entity.get("what", {}).get("reference", "") for one in imports for entity in one["entity"]}
    assert any(f"DocumentReference/{found['entry'][0]['resource']['id']}/" in reference for reference in named)


def test_an_operator_resolves_what_waits_over_http(world, sender):
    """Sent by a host, reported entry by entry with its place; what is in doubt is looked at, decided and imported again."""
    world.consent(sender.dossier, "takeover")
    host, admin = world.host(PILOT), world.operator()
    local = {"coding": [{"system": "urn:x-http", "code": f"OPE{sender.tag}", "display": "Compte rendu opératoire"}]}
    sent = (sender.patient(extension=[]), sender.practitioner(), sender.document("o", type=local), sender.binary("o"))
    answer = host.post(f"$import?source={PILOT}", b"".join(dumped(one) + b"\n" for one in sent), content_type="application/fhir+ndjson")
    told = ended(host, answer)
    responses = [one["response"] for one in told["report"]["entry"]]
    assert [one["outcome"]["issue"][0]["details"]["text"] for one in responses] and told["quarantined"] >= 2
    places = {one["outcome"]["issue"][0]["details"]["text"]: one["status"][:3] for one in responses}
    assert places["input:1"] == "202"

    def waits():
        found = admin.get(f"$quarantine?source={PILOT}&count=100")
        assert found.status_code == 200, found.text
        listed = [one["part"] for one in found.json().get("parameter", []) if one["name"] == "waiting"]
        return [one for one in listed if sender.tag in str(one) or sender.dossier.path in str(one)]

    def resolve(**given):
        done = admin.run("$resolve", source=PILOT, **given)
        assert done.status_code == 200, done.text
        return done.json().get("parameter", [])

    for other in (host, world.professional(), world.operator("physician", "T1"), world.holder(sender.dossier)):
        assert other.get(f"$quarantine?source={PILOT}").status_code == 403
        assert other.run("$resolve", source=PILOT, replay=True).status_code == 403
    (person,) = [one for one in waits() if {"name": "kind", "valueCode": "identity"} in one and any(p["name"] == "candidate" for p in one)]
    grades = [part for one in person if one["name"] == "candidate" for part in one["part"] if part["name"] == "grade"]
    assert grades and "not qualified" in str(person)
    key = next(part["valueString"] for part in person if part["name"] == "id")
    assert admin.run("$resolve", source=PILOT, id=key, patient={"reference": "Patient/nobody"}).status_code == 404
    resolve(id=key, patient={"reference": sender.dossier.path}, replay=True)
    (unknown,) = [part for one in waits() for part in one if part["name"] == "unknown"]
    candidates = [part["valueCoding"]["code"] for part in unknown["part"] if part["name"] == "candidate"]
    assert "34874-8" in candidates
    coding = next(part["valueCoding"] for part in unknown["part"] if part["name"] == "local")
    assert admin.run("$resolve", source=PILOT, local=f"{coding['system']}|{coding['code']}", code="nonsense").status_code == 400
    done = resolve(local=f"{coding['system']}|{coding['code']}", code="34874-8", replay=True)
    assert {"mapped", "result"} <= {one["name"] for one in done} and waits() == []
    (found,) = world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()["entry"]
    assert found["resource"]["type"]["coding"][0]["code"] == "34874-8"
    about = world.holder(sender.dossier).get(f"Provenance?patient={sender.dossier.id}").json()["entry"]
    assert any(PILOT in str(one) for one in about)
    assert admin.run("$resolve", source=PILOT).status_code == 400
    assert admin.get("$quarantine?source=nobody").status_code == 404


@pytest.mark.parametrize("way", ["by command", "over HTTP"])
def test_what_is_asked_and_decided_about_what_waits_is_traced(load, command, world, sender, server, way):
    """Whoever is at the console as whoever has a token; who is meant is told in the dossier, with what was decided."""
    world.consent(sender.dossier, "takeover")
    assert load(sender.patient(extension=[]))[0] == 3
    admin, local = world.operator(), f"urn:x-told|OPE{sender.tag}"
    listed_ = command("quarantine", "list", "--source", PILOT)[1].splitlines()
    key = listed_[next(at for at, line in enumerate(listed_) if sender.dossier.path in line) - 1].split()[0]
    before, own = traces(server), listed(world.holder(sender.dossier), sender.dossier, "AuditEvent")
    if way == "by command":
        assert command("quarantine", "list", "--source", PILOT)[0] == 0
        assert command("quarantine", "map", "--source", PILOT, local, "34874-8")[0] == 0
        assert command("quarantine", "link", "--source", PILOT, key, "nobody")[0] == 1
        assert command("quarantine", "link", "--source", PILOT, key, sender.dossier.path)[0] == 0
    else:
        assert admin.get(f"$quarantine?source={PILOT}").status_code == 200
        assert admin.run("$resolve", source=PILOT, local=local, code="34874-8").status_code == 200
        assert admin.run("$resolve", source=PILOT, id=key, patient={"reference": "Patient/nobody"}).status_code == 404
        assert admin.run("$resolve", source=PILOT, id=key, patient={"reference": sender.dossier.path}).status_code == 200
    asked = [f"$quarantine?source={PILOT}", f"$resolve?source={PILOT}&element=type&local={local}&code=34874-8"]
    assert [words(one) for one in traces(server)[len(before) :] if one["outcome"] == "0"] == asked
    told = [one["resource"] for one in listed(world.holder(sender.dossier), sender.dossier, "AuditEvent")]
    known = {one["resource"]["id"] for one in own}
    (linked,) = [one for one in told if one["id"] not in known and "operator" in str(one["agent"])]
    stored = next(one for one in traces(server, sender.dossier.id) if one["id"] == linked["id"])
    assert words(stored) == f"$resolve?source={PILOT}&id={key}&patient={sender.dossier.path}"


def traces(server, patient: str = "") -> list[dict]:
    """What the journal of a dossier holds, or that of what concerns none, in its order."""

    async def read() -> list[dict]:
        store = await Store.open(server.uri, DATABASE, data_dir=server.data)
        number = store.vault.dossier_of_patient(patient) if patient else COMMON
        rows = [row async for row in store.scan(types=["AuditEvent"], dossiers=[number])]
        await store.close()
        return [json.loads(row.body) for row in sorted(rows, key=lambda row: row.place)]

    return asyncio.run(read())


def words(trace: dict) -> str:
    return "".join(base64.b64decode(one["query"]).decode() for one in trace["entity"] if "query" in one)


def test_what_is_known_of_the_sources_is_what_the_seeds_say():
    table = json.loads((Path(__file__).parents[2] / "fhir_dmp" / "exchange" / "data" / "sources.json").read_text("utf-8"))
    assert all(one["seed"] for one in table["sources"])
    assert {one["kind"] for one in table["sources"]} == {"experiment", "care-record", "host", "feed"}


def test_a_content_that_comes_before_its_document_waits_for_it(load, command, world, sender):
    """In another import, and whatever is sent again: it is taken once, when there is a dossier it belongs to."""
    world.consent(sender.dossier, "takeover")
    code, (early,), said = load(sender.binary("b"))
    assert (code, early["status"]) == (3, 202) and "no document" in issues(early) and "1 in quarantine" in said
    assert load(sender.binary("b"))[1][0]["status"] == 202
    assert f"Binary/b-{sender.tag}" not in str(world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json())
    assert load(sender.patient(), sender.practitioner(), sender.document("b"))[0] == 0
    (found,) = world.holder(sender.dossier).get(f"DocumentReference?patient={sender.dossier.id}").json()["entry"]
    url = found["resource"]["content"][0]["attachment"]["url"].removeprefix(f"{world.server.fhir}/")
    assert world.holder(sender.dossier).get(url, accept="text/plain").content == b"contenu de b"
    waits = command("quarantine", "list", "--source", PILOT)[1].splitlines()
    assert not [line for line in waits if line.split()[1] == "content"]
    (again,) = load(sender.binary("b"))[1]
    assert (again["status"], again["location"].partition("/_history")[0]) == (200, url)
    told = world.holder(sender.dossier).get(f"Provenance?target={url}&patient={sender.dossier.id}").json()["entry"]
    assert len(told) == 1


def test_a_content_whose_document_is_refused_is_not_kept(load, command, sender):
    """Without the holder's consent nothing of a person stays, not even in quarantine."""
    code, told, _ = load(sender.binary("r"), sender.patient(), sender.practitioner(), sender.document("r"))
    assert code == 3 and sorted(line["status"] for line in told) == [200, 200, 403, 404]
    assert sender.tag not in command("quarantine", "list", "--source", PILOT)[1]


def test_what_is_no_resource_at_all_is_refused_alone(load, world, sender):
    world.consent(sender.dossier, "takeover")
    elements = ("content", "relatesTo", "masterIdentifier", "type", "securityLabel", "subject", "author", "category", "context")
    wrong = [{name: 5} for name in elements] + [{"content": [{"attachment": "x"}]}, {"type": {"coding": 5}}, {"relatesTo": [{"target": 5}]}]
    documents = [sender.document(f"w{number}") | one for number, one in enumerate(wrong)]
    people = [sender.patient() | {"id": f"q{name}-{sender.tag}", name: 5} for name in ("identifier", "name", "birthDate", "extension")]
    directory = [sender.practitioner() | {"id": f"e{name}-{sender.tag}", name: 5} for name in ("identifier", "name")]
    code, told, _ = load(sender.patient(), sender.practitioner(), *documents, *people, *directory, sender.document("w"))
    assert code == 3
    by_line = {int(line["place"].rpartition(":")[2]): line for line in told}
    assert [by_line[number]["status"] for number in (1, 2, len(told))] == [200, 200, 201]
    assert {by_line[number]["status"] for number in range(3, len(told))} <= {200, 202, 400, 404, 422}, told


def test_what_its_source_moves_into_a_masked_period_takes_all_its_seals_along(load, world, sender):
    world.consent(sender.dossier, "takeover")
    world.consent(sender.dossier, "access", member := world.professional())
    world.consent(sender.dossier, "mask", dataPeriod={"start": "2026-03-01", "end": "2026-03-31"})
    about = {"subject": {"reference": f"Patient/p-{sender.tag}"}, "performer": [{"reference": f"Practitioner/dr-{sender.tag}"}]}
    said = {"resourceType": "Observation", "id": f"o-{sender.tag}", "status": "final", "code": {"text": "taille"}, **about}
    before = [sender.patient(), sender.practitioner()]
    for day, seen in (("2026-05-05", 1), ("2026-03-05", 0), ("2026-06-05", 2)):
        code, told, _ = load(*before, {**said, "effectiveDateTime": day})
        assert code == 0, told
        before = []
        totals = [member.get(f"{name}?patient={sender.dossier.id}").json()["total"] for name in ("Observation", "Provenance")]
        assert totals == [min(seen, 1), seen], day
