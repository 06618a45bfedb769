"""Exact JSON. https://hl7.org/fhir/R4/json.html"""

import json as stdlib
import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json as exact

NUMBERS = st.one_of(
    st.integers(-(10**40), 10**40).map(str),
    st.tuples(
        st.sampled_from(["", "-"]),
        st.integers(0, 10**12).map(str),
        st.sampled_from(["", ".0", ".10", ".000", ".123456789012345678901234567890"]),
        st.sampled_from(["", "e5", "E+05", "e-0", "E999", "e-300"]),
    ).map("".join),
    st.sampled_from(["-0", "-0.0", "0", "1.00", "1E2", "0.010", "-0e0"]),
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@st.composite
def documents(draw):
    """(JSON text with arbitrary number notation and spaces, tokens of its numbers in order)."""
    numbers = []

    def value(depth):
        kinds = ["number", "text", "true", "null"] + (["object", "array"] if depth < 4 else [])
        match draw(st.sampled_from(kinds)):
            case "number":
                numbers.append(draw(NUMBERS))
                return numbers[-1]
            case "text":
                return stdlib.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
            case "object":
                names = draw(st.lists(TEXTS, unique=True, max_size=4))
                return "{" + draw(space) + ",".join(stdlib.dumps(n) + draw(space) + ":" + value(depth + 1) for n in names) + "}"
            case "array":
                return "[" + ",".join(draw(space) + value(depth + 1) for _ in range(draw(st.integers(0, 3)))) + "]"
            case word:
                return word

    space = st.sampled_from(["", " ", "\n  ", "\t"])
    names = draw(st.lists(TEXTS, unique=True, max_size=5))
    text = "{" + ",".join(stdlib.dumps(n, ensure_ascii=False) + ":" + draw(space) + value(1) for n in names) + draw(space) + "}"
    return text.encode(), numbers


def ordered(body):
    """The value with members as pairs in order and numbers as text."""
    return stdlib.loads(body, object_pairs_hook=tuple, parse_int=lambda t: ("n", t), parse_float=lambda t: ("n", t))


@given(documents())
def test_what_is_parsed_exactly_and_dumped_keeps_order_and_every_digit(document):
    body, _ = document
    assert ordered(exact.dump(exact.parse_exact(body))) == ordered(body)


@given(documents())
def test_parse_agrees_with_the_standard_library_on_values(document):
    body, _ = document
    assert exact.parse(body) == stdlib.loads(body, parse_float=Decimal)


@given(documents())
def test_both_trees_hold_the_same_values(document):
    body, _ = document
    assert exact.same(exact.parse(body), exact.parse_exact(body))


@given(st.binary(max_size=60))
def test_any_bytes_are_either_json_or_refused_in_words(body):
    for parse in (exact.parse, exact.parse_exact):
        try:
            value = parse(body, object_only=False)
        except FhirError as error:
            assert error.kind in ("invalid", "unprocessable") and "\n" not in error.message
        else:
            assert exact.same(value, stdlib.loads(body, parse_float=Decimal))


@given(st.text(alphabet='{}[]":,\\ue0123456789-.nul tfrsa', max_size=40))
def test_json_like_text_is_either_json_or_refused(text):
    try:
        value = exact.parse_exact(text.encode(), object_only=False)
    except FhirError:
        return
    assert exact.same(value, stdlib.loads(text, parse_float=Decimal))


@given(documents())
@settings(max_examples=50)
def test_a_stamped_resource_without_its_stamp_is_the_original(document):
    body, _ = document
    stamped = exact.stamp(body, id="a1", version_id="v1", last_updated="2026-01-01T00:00:00.000Z") if b'"meta"' not in body else body
    value = exact.parse(stamped)
    if b'"meta"' in body or '"id"' in body.decode():
        return
    assert value["id"] == "a1" and value["meta"] == {"versionId": "v1", "lastUpdated": "2026-01-01T00:00:00.000Z"}
    assert ordered(exact.set_members(stamped, {"id": None, "meta": None})) == ordered(body)


REFUSED = [
    (b'{"a":1,"a":2}', "invalid", "duplicate member `a` at line 1 column"),
    (b'{"\\u0069d":"1","id":"2"}', "invalid", "duplicate member `id`"),
    (b'{"a":{"b":1,\n"b":2}}', "invalid", "duplicate member `b` at line 2 column"),
    (b'{"a":NaN}', "invalid", "NaN and Infinity are not JSON numbers at line 1 column 6"),
    (b'{"a":\n-Infinity}', "invalid", "NaN and Infinity are not JSON numbers at line 2"),
    (b'{"a":"\xff"}', "invalid", "invalid UTF-8"),
    (b'{"a":"\xed\xa0\x80"}', "invalid", "invalid UTF-8"),
    (b'{"a":"\\ud800"}', "invalid", "lone surrogate"),
    (b'{"a":"\\udc00x"}', "invalid", "lone surrogate"),
    (b'\xef\xbb\xbf{"a":1}', "invalid", "byte order mark"),
    ('{"a":1}'.encode("utf-16"), "invalid", "not JSON"),
    (b'{"a":', "invalid", "ends too early"),
    (b"", "invalid", "ends too early"),
    (b'{"a":1} {}', "invalid", "trailing characters"),
    (b'{"a":01}', "invalid", "invalid number"),
    (b'{"a":"\x00"}', "invalid", "control character"),
    (b"[]", "invalid", "outermost JSON value must be an object"),
    (b'"x"', "invalid", "outermost JSON value must be an object"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "invalid", "nested more than 64 levels at line 1 column 321"),
    (b'{"a":[' + b"[" * 100_000, "invalid", "nested more than 64 levels"),
    (b'{"a":' + b"1" * 1001 + b"}", "unprocessable", "number of more than 1000 characters at line 1 column 6"),
    (b'{"a":' + b"1" * 5000 + b"}", "unprocessable", "number of more than 1000 characters"),
    (b'{"a":0.' + b"0" * 1001 + b"}", "unprocessable", "number of more than 1000 characters"),
    (b'{"a":[0,1e1000]}', "unprocessable", "number with an exponent beyond 999 at line 1 column 9"),
    (b'{"a":1E-99999999999999999999}', "unprocessable", "number with an exponent beyond 999"),
]


@pytest.mark.parametrize(("body", "kind", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_says_why_and_where(body, kind, words):
    for parse in (exact.parse, exact.parse_exact):
        with pytest.raises(FhirError, match=re.escape(words)) as caught:
            parse(body)
        assert caught.value.kind == kind


def test_depth_64_is_accepted_and_brackets_in_texts_do_not_count():
    assert exact.parse(b'{"a":' * 64 + b"1" + b"}" * 64)
    assert exact.parse(b'{"a":"' + b"[{" * 500 + b'"}')


def test_large_but_bounded_numbers_are_kept():
    body = b'{"a":' + b"9" * 1000 + b',"b":1e0000999,"c":"1e99999"}'
    assert exact.dump(exact.parse_exact(body)) == body


@pytest.mark.parametrize("filler", [b"1" * 999 + b" ", b"e1", b"-0", b"1e99999,", b'\\"', b"["])
def test_long_texts_that_look_like_numbers_take_linear_time(filler):
    body = b'{"a":"' + filler * (1_000_000 // len(filler)) + b'"}'
    assert exact.dump(exact.parse_exact(body)) == body


def test_lone_minus_zero_tokens_survive_beside_texts_that_hold_them():
    body = b'{"a":[-0,0,-0.0,-0e-0,"-0"],"-0":-0}'
    assert exact.dump(exact.parse_exact(body)) == body


def test_texts_that_imitate_what_stands_for_minus_zero_cost_nothing():
    body = b'{"a":-0,"b":"' + b" ".join(b"-0e-" + b"0" * n for n in range(1500)) + b'","c":-0e-00}'
    assert exact.dump(exact.parse_exact(body)) == body


def test_dump_writes_plain_values_too():
    assert exact.dump({"a": [1, 2.5, Decimal("1.10"), None, True, "é"]}) == '{"a":[1,2.5,1.10,null,true,"é"]}'.encode()


def test_stamp_keeps_the_clients_meta_and_every_other_byte():
    body = (
        b'{ "resourceType": "Observation", "meta": {"profile": [ "http://p" ], "versionId":"9","_versionId":{"id":"x"},'
        b' "tag":[{"code":"t"}]}, "valueQuantity" : {"value": 1.00, "x":  "\\u00e9"}, "id": "client"}'
    )
    assert exact.stamp(body, id="srv", version_id="2", last_updated="2026-01-01T00:00:00.000Z", meta_overrides={"tag": None}) == (
        b'{"resourceType":"Observation","meta":{"profile":[ "http://p" ],"versionId":"2","lastUpdated":"2026-01-01T00:00:00.000Z"},'
        b'"valueQuantity":{"value": 1.00, "x":  "\\u00e9"},"id":"srv"}'
    )


def test_stamp_overrides_members_of_meta():
    body = b'{"resourceType":"Basic","id":"1","code":{}}'
    overrides = {"security": [{"code": "R"}]}
    stamped = exact.stamp(body, id="1", version_id="2", last_updated="L", meta_overrides=overrides)
    meta = b'{"versionId":"2","lastUpdated":"L","security":[{"code":"R"}]}'
    assert stamped == b'{"resourceType":"Basic","id":"1","meta":' + meta + b',"code":{}}'


def test_meta_that_is_no_object_is_refused():
    with pytest.raises(FhirError, match="meta is not an object"):
        exact.stamp(b'{"resourceType":"Basic","meta":[]}', id="1", version_id="2", last_updated="L")


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (b"[1.0]", b"[1]", True),
        (b"[1e2]", b"[100]", True),
        (b"[-0]", b"[0]", True),
        (b"[true]", b"[1]", False),
        (b"[null]", b"[0]", False),
        (b'["1"]', b"[1]", False),
        (b'[{"a":1,"b":2}]', b'[{"b":2,"a":1.00}]', True),
        (b"[[1,2]]", b"[[2,1]]", False),
        (b"[1]", b"[1,1]", False),
    ],
)
def test_values_are_compared_as_json(left, right, equal):
    assert exact.same(exact.parse_exact(left, object_only=False), exact.parse_exact(right, object_only=False)) is equal
