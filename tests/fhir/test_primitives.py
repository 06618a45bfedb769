"""Primitive data types. https://hl7.org/fhir/R4/datatypes.html#primitive"""

from decimal import Decimal

import pytest

from fhir_dmp.fhir.primitives import PRIMITIVES, fits
from fhir_dmp.fhir.schema import validate
from fhir_dmp.fhir.tables import PRIMITIVE_TYPES, choice_suffix

GOOD = {
    "base64Binary": ["AA==", "AAA=", "AAAA", "AAAA BBBB", "AAAA\nBBBB\n"],
    "boolean": [True, False],
    "canonical": ["http://a/b|1.0", "#fragment", "urn:oid:1.2"],
    "code": ["a", "a b", "<=", "é"],
    "date": ["0001", "2024", "2024-02", "2024-02-29", "2000-02-29", "9999-12-31"],
    "dateTime": [
        "2024",
        "2024-02",
        "2024-02-29",
        "2024-01-01T00:00:00Z",
        "2024-01-01T23:59:60+14:00",
        "2024-01-01T10:00:00.123456789-03:30",
    ],
    "decimal": [0, -1, Decimal("1.00"), Decimal("0.000000000000000000000000000001"), Decimal("1E+400"), 123456789012345678901234567890],
    "id": ["a", "A-1.b", "x" * 64, "-", "0"],
    "instant": ["2024-02-29T10:00:00Z", "2024-02-29T10:00:00.123+02:00"],
    "integer": [0, -2147483648, 2147483647],
    "markdown": ["# a\n\n* b\n", "x"],
    "oid": ["urn:oid:1.2.250.1", "urn:oid:2.0"],
    "positiveInt": [1, 2147483647],
    "string": ["x", " x ", "a\nb\tc\r\n", "\u00a0", "é", "😀", "a\u202eb"],
    "time": ["00:00:00", "23:59:60.5"],
    "unsignedInt": [0, 2147483647],
    "uri": ["urn:oid:1.2", "http://a/b?c=d|e", "a", "é"],
    "url": ["http://a", "mailto:a@b"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
}
BAD = {
    "base64Binary": ["", "A", "AA", "AAA", "A===", "AA=A", "é===", "AAAA-", 1],
    "boolean": ["true", 0, None],
    "canonical": ["", " ", "a b", "a\n"],
    "code": ["", " ", " a", "a ", "a  b", "a\tb", "a\n", 1],
    "date": [
        "",
        "0000",
        "24",
        "2024-13",
        "2024-00",
        "2024-2",
        "2024-02-30",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        "2024-02-29T10:00:00Z",
        "2024\n",
    ],
    "dateTime": [
        "2024-02-30",
        "2024-02-29T10:00Z",
        "2024-02-29T10:00:00",
        "2024-02-29T24:00:00Z",
        "2024-02-29T10:00:00+15:00",
        "2024-02T10:00:00Z",
        "٢٠٢٤",
    ],
    "decimal": ["1", True, Decimal("1E+7000"), Decimal("1E-7000"), 10**128, Decimal("0." + "1" * 129)],
    "id": ["", "a b", "a_b", "a/b", "x" * 65, "é", "１", "a\n"],
    "instant": ["2024", "2024-02-29", "2024-02-29T10:00:00", "2023-02-29T10:00:00Z", "2024-02-29T10:00:00z"],
    "integer": ["1", Decimal("1.0"), Decimal("1E+2"), Decimal("1.5"), 2147483648, -2147483649, True],
    "markdown": ["", "  \n", "a\x00", 1],
    "oid": ["1.2.3", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02", "urn:oid:1.2."],
    "positiveInt": [0, -1, 2147483648, Decimal("1.0")],
    "string": ["", " ", "\t\r\n", "a\x00b", "\x1b[0m", "x" * 1048577, 1, False],
    "time": ["10:00", "24:00:00", "10:00:00Z", "10:60:00"],
    "unsignedInt": [-1, 2147483648, Decimal("0.0")],
    "uri": ["", " ", "a b", " a", "a\t"],
    "url": ["", "a b"],
    "uuid": ["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "urn:uuid:c757873d"],
}


def _through_the_schema(type_name, value):
    extension = {"url": "http://example.org/e", f"value{choice_suffix(type_name)}": value}
    return validate({"resourceType": "Basic", "code": {"text": "x"}, "extension": [extension]})


def test_every_primitive_type_has_a_rule_and_a_table():
    assert set(PRIMITIVES) == set(PRIMITIVE_TYPES)
    assert set(GOOD) == set(BAD) == set(PRIMITIVE_TYPES) - {"xhtml"}


@pytest.mark.parametrize(("type_name", "value"), [(t, v) for t, values in GOOD.items() for v in values])
def test_a_good_value_is_accepted_by_rule_and_schema(type_name, value):
    assert fits(type_name, value)
    assert _through_the_schema(type_name, value) == []


@pytest.mark.parametrize(("type_name", "value"), [(t, v) for t, values in BAD.items() for v in values])
def test_a_bad_value_is_refused_by_rule_and_schema_at_its_place(type_name, value):
    assert not fits(type_name, value)
    [issue] = _through_the_schema(type_name, value)
    assert issue.severity == "error"
    assert issue.code in ("value", "structure")
    assert issue.expression == f"Basic.extension[0].value.ofType({type_name})"
    assert "\n" not in issue.diagnostics and len(issue.diagnostics) < 300
