"""Notices that wait to be sent: nothing that one of them fails of holds up the others. https://www.rfc-editor.org/rfc/rfc5321"""

import asyncio

import pytest

from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import DAY
from fhir_dmp.identity.senders import Mail, mail_of
from fhir_dmp.interactions import notices
from fhir_dmp.settings import Settings
from fhir_dmp.store import outbox
from fhir_dmp.store.outbox import Message
from tests.interactions.test_login import mailbox  # noqa: F401  a fixture

FROM = "dmp@host.example.org"
GOOD = "solange@example.org"
# What the makers of headers of Python itself fail of, each in its own way, and what would be another header.
NO_ADDRESSES = ("a@[", 'a"b@example.org', "a@b\nBcc: thief@example.org", "", "solange", "a@b@c", "<a@b.fr>", "é" * 300 + "@b.fr")


@pytest.fixture
async def waits(store):
    """Let a mail to an address wait, each after the former."""
    dossier, number = store.new_dossier(), iter(range(1, 100))
    await store.dossier_key(dossier)

    async def wait(address):
        mail = json.dump({"address": address, "subject": "DMP", "text": "Un message vous attend."})
        at_ms = store.clock() - 1000 + next(number)
        await store.transact(lambda transaction: outbox.add(transaction, Message(store.random(16), dossier, mail), at_ms))

    return wait


async def left(store):
    return await store.connection.database[outbox.COLLECTION].count_documents({}, hint="time")


async def test_an_address_that_is_none_is_given_up_and_the_next_mail_leaves(store, waits, mailbox, caplog):  # noqa: F811
    for address in (*NO_ADDRESSES, GOOD):
        await waits(address)
    assert await notices.send(store, Mail(f"smtp://127.0.0.1:{mailbox.port}", FROM)) == 1
    assert [receivers for receivers, _ in mailbox.taken] == [[GOOD]]
    assert await left(store) == 0
    assert "its address is none" in caplog.text and "example.org" not in caplog.text


class Odd(Mail):
    """Fails of its first message in a way that nobody foresaw."""

    tried = 0

    async def send(self, address, subject, text, name=""):
        self.tried += 1
        if self.tried == 1:
            raise AttributeError
        await super().send(address, subject, text, name)


async def test_a_mail_that_fails_for_another_reason_waits_and_the_next_one_leaves(store, waits, mailbox):  # noqa: F811
    for address in ("first@example.org", GOOD):
        await waits(address)
    assert await notices.send(store, Odd(f"smtp://127.0.0.1:{mailbox.port}", FROM)) == 1
    assert [receivers for receivers, _ in mailbox.taken] == [[GOOD]]
    assert await left(store) == 1


async def test_documents_are_announced_though_no_mail_leaves(store, monkeypatch, caplog):
    announced = asyncio.Event()

    async def broken(*given):
        raise AttributeError("nothing leaves")

    async def seen(*given):
        announced.set()
        return 0

    monkeypatch.setattr(notices, "send", broken)
    monkeypatch.setattr(notices, "announce", seen)
    running = asyncio.create_task(notices.run(store, Settings(notice_seconds=1)))
    try:
        await asyncio.wait_for(announced.wait(), 20)
    finally:
        running.cancel()
    assert "notices were not sent" in caplog.text


async def test_a_clock_that_was_ahead_and_is_set_right_delays_no_announcement(store, monkeypatch):
    looks, ahead = asyncio.Queue(), [20 * DAY]
    now = store.clock
    monkeypatch.setattr(store, "clock", lambda: now() + ahead[0])
    monkeypatch.setattr(notices, "LOOK_SECONDS", 0)

    async def seen(*given):
        await looks.put(store.clock())
        return 0

    monkeypatch.setattr(notices, "announce", seen)
    running = asyncio.create_task(notices.run(store, Settings(notice_seconds=1)))
    try:
        await asyncio.wait_for(looks.get(), 20)
        ahead[0] = 0
        while await asyncio.wait_for(looks.get(), 20) > now() + DAY:
            pass
    finally:
        running.cancel()


def test_mail_goes_to_the_first_address_that_is_one():
    def telecom(*values, **more):
        return {"telecom": [{"system": "email", "value": value, **more} for value in values]}

    assert mail_of(telecom("a@[", GOOD, "b@example.org")) == GOOD
    assert mail_of(telecom(*NO_ADDRESSES)) == mail_of(telecom(GOOD, use="old")) == mail_of({}) == ""
    assert mail_of({"telecom": [{"system": "phone", "value": GOOD}, {"system": "email"}]}) == ""
