"""Patient/$match. https://hl7.org/fhir/R4/patient-operation-match.html"""

import os

import pytest

from tests.interactions.making import INS, issues, refused, unique

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"


def ins():
    """A number nobody else has."""
    return "1" + str(int.from_bytes(os.urandom(6)) % 10**4).zfill(4) + str(int.from_bytes(os.urandom(6)) % 10**10).zfill(10)


def person(family, given, born="1979-03-15", gender="female", number=None, **fields):
    identifier = {"identifier": [{"system": INS, "value": number}]} if number else {}
    return {
        "resourceType": "Patient",
        "name": [{"family": family, "given": [given]}],
        "birthDate": born,
        "gender": gender,
        **identifier,
        **fields,
    }


@pytest.fixture(scope="module")
def known(fhir):
    """People, some alike. The family names are of this test alone."""
    family = unique("Ménard").replace("-", "")
    made = {"family": family, "ins": ins()}
    made["she"] = fhir.new(person(family, "Zoé", number=made["ins"]))
    made["twin"] = fhir.new(person(family, "Zélie", number=ins()))
    made["brother"] = fhir.new(person(family, "Paul", "1984-01-02", "male"))
    made["double"] = fhir.new(person(f"{family}-Petit", "Zoé"))
    return made


def matched(fhir, resource, **parameters):
    """(path, score, grade) of each match, in order; and the words of an outcome."""
    values = {bool: "valueBoolean", int: "valueInteger"}
    given = [{"name": "resource", "resource": resource}] + [{"name": n, values[type(v)]: v} for n, v in parameters.items()]
    answer = fhir.post("Patient/$match", {"resourceType": "Parameters", "parameter": given})
    assert answer.status_code == 200, answer.text
    found, words = [], []
    for entry in answer.json().get("entry", []):
        if entry["search"]["mode"] == "outcome":
            words += [issue["diagnostics"] for issue in entry["resource"]["issue"]]
            continue
        (extension,) = entry["search"]["extension"]
        assert extension["url"] == GRADE and 0 <= entry["search"]["score"] <= 1
        found.append((entry["fullUrl"].split("/fhir/")[1], entry["search"]["score"], extension["valueCode"]))
    assert answer.json()["type"] == "searchset" and answer.json()["total"] == len(found)
    return found, words


def test_the_ins_decides(fhir, known):
    found, _ = matched(fhir, person(known["family"], "Zoé", number=known["ins"]))
    assert found[0] == (known["she"].path, 1, "certain")
    # Who has another number of the same system is somebody else, however alike.
    assert known["twin"].path not in [path for path, _, _ in found]


def test_the_ins_alone_is_enough_and_a_number_nobody_has_finds_nobody(fhir, known):
    alone = {"resourceType": "Patient", "identifier": [{"system": INS, "value": known["ins"]}]}
    assert matched(fhir, alone) == ([(known["she"].path, 1, "certain")], [])
    assert matched(fhir, {**alone, "identifier": [{"system": INS, "value": ins()}]}) == ([], [])


def test_traits_suggest_and_are_never_certain(fhir, known):
    found, _ = matched(fhir, person(known["family"].upper().replace("É", "E"), "ZOE"))
    assert found[0] == (known["she"].path, 0.9, "probable")
    assert dict((path, grade) for path, _, grade in found)[known["double"].path] == "probable"
    assert [score for _, score, _ in found] == sorted((score for _, score, _ in found), reverse=True)


def test_only_certain_matches(fhir, known):
    found, _ = matched(fhir, person(known["family"], "Zoé", number=known["ins"]), onlyCertainMatches=True)
    assert found == [(known["she"].path, 1, "certain")]
    found, words = matched(fhir, person(known["family"], "Zoé"), onlyCertainMatches=True)
    assert found == [] and words == ["there are matches, none of them certain"]


def test_of_two_with_one_number_nobody_is_picked(fhir):
    number, family = ins(), unique("Deux").replace("-", "")
    for _ in range(2):
        fhir.new(person(family, "Zoé", number=number))
    found, _ = matched(fhir, person(family, "Zoé", number=number))
    assert [(score, grade) for _, score, grade in found if grade != "possible"] == [(0.9, "probable")] * 2
    assert matched(fhir, person(family, "Zoé", number=number), onlyCertainMatches=True)[0] == []


def test_count_says_what_it_leaves_out(fhir, known):
    found, words = matched(fhir, person(known["family"], "Zoé"), count=1)
    assert len(found) == 1 and "less likely matches are left out" in words[0]


def test_the_patient_may_be_the_body_itself(fhir, known):
    answer = fhir.post("Patient/$match", person(known["family"], "Zoé", number=known["ins"]))
    assert answer.json()["entry"][0]["resource"]["id"] == known["she"].id


@pytest.mark.parametrize(
    ("resource", "expected", "words"),
    [
        ({"resourceType": "Patient", "gender": "female"}, (400, "invalid"), "too little to match"),
        ({"resourceType": "Patient", "name": [{"family": "Seul"}]}, (400, "invalid"), "too little to match"),
        ({"resourceType": "Practitioner"}, (400, "invalid"), "is a Patient"),
        ({"resourceType": "Patient", "birthDate": "never", "name": [{"family": "x"}]}, (400, "invalid"), "never"),
        ({"resourceType": "Parameters"}, (400, "required"), "`resource` is required"),
        ({"resourceType": "Patient", "name": "x", "identifier": "y", "birthDate": 3}, (400, "invalid"), "too little to match"),
    ],
)
def test_too_little_is_refused(fhir, resource, expected, words):
    answer = fhir.post("Patient/$match", resource)
    assert refused(answer) == expected
    assert words in issues(answer)[0]["diagnostics"]


def test_it_is_asked_by_post(fhir):
    answer = fhir.get("Patient/$match")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert refused(fhir.send("POST", "Patient/$match")) == (400, "required")
