"""What one run of an import has seen of the store: rows and policies read once for all of it, and rows that will be stored with them.

https://hl7.org/fhir/R4/http.html#transaction

Resources that are stored in one transaction are decided on like those of one Bundle: they may refer to one another, and the policy of
their dossier is read once.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.store.reading import Opener, Opening
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change, Row


class Seen:
    """A store, for one run. Everything that is not here is that of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Asked for at every step.
        self.vault, self.sandbox = store.vault, store.sandbox
        self._rows: dict[bytes, Row] = {}
        self._dossiers: set[int] = set()
        self._openers: dict[int, Opener | None] = {}
        # Documents that point to each of some contents, by the id of the content: as good as a policy that was read.
        self.carriers: dict[str, list[Row]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def fetch(self, keys: Iterable[bytes]) -> None:
        """Read these rows now, and from now on the policies of their dossiers together."""
        found = await self._store.load_many(keys)
        self._rows |= found
        self._dossiers |= {row.dossier for row in found.values()}

    async def load(self, key: bytes) -> Row | None:
        """As Reader.load."""
        return (await self.load_many((key,))).get(key)

    async def load_many(self, keys: Iterable[bytes], *, bodies: bool | Opening = True) -> dict[bytes, Row]:
        """As Reader.load_many."""
        wanted, found = list(keys), self._rows
        if missing := [key for key in wanted if key not in self._rows]:
            loaded = await self._store.load_many(missing, bodies=bodies)
            found = self._rows | loaded
            if bodies is True:
                self._rows = found
        return {key: found[key] for key in wanted if key in found}

    async def policies(self, dossiers: Iterable[int]) -> dict[int, Dossier | None]:
        """As Reader.policies."""
        return {one: found.policy for one, found in (await self.openers(dossiers)).items()}

    async def opener(self, dossier: int) -> Opener | None:
        """As Reader.opener."""
        return (await self.openers((dossier,))).get(dossier)

    async def openers(self, dossiers: Iterable[int]) -> dict[int, Opener]:
        """As Reader.openers."""
        wanted, openers = set(dossiers), self._openers
        if not wanted <= openers.keys():
            self._dossiers |= wanted
            missing = self._dossiers - openers.keys()
            openers |= dict.fromkeys(missing) | await self._store.openers(missing)
        return {one: found for one in wanted if (found := openers[one]) is not None}

    def will_be(self, changes: Sequence[Change]) -> None:
        """These are stored with whatever comes next."""
        for change in changes:
            new = change.row
            kept = (new.key, new.dossier, new.type, new.version, new.updated_ms, new.method, new.deleted, new.body, new.content)
            self._rows[new.key] = Row(*kept, self64=new.self64, visible=new.visible)

    def changed(self, rows: Iterable[Row]) -> None:
        """What is stored next makes these rows so."""
        self._rows |= {row.key: row for row in rows}

    def decided(self) -> None:
        """A transaction has ended: policies are read anew for the next one."""
        self._openers, self.carriers = {}, {}

    def forget(self) -> None:
        """Something was not as it was seen."""
        self._rows, self._openers, self.carriers = {}, {}, {}
