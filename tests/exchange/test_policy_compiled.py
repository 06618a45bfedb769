"""What a source brings where no policy is stored that could be compared: in a sandbox, and where it was written in another format."""

import json
import os

from pymongo import MongoClient

from fhir_dmp.consent import dossier as format_of
from tests.access.world import World
from tests.exchange.test_sources import PILOT, Sender, command, load, sender, server, world  # noqa: F401  fixtures
from tests.interactions.making import dumped
from tests.serving import here, serving


def test_a_real_source_brings_into_a_dossier_of_a_sandbox(mongod, tmp_path):
    database = f"compiled_{os.getpid()}"
    environment = {"FHIR_DMP_DATABASE": database}
    with serving(tmp_path, "--mongodb-uri", mongod.uri, "--workers", "1", environment=environment, sandbox=True) as running:
        place = ("--mongodb-uri", mongod.uri, "--data", running.data, "--sandbox")
        assert here("sources", "register", PILOT, *place, environment=environment)[0] == 0
        sender = Sender(world := World(running), None)
        sender.dossier = world.open()
        world.consent(sender.dossier, "takeover")
        sent, report = tmp_path / "export.ndjson", tmp_path / "report.ndjson"
        sent.write_bytes(
            b"".join(dumped(one) + b"\n" for one in (sender.patient(), sender.practitioner(), sender.document("a"), sender.binary("a")))
        )
        code, said = here("import", sent, "--source", PILOT, "--report", report, *place, environment=environment)
        assert code == 0, (said, [json.loads(line) for line in report.read_text("utf-8").splitlines()])
    with MongoClient(mongod.uri) as client:
        client.drop_database(database)


def test_a_source_brings_where_the_policy_was_written_in_another_format(load, world, sender, monkeypatch):  # noqa: F811
    world.consent(sender.dossier, "takeover")
    monkeypatch.setattr(format_of, "FORMAT", format_of.FORMAT + 1)
    code, told, _ = load(sender.patient(), sender.practitioner(), sender.document("a"), sender.binary("a"))
    assert code == 0, told
