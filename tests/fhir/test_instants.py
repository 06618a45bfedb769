"""Dates and moments. https://hl7.org/fhir/R4/datatypes.html#dateTime"""

import doctest
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import instants
from fhir_dmp.fhir.instants import DAY, HOUR, MAX_MS, MIN_MS, MINUTE, from_instant, interval, to_instant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(instants).failed == 0


@given(st.integers(MIN_MS, MAX_MS))
def test_an_instant_names_the_moment_it_was_written_from(ms):
    text = to_instant(ms)
    assert from_instant(text) == ms and interval(text) == (ms, ms + 1)
    assert text.removesuffix("Z") == (datetime(1, 1, 1) + timedelta(milliseconds=ms - MIN_MS)).isoformat(timespec="milliseconds")


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_zones_are_subtracted(moment, offset):
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    lo, hi = interval(f"{moment:%Y-%m-%dT%H:%M:%S}{zone}".rjust(25, "0"))
    assert lo == (moment.replace(microsecond=0, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1) - offset * MINUTE
    assert hi == lo + 1000


@given(st.dates())
def test_days_months_and_years_follow_each_other_without_gap(day):
    text = day.isoformat()
    lo, hi = interval(text)
    month, year = interval(text[:7]), interval(text[:4])
    assert hi - lo == DAY and year[0] <= month[0] <= lo < hi <= month[1] <= year[1]
    assert interval(f"{text}T00:00Z")[0] == lo and interval(f"{text}T23:59:60Z")[0] == hi


@pytest.mark.parametrize(
    ("text", "lo", "length"),
    [
        ("1970", 0, 365 * DAY),
        ("1972", 2 * 365 * DAY, 366 * DAY),
        ("1970-02", 31 * DAY, 28 * DAY),
        ("1970-01-02", DAY, DAY),
        ("1970-01-01T10:00", 10 * HOUR, MINUTE),
        ("1970-01-01T10:00+02:00", 8 * HOUR, MINUTE),
        ("1970-01-01T00:00:01", 1000, 1000),
        ("1970-01-01T00:00:00.1Z", 100, 1),
        ("1970-01-01T00:00:00.123999Z", 123, 1),
        ("1970-01-01T00:00:00-00:00", 0, 1000),
        ("1971-12-31T23:59:60Z", 2 * 365 * DAY, 1000),
        ("0001-01-01T00:00:00+14:00", MIN_MS - 14 * HOUR, 1000),
        ("9999", MAX_MS + 1 - 365 * DAY, 365 * DAY),
    ],
)
def test_a_date_is_the_period_it_names(text, lo, length):
    assert interval(text) == (lo, lo + length)


@pytest.mark.parametrize(
    "text",
    [
        "", "70", "197", "0000", "10000", "1970-13", "1970-00", "2023-02-29", "1970-04-31", "1970-1-1", "1970-01-01T", "1970-01-01T10",
        "1970-01-01T24:00:00Z", "1970-01-01T10:60Z", "1970-01-01T10:00:61Z", "1970-01-01T10:00:00+15:00", "1970-01-01T10:00:00+14:01",
        "1970-01-01T10:00:00+01:60", "1970-01-01 10:00:00Z", "1970-01-01T10:00:00.Z", "1970-01-01T10:00:00z", "1970-01-01Z",
        "１９７０", "1970\n", "1970-01-01T10:00:00+0100",
    ],
)  # fmt: skip
def test_what_is_no_date_is_refused(text):
    with pytest.raises(FhirError) as caught:
        interval(text)
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize("text", ["2020", "2020-01-01", "2020-01-01T10:00Z", "2020-01-01T10:00:00", "x"])
def test_an_instant_has_a_second_and_a_zone(text):
    with pytest.raises(FhirError, match="is not an instant"):
        from_instant(text)


@pytest.mark.parametrize("ms", [MIN_MS - 1, MAX_MS + 1])
def test_moments_outside_the_calendar_are_refused(ms):
    with pytest.raises(FhirError):
        to_instant(ms)
