"""Pages that are kept in one language: decisions, measurements, the changelog. Each says so to the French reader.

ig/decisions/, ig/performance.md, ig/access-map.md, CHANGELOG.md
"""

import re

from fhir_dmp.guide import sources
from fhir_dmp.guide.site import LANGUAGES, Site
from fhir_dmp.guide.writing import Blocks

NOTICE = '<blockquote><p lang="fr">Cette page est tenue en anglais, avec le code.</p></blockquote>'
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def add(site: Site) -> None:
    """All of them."""
    for path in sorted(sources.DECISIONS.glob("*.md")):
        one(site, f"decisions/{path.stem}", "records", path.read_text("utf-8"))
    one(site, "performance-figures", "records", (sources.ROOT / "ig" / "performance.md").read_text("utf-8"))
    one(site, "access-paths", "records", (sources.ROOT / "ig" / "access-map.md").read_text("utf-8"))
    one(site, "changelog", "records", (sources.ROOT / "CHANGELOG.md").read_text("utf-8"))


def one(site: Site, name: str, section: str, text: str) -> None:
    """One page, the same words in both languages of the site."""
    text = COMMENT.sub("", text)
    texts = {}
    for language in LANGUAGES:
        blocks = Blocks()
        notice = blocks.keep(NOTICE) + "\n\n" if language == "fr" else ""
        first, _, rest = text.partition("\n")
        opened, closed = blocks.keep('<div lang="en">'), blocks.keep("</div>")
        texts[language] = f"{first}\n\n{notice}{opened}\n\n{rest}\n\n{closed}\n", blocks
    site.add(name, section, texts)
