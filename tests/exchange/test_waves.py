"""Units that are prepared in step with one another: in their order, and none beside what it speaks of."""

import pytest

from fhir_dmp.exchange.units import RESOURCE, TRANSACTION, Unit
from fhir_dmp.exchange.waves import WAVE, WAVE_BYTES, waves


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
