"""Patient login: identifier and password give a challenge, challenge and one-time code give a short-lived token.

Authenticators and throttling https://pages.nist.gov/800-63-4/sp800-63b.html

Whoever tries learns nothing but whether both were right: an identifier nobody has, a wrong password and a locked identifier get the
same answer after the same work.
"""

import asyncio
import ipaddress
import logging
from dataclasses import dataclass, field

import msgspec

from fhir_dmp.audit.event import MINOR, SUCCESS, Trace
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.consent.companions import TRACE
from fhir_dmp.consent.predicate import hashed
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS
from fhir_dmp.identity import secrets
from fhir_dmp.identity.actor import Actor
from fhir_dmp.identity.senders import NoAddress, Sender
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.interactions import login_sessions
from fhir_dmp.interactions.tracing import NO_LINEAGE
from fhir_dmp.settings import Settings
from fhir_dmp.store.credentials import Credential, Credentials, Factor
from fhir_dmp.store.resources import Store

log = logging.getLogger("fhir_dmp.login")

PURPOSE = "login challenge"
# Somebody may mistype a code; nobody needs to more often with one challenge.
CODES_A_CHALLENGE = 3
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of the line. address: of the network, "" when unknown. request_id: X-Request-Id."""

    address: str = ""
    request_id: str = ""


class Challenge(msgspec.Struct, array_like=True):
    """What a challenge says to whoever sealed it. id, login: of the credentials. begun_ms: UTC. nonce: 16 random bytes."""

    id: str
    login: str
    begun_ms: int
    nonce: bytes


@dataclass(slots=True)
class Desk:
    """What login needs of the host. sender: brings one-time codes, None for none. recorder: of traces."""

    store: Store
    settings: Settings
    tokens: Tokens
    sender: Sender | None
    recorder: Recorder | None = None
    credentials: Credentials = field(init=False)
    passwords: secrets.Passwords = field(init=False)
    code_key: bytes = field(init=False)
    readable: dict[str, object] = field(init=False)
    sending: set[asyncio.Task] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.credentials = Credentials(self.store)
        self.passwords = secrets.passwords(self.store.vault.subkey("passwords"))
        self.code_key = self.store.vault.subkey("sent codes")
        # By whom a trace of a login is read: whoever reads the journal of the dossier, and no professional as his own.
        kind = hashed("type", TRACE, self.store.vault.hash64)
        self.readable = {**NO_LINEAGE, "ty": kind, "au": [], "og": 0, "st": 0, "pa": MIN_MS, "pb": MAX_MS}

    def now_ms(self) -> int:
        return self.store.clock()

    async def issued(self, kind: str, claims: dict[str, object]) -> tuple[str, Actor]:
        """A token of this host for a session, and who bears it."""
        # A key that was rotated meanwhile signs from now on.
        await self.tokens.host.refresh(self.now_ms())
        token = self.tokens.issue(kind, claims, now_ms=self.now_ms(), random=self.store.random, seconds=self.settings.session_seconds)
        return token, await self.tokens.verify(token, self.now_ms())

    async def trace(self, caller: Caller, credential: Credential | None, reason: str, actor: Actor | None = None) -> None:
        """Record a login, or its refusal for a reason, in the dossier it is about; durable when it returns."""
        if self.recorder is not None:
            patient = "" if credential is None else self.credentials.owner(credential).patient
            await self.recorder.record(
                [
                    Trace(
                        kind="login",
                        at_ms=self.now_ms(),
                        outcome=MINOR if reason else SUCCESS,
                        reason=reason,
                        actor=actor,
                        patient=patient,
                        request_id=caller.request_id,
                        client_address=caller.address,
                        visible=self.readable,
                    )
                ]
            )


async def begin(desk: Desk, identifier: str, password: str, caller: Caller) -> str:
    """The challenge for an identifier and its password; 401 when they do not fit, 429 when there were too many requests."""
    login = desk.credentials.hashed("login", secrets.canonical(identifier))
    await throttle(desk, login, caller)
    credential = await desk.credentials.find(login)
    locked = await counted_as_failure(desk, login)
    try:
        right = await desk.passwords.fits(password, credential.password if credential else None)
    except FhirError:  # nobody looked at it: who is told to come again has not failed
        await desk.credentials.take_back(desk.credentials.hashed("failures", login))
        raise
    if locked or not right:
        await desk.trace(caller, credential, "wrong password, or locked")
        raise refused()
    await desk.credentials.take_back(desk.credentials.hashed("failures", login))
    nonce = desk.store.random(16)
    challenge = Challenge(credential.id, login, desk.now_ms(), nonce)
    sealed = desk.store.vault.seal_token(msgspec.msgpack.encode(challenge), PURPOSE)
    if desk.sender is not None:
        # Not waited for: an answer that comes later when a mail leaves would tell that the password was right, and delay who waits.
        task = asyncio.create_task(deliver(desk, desk.sender, credential, nonce))
        desk.sending.add(task)
        task.add_done_callback(desk.sending.discard)
    return sealed


async def finish(desk: Desk, challenge: str, code: str, caller: Caller) -> tuple[str, int]:
    """A token and its lifetime in seconds, for a challenge and its code; 401 when they do not fit, 429 as above."""
    opened = opened_challenge(desk, challenge)
    await throttle(desk, opened.login if opened else desk.credentials.hashed("challenge", challenge), caller)
    if opened is None:
        raise refused()
    nonce = opened.nonce.hex()
    life_ms = desk.settings.login_seconds * 1000
    tries = await desk.credentials.count(desk.credentials.hashed("tries", nonce), desk.now_ms(), life_ms)
    credential = await desk.credentials.find(opened.login)
    if credential is None or tries.times > CODES_A_CHALLENGE:
        raise refused()
    # One code at a time: of several right ones that come at once, one is used and none lost. It is free again once a code was wrong.
    spent = desk.credentials.hashed("spent", nonce)
    if (await desk.credentials.count(spent, desk.now_ms(), life_ms)).times > 1:
        raise refused()
    locked = await counted_as_failure(desk, opened.login)
    try:
        right = not locked and await code_fits(desk, credential, opened, secrets.canonical(code))
    except FhirError:
        await desk.credentials.take_back(desk.credentials.hashed("failures", opened.login))
        await desk.credentials.forget(spent)
        raise
    if not right:
        await desk.trace(caller, credential, "wrong code, or locked")
        await desk.credentials.forget(spent)
        raise refused()
    await desk.credentials.take(credential)
    token, actor = await desk.issued(*told(desk, credential))
    await desk.trace(caller, credential, "", actor)
    await desk.credentials.forget(desk.credentials.hashed("failures", opened.login))
    return token, desk.settings.session_seconds


async def throttle(desk: Desk, login: str, caller: Caller) -> None:
    """Refuse (429) whoever asks too often, for one identifier or from one address, whether anybody has the identifier or not."""
    await at_most(
        desk,
        (desk.credentials.hashed("asked", login), desk.settings.login_attempts),
        (desk.credentials.hashed("asked from", network(caller.address)), desk.settings.login_address_attempts),
    )


async def at_most(desk: Desk, *named: tuple[str, int]) -> None:
    """Count a request under each of these names; 429 when it was counted more often under one than the number beside it says."""
    now_ms, life_ms = desk.now_ms(), desk.settings.login_window_seconds * 1000
    counts = await asyncio.gather(*(desk.credentials.count(name, now_ms, life_ms) for name, _ in named))
    waits = [count.until_ms - now_ms for count, (_, most) in zip(counts, named, strict=True) if count.times > most]
    if waits:
        seconds = max(1, -(-max(waits) // 1000))
        raise FhirError("throttled", f"too many login requests, try again in {seconds} s", headers={"Retry-After": str(seconds)})


def network(address: str) -> str:
    """What counts as one client: an address, of IPv6 the network of 64 bits that one client is usually given whole.

    >>> network("192.0.2.7"), network("2001:db8:1:2:3:4:5:6")
    ('192.0.2.7', '2001:db8:1:2::')
    """
    if ":" not in address or (found := ipaddress.IPv6Address(address)).ipv4_mapped:
        return address
    return str(ipaddress.ip_network((int(found), 64), strict=False).network_address)


async def counted_as_failure(desk: Desk, login: str) -> bool:
    """Count a failure of an identifier, that exists or not, before anything is tried; whether there were too many, and nothing is tried.

    So many that come at once are no more tries than one after the other. What goes well is taken back. A lock ends at its time, whatever
    comes meanwhile.
    """
    name, life_ms = desk.credentials.hashed("failures", login), desk.settings.login_lock_seconds * 1000
    count = await desk.credentials.count(name, desk.now_ms(), life_ms, renewed_below=desk.settings.login_failures)
    return count.times > desk.settings.login_failures


def opened_challenge(desk: Desk, text: str) -> Challenge | None:
    """A challenge of this host that is not too old."""
    value = desk.store.vault.open_token(text, PURPOSE)
    if value is None:
        return None
    opened = msgspec.msgpack.decode(value, type=Challenge)
    age_ms = desk.now_ms() - opened.begun_ms
    return opened if 0 <= age_ms < desk.settings.login_seconds * 1000 else None


async def code_fits(desk: Desk, credential: Credential, challenge: Challenge, code: str) -> bool:
    """Whether it is a code of this challenge, taken now: that of the application, one of the sheet, or the one that was sent."""
    factor, restored = await desk.credentials.factor(credential), await desk.credentials.restored()
    # What was counted of a challenge before a restore, and which steps were taken, may have been lost with the database.
    if factor is None or challenge.begun_ms <= restored.at_ms or not (code.isascii() and code.isdigit()):
        return False
    step = secrets.totp_step(factor.totp, code, desk.now_ms())
    if step is not None:
        if credential.era != restored.era and step <= secrets.last_step(restored.at_ms):
            return False
        return await desk.credentials.spend_step(credential, step)
    if reaches(desk.sender, factor) and secrets.same(secrets.sent_code(desk.code_key, challenge.nonce.hex()), code):
        return True
    return await desk.credentials.spend_code(credential, code)


def reaches(sender: Sender | None, factor: Factor) -> bool:
    """Whether codes are sent to this person."""
    return sender is not None and (sender.anywhere or bool(factor.email))


async def deliver(desk: Desk, sender: Sender, credential: Credential, nonce: bytes) -> None:
    """Send the code of a challenge to its holder."""
    try:
        factor = await desk.credentials.factor(credential)
        if factor is None or not reaches(sender, factor):
            return
        code = secrets.sent_code(desk.code_key, nonce.hex())
        minutes = max(1, desk.settings.login_seconds // 60)
        text = f"{code} (à saisir dans les {minutes} minutes ; ne le communiquez à personne)"
        await sender.send(factor.email, "Code de connexion à usage unique", text)
    except (OSError, NoAddress, FhirError) as error:
        log.error("a one-time code could not be sent: %s", type(error).__name__)


def told(desk: Desk, credential: Credential) -> tuple[str, dict[str, object]]:
    """Kind and claims of the owner of the credentials: the holder, or a representative whose title is checked at each use."""
    owner = desk.credentials.owner(credential)
    claims: dict[str, object] = {
        "sub": owner.related_person or owner.patient,
        "patient": owner.patient,
        "amr": ["pwd", "otp"],
        "dmp_session": login_sessions.claim(credential),
    }
    if not owner.related_person:
        return "patient", claims
    return "representative", {**claims, "related_person": owner.related_person}


def refused() -> FhirError:
    """One wording for everything that is not right, so that it tells nothing."""
    return FhirError("login", "identifier, password or code is not right, or no longer", headers=CHALLENGE)
