"""A source that sends again to the host that took a dossier what it sent to the one before."""

import json

from tests.access.world import LOINC, VISIBILITY, listed
from tests.exchange.test_moved_sources import _At
from tests.exchange.test_package_hosts import hosts, moved  # noqa: F401  fixtures
from tests.exchange.test_sources import PILOT, Sender
from tests.interactions.making import bundle, dumped, entry

MASK = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
SEARCHES = ("DocumentReference", "Observation", "Provenance")


def test_what_came_with_its_dossier_is_not_stored_twice_nor_shown_again(hosts, tmp_path):  # noqa: F811
    a, b = hosts
    for host in hosts:
        host.command("sources", "register", PILOT)
    world, dossier = a.world, a.world.open()
    world.consent(dossier, "takeover")
    world.consent(dossier, "access", bob := world.professional())
    sender = Sender(world, dossier)
    pulse = {"resourceType": "Observation", "id": f"o-{sender.tag}", "status": "final", "code": {"text": "pouls"}, "valueInteger": 61}
    pulse["subject"] = {"reference": f"Patient/p-{sender.tag}"}
    shown = sender.document("n")
    sent = [sender.patient(), sender.practitioner(), sender.document("k"), shown, sender.binary("k"), sender.binary("n"), pulse]

    def sends(host, name: str, *resources: dict, code: int) -> list[dict]:
        path, report = tmp_path / name, tmp_path / "report.ndjson"
        path.write_bytes(b"".join(dumped(one) + b"\n" for one in resources))
        host.command("import", path, "--source", PILOT, "--report", report, code=code)
        return [json.loads(line) for line in report.read_text("utf-8").splitlines()]

    sends(a, "a.ndjson", *sent, code=0)
    there = listed(world.holder(dossier), dossier, "DocumentReference")
    hidden = next(one for one in there if one["masterIdentifier"] == sent[2]["masterIdentifier"])
    patch = [{"op": "add", "path": "/securityLabel/-", "value": MASK}]
    assert world.holder(dossier).patch(f"DocumentReference/{hidden['id']}", patch).status_code == 200
    there = _At(moved(a, b, dossier.id, tmp_path))
    reader, holder = b.world.professional(bob.rpps, organization=bob.organization), b.world.holder(there)

    def totals() -> list[int]:
        return [len(listed(one, there, name)) for one in (reader, holder) for name in SEARCHES]

    before = totals()
    told = sends(b, "b.ndjson", *sent, code=3)
    # Alike whether or not it is hidden.
    assert sorted(line["status"] for line in told) == [200, 200, 404, 404, 422, 422, 422], told
    assert totals() == before
    # Under another id, or in a transaction, too; what is new is taken.
    assert sends(b, "c.ndjson", sent[2] | {"id": f"other-{sender.tag}"}, code=3)[0]["status"] == 422
    whole = sent[2] | {"type": {"coding": [{"system": LOINC, "code": "11488-4"}]}}
    assert sends(b, "d.json", bundle("transaction", entry("POST", "DocumentReference", whole)), code=3)[0]["status"] == 422
    assert totals() == before
    sends(b, "e.ndjson", sender.document("l"), sender.binary("l"), code=0)
    assert totals()[0] == before[0] + 1
