"""Credentials of holders and representatives, and the counters that bound who tries them.

Password storage and throttling: https://pages.nist.gov/800-63-4/sp800-63b.html
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from bson import Binary
from mongoengine import NotUniqueError
from mongomotor.fields import BinaryField, DateTimeField, ListField, LongField, StringField
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fhir_dmp.store import acts_waiting, restored
from fhir_dmp.store.failures import Broken, Gone, translated, unavailable
from fhir_dmp.store.records import ALIAS, HostRecord
from fhir_dmp.store.restored import Restored
from fhir_dmp.store.vault import dossier_row, seal, unseal

if TYPE_CHECKING:
    from fhir_dmp.store.resources import Store
    from fhir_dmp.store.transaction import Transaction

PURPOSE = "credential owner"
# In the row of a dossier: id of credentials -> instant of their latest issue, in ms.
LATEST = "cr"
# There too: somebody who acts for the dossier has credentials, so that who opened it issues none any more.
TAKEN = "ct"
# Two first attempts at the same moment may both try to write the counter.
TRIES = 4


class Owner(NamedTuple):
    """Whose credentials they are. patient: logical id of the dossier's Patient. related_person: of a representative, "" for the holder."""

    patient: str
    related_person: str = ""


class Factor(NamedTuple):
    """The second secret. totp: base32 secret of the holder's application. email: where codes may be sent, "" for nowhere."""

    totp: str
    email: str = ""


class Count(NamedTuple):
    """times: how often something happened. until_ms: UTC, when that is forgotten."""

    times: int
    until_ms: int


class Credential(HostRecord):
    """What one person logs in with. Nothing in it names the person, and without the host key nothing in it can be tried.

    id: keyed hash of the owner. login: keyed hash of the identifier. dossier: its number. owner: sealed Owner. password: Argon2id.
    factor: Factor, sealed under the key of the dossier and gone with it. codes: keyed hashes of the codes of the sheet that are left.
    step: the last time step whose TOTP code was taken. era: the time between two restores in which they were issued, see store.restored.
    """

    id = StringField(primary_key=True, max_length=32)
    login = StringField(required=True, max_length=32)
    dossier = LongField(required=True)
    owner = StringField(required=True)
    password = StringField(required=True)
    factor = BinaryField(required=True)
    codes = ListField(StringField(max_length=32))
    step = LongField(default=0)
    issued = DateTimeField(required=True)
    era = StringField(max_length=32, default="")
    meta = {"collection": "host.credentials", "db_alias": ALIAS, "auto_create_index": False}


class Credentials:
    """The credentials of one store."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._hash = blake2b(key=store.vault.subkey("credentials", 64), digest_size=16)
        self._counts = store.connection.database["host.counts"]
        self._rows = store.connection.database["resources"]

    def hashed(self, *parts: str) -> str:
        """Keyed hash of some texts, 32 hex digits: the first says what for, so that no hash serves twice."""
        state = self._hash.copy()
        state.update(msgspec.msgpack.encode(parts))
        return state.hexdigest()

    # Credentials

    @translated
    async def issue(
        self,
        owner: Owner,
        *,
        identifier: str,
        password: str,
        factor: Factor,
        codes: tuple[str, ...],
        now_ms: int,
        taken: bool = False,
        by: tuple[str, int] | None = None,
    ) -> bool:
        """Give an owner new credentials; the former ones stop working with the same write, and stay dead after a restore.

        password: its Argon2id hash. taken: who has them issued acts for the dossier. by: the session, see Actor, that asks for them. False
        when others were issued since it began, and nothing is: of two who have the same sheet, the later one replaces nothing.
        """
        id, login = self.hashed("owner", *owner), self.hashed("login", identifier)
        since = {"issued": _instant(by[1])} if by is not None and by[0] == id else {}
        dossier = self._store.vault.dossier_of_patient(owner.patient)
        key = await self._store.dossier_key(dossier)
        fields = {
            "login": login,
            "dossier": dossier,
            "owner": self._store.vault.seal_token(msgspec.msgpack.encode(owner), PURPOSE),
            "password": password,
            "factor": seal(key, msgspec.msgpack.encode(factor), _place(id, login)),
            "codes": [self.hashed("code", login, code) for code in codes],
            "step": 0,
            "issued": _instant(now_ms),
            "era": (await self.restored()).era,
        }
        changes = {f"set__{name}": value for name, value in fields.items()}
        for _ in range(TRIES):
            try:
                found = await Credential.objects(pk=id, **since).modify(upsert=not since, **changes)
                if since and found is None:
                    return False
                break
            except NotUniqueError:
                continue
        else:
            raise unavailable()
        # The dossier remembers which issue is the last, and the journal of protective acts remembers it outside of the database.
        row = Binary(dossier_row(dossier))
        hands = {"$set": {TAKEN: True}} if taken else {}

        async def latest(transaction: "Transaction") -> None:
            later = {"$max": {f"{LATEST}.{id}": now_ms, "a": now_ms}, **hands}
            await self._rows.update_one({"_id": row}, later, session=transaction._session)
            await acts_waiting.add(transaction, "credentials", [row], now_ms)

        await self._store.transact(latest)
        await acts_waiting.keep(self._store, (dossier,))
        return True

    @translated
    async def find(self, login: str) -> Credential | None:
        """The credentials whose identifier has this keyed hash."""
        return await Credential.objects(login=login).first()

    @translated
    async def taken(self, patient: str) -> bool:
        """Whether anybody who acts for a dossier has logged in, or had credentials issued, or may have. patient: logical id."""
        place = Binary(dossier_row(self._store.vault.dossier_of_patient(patient)))
        row = await self._rows.find_one({"_id": place}, {TAKEN: 1, LATEST: 1}) or {}
        if row.get(TAKEN) or not (issued := row.get(LATEST)):
            return bool(row.get(TAKEN))
        # With what was issued before a restore somebody may have logged in after the backup.
        era = (await self.restored()).era
        return bool(era) and await Credential.objects(pk__in=list(issued), era=era).count() < len(issued)

    @translated
    async def take(self, credential: Credential) -> None:
        """Somebody has logged in with them."""
        await self._rows.update_one({"_id": Binary(dossier_row(credential.dossier))}, {"$set": {TAKEN: True}})

    def owner(self, credential: Credential) -> Owner:
        """Whose they are."""
        opened = self._store.vault.open_token(credential.owner, PURPOSE)
        if opened is None:
            raise Broken("a stored credential was changed outside this server and does not open")
        return msgspec.msgpack.decode(opened, type=Owner)

    @translated
    async def factor(self, credential: Credential) -> Factor | None:
        """The second secret; None when the dossier was erased, and the secret with it, or when later credentials were issued."""
        try:
            key = await self._store.dossier_key(credential.dossier)
        except Gone:
            return None
        row = await self._rows.find_one({"_id": Binary(dossier_row(credential.dossier))}, {LATEST: 1})
        if row is None or row.get(LATEST, {}).get(credential.id, 0) > issued_ms(credential):
            return None
        return msgspec.msgpack.decode(unseal(key, bytes(credential.factor), _place(credential.id, credential.login)), type=Factor)

    @translated
    async def spend_code(self, credential: Credential, code: str) -> bool:
        """Take a code of the sheet out; True for the one caller who finds it there.

        Of a sheet that is older than a restore none is there: any of them may have been taken after the backup.
        """
        if credential.era != (await self.restored()).era:
            return False
        mine = Credential.objects(pk=credential.id, login=credential.login, codes=(hashed := self.hashed("code", credential.login, code)))
        return await mine.modify(pull__codes=hashed) is not None

    @translated
    async def spend_step(self, credential: Credential, step: int) -> bool:
        """Take the code of a time step; True for the first caller, and never again for this step or an earlier one."""
        return await Credential.objects(pk=credential.id, login=credential.login, step__lt=step).modify(set__step=step) is not None

    @translated
    async def restored(self) -> Restored:
        """The last restore of this store; codes, steps and counts of before it may not be what they were."""
        return await restored.last(self._store.connection)

    # Counters

    @translated
    async def count(self, what: str, now_ms: int, life_ms: int, *, renewed_below: int = 0) -> Count:
        """Count one more of something, e.g. hashed("failures", login), and say how often it happened.

        The first one begins a span of life_ms, after which all is forgotten; each one found below `renewed_below` begins it anew.
        """
        live = {"$gt": ["$at", now_ms]}
        kept = {"$and": [live, {"$gte": ["$n", renewed_below]}]}
        at = {"$cond": [kept, "$at", now_ms + life_ms]}
        more = [{"$set": {"n": {"$cond": [live, {"$add": ["$n", 1]}, 1]}, "at": at}}, {"$set": {"until": {"$toDate": "$at"}}}]
        for _ in range(TRIES):
            try:
                found = await self._counts.find_one_and_update({"_id": what}, more, upsert=True, return_document=ReturnDocument.AFTER)
                return Count(found["n"], found["at"])
            except DuplicateKeyError:
                continue
        raise unavailable()

    @translated
    async def counted(self, what: str, now_ms: int) -> int:
        """How often something happened, as far as that is not forgotten."""
        found = await self._counts.find_one({"_id": what})
        return found["n"] if found and found["at"] > now_ms else 0

    @translated
    async def take_back(self, what: str) -> None:
        """Count one less: what was counted before it was tried went well."""
        await self._counts.update_one({"_id": what, "n": {"$gt": 0}}, {"$inc": {"n": -1}})

    @translated
    async def forget(self, what: str) -> None:
        """Begin a count anew."""
        await self._counts.delete_one({"_id": what})


@translated
async def replaced(store: "Store", patient: str, session: tuple[str, int]) -> bool:
    """Whether a session comes from credentials that were replaced since, or whose dossier is gone.

    patient: logical id of the dossier's Patient. session: see Actor. One row by its key, read as policies are, with what others ask for.
    """
    place = dossier_row(store.vault.dossier_of_patient(patient))
    row = (await store._documents((place,))).get(place)
    return row is None or row.get(LATEST, {}).get(session[0], 0) > session[1]


def issued_ms(credential: Credential) -> int:
    """When they were issued, UTC."""
    return round(credential.issued.replace(tzinfo=UTC).timestamp() * 1000)


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _place(id: str, login: str) -> bytes:
    """What a sealed factor belongs to: it opens in no other record."""
    return f"credential {id} {login}".encode()
