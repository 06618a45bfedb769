"""What another host sent by itself, as it once could, and still waits: its holder consented to none of it."""

from pymongo import MongoClient

from tests.exchange.test_sources import CARE, DATABASE, Sender, command, load, sender, server, world  # noqa: F401  fixtures
from tests.exchange.test_waiting import held, local, waits  # noqa: F401  fixtures


def test_what_waits_of_another_host_enters_no_dossier(load, command, server, world, waits, sender):  # noqa: F811
    world.consent(sender.dossier, "feed")
    assert load(sender.patient(), sender.practitioner(), sender.document("a", type=local(sender)), sender.binary("a"), source=CARE)[0] == 3
    with MongoClient(server.uri) as client:
        sources = client[DATABASE]["host.sources"]
        assert sources.update_one({"_id": CARE}, {"$set": {"kind": "host"}}).matched_count == 1
        try:
            assert command("quarantine", "map", "--source", CARE, f"urn:x-wait|U{sender.tag}", "34874-8")[0] == 0
            code, said = command("quarantine", "replay", "--source", CARE)
            assert code != 0 and "sends packages" in said
            assert held(world, sender.dossier) == [] and waits() == 2
        finally:
            sources.update_one({"_id": CARE}, {"$set": {"kind": "care-record"}})
