"""Verification: chains, tree and heads derived again from what is stored; every fault by name.

https://www.rfc-editor.org/rfc/rfc6962#section-2.1
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fhir_dmp.audit.chain import START, Position, append, fold, hole_data, leaf_data, leaf_hash, link
from fhir_dmp.audit.checkpoint import Head, opened
from fhir_dmp.audit.merger import CHECKPOINTS, checkpoints, signer
from fhir_dmp.store.failures import Broken
from fhir_dmp.store.lanes import Place, place_of
from fhir_dmp.store.merging import committed_in
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import COMMON, dossier_in


class Fault(NamedTuple):
    """kind: altered, deleted, reordered, duplicated, inserted, truncated, forged, broken. what: which trace or row. why: in words."""

    kind: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.why}"


@dataclass(slots=True)
class Report:
    """What was found. traces: verified. unmerged: of them, not yet in the log. erased: in destroyed dossiers. heads: signed, verified."""

    faults: list[Fault] = field(default_factory=list)
    traces: int = 0
    unmerged: int = 0
    erased: int = 0
    heads: int = 0
    rows: int = 0

    def add(self, kind: str, what: str, why: str) -> None:
        self.faults.append(Fault(kind, what, why))


class _Known(NamedTuple):
    """A leaf of the log."""

    index: int
    key: bytes
    committed: bytes


class Verifier:
    """One verification of one store. folder: the data folder, whose checkpoints bear witness; None to do without."""

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        self._store, self._log, self._folder = store, store.log, folder
        self.report = Report()
        self._leaves: dict[tuple[bytes, int], _Known] = {}
        self._holes: set[tuple[bytes, int]] = set()
        self._places: dict[bytes, tuple[bytes, int]] = {}
        self._seen: set[tuple[bytes, int]] = set()

    async def run(self) -> Report:
        """Everything about the journal."""
        await self._tree()
        await self._traces()
        await self._missing()
        return self.report

    def _name(self, key: bytes) -> str:
        return f"AuditEvent/{self._store.vault.seal_id(key)}"

    # The tree

    async def _tree(self) -> None:
        heads = await self._heads()
        frontier: tuple[bytes, ...] = ()
        size = 0
        sound = True
        async for leaf in _each(self._log.leaves()):
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
        state = await self._log.state()
        if sound and (state.size, state.root) != (size, fold(frontier)):
            self.report.add("forged", "the state of the log", f"it says {state.size} entries, {size} are stored")

    def _leaf(self, leaf: Mapping[str, Any]) -> bytes:
        chain, number = bytes(leaf["w"]), leaf["q"]
        key, committed = leaf.get("k"), leaf.get("m")
        place = (chain, number)
        if key is None or committed is None:
            hashed = leaf_hash(hole_data(chain, number))
            self._holes.add(place)
            self.report.add(
                "deleted", f"trace {number} of chain {chain.hex()}", f"gone before it was merged, entry {leaf['_id']} of the log"
            )
        else:
            hashed = leaf_hash(leaf_data(Position(chain, number, bytes(key)), bytes(committed)))
            if place in self._leaves:
                self.report.add("duplicated", f"entry {leaf['_id']} of the log", "its place in a chain is taken twice")
            self._leaves[place] = _Known(leaf["_id"], bytes(key), bytes(committed))
            self._places[bytes(key)] = place
        if hashed != bytes(leaf["h"]):
            self.report.add("altered", f"entry {leaf['_id']} of the log", "its hash is not that of what it says")
        return hashed

    async def _heads(self) -> dict[int, list[tuple[Head, str]]]:
        """Signed heads by size, from the database and from the file."""
        key = signer(self._store)
        texts = [(head["text"], "database", head["_id"]) async for head in self._stored_heads()]
        if self._folder is not None:
            texts += [(text, "file", None) for text in checkpoints(self._folder / CHECKPOINTS, key.origin)]
        found: dict[int, list[tuple[Head, str]]] = {}
        for number, (text, where, size) in enumerate(texts):
            head = opened(text, key.origin, key.public)
            if head is None or size not in (None, head.size):
                self.report.add("forged", f"checkpoint {number} ({where})", "it is not signed by the key of this host, or altered")
                continue
            found.setdefault(head.size, []).append((head, where))
            self.report.heads += 1
        return found

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
        chains = {bytes(chain["_id"]): chain for chain in await self._log.chains()}
        chain, number, linked = b"", 0, START
        async for documents in self._log.every_trace():
            keys = await self._log.keys({dossier_in(document["_id"]) for document in documents} | {COMMON})
            for document in documents:
                place = place_of(document)
                if place is None:
                    self.report.add("altered", self._name(document["_id"]), "its place in the journal does not read")
                    continue
                if place.position.chain != chain:
                    chain, number, linked = place.position.chain, 0, START
                    if chain not in chains:
                        self.report.add("inserted", f"chain {chain.hex()}", "no writer registered it")
                number, linked = self._trace(document, place, number, linked, keys[dossier_in(document["_id"])])

    def _trace(self, document: Mapping[str, Any], place: Place, number: int, linked: bytes, key) -> tuple[int, bytes]:
        """Check one trace; (number expected next, link up to it)."""
        at = (place.position.chain, place.position.number)
        name = self._name(document["_id"])
        self.report.traces += 1
        if at in self._seen:
            self.report.add("duplicated", name, f"another trace stands at {at[1]} of chain {at[0].hex()}")
            return number, linked
        self._seen.add(at)
        known = self._leaves.get(at)
        if at[1] > number:
            self._gap(at[0], number, at[1])
        committed = self._committed(document, place, name, key)
        self.report.unmerged += known is None and at not in self._holes
        if at in self._holes:
            self.report.add("inserted", name, f"it stands at {at[1]} of chain {at[0].hex()}, where a trace was already missing")
        elif self._is_moved(document, name, at, known):
            pass
        elif committed is not None and committed != (known.committed if known else place.committed):
            self.report.add("altered", name, "what it says is not what was written")
        elif place.committed != (known.committed if known else place.committed):
            self.report.add("altered", name, "its place in the journal was changed")
        elif at[1] == number and link(linked, place.leaf) != place.link:
            self.report.add("altered", name, "it is not linked to the trace before it")
        return at[1] + 1, place.link

    def _is_moved(self, document: Mapping[str, Any], name: str, at: tuple[bytes, int], known: _Known | None) -> bool:
        """Whether this row stands elsewhere than the log says, or where the log has another one."""
        written = self._places.get(document["_id"])
        if written is not None and written != at:
            said = f"it stands at {at[1]} of chain {at[0].hex()}, it was written at {written[1]} of chain {written[0].hex()}"
            self.report.add("reordered", name, said)
            return True
        if known is not None and known.key != document["_id"]:
            self.report.add("inserted", name, f"it stands at {at[1]} of chain {at[0].hex()}, which belongs to {self._name(known.key)}")
            return True
        return False

    def _committed(self, document: Mapping[str, Any], place: Place, name: str, key) -> bytes | None:
        """Commitment to what the trace says now; None when it cannot be told, which is a fault unless the dossier was erased."""
        if key is None:
            self.report.erased += 1
            return None
        try:
            return committed_in(document, key)
        except Broken:
            self.report.add("altered", name, "it does not open under the key of its dossier")
            return None

    def _gap(self, chain: bytes, start: int, end: int) -> None:
        """Numbers without a row. Merged ones are judged against the log, see _missing."""
        for number in range(start, end):
            if (chain, number) not in self._leaves and (chain, number) not in self._holes:
                self.report.add("deleted", f"trace {number} of chain {chain.hex()}", "gone, and not yet in the log")

    async def _missing(self) -> None:
        """Leaves whose trace is gone: deleted, unless its dossier was erased."""
        missing = {place: leaf for place, leaf in self._leaves.items() if place not in self._seen}
        moved = {place for place in missing if self._places_seen(missing[place].key)}
        keys = await self._log.keys({dossier_in(leaf.key) for leaf in missing.values()})
        for (chain, number), leaf in missing.items():
            if keys[dossier_in(leaf.key)] is None:
                self.report.erased += 1
            elif (chain, number) not in moved:
                self.report.add("deleted", self._name(leaf.key), f"trace {number} of chain {chain.hex()}, entry {leaf.index} of the log")

    def _places_seen(self, key: bytes) -> bool:
        return any(fault.kind == "reordered" and fault.what == self._name(key) for fault in self.report.faults)


async def _each(batches: AsyncIterator[list[dict[str, Any]]]) -> AsyncIterator[dict[str, Any]]:
    async for batch in batches:
        for one in batch:
            yield one
