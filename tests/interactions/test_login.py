"""Patient login at other times and with other means: an injected clock, a real mail server, erased dossiers, rotated keys."""

import asyncio
import os
import quopri
import re
import socket

import pyotp
import pytest
from aiosmtpd.controller import Controller

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import secrets
from fhir_dmp.identity.issuers import HostIssuer
from fhir_dmp.identity.senders import Mail
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.interactions import login
from fhir_dmp.interactions.login import Caller, Desk
from fhir_dmp.settings import load
from fhir_dmp.store import restored
from fhir_dmp.store.credentials import Factor, Owner
from fhir_dmp.store.resources import Store

NOW = 1_795_000_000_000
CALLER = Caller("192.0.2.1")
IDENTIFIER, PASSWORD, CODE = "abcd2345efgh", "mnpq-rstu-vwxy-2345", "12345678"


class Clock:
    """A clock that stands where it is put."""

    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def desk(mongod, data_dir, database, tmp_path, clock):
    """A desk of a new store, without a sender."""
    store = await Store.open(mongod.uri, database, data_dir=data_dir, clock=clock)
    yield Desk(store, load({"data": tmp_path}, {}).settings, Tokens(HostIssuer(tmp_path)), None)
    await store.close()


@pytest.fixture
async def owner(desk):
    """Somebody with credentials."""
    found = Owner(desk.store.vault.new_id(desk.store.new_dossier()))
    await issue(desk, found)
    return found


async def issue(desk, owner, email="", codes=(CODE,)):
    kept = await desk.passwords.hashed(PASSWORD)
    secret = secrets.totp_secret(os.urandom)
    given = {"identifier": IDENTIFIER, "password": kept, "factor": Factor(secret, email), "codes": codes}
    await desk.credentials.issue(owner, now_ms=NOW, **given)
    return secret


async def refused(call, status=401):
    with pytest.raises(FhirError) as caught:
        await call
    assert caught.value.status == status
    return caught.value


async def test_a_challenge_lives_for_its_time_and_no_longer(desk, owner, clock):
    for age, lives in ((299_999, True), (300_000, False), (-1, False)):
        await issue(desk, owner)
        clock.now += 10_000_000
        challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
        clock.now += age
        if lives:
            assert (await login.finish(desk, challenge, CODE, CALLER))[1] == 900
        else:
            await refused(login.finish(desk, challenge, CODE, CALLER))


async def test_the_token_ends_at_its_second(desk, owner, clock):
    token, seconds = await login.finish(desk, await login.begin(desk, IDENTIFIER, PASSWORD, CALLER), CODE, CALLER)
    actor = await desk.tokens.verify(token, clock.now + seconds * 1000 - 1)
    assert (actor.kind, actor.patient, actor.related_person) == ("patient", owner.patient, "")
    await refused(desk.tokens.verify(token, clock.now + seconds * 1000))


async def test_a_code_of_the_application_is_taken_within_a_step_of_the_clock(desk, owner, clock):
    secret = await issue(desk, owner)
    for away, right in ((-60, False), (60, False), (-30, True), (30, True)):
        clock.now += 10_000_000
        challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
        code = pyotp.TOTP(secret).at(clock.now // 1000 + away)
        if right:
            await login.finish(desk, challenge, code, CALLER)
        else:
            await refused(login.finish(desk, challenge, code, CALLER))


async def test_what_was_used_before_a_restore_is_not_used_again(desk, owner, clock):
    """The database that comes back does not know what was spent after the backup."""
    secret = await issue(desk, owner)
    former = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await restored.note(desk.store.connection, clock.now)
    spent, wording = pyotp.TOTP(secret).at(clock.now // 1000), login.refused().message
    assert (await refused(login.finish(desk, former, spent, CALLER))).message == wording
    clock.now += 1
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    for code in (CODE, spent, pyotp.TOTP(secret).at(clock.now // 1000 + 30)):
        assert (await refused(login.finish(desk, challenge, code, CALLER))).message == wording
    clock.now += 60_000
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    assert await login.finish(desk, challenge, pyotp.TOTP(secret).at(clock.now // 1000), CALLER)


async def test_after_a_restore_a_new_sheet_serves_at_once(desk, owner, clock):
    await restored.note(desk.store.connection, clock.now)
    clock.now += 1
    await issue(desk, owner, codes=("87654321",))
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await refused(login.finish(desk, challenge, CODE, CALLER))
    assert await login.finish(desk, challenge, "87654321", CALLER)


async def test_credentials_of_an_erased_dossier_open_nothing(desk, owner):
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await desk.store.destroy_dossier(desk.store.vault.dossier_of_patient(owner.patient))
    wording = await refused(login.finish(desk, challenge, CODE, CALLER))
    assert wording.message == login.refused().message


async def test_a_lock_holds_over_all_addresses_and_ends_at_its_second(desk, owner, clock):
    for number in range(desk.settings.login_failures):
        await refused(login.begin(desk, IDENTIFIER, "wrong", Caller(f"192.0.2.{number}")))
    locked_at, lock_ms = clock.now, desk.settings.login_lock_seconds * 1000
    clock.now = locked_at + lock_ms // 2
    await refused(login.begin(desk, IDENTIFIER, PASSWORD, CALLER))
    clock.now = locked_at + lock_ms - 1
    await refused(login.begin(desk, IDENTIFIER, PASSWORD, CALLER))
    clock.now = locked_at + lock_ms
    assert await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)


async def test_codes_that_come_at_once_are_no_more_tries_than_one_after_the_other(desk, owner, clock, monkeypatch):
    tried, real = [], login.code_fits

    async def seen(*given):
        tried.append(given[-1])
        return await real(*given)

    monkeypatch.setattr(login, "code_fits", seen)
    most = desk.settings.login_failures
    challenges = [await login.begin(desk, IDENTIFIER, PASSWORD, CALLER) for _ in range(most)]
    wrong = [login.finish(desk, challenges[number % most], f"{number:08d}", CALLER) for number in range(3 * most)]
    answers = await asyncio.gather(*wrong, return_exceptions=True)
    assert {answer.status for answer in answers} == {401} and len(tried) == most
    clock.now += desk.settings.login_window_seconds * 1000
    await refused(login.begin(desk, IDENTIFIER, PASSWORD, CALLER))


async def test_passwords_that_come_at_once_are_counted_before_they_are_tried(desk, owner, monkeypatch):
    """All the wrong ones are being looked at when the right one comes: it is one more than may be tried."""
    looked_at, go_on, real = asyncio.Semaphore(0), asyncio.Event(), secrets.Passwords.fits

    async def slow(self, password, kept):
        if password == "wrong":
            looked_at.release()
            await go_on.wait()
        return await real(self, password, kept)

    monkeypatch.setattr(secrets.Passwords, "fits", slow)
    most = desk.settings.login_failures
    tries = [asyncio.create_task(login.begin(desk, IDENTIFIER, "wrong", CALLER)) for _ in range(most)]
    for _ in tries:
        await looked_at.acquire()
    await refused(login.begin(desk, IDENTIFIER, PASSWORD, CALLER))
    go_on.set()
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert [answer.status for answer in answers] == [401] * most


async def test_a_right_password_is_no_failure(desk, owner):
    for _ in range(desk.settings.login_failures + 2):
        challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    assert await login.finish(desk, challenge, CODE, CALLER)


async def test_of_right_codes_that_come_at_once_with_one_challenge_one_is_used(desk, owner):
    codes = ("11111111", "22222222", "33333333")
    await issue(desk, owner, codes=codes)
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    answers = await asyncio.gather(*(login.finish(desk, challenge, code, CALLER) for code in codes), return_exceptions=True)
    used = [code for code, answer in zip(codes, answers, strict=True) if not isinstance(answer, FhirError)]
    assert len(used) == 1
    for code in codes:
        call = login.finish(desk, await login.begin(desk, IDENTIFIER, PASSWORD, CALLER), code, CALLER)
        assert await (refused(call) if code in used else call)


@pytest.mark.parametrize("identifier", [IDENTIFIER, "nobody234567"])
async def test_who_asks_too_often_waits_as_long_as_he_is_told(desk, owner, clock, identifier):
    for _ in range(desk.settings.login_attempts):
        await refused(login.begin(desk, identifier, "wrong", CALLER))
        clock.now += 1000
    told = await refused(login.begin(desk, identifier, "wrong", CALLER), 429)
    seconds = desk.settings.login_window_seconds - desk.settings.login_attempts
    assert told.headers == {"Retry-After": str(seconds)}
    clock.now += seconds * 1000 - 1
    await refused(login.begin(desk, identifier, "wrong", CALLER), 429)
    clock.now += 1
    await refused(login.begin(desk, identifier, "wrong", CALLER), 401)


async def test_an_unknown_identifier_is_counted_and_checked_as_a_known_one(desk, owner, monkeypatch):
    """The same commands reach the database, and the same hash is computed, whoever is asked for."""
    work = []
    for name in ("find", "count", "counted"):
        real = getattr(type(desk.credentials), name)

        def seen(self, *given, real=real, name=name, **more):
            work.append((name, len(given), tuple(more)))
            return real(self, *given, **more)

        monkeypatch.setattr(type(desk.credentials), name, seen)
    real = secrets.Passwords._verified
    monkeypatch.setattr(secrets.Passwords, "_verified", lambda *given: (work.append(("hash", given[2][:30], ())), real(*given))[1])
    done = []
    for identifier in (IDENTIFIER, "nobody234567"):
        work.clear()
        await refused(login.begin(desk, identifier, "wrong", CALLER))
        done.append([*work])
    assert done[0] == done[1] and len(done[0]) >= 5


class Mailbox:
    """Keeps what it is sent."""

    def __init__(self):
        self.taken = []

    async def handle_DATA(self, server, session, envelope):
        self.taken.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 taken"


@pytest.fixture
def mailbox():
    """A real mail server on this machine."""
    kept = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        kept.port = probe.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=kept.port)
    controller.start()
    yield kept
    controller.stop()


async def test_a_code_is_mailed_to_whoever_has_an_address(desk, owner, mailbox):
    desk.sender = Mail(f"smtp://127.0.0.1:{mailbox.port}", "dmp@host.example.org")
    await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await asyncio.gather(*desk.sending)
    assert mailbox.taken == [], "no address, no mail"
    await issue(desk, owner, "holder@example.org")
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await asyncio.gather(*desk.sending)
    ((receivers, text),) = mailbox.taken
    assert receivers == ["holder@example.org"] and owner.patient not in text and IDENTIFIER not in text
    code = re.search(r"^(\d{6}) ", quopri.decodestring(text.encode()).decode(), re.M)[1]
    assert await login.finish(desk, challenge, code, CALLER)


async def test_a_mail_server_that_is_away_stops_nobody_with_another_code(desk, owner, caplog):
    await issue(desk, owner, "holder@example.org")
    desk.sender = Mail("smtp://127.0.0.1:1", "dmp@host.example.org")
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await asyncio.gather(*desk.sending)
    assert "a one-time code could not be sent" in caplog.text and "holder" not in caplog.text
    assert await login.finish(desk, challenge, CODE, CALLER)


async def test_an_address_that_is_none_stops_nobody_with_another_code(desk, owner, mailbox, caplog):
    await issue(desk, owner, "a@[")
    desk.sender = Mail(f"smtp://127.0.0.1:{mailbox.port}", "dmp@host.example.org")
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    await asyncio.gather(*desk.sending)
    assert "a one-time code could not be sent" in caplog.text and mailbox.taken == []
    assert await login.finish(desk, challenge, CODE, CALLER)


async def test_a_code_that_would_be_sent_is_worth_nothing_where_none_is_sent(desk, owner):
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    nonce = login.opened_challenge(desk, challenge).nonce.hex()
    await refused(login.finish(desk, challenge, secrets.sent_code(desk.code_key, nonce), CALLER))


async def test_a_challenge_of_another_host_is_none(desk, owner, mongod, tmp_path, database):
    other = await Store.open(mongod.uri, f"{database}_b", data_dir=tmp_path / "other")
    try:
        stranger = Desk(other, desk.settings, desk.tokens, None)
        await issue(stranger, Owner(other.vault.new_id(other.new_dossier())))
        challenge = await login.begin(stranger, IDENTIFIER, PASSWORD, CALLER)
        assert login.opened_challenge(stranger, challenge) is not None
        assert login.opened_challenge(desk, challenge) is None
        await refused(login.finish(desk, challenge, CODE, CALLER))
    finally:
        await other.connection.client.drop_database(f"{database}_b")
        await other.close()


async def test_a_key_rotated_with_its_former_tokens_forgotten_does_not_stop_login(desk, owner, clock):
    HostIssuer(desk.settings.data).rotate(forget=True)
    clock.now += 2_000
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)
    assert await login.finish(desk, challenge, CODE, CALLER)


async def test_who_is_told_to_come_again_has_not_failed(desk, owner, monkeypatch):
    """A server that is busy looks at no password: as many as lock an identifier are asked to come again, and then it opens."""
    with monkeypatch.context() as busy:
        busy.setattr(secrets, "MOST_WAITING", 0)
        for _ in range(desk.settings.login_failures + 1):
            await refused(login.begin(desk, IDENTIFIER, PASSWORD, CALLER), 503)
    challenge = await login.begin(desk, IDENTIFIER, PASSWORD, CALLER)

    async def away(*_):
        raise FhirError("transient", "not now")

    with monkeypatch.context() as busy:
        busy.setattr(login, "code_fits", away)
        for _ in range(2):
            await refused(login.finish(desk, challenge, CODE, CALLER), 503)
    assert (await login.finish(desk, challenge, CODE, CALLER))[1] == 900
