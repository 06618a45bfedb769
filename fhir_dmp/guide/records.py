"""Pages that are kept in one language: decisions, measurements, the changelog. Each says so to the French reader.

ig/decisions/, ig/performance.md, ig/access-map.md, CHANGELOG.md
"""

import json
import re
from html import escape

from fhir_dmp.guide import sources
from fhir_dmp.guide.grid import Cell, table
from fhir_dmp.guide.site import LANGUAGES, Site
from fhir_dmp.guide.writing import Blocks

NOTICE = '<blockquote><p lang="fr">Cette page est tenue en anglais, avec le code.</p></blockquote>'
# How the French menu calls them.
FRENCH = {
    "profiles-differences": "Différences avec d'autres profils",
    "access-paths": "Carte des accès",
    "performance-figures": "Chiffres du dernier passage",
    "changelog": "Journal des versions",
}
NUMBER = {"fr": "Numéro", "en": "Number"}
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def add(site: Site) -> None:
    """All of them."""
    for path in sorted(sources.DECISIONS.glob("*.md")):
        one(site, f"decisions/{path.stem}", "records", path.read_text("utf-8"))
    one(site, "performance-figures", "records", (sources.ROOT / "ig" / "performance.md").read_text("utf-8"))
    one(site, "profiles-differences", "artefacts", (sources.ROOT / "ig" / "profiles-differences.md").read_text("utf-8"))
    one(site, "access-paths", "records", (sources.ROOT / "ig" / "access-map.md").read_text("utf-8"))
    one(site, "changelog", "records", (sources.ROOT / "CHANGELOG.md").read_text("utf-8"))


def decisions(language: str) -> str:
    """Every decision with what it says in a sentence: the French ones stand in ig/decisions/fr.json, the English ones are the titles."""
    french = json.loads((sources.DECISIONS / "fr.json").read_text("utf-8"))
    rows = []
    for path in sorted(sources.DECISIONS.glob("*.md")):
        number, _, title = path.read_text("utf-8").partition("\n")[0].lstrip("# ").partition(" ")
        link = f'<a href="page:decisions/{path.stem}" lang="en">{escape(title)}</a>'
        rows.append(([str(int(number.rstrip("."))), Cell(link), *([french.get(path.stem, "")] if language == "fr" else [])], {}))
    heads = {"fr": ["Décision", "En une phrase"], "en": ["Decision"]}
    return table(language, [NUMBER[language], *heads[language]], rows, filtered=False)


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
    site.add(name, section, texts, {"fr": FRENCH[name]} if name in FRENCH else {})


TABLES = {"decisions": decisions}
