"""The seal of what came late to somebody: of the instant at which it came to him, as if it had been deposited then. access-rules 6"""

import json

from fhir_dmp.signing import seal
from tests.access.test_appearing import Scene
from tests.access.world import listed
from tests.signing.test_host_seals import seals, statement
from tests.signing.test_verify import verified


def test_whoever_was_kept_from_a_document_sees_it_sealed_when_it_came_to_him(world):
    scene = Scene(world)
    where = f"DocumentReference/{scene.id}"
    (stored,) = seals(scene.author, scene.dossier, target=where)
    scene.mask()
    before = scene.unlabel(scene.holder, "MASQUE_PS")
    (found,) = seals(scene.team, scene.dossier, target=where)
    said = statement(world, found)
    shown = scene.updated(scene.team)
    assert stored["recorded"] < before < shown
    assert found["recorded"] == found["signature"][0]["when"] == found["meta"]["lastUpdated"] == said.at == shown
    body = scene.team.get(where).content
    version = json.loads(body)["meta"]["versionId"]
    assert said.what[0].reference == f"{where}/_history/{version}" and said.what[0].sha256 == seal.digest(body)
    assert said.patient == scene.dossier.path and len(said.what) > 1
    changed = {"meta", "recorded", "signature"}
    assert {name: part for name, part in found.items() if name not in changed} == {
        name: part for name, part in stored.items() if name not in changed
    }
    for path in (f"Provenance/{found['id']}", f"Provenance/{found['id']}/_history/{found['meta']['versionId']}"):
        assert scene.team.get(path).json() == found
    told, reasons = verified(scene.team, where)
    assert told["seal"] == "passed" and any(shown in one for one in reasons) and not any(stored["recorded"] in one for one in reasons)
    for by in (scene.author, scene.traitant, scene.holder):
        assert seals(by, scene.dossier, target=where) == [stored]
        assert any(stored["recorded"] in one for one in verified(by, where)[1])


def test_no_answer_tells_when_the_seal_was_made(world):
    scene = Scene(world)
    where = f"DocumentReference/{scene.id}"
    (stored,) = seals(scene.author, scene.dossier, target=where)
    scene.mask()
    before = scene.unlabel(scene.holder, "MASQUE_PS")
    dossier, at = scene.dossier.id, stored["recorded"]
    for path in (
        f"Provenance?patient={dossier}",
        f"Provenance/{stored['id']}",
        f"Provenance/{stored['id']}/_history",
        f"DocumentReference?patient={dossier}&_revinclude=Provenance:target",
        f"Patient/{dossier}/$everything",
        f"Patient/{dossier}/Provenance",
        f"{where}/$verify",
        f"Patient/{dossier}/*",
    ):
        answer = scene.team.get(path)
        assert answer.status_code == 200 and at not in answer.text, path
        # To have deposited something lets nobody see the whole.
        assert scene.author.get(path).status_code == (403 if "$everything" in path else 200)
    earlier, later = f"lt{before}", f"gt{before}"
    found = {one["id"] for one in listed(scene.team, scene.dossier, "Provenance", recorded=later)}
    assert stored["id"] in found and stored["id"] not in {
        one["id"] for one in listed(scene.team, scene.dossier, "Provenance", recorded=earlier)
    }
    assert stored["id"] in {one["id"] for one in listed(scene.author, scene.dossier, "Provenance", recorded=earlier)}
    newest = listed(scene.team, scene.dossier, "Provenance", _sort="-recorded")
    assert newest[0]["id"] == stored["id"]
    by_seal = f"DocumentReference?patient={dossier}&_has:Provenance:target:recorded={later}&_summary=count"
    assert scene.team.get(by_seal).json()["total"] == 1 and scene.author.get(by_seal).json()["total"] == 0
