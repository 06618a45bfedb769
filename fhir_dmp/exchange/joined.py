"""Dossiers that were joined, as an import sees them: what the ledger knows of the one that ended is found in the one that goes on.

https://hl7.org/fhir/R4/patient-definitions.html#Patient.link ; see interactions/merged.py

INVARIANT: the ledger keeps the keys of rows as they came, and of what comes meanwhile in terms of the dossier of whom the source means,
so that it is right again, without a change, once the two are parted.
"""

from collections.abc import Iterable

from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.interactions import merged
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.merged import Renaming
from fhir_dmp.store.ledger import Line
from fhir_dmp.store.vault import COMMON, dossier_in, dossier_row

PATIENT = "Patient"


def at_home(key: bytes, dossier: int) -> bytes:
    """Key in a dossier of the row of another one that has it now: what the ledger keeps."""
    return dossier_row(dossier)[:8] + key[8:]


class Joined:
    """Where dossiers go on, for one run of an import."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ways: dict[int, Renaming | None] = {}
        self._passed: dict[int, tuple[tuple[int, int], ...]] = {}

    async def learn(self, lines: Iterable[Line]) -> None:
        """Look where the dossiers go on in which these things are."""
        keys = {key for line in lines for key in (line.key, *(part.key for stored in line.versions for part in stored.parts))}
        new = {dossier_in(key) for key in keys if key} - self._ways.keys() - {COMMON}
        if new:
            await self._look(new)

    async def renew(self) -> None:
        """Look again: something is not as it was."""
        known, self._ways, self._passed = set(self._ways), {}, {}
        if known:
            await self._look(known)

    async def _look(self, numbers: Iterable[int]) -> None:
        vault, policies = self._context.store.vault, await self._context.store.policies(set(numbers))
        for number in numbers:
            found, self._ways[number] = policies.get(number), None
            if found is None or found.status is not Status.CLOSED:
                continue
            passed, _ = await merged.way(self._context, found.patient)
            if len(passed) > 1:
                goes_on = vault.dossier_of_patient(passed[-1])
                self._ways[number] = Renaming(vault, number, goes_on, (found.patient, passed[-1]))
                ended = [number, *map(vault.dossier_of_patient, passed[1:-1])]
                there = policies | await self._context.store.policies(set(ended))
                self._passed[number] = tuple((one, there[one].epoch) for one in ended if there.get(one) is not None)

    def passed(self, dossier: int) -> tuple[tuple[int, int], ...]:
        """The dossiers that ended between one and the one that goes on, itself first: number and epoch of the policy of each."""
        return self._passed.get(dossier, ())

    def home(self, patients: Iterable[bytes], dossier: int) -> int:
        """Number of the dossier he had whose things are in `dossier` now: most often that itself. patients: keys of all who are named."""
        own = {dossier_in(key) for key in patients if dossier_in(self.here(key)) == dossier}
        return own.pop() if len(own) == 1 else dossier

    def here(self, key: bytes) -> bytes:
        """Key of the row as it is now, of one that the ledger knows."""
        way = self._ways.get(dossier_in(key)) if key else None
        if way is None:
            return key
        ended, goes_on = (way.vault.locate(PATIENT, one) for one in way.patients)
        return goes_on if key == ended else way.key(key)
