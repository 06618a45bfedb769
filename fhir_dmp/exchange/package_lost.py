"""A dossier that a restore of an older backup lost, brought again: what the journal of acts tells of it holds before it is shown.

See fhir_dmp/store/acts.py; ig/decisions: host to host. What was hidden is brought as hidden as it was. Rights that came after the package
are sealed under the key that was lost, and nobody can read whom they keep out: the dossier comes back closed, and its holder opens it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import closing, policy, writing
from fhir_dmp.interactions.context import Context
from fhir_dmp.store.acts import is_later, stamp
from fhir_dmp.store.takeover import Taken
from fhir_dmp.store.vault import is_dossier_row

Told = Mapping[bytes, Mapping[str, Any]]


def hidden(taken: Sequence[Taken], current: Sequence[bool], told: Told) -> list[Taken]:
    """What a package brings, with what the rules judge it by since. current: of each whether it is the version that is read."""
    return [_hidden(one, told.get(one.row.key)) if now else one for one, now in zip(taken, current, strict=True)]


def _hidden(one: Taken, told: Mapping[str, Any] | None) -> Taken:
    here = {"v": one.row.version, "l": one.row.updated_ms, "a": one.acted_ms}
    if told is None or not is_later(told, here):
        return one
    return Taken(one.row._replace(visible=told["y"] if "y" in told else told["z"]), max(stamp(told)))


def rights_since(taken: Sequence[Taken], told: Told) -> bool:
    """Whether acts on rights are told that a package does not hold. 409 when the dossier was destroyed."""
    if any(is_dossier_row(key) and row["erased"] for key, row in told.items()):
        raise FhirError("conflict", "this dossier was destroyed here")
    brought = {(one.row.key, one.row.version) for one in taken}
    return any(row.get("t") in policy.SOURCES and (key, row["v"]) not in brought for key, row in told.items())


async def shut(inside: Context, number: int, patient: str) -> None:
    """Close a dossier that was brought without rights that it had, in the transaction that shows it."""
    changes = await closing.changes_of(inside, number, patient, Status.CLOSED, "")
    await writing.write(inside, changes, kind="operation", asked=f"$import?source={inside.actor.host}")
    await policy.recompute(inside, number, closed_ms=inside.now_ms(), at_ms=inside.now_ms())
