"""Safe XHTML of a narrative. https://hl7.org/fhir/R4/narrative.html#xhtml"""

import time

import pytest

from fhir_dmp.fhir.narrative import faults

START = '<div xmlns="http://www.w3.org/1999/xhtml">'

SAFE = [
    "text",
    "<p>a <b>b</b></p><table><tbody><tr><td colspan='2' style='color: red'>x</td></tr></tbody></table>",
    "<a href='http://example.org'>x</a><a href='#p1'>y</a><a href='Patient/1'>z</a><a href='mailto:a@example.org' title='t'>m</a>",
    "<img src='#image' alt='x'/>",
    "<img src='http://example.org/logo.png'/>",
    "<img src='data:image/png;base64,AAAA'/>",
    "<p style='background: url(data:image/png;base64,AAAA)'>x</p>",
    "<p style='color: rgb(1, 2, 3); width: calc(100% - 2px); font-family: \"Arial\"'>x</p>",
    "<p style='font: 12px/1.5 Système; filter: alpha(opacity=50); background: linear-gradient(red, #fff)'>x</p>",
    "<!-- a comment --> text",
    "&lt;script&gt; &amp; &#160; é 😀",
    "<p title='&lt;script>'>x</p>",
    "<pre>\n  </pre>",
    "<p lang='fr' xml:lang='fr' dir='rtl'>x</p>",
]

UNSAFE = {
    "<script>alert(1)</script>": "element `script`",
    "<SCRIPT>alert(1)</SCRIPT>": "element `SCRIPT`",
    "<p onclick='x()'>x</p>": "attribute `onclick`",
    "<p onmouseover='x()'>x</p>": "attribute `onmouseover`",
    "<img src='x' onerror='x()'/>": "attribute `onerror`",
    "<a href='javascript:x()'>x</a>": "`href` of `a`",
    "<a href='JaVaScRiPt:x()'>x</a>": "`href` of `a`",
    "<a href=' java&#9;script&#58;x()'>x</a>": "`href` of `a`",
    "<a href='&#x200b;javascript:x()'>x</a>": "`href` of `a`",
    "<a href='vbscript:x'>x</a>": "`href` of `a`",
    "<a href='data:text/html,x'>x</a>": "`href` of `a`",
    "<img src='data:text/html,x'/>": "`src` of `img`",
    "<img src='data:image/svg+xml,x'/>": "`src` of `img`",
    "<blockquote cite='javascript:x'>x</blockquote>": "`cite` of `blockquote`",
    "<p style='background: url(http://example.org/x)'>x</p>": "a style",
    "<p style='background: u\\72l(http://example.org/x)'>x</p>": "a style",
    "<p style='background: ur/**/l(//example.org/x)'>x</p>": "a style",
    "<p style='width: expression(alert(1))'>x</p>": "a style",
    "<p style='-moz-binding: x'>x</p>": "a style",
    "<p style='@import x'>x</p>": "a style",
    "<p style='background: -webkit-image-set(x)'>x</p>": "a style",
    "<p style='x: srgb(javascript)'>x</p>": "a style",
    "<style>p {}</style>": "element `style`",
    "<link rel='stylesheet' href='x'/>": "element `link`",
    "<iframe src='x'/>": "element `iframe`",
    "<object data='x'/>": "element `object`",
    "<embed src='x'/>": "element `embed`",
    "<form action='x'><input/></form>": "element `form`",
    "<base href='x'/>": "element `base`",
    "<body>x</body>": "element `body`",
    "<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>": "element `svg`",
    "<math xmlns='http://www.w3.org/1998/Math/MathML'/>": "element `math`",
    "<h:script xmlns:h='http://www.w3.org/1999/xhtml'>x</h:script>": "element `script`",
    "<p xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='x'>x</p>": "attribute `href`",
    "<![CDATA[><script>x()</script>]]>": "CDATA",
    "<?php x ?>": "processing instruction",
    "<!-- ><script>x()</script> -->": "a comment",
    "&nbsp;": "an entity is not defined",
    "<p>x": "not closed",
    "<p a='1' a='2'>x</p>": "written twice",
    "": "must have text or an image",
    " \n\t ": "must have text or an image",
    "<p/><!-- x -->": "must have text or an image",
    "\x01": "not well-formed",
}

NOT_A_DIV = ["", "text", "<p>x</p>", "<div>x</div>", '<div xmlns="http://www.w3.org/1999/xhtml/">x</div>', "<div", f"{START}x</div><p/>"]


@pytest.mark.parametrize("inner", SAFE)
def test_a_safe_narrative_is_accepted(inner):
    assert faults(f"{START}{inner}</div>") == []


@pytest.mark.parametrize(("inner", "said"), UNSAFE.items())
def test_an_unsafe_narrative_is_refused_with_its_reason(inner, said):
    found = faults(f"{START}{inner}</div>")
    assert any(said in fault for fault in found), found


@pytest.mark.parametrize("text", NOT_A_DIV)
def test_a_narrative_is_one_div_of_the_xhtml_namespace(text):
    assert faults(text)


def test_a_document_type_is_refused_before_anything_is_read():
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>' + START + "&b;</div>"
    assert faults(bomb) == ["a document type, an entity, CDATA or a processing instruction is not allowed in a narrative"]
    external = '<!DOCTYPE d SYSTEM "file:///etc/passwd">' + START + "x</div>"
    assert faults(external) == ["a document type, an entity, CDATA or a processing instruction is not allowed in a narrative"]


@pytest.mark.parametrize("closed", [True, False])
def test_a_deeply_nested_narrative_is_refused_fast(closed):
    text = START + "<div>" * 100_000 + ("</div>" * 100_001 if closed else "")
    began = time.process_time()
    assert faults(text) == ["elements are nested more than 64 deep"]
    assert time.process_time() - began < 0.1


def test_half_a_surrogate_pair_is_refused():
    assert faults(f"{START}\ud800</div>") == ["the narrative holds half of a surrogate pair"]


def test_the_list_of_faults_is_bounded():
    assert len(faults(START + "".join(f"<x{n}/>" for n in range(1000)) + "</div>")) == 20
