"""What a source learns by sending a Patient: which dossier is his, told in its journal, and nothing else."""

import pytest

from tests.access.world import listed
from tests.exchange.test_sources import PILOT, command, issues, load, sender, server, world  # noqa: F401  fixtures
from tests.interactions.making import bundle, entry


@pytest.mark.parametrize("whole", [False, True], ids=["alone", "in a transaction"])
def test_a_dossier_that_a_source_is_told_of_has_a_trace_of_it(load, world, sender, whole):  # noqa: F811
    def traces() -> int:
        found = listed(world.holder(sender.dossier), sender.dossier, "AuditEvent")
        return sum(PILOT in str(one["agent"]) for one in found)

    patient = sender.patient()
    sent = bundle("transaction", entry("POST", "Patient", patient, "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0001")) if whole else patient
    before = traces()
    code, told, said = load(sent, name="a.json")
    assert (code, told[0]["location"]) == (0, sender.dossier.path), (told, said)
    assert traces() == before + 1
    # It knows it then.
    assert load(sent, name="b.json")[1][0]["location"] == sender.dossier.path
    assert load(sender.patient(active=True), name="c.json")[0] == 0
    assert traces() == before + 1


def test_nothing_that_changes_here_is_told(load, world, sender):  # noqa: F811
    first = load(sender.patient(), name="a.ndjson")[1]
    holder = world.holder(sender.dossier)
    kept = holder.get(sender.dossier.path).json()
    answer = holder.put(sender.dossier.path, kept | {"telecom": [{"system": "phone", "value": "0102030405"}]})
    assert answer.status_code == 200, answer.text
    again = load(sender.patient(active=True), name="b.ndjson")[1]
    assert first[0]["location"] == again[0]["location"] == sender.dossier.path


def test_whoever_waits_is_told_alike(load, sender):  # noqa: F811
    """Whether or not there is a dossier, and whatever of it differs."""
    nobody = [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "279035121518999"}]
    said = [
        issues(load(sender.patient(id=f"w{place}-{sender.tag}", **changes), name=f"{place}.ndjson")[1][0])
        for place, changes in enumerate(({"birthDate": "1901-01-01"}, {"gender": "other", "extension": []}, {"identifier": nobody}))
    ]
    assert said == ["in quarantine: somebody must say who this is"] * 3
