"""Visibility labels as sets, and the clocks of INVISIBLE_PATIENT.

https://mos.esante.gouv.fr/NOS/JDV_J58-ConfidentialityCode-DMP/FHIR/JDV-J58-ConfidentialityCode-DMP
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.dmp.visibility import (
    ALIASES,
    CONFIDENTIALITY,
    DISPLAYS,
    TRE_A07,
    change,
    changed,
    concept,
    issues_of,
    label_of,
    labels_of,
    notice_ms,
    release_ms,
)
from fhir_dmp.fhir.instants import DAY, HOUR, from_instant, to_instant

labels = st.frozensets(st.sampled_from(sorted(DISPLAYS)))


def test_both_spellings_of_the_code_system_are_one():
    for alias, system in ALIASES.items():
        code = "MASQUE_PS" if system == TRE_A07 else "N"
        assert label_of({"system": alias, "code": code}) == label_of({"system": system, "code": code}) == code
    assert label_of({"system": TRE_A07, "code": "N"}) == label_of({"code": "MASQUE_PS"}) == ""


def test_every_label_survives_its_concept():
    for label in DISPLAYS:
        assert labels_of([concept(label)]) == {label}


@given(stored=labels, hidden=labels, wanted=labels)
def test_a_change_touches_only_what_was_shown(stored, hidden, wanted):
    shown = stored - hidden
    after = changed(stored, change(shown, wanted))
    assert after & (stored - shown) == stored - shown
    assert stored & set(CONFIDENTIALITY) <= after
    assert wanted <= after


def test_masked_and_invisible_together_are_refused_in_one_request_alone():
    both = frozenset({"MASQUE_PS", "INVISIBLE_PATIENT"})
    assert [i.expression for i in issues_of(both)] == ["DocumentReference.securityLabel"]
    assert issues_of(both, together=True) == issues_of(frozenset({"MASQUE_PS", "N"})) == []
    assert len(issues_of(frozenset({"N", "R"}))) == 1


@pytest.mark.parametrize(
    ("first", "notice", "release"),
    [
        ("2026-01-31T09:00:00Z", "2026-02-14T09:00:00.000Z", "2026-02-28T09:00:00.000Z"),
        ("2024-01-31T09:00:00Z", "2024-02-14T09:00:00.000Z", "2024-02-29T09:00:00.000Z"),
        ("2026-03-15T09:00:00Z", "2026-03-29T08:00:00.000Z", "2026-04-15T08:00:00.000Z"),
        ("2026-10-15T08:00:00Z", "2026-10-29T09:00:00.000Z", "2026-11-15T09:00:00.000Z"),
        ("2026-01-30T23:30:00Z", "2026-02-13T23:30:00.000Z", "2026-02-27T23:30:00.000Z"),  # 31 January in Paris
        ("2026-02-26T01:30:00Z", "2026-03-12T01:30:00.000Z", "2026-03-26T01:30:00.000Z"),
        ("2026-02-28T01:30:00Z", "2026-03-14T01:30:00.000Z", "2026-03-28T01:30:00.000Z"),
        ("2026-03-01T01:30:00Z", "2026-03-15T01:30:00.000Z", "2026-04-01T00:30:00.000Z"),
    ],
)
def test_clocks(first, notice, release):
    assert to_instant(notice_ms(from_instant(first))) == notice
    assert to_instant(release_ms(from_instant(first))) == release


@given(st.integers(from_instant("2000-01-01T00:00:00Z"), from_instant("2099-12-31T00:00:00Z")))
def test_the_release_is_about_a_month_after_and_later_than_the_notice(first):
    assert 28 * DAY - HOUR <= release_ms(first) - first <= 31 * DAY + HOUR
    assert notice_ms(first) < release_ms(first)
