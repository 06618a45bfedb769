"""The access journal as a page or as text, in French or in English.

No script, no external address; https://www.w3.org/TR/WCAG22/
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from fhir_dmp.audit.told import Text
from fhir_dmp.dmp.paris import shown_clock
from fhir_dmp.fhir.instants import interval

TITLE = Text("Journal des accès à votre dossier", "Access journal of your record")
INTRODUCTION = Text(
    "Qui a consulté ou modifié ce dossier, quand et pour quoi faire. Les heures sont celles de Paris.",
    "Who saw or changed this record, when and what for. Times are those of Paris.",
)
NOTHING = Text("Aucun accès dans cette période.", "No access in this period.")
HEADINGS = (
    Text("Quand", "When"),
    Text("Qui", "Who"),
    Text("En qualité de", "Role"),
    Text("Établissement", "Establishment"),
    Text("Quoi", "What"),
)
STYLE = """:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid}
.failed td:last-child{font-weight:bold}"""


def said(text: Text, language: str) -> str:
    return text.en if language == "en" else text.fr


def cells(entry: Mapping[str, Any], language: str) -> tuple[str, ...]:
    """One entry as its five texts."""
    parts = {part["name"]: part for part in entry["part"]}
    when = shown_clock(interval(parts["when"]["valueInstant"])[0])
    return (when, *(spelled(parts.get(name, {}), language) for name in ("who", "role", "establishment", "what")))


def spelled(part: Mapping[str, Any], language: str) -> str:
    """A text in a language, French where it has no other."""
    for extension in (part.get("_valueString") or {}).get("extension", ()):
        said_in = {one["url"]: one for one in extension.get("extension", ())}
        if said_in.get("lang", {}).get("valueCode") == language:
            return said_in["content"]["valueString"]
    return part.get("valueString", "")


def text(parameters: Mapping[str, Any], language: str = "fr") -> str:
    """The journal as plain text, one line each, columns separated by a bar. parameters: as $access-journal answers."""
    title = said(TITLE, language)
    head = [title, "=" * len(title), said(INTRODUCTION, language), ""]
    rows = [" | ".join(cells(entry, language)) for entry in parameters.get("parameter", ())] or [said(NOTHING, language)]
    return "\n".join((*head, " | ".join(said(one, language) for one in HEADINGS), *rows, ""))


def html(parameters: Mapping[str, Any], language: str = "fr") -> str:
    """The same as a page."""
    title, introduction = escape(said(TITLE, language)), escape(said(INTRODUCTION, language))
    heads = "".join(f'<th scope="col">{escape(said(one, language))}</th>' for one in HEADINGS)
    rows = "".join(_rows(parameters.get("parameter", ()), language))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else f"<p>{escape(said(NOTHING, language))}</p>"
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1><p>{introduction}</p>{table}</body></html>"
    )


def _rows(entries: Iterable[Mapping[str, Any]], language: str) -> Iterable[str]:
    for entry in entries:
        failed = any(part.get("valueBoolean") for part in entry["part"] if part["name"] == "failed")
        columns = "".join(f"<td>{escape(one)}</td>" for one in cells(entry, language))
        mark = ' class="failed"' if failed else ""
        yield f"<tr{mark}>{columns}</tr>"
