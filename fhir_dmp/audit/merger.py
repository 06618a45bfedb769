"""The merger: one process at a time brings all chains into the log, signs its head and writes checkpoints outside of the database.

https://www.rfc-editor.org/rfc/rfc6962#section-3.5 ; https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md
"""

import asyncio
import logging
import os
from pathlib import Path

from fhir_dmp.audit.checkpoint import Head, Signer
from fhir_dmp.errors import FhirError
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store

log = logging.getLogger("fhir_dmp.audit")

CHECKPOINTS = Path("journal") / "checkpoints"
# Signed too: the log was put back to this size and root, by the restore of a backup.
RESTORES = Path("journal") / "restores"


def signer(store: Store) -> Signer:
    """The key of this store's log."""
    return Signer(store.vault.subkey("journal head"), f"{store.record.identity}/journal")


def restorer(store: Store) -> Signer:
    """The key that signs what a restore did to this store's log."""
    return Signer(store.vault.subkey("journal head"), f"{store.record.identity}/restores")


async def note_restore(store: Store, folder: Path) -> None:
    """Say that the log of a store just restored ends here: what checkpoints say beyond is lost with the database, not taken away."""
    state = await store.log.state()
    text = restorer(store).checkpoint(Head(state.size, state.root, store.clock()))
    await asyncio.to_thread(append, folder / RESTORES, text)


class Merger:
    """Merges for one store. seconds: between rounds. folder: the data folder; its file `journal/checkpoints` only grows."""

    def __init__(self, store: Store, folder: Path, *, seconds: float = 5.0) -> None:
        self._store, self._seconds = store, seconds
        self._path = folder / CHECKPOINTS
        self._signer = signer(store)
        self._holder = os.urandom(8).hex()

    async def run(self) -> None:
        """Round after round until cancelled; what fails is tried again in the next one."""
        try:
            while True:
                try:
                    await self.round()
                except (FhirError, StoreError, OSError) as error:
                    log.warning("the journal was not merged: %s", error)
                except Exception:
                    log.exception("the journal was not merged")
                await asyncio.sleep(self._seconds)
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the lease back."""
        try:
            await asyncio.shield(self._store.log.give_back(self._holder))
        except Exception as error:
            log.info("the lease of the journal runs out by itself: %s", error)

    async def round(self) -> int:
        """Merge what there is and sign, when the lease is ours; how many entries.

        What takes longer than the time between two rounds is signed on the way, so that no trace waits for all the others.
        """
        merged, due = 0, self._now() + self._seconds
        if not await self._hold():
            return 0
        async for count in self._store.log.merging():
            merged += count
            if self._now() >= due:
                await self.sign()
                if not await self._hold():
                    return merged
                due = self._now() + self._seconds
        await self.sign()
        return merged

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _hold(self) -> bool:
        """Take or renew the lease; False when another process has it."""
        lease_ms = int(max(self._seconds * 4, 20) * 1000)
        return await self._store.log.hold(self._holder, self._store.clock(), lease_ms)

    async def sign(self) -> str | None:
        """Sign the head when the log has grown since the last one; the text of the checkpoint."""
        state, latest = await self._store.log.state(), await self._store.log.latest_head()
        if latest and latest["_id"] > state.size:
            log.error("the journal has %d entries, its signed head says %d: `fhir-dmp verify` tells more", state.size, latest["_id"])
        if state.size == 0 or (latest and latest["_id"] >= state.size):
            return None
        head = Head(state.size, state.root, self._store.clock())
        text = self._signer.checkpoint(head)
        # First the file: what was signed is kept where who changes the database does not come.
        await asyncio.to_thread(append, self._path, text)
        await self._store.log.keep_head(head, text)
        return text


def append(path: Path, text: str) -> None:
    """One more checkpoint in a file that only grows, on the disk when it returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        # The writer before may have been killed in the middle of a line.
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (("\n" if torn else "") + text + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checkpoints(path: Path, origin: str) -> list[str]:
    """Every complete checkpoint of this log in such a file, oldest first."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found: list[str] = []
    current: list[str] = []
    for line in lines:
        if line == origin:
            current = []
        current.append(line)
        if line.startswith("\N{EM DASH} ") and current[0] == origin:
            found.append("\n".join(current) + "\n")
            current = []
    return found
