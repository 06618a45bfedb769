"""One history told on purpose: a document hidden from the asker, and all around it that could betray it.

access-rules 6.
"""

from typing import NamedTuple

from tests.access import world as making
from tests.worlds import people
from tests.worlds.histories import Deed, Document, Play, Story


class Case(NamedTuple):
    """A way of hiding. label: of visibility. asker: from whom it hides. author: who deposits. minor: whose dossier it is."""

    label: str
    asker: str
    author: str
    minor: bool

    def __str__(self) -> str:
        return f"{self.label} from {self.asker}"


CASES = (
    Case("MASQUE_PS", "team", "hospital", False),
    Case("INVISIBLE_PATIENT", "holder", "hospital", False),
    Case("INVISIBLE_REPRESENTANTS_LEGAUX", "parent", "secret", True),
)


class Betrayal(Play):
    """`hidden` is a document of two versions that the asker never sees; visible documents and lists name it, others read it."""

    hidden: Document
    shown: Document

    def __init__(self, host, cast, case: Case, name: str) -> None:
        super().__init__(host, cast, Story(case.minor, [], case.asker), name)
        self.case = case

    async def run(self) -> None:
        await self.open()
        case, cast = self.case, self.cast
        before = await self.deposit(cast["consented"], people.REPORT, (), 1, transaction=True)
        labels = () if case.label == "MASQUE_PS" else (case.label,) if case.label == "INVISIBLE_PATIENT" else ()
        first = await self.deposit(cast[case.author], people.REPORT, labels, 2, transaction=True)
        if case.label == "MASQUE_PS":
            value = {"coding": [{"system": people.VISIBILITY, "code": case.label}]}
            mask = [{"op": "add", "path": "/securityLabel/-", "value": value}]
            await self.act("holder", "label", self.json_patch("holder", first.address, mask), lineage=first.lineage)
            rule = {"data": [{"meaning": "instance", "reference": {"reference": first.address}}]}
            await self.consent("holder", making.consent(_Of(self.patient), "mask", **rule), "rule", lineage=first.lineage)
        self.hidden = await self.deposit(cast[case.author], people.REPORT, labels, 3, transaction=True, replaces=first)
        # An odd number refers by relatesTo, an even one by context.related.
        self.shown = await self.deposit(cast["traitant"], people.REPORT, (), 5, beside=self.hidden)
        await self.deposit(cast["traitant"], people.REPORT, (), 6, transaction=True, beside=self.hidden, listing=(self.hidden, before))
        for how in range(5):
            await self._read(Deed("read", "traitant", 2, how), how)
        for path in (
            f"DocumentReference?patient={self.patient}",
            f"AuditEvent?patient={self.patient}",
            f"Patient/{self.patient}/$everything",
        ):
            await self.act("traitant", "search", self.call("traitant", "GET", path))
        await self.act(self.asker.name, "read", self.call(self.asker.name, "GET", before.address))
        self.seen |= await self.visible()


class _Of:
    def __init__(self, id: str) -> None:
        self.id, self.path = id, f"Patient/{id}"
