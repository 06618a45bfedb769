"""Sequence diagrams from a few lines of text to SVG.

The notation is a part of the one of https://mermaid.js.org/syntax/sequenceDiagram.html

    Logiciel -> Serveur: POST /fhir        a request
    Serveur --> Logiciel: 200              an answer, dashed
    Serveur -> Serveur: vérifie            something done by itself
    note Serveur: ce qui compte            a note over somebody
"""

import re
from typing import NamedTuple

from fhir_dmp.guide.drawing import LETTER, LINE, box, figure, line, width_of, words, wrapped

MESSAGE = re.compile(r"(.+?)\s*(-->|->)\s*(.+?)\s*:\s*(.*)")
NOTE = re.compile(r"note\s+(.+?)\s*:\s*(.*)")
MARGIN, HEAD, GAP, MOST = 16, 44, 14, 34
BOLD = 1.08  # how much wider bold letters are


class Step(NamedTuple):
    """One line. sign: ->, -->, or note. told: lines of text."""

    left: str
    sign: str
    right: str
    told: list[str]


def steps(text: str) -> list[Step]:
    """The lines of a diagram; ValueError names one that means nothing."""
    found = []
    for row in filter(None, (row.strip() for row in text.splitlines())):
        if match := NOTE.fullmatch(row):
            found.append(Step(match[1], "note", match[1], wrapped(match[2], MOST)))
        elif match := MESSAGE.fullmatch(row):
            found.append(Step(match[1], match[2], match[3], wrapped(match[4], MOST)))
        else:
            raise ValueError(f"a sequence diagram has no such line: {row}")
    return found


def svg(text: str) -> str:
    """The picture.

    >>> svg("A -> B: bonjour").count("<line")
    3
    """
    rows = steps(text)
    people = list(dict.fromkeys(name for row in rows for name in (row.left, row.right)))
    columns = places(people, rows)
    right = max(columns[name] + width_of(name) * BOLD / 2 + 12 for name in people)
    for row in rows:
        if row.left == row.right:
            beside = columns[row.left] + 34 if row.sign != "note" else columns[row.left] - widest(row) / 2 - 8
            right = max(right, beside + widest(row) + 8)
    parts, y = [], MARGIN + HEAD + GAP
    for row in rows:
        drawn, y = step(row, columns, y)
        parts += drawn
    lives = [line(columns[name], MARGIN + HEAD, columns[name], y, "life") for name in people]
    heads = []
    for name in people:
        wide = width_of(name) * BOLD + 24
        heads += [box(columns[name] - wide / 2, MARGIN, wide, HEAD - 8, "head"), words(columns[name], MARGIN + 23, [name], "name")]
    return figure(right + MARGIN, y + MARGIN, lives + heads + parts, "sequence", described(rows))


def places(people: list[str], rows: list[Step]) -> dict[str, float]:
    """Middle of each column: as near as their names and what they say to each other allow."""
    at = {
        people[0]: MARGIN
        + max(width_of(people[0]) * BOLD / 2 + 12, *(widest(r) / 2 + 8 for r in rows if r.sign == "note" and r.left == people[0]), 0)
    }
    for i, name in enumerate(people[1:], 1):
        before = people[i - 1]
        least = at[before] + (width_of(before) + width_of(name)) / 2 + 40
        for row in rows:
            ends = {row.left, row.right}
            if name in ends and len(ends) == 2 and (other := (ends - {name}).pop()) in at:
                least = max(least, at[other] + widest(row) + 28)
            elif ends == {before} and row.sign != "note":
                least = max(least, at[before] + widest(row) + 50)
            elif row.sign == "note" and row.left in (before, name):
                least = max(least, at[before] + widest(row) / 2 + 24)
        at[name] = least
    return at


def widest(row: Step) -> float:
    return max(len(told) for told in row.told) * LETTER


def step(row: Step, columns: dict[str, float], y: float) -> tuple[list[str], float]:
    """(shapes, where the next one begins)."""
    high = len(row.told) * LINE
    start, end = columns[row.left], columns[row.right]
    if row.sign == "note":
        wide = widest(row) + 16
        return [box(start - wide / 2, y, wide, high + 10, "note", 3), words(start, y + 18, row.told)], y + high + 10 + GAP
    kind = "answer" if row.sign == "-->" else "request"
    if row.left == row.right:
        loop = f'<path class="{kind}" d="M{start:.0f} {y + 6:.0f}h24v{max(high, 18):.0f}h-20"/>'
        return [loop, head(start + 2, y + 6 + max(high, 18), -1), words(start + 32, y + 18, row.told, "", "start")], y + max(
            high, 18
        ) + 6 + GAP
    level, way = y + high + 4, 1 if end > start else -1
    return [words((start + end) / 2, y + 14, row.told), line(start, level, end - 6 * way, level, kind), head(end, level, way)], level + GAP


def head(x: float, y: float, way: int) -> str:
    """The point of an arrow. way: 1 to the right."""
    return f'<path class="point" d="M{x:.0f} {y:.0f}l{-9 * way} -5v10z"/>'


def described(rows: list[Step]) -> str:
    """The diagram in words."""
    return ". ".join(f"{row.left}{'' if row.left == row.right else f' → {row.right}'} : {' '.join(row.told)}" for row in rows)
