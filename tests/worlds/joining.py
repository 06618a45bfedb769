"""Two dossiers of one person that become one within a history, and are parted again.

contract 5, Patient/[id]/$merge and $unmerge. Each has things that are hidden from some; what goes on has those of both.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fhir_dmp.interactions.merged import Renaming
from tests.access import world as making
from tests.worlds.deeds import Deed, drawn
from tests.worlds.hosting import Call
from tests.worlds.opening import Dossier

if TYPE_CHECKING:
    from tests.worlds.asking import Asked
    from tests.worlds.histories import Play

ADMIN = "admin"

# Which of the two ends: the second, or the first.
merge = drawn("merge", (ADMIN,), 2)
unmerge = drawn("unmerge", (ADMIN,), 1)


class Joining:
    """Deeds of a Play."""

    async def _merge(self: "Play", deed: Deed, number: int) -> None:
        if len(self.dossiers) > 1:
            ends, goes_on = self.dossiers[:: 1 if deed.how else -1]
            if (await self._joined(ends, goes_on, "$merge")) and ends.into is None:
                ends.into = goes_on
                self._moved(ends, self._renaming(ends, goes_on))

    async def _unmerge(self: "Play", deed: Deed, number: int) -> None:
        for ended in self.dossiers:
            goes_on = ended.into
            if goes_on is None:
                continue
            # What was done in the dossier that went on stays in its journal, so that what he could have seen there is told to him; and
            # what was withdrawn there, which ig/access-map.md has among the gaps.
            await self._looks()
            parted = {one.lineage for one in self.documents if one.home is ended}
            self.seen |= {step.lineage for step in self.steps if step.kind == "status" and step.dossier is goes_on} & parted
            if await self._joined(ended, goes_on, "$unmerge"):
                ended.into = None
                self._moved(ended, self._renaming(ended, goes_on).back)

    async def _joined(self: "Play", ends: Dossier, goes_on: Dossier, operation: str) -> bool:
        body = making.parameters(**{"source-patient": {"reference": ends.path}})
        reply = await self.act(ADMIN, "join", self.call(ADMIN, "POST", f"{goes_on.path}/{operation}", body))
        return reply.status == 200

    def _renaming(self: "Play", ends: Dossier, goes_on: Dossier) -> Renaming:
        vault = self.host.services.store.vault
        return Renaming(vault, *(vault.dossier_of_patient(one.id) for one in (ends, goes_on)), (ends.id, goes_on.id))

    def _moved(self: "Play", home: Dossier, ids: Renaming) -> None:
        """What belongs to a dossier is found under other ids from now on."""
        for one in self.documents:
            if one.home is home:
                one.former = one.id
                one.id, one.binary, one.listed = (ids.get(each) or each if each else "" for each in (one.id, one.binary, one.listed))


def questions(asked: "Asked", play: "Play") -> Iterator[Call]:
    """About what was joined, by the names of both; and attempts to join."""
    for one in play.documents:
        if one.former:
            address = f"DocumentReference/{one.former}"
            for path in (address, f"{address}/_history", f"{address}/$verify", f"{address}/$meta"):
                yield asked.get(path)
            for dossier in play.dossiers:
                yield asked.get(f"DocumentReference?patient={dossier.id}&_id={one.former}")
                yield asked.get(f"AuditEvent?patient={dossier.id}&entity={address}")
    if len(play.dossiers) > 1:
        for one, other in (play.dossiers, play.dossiers[::-1]):
            yield asked.get(f"Patient?_id={one.id}&link={other.path}")
            yield asked.get(f"Patient?_id={one.id}&_include=Patient:link")
            yield asked.get(f"AuditEvent?patient={one.id}&entity={other.path}")
            yield asked.get(f"DocumentReference?patient={one.id},{other.id}")
            yield asked.get(f"DocumentReference?patient.identifier={making.INS}|{other.ins}&patient={one.id}")
            for operation in ("$merge", "$unmerge"):
                body = making.parameters(**{"source-patient": {"reference": other.path}})
                yield asked.send("POST", f"{one.path}/{operation}", body)
