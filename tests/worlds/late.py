"""Histories told on purpose: a document that was hidden from the asker and then shown, and the same deposited only then; masks by rule
that hid nothing, and none.

access-rules 6: when a document becomes visible to a class, that class sees it as a late deposit.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from tests.access import world as making
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


# A mask by rule that hides nothing: in how many days its period begins and ends, each time something is said of it; None takes it back.
IDLE = {
    "over when it was said": [(-2, -1)],
    "over when it was said, and taken back": [(-2, -1), None],
    "over when it was said, and moved ahead": [(-2, -1), (20, 30)],
    "taken back before it began": [(10, 20), None],
    "moved into the past before it began": [(10, 20), (-2, -1), None],
}


class Idle(Play):
    """Documents that the asker sees all the time, and a mask by rule of them that never holds; `unmasked` tells the same without it."""

    def __init__(self, host, cast, way: str, name: str) -> None:
        super().__init__(host, cast, Story(False, [], "consented", True), name)
        self.way = way

    async def run(self) -> None:
        await self.open()
        for number, by in enumerate(("hospital", "consented", "traitant"), 1):
            await self.deposit(self.cast[by], people.REPORT, (), number, transaction=number < 3)
        self.now += 4 * DAY
        about, made = {"code": [{"coding": [{"system": making.LOINC, "code": people.REPORT}]}]}, None
        for period in IDLE[self.way]:
            if period is not None:
                start, end = (datetime.fromtimestamp((self.now + each * DAY) / 1000, UTC).isoformat(timespec="seconds") for each in period)
                value = making.consent(self.here, "mask", period={"start": start, "end": end}, **about)
            else:
                value = {**made, "status": "inactive"}
            method, path = ("PUT", f"Consent/{made['id']}") if made is not None else ("POST", "Consent")
            call = self.call("holder", method, path, {**value, "id": made["id"]} if made is not None else value)
            reply = await self.act("holder", "rule", call)
            assert reply.status in (200, 201), reply
            made = reply.value()
            self.now += DAY
        self.seen |= await self.visible()
        assert len(self.seen) == 3

    @property
    def before(self) -> str:
        """An instant between the deposits and what was said of the mask."""
        first = next(step.at_ms for step in self.steps if step.kind == "rule")
        return datetime.fromtimestamp(first / 1000 - 3600, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def unmasked(self) -> list[Step]:
        """Every step but what was said of the mask."""
        return [step for step in self.steps if step.kind != "rule"]
