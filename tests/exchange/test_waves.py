"""Units that are prepared in step with one another: in their order, and none beside what it speaks of."""

import asyncio

import pytest

from fhir_dmp.exchange.units import RESOURCE, TRANSACTION, Unit
from fhir_dmp.exchange.waves import WAVE, WAVE_BYTES, in_turns, waves
from fhir_dmp.interactions.pace import in_step


def unit(name: str, *, refers: str = "", work: str = RESOURCE, body: bytes = b"", **tree: object) -> Unit:
    made = Unit(name, work, {"resourceType": name.partition("/")[0], "refers": refers, **tree}, body, keys=(name.encode(),))
    return made


def referred(one: Unit) -> set[bytes]:
    return {name.encode() for name in one.tree["refers"].split()}


def told(units: list[Unit], *, plain: bool = False) -> list[list[str]]:
    return [[one.place for one in wave] for wave in waves(units, plain, referred)]


def test_who_speaks_of_one_in_the_wave_waits_for_it():
    stay, other = unit("Encounter/1"), unit("Encounter/2")
    seen, noted = unit("Observation/1", refers="Encounter/1 Encounter/9"), unit("Observation/2", refers="Encounter/9")
    assert told([stay, other, seen, noted]) == [["Encounter/1", "Encounter/2"], ["Observation/1", "Observation/2"]]


def test_two_versions_of_one_thing_are_never_in_step():
    assert told([unit("Observation/1"), unit("Observation/1")]) == [["Observation/1"], ["Observation/1"]]
    assert told([unit("Observation/1"), unit("Observation/1")], plain=True) == [["Observation/1"], ["Observation/1"]]


def test_a_content_has_its_place_with_one_document_first():
    first, second = unit("DocumentReference/1", refers="Binary/1"), unit("DocumentReference/2", refers="Binary/1")
    assert told([first, second]) == [["DocumentReference/1"], ["DocumentReference/2"]]


@pytest.mark.parametrize(
    "alone",
    [
        unit("Patient/1"),
        unit("Binary/1"),
        unit("DocumentReference/1", relatesTo=[]),
        unit("Bundle/1", work=TRANSACTION),
        unit("Observation/3", body=bytes(WAVE_BYTES + 1)),
    ],
    ids=lambda one: one.place,
)
def test_what_may_have_others_stored_first_comes_alone(alone):
    around = [unit("Observation/1"), alone, unit("Observation/2")]
    assert told(around) == [["Observation/1"], [alone.place], ["Observation/2"]]


def test_a_sandbox_takes_people_and_contents_in_step():
    several = [unit("Patient/1"), unit("Binary/1"), unit("Observation/1", refers="Patient/1")]
    assert told(several, plain=True) == [["Patient/1", "Binary/1", "Observation/1"]]


def test_nothing_is_lost_or_moved():
    many = [unit(f"Observation/{number}", refers=f"Observation/{number // 5}") for number in range(100)]
    listed = told(many)
    assert [place for wave in listed for place in wave] == [one.place for one in many]
    assert max(map(len, listed)) == WAVE


class Noted:
    """What is done, in its order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def work(self, name: str, *steps: object) -> None:
        for number, step in enumerate(steps):
            self.done.append(f"{name}{number}")
            await (in_step() if step is None else step)


async def test_each_goes_one_step_before_any_goes_the_next():
    noted = Noted()
    await in_turns(noted.work(name, *[None] * steps) for name, steps in (("a", 3), ("b", 1), ("c", 2)))
    assert noted.done == ["a0", "b0", "c0", "a1", "c1", "a2"]


async def test_what_one_waits_for_comes_before_the_next_has_its_turn():
    noted, answer = Noted(), asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, answer.set_result, None)
    await in_turns([noted.work("a", answer, None), noted.work("b", None)])
    assert noted.done == ["a0", "a1", "b0"]


async def test_a_fault_reaches_the_work_that_waits_and_ends_the_others():
    ended: list[str] = []

    async def kept() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("told")
            raise

    async def beside() -> None:
        try:
            await in_step()
            await in_step()
        finally:
            ended.append("closed")

    task = asyncio.create_task(_all([beside(), kept()]))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["told", "closed"]


async def _all(works: list) -> None:
    await in_turns(works)


async def test_others_have_their_turn_meanwhile():
    noted = Noted()
    await asyncio.gather(_all([noted.work("a", None, None)]), _all([noted.work("b", None, None)]))
    assert noted.done == ["a0", "b0", "a1", "b1"]
