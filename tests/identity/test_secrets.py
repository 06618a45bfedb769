"""Passwords, codes and how they are drawn. https://www.rfc-editor.org/rfc/rfc6238"""

import asyncio
import base64
import os
import time

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import secrets
from fhir_dmp.identity.secrets import Passwords

# Appendix B of RFC 6238, SHA-1, the last six of its eight digits: time in seconds -> code.
RFC_6238 = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"}
RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.fixture(scope="module")
def passwords():
    return Passwords(b"p" * 32)


async def test_a_password_fits_its_own_hash_and_no_other(passwords):
    kept = await passwords.hashed("abcd-efgh")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.fits("abcd-efgh", kept)
    assert await passwords.fits(" ABCD efgh ", kept), "grouping and case are those of paper"
    for wrong in ("", "abcd-efgi", "abcdefg", "abcd-efgh-"[:-2], "\u0000", "é"):
        assert not await passwords.fits(wrong, kept)
    assert await passwords.hashed("abcd-efgh") != kept, "each hash has a salt of its own"


async def test_a_hash_cannot_be_tried_without_the_key_of_the_host(passwords):
    kept = await passwords.hashed("abcd-efgh")
    assert not await Passwords(b"q" * 32).fits("abcd-efgh", kept)


async def test_nobody_fits_no_password_and_takes_as_long(passwords):
    kept = await passwords.hashed("abcd-efgh")

    async def seconds(hash: str | None) -> float:
        begun = time.perf_counter()
        assert not await passwords.fits("wrong", hash)
        return time.perf_counter() - begun

    known, unknown = [], []
    for _ in range(7):
        known.append(await seconds(kept))
        unknown.append(await seconds(None))
    assert 0.5 < min(unknown) / min(known) < 2


async def test_too_many_at_a_time_are_told_to_come_back(passwords, monkeypatch):
    monkeypatch.setattr(secrets, "MOST_WAITING", 3)
    found = await asyncio.gather(*(passwords.fits("x", None) for _ in range(8)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, FhirError)]
    assert len(refused) == 5 and {(one.status, one.headers["Retry-After"]) for one in refused} == {(503, "5")}
    assert not await passwords.fits("x", None)


@pytest.mark.parametrize("seconds, code", RFC_6238.items())
def test_codes_are_those_of_the_standard(seconds, code):
    assert secrets.totp_step(RFC_SECRET, code, seconds * 1000) == seconds // 30


def test_a_code_fits_one_step_earlier_and_later_and_no_further():
    code, step = RFC_6238[1234567890], 1234567890 // 30
    for away, fits in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        found = secrets.totp_step(RFC_SECRET, code, (step + away) * 30_000)
        assert found == (step if fits else None)
    assert secrets.totp_step(RFC_SECRET, code[:5], step * 30_000) is None
    assert secrets.totp_step(RFC_SECRET, "", step * 30_000) is None


def test_words_are_drawn_evenly_from_letters_nobody_confuses():
    word = secrets.word(os.urandom, 40_000)
    assert len(word) == 40_000 and set(word) == set(secrets.ALPHABET)
    assert not set(secrets.ALPHABET) & set("il1o0")
    expected = 40_000 / len(secrets.ALPHABET)
    assert all(0.8 * expected < word.count(letter) < 1.2 * expected for letter in secrets.ALPHABET)
    assert len({secrets.word(os.urandom, 12) for _ in range(1000)}) == 1000


def test_codes_have_all_their_digits():
    drawn = [secrets.digits(os.urandom, 8) for _ in range(2000)]
    assert all(len(one) == 8 and one.isdigit() for one in drawn) and any(one[0] == "0" for one in drawn)


def test_the_code_that_is_sent_belongs_to_one_challenge_and_one_host():
    code = secrets.sent_code(b"k" * 32, "challenge")
    assert len(code) == 6 and code.isdigit() and code == secrets.sent_code(b"k" * 32, "challenge")
    others = {secrets.sent_code(b"k" * 32, f"challenge {n}") for n in range(50)} | {secrets.sent_code(b"l" * 32, "challenge")}
    assert len(others) > 45


def test_the_address_of_an_application_names_host_and_identifier_only():
    secret = secrets.totp_secret(os.urandom)
    assert len(base64.b32decode(secret)) == 20
    assert secrets.totp_address(secret, "abcd-efgh", "DMP") == f"otpauth://totp/DMP:abcd-efgh?secret={secret}&issuer=DMP"
