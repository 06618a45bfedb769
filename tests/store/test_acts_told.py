"""What the last act about a row lets the row be."""

import pytest

from fhir_dmp.store.acts_told import differs
from fhir_dmp.store.vault import dossier_row

KEY = dossier_row(7)[:8] + b"a row of"
MASKED, OPEN = {"rt": 1, "lb": 1, "st": 0}, {"rt": 1, "lb": 0, "st": 0}
ACT = {"_id": KEY, "v": 1, "l": 100, "a": 200, "y": MASKED}
WHOLE = {**ACT, "t": "DocumentReference"}


@pytest.mark.parametrize("act", [ACT, WHOLE], ids=["facts", "whole"])
@pytest.mark.parametrize(
    ("there", "sound"),
    [
        ({}, True),
        ({"y": OPEN}, False),
        ({"y": {**MASKED, "st": 2}}, False),
        # What was done since without taking a label away; a later version, which has the labels of the former.
        ({"a": 300, "y": {**MASKED, "st": 2}}, True),
        ({"a": 300, "y": OPEN}, False),
        ({"v": 2, "l": 300, "a": 0}, True),
        ({"v": 2, "l": 300, "a": 0, "y": OPEN}, False),
        ({"a": 0}, False),
        ({"a": "soon"}, False),
        # Staged: the same facts, out of sight.
        ({"y": None, "z": MASKED}, True),
    ],
)
def test_a_row_shows_what_the_last_act_about_it_left(act, there, sound):
    row = {name: value for name, value in {**WHOLE, **there}.items() if value is not None}
    assert (differs("mask", act, row) == "") is sound


def test_facts_are_given_to_the_version_that_a_restore_brought_back():
    """The version that the act was about was lost; of what is kept whole it is written again."""
    there = {**WHOLE, "v": 5, "l": 50}
    assert differs("mask", ACT, there) == ""
    assert differs("mask", WHOLE, there)


def test_the_row_of_a_dossier_has_the_last_policy_and_no_key_once_it_was_erased():
    act = {"_id": dossier_row(7), "a": 100, "p": b"rights"}
    assert differs("rights", act, {"a": 100, "p": b"rights"}) == ""
    assert differs("rights", act, {"a": 200, "p": b"others"}) == ""
    assert differs("rights", act, {"a": 100, "p": b"others"})
    assert differs("rights", act, {"a": 50, "p": b"rights"})
    assert differs("rights", act, {"e": 200}) == ""
    assert differs("erasure", act, {"e": 200}) == ""
    assert differs("erasure", act, {"k": b"a key", "a": 300})
