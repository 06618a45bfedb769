"""FHIR's HTTP headers. https://hl7.org/fhir/R4/http.html"""

import doctest
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import http_types as h
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS

FHIR, PLAIN = "application/fhir+json; charset=utf-8", "application/json; charset=utf-8"


def kind_of(call, *arguments):
    with pytest.raises(FhirError) as caught:
        call(*arguments)
    return caught.value.kind


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(h).failed == 0


@pytest.mark.parametrize(
    ("accept", "format", "answer"),
    [
        (None, None, FHIR),
        ("", None, FHIR),
        ("*/*", None, FHIR),
        ("application/*", None, FHIR),
        ("application/fhir+json", None, FHIR),
        ("application/fhir+json;fhirVersion=4.0", None, FHIR),
        ("Application/FHIR+JSON; fhirversion=4.0.1", None, FHIR),
        ("application/json", None, PLAIN),
        ("application/json;q=0.5, application/fhir+json;q=0.4", None, PLAIN),
        ("application/json, application/fhir+json", None, FHIR),
        ("application/fhir+xml, application/json;q=0.1", None, PLAIN),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None, FHIR),
        ("application/fhir+xml", "json", FHIR),
        ("application/fhir+xml", "application/json", PLAIN),
        (None, "application/fhir json", FHIR),
        (None, "application/fhir+json;fhirVersion=4.0", FHIR),
        ("application/fhir+xml", None, "not-acceptable"),
        ("text/turtle", None, "not-acceptable"),
        ("application/fhir+json;q=0", None, "not-acceptable"),
        ("application/fhir+json;fhirVersion=3.0", None, "not-acceptable"),
        ("*/*;q=0.0", None, "not-acceptable"),
        ("*/*", "xml", "not-acceptable"),
        ("*/*", "text/turtle", "not-acceptable"),
        ("*/*", "application/fhir+json;fhirVersion=5.0", "not-acceptable"),
    ],
)
def test_the_answer_has_the_format_asked_for(accept, format, answer):
    if answer == "not-acceptable":
        assert kind_of(h.answer_format, accept, format) == answer
    else:
        assert h.answer_format(accept, format) == answer


@pytest.mark.parametrize(
    ("accept", "format", "content", "form"),
    [
        (None, None, "application/pdf", "native"),
        ("*/*", None, "application/pdf", "native"),
        ("application/pdf", None, "application/pdf", "native"),
        ("application/fhir+json", None, "application/pdf", "fhir"),
        ("application/json", None, "application/pdf", "fhir"),
        ("application/json", None, "application/json", "native"),
        ("application/fhir+json", None, "application/json", "fhir"),
        ("application/fhir+json", None, "application/fhir+json", "fhir"),
        ("application/fhir+json, */*;q=0.1", None, "application/pdf", "fhir"),
        ("application/pdf, application/fhir+json;q=0.5", None, "application/pdf", "native"),
        ("*/*", "json", "application/pdf", "fhir"),
        ("application/pdf", None, "nonsense", "not-acceptable"),
        ("text/plain", None, "application/pdf", "not-acceptable"),
        ("application/fhir+xml", None, "application/pdf", "not-acceptable"),
    ],
)
def test_a_binary_is_a_resource_or_its_content(accept, format, content, form):
    if form == "not-acceptable":
        assert kind_of(h.binary_form, accept, format, content) == form
    else:
        assert h.binary_form(accept, format, content) == form


@pytest.mark.parametrize(
    "said",
    ["application/fhir+json", "application/json", "application/fhir+json; charset=UTF-8", 'application/fhir+json;fhirVersion="4.0"'],
)
def test_resources_are_accepted_in_json(said):
    h.check_resource_type(said)


@pytest.mark.parametrize(
    "said",
    [None, "", "application/fhir+xml", "text/plain", "json", "application/json; charset=latin-1", "application/fhir+json; fhirVersion=3.0",
     "application/json-patch+json", "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_other_bodies_are_refused(said):
    assert kind_of(h.check_resource_type, said) == "media-type"


def test_a_patch_says_its_language():
    assert h.patch_form("application/json-patch+json") == "json"
    assert h.patch_form("application/fhir+json; charset=utf-8") == h.patch_form("application/json") == "fhirpath"
    with pytest.raises(FhirError) as caught:
        h.patch_form("application/xml-patch+xml")
    assert caught.value.kind == "media-type"
    assert caught.value.headers == {"Accept-Patch": "application/json-patch+json, application/fhir+json"}


def test_forms_are_recognised():
    assert h.is_form("application/x-www-form-urlencoded; charset=utf-8") and not h.is_form("application/json") and not h.is_form(None)


@pytest.mark.parametrize(
    ("header", "prefer"),
    [
        (None, h.Prefer()),
        ("return=representation", h.Prefer("representation")),
        ("return=OperationOutcome; x=y", h.Prefer("OperationOutcome")),
        ("return=minimal, return=representation", h.Prefer("minimal")),
        ("handling=strict,respond-async", h.Prefer(handling="strict", respond_async=True)),
        ("handling=wild, return=everything, wait=10", h.Prefer()),
        (",;=,,", h.Prefer()),
    ],
)
def test_preferences(header, prefer):
    assert h.parse_prefer(header) == prefer


@pytest.mark.parametrize(
    ("header", "version", "match"),
    [
        ('W/"1"', "1", True),
        ('"1"', "1", True),
        ("1", "1", True),
        ('W/"1"', "2", False),
        ('W/"1", W/"2"', "2", True),
        ("*", "7", True),
        ("*", None, False),
        ('W/"1"', None, False),
        ('"not an id"', "1", False),
    ],
)
def test_entity_tags(header, version, match):
    assert h.parse_tags(header).match(version) is match


@pytest.mark.parametrize("header", ["", " ", 'W/"1', "W/1", '"1" "2"', "w x", '"1",,"2"'])
def test_malformed_entity_tags_are_refused(header):
    assert kind_of(h.parse_tags, header) == "invalid"


@given(st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True))
def test_our_own_tags_come_back(version):
    assert h.parse_tags(h.etag(version)).match(version)


@given(st.integers(MIN_MS, MAX_MS))
def test_http_dates_are_those_of_the_standard_library(ms):
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    assert h.http_date(ms) == format_datetime(moment, usegmt=True)
    if moment.year >= 1900:
        assert h.parse_http_date(h.http_date(ms)) == ms // 1000 * 1000


@given(st.text(max_size=40))
def test_any_header_has_an_answer(text):
    h.parse_http_date(text)
    h.parse_prefer(text)
    h.media_types(text)
    for call in (h.parse_tags, h.answer_format, h.patch_form):
        try:
            call(text)
        except FhirError as error:
            assert error.status in (400, 406, 415)


def test_a_conditional_read():
    noon = h.parse_http_date("Sun, 22 Nov 2026 12:00:00 GMT")
    assert h.not_modified("2", noon + 500, 'W/"2"', None)
    assert not h.not_modified("2", noon, 'W/"1"', "Sun, 22 Nov 2026 12:00:00 GMT")
    assert h.not_modified("2", noon + 500, None, "Sun, 22 Nov 2026 12:00:00 GMT")
    assert not h.not_modified("2", noon + 1000, None, "Sun, 22 Nov 2026 12:00:00 GMT")
    assert not h.not_modified("2", noon, None, "yesterday") and not h.not_modified("2", noon, None, None)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=5-20", (5, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("BYTES = 1-2", (1, 3)),
        ("bytes=1-2,4-5", None),
        ("bytes=2-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1", None),
        ("bytes=" + "9" * 40 + "-", None),
        ("lines=1-2", None),
        ("bytes", None),
        ("bytes=１-２", None),
    ],
)
def test_a_range_is_one_piece_or_ignored(header, found):
    assert h.parse_range(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=" + ",".join(["0-1"] * 10_000)])
def test_ranges_that_cannot_be_served_are_refused(header):
    with pytest.raises(FhirError) as caught:
        h.parse_range(header, 10)
    assert (caught.value.status, caught.value.headers) == (416, {"Content-Range": "bytes */10"})


def test_an_empty_content_has_no_range():
    assert kind_of(h.parse_range, "bytes=0-", 0) == "range"
