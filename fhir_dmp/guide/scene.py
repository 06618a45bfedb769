"""Scenes: one document, the people around it, and who sees it; a few lines of text to SVG.

The signs are those of the table of access, ig/access-map.md

    Compte rendu de psychiatrie | masqué
    + Nadia | titulaire                     sees it
    ! Dr Martin | médecin traitant          sees it, with a warning
    - Dr Petit | cardiologue                does not see it
"""

from fhir_dmp.guide.drawing import LINE, box, figure, line, width_of, words, wrapped

SEES = {"fr": {"+": "voit", "!": "voit, averti", "-": "ne voit rien"}, "en": {"+": "sees", "!": "sees, warned", "-": "sees nothing"}}
COLUMN, MARGIN, SHEET, MOST = 150, 14, 118, 18
KINDS = {"+": "sees", "!": "warned", "-": "blind"}


def svg(text: str, language: str) -> str:
    """The picture. language: fr or en, for the words under the people.

    >>> 'class="blind"' in svg("Lettre | masquée\\n+ Nadia | titulaire\\n- Dr Petit | cardiologue", "fr")
    True
    """
    first, *rows = [row.strip() for row in text.splitlines() if row.strip()]
    title, _, state = (part.strip() for part in first.partition("|"))
    people = []
    for row in rows:
        if row[0] not in KINDS:
            raise ValueError(f"a scene has no such line: {row}")
        name, _, role = (part.strip() for part in row[1:].partition("|"))
        people.append((row[0], name, role))
    width = max(COLUMN * len(people) + 2 * MARGIN, SHEET + width_of(title) + 4 * MARGIN)
    parts = sheet(width / 2, MARGIN, wrapped(title, MOST), state)
    start = (width - COLUMN * len(people)) / 2 + COLUMN / 2
    lowest = 0.0
    for number, (sign, name, role) in enumerate(people):
        x = start + number * COLUMN
        parts.insert(0, line(width / 2, MARGIN + 92, x, 176, f"glance {KINDS[sign]}"))
        drawn, low = person(x, 196, sign, name, role, language)
        parts += drawn
        lowest = max(lowest, low)
    told = f"{title} ({state}) : " if state else f"{title} : "
    told += ", ".join(
        f"{name} ({role}) {SEES[language][sign]}" if role else f"{name} {SEES[language][sign]}" for sign, name, role in people
    )
    return figure(width, lowest + MARGIN, parts, "scene", told)


def sheet(x: float, y: float, title: list[str], state: str) -> list[str]:
    """A sheet of paper with its title, and its state in a ribbon."""
    wide = max(SHEET, max(1.15 * width_of(each) for each in title) + 28, width_of(state) + 40)
    parts = [box(x - wide / 2, y, wide, 92, "sheet", 4), words(x, y + 24, title, "name")]
    low = y + 24 + (len(title) - 1) * LINE
    if state:
        parts += [box(x - width_of(state) / 2 - 10, low + 14, width_of(state) + 20, 24, "ribbon", 12), words(x, low + 31, [state], "state")]
    return parts


def person(x: float, y: float, sign: str, name: str, role: str, language: str) -> tuple[list[str], float]:
    """(shapes, lowest point): an eye, a head, shoulders, who it is and what is seen."""
    kind = KINDS[sign]
    parts = [
        f'<g class="{kind}"><circle class="body" cx="{x:.0f}" cy="{y + 22:.0f}" r="13"/>'
        f'<path class="body" d="M{x - 24:.0f} {y + 66:.0f}c0 -34 48 -34 48 0z"/>{eye(x, y - 8, sign)}</g>',
        words(x, y + 86, wrapped(name, MOST), "name"),
    ]
    low = y + 86 + (len(wrapped(name, MOST)) - 1) * LINE
    if role:
        parts.append(words(x, low + LINE, wrapped(role, MOST), "role"))
        low += len(wrapped(role, MOST)) * LINE
    parts.append(words(x, low + LINE, [SEES[language][sign]], f"verdict {kind}"))
    return parts, low + LINE + 4


def eye(x: float, y: float, sign: str) -> str:
    """Open, open with a warning, or crossed out."""
    almond = (
        f'<path class="eye" d="M{x - 13:.0f} {y:.0f}q13 -14 26 0q-13 14 -26 0z"/><circle class="pupil" cx="{x:.0f}" cy="{y:.0f}" r="4"/>'
    )
    if sign == "-":
        return almond + line(x - 13, y + 9, x + 13, y - 9, "cross")
    return almond + (words(x + 22, y + 5, ["!"], "name") if sign == "!" else "")
