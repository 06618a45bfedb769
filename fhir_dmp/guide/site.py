"""The pages of the guide, each in French and in English at the same name, and what surrounds them.

https://hl7.org/fhir/R4/implementationguide.html ; French at /ig/NAME.html, English at /ig/en/NAME.html
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fhir_dmp import __version__
from fhir_dmp.guide import sources, writing
from fhir_dmp.guide.conversations import Broken, Exchange
from fhir_dmp.guide.writing import Blocks, Text

LANGUAGES = ("fr", "en")
MISSING = "404"
# Of one page, what the search knows at most, in letters.
MOST_SEARCHED = 6000


@dataclass(slots=True)
class Page:
    """name: without ".html", may hold "/". section: name of its place in the menu, "" for none. made: language -> its Text.

    short: language -> how the menu calls it, else its title. wide: without a table of contents beside it.
    """

    name: str
    section: str
    made: dict[str, Text] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)
    wide: bool = False

    def called(self, language: str) -> str:
        return self.short.get(language) or self.made[language].title


class Site:
    """All pages. menu: [{"name", "fr", "en", "pages": [...]}]. files: name -> bytes of what is no page.

    shown: name of an exchange -> (page that shows it first, what was asked).
    """

    def __init__(self, menu: list[dict]) -> None:
        self.menu = menu
        self.pages: dict[str, Page] = {}
        self.files: dict[str, bytes] = {}
        self.shown: dict[str, tuple[str, Exchange]] = {}
        self.templates = Environment(
            loader=FileSystemLoader(sources.TEMPLATES), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        self.wanted: list[tuple[str, str, str]] = []

    def add(
        self, name: str, section: str, texts: dict[str, tuple[str, Blocks]], short: dict[str, str] | None = None, wide: bool = False
    ) -> None:
        """A page from Markdown: language -> (text, what it keeps aside)."""
        page = Page(name, section, short=short or {}, wide=wide)
        for language, (text, blocks) in texts.items():
            page.made[language] = writing.html(text, language, blocks, self.addresses(name, language))
            if not page.made[language].title:
                raise Broken(f"page {name} has no title in {language}")
        self.pages[name] = page

    def addresses(self, name: str, language: str) -> Callable[[str, str], str]:
        """How a page names other pages and files. What it names must be there in the end."""
        up = "../" * name.count("/")

        def address(kind: str, target: str) -> str:
            self.wanted.append((kind, target, f"{language}/{name}"))
            if kind == "file":
                return up + ("../" if language == "en" else "") + target
            return f"{up}{target}.html"

        return address

    def write(self, folder: Path) -> None:
        """Every page and file below a folder."""
        for kind, target, where in self.wanted:
            if target not in (self.pages if kind == "page" else self.files):
                raise Broken(f"{where} links to {kind}:{target}, which is not there")
        for language in LANGUAGES:
            self.files[f"search.{language}.json"] = json.dumps(self.index(language), ensure_ascii=False, separators=(",", ":")).encode()
        for path in sorted(sources.ASSETS.iterdir()):
            self.files[f"assets/{path.name}"] = path.read_bytes()
        template = self.templates.get_template("page.html")
        for name, page in self.pages.items():
            for language in LANGUAGES:
                self.files[address_of(name, language)] = template.render(**self.around(page, language)).encode()
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def around(self, page: Page, language: str) -> dict:
        """What the template of a page is given."""
        other = "en" if language == "fr" else "fr"
        depth = page.name.count("/")
        root = "../" * (depth + (language == "en"))
        here = "../" * depth
        if page.name == MISSING:
            # Shown in the place of any address, so its own are whole.
            root, here = "/ig/", "/ig/en/" if language == "en" else "/ig/"
        order = [name for section in self.menu for name in section["pages"] if name in self.pages]
        place = order.index(page.name) if page.name in order else -1
        near = {"before": order[place - 1] if place > 0 else None, "after": order[place + 1] if 0 <= place < len(order) - 1 else None}
        menu = [
            {
                "title": section[language],
                "open": page.section == section["name"],
                "pages": [
                    {"title": self.pages[name].called(language), "href": f"{here}{name}.html", "here": name == page.name}
                    for name in section["pages"]
                    if name in self.pages
                ],
            }
            for section in self.menu
        ]
        return {
            "page": page.made[language],
            "wide": page.wide,
            "language": language,
            "root": root,
            "home": f"{here}index.html",
            "other": f"{root}en/{page.name}.html" if other == "en" else f"{root}{page.name}.html",
            "menu": [section for section in menu if section["pages"]],
            "version": __version__,
            **{side: name and {"title": self.pages[name].called(language), "href": f"{here}{name}.html"} for side, name in near.items()},
        }

    def index(self, language: str) -> list[dict]:
        """What the search reads: title, address below the language, headings, words."""
        return [
            {
                "t": page.made[language].title,
                "u": f"{name}.html",
                "h": page.made[language].toc,
                "w": writing.words(page.made[language].html).removeprefix(page.made[language].title).lstrip()[:MOST_SEARCHED],
            }
            for name, page in self.pages.items()
            if name != MISSING
        ]


def address_of(name: str, language: str) -> str:
    """Of a page, below the folder of the guide."""
    return f"{'en/' if language == 'en' else ''}{name}.html"


def replace_folder(made: Path, place: Path) -> None:
    """Put a finished folder where it belongs, at once; one that is there already is as good."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(place)
    except OSError:
        if not sources.is_built(place):
            shutil.rmtree(place, ignore_errors=True)
            made.rename(place)
        else:
            shutil.rmtree(made)
