"""Backups: a copy of the whole database as it was at one moment, taken while others write, and the way back into an empty one.

https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/ ; decision ig/decisions/0008

A backup is a folder: `collections/NAME.bson` (documents one after the other, as mongodump writes them), `journal/` (protective acts and
checkpoints, which are files), `keys/` only where that was asked for, and `manifest.json`: the size and SHA-256 of every file, under an
HMAC of the host key. Bodies and contents are sealed as they are in the database.
"""

import asyncio
import hmac
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bson import Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, WriteConcernError

from fhir_dmp.store import restored
from fhir_dmp.store.acts import FILE as ACTS
from fhir_dmp.store.acts import key_of
from fhir_dmp.store.acts_file import places
from fhir_dmp.store.connection import TOO_OLD, Connection, Moment, repeated
from fhir_dmp.store.failures import StoreError, is_transient
from fhir_dmp.store.format import RESTORING, ensure_indexes
from fhir_dmp.store.rows import RAW
from fhir_dmp.store.vault import Vault

FORMAT = 1
MANIFEST = "manifest.json"
CHECKPOINTS = Path("journal") / "checkpoints"
# Claims only keep writers of one moment apart.
LEFT_OUT = frozenset({"claims"})
BATCH = 1000
BATCH_BYTES = 8 * 1024 * 1024
# How far back MongoDB keeps what reads at a moment need, beyond the time the backup has taken so far.
WINDOW_SECONDS = 900
WIDEN_SECONDS = 60
WINDOW = "minSnapshotHistoryWindowInSeconds"
ATTEMPTS = 3
PATIENCE_SECONDS = 60.0

# what, done, total
Progress = Callable[[str, int, int], None]


class Part(NamedTuple):
    """One file of a backup. name: path in its folder. documents: 0 where it holds none."""

    name: str
    documents: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. store: identity of the store. check: of its host key. moment_ms: UTC, everything is as it was then."""

    store: str
    check: str
    sandbox: bool
    moment_ms: int
    parts: tuple[Part, ...]

    @property
    def documents(self) -> int:
        return sum(part.documents for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def value(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "store": self.store,
            "check": self.check,
            "sandbox": self.sandbox,
            "moment": self.moment_ms,
            "parts": [part._asdict() for part in self.parts],
        }


def proof(vault: Vault, value: dict[str, Any]) -> str:
    """HMAC of a manifest under a key of this host: nobody else adds to a backup, or takes from it, unseen."""
    said = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(vault.subkey("backup manifest"), said, sha256).hexdigest()


# Writing


async def write(
    connection: Connection, vault: Vault, folder: Path, target: Path, *, keys: bool = False, progress: Progress = lambda *_: None
) -> Manifest:
    """Back up into `target`, which must not exist yet. folder: the data folder. keys: its keys too. Whoever writes is not kept waiting.

    What is there under that name is whole: it is made beside it and gets its name at the end.
    """
    if await asyncio.to_thread(target.exists):
        raise StoreError(f"{target} exists already: a backup goes into a new folder")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    for attempt in range(ATTEMPTS):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        try:
            async with widened(connection) as window:
                manifest = await _write(connection, vault, folder, draft, keys, progress)
            break
        except OperationFailure as error:
            shutil.rmtree(draft, ignore_errors=True)
            if error.code not in TOO_OLD:
                raise
            if attempt + 1 == ATTEMPTS:
                hint = "" if window else f": let the database keep more of its past ({WINDOW}), or give its user the right to set that"
                raise StoreError(f"the database did not keep its state long enough to be copied{hint}") from error
            await asyncio.sleep(1)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    os.rename(draft, target)
    _sync(target.parent)
    return manifest


async def _write(connection: Connection, vault: Vault, folder: Path, draft: Path, keys: bool, progress: Progress) -> Manifest:
    database, moment = connection.database, Moment()
    names = sorted(name for name in await database.list_collection_names() if not name.startswith("system.") and name not in LEFT_OUT)
    totals = {name: await database[name].estimated_document_count() for name in names}
    found = await connection.read({"find": "meta", "filter": {"_id": "store"}, "hint": "_id_"}, moment=moment)
    if not found:
        raise StoreError("there is no store in this database")
    parts = []
    (draft / "collections").mkdir(mode=0o700)
    for name in names:
        parts.append(await _copy(connection, name, moment, draft, totals[name], progress))
    # After the database: they know at least what it knows, and what they know more counts at the restore.
    files = [path for path in (ACTS, CHECKPOINTS) if (folder / path).is_file()]
    if keys:
        files += sorted(path.relative_to(folder) for path in (folder / "keys").rglob("*") if path.is_file())
    for path in files:
        parts.append(await asyncio.to_thread(_copy_file, folder / path, draft, path))
    store = found[0]
    manifest = Manifest(store["identity"], bytes(store["check"]).hex(), store["sandbox"], (moment.time >> 32) * 1000, tuple(parts))
    value = manifest.value()
    text = json.dumps({**value, "proof": proof(vault, value)}, indent=1) + "\n"
    await asyncio.to_thread(_keep, draft / MANIFEST, text.encode())
    for path in (draft / "collections", draft):
        _sync(path)
    return manifest


async def _copy(connection: Connection, name: str, moment: Moment, draft: Path, total: int, progress: Progress) -> Part:
    """One collection by key; goes on where it was when the connection breaks."""
    path = Path("collections") / f"{name}.bson"
    digest, documents, size = sha256(), 0, 0
    after: list[Any] = []
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    with _private(draft / path) as file:
        while True:
            try:
                async for batch in _batches(connection, name, moment, after):
                    data = b"".join([one.raw for one in batch])
                    await asyncio.to_thread(_add, file, digest, data)
                    documents, size, after = documents + len(batch), size + len(data), [batch[-1]["_id"]]
                    deadline = loop.time() + PATIENCE_SECONDS
                    progress(name, documents, max(total, documents))
                break
            except PyMongoError as error:
                if not is_transient(error) or loop.time() > deadline:
                    raise
                await asyncio.sleep(0.5)
        file.flush()
        os.fsync(file.fileno())
    return Part(str(path), documents, size, digest.hexdigest())


def _add(file: BinaryIO, digest: Any, data: bytes) -> None:
    file.write(data)
    digest.update(data)


async def _batches(connection: Connection, name: str, moment: Moment, after: list[Any]) -> AsyncIterator[list[RawBSONDocument]]:
    """Documents of a collection as they were at the moment, by key, after the given one if any. Keys may be of any type."""
    database = connection.database
    async with connection.session() as session:
        command: dict[str, Any] = {
            "find": name,
            "sort": {"_id": 1},
            "hint": {"_id": 1},
            "batchSize": BATCH,
            "readConcern": moment.concern(),
        }
        if after:
            command["min"] = {"_id": after[0]}
        cursor = (await database.command(command, session=session, codec_options=RAW))["cursor"]
        batch = list(cursor["firstBatch"])
        if after and batch and batch[0]["_id"] == after[0]:
            batch = batch[1:]
        while True:
            if batch:
                yield batch
            if not cursor["id"]:
                return
            more = {"getMore": cursor["id"], "collection": name, "batchSize": BATCH}
            cursor = (await database.command(more, session=session, codec_options=RAW))["cursor"]
            batch = list(cursor["nextBatch"])


@asynccontextmanager
async def widened(connection: Connection) -> AsyncIterator[bool]:
    """Keep the past of the database readable for as long as this lasts, step by step, so that a dead backup costs little.

    False where the database does not let us: then its own window counts.
    """
    admin = connection.client.admin
    try:
        before = int((await admin.command({"getParameter": 1, WINDOW: 1}))[WINDOW])
    except (PyMongoError, KeyError):
        yield False
        return
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def widen() -> None:
        while True:
            with suppress(PyMongoError):
                await admin.command({"setParameter": 1, WINDOW: max(before, int(loop.time() - begun) + WINDOW_SECONDS)})
            await asyncio.sleep(WIDEN_SECONDS)

    task = asyncio.create_task(widen())
    try:
        yield True
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(PyMongoError):
            await admin.command({"setParameter": 1, WINDOW: before})


# Reading


def opened(source: Path, vault: Vault | None = None) -> Manifest:
    """The manifest of a backup. vault: of the host it must come from; None to look without checking. StoreError when it is none."""
    try:
        value = json.loads((source / MANIFEST).read_text("utf-8"))
        said = value.pop("proof")
        manifest = Manifest(value["store"], value["check"], value["sandbox"], value["moment"], tuple(Part(**one) for one in value["parts"]))
    except FileNotFoundError:
        raise StoreError(f"{source} is no backup: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{source / MANIFEST} does not read: {error}") from None
    if value["format"] != FORMAT:
        raise StoreError(f"this backup has format {value['format']}, this program knows {FORMAT}: use a newer program")
    if vault is not None:
        if manifest.check != vault.check.hex():
            raise StoreError("this backup belongs to another host key: restore the keys folder that was kept with it")
        if not hmac.compare_digest(said, proof(vault, value)):
            raise StoreError(f"{source / MANIFEST} was altered")
    return manifest


def check(source: Path, manifest: Manifest, progress: Progress = lambda *_: None) -> None:
    """Compare every file with the manifest; StoreError names the one that differs. Blocks."""
    done = 0
    for part in manifest.parts:
        path = _inside(source, part.name)
        digest = sha256()
        try:
            with path.open("rb") as file:
                while data := file.read(1 << 22):
                    digest.update(data)
                    done += len(data)
                    progress("checking", done, manifest.size)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        if digest.hexdigest() != part.sha256:
            raise StoreError(f"{path} is not what was backed up")


async def restore(connection: Connection, vault: Vault, folder: Path, source: Path, *, progress: Progress = lambda *_: None) -> Manifest:
    """Put a backup back into an empty database; the protective acts that came after it are applied when the store is opened to serve.

    folder: the data folder; its journal, where it has one, knows more than the backup and stays. StoreError, and nothing is done, where
    each holds acts that the other does not. A restore cut short is begun anew.
    """
    manifest = opened(source, vault)
    await asyncio.to_thread(check, source, manifest, progress)
    brought = await asyncio.to_thread(_goes_on, vault, source / ACTS, folder / ACTS)
    database = connection.database
    await _take(connection, manifest)
    if brought:
        await asyncio.to_thread(_put_in_place, source, folder, ACTS)
    if _is_longer(source / CHECKPOINTS, folder / CHECKPOINTS):
        await asyncio.to_thread(_put_in_place, source, folder, CHECKPOINTS)
    total, done = manifest.documents, 0
    last: list[RawBSONDocument] = []
    for part in manifest.parts:
        if not part.name.startswith("collections/"):
            continue
        name = Path(part.name).stem
        for batch in _documents(_inside(source, part.name)):
            if name == "meta":
                last = [one for one in batch if one["_id"] == "store"] or last
                batch = [one for one in batch if one["_id"] not in ("store", RESTORING)]
            if batch:
                await repeated(lambda name=name, batch=batch: _insert(connection, name, batch), patience=PATIENCE_SECONDS)
            done += len(batch)
            progress("restoring", done, total)
    if not last:
        raise StoreError(f"{source} holds no store")
    await ensure_indexes(connection)
    await restored.note(connection, time.time_ns() // 1_000_000)
    # With its record the store is there; before, nothing opens it.
    await repeated(lambda: _insert(connection, "meta", last), patience=PATIENCE_SECONDS)
    await database["meta"].delete_one({"_id": RESTORING})
    progress("restoring", total, total)
    return manifest


async def _take(connection: Connection, manifest: Manifest) -> None:
    """Make sure that the database is empty, or holds the beginning of a restore, which is removed."""
    database = connection.database
    meta = database["meta"]
    if await meta.find_one({"_id": "store"}):
        raise StoreError(f"the database `{database.name}` holds a store already: a backup is restored into an empty one")
    names = [name for name in await database.list_collection_names() if not name.startswith("system.")]
    if await meta.find_one({"_id": RESTORING}) is None:
        for name in names:
            if await database[name].find_one({}, {"_id": 1}, hint="_id_"):
                raise StoreError(f"the database `{database.name}` is not empty: it has `{name}`")
        await meta.insert_one({"_id": RESTORING, "store": manifest.store, "moment": Timestamp(manifest.moment_ms // 1000, 1)})
    else:
        for name in names:
            if name != "meta":
                await database.drop_collection(name)
        await meta.delete_many({"_id": {"$ne": RESTORING}}, hint="_id_")


async def _insert(connection: Connection, name: str, batch: list[RawBSONDocument]) -> None:
    """Insert; what is there already was inserted by an attempt whose answer was lost."""
    try:
        await connection.database[name].insert_many(batch, ordered=False)
    except BulkWriteError as error:
        details = error.details or {}
        if details.get("writeConcernErrors"):
            raise WriteConcernError("not yet durable", 64, {"errorLabels": ["RetryableWriteError"]}) from error
        if any(item["code"] != 11000 for item in details.get("writeErrors", ())):
            raise StoreError(f"the database refused documents of `{name}`") from error


def _documents(path: Path) -> Iterator[list[RawBSONDocument]]:
    """Documents of a file, in batches."""
    batch: list[RawBSONDocument] = []
    size = 0
    with path.open("rb") as file:
        while head := file.read(4):
            data = head + file.read(int.from_bytes(head, "little") - 4)
            batch.append(RawBSONDocument(data, RAW))
            size += len(data)
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


# Files


def keys_of(source: Path, folder: Path) -> bool:
    """Put the keys of a backup into a data folder that has none; False when it has some, or the backup holds none."""
    if (folder / "keys" / "host.key").exists() or not (source / "keys" / "host.key").is_file():
        return False
    for part in opened(source).parts:
        if part.name.startswith("keys/"):
            _copy_file(_inside(source, part.name), folder, Path(part.name))
    return True


def _goes_on(vault: Vault, theirs: Path, own: Path) -> bool:
    """Whether the journal of acts of a backup holds all that the folder's does, and more; StoreError where each has acts of its own."""
    if not theirs.is_file() or not own.is_file():
        return theirs.is_file()
    key = key_of(vault)
    one, other = places(key, theirs), places(key, own)
    if one[0] != other[0]:
        raise StoreError(f"{own} belongs to another data folder than this backup: move it away, or restore beside it")
    if other[-1] in one:
        return len(one) > len(other)
    if one[-1] in other:
        return False
    parted = max(place.offset for place in {*one} & {*other})
    raise StoreError(
        f"{own} and the journal of this backup went on apart after octet {parted}: each holds acts that the other does not. "
        f"Restore a backup whose {ACTS} has no more octets than that, or one made since: all acts of {own} then stay in force. "
        "Or keep a copy of it elsewhere and move it away: the acts that it alone holds are then given up"
    )


def _is_longer(theirs: Path, own: Path) -> bool:
    return theirs.is_file() and (not own.is_file() or own.stat().st_size < theirs.stat().st_size)


def _put_in_place(source: Path, folder: Path, path: Path) -> None:
    """A file of the journal; what was there is there until it is."""
    target = folder / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    _keep(draft, (source / path).read_bytes())
    os.replace(draft, target)
    _sync(target.parent)


def _inside(source: Path, name: str) -> Path:
    path = (source / name).resolve()
    if not path.is_relative_to(source.resolve()):
        raise StoreError(f"the backup names a file outside of its folder: {name}")
    return path


def _copy_file(path: Path, folder: Path, name: Path) -> Part:
    data = path.read_bytes()
    target = folder / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _keep(target, data)
    _sync(target.parent)
    return Part(str(name), 0, len(data), sha256(data).hexdigest())


def _keep(path: Path, data: bytes) -> None:
    with _private(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _private(path: Path) -> BinaryIO:
    """A new file for its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
