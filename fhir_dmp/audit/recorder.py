"""The recorder: nothing is answered before what it tells is traced, durably.

R1111-43 CSP; Regulation (EU) 2025/327 art. 9; https://profiles.ihe.net/ITI/BALP/
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.audit.event import Server, Trace
from fhir_dmp.audit.index import Indexer
from fhir_dmp.errors import FhirError
from fhir_dmp.search.spelling import address_key
from fhir_dmp.store.journal import Awaited, Receipt
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change, NewRow, Visible
from fhir_dmp.store.vault import COMMON, version_id

# Longer than a failover that goes well; a client is told to repeat rather than kept waiting.
PATIENCE_SECONDS = 10.0
_KEPT = 10_000
# Of a stored trace, and of each thing it discloses; no less than they may take.
_BYTES, _BYTES_DISCLOSED = 4_000, 300


class Recorder:
    """Records traces in one store. address: base URL of this host, as named in traces."""

    def __init__(
        self, store: Store, address: str = "localhost", *, name: str = "fhir-dmp", patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._store, self._patience = store, patience_seconds
        self._dossiers: dict[str, int] = {}
        # When the time of those who wait is over, and for what; by the clock of the loop.
        self._watched: deque[tuple[float, asyncio.Future]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.indexer = Indexer(store.vault.hash64, Server(store.record.identity, name, address))

    async def record(self, traces: Sequence[Trace]) -> Receipt | None:
        """Make traces durable, together with whatever else waits. When it raises (503), nothing may be answered.

        A trace about a dossier that does not exist, or was erased, names no patient.
        """
        if not traces:
            return None
        dossiers = [self._dossier(trace.patient) for trace in traces]

        def rows(keys: Mapping[int, AESGCM]) -> list[NewRow]:
            return [
                self.row(trace, dossier) if dossier in keys else self.row(trace._replace(patient=""), COMMON)
                for trace, dossier in zip(traces, dossiers, strict=True)
            ]

        size = sum([_BYTES + _BYTES_DISCLOSED * len(trace.disclosed) + len(trace.query) for trace in traces])
        waiting = self._store.journal.put(Awaited(dossiers, rows), size)
        self._watch(waiting)
        return await waiting

    def _watch(self, waiting: asyncio.Future) -> None:
        """See that nobody waits longer than that. One timer for all of them: they come in the order in which their time is over."""
        loop, watched = waiting.get_loop(), self._watched
        while watched and watched[0][1].done():
            watched.popleft()
        watched.append((loop.time() + self._patience, waiting))
        if self._timer is None:
            self._timer = loop.call_later(self._patience, self._late, loop)

    def _late(self, loop: asyncio.AbstractEventLoop) -> None:
        watched, self._timer = self._watched, None
        while watched and (watched[0][1].done() or watched[0][0] <= loop.time()):
            _, waiting = watched.popleft()
            if not waiting.done():
                waiting.set_exception(untraceable())
        if watched:
            self._timer = loop.call_at(watched[0][0], self._late, loop)

    def changes(self, traces: Sequence[Trace]) -> list[Change]:
        """Traces of writes, to be stored in the same commit or transaction as the writes themselves."""
        return [Change(self.row(trace, self._dossier(trace.patient)), None) for trace in traces]

    def _dossier(self, patient: str) -> int:
        if not patient:
            return COMMON
        dossier = self._dossiers.get(patient)
        if dossier is None:
            if len(self._dossiers) >= _KEPT:
                self._dossiers.clear()
            dossier = self._dossiers[patient] = self._store.vault.dossier_of_patient(patient)
        return dossier

    def row(self, trace: Trace, dossier: int) -> NewRow:
        """A trace as a row of its dossier."""
        vault, random = self._store.vault, self._store.random
        key, version = vault.new_key(dossier, random), vault.new_version(random)
        id = vault.seal_id(key)
        body, entries = self.indexer.build(trace, id, version_id(version))
        return NewRow(
            key=key,
            dossier=dossier,
            type="AuditEvent",
            version=version,
            updated_ms=trace.at_ms,
            self64=vault.hash64(address_key("AuditEvent", id)),
            x=entries.x,
            g=entries.g,
            c=entries.c,
            n=entries.n,
            body=body,
            method="POST",
            journal=True,
            visible=None if dossier == COMMON else copied(trace.visible),
        )


def copied(visible: Visible) -> Visible:
    """Facts of a row of its own: acts change those of each."""
    return [dict(one) for one in visible] if isinstance(visible, list) else dict(visible) if visible is not None else None


def untraceable() -> FhirError:
    """The answer of a request whose trace could not be made durable in time."""
    return FhirError(
        "transient", "the access cannot be traced at the moment, so it is not given; please repeat", headers={"Retry-After": "2"}
    )
