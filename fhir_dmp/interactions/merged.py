"""Dossiers that were joined: which one goes on, and how the ids of one become ids of the other.

https://hl7.org/fhir/R4/patient-definitions.html#Patient.link

The rows of the dossier that ends stay where they are, closed; what goes on has copies of them, each under the same eight random bytes after
another number of dossier. So an id of one is an id of the other by a rule, and to part them again is to take the copies away.

What one Patient says alone leads nowhere: who writes it, as the host that a dossier comes from, could name anybody's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions.context import Context
from fhir_dmp.store import joining
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import Vault, dossier_in, dossier_row

REPLACED_BY, REPLACES = "replaced-by", "replaces"
AT_ONCE = 50
_MARK = b'"replaced-by"'


@dataclass(frozen=True, slots=True)
class Renaming:
    """Ids of one dossier -> ids of another of this host. source, target: numbers. patients: logical id of the Patient of each."""

    vault: Vault
    source: int
    target: int
    patients: tuple[str, str]

    def key(self, key: bytes) -> bytes:
        """Key of the row in the other dossier."""
        return dossier_row(self.target)[:8] + key[8:]

    def get(self, id: str) -> str | None:
        """The id there; None for one that belongs to neither. See origins.translated."""
        if id == self.patients[0]:
            return self.patients[1]
        key = self.vault.open_id(id)
        return self.vault.seal_id(self.key(key)) if key is not None and dossier_in(key) == self.source else None

    @property
    def back(self) -> "Renaming":
        """The other way round."""
        return Renaming(self.vault, self.target, self.source, self.patients[::-1])


def linked(patient: Mapping[str, Any], kind: str) -> list[str]:
    """Logical ids that a Patient names by links of a kind."""
    found = []
    for one in patient.get("link") or ():
        said = parse_reference(((one.get("other") or {}).get("reference")) or "")
        if one.get("type") == kind and said.type == "Patient" and said.id:
            found.append(said.id)
    return found


async def survivor(context: Context, id: str, row: Row | None = None) -> tuple[str, Row | None]:
    """The Patient that goes on for one that was joined to another, himself for any other. row: of `id`, where it is read already."""
    passed, row = await way(context, id, row)
    return passed[-1], row


async def way(context: Context, id: str, row: Row | None = None) -> tuple[list[str], Row | None]:
    """Logical ids from a Patient to the one that goes on for him, and that one's row. row: of `id`, where it is read already.

    An administrator of this host who has begun to join them says it as well as the Patient that goes on.
    """
    passed, vault = [id], context.store.vault
    row = row if row is not None else await context.reads.load(vault.locate("Patient", id))
    while (into := ended_in(row)) is not None and into not in passed:
        there = await context.reads.load(vault.locate("Patient", into))
        if there is None:
            break
        if passed[-1] not in _named(there, REPLACES) and not await joining.begun(context.reads, row.dossier, there.dossier):
            break
        passed.append(into)
        row = there
    return passed, row


def ended_in(row: Row | None) -> str | None:
    """Logical id of the Patient that one names who goes on for him; None for one that is not closed: what was joined is."""
    if row is None or row.body is None or _MARK not in row.body:
        return None
    value = json.parse(row.body)
    found = linked(value, REPLACED_BY)
    return found[0] if found and value.get("active") is False else None


def _named(row: Row | None, kind: str) -> list[str]:
    return linked(json.parse(row.body), kind) if row is not None and row.body is not None else []


async def _patient(reads: Reader, dossier: int) -> Row | None:
    rows = await reads.find(types=("Patient",), dossiers=(dossier,), limit=1)
    return rows[0] if rows else None


async def said_joined(reads: Reader, dossier: int) -> list[str]:
    """Logical ids of the Patients who were joined to this one, as this one says: at this host, or another one."""
    return _named(await _patient(reads, dossier), REPLACES)


async def sources(reads: Reader, dossier: int) -> list[int]:
    """Numbers of the dossiers that were joined to this one, and say so."""
    vault, row = reads.vault, await _patient(reads, dossier)
    keys = [vault.locate("Patient", one) for one in _named(row, REPLACES)]
    there = await reads.load_many(keys) if keys else {}
    ends = [(key, into) for key in keys if (into := ended_in(there.get(key))) is not None]
    return [dossier_in(key) for key, into in ends if vault.locate("Patient", into) == row.key]


async def every(reads: Reader, dossier: int) -> list[int]:
    """Numbers of a dossier and of all that were joined to it."""
    return [dossier, *[each for one in await sources(reads, dossier) for each in await every(reads, one)]]


async def relatives(reads: Reader, dossier: int) -> list[int]:
    """Numbers of the dossiers that rows of this one may be copies from: those that were joined to it, then those that it is, or once was,
    joined to, which gave back what was told of it when they were parted.
    """
    found = await sources(reads, dossier)
    for one in await _ever_named(reads, dossier, REPLACED_BY):
        if dossier in await _ever_named(reads, one, REPLACES) or await joining.begun(reads, dossier, one):
            found.append(one)
    return list(dict.fromkeys(found))


async def _ever_named(reads: Reader, dossier: int, kind: str) -> list[int]:
    """Numbers of the dossiers that any version of its Patient names by links of a kind."""
    row, place, mark = await _patient(reads, dossier), None, f'"{kind}"'.encode()
    found: list[int] = []
    while row is not None:
        versions = await reads.history(key=row.key, before=place, limit=AT_ONCE)
        for one in versions:
            named = _named(one, kind) if one.body is not None and mark in one.body else ()
            found += [reads.vault.dossier_of_patient(each) for each in named]
        if len(versions) < AT_ONCE:
            break
        place = versions[-1].history_place
    return list(dict.fromkeys(found))


async def original(
    reads: Reader, key: bytes, known: dict[int, list[int]] | None = None, passed: frozenset[int] = frozenset()
) -> bytes | None:
    """Key of the row of which the row of this key is a copy, the first one where it is a copy of a copy; None when it is none.

    known: relatives that were found already, by dossier. passed: dossiers on the way here.
    """
    known, own = {} if known is None else known, dossier_in(key)
    if own not in known:
        known[own] = await relatives(reads, own)
    for number in known[own]:
        there = dossier_row(number)[:8] + key[8:]
        if number not in passed | {own} and await reads.load(there) is not None:
            return await original(reads, there, known, passed | {own}) or there
    return None
