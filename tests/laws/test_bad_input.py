"""What must never get through, never crash the server, and never cost more than it should: contents.

Rows of the threat tables: C01 to C07 and B07.
Each is answered by a refusal in plain words or kept exactly as it was sent; never by a 5xx, and the server serves on.

https://hl7.org/fhir/R4/http.html#Status-Codes
"""

import unicodedata
from urllib.parse import quote

import pytest

from fhir_dmp.fhir import json as exact
from tests.interactions.making import (
    FHIR_JSON,
    JSON_PATCH,
    basic,
    dumped,
    issues,
    observation,
    patient,
    stored,
    unique,
)
from tests.laws.attacking import clear

pytestmark = pytest.mark.usefixtures("survives")

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def nested(shape: str, depth: int) -> bytes:
    """A resource nested that deep."""
    head = b'{"resourceType":"Basic","code":{"text":"a"},'
    match shape:
        case "array":
            return head + b'"identifier":' + b"[" * depth + b"]" * depth + b"}"
        case "object":
            return head + b'"subject":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        case "extension":
            return head + b'"extension":' + b'[{"url":"u","extension":' * depth + b'[{"url":"u","valueCode":"a"}]' + b"}]" * depth + b"}"
        case "contained":
            return head + b'"contained":' + b'[{"resourceType":"Basic","contained":' * depth + b"[]" + b"}]" * depth + b"}"
        case "unclosed":
            return head + b'"identifier":' + b"[" * depth
    div = f"<div {XHTML}>" + "<div>" * depth + "</div>" * depth + "</div>"
    return dumped(basic(text={"status": "generated", "div": div}))


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("shape", ["array", "object", "extension", "contained", "unclosed", "narrative"])
def test_C01_deep_nesting(fhir, shape, depth):
    body = nested(shape, depth)
    clear(fhir.post("Basic", body), 400, 422)
    clear(
        fhir.post("", b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":' + body + b"}]}"), 400, 422
    ) if shape != "narrative" else None
    clear(fhir.patch(stored(fhir.post("Basic", basic())).path, b"[" + body + b"]", content_type=JSON_PATCH), 400, 422)


def test_C01_nesting_within_the_bound_is_kept(fhir):
    assert fhir.post("Basic", nested("extension", 25)).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"subject":{"reference":"Patient/1"},"subject":{"reference":"Patient/2"}}',
        b'{"resourceType":"Observation","resourceType":"Basic","status":"final","code":{"text":"a"}}',
        b'{"resourceType":"Observation","id":"a","\\u0069d":"b","status":"final","code":{"text":"a"}}',
        b'{"resourceType":"Observation","status":"final","code":{"text":"a","t\\u0065xt":"b"}}',
        b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"contained":[{"resourceType":"Basic","code":{},"code":{}}]}',
    ],
    ids=["subject", "resourceType", "escaped id", "inner", "contained"],
)
def test_C02_duplicate_members(fhir, body):
    assert "duplicate" in clear(fhir.post("Observation", body), 400)[0]
    inside = (
        b'{"resourceType":"Bundle","type":"transaction","entry":[{"resource":%s,"request":{"method":"POST","url":"Observation"}}]}' % body
    )
    assert "duplicate" in clear(fhir.post("", inside), 400)[0]
    made = fhir.new(observation())
    assert "duplicate" in clear(fhir.patch(made.path, b'[{"op":"add","op":"remove","path":"/status"}]', content_type=JSON_PATCH), 400)[0]


def measured(number: str) -> bytes:
    return b'{"resourceType":"Observation","status":"final","code":{"text":"a"},"valueQuantity":{"value":%s}}' % number.encode()


@pytest.mark.parametrize(
    "number",
    [
        "1.00",
        "1.0",
        "0.010",
        "0.1" + "0" * 27 + "1",
        "123456789012345678901234567890.5",
        "-0.0",
        "1e2",
        "1E-30",
        "9" * 100,
        "1e400",
        "-0",
        "0e0",
    ],
)
def test_C03_numbers_are_kept_exactly_or_refused(fhir, number):
    answer = fhir.post("Observation", measured(number))
    if answer.status_code != 201:
        clear(answer, 422)
        assert number in ("1e400",)
        return
    read = fhir.get(stored(answer).path).content
    assert bytes(exact.members(bytes(exact.members(read)["valueQuantity"]))["value"]) == number.encode()
    assert fhir.get("Observation?value-quantity=gt0&_summary=count").status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "-NaN", "+1", "01", ".5", "1.", "0x10", "1_000", "１"])
def test_C03_what_is_no_number(fhir, number):
    clear(fhir.post("Observation", measured(number)), 400)


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 5000, "0." + "1" * 5000, "1e999999999", "1e-999999999", "1" + "0" * 100_000])
def test_C03_numbers_beyond_all_measure(fhir, number):
    clear(fhir.post("Observation", measured(number)), 400, 422)
    clear(fhir.get(f"Observation?value-quantity=gt{number[:5000]}"), 400, 414)


@pytest.mark.parametrize(
    "text",
    [
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\ud800x"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xf4\x90\x80\x80"',
        b'"a\nb"',
        b'"\\x"',
        b'"\x00"',
        b'"\\u0000"',
    ],
    ids=["high", "reversed", "followed", "utf8 surrogate", "ff", "overlong", "beyond", "newline", "escape", "nul byte", "nul"],
)
def test_C04_texts_that_are_none(fhir, text):
    clear(fhir.post("Basic", b'{"resourceType":"Basic","code":{"text":' + text + b"}}"), 400, 422)


@pytest.mark.parametrize(
    "text",
    [
        "Zo\u00eb",
        "Zoe\u0308",
        "\u200bzero\u200dwidth\ufeff",
        "\u202egnp.exe\u202c",
        "\u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "\U0001f468\u200d\U0001f469",
        "\ufffd",
        "\uffff",
        "a\u00a0b",
    ],
    ids=["nfc", "nfd", "zero width", "right to left", "arabic", "astral", "replacement", "noncharacter", "nbsp"],
)
def test_C04_texts_are_kept_as_received(fhir, text):
    made = fhir.new(basic(code={"text": text}))
    assert fhir.get(made.path).json()["code"]["text"] == text


def test_C04_names_are_found_whatever_their_composition(fhir):
    family = "Zo\u00eb" + unique().replace("-", "")
    made = {fhir.new(patient(unicodedata.normalize(form, family))).id for form in ("NFC", "NFD")}
    for form in ("NFC", "NFD"):
        found = fhir.get(f"Patient?family={quote(unicodedata.normalize(form, family).upper())}").json()
        assert {hit["resource"]["id"] for hit in found["entry"]} == made


def test_C04_a_byte_order_mark(fhir):
    assert "byte order mark" in clear(fhir.post("Basic", b"\xef\xbb\xbf" + dumped(basic())), 400)[0]
    clear(fhir.post("Basic", dumped(basic()).decode().encode("utf-16")), 400)


BILLION = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><Patient xmlns="http://hl7.org/fhir">&b;</Patient>'
EXTERNAL = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir"><id value="&e;"/></Patient>'


@pytest.mark.parametrize(
    "content_type", ["application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir", "text/xml; charset=utf-8"]
)
@pytest.mark.parametrize("body", [BILLION, EXTERNAL], ids=["billion laughs", "external entity"])
def test_C05_xml(fhir, content_type, body):
    for method, path in (("POST", "Patient"), ("PUT", "Patient/1"), ("PATCH", "Patient/1"), ("POST", ""), ("POST", "Patient/_search")):
        clear(fhir.send(method, path, body, content_type=content_type), 415)


def test_C05_entities_in_a_narrative_are_not_expanded(fhir):
    for div in (
        f"<div {XHTML}>&e;</div>",
        f'<!DOCTYPE div [<!ENTITY e SYSTEM "file:///etc/passwd">]><div {XHTML}>&e;</div>',
        f'<!DOCTYPE div [<!ENTITY a "aaaaaaaaaa">]><div {XHTML}>&a;</div>',
        f"<?xml-stylesheet href='x'?><div {XHTML}>a</div>",
    ):
        clear(fhir.post("Basic", basic(text={"status": "generated", "div": div})), 422)


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<SCRIPT>alert(1)</SCRIPT>",
        '<p onmouseover="alert(1)">a</p>',
        '<a href="javascript:alert(1)">a</a>',
        '<a href=" java&#10;script:alert(1)">a</a>',
        '<a href="data:text/html;base64,PHNjcmlwdD4=">a</a>',
        '<a href="vbscript:x">a</a>',
        '<img src="x" onerror="alert(1)" alt="a"/>',
        '<iframe src="https://example.org"></iframe>',
        '<object data="x"></object>',
        '<embed src="x"/>',
        '<form action="https://example.org"><input name="a"/></form>',
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><mi>x</mi></math>',
        '<link rel="stylesheet" href="https://example.org/x.css"/>',
        "<style>@import url(https://example.org/x.css);</style>",
        '<base href="https://example.org/"/>',
        '<meta http-equiv="refresh" content="0;url=https://example.org"/>',
        '<p style="background:url(https://example.org/x)">a</p>',
        '<p style="width:expression(alert(1))">a</p>',
        "<p>unclosed",
        "<!-- <p> --><![CDATA[<script>]]><script/>",
    ],
)
def test_C06_narratives_that_would_act(fhir, inner):
    answer = fhir.post("Basic", basic(text={"status": "generated", "div": f"<div {XHTML}>{inner}</div>"}))
    clear(answer, 422)
    assert issues(answer)[0]["expression"] == ["Basic.text.div"]
    contained = {**basic(), "id": "c", "text": {"status": "generated", "div": f"<div {XHTML}>{inner}</div>"}}
    clear(fhir.post("Basic", basic(contained=[contained])), 422)


def test_C06_a_narrative_leaves_as_json_alone(fhir):
    # R4 allows images of other hosts; nothing here shows a narrative, and no browser is told to.
    div = f'<div {XHTML}><img src="https://tracker.example/pixel.png" alt="a"/></div>'
    made = fhir.new(basic(text={"status": "generated", "div": div}))
    for accept in ("text/html", "text/html,application/xhtml+xml,*/*;q=0.8"):
        answer = fhir.get(made.path, accept=accept)
        assert (
            answer.headers["content-type"].startswith((FHIR_JSON, "application/json"))
            and "sandbox" in answer.headers["content-security-policy"]
        )


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/pdf"])
def test_C07_a_page_sent_as_a_document_is_served_as_one(fhir, content_type):
    page = b"%PDF-1.4 <!DOCTYPE html><script>alert(document.domain)</script>"
    answer = fhir.get(stored(fhir.post("Binary", page, content_type=content_type)).path, accept="text/html,*/*")
    assert (answer.content, answer.headers["content-type"]) == (page, content_type)
    assert answer.headers["content-disposition"].split(";")[0] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff" and "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "content_type", ["text/html\r\nX-Injected: 1", "text/html\nSet-Cookie: a=b", "text/html\x00", "<script>", "x" * 5000, "text/\u00e9"]
)
def test_C07_types_of_content_cannot_write_headers(fhir, content_type):
    answer = fhir.post("Binary", {"resourceType": "Binary", "contentType": content_type, "data": "YQ=="})
    if answer.status_code != 201:
        clear(answer, 400, 422)
        return
    read = fhir.get(stored(answer).path)
    assert read.status_code in (200, 406) and not {"x-injected", "set-cookie"} & set(read.headers)


def test_B07_the_server_owns_version_and_instant(fhir):
    mine = {"versionId": "1", "lastUpdated": "1999-01-01T00:00:00Z", "_versionId": {"extension": [{"url": "u", "valueCode": "a"}]}}
    made = fhir.new(basic(meta=mine))
    meta = fhir.get(made.path).json()["meta"]
    assert set(meta) == {"versionId", "lastUpdated"} and meta["versionId"] == made.version != "1" and meta["lastUpdated"] > "2020"
