"""A source that sends again, after a restore, what was hidden or withdrawn since the backup."""

import json
import shutil

from tests.access.test_restore import MASK, SMALL, WITHDRAW, ids
from tests.access.world import LOINC, World, listed
from tests.exchange.test_sources import CARE, Sender
from tests.interactions.making import dumped
from tests.serving import here, serving


def test_what_a_restore_brought_back_is_answered_as_what_it_did_not(tmp_path):
    """It stays hidden, and its source is not told of it."""

    def sent(server, name: str, *resources: dict) -> list[int]:
        path, report = tmp_path / f"{name}.ndjson", tmp_path / f"{name}.report"
        path.write_bytes(b"".join(dumped(one) + b"\n" for one in resources))
        here("import", path, "--source", CARE, "--data", server.data, "--report", report, environment=SMALL)
        return [json.loads(line)["status"] for line in report.read_text("utf-8").splitlines()]

    type = {"coding": [{"system": LOINC, "code": "11488-4"}]}
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        assert here("sources", "register", CARE, "--name", "Cabinet", "--data", server.data, environment=SMALL)[0] == 0
        dossier, bob = world.open(family="OZENNEBERT"), world.professional(organization="750000002")
        world.consent(dossier, "access", bob)
        world.consent(dossier, "feed")
        sender = Sender(world, dossier)
        assert here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)[0] == 0
        documents = {id: sender.document(id, type=type) for id in "mwn"}
        files = (sender.patient(), sender.practitioner(), *documents.values(), *map(sender.binary, documents))
        first = sent(server, "one", *files)
        assert first == [200, 200, *[201] * 6]
        there = {one["masterIdentifier"]["value"]: one for one in listed(world.holder(dossier), dossier, "DocumentReference")}
        m, w, n = (there[one["masterIdentifier"]["value"]]["id"] for one in documents.values())
        assert world.holder(dossier).patch(f"DocumentReference/{m}", MASK).status_code == 200
        assert sender.doctor.patch(f"DocumentReference/{w}", WITHDRAW).status_code == 200
    shutil.rmtree(server.data / "mongodb")
    assert here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)[0] == 0
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        bob.server, bob.base = again, again.fhir
        assert sent(again, "two", *files) == first
        assert ids(bob, dossier) == {n}
        assert [bob.get(f"DocumentReference/{id}").status_code for id in (m, w)] == [404, 404]
        assert set(sent(again, "three", *files)) == {200}
