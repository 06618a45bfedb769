"""Prefixes and ranges, worked by hand from the text of the standard. https://hl7.org/fhir/R4/search.html#prefix"""

from decimal import Decimal

import pytest

from fhir_dmp.fhir.instants import from_instant
from fhir_dmp.search.extract import extract
from fhir_dmp.search.predicate import matches
from fhir_dmp.search.query import parse

NOW = from_instant("2026-01-01T00:00:00Z")
UCUM = "http://unitsofmeasure.org"


def meets(resource: dict, name: str, value: str) -> bool:
    ((_, predicate),) = parse(resource["resourceType"], [(name, value)], now_ms=NOW).alternatives
    return matches(predicate, extract(resource["resourceType"], resource))


def observed(**elements) -> dict:
    return {"resourceType": "Observation", **elements}


# (value in the resource, what is asked, answer): the examples of the table of prefixes and of the text on dates
DATES = [
    ("2013-01-14", "eq2013-01-14", True),
    ("2013-01-14T00:00", "eq2013-01-14", True),
    ("2013-01-14T10:00", "eq2013-01-14", True),
    ("2013-01-15T00:00", "eq2013-01-14", False),
    ("2013-01-15T00:00", "ne2013-01-14", True),
    ("2013-01-14T10:00", "ne2013-01-14", False),
    ("2013-01-14", "lt2013-01-14T10:00", True),
    ("2013-01-13T12:00:00Z", "lt2013-01-14T10:00", True),
    ("2013-01-14T12:00:00Z", "lt2013-01-14T10:00", False),
    ("2013-01-14", "gt2013-01-14T10:00", True),
    ("2013-01-14T12:00:00Z", "gt2013-01-14T10:00", True),
    ("2013-01-14T09:00:00Z", "gt2013-01-14T10:00", False),
    ("2013-03-14", "ge2013-03-14", True),
    ("2013-03-13", "ge2013-03-14", False),
    ("2013-03-14", "le2013-03-14", True),
    ("2013-03-15", "le2013-03-14", False),
    ("2013-03-15", "sa2013-03-14", True),
    ("2013-03-14T23:00:00Z", "sa2013-03-14", False),
    ("2013-03-13", "eb2013-03-14", True),
    ("2013-03-14", "eb2013-03-14", False),
    ("2020-05", "2020", True),
    ("2020", "2020-05", False),
    ("2020", "gt2020-05", True),
    ("2020", "lt2020-05", True),
    ("2013-01-14T10:00:00.123Z", "eq2013-01-14T10:00:00.123Z", True),
    ("2013-01-14T23:30:00-05:00", "eq2013-01-15", True),
    ("2013-01-14T10:00:00+02:00", "eq2013-01-14T08:00:00Z", True),
    # approximately: within a tenth of the time between now and the date, here 13 years
    ("2012-06-01", "ap2013-01-01", True),
    ("2011-01-01", "ap2013-01-01", False),
]


@pytest.mark.parametrize(("found", "asked", "answer"), DATES)
def test_dates_compare_as_ranges(found, asked, answer):
    assert meets(observed(effectiveDateTime=found), "date", asked) is answer


PERIODS = [
    ({"start": "2013-03-12", "end": "2013-03-16"}, "eq2013-03", True),
    ({"start": "2013-03-12", "end": "2013-04-16"}, "eq2013-03", False),
    ({"start": "2013-03-12", "end": "2013-04-16"}, "ne2013-03", True),
    ({"start": "2013-03-12", "end": "2013-03-16"}, "gt2013-03-14", True),
    ({"start": "2013-03-12", "end": "2013-03-16"}, "lt2013-03-14", True),
    ({"start": "2013-03-12", "end": "2013-03-16"}, "sa2013-03-14", False),
    ({"start": "2013-03-15"}, "sa2013-03-14", True),
    ({"start": "2013-03-15"}, "gt2099", True),
    ({"end": "2013-03-15"}, "lt1900", True),
    ({"end": "2013-03-15"}, "eb2013-03-14", False),
    ({"end": "2013-03-15"}, "eb2013-03-16", True),
    ({"start": "2013-03-12", "end": "2013-03-16"}, "ap2013-03-14", True),
]


@pytest.mark.parametrize(("found", "asked", "answer"), PERIODS)
def test_periods_compare_as_ranges_open_where_they_say_nothing(found, asked, answer):
    assert meets(observed(effectivePeriod=found), "date", asked) is answer


# probability of RiskAssessment, a number without unit: precision counts without prefix, not with one
NUMBERS = [
    ("100", "100", True),
    ("99.5", "100", True),
    ("99.4", "100", False),
    ("100.4", "100", True),
    ("100.5", "100", False),
    ("100", "100.00", True),
    ("100.004", "100.00", True),
    ("100.005", "100.00", False),
    ("95", "1e2", True),
    ("104.9", "1e2", True),
    ("94.9", "1e2", False),
    ("105", "1e2", False),
    ("100", "lt100", False),
    ("99.9999", "lt100", True),
    ("100", "le100", True),
    ("100.0001", "le100", False),
    ("100", "gt100", False),
    ("100.0001", "gt100", True),
    ("100", "ge100", True),
    ("99.9999", "ge100", False),
    ("100.4", "ne100", False),
    ("101", "ne100", True),
    ("90", "ap100", True),
    ("110", "ap100", True),
    ("111", "ap100", False),
    ("-100", "ap-95", True),
    ("0.8", "gt0.8", False),
    ("0.80000000000000000000000000000001", "gt0.8", True),
]


@pytest.mark.parametrize(("found", "asked", "answer"), NUMBERS)
def test_numbers_mean_what_their_precision_says(found, asked, answer):
    risk = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": Decimal(found)}]}
    assert meets(risk, "probability", asked) is answer


def mg(value: str, **more) -> dict:
    return {"value": Decimal(value), "unit": "mg", "system": UCUM, "code": "mg", **more}


QUANTITIES = [
    (mg("5.4"), "5.4", True),
    (mg("5.4"), f"5.4|{UCUM}|mg", True),
    (mg("5.44"), f"5.4|{UCUM}|mg", True),
    (mg("5.45"), f"5.4|{UCUM}|mg", False),
    (mg("5.4"), "5.4||mg", True),
    (mg("5.4"), "5.4||kg", False),
    (mg("5400"), f"5.4|{UCUM}|g", True),
    (mg("5400"), f"5.400e-3|{UCUM}|kg", True),
    (mg("5400"), f"gt5.3|{UCUM}|g", True),
    (mg("5400"), f"gt5.4|{UCUM}|g", False),
    (mg("5.4"), "5.4|http://other.example|mg", False),
    (mg("5", comparator="<"), f"lt5|{UCUM}|mg", True),
    (mg("5", comparator="<"), f"ge5|{UCUM}|mg", False),
    (mg("5", comparator="<="), f"ge5|{UCUM}|mg", True),
    (mg("5", comparator=">"), f"gt100|{UCUM}|mg", True),
    (mg("5", comparator=">"), f"le5|{UCUM}|mg", False),
    ({"value": Decimal("37"), "system": UCUM, "code": "Cel"}, f"98.6|{UCUM}|[degF]", True),
    ({"value": Decimal("5"), "unit": "tablets"}, "5||tablets", True),
]


@pytest.mark.parametrize(("found", "asked", "answer"), QUANTITIES)
def test_quantities_compare_in_base_units(found, asked, answer):
    assert meets(observed(valueQuantity=found), "value-quantity", asked) is answer


def test_money_is_asked_by_currency():
    invoice = {"resourceType": "Invoice", "totalNet": {"value": Decimal("12.50"), "currency": "EUR"}}
    assert meets(invoice, "totalnet", "12.50|urn:iso:std:iso:4217|EUR")
    assert not meets(invoice, "totalnet", "12.50|urn:iso:std:iso:4217|USD")


def test_a_range_of_quantities_is_met_by_overlap_and_equalled_by_containment():
    sampled = observed(valueSampledData={"origin": {"value": Decimal(0), "unit": "mV"}, "factor": Decimal("0.5"), "data": "-4 2 E 10"})
    assert meets(sampled, "value-quantity", "lt-1.5||mV")
    assert meets(sampled, "value-quantity", "gt4||mV")
    assert not meets(sampled, "value-quantity", "gt5||mV")
    assert not meets(sampled, "value-quantity", "5||mV")


def test_a_timing_is_the_span_of_its_events():
    plan = {"resourceType": "ServiceRequest", "occurrenceTiming": {"event": ["2020-01-01", "2020-03-01"]}}
    assert meets(plan, "occurrence", "ap2020-02-01")
    assert meets(plan, "occurrence", "2020") and not meets(plan, "occurrence", "2020-01")
