"""Scores of two Patients, as a table. https://hl7.org/fhir/R4/patient-operation-match.html"""

import pytest

from fhir_dmp.dmp.matching import CERTAIN, NOT, POSSIBLE, PROBABLE, compare, ranked

INS = "urn:oid:1.2.250.1.213.1.4.10"
NIA = "urn:oid:1.2.250.1.213.1.4.9"
IPP = "urn:oid:1.2.3.4"
ONE, TWO = "279035121518989", "184010212345678"


def person(family="Lefèvre", given="Zoé", born="1979-03-15", gender="female", **identifiers):
    made = {"name": [{"family": family, "given": [given]}], "birthDate": born, "gender": gender}
    made = {name: value for name, value in made.items() if value}
    listed = [{"system": {"ins": INS, "nia": NIA, "ipp": IPP}[name], "value": value} for name, value in identifiers.items()]
    return {**made, "identifier": listed} if listed else made


@pytest.mark.parametrize(
    ("known", "score", "grade", "contradicted"),
    [
        (person(), 0.9, PROBABLE, ()),
        (person("LEFEVRE", "ZOE"), 0.9, PROBABLE, ()),
        (person("Lefèvre-Martin"), 0.79, PROBABLE, ()),
        (person(given="Zoélie"), 0.81, PROBABLE, ()),
        (person(born="1979"), 0.74, POSSIBLE, ()),
        (person(born="1979-15-03"), 0.71, POSSIBLE, ()),
        (person(gender="unknown"), 0.76, PROBABLE, ()),
        (person(given="Paul"), 0.72, POSSIBLE, ("given",)),
        (person(gender="male"), 0.76, POSSIBLE, ("gender",)),
        (person(born="1984-01-02"), 0.59, POSSIBLE, ("birthDate",)),
        (person("Durand", "Paul"), 0.45, POSSIBLE, ("family", "given")),
        (person("Durand", "Paul", "1984-01-02"), 0.13, NOT, ("birthDate", "family", "given")),
        ({}, 0, NOT, ()),
    ],
)
def test_traits(known, score, grade, contradicted):
    match = compare(person(), known)
    assert (match.grade, match.contradicted) == (grade, contradicted)
    assert match.score == pytest.approx(score, abs=0.011)


@pytest.mark.parametrize(
    ("asked", "known", "score", "grade"),
    [
        (person(ins=ONE), person(ins=ONE), 1, CERTAIN),
        ({"identifier": person(ins=ONE)["identifier"]}, person(ins=ONE), 1, CERTAIN),
        (person(ins=ONE), person("Durand", ins=ONE), 0.8, PROBABLE),
        (person(ins=ONE), person("Durand", "Paul", ins=ONE), 0.5, POSSIBLE),
        (person(ins=ONE), person(ins=TWO), 0, NOT),
        (person(ins=ONE), person(nia=TWO), 0.9, PROBABLE),
        (person(ins=ONE), person(), 0.9, PROBABLE),
        (person(ipp="7"), person(ipp="7"), 0.98, CERTAIN),
        (person(ipp="7"), {"identifier": person(ipp="7")["identifier"]}, 0.95, PROBABLE),
        (person(ipp="7"), person("Durand", ipp="7"), 0.75, PROBABLE),
        (person(ipp="7"), person("Durand", "Paul", ipp="7"), 0.55, POSSIBLE),
        (person(ipp="7", ins=ONE), person(ipp="7", ins=TWO), 0, NOT),
    ],
)
def test_identifiers(asked, known, score, grade):
    match = compare(asked, known)
    assert (match.score, match.grade) == (score, grade)
    back = compare(known, asked)
    assert (back.score, back.grade) == (score, grade)


def test_an_old_number_is_no_number():
    old = {**person(), "identifier": [{"system": INS, "value": TWO, "use": "old"}]}
    assert compare(person(ins=TWO), old).grade == PROBABLE


def test_two_certain_matches_are_none_and_others_are_left_out():
    found = ranked(person(ins=ONE), [person("Durand", "Paul", "1984-01-02", "male"), person(ins=ONE), person(ins=ONE), person(ins=TWO)])
    assert [(each.place, each.match.grade) for each in found] == [(1, PROBABLE), (2, PROBABLE)]


def test_the_order_is_by_score_then_as_given():
    found = ranked(person(), [person(given="Zoélie"), person(), person("LEFEVRE")])
    assert [each.place for each in found] == [1, 2, 0]
