"""XHTML of a narrative: only what R4 allows, nothing that acts when a browser shows it.

https://hl7.org/fhir/R4/narrative.html#xhtml
"""

import re

from lxml import etree

XHTML = "http://www.w3.org/1999/xhtml"
_PRE, _IMG = f"{{{XHTML}}}pre", f"{{{XHTML}}}img"
FAULTS = 20  # listed for one narrative

# txt-1 of R4, element by element and attribute by attribute.
ELEMENTS = frozenset(
    """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre q samp
    small span strong sub sup table tbody td tfoot th thead tr tt ul var
    """.split()  # noqa: SIM905
)
ATTRIBUTES = frozenset(
    """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset cite class colspan
    compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap rel rev rowspan rules scope shape span src
    start style summary tabindex title type valign value vspace width
    {http://www.w3.org/XML/1998/namespace}lang {http://www.w3.org/XML/1998/namespace}space
    """.split()  # noqa: SIM905
)

_ADDRESSES = frozenset({"href", "src", "cite", "longdesc"})
_SCHEMES = frozenset({"http", "https", "mailto", "tel", "ftp", "urn"})
# Remote images are allowed: R4 says so and its own examples have one. Whoever displays a narrative decides whether to load them.
_DATA_IMAGE = re.compile(r"data:image/(?:png|gif|jpeg|jpg|webp|bmp)[;,]", re.IGNORECASE)
_SCHEME = re.compile(r"([^:/?#]*):")
# What browsers drop from an address before reading its scheme.
_DROPPED = re.compile("[\x00-\x20\x7f-\x9f\u00a0\u00ad\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")
# A style may set looks, never load or run anything. Escapes and comments could hide these words, so they go too. An image inside
# the style itself loads nothing; the standard's own StructureDefinitions draw their trees so.
_STYLE_FAULT = re.compile(
    r"[\\<>@]|/\*|expression|behaviou?r|binding|javascript|vbscript|data:|url\s*\(|image-set|image\s*\(|src\s*\(", re.IGNORECASE
)
_STYLE_IMAGE = re.compile(r"url\(\s*data:\s*image/(?:png|gif|jpeg|jpg|webp|bmp);\s*base64,[A-Za-z0-9+/=\s]*\)", re.IGNORECASE)
# In HTML a comment or a CDATA section ends earlier than in XML, so what looks like a comment could become markup.
_UNSAFE_COMMENT = re.compile("[<>]|--!|-$")
_MARKUP_DECLARATION = re.compile(r"<!(?!--)|<\?")


# No network, no DTD, no entities; libxml2's own limits (256 levels, 10 MB of one text) stay on, so depth is refused fast.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def faults(div: str) -> list[str]:
    """What R4 does not allow in the XHTML of a Narrative, in plain words; [] when it is safe.

    >>> faults('<div xmlns="http://www.w3.org/1999/xhtml">Mme <b>Dupré</b></div>')
    []
    >>> faults('<div xmlns="http://www.w3.org/1999/xhtml"><script>x()</script></div>')
    ['element `script` is not allowed in a narrative']
    """
    if _MARKUP_DECLARATION.search(div):
        return ["a document type, an entity, CDATA or a processing instruction is not allowed in a narrative"]
    try:
        root = etree.fromstring(div, _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        return [f"the narrative is not well-formed XML: {_reason(error)}"]
    if root.tag != f"{{{XHTML}}}div":
        return [f"a narrative must be one `div` of the namespace {XHTML}"]
    found: dict[str, None] = {}
    for node in root.iter():
        if isinstance(node.tag, str):
            _element(node, found)
        elif _UNSAFE_COMMENT.search(node.text or ""):
            found["a comment with `<`, `>` or dashes at its end is not allowed in a narrative"] = None
        if len(found) >= FAULTS:
            return list(found)
    if not found and not _has_content(root):
        found["a narrative must have text or an image"] = None
    return list(found)


def _element(node: etree._Element, found: dict[str, None]) -> None:
    namespace, _, name = node.tag.rpartition("}")
    if namespace != "{" + XHTML or name not in ELEMENTS:
        found[f"element `{name[:40]}` is not allowed in a narrative"] = None
    for key, value in node.attrib.items():
        if key not in ATTRIBUTES:
            found[f"attribute `{key.rpartition('}')[2][:40]}` is not allowed in a narrative"] = None
        elif key in _ADDRESSES and not _safe_address(key, value):
            found[f"`{key}` of `{name[:40]}` must be a relative address or one of {', '.join(sorted(_SCHEMES))}"] = None
        elif key == "style" and _STYLE_FAULT.search(_STYLE_IMAGE.sub("", value)):
            found["a style must not load or run anything: no url, import, expression, escape or comment"] = None


def _safe_address(key: str, value: str) -> bool:
    bare = _DROPPED.sub("", value)
    scheme = _SCHEME.match(bare)
    if scheme is None or scheme[1].lower() in _SCHEMES:
        return True
    return key == "src" and _DATA_IMAGE.match(bare) is not None


def _has_content(root: etree._Element) -> bool:
    """txt-2 of R4. Inside `pre` white space is content: one of the standard's examples holds nothing else."""
    for node in root.iter():
        if isinstance(node.tag, str) and (
            (node.text and (not node.text.isspace() or node.tag == _PRE)) or (node.tag == _IMG and node.get("src"))
        ):
            return True
        if node.tail and not node.tail.isspace():
            return True
    return False


def _reason(error: Exception) -> str:
    """First sentence of the parser's message, without what the sender wrote in it."""
    text = str(error)
    for words, said in (
        ("Excessive depth", "elements are nested too deep"),
        ("mismatch", "an element is not closed"),
        ("Entity", "an entity is not defined; write the character itself"),
        ("Namespace prefix", "a namespace prefix is not defined"),
        ("Extra content", "there is something after the `div`"),
        ("Start tag expected", "it does not start with `<div`"),
        ("redefined", "an attribute is written twice"),
        ("bytes or XML input without encoding", "it has an encoding declaration"),
    ):
        if words in text:
            return said
    place = re.search(r"line (\d+), column (\d+)", text)
    return f"see line {place[1]}, column {place[2]} of it" if place else "it cannot be read"
