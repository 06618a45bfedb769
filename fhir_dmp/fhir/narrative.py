"""XHTML of a narrative: only what R4 allows, nothing that acts when a browser shows it.

https://hl7.org/fhir/R4/narrative.html#xhtml
"""

import re
from xml.parsers import expat

XHTML = "http://www.w3.org/1999/xhtml"
XML = "http://www.w3.org/XML/1998/namespace"
DEPTH = 64
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
    """.split()  # noqa: SIM905
)

# Names as the parser gives them: namespace, space, local name.
_ALLOWED = frozenset(f"{XHTML} {name}" for name in ELEMENTS)
_DIV, _PRE, _IMG = f"{XHTML} div", f"{XHTML} pre", f"{XHTML} img"
_XML_ATTRIBUTES = frozenset({f"{XML} lang", f"{XML} space"})
_ADDRESSES = frozenset({"href", "src", "cite", "longdesc"})
_PLAIN = (ATTRIBUTES | _XML_ATTRIBUTES) - _ADDRESSES - {"style"}

_SCHEMES = frozenset({"http", "https", "mailto", "tel", "ftp", "urn"})
# Remote images are no fault: R4 allows them and its own examples have one. `remote_images` is for whoever does not.
_DATA_IMAGE = re.compile(r"data:image/(?:png|gif|jpeg|jpg|webp|bmp)[;,]", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?:|ftp:|[\\/]{2})", re.IGNORECASE)
_SCHEME = re.compile(r"([^:/?#]*):")
# What browsers drop from an address before reading its scheme.
_DROPPED = re.compile("[\x00-\x20\x7f-\x9f\u00a0\u00ad\u200b-\u200f\u2028-\u202f\u2060\ufeff]+")
# A style may set looks, never load or run anything: only plain characters, harmless functions, and none of these words.
# Escapes and comments, which could hide them, are no plain characters.
_STYLE = re.compile(
    r"""(?:[A-Za-z0-9 \t\r\n:;#.,%'"!+=_*\-\u0080-\U0010ffff]|/(?!\*)"""
    r"""|(?<![A-Za-z-])(?:rgba?|hsla?|calc|min|max|alpha|rotate|scale|translate|(?:linear|radial)-gradient)\([0-9 ,.%a-z#=+*-]*\))*""",
    re.IGNORECASE,
)
_STYLE_WORDS = ("expression", "behavior", "behaviour", "binding", "javascript", "vbscript", "data:")
# An image inside the style itself loads nothing; the standard's own StructureDefinitions draw their trees so.
_STYLE_IMAGE = re.compile(r"url\(\s*data:\s*image/(?:png|gif|jpeg|jpg|webp|bmp);\s*base64,[A-Za-z0-9+/=\s]*\)", re.IGNORECASE)
# In HTML a comment or a CDATA section ends earlier than in XML, so what looks like a comment could become markup.
_UNSAFE_COMMENT = re.compile("[<>]|--!|-$")
_MARKUP_DECLARATION = re.compile(r"<(?:!(?!--)|\?)")


def remote_images(div: str) -> list[str]:
    """Addresses of images that whoever shows the narrative would fetch from somewhere else, telling there that it was read.

    div: one in which `faults` found none.

    >>> remote_images('<div xmlns="http://www.w3.org/1999/xhtml"><img src="a.png"/><img alt=">" src="HTTP://a.example/b.png"/></div>')
    ['HTTP://a.example/b.png']
    """
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: found.append(attributes.get("src", ""))
    parser.Parse(div, True)
    return [address for address in found if _REMOTE.match(address.strip())]


def faults(div: str) -> list[str]:
    """What R4 does not allow in the XHTML of a Narrative, in plain words; [] when it is safe.

    >>> faults('<div xmlns="http://www.w3.org/1999/xhtml">Mme <b>Dupré</b></div>')
    []
    >>> faults('<div xmlns="http://www.w3.org/1999/xhtml"><script>x()</script></div>')
    ['element `script` is not allowed in a narrative']
    """
    if _MARKUP_DECLARATION.search(div):
        return ["a document type, an entity, CDATA or a processing instruction is not allowed in a narrative"]
    reader = _Reader(div)
    try:
        reader.parser.Parse(div, True)
    except _Enough:
        pass
    except expat.ExpatError as error:
        reader.found[f"the narrative is not well-formed XML: {_reason(error)}"] = None
    except UnicodeEncodeError:
        reader.found["the narrative holds half of a surrogate pair"] = None
    if not reader.found and not reader.content:
        reader.found["a narrative must have text or an image"] = None
    return list(reader.found)


class _Enough(Exception):
    """Reading further would add nothing."""


class _Reader:
    """Events of one narrative. found: faults in order. content: whether text or an image was seen (txt-2 of R4)."""

    __slots__ = ("parser", "found", "content", "_depth", "_pre", "_first")

    def __init__(self, div: str) -> None:
        # Document types are refused before, so no entity can be declared; expat itself loads nothing.
        self.parser = parser = expat.ParserCreate(namespace_separator=" ")
        self.found: dict[str, None] = {}
        self.content = self._pre = False
        self._first = True
        self._depth = 0
        parser.StartElementHandler = self.start
        parser.CharacterDataHandler = self.text
        # Handlers cost: what cannot happen in this text is not listened to. Depth takes an opening and a closing tag a level.
        if div.count("<") > 2 * DEPTH:
            parser.StartElementHandler = self.start_counted
            parser.EndElementHandler = self.end
        if "<!--" in div:
            parser.CommentHandler = self.comment

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._first:
            self._first = False
            if name != _DIV:
                self.found[f"a narrative must be one `div` of the namespace {XHTML}"] = None
                raise _Enough
        if name not in _ALLOWED:
            self.found[f"element {_local(name)} is not allowed in a narrative"] = None
        elif name == _PRE:
            self._pre = True
        if attributes:
            if name == _IMG and attributes.get("src"):
                self.content = True
            for key, value in attributes.items():
                if key not in _PLAIN:
                    self.attribute(name, key, value)
        if self.found and len(self.found) >= FAULTS:
            raise _Enough

    def start_counted(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH:
            self.found[f"elements are nested more than {DEPTH} deep"] = None
            raise _Enough
        self.start(name, attributes)

    def end(self, name: str) -> None:
        self._depth -= 1

    def text(self, data: str) -> None:
        # Inside `pre` white space is content: one of the standard's examples holds nothing else.
        if self._pre or not data.isspace():
            self.content = True
            self.parser.CharacterDataHandler = None

    def comment(self, data: str) -> None:
        if _UNSAFE_COMMENT.search(data):
            self.found["a comment with `<`, `>` or dashes at its end is not allowed in a narrative"] = None

    def attribute(self, name: str, key: str, value: str) -> None:
        if key in _ADDRESSES:
            if not _safe_address(key, value):
                said = f"`{key}` of {_local(name)} must be a relative address or one of {', '.join(sorted(_SCHEMES))}"
                self.found[said] = None
        elif key != "style":
            self.found[f"attribute {_local(key)} is not allowed in a narrative"] = None
        elif not _safe_style(value):
            self.found["a style must not load or run anything: no url, import, expression, escape or comment"] = None


def _local(name: str) -> str:
    return f"`{name.rpartition(' ')[2][:40]}`"


def _safe_style(value: str) -> bool:
    bare = _STYLE_IMAGE.sub("", value) if "data:" in value else value
    lower = bare.lower()
    return _STYLE.fullmatch(bare) is not None and not any(word in lower for word in _STYLE_WORDS)


def _safe_address(key: str, value: str) -> bool:
    bare = _DROPPED.sub("", value)
    scheme = _SCHEME.match(bare)
    if scheme is None or scheme[1].lower() in _SCHEMES:
        return True
    return key == "src" and _DATA_IMAGE.match(bare) is not None


_REASONS = {
    expat.errors.XML_ERROR_UNDEFINED_ENTITY: "an entity is not defined; write the character itself",
    expat.errors.XML_ERROR_TAG_MISMATCH: "an element is not closed",
    expat.errors.XML_ERROR_NO_ELEMENTS: "an element is not closed, or there is none",
    expat.errors.XML_ERROR_UNCLOSED_TOKEN: "a tag or a comment is not closed",
    expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT: "there is something after the `div`",
    expat.errors.XML_ERROR_DUPLICATE_ATTRIBUTE: "an attribute is written twice",
    expat.errors.XML_ERROR_UNBOUND_PREFIX: "a namespace prefix is not defined",
}


def _reason(error: expat.ExpatError) -> str:
    said = _REASONS.get(expat.errors.messages[error.code], expat.errors.messages[error.code])
    return f"{said} (line {error.lineno}, column {error.offset + 1} of it)"
