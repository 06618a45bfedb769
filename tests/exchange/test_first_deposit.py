"""The month of what is hidden from its holder begins with its first deposit: an import does not start it anew."""

from datetime import UTC, datetime, timedelta

import pytest
from pymongo import MongoClient

from fhir_dmp.fhir.instants import DAY
from tests.exchange import test_sources
from tests.exchange.test_sources import CARE, DATABASE, PILOT

command, load, sender, server, world = (getattr(test_sources, name) for name in ("command", "load", "sender", "server", "world"))
LABELS = ("INVISIBLE_PATIENT",)


def ago(days):
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")


def shown(world, sender):
    """How many documents the holder sees, with what came with them."""
    counts = [f"{name}?patient={sender.dossier.id}&_summary=count" for name in ("DocumentReference", "Provenance")]
    return [world.holder(sender.dossier).get(one).json()["total"] > 0 for one in counts]


@pytest.mark.parametrize(
    "source, consent, days, seen", [(PILOT, "takeover", 6_000, True), (PILOT, "takeover", 20, False), (CARE, "feed", 6_000, False)]
)
def test_an_experimental_dossier_says_when_something_was_deposited_in_it(load, world, sender, source, consent, days, seen):
    world.consent(sender.dossier, consent)
    type = {"coding": [{"system": test_sources.LOINC, "code": "34874-8"}]}
    document = sender.document("o", labels=LABELS, type=type, date=ago(days))
    code, told, _ = load(sender.patient(), sender.practitioner(), document, sender.binary("o"), source=source)
    assert code == 0, told
    assert shown(world, sender) == [seen, seen]
    assert sender.doctor.get(f"DocumentReference?patient={sender.dossier.id}").json()["total"] == 1


def test_what_waited_in_quarantine_was_deposited_when_it_was_received(load, command, world, sender, server):
    world.consent(sender.dossier, "takeover")
    system = f"urn:x-{sender.tag}"
    document = sender.document("w", labels=LABELS, type={"coding": [{"system": system, "code": "W"}]})
    sent = (sender.patient(), sender.practitioner(), document, sender.binary("w"))
    assert load(*sent)[0] == 3
    with MongoClient(server.uri) as client:
        aged = client[DATABASE]["quarantine"].update_many({"s": PILOT}, {"$inc": {"at": -40 * DAY}})
        assert aged.modified_count
    assert load(*sent)[0] == 3
    assert command("quarantine", "map", "--source", PILOT, f"{system}|W", "34874-8")[0] == 0
    assert command("quarantine", "replay", "--source", PILOT)[0] == 0
    assert shown(world, sender) == [True, True]
