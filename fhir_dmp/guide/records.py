"""Pages that are kept with the code: decisions, measurements, the changelog, in one language; each says so to the French reader.

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
    figures = (sources.ROOT / "ig" / "performance.md").read_text("utf-8")
    picture = sources.ROOT / "ig" / "performance.svg"
    if picture.is_file():  # there once `bench --write` has made it
        site.files[picture.name] = picture.read_bytes()
        figures = figures.replace(f"]({picture.name})", f"](file:{picture.name})")
    one(site, "performance-figures", "records", figures)
    different = [(sources.ROOT / "ig" / f"profiles-differences{end}.md").read_text("utf-8") for end in ("", ".fr")]
    one(site, "profiles-differences", "artefacts", *different)
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


def one(site: Site, name: str, section: str, text: str, french: str = "") -> None:
    """One page. french: its words there; without them the same ones, and a line that says so."""
    texts = {}
    for language in LANGUAGES:
        blocks = Blocks()
        if language == "fr" and french:
            texts[language] = french, blocks
            continue
        notice = blocks.keep(NOTICE) + "\n\n" if language == "fr" else ""
        first, _, rest = COMMENT.sub("", text).partition("\n")
        opened, closed = blocks.keep('<div lang="en">'), blocks.keep("</div>")
        texts[language] = f"{first}\n\n{notice}{opened}\n\n{rest}\n\n{closed}\n", blocks
    site.add(name, section, texts, {"fr": FRENCH[name]} if name in FRENCH else {})


TABLES = {"decisions": decisions}
