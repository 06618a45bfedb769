"""Markdown to HTML: anchors, a table of contents, links by the name of a page, coloured code, diagrams.

https://spec.commonmark.org/ with the tables of GitHub.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from html import escape, unescape
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

from fhir_dmp.guide import scene, sequence

BLOCK = re.compile(r"<p>\x02(\d+)\x02</p>|\x02(\d+)\x02")
HREF = re.compile(r'(?<=href="|\ssrc=")(page|file):([^"#]*)(#[^"]*)?')
TAG = re.compile(r"<[^>]+>")
PICTURES = re.compile(r"<svg.*?</svg>", re.DOTALL)
TABLE = re.compile(r'<table( class="stack")?>')
# Fewer columns fit beside one another.
LEAST_STACKED = 3
TABLES = {"fr": "tableau", "en": "table"}
# Longer code is shown plain: colours would cost more time than they are worth.
MOST_COLOURED = 60_000


class Text(NamedTuple):
    """A page as HTML. title: of its first heading. toc: (anchor, heading) of the second level."""

    title: str
    html: str
    toc: list[tuple[str, str]]


class Blocks:
    """HTML that must pass through Markdown untouched: each piece is a mark until the end."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def keep(self, html: str) -> str:
        self.kept.append(html)
        return f"\x02{len(self.kept) - 1}\x02"

    def restored(self, html: str) -> str:
        while BLOCK.search(html):
            html = BLOCK.sub(lambda found: self.kept[int(found[1] or found[2])], html)
        return html


def slug(text: str) -> str:
    """A name for an anchor.

    >>> slug("Ce que « masquer » veut dire")
    'ce-que-masquer-veut-dire'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


@cache
def coloured(text: str, language: str) -> str:
    """Code as HTML, its words in classes; kept, since both languages of the guide show it. language: a name of Pygments, "" for none."""
    if language and len(text) < MOST_COLOURED:
        body = highlight(text, lexer(language), FORMATTER).strip()
    else:
        body = escape(text)
    return f'<pre class="code" tabindex="0"><code>{body}</code></pre>'


FORMATTER = HtmlFormatter(nowrap=True)


@cache
def lexer(language: str):
    """The lexer of a language."""
    return get_lexer_by_name({"fhir": "json", "console": "console"}.get(language, language))


def html(text: str, language: str, blocks: Blocks, address: Callable[[str, str], str]) -> Text:
    """A page. language: fr or en. address: (page or file, name) -> relative address."""
    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
    # The pages are our own: `file:` and `page:` name parts of the guide.
    renderer.validateLink = lambda _: True
    renderer.add_render_rule("fence", lambda _, tokens, index, *__: fence(tokens[index], language))
    tokens = renderer.parse(text)
    title, toc, seen = "", [], set()
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            said = TAG.sub("", renderer.renderInline(tokens[number + 1].content)).strip()
            anchor = slug(unescape(said)) or "titre"
            while anchor in seen:
                anchor += "-2"
            seen.add(anchor)
            token.attrSet("id", anchor)
            if token.tag == "h1":
                title = title or unescape(said)
            elif token.tag == "h2":
                toc.append((anchor, unescape(said)))
    stacked(tokens)
    made = renderer.renderer.render(tokens, renderer.options, {})
    made = TABLE.sub(rf'<div class="scroll" tabindex="0" role="group" aria-label="{TABLES[language]}">\g<0>', made)
    made = made.replace("</table>", "</table></div>")
    return Text(title, linked(blocks.restored(made), address), toc)


def stacked(tokens: list[Token]) -> None:
    """Mark tables of many columns, which a phone shows row by row: each cell is told its head."""
    table, heads, column = None, [], 0
    for number, token in enumerate(tokens):
        if token.type == "table_open":
            table, heads = token, []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            heads.append(tokens[number + 1].content)
        elif token.type == "thead_close" and len(heads) >= LEAST_STACKED:
            table.attrSet("class", "stack")
        elif token.type == "td_open" and len(heads) >= LEAST_STACKED:
            if column and tokens[number + 1].content:
                token.attrSet("data-h", heads[column].replace("`", ""))
            column += 1


def linked(text: str, address: Callable[[str, str], str]) -> str:
    """HTML with links of the form page:NAME and file:NAME made addresses."""
    return HREF.sub(lambda found: address(found[1], found[2]) + (found[3] or ""), text)


def fence(token, language: str) -> str:
    """A fenced block: a diagram, a scene, or code."""
    kind = token.info.strip()
    if kind == "sequence":
        return sequence.svg(token.content)
    if kind == "scene":
        return scene.svg(token.content, language)
    return coloured(token.content.rstrip("\n"), kind)


def words(text: str) -> str:
    """The words of HTML, for searching."""
    return re.sub(r"\s+", " ", unescape(TAG.sub(" ", PICTURES.sub(" ", text.replace("<wbr>", ""))))).strip()
