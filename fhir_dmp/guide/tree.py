"""A profile as a tree of what it changes: cardinalities before and after, types, bindings, fixed values, rules.

https://hl7.org/fhir/R4/formats.html#table
"""

import json
from collections.abc import Callable
from html import escape

from fhir_dmp.guide.grid import Cell, code, table

TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
VALUES = ("fixed", "pattern")
STRENGTHS = {
    "required": ("obligatoire", "required"),
    "extensible": ("extensible", "extensible"),
    "preferred": ("conseillé", "preferred"),
    "example": ("exemple", "example"),
}
SAID = {
    "must": ("à savoir traiter", "must be supported"),
    "slices": ("se découpe selon", "sliced by"),
    "closed": ("rien d'autre", "nothing else"),
    "to": ("vers", "to"),
}
SEVERITIES = {
    "error": ("erreur", "error"),
    "warning": ("avertissement", "warning"),
    "information": ("information", "information"),
}
Link = Callable[[str], str]


def said(one: dict, name: str, language: str) -> str:
    """A text of a resource in a language: its own words are English, translations stand in extensions."""
    for extension in one.get(f"_{name}", {}).get("extension", ()) if language == "fr" else ():
        if extension["url"] == TRANSLATION:
            parts = {part["url"]: part for part in extension["extension"]}
            if parts.get("lang", {}).get("valueCode", "").startswith("fr"):
                content = parts["content"]
                return next(value for key, value in content.items() if key.startswith("value"))
    return one.get(name, "")


def html(profile: dict, language: str, link: Link) -> str:
    """The tree, one row for each element the profile speaks of."""
    bases = {one["id"]: one.get("base", {}) for one in profile.get("snapshot", {}).get("element", ())}
    rows = [
        (
            [
                Cell(place(one)),
                Cell(flags(one, language)),
                Cell(cardinality(one, bases.get(one["id"], {}))),
                Cell(types(one, link)),
                Cell(about(one, language, link)),
            ],
            {},
        )
        for one in with_parents(profile["differential"]["element"])
    ]
    heads = {
        "fr": ["Élément", "Signe", "Nombre", "Type", "Ce qui est demandé"],
        "en": ["Element", "Flag", "Cardinality", "Type", "What is asked"],
    }
    return table(language, heads[language], rows, filtered=len(rows) > 20, kind="tree")


def with_parents(elements: list[dict]) -> list[dict]:
    """The elements, each after those above it, of which a profile may say nothing.

    >>> [one["id"] for one in with_parents([{"id": "A"}, {"id": "A.b.c"}, {"id": "A.b.d"}])]
    ['A', 'A.b', 'A.b.c', 'A.b.d']
    """
    found: dict[str, dict] = {}
    said = {one["id"] for one in elements}
    for one in elements:
        parts = one["id"].split(".")
        for length in range(1, len(parts)):
            above = ".".join(parts[:length])
            if above not in said:
                found.setdefault(above, {"id": above, "unsaid": True})
        found[one["id"]] = one
    return list(found.values())


def place(one: dict) -> str:
    """Name of the element under its parents; a slice after a colon."""
    parts = one["id"].split(".")
    indent = f'<span class="indent" aria-hidden="true">{"│ " * max(0, len(parts) - 2)}{"├ " if len(parts) > 1 else ""}</span>'
    name, _, inner = parts[-1].partition(":")
    shown = f"{escape(name)}{f':<strong>{escape(inner)}</strong>' if inner else ''}"
    return f'{indent}<span class="unsaid">{shown}</span>' if one.get("unsaid") else indent + shown


def flags(one: dict, language: str) -> str:
    if not one.get("mustSupport"):
        return ""
    return f'<abbr title="{SAID["must"][language == "en"]}">MS</abbr>'


def cardinality(one: dict, base: dict) -> str:
    """As asked, beside what R4 asks when that differs."""
    if "min" not in one and "max" not in one:
        return ""
    low, high = one.get("min", base.get("min", 0)), one.get("max", base.get("max", "*"))
    now, before = f"{low}..{high}", f"{base.get('min', '')}..{base.get('max', '')}"
    return f"<del>{before}</del> <ins>{now}</ins>" if base and before != now else now


def types(one: dict, link: Link) -> str:
    """Types, profiles, targets."""
    made = []
    for each in one.get("type", ()):
        name = escape(each["code"].rsplit(".", 1)[-1])
        if each.get("targetProfile"):
            name += f" ({' | '.join(link(target) for target in each['targetProfile'])})"
        if each.get("profile"):
            name += f" {', '.join(link(profile) for profile in each['profile'])}"
        made.append(name)
    return "<br>".join(made)


def about(one: dict, language: str, link: Link) -> str:
    """Sentence, value, binding, slicing, rules."""
    parts = [escape(said(one, "short", language))] if one.get("short") else []
    for key, value in one.items():
        if key.startswith(VALUES):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            parts.append(f"= <code>{escape(text)}</code>")
    if binding := one.get("binding"):
        strength = STRENGTHS[binding["strength"]][language == "en"]
        parts.append(f"{link(binding['valueSet']) if 'valueSet' in binding else ''} ({strength})")
    if slicing := one.get("slicing"):
        by = ", ".join(f"<code>{escape(each['path'])}</code> ({each['type']})" for each in slicing.get("discriminator", ()))
        closed = f", {SAID['closed'][language == 'en']}" if slicing.get("rules") == "closed" else ""
        parts.append(f"{SAID['slices'][language == 'en']} {by}{closed}")
    if constraints := one.get("constraint"):
        parts.append(" ".join(f"<code>{escape(each['key'])}</code>" for each in constraints))
    return "<br>".join(parts)


def rules(profile: dict, language: str) -> str:
    """The rules of the profile with their FHIRPath; "" when it has none."""
    rows = [
        (
            [
                code(each["key"]),
                code(one["id"]),
                SEVERITIES[each["severity"]][language == "en"],
                said(each, "human", language),
                code(each.get("expression", "")),
            ],
            {},
        )
        for one in profile["differential"]["element"]
        for each in one.get("constraint", ())
    ]
    heads = {"fr": ["Règle", "Sur", "Gravité", "Ce qu'elle dit", "FHIRPath"], "en": ["Rule", "On", "Severity", "What it says", "FHIRPath"]}
    return table(language, heads[language], rows, filtered=False) if rows else ""
