"""Verification: chains, tree and heads derived again from what is stored; every fault by name.

https://www.rfc-editor.org/rfc/rfc6962#section-2.1
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fhir_dmp.audit.chain import START, Position, append, fold, hole_data, leaf_data, leaf_hash, link
from fhir_dmp.audit.checkpoint import Head, opened
from fhir_dmp.audit.merger import CHECKPOINTS, RESTORES, checkpoints, restorer, signer
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.store.failures import Broken
from fhir_dmp.store.lanes import Place, place_of
from fhir_dmp.store.merging import committed_in
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import row_of
from fhir_dmp.store.vault import COMMON, dossier_in

# Leaves without their trace that are held before erased dossiers are told from deleted traces.
ERASED_AT_ONCE = 5000


class Fault(NamedTuple):
    """kind: altered, deleted, reordered, duplicated, inserted, truncated, forged, broken. what: which trace or row. why: in words."""

    kind: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.why}"


@dataclass(slots=True)
class Report:
    """What was found. traces: verified. unmerged: of them, not yet in the log. erased: in destroyed dossiers. heads: signed, verified.

    seals: verified. lost: entries of the log that restores of backups undid, as signed checkpoints tell; no fault, and never silent.
    keyless: dossiers whose key is missing or does not open.
    """

    faults: list[Fault] = field(default_factory=list)
    traces: int = 0
    unmerged: int = 0
    erased: int = 0
    heads: int = 0
    lost: int = 0
    rows: int = 0
    seals: int = 0
    keyless: set[int] = field(default_factory=set)

    def add(self, kind: str, what: str, why: str) -> None:
        self.faults.append(Fault(kind, what, why))

    def unreadable(self, dossiers: Mapping[int, str]) -> None:
        """Dossiers whose key is not there or does not open, and why: one fault each, whatever is in them."""
        for dossier in dossiers.keys() - self.keyless:
            what = "the common dossier" if dossier == COMMON else f"dossier {dossier}"
            self.add("deleted" if dossiers[dossier].startswith("it is gone") else "altered", f"the key of {what}", dossiers[dossier])
        self.keyless |= dossiers.keys()


class _Leaf(NamedTuple):
    """A leaf of the log, as read by place. key, committed: None for a hole, which goes from number to `end`."""

    index: int
    chain: bytes
    number: int
    end: int
    key: bytes | None
    committed: bytes | None

    @property
    def order(self) -> tuple[int, bytes, int]:
        return len(self.chain), self.chain, self.number


class Verifier:
    """One verification of one store. folder: the data folder, whose checkpoints bear witness; None to do without. witnesses: files of
    checkpoints that somebody else kept.

    Leaves and traces are read side by side in the order of their places, so memory holds only what does not fit.
    """

    def __init__(self, store: Store, folder: Path | None = None, witnesses: Sequence[Path] = ()) -> None:
        self._store, self._log, self._folder, self._witnesses = store, store.log, folder, tuple(witnesses)
        self.report = Report()
        # Row key -> the leaf nobody stands at; row key -> where a row stands that does not belong there.
        self._unplaced: dict[bytes, _Leaf] = {}
        self._misplaced: dict[bytes, tuple[bytes, int]] = {}
        # The same for rows at places that the log does not have, as those not merged yet.
        self._strays: dict[bytes, tuple[bytes, int]] = {}
        self._hole: _Leaf | None = None

    async def run(self) -> Report:
        """Everything about the journal."""
        await self._tree()
        await self._traces()
        await self._judge()
        return self.report

    def _name(self, key: bytes) -> str:
        return f"AuditEvent/{self._store.vault.seal_id(key)}" if _is_key(key) else f"row {key!r}"

    # The tree

    async def _tree(self) -> None:
        # In this order: the log may grow meanwhile, and nothing signed or said is then beyond what is read.
        heads, state = await self._heads(), await self._log.state()
        frontier: tuple[bytes, ...] = ()
        size = 0
        sound = True
        async for leaf in _each(self._log.leaves()):
            if leaf["_id"] >= state.size:
                break
            if leaf["_id"] != size:
                self.report.add("truncated", f"entries {size} to {leaf['_id'] - 1} of the log", "they are gone from the database")
                sound = False
                size = leaf["_id"]
            hashed = self._leaf(leaf)
            frontier = append(frontier, size, (hashed,)) if sound else ()
            size += 1
            if sound:
                self._compare(heads, size, frontier)
        for head, where in heads.get(0, ()):
            self.report.add("forged", f"checkpoint of {head.size} entries ({where})", "a head of nothing")
        for larger in sorted(number for number in heads if number > size):
            for head, where in heads[larger]:
                self.report.add(
                    "truncated", f"the log ends at {size}", f"a checkpoint ({where}) of {head.at_ms} ms says {head.size} entries"
                )
        if sound and (state.size, state.root) != (size, fold(frontier)):
            self.report.add("forged", "the state of the log", f"it says {state.size} entries, {size} are stored")

    def _leaf(self, leaf: Mapping[str, Any]) -> bytes:
        """Hash of a leaf from what it says."""
        one = _read(leaf)
        if one.key is None or one.committed is None:
            hashed = leaf_hash(hole_data(one.chain, one.number, one.end))
            self.report.add("deleted", _gap(one.chain, one.number, one.end), f"gone before it was merged, entry {one.index} of the log")
        else:
            hashed = leaf_hash(leaf_data(Position(one.chain, one.number, one.key), one.committed))
        if hashed != bytes(leaf["h"]):
            self.report.add("altered", f"entry {one.index} of the log", "its hash is not that of what it says")
        return hashed

    async def _heads(self) -> dict[int, list[tuple[Head, str]]]:
        """Signed heads by size, from the database and from the file."""
        key = signer(self._store)
        texts = [(head["text"], "database", head["_id"]) async for head in self._stored_heads()]
        if self._folder is not None:
            texts += [(text, "file", None) for text in checkpoints(self._folder / CHECKPOINTS, key.origin)]
        for path in self._witnesses:
            kept = checkpoints(path, key.origin)
            if not kept:
                self.report.add("forged", f"checkpoints ({path})", "there is none of this log in it")
            texts += [(text, str(path), None) for text in kept]
        restores = self._restores()
        found: dict[int, list[tuple[Head, str]]] = {}
        for number, (text, where, size) in enumerate(texts):
            head = opened(text, key.origin, key.public)
            if head is None or size not in (None, head.size):
                self.report.add("forged", f"checkpoint {number} ({where})", "it is not signed by the key of this host, or altered")
                continue
            self.report.heads += 1
            # What somebody else kept is not excused: who restores can show him why.
            if where in ("database", "file") and (back := _undone(head, restores)) is not None:
                self.report.lost = max(self.report.lost, head.size - back)
            else:
                found.setdefault(head.size, []).append((head, where))
        for restore in restores:
            if restore.size and _undone(restore, restores) is None:
                found.setdefault(restore.size, []).append((restore, "restore"))
        return found

    def _restores(self) -> list[Head]:
        """Where restores of backups put the log back to; their roots are checked like those of checkpoints."""
        if self._folder is None:
            return []
        key = restorer(self._store)
        found = [opened(text, key.origin, key.public) for text in checkpoints(self._folder / RESTORES, key.origin)]
        if None in found:
            self.report.add("forged", f"{RESTORES}", "a note is not signed by the key of this host, or altered")
        return [head for head in found if head is not None]

    async def _stored_heads(self) -> AsyncIterator[Mapping[str, Any]]:
        after = -1
        while found := await self._log.heads(after):
            for head in found:
                yield head
            after = found[-1]["_id"]

    def _compare(self, heads: Mapping[int, Iterable[tuple[Head, str]]], size: int, frontier: tuple[bytes, ...]) -> None:
        for head, where in heads.get(size, ()):
            if head.root != fold(frontier):
                self.report.add("altered", f"the log up to entry {size - 1}", f"a checkpoint ({where}) of {head.at_ms} ms has another root")

    # The traces

    async def _traces(self) -> None:
        chains = {bytes(chain["_id"]): chain["n"] for chain in await self._log.chains()}
        leaves = _each(self._log.leaves_by_place())
        leaf = await _next(leaves)
        previous: tuple[int, bytes, int] | None = None
        chain, number, linked = b"", 0, START
        async for documents in self._log.every_trace():
            keys = await self._log.keys({dossier_in(document["_id"]) for document in documents if _is_key(document["_id"])} | {COMMON})
            self.report.unreadable(await self._log.without_key([dossier for dossier, key in keys.items() if key is None]))
            for document in documents:
                self.report.traces += 1
                place, name = place_of(document), self._name(document["_id"])
                if place is None:
                    self.report.add("altered", name, "its place in the journal does not read")
                    continue
                at = (place.position.chain, place.position.number)
                order = (len(at[0]), *at)
                if order == previous:
                    self.report.add("duplicated", name, f"another trace stands at {_at(at)}")
                    continue
                previous = order
                while leaf is not None and leaf.order < order:
                    await self._nobody(leaf)
                    leaf = await _next(leaves)
                known = leaf if leaf is not None and leaf.order == order else None
                if known is not None:
                    leaf = await _next(leaves)
                if at[0] != chain:
                    chain, number, linked = at[0], 0, START
                    if chain not in chains:
                        self.report.add("inserted", f"chain {chain.hex()}", "no writer registered it")
                missing = max(number, chains.get(chain, at[1]))
                if missing < at[1] and not await self._is_there(chain, missing):
                    self.report.add("deleted", _gap(chain, missing, at[1]), "gone, and not yet in the log")
                follows = at[1] != number or link(linked, place.leaf) == place.link
                await self._trace(document, place, known, name, keys[dossier_in(document["_id"])], follows)
                number, linked = at[1] + 1, place.link
        while leaf is not None:
            await self._nobody(leaf)
            leaf = await _next(leaves)

    async def _trace(self, document: Mapping[str, Any], place: Place, known: _Leaf | None, name: str, key, follows: bool) -> None:
        """Check one trace. known: the leaf at its place, None before it is merged. follows: it is linked to the one before."""
        at = (place.position.chain, place.position.number)
        committed = self._committed(document, name, key)
        if known is not None and known.key is None:
            self._hole = known
        if self._hole is not None and self._hole.chain == at[0] and self._hole.number <= at[1] < self._hole.end:
            self.report.add("inserted", name, f"it stands at {_at(at)}, where a trace was already missing")
            return
        if known is None:
            self.report.unmerged += 1
            self._strays[bytes(document["_id"])] = at
        elif known.key != document["_id"]:
            self._misplaced[bytes(document["_id"])] = at
            await self._nobody(known)
            return
        written = known.committed if known else place.committed
        if committed is not None and committed != written:
            self.report.add("altered", name, "what it says is not what was written")
        elif place.committed != written:
            self.report.add("altered", name, "its place in the journal was changed")
        elif not follows:
            self.report.add("altered", name, "it is not linked to the trace before it")

    def _committed(self, document: Mapping[str, Any], name: str, key) -> bytes | None:
        """Commitment to what the trace says now; None when it cannot be told, which is a fault unless the dossier was erased."""
        if key is None:
            self.report.erased += dossier_in(document["_id"]) not in self.report.keyless
            return None
        try:
            committed = committed_in(document, key)
        except Broken:
            self.report.add("altered", name, "it does not open under the key of its dossier")
            return None
        if not _stands_as_it_says(document, key):
            self.report.add("altered", name, "it stands under another type, time or dossier than it says, so that nobody finds it")
            return None
        return committed

    async def _is_there(self, chain: bytes, number: int) -> bool:
        """Asked again: while others write, an index may show a later trace before an earlier one."""
        return any(found["j"]["q"] == number for found in await self._log.placed(chain, number, 1))

    async def _nobody(self, leaf: _Leaf) -> None:
        """A leaf at whose place its trace does not stand."""
        if leaf.key is None:
            self._hole = leaf
            return
        self._unplaced[leaf.key] = leaf
        if len(self._unplaced) >= ERASED_AT_ONCE:
            await self._forget_erased()

    async def _forget_erased(self) -> None:
        """Traces of erased dossiers are gone by right."""
        keys = await self._log.keys({dossier_in(key) for key in self._unplaced})
        self.report.unreadable(await self._log.without_key([dossier for dossier, key in keys.items() if key is None]))
        erased = [key for key in self._unplaced if keys[dossier_in(key)] is None and dossier_in(key) not in self.report.keyless]
        for key in erased:
            del self._unplaced[key]
        self.report.erased += len(erased)

    async def _judge(self) -> None:
        """What stands elsewhere was moved, what stands nowhere was deleted, what belongs nowhere was inserted."""
        await self._forget_erased()
        for key, at in self._misplaced.items():
            written = self._unplaced.pop(key, None)
            if written is None:
                self.report.add("inserted", self._name(key), f"it stands at {_at(at)}, which belongs to another trace")
            else:
                said = f"it stands at {_at(at)}, it was written at {_at((written.chain, written.number))}"
                self.report.add("reordered", self._name(key), said)
        for key, leaf in self._unplaced.items():
            if key in self._strays:
                said = f"it stands at {_at(self._strays[key])}, it was written at {_at((leaf.chain, leaf.number))}"
                self.report.add("reordered", self._name(key), said)
                continue
            self.report.add(
                "deleted", self._name(key), f"it was written at {_at((leaf.chain, leaf.number))}, entry {leaf.index} of the log"
            )


def _undone(head: Head, restores: Iterable[Head]) -> int | None:
    """The size to which a later restore put back a log that had been as large as this head says; None when none did."""
    return min((restore.size for restore in restores if restore.at_ms >= head.at_ms and restore.size < head.size), default=None)


def _stands_as_it_says(document: Mapping[str, Any], key) -> bool:
    """Whether a search for traces of its dossier and time meets a trace. What it is found by beside these, see verify_rows."""
    row = row_of(document, key)
    try:
        said = b'"lastUpdated":"%b"' % to_instant(row.updated_ms).encode()
    except (TypeError, ValueError, OverflowError):
        return False
    return row.type == "AuditEvent" and not row.deleted and row.dossier == dossier_in(row.key) and said in (row.body or b"")


def _is_key(key: object) -> bool:
    return isinstance(key, bytes) and len(key) == 16


def _read(leaf: Mapping[str, Any]) -> _Leaf:
    key, committed = leaf.get("k"), leaf.get("m")
    return _Leaf(leaf["_id"], bytes(leaf["w"]), leaf["q"], leaf.get("e", leaf["q"] + 1), key and bytes(key), committed and bytes(committed))


def _gap(chain: bytes, start: int, end: int) -> str:
    return f"trace {start} of chain {chain.hex()}" if end == start + 1 else f"traces {start} to {end - 1} of chain {chain.hex()}"


def _at(at: tuple[bytes, int]) -> str:
    return f"{at[1]} of chain {at[0].hex()}"


async def _next(leaves: AsyncIterator[dict[str, Any]]) -> _Leaf | None:
    found = await anext(leaves, None)
    return None if found is None else _read(found)


async def _each(batches: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[dict[str, Any]]:
    async for batch in batches:
        for one in batch:
            yield one
