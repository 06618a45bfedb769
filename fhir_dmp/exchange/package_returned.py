"""What was done here with a dossier while another host had it, when it comes back.

A death that was told here holds, and what was parted from it here stays so.

access-rules: the holder deceased, a dossier is refused; ig/decisions: host to host, joined dossiers

The Patient of the package is that of the host in charge, which was told of neither. What came of another dossier is out of sight in the
transaction that shows the rest, goes back where it belongs with what became of it there, and is then taken away.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.fhir import json
from fhir_dmp.interactions import closing, merged, merging, policy, rejoining, unmerging
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.merged_rows import versions_of
from fhir_dmp.interactions.merging import Pair
from fhir_dmp.interactions.unmerging import Leaving
from fhir_dmp.store import joining
from fhir_dmp.store.rows import Change, NewRow, Row

DEATH = ("deceasedDateTime", "_deceasedDateTime", "deceasedBoolean", "_deceasedBoolean")


def is_dead(patient: Mapping[str, Any]) -> bool:
    """Whether a Patient says that he died."""
    return bool(patient.get("deceasedDateTime")) or patient.get("deceasedBoolean") is True


async def changes(inside: Context, here: Row, sent: NewRow | None, parted: Sequence[Pair]) -> list[tuple[Change, str]]:
    """New versions that say what was told here beside what came; [] where nothing was. here: the Patient as he was before.

    sent: as he comes, where something that was told here is later than that.
    """
    row = await inside.reads.load(here.key)
    before, now = json.parse_exact(here.body), json.parse_exact(row.body)
    value = now if sent is None else json.parse_exact(sent.body)
    died = is_dead(before) and not is_dead(value)
    if died:
        rest = {name: one for name, one in value.items() if name not in DEATH}
        value = {**rest, **{name: before[name] for name in DEATH if name in before}, "active": False}
    gone = {pair.source for pair in parted}
    left = [one for one in value.get("link") or () if gone.isdisjoint(merged.linked({"link": [one]}, merged.REPLACES))]
    value = {name: one for name, one in {**value, "link": left}.items() if name != "link" or left}
    if {**value, "meta": None} == {**now, "meta": None}:
        return []
    ended = await closing.opening_switched(inside, row.dossier, False) if died else []
    return [merging.changed_patient(inside, row, value["id"], value), *ended]


async def read_only(inside: Context, number: int, patient: str) -> list[tuple[Change, str]]:
    """New versions by which a dossier that was closed when it was given is again what it was there: its holder's, who lost his rights."""
    return await closing.changes_of(inside, number, patient, Status.RIGHTS_LOST, "")


class Apart(NamedTuple):
    """What came along of a dossier that was parted from this one."""

    pair: Pair
    leaving: Leaving


async def pairs(context: Context, number: int) -> list[Pair]:
    """This dossier and each that was taken out of it here, and is not one with it again."""
    found = [await rejoining.apart(context, source, number) for source in await joining.parted_from(context.store, number)]
    return [pair for pair in found if pair is not None]


async def rights(context: Context, parted: Sequence[Pair]) -> set[bytes]:
    """Keys here of the rights and people of those: they stay where they are, and nobody is let in by them here."""
    found = [(pair, one.row) for pair in parted for one in await versions_of(context, pair.ids.source)]
    return {pair.ids.key(row.key) for pair, row in found if row.type in policy.SOURCES}


async def hidden(inside: Context, parted: Sequence[Pair]) -> list[Apart]:
    """Put what is of them out of sight."""
    return [Apart(pair, await unmerging.hidden(inside, pair)) for pair in parted]


async def gone(context: Context, apart: Sequence[Apart]) -> None:
    """Give back what became of it, and take it away."""
    for one in apart:
        if one.leaving.state:
            await unmerging.given_back(context, one.pair, one.leaving)
            await rejoining.dropped(context, one.pair, one.leaving.keys)
