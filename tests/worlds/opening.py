"""Dossiers that are opened within a history: a second one beside the first, and attempts to open what is open, or as a part of another.

contract 5, Patient/$open; access-rules 4
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies

from tests.access import world as making
from tests.worlds import people
from tests.worlds.deeds import Deed, drawn
from tests.worlds.hosting import Call

if TYPE_CHECKING:
    from tests.worlds.asking import Asked
    from tests.worlds.histories import Play

# Who opens the second dossier: a professional who becomes its médecin traitant, an establishment, the holder himself.
TRAITANT_THERE, HOLDER_THERE = "elsewhere", "other"
OPENERS = (TRAITANT_THERE, "structure", HOLDER_THERE)
TRYING = ("holder", "parent", "traitant", "unrelated", "structure", "mandataire", "secret", HOLDER_THERE)
ATTEMPTS = 5

second = drawn("second", ("time",), len(OPENERS))
attempt = drawn("attempt", TRYING, ATTEMPTS, strategies.booleans())


@dataclass(eq=False)
class Dossier:
    """One that a history opened. opener: by name, as the cast has him. into: the one that it was joined to, None while it is one itself."""

    id: str
    ins: str
    opener: str
    into: "Dossier | None" = None

    @property
    def path(self) -> str:
        return f"Patient/{self.id}"

    @property
    def living(self) -> "Dossier":
        """The one that goes on for it."""
        return self.into.living if self.into is not None else self


class Opening:
    """Deeds of a Play."""

    async def _second(self: "Play", deed: Deed, number: int) -> None:
        if len(self.dossiers) > 1:
            return
        opener, ins = OPENERS[deed.how], self.number(3)
        self.cast[HOLDER_THERE] = people.Person(
            HOLDER_THERE, "patient", people.token(self.host, "patient", sub="other", ins=f"{making.INS}|{ins}")
        )
        value = making.patient(ins, generalPractitioner=[self.cast[TRAITANT_THERE].reference])
        given = making.parameters(patient=value, evidence="online" if opener == HOLDER_THERE else "oral")
        call = self.call(opener, "POST", "Patient/$open", given)
        # Who asks is looked for in no dossier before there is one.
        answer = await self.act(opener, "open", call)
        assert answer.status == 201, answer
        dossier = Dossier(answer.value()["id"], ins, opener)
        self.dossiers.append(dossier)
        self.steps[-1].dossier = dossier

    async def _attempt(self: "Play", deed: Deed, number: int) -> None:
        if deed.by in self.cast:
            value = _attempted(self.here, self.number(4 + number))[deed.how]
            await self.act(deed.by, "attempt", self.call(deed.by, "POST", "Patient/$open", value))


def _attempted(dossier: Dossier, ins: str) -> list[dict]:
    """What nobody opens: what has the INS of a dossier that there is, and what says it is a part of one, or was once that person."""
    own = {"use": "official", "system": making.INS, "value": ins}
    values = (
        making.patient(dossier.ins),
        making.patient(ins, link=[{"other": {"reference": dossier.path}, "type": "replaces"}]),
        making.patient(ins, link=[{"other": {"reference": dossier.path}, "type": "seealso"}]),
        making.patient(ins, identifier=[own, {"use": "old", "system": making.INS, "value": dossier.ins}]),
        making.patient(ins, identifier=[own, {"use": "official", "system": making.INS, "value": dossier.ins}]),
    )
    return [making.parameters(patient=value, evidence="oral") for value in values]


def questions(asked: "Asked", play: "Play") -> Iterator[Call]:
    """Whether there is a dossier: the existence test in all its spellings, and attempts to open one anew."""
    for dossier in play.dossiers:
        for criteria in ("", "&_summary=count", "&_elements=active", "&_total=none", "&_id=x", "&_revinclude=*"):
            yield asked.get(f"Patient?identifier={making.INS}|{dossier.ins}{criteria}")
        yield asked.get(f"Patient?identifier={dossier.ins}")
        yield asked.get(f"DocumentReference?patient:identifier={making.INS}|{dossier.ins}")
        yield asked.form("Patient/_search", f"identifier={making.INS}|{dossier.ins}")
        for value in _attempted(dossier, play.number(9)):
            yield asked.send("POST", "Patient/$open", value)
    yield asked.get(f"Patient?identifier={making.INS}|{play.number(9)}")
