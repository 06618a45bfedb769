"""One history told on purpose: a document that was hidden from the asker and then shown, and the same deposited only then.

access-rules 6: when a document becomes visible to a class, that class sees it as a late deposit.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from tests.worlds import people
from tests.worlds.histories import DAY, Play, Step, Story


class Case(NamedTuple):
    """A way of hiding and showing. asker: from whom it hides. at_deposit: whether the depositor hides it."""

    label: str
    asker: str
    at_deposit: bool

    def __str__(self) -> str:
        return f"{self.label} from {self.asker}, {'at the deposit' if self.at_deposit else 'afterwards'}"


CASES = (
    Case("MASQUE_PS", "team", False),
    Case("MASQUE_PS", "team", True),
    Case("INVISIBLE_PATIENT", "holder", True),
)


class Late(Play):
    """`deposited_late` tells the same with the document deposited when it was shown: what the second world is given."""

    def __init__(self, host, cast, case: Case, name: str) -> None:
        super().__init__(host, cast, Story(False, [], case.asker, True), name)
        self.case = case

    async def run(self) -> None:
        await self.open()
        case, cast = self.case, self.cast
        await self.deposit(cast["consented"], people.REPORT, (), 1, transaction=True)
        labels = (case.label,) if case.at_deposit else ()
        hidden = await self.deposit(cast["hospital"], people.REPORT, labels, 2, transaction=True)
        self.deposited = self.steps[-1]
        value = {"coding": [{"system": people.VISIBILITY, "code": case.label}]}
        if not case.at_deposit:
            added = [{"op": "add", "path": "/securityLabel/-", "value": value}]
            reply = await self.act("holder", "label", self.json_patch("holder", hidden.address, added), lineage=hidden.lineage)
            assert reply.status == 200, reply
        assert hidden.lineage not in await self.visible()
        # Newer than it but to those to whom it comes late.
        await self.deposit(cast["consented"], people.REPORT, (), 4)
        self.now += DAY
        by = "holder" if case.label == "MASQUE_PS" else "traitant"
        path = f"DocumentReference.securityLabel.where(coding.code = '{case.label}')"
        parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
        operation = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        reply = await self.act(by, "label", self.call(by, "PATCH", hidden.address, operation), lineage=hidden.lineage)
        assert reply.status == 200, reply
        self.seen |= await self.visible()
        assert hidden.lineage in self.seen
        # What comes after it is newer than it to everybody.
        await self.deposit(cast["consented"], people.REPORT, (), 3)

    @property
    def shown(self) -> Step:
        """The act that showed it."""
        return next(step for step in reversed(self.steps) if step.kind == "label")

    @property
    def before(self) -> str:
        """An instant between the deposit and that act."""
        return datetime.fromtimestamp(self.shown.at_ms / 1000 - 3600, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def deposited_late(self) -> list[Step]:
        """Every step but the hiding, the deposit where the document was shown; hidden by its depositor it is shown in that instant."""
        late = [replace(self.deposited, at_ms=self.shown.at_ms), *([self.shown] if self.case.at_deposit else [])]
        kept = [step for step in self.steps if step is not self.deposited and step.kind != "label"]
        place = next(number for number, step in enumerate(kept) if step.at_ms > self.shown.at_ms)
        return [*kept[:place], *late, *kept[place:]]
