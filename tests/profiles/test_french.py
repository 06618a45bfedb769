"""Every fault that R4 itself finds has its words in French. https://hl7.org/fhir/R4/validation.html"""

import copy
import random

import pytest

from fhir_dmp.errors import Issue
from fhir_dmp.fhir.french import PARTS, SENTENCES, in_french
from fhir_dmp.fhir.schema import validate
from tests.profiles.reading import GOOD, read

JUNK = (
    None,
    "",
    [],
    {},
    "x y",
    -1,
    1.5,
    True,
    "2026-02-30",
    {"reference": "Nope/1"},
    {"reference": "#zz"},
    {"id": "a"},
    [None],
    {"bad": 1},
    "<div>",
)
NAMES = ("foo", "_id", "value", "stats", "valueQuantity", "resourceType", "text")
DIVS = ("<div>", "text", '<div xmlns="http://www.w3.org/1999/xhtml"><script/></div>', '<div xmlns="http://www.w3.org/1999/xhtml"/>')


def spots(value):
    """(owner, key) of everything inside."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from spots(value[key])


@pytest.mark.parametrize("path", GOOD[::3], ids=lambda path: path.stem)
def test_no_fault_of_a_broken_resource_stays_in_english(path):
    chance, resource = random.Random(path.stem), read(path)
    found = set()
    for _ in range(12):
        broken = copy.deepcopy(resource)
        for _ in range(3):
            owner, key = chance.choice(list(spots(broken)))
            owner[key] = copy.deepcopy(chance.choice(JUNK))
            if isinstance(owner, dict):
                owner[chance.choice(NAMES)] = copy.deepcopy(chance.choice(JUNK))
        broken["text"] = {"status": "generated", "div": chance.choice(DIVS)}
        found |= {issue.diagnostics for issue in validate(broken)}
    assert len(found) > 5
    assert [words for words in found if in_french(Issue("error", "x", words)).diagnostics == words] == []


def test_words_of_users_are_left_alone():
    assert (
        in_french(Issue("error", "x", "`an object must` is not an R4 resource type")).diagnostics
        == "`an object must` n'est pas un type de ressource R4"
    )
    unknown = Issue("error", "x", "something else altogether")
    assert in_french(unknown) is unknown


def test_french_keeps_what_stands_for_the_same_words():
    for english, french in (*SENTENCES, *PARTS):
        holes = {name for name in ("{a}", "{b}", "{c}") if name in french}
        assert english != french and holes <= {name for name in ("{a}", "{b}", "{c}") if name in english}
