"""Life of a dossier and the calendar behind it.

https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006190273
"""

from datetime import date

import pytest

from fhir_dmp.dmp.lifecycle import STEPS, Status, destruction_ms, is_minor, majority_ms, step
from fhir_dmp.dmp.paris import midnight_ms, span, window
from fhir_dmp.fhir.instants import from_instant, to_instant


@pytest.mark.parametrize(
    ("born", "majority"),
    [
        ("2008-03-04", "2026-03-03T23:00:00.000Z"),
        ("2008-07-14", "2026-07-13T22:00:00.000Z"),
        ("2008-02-29", "2026-02-27T23:00:00.000Z"),
        ("2008-05", "2026-05-30T22:00:00.000Z"),
        ("2008", "2026-12-30T23:00:00.000Z"),
    ],
)
def test_majority_begins_at_midnight_in_paris(born, majority):
    assert to_instant(majority_ms(born)) == majority
    assert is_minor(born, majority_ms(born) - 1)
    assert not is_minor(born, majority_ms(born))


@pytest.mark.parametrize("born", ["", "unknown", "2008-13-01", "2008-02-30", "08-02-01", "2008-02-29T00:00:00Z"])
def test_a_birth_date_that_is_none_is_an_error(born):
    with pytest.raises(ValueError):
        majority_ms(born)


def test_ten_years_after_the_closing():
    assert to_instant(destruction_ms(from_instant("2024-02-29T10:00:00Z"))) == "2034-02-28T10:00:00.000Z"


def test_steps_of_a_dossier():
    assert step(Status.OPEN, "holder-request") is Status.CLOSED
    assert step(Status.CLOSED, "holder-request") is None
    assert step(Status.CLOSED, "reopened") is Status.OPEN
    assert step(Status.CLOSED, "reopened", deceased=True) is None
    assert step(Status.OPEN, "rights-lost") is Status.RIGHTS_LOST
    assert {step(Status.CLOSED, reason, lost=True) for reason in ("reopened", "returned")} == {Status.RIGHTS_LOST}
    assert step(Status.CLOSED, "reopened", deceased=True, lost=True) is None
    assert step(Status.RIGHTS_LOST, "rights-recovered") is Status.OPEN
    assert step(Status.OPEN, "whim") is None
    assert all(target in Status for _, target in STEPS.values())


def test_days_are_those_of_paris_and_both_ends_are_included():
    assert window("2026-11-01", "2026-11-22") == (midnight_ms(date(2026, 11, 1)), midnight_ms(date(2026, 11, 23)))
    assert span("2026-07-14T12:00:00+00:00")[0] == from_instant("2026-07-14T12:00:00Z")
    assert span("2026")[0] == midnight_ms(date(2026, 1, 1))
    assert window(None, None)[0] < window("1900-01-01", None)[0]
