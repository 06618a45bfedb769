"""The secrets of a login: how they are drawn, kept and checked. Passwords by Argon2id, codes by TOTP.

Argon2 https://www.rfc-editor.org/rfc/rfc9106 ; TOTP https://www.rfc-editor.org/rfc/rfc6238
"""

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pyotp
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from fhir_dmp.errors import FhirError

# 19 MiB, two passes, one lane; written into each hash, so that later ones may cost more.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
# Without the letters and digits that are taken for one another.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
IDENTIFIER_LETTERS, PASSWORD_LETTERS, GROUP = 12, 16, 4
SHEET_CODES, SHEET_DIGITS = 20, 8
SENT_DIGITS = 6
STEP_SECONDS = 30
LONGEST = 200
# A hash takes memory and a core: few at a time, and not for whoever would wait too long.
AT_A_TIME, MOST_WAITING = 2, 64

Random = Callable[[int], bytes]


class Passwords:
    """Hashes passwords and checks them. pepper: key of the host, without which a stolen hash cannot be tried."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._threads = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="password")
        self._waiting = 0
        # What an unknown identifier is checked against: it takes the time that a known one takes.
        self._nobody = self._derived(os.urandom(16).hex())

    async def hashed(self, password: str) -> str:
        """The password as it is kept: algorithm, costs, salt and hash in one text."""
        return await self._run(self._derived, canonical(password))

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the password. kept: None for an identifier nobody has; the answer is then False, no sooner than another."""
        right = await self._run(self._verified, canonical(password), kept or self._nobody)
        return right and kept is not None

    def _derived(self, password: str) -> str:
        kdf = Argon2id(salt=os.urandom(16), length=32, iterations=PASSES, lanes=LANES, memory_cost=MEMORY_KIB, secret=self._pepper)
        return kdf.derive_phc_encoded(password.encode())

    def _verified(self, password: str, kept: str) -> bool:
        try:
            Argon2id.verify_phc_encoded(password.encode(), kept, secret=self._pepper)
        except InvalidKey:
            return False
        return True

    async def _run(self, work: Callable, *arguments: str):
        if self._waiting >= MOST_WAITING:
            raise FhirError("transient", "too many people log in at the moment, try again", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


@cache
def passwords(pepper: bytes) -> Passwords:
    """The one Passwords of a process with this pepper."""
    return Passwords(pepper)


def canonical(text: str) -> str:
    """A secret as typed, without the blanks and hyphens that group it on paper, in small letters.

    >>> canonical(" ABCD-efgh 2345 ")
    'abcdefgh2345'
    """
    return "".join(text.split()).replace("-", "").lower()


def word(random: Random, length: int) -> str:
    """A random word of the alphabet, each letter as likely as any other."""
    found = ""
    most = 256 - 256 % len(ALPHABET)
    while len(found) < length:
        found += "".join(ALPHABET[one % len(ALPHABET)] for one in random(2 * length) if one < most)
    return found[:length]


def grouped(text: str) -> str:
    """In groups of four, as printed.

    >>> grouped("abcdefgh23")
    'abcd-efgh-23'
    """
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def digits(random: Random, length: int) -> str:
    """A random number of so many digits."""
    return f"{int.from_bytes(random(16)) % 10**length:0{length}d}"


def totp_secret(random: Random) -> str:
    """160 random bits in base32, as https://www.rfc-editor.org/rfc/rfc4226#section-4 wants."""
    return base64.b32encode(random(20)).decode()


def totp_address(secret: str, name: str, issuer: str) -> str:
    """The otpauth address that an application reads from a QR code."""
    return pyotp.TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=name, issuer_name=issuer)


def totp_step(secret: str, code: str, now_ms: int) -> int | None:
    """The time step whose code this is, now or one step beside; None for none. All three are compared, whichever fits."""
    now = now_ms // 1000 // STEP_SECONDS
    totp, found = pyotp.TOTP(secret, interval=STEP_SECONDS), None
    for step in (now - 1, now, now + 1):
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def last_step(at_ms: int) -> int:
    """The last time step whose code could have been used by then, see totp_step."""
    return at_ms // 1000 // STEP_SECONDS + 1


def sent_code(key: bytes, challenge: str) -> str:
    """The code that is sent for one challenge: made of it, so that it is kept nowhere."""
    return f"{int.from_bytes(hmac.digest(key, challenge.encode(), hashlib.sha256)[:16]) % 10**SENT_DIGITS:0{SENT_DIGITS}d}"


def same(one: str, other: str) -> bool:
    """Whether two codes are the same, in the same time wherever they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
