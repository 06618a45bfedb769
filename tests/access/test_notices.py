"""Notices to holder and médecin traitant, in the dossier and by mail. Code de la santé publique L1111-17, R1111-48"""

import asyncio
import socket
import time
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from pymongo import MongoClient

from fhir_dmp.fhir.instants import DAY, MINUTE
from fhir_dmp.interactions import notices
from fhir_dmp.settings import Settings
from fhir_dmp.store.resources import Store
from tests.access.conftest import DATABASE
from tests.access.test_break_glass import breaks
from tests.access.world import World, consent, day, listed
from tests.serving import serving

FROM = "dmp@host.example.org"
EMAIL = [{"system": "email", "value": "solange@example.org"}]


class Mailbox:
    """A mail server on this machine. failing: it takes nothing for now."""

    def __init__(self):
        self.taken, self.failing = [], False

    async def handle_DATA(self, server, session, envelope):
        if self.failing:
            return "451 not now"
        self.taken.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 taken"

    def waits_for(self, number, seconds=20):
        """Wait until so many came, and a moment longer for one too many."""
        end = time.monotonic() + seconds
        while len(self.taken) < number and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1.5)
        return self.taken


@pytest.fixture(scope="module")
def mailbox():
    kept = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        kept.port = probe.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=kept.port)
    controller.start()
    yield kept
    controller.stop()


@pytest.fixture(scope="module")
def mailing(mongod, tmp_path_factory, mailbox):
    """Two workers that send by mail."""
    environment = {
        "FHIR_DMP_DATABASE": f"{DATABASE}_mail",
        "FHIR_DMP_NOTICE_SENDER": "smtp",
        "FHIR_DMP_NOTICE_SECONDS": "1",
        "FHIR_DMP_SMTP_URL": f"smtp://127.0.0.1:{mailbox.port}",
        "FHIR_DMP_SMTP_FROM": FROM,
        "FHIR_DMP_BASE_URL": "https://dmp.example.org/fhir",
    }
    folder = tmp_path_factory.mktemp("mailing")
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "2", environment=environment, sandbox=False) as running:
        yield World(running)
    with MongoClient(mongod.uri) as client:
        client.drop_database(f"{DATABASE}_mail")


def opened(world, **fields):
    """A dossier whose holder has a mail address."""
    dossier = world.open(**fields)
    holder = world.holder(dossier)
    assert holder.put(dossier.path, {**dossier.patient, "telecom": EMAIL}).status_code == 200
    return dossier


def test_each_notice_is_sent_once_and_says_nothing_of_the_dossier(mailing, mailbox):
    mailbox.taken.clear()
    traitant, anna = mailing.professional(), mailing.professional()
    address = [{"system": "email", "value": "cabinet@example.org"}]
    mailing.write(
        mailing.operator(), {"resourceType": "Practitioner", "identifier": [traitant.reference["identifier"]], "telecom": address}
    )
    dossier = opened(mailing, traitant=traitant)
    assert breaks(anna, dossier, "douleur thoracique").status_code == 200
    taken = mailbox.waits_for(2)
    assert sorted(receivers for receivers, _ in taken) == [["cabinet@example.org"], ["solange@example.org"]]
    assert len({message["Message-ID"] for _, message in taken}) == 2
    for _, message in taken:
        words = message.get_content()
        assert "https://dmp.example.org/" in words
        assert not any(part in words for part in ("thoracique", anna.idnps, "QUATREMERE", dossier.id, dossier.ins))


def test_a_mail_that_could_not_leave_leaves_later(mailing, mailbox, mongod):
    mailbox.taken.clear()
    dossier, mailbox.failing = opened(mailing), True
    breaks(mailing.professional(), dossier)
    time.sleep(3)
    assert mailbox.taken == []
    mailbox.failing = False

    async def later(minutes):
        store = await Store.open(
            mongod.uri, f"{DATABASE}_mail", data_dir=mailing.server.data, clock=lambda: time.time_ns() // 1_000_000 + minutes * MINUTE
        )
        try:
            settings = Settings(notice_sender="smtp", smtp_url=f"smtp://127.0.0.1:{mailbox.port}", smtp_from=FROM)
            return await notices.send(store, notices.senders.of_notices(settings))
        finally:
            await store.close()

    assert asyncio.run(later(0)) == 0  # still with the worker that took it
    assert asyncio.run(later(11)) == 1
    assert [receivers for receivers, _ in mailbox.taken] == [["solange@example.org"]]
    assert asyncio.run(later(30)) == 0


def test_nothing_is_sent_of_an_act_that_was_refused(mailing, mailbox):
    mailbox.taken.clear()
    dossier = opened(mailing)
    anna = mailing.professional()
    assert breaks(anna, dossier, " ").status_code == 422
    assert anna.post("Consent", consent(dossier, "access", anna)).status_code == 422
    assert mailbox.waits_for(1, seconds=1) == []


def test_parents_are_told_of_a_child(mailing, mailbox):
    mailbox.taken.clear()
    ins_age = {"age": 9, "people": ("MTH",)}
    dossier = mailing.open(**ins_age)
    mother = mailing.representative(dossier)
    (person,) = listed(mother, dossier, "RelatedPerson")
    assert mother.put(f"RelatedPerson/{person['id']}", {**person, "telecom": EMAIL}).status_code == 200
    breaks(mailing.professional(), dossier)
    assert [receivers for receivers, _ in mailbox.waits_for(1)] == [["solange@example.org"]]
    (told,) = listed(mother, dossier, "Communication")
    assert {one.get("reference", "").split("/")[0] for one in told["recipient"]} == {"Patient", "RelatedPerson"}


# ---- who sees a notice


def test_a_notice_is_for_those_it_is_addressed_to(world):
    traitant, member = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.consent(dossier, "access", member)
    anna = world.professional()
    breaks(anna, dossier)
    (told,) = listed(traitant, dossier, "Communication")
    (own,) = listed(world.holder(dossier), dossier, "Communication")
    assert told["id"] != own["id"]
    for asker in (member, anna):
        assert listed(asker, dossier, "Communication") == []
        assert asker.get(f"Communication/{own['id']}").content == asker.get(f"Communication/{own['id'][:-2]}AA").content
    assert traitant.get(f"Communication/{own['id']}").status_code == 404
    assert world.holder(dossier).get(f"Communication/{told['id']}").status_code == 404


def test_a_secret_session_is_not_told_to_the_parents(world):
    dossier = world.open(age=15, people=("MTH",))
    anna = world.professional(secret_session=True)
    world.consent(dossier, "access", anna, by=anna, evidence="oral", period={"end": day(days=10)})
    assert listed(world.representative(dossier), dossier, "Communication") == []
    minor = world.holder(dossier, beside=anna)
    assert [one["category"][0]["coding"][0]["code"] for one in listed(minor, dossier, "Communication")] == ["authorisation"]


# ---- a document that waits for its announcement


async def announced(mongod, world, days, workers=1):
    """Look for documents that wait, so many days later."""
    clock = lambda: time.time_ns() // 1_000_000 + days * DAY  # noqa: E731
    stores = [await Store.open(mongod.uri, DATABASE, data_dir=world.server.data, clock=clock) for _ in range(workers)]
    try:
        settings = Settings(base_url="https://dmp.example.org/fhir")
        return sum(await asyncio.gather(*(notices.announce(store, settings) for store in stores)))
    finally:
        for store in stores:
            await store.close()


def announcements(world, dossier):
    found = listed(world.holder(dossier), dossier, "Communication")
    return [one for one in found if one["category"][0]["coding"][0]["code"] == "announcement"]


async def test_the_holder_is_told_at_two_weeks_once_and_learns_nothing_else(mongod, world):
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    document = world.deposit(dossier, traitant, labels=("INVISIBLE_PATIENT",), text="secret")
    await announced(mongod, world, 13)
    assert announcements(world, dossier) == []
    await announced(mongod, world, 15, workers=3)
    (told,) = announcements(world, dossier)
    assert set(told) == {"resourceType", "id", "meta", "status", "category", "subject", "sent", "recipient", "payload"}
    assert document["id"] not in str(told) and "2026" not in told["payload"][0]["contentString"]
    # Each look is by servers just started; clocks go back and forth.
    for days in (16, 10, 15, 40, 14):
        await announced(mongod, world, days, workers=2)
    assert len(announcements(world, dossier)) == 1


async def test_no_notice_of_what_was_announced_withdrawn_or_is_of_a_closed_dossier(mongod, world):
    traitant = world.professional()
    first, second, third, fourth = (world.open(traitant=traitant) for _ in range(4))
    withdrawn = world.deposit(fourth, traitant, labels=("INVISIBLE_PATIENT",))
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert traitant.patch(f"DocumentReference/{withdrawn['id']}", gone).status_code == 200
    document = world.deposit(first, traitant, labels=("INVISIBLE_PATIENT",))
    seen = traitant.get(f"DocumentReference/{document['id']}").json()["securityLabel"]
    place = next(n for n, one in enumerate(seen) if one["coding"][0]["code"] == "INVISIBLE_PATIENT")
    answer = traitant.patch(f"DocumentReference/{document['id']}", [{"op": "remove", "path": f"/securityLabel/{place}"}])
    assert answer.status_code == 200, answer.text
    world.deposit(second, traitant, labels=("INVISIBLE_PATIENT",))
    world.deposit(third, traitant, labels=("INVISIBLE_PATIENT",))
    assert world.holder(third).run(f"{third.path}/$close", reason="holder-request").status_code == 200
    await announced(mongod, world, 33)
    await announced(mongod, world, 15)
    world.holder(third).run(f"{third.path}/$reactivate", reason="holder-request")
    assert announcements(world, first) == announcements(world, third) == announcements(world, fourth) == []
    assert len(announcements(world, second)) == 1


async def test_a_holder_who_lost_his_rights_reads_and_is_told_too(mongod, world):
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    world.deposit(dossier, traitant, labels=("INVISIBLE_PATIENT",))
    assert world.operator().run(f"{dossier.path}/$close", reason="rights-lost").status_code == 200
    await announced(mongod, world, 15)
    assert len(announcements(world, dossier)) == 1
