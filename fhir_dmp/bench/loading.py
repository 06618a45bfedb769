"""Data folders loaded through the real path of a write, in several processes, and kept between runs.

Each resource is checked, indexed, sealed and stored by the code that serves a create.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import fhir_dmp
from fhir_dmp.bench import data
from fhir_dmp.consent.dossier import Dossier, Permit, Right
from fhir_dmp.dmp import visibility
from fhir_dmp.dmp.identity import ps
from fhir_dmp.fhir import json
from fhir_dmp.identity.actor import Actor
from fhir_dmp.identity.scopes import parse
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.settings import Settings
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.format import FORMAT
from fhir_dmp.store.resources import Store, wall_clock_ms
from fhir_dmp.store.transaction import Transaction

# With their documents, the rows of one batch of the store.
PATIENTS_AT_ONCE = 125
ID = 26

Progress = Callable[[str, int, int], None]


class Loaded(NamedTuple):
    """A data folder, at rest, and the ids of what is in it. folder/data is the data folder of a server."""

    folder: Path
    patients: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def ids(self, kind: str) -> "Ids":
        """kind: practitioners, patients or documents, in the order of their numbers."""
        return Ids((self.folder / kind).read_bytes())


class Ids:
    """Logical ids by number, without an object each."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __len__(self) -> int:
        return len(self._text) // ID

    def __getitem__(self, number: int) -> str:
        return self._text[number * ID : (number + 1) * ID].decode("ascii")


def loaded(size: str, cache: Path, sandbox: bool, progress: Progress) -> Loaded:
    """The folder of a size, loaded now unless it was before."""
    patients = data.SIZES[size]
    kind = "sandbox" if sandbox else "real"
    folder = cache / f"{size}-{kind}-format{FORMAT}-data{data.DATA_VERSION}-{writing_digest()}"
    if not folder.exists():
        draft = cache / f".{folder.name}.{os.getpid()}"
        try:
            load(draft, patients, sandbox, progress)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return Loaded(folder, patients)


def writing_digest() -> str:
    """Changes when the code that makes rows does: rows of older code would not be found by newer code."""
    root = Path(fhir_dmp.__file__).parent
    names = (
        "search/*.py",
        "store/rows.py",
        "store/vault.py",
        "store/format.py",
        "fhir/definitions/*",
        "interactions/prepare.py",
        "consent/predicate.py",
        "consent/dossier.py",
    )
    digest = hashlib.blake2b(digest_size=4)
    for path in sorted(path for name in names for path in root.glob(name) if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load(folder: Path, patients: int, sandbox: bool, progress: Progress) -> None:
    """Make `folder`: a store with all resources, and the lists of their ids."""
    place = folder / "data"
    place.mkdir(mode=0o700, parents=True)
    total = patients * (1 + data.DOCUMENTS) + data.PRACTITIONERS
    mongod = Embedded.start(place)
    try:
        asyncio.run(_created(mongod.uri, place, sandbox))
        chunks = [range(first, min(first + PATIENTS_AT_ONCE, patients)) for first in range(0, patients, PATIENTS_AT_ONCE)]
        workers = min(os.cpu_count() or 1, len(chunks))
        with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (mongod.uri, str(place))) as pool:
            practitioners = pool.submit(_practitioners).result()
            (folder / "practitioners").write_text("".join(practitioners), "ascii")
            done = len(practitioners)
            with (folder / "patients").open("w") as first, (folder / "documents").open("w") as second:
                for patient_ids, document_ids in pool.map(_patients, chunks, [practitioners] * len(chunks)):
                    first.write("".join(patient_ids))
                    second.write("".join(document_ids))
                    done += len(patient_ids) + len(document_ids)
                    progress("load", done, total)
    finally:
        mongod.stop()


async def _created(uri: str, place: Path, sandbox: bool) -> None:
    store = await Store.open(uri, data_dir=place, sandbox=sandbox)
    await store.close()


# In each worker process: one store, one loop.
_runner: asyncio.Runner | None = None
_context: Context | None = None


def _begin(uri: str, place: str) -> None:
    global _runner, _context
    _runner = asyncio.Runner()
    settings = Settings()
    store = _runner.run(Store.open(uri, data_dir=place, sandbox=None))
    actor = Actor(kind="system", issuer="bench", subject="bench", expires=float("inf"), scopes=parse("system/*.cruds"))
    _context = Context(store, actor, settings, "http://127.0.0.1/fhir", wall_clock_ms, os.urandom)


def _practitioners() -> list[str]:
    return _runner.run(_stored(data.practitioner(number) for number in range(data.PRACTITIONERS)))


def _patients(numbers: range, practitioners: list[str]) -> tuple[list[str], list[str]]:
    """Ids of patients, and of their documents patient by patient."""
    patients = _runner.run(_stored(data.patient(number) for number in numbers))
    documents = (
        data.document(number, k, f"Patient/{id}", f"Practitioner/{practitioners[(number + k) % len(practitioners)]}")
        for number, id in zip(numbers, patients, strict=True)
        for k in range(data.DOCUMENTS)
    )
    stored = _runner.run(_stored(documents, masked=() if _context.sandbox else (data.MASKED,)))
    if not _context.sandbox:
        _runner.run(_ruled(numbers, patients))
    return patients, stored


async def _stored(resources: Iterable[dict], masked: tuple[int, ...] = ()) -> list[str]:
    """masked: which of the documents of each dossier, in their order, are deposited with a mask."""
    stamped = []
    for number, resource in enumerate(resources):
        body = json.dump(resource)
        origin = Origin(labels=frozenset({visibility.MASKED})) if number % data.DOCUMENTS in masked else None
        stamped.append(stamp(_context, check(_context, body, resource["resourceType"]), method="POST", origin=origin))
    await asyncio.gather(*(_context.store.create(one.row) for one in stamped))
    return [one.id for one in stamped]


async def _ruled(numbers: range, patients: list[str]) -> None:
    """Give the dossiers of patients their policies, in one transaction."""
    vault = _context.store.vault

    async def work(transaction: Transaction) -> None:
        for number, id in zip(numbers, patients, strict=True):
            policy = Dossier(
                patient=id,
                birth_date=data.patient(number)["birthDate"],
                traitant=frozenset({ps(data.DOCTOR)}),
                team=(Right(ps(data.COLLEAGUE)),),
                permits=(Permit("feed"),),
                epoch=1,
            )
            await transaction.set_policy(vault.dossier_of_patient(id), policy, at_ms=1)

    await _context.store.transact(work)
