"""Sources of a dossier that is given to another host: what they were told is kept goes with it, or it is not given."""

from tests.access.world import listed
from tests.exchange.test_package_hosts import hosts  # noqa: F401
from tests.exchange.test_sources import PILOT, Sender
from tests.interactions.making import bundle, dumped, entry


class _At:
    """A dossier at a host that it came to."""

    def __init__(self, id):
        self.id, self.path = id, f"Patient/{id}"


def _documents(host, id):
    dossier = _At(id)
    return len(listed(host.world.holder(dossier), dossier, "DocumentReference"))


def test_a_dossier_for_which_something_waits_is_not_closed_by_a_receipt(hosts, tmp_path):  # noqa: F811
    a, b = hosts
    a.command("sources", "register", PILOT)
    dossier = a.world.open()
    a.world.consent(dossier, "takeover")
    sender = Sender(a.world, dossier)
    unknown = [{"coding": [{"system": f"urn:x-{sender.tag}", "code": code}]} for code in ("OPE", "CRO")]
    sent = [sender.patient(), sender.practitioner(), sender.binary("o"), sender.binary("n"), sender.binary("k"), sender.document("k")]
    sent += [sender.document(id, type=type) for id, type in zip("on", unknown, strict=True)]
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(dumped(one) + b"\n" for one in sent))
    a.command("import", path, "--source", PILOT, code=3)

    def moved(code):
        a.command("export", dossier.id, "--to", b.name, "--out", tmp_path)
        told = b.command("import", tmp_path / f"{dossier.id}.dmp", "--source", a.name)
        said = a.command("export", "--to", b.name, "--acknowledged", tmp_path / f"{dossier.id}.receipt", code=code)
        return told.partition("Patient/")[2].split()[0], said

    _, said = moved(1)
    assert "waits in quarantine" in said
    assert a.world.holder(dossier).get(dossier.path).json()["active"] is True
    a.command("quarantine", "map", "--source", PILOT, f"urn:x-{sender.tag}|OPE", "34874-8")
    a.command("quarantine", "replay", "--source", PILOT)
    assert moved(1)[1].count("waits in quarantine") == 1
    (key,) = (line.split()[0] for line in a.command("quarantine", "list", "--source", PILOT).splitlines() if " code " in line)
    assert "dropped" in a.command("quarantine", "drop", "--source", PILOT, key)
    assert a.command("quarantine", "list", "--source", PILOT) == ""
    id, _ = moved(0)
    assert _documents(b, id) == 2
    late = tmp_path / "late.ndjson"
    late.write_bytes(dumped(sender.document("l")) + b"\n")
    assert "another host: what is of it is sent there" in a.command("import", late, "--source", PILOT, code=3)


def test_another_host_sends_packages_and_nothing_else(hosts, tmp_path):  # noqa: F811
    """No Consent of the holder lets a host that is known here write into his dossier: he has not chosen it."""
    a, b = hosts
    dossier = a.world.open()
    sender = Sender(a.world, dossier)
    path = tmp_path / "b.ndjson"
    path.write_bytes(
        b"".join(dumped(one) + b"\n" for one in (sender.patient(), sender.practitioner(), sender.document("o"), sender.binary("o")))
    )
    other = a.world.host(b.name)
    answer = other.post(f"$import?source={b.name}", path.read_bytes(), content_type="application/fhir+ndjson")
    assert (answer.status_code, "packages of dossiers" in answer.text) == (422, True)
    transaction = dumped(bundle("transaction", entry("POST", "DocumentReference", sender.document("o"))))
    assert other.post(f"$import?source={b.name}", transaction).status_code == 422
    assert "packages of dossiers" in a.command("import", path, "--source", b.name, code=1)
    assert _documents(a, dossier.id) == 0
