"""The host's own records (clients, jobs, keys, sources) as mongomotor documents on the connection of the store.

https://mongomotor.readthedocs.io/
"""

from datetime import UTC, datetime
from typing import Any

import mongoengine
from mongomotor import Document
from mongomotor.fields import BooleanField, DateTimeField, DictField, IntField, ListField, StringField
from pymongo.errors import DuplicateKeyError

from fhir_dmp.errors import FhirError
from fhir_dmp.store.connection import Connection

ALIAS = "fhir_dmp_host"


class _Lent:
    """The store's client in the hands of mongoengine, which wants to close what it was given."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getitem__(self, name: str):
        return self._connection.client[name]

    def close(self) -> None:
        """The store closes its client itself."""


def bind(connection: Connection) -> None:
    """Let the records live in the database of this connection; one at a time in a process.

    mongomotor.connect would open two more clients, one of which blocks.
    """
    mongoengine.disconnect(alias=ALIAS)
    mongoengine.connect(
        connection.database.name, alias=ALIAS, mongo_client_class=lambda **_: _Lent(connection), uuidRepresentation="standard"
    )


class HostRecord(Document):
    """A record with a primary key of its own. Dates come back naive, in UTC.

    Not for transactions: mongomotor accepts `session` and ignores it.
    """

    meta = {"abstract": True}

    async def insert(self) -> None:
        """Store a new record; refused (409) when there is one with its key."""
        try:
            # Without force_insert a document with a key of its own is not stored, and nothing is said.
            await self.save(force_insert=True)
        except (mongoengine.NotUniqueError, DuplicateKeyError) as error:
            raise FhirError("duplicate", f"`{self.pk}` is registered already") from error

    async def update_fields(self, **fields: Any) -> None:
        """Set fields of a stored record and store them."""
        for name, value in fields.items():
            setattr(self, name, value)
        await self.save()

    async def change(self, update: dict[str, Any], where: dict[str, Any] | None = None) -> bool:
        """Change a stored record by what MongoDB calls an update, where it still is so, and read it anew; whether it was so.

        What is read, changed here and stored whole would take back what others stored meanwhile.
        """
        changed = await type(self).objects(__raw__={**(where or {}), "_id": self.pk}).update_one(__raw__=update)
        await self.reload()
        return bool(changed)

    @classmethod
    async def get(cls, key: str) -> "HostRecord | None":
        return await cls.objects(pk=key).first()


def _now() -> datetime:
    return datetime.now(UTC)


class Client(HostRecord):
    """A practice software that may ask for tokens. id: client_id. jwks: its public keys, as JSON."""

    id = StringField(primary_key=True, max_length=200)
    name = StringField(required=True, max_length=200)
    jwks = StringField()
    kinds = ListField(StringField(max_length=40))
    scope = StringField(max_length=2000)
    enabled = BooleanField(default=True)
    created = DateTimeField(default=_now)
    meta = {"collection": "host.clients", "db_alias": ALIAS}


class Job(HostRecord):
    """A long job. state: waiting, running, done or failed. done, total, refused: entries. detail: counts and places, nothing personal."""

    id = StringField(primary_key=True, max_length=64)
    kind = StringField(required=True, max_length=40)
    state = StringField(required=True, choices=("waiting", "running", "done", "failed"), default="waiting")
    source = StringField(max_length=200)
    done = IntField(default=0)
    total = IntField(default=0)
    refused = IntField(default=0)
    detail = DictField()
    created = DateTimeField(default=_now)
    finished = DateTimeField()
    meta = {"collection": "host.jobs", "db_alias": ALIAS}


class Key(HostRecord):
    """A public key of the host, e.g. of its token issuer. id: kid. The private half is sealed or stays in the data folder."""

    id = StringField(primary_key=True, max_length=200)
    purpose = StringField(required=True, max_length=40)
    public = StringField(required=True)
    created = DateTimeField(default=_now)
    retired = DateTimeField()
    meta = {"collection": "host.keys", "db_alias": ALIAS}


class Source(HostRecord):
    """Where imported dossiers come from. id: as in `fhir-dmp import --source`. kind, rules: see exchange.rules.

    dossier: number, as text, of the key that seals its quarantine.
    """

    id = StringField(primary_key=True, max_length=64)
    name = StringField(required=True, max_length=200)
    kind = StringField(max_length=40, default="sandbox")
    rules = DictField()
    dossier = StringField(max_length=24)
    enabled = BooleanField(default=True)
    created = DateTimeField(default=_now)
    meta = {"collection": "host.sources", "db_alias": ALIAS}
