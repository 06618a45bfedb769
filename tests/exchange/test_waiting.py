"""What waits in quarantine: what is kept at all, with whom it goes, and that it is taken as it would have been."""

import pytest
from pymongo import MongoClient

from fhir_dmp.signing.jws import Signer
from tests.access.world import LOINC, document
from tests.exchange.test_sources import DATABASE, PILOT, Sender, command, issues, load, sender, server, world  # noqa: F401  fixtures
from tests.interactions.making import dumped
from tests.signing.test_message import SOFTWARE, keys, signers  # noqa: F401  fixtures
from tests.signing.test_verify import verified

KNOWN = {"coding": [{"system": LOINC, "code": "11488-4"}]}


def local(sender: Sender) -> dict:  # noqa: F811
    return {"coding": [{"system": "urn:x-wait", "code": f"U{sender.tag}", "display": "Compte rendu opératoire"}]}


@pytest.fixture
def replay(command):  # noqa: F811
    """Map the code of somebody and import again what waits: what was printed."""

    def replayed(one: Sender, **settings: object) -> str:
        assert command("quarantine", "map", "--source", PILOT, f"urn:x-wait|U{one.tag}", "34874-8", **settings)[0] == 0
        return command("quarantine", "replay", "--source", PILOT, **settings)[1]

    return replayed


def held(world, dossier) -> list[dict]:  # noqa: F811
    found = world.holder(dossier).get(f"DocumentReference?patient={dossier.id}&_count=100").json()
    return [one["resource"] for one in found.get("entry", [])]


@pytest.fixture
def waits(server):  # noqa: F811
    """How much waits now that did not before."""

    def counted() -> int:
        with MongoClient(server.uri) as client:
            return client[DATABASE]["quarantine"].count_documents({})

    before = counted()
    return lambda: counted() - before


@pytest.mark.parametrize("closed", [False, True])
def test_what_the_dossier_does_not_take_is_not_kept_whatever_its_code(load, waits, world, sender, closed):  # noqa: F811
    if closed:
        world.consent(sender.dossier, "takeover")
        assert world.holder(sender.dossier).run(f"{sender.dossier.path}/$close", reason="holder-request").status_code == 200
    sent = (sender.patient(), sender.practitioner(), sender.document("a", type=local(sender)), sender.binary("a"))
    code, told, _ = load(*sent)
    assert code == 3 and sorted(line["status"] for line in told) == [200, 200, 403, 404], told
    assert waits() == 0


def test_a_content_whose_document_is_refused_later_is_kept_no_longer(load, waits, world, sender):  # noqa: F811
    assert load(sender.patient(), sender.practitioner(), sender.binary("a"), name="a.ndjson")[0] == 3
    assert waits() == 1
    assert load(sender.document("a"), name="b.ndjson")[1][0]["status"] == 403
    assert waits() == 0


def test_whose_author_never_came_is_taken_with_his_name(load, replay, world, sender):  # noqa: F811
    world.consent(sender.dossier, "takeover")
    assert load(sender.patient(), sender.document("a", type=local(sender)), sender.binary("a"))[0] == 3
    replay(sender)
    (found,) = held(world, sender.dossier)
    assert found["author"][0]["identifier"]["value"] == f"Practitioner/dr-{sender.tag}"


def test_a_message_that_was_verified_is_not_verified_again(command, replay, world, sender, tmp_path, keys, signers):  # noqa: F811
    world.consent(sender.dossier, "takeover")
    sealing = {"message_signers": signers, "message_seal_required": "host,feed"}
    sent = (sender.patient(), sender.practitioner(), sender.document("o", type=local(sender)), sender.binary("o"))
    body = b"".join(dumped(one) + b"\n" for one in sent)
    (tmp_path / "a.ndjson").write_bytes(body)
    (tmp_path / "a.ndjson.jws").write_text(Signer(keys["trusted"]).detached(body))
    assert command("import", tmp_path / "a.ndjson", "--source", PILOT, **sealing)[0] == 3
    replay(sender, **sealing)
    (found,) = held(world, sender.dossier)
    levels, reasons = verified(world.holder(sender.dossier), f"DocumentReference/{found['id']}")
    assert any(SOFTWARE in reason for reason in reasons), (levels, reasons)


def test_what_waits_is_replaced_by_nothing_of_the_same_name(load, replay, world, sender):  # noqa: F811
    world.consent(sender.dossier, "takeover")
    first = sender.document("a", type=local(sender), description="le premier")
    assert load(sender.patient(), sender.practitioner(), first, sender.binary("a"))[0] == 3
    code, (again,), _ = load(first | {"meta": {"versionId": "2"}}, name="b.ndjson")
    assert again["status"] == 202
    code, told, _ = load(first | {"description": "un autre"}, sender.binary("a") | {"data": "QUJD"}, name="c.ndjson")
    assert [line["status"] for line in told] == [409, 409] and "one id, one document" in issues(told[0])
    replay(sender)
    assert [one["description"] for one in held(world, sender.dossier)] == ["le premier"]


def test_what_a_source_brings_after_a_death_waits_for_the_physician_of_the_host(load, replay, world, sender):  # noqa: F811
    dossier, by = sender.dossier, world.professional()
    world.consent(dossier, "takeover")
    assert load(sender.patient(), sender.practitioner(), sender.document("w", type=local(sender)), sender.binary("w"))[0] == 3
    assert world.operator().run(f"{dossier.path}/$close", reason="deceased").status_code == 200

    def queue() -> list[str]:
        found, after = [], ""
        while True:
            answer = world.operator("physician", "T1").get(f"$review-queue?count=100{after}").json().get("parameter", [])
            listed = [{part["name"]: part for part in one["part"]} for one in answer]
            found += [
                one["code"]["valueCode"] + one["resource"]["valueReference"]["reference"].partition("/")[0]
                for one in listed
                if one["patient"]["valueReference"]["reference"] == dossier.path
            ]
            if len(answer) < 100:
                return found
            after = f"&after={listed[-1]['id']['valueId']}"

    assert by.post("DocumentReference", document(dossier, by)).status_code == 201
    assert queue() == ["late-depositDocumentReference"]
    assert load(sender.document("b"), sender.binary("b"), name="b.ndjson")[0] == 0
    assert queue() == ["late-depositDocumentReference"] * 2
    replay(sender)
    assert queue() == ["late-depositDocumentReference"] * 3


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "found later"])
def test_what_waited_for_somebody_who_is_known_now_goes_with_his_dossier(load, command, waits, world, sender, linked):  # noqa: F811
    """Whether or not it was imported again."""
    sent = (sender.practitioner(), sender.document("i", type=KNOWN), sender.binary("i"))
    assert load(sender.patient(extension=[]), *sent)[0] == 3
    assert waits() == 3
    if linked:
        listed = command("quarantine", "list", "--source", PILOT)[1].splitlines()
        own = next(at for at, line in enumerate(listed) if "who is this" in line and sender.dossier.path in "".join(listed[at : at + 6]))
        key = listed[own].split()[0]
        assert command("quarantine", "link", "--source", PILOT, key, sender.dossier.path)[0] == 0
        command("quarantine", "replay", "--source", PILOT)
    else:
        assert load(sender.patient(), name="later.ndjson")[0] == 0
    assert waits() == 2
    assert world.holder(sender.dossier).run(f"{sender.dossier.path}/$close", reason="holder-request").status_code == 200
    assert command("keys", "destroy", sender.dossier.id, "--reason", "a court ordered it", "--yes")[0] == 0
    assert waits() == 0
