"""Small shapes of SVG that the diagrams share. Colours come from the style sheet, by class, so that they follow light and dark.

https://www.w3.org/TR/SVG2/ ; https://www.w3.org/TR/graphics-aria-1.0/
"""

import textwrap
from html import escape
from itertools import count

LETTER = 7.9  # mean width of a letter of 14 px in a wide face, in px
LINE = 18
_numbers = count(1)


def width_of(text: str) -> float:
    """Width of one line of text, in px, on the safe side."""
    return len(text) * LETTER


def wrapped(text: str, most: int) -> list[str]:
    """Text in lines of at most so many letters."""
    return textwrap.wrap(text, most, break_long_words=True, break_on_hyphens=False) or [""]


def words(x: float, y: float, lines: list[str], kind: str = "", anchor: str = "middle") -> str:
    """Lines of text; x, y: of the first base line."""
    name = f' class="{kind}"' if kind else ""
    spans = "".join(f'<tspan x="{x:.0f}" dy="{LINE if i else 0}">{escape(line)}</tspan>' for i, line in enumerate(lines))
    return f'<text{name} x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{spans}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, radius: int = 6) -> str:
    return f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="{radius}"/>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"/>'


def figure(width: float, height: float, parts: list[str], kind: str, told: str) -> str:
    """A whole picture. told: what it shows, in words, for those who do not see it."""
    number = next(_numbers)
    return (
        f'<div class="figure" tabindex="0" role="group" aria-labelledby="figure-{number}">'
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img"'
        f' aria-labelledby="figure-{number}"><title id="figure-{number}">{escape(told)}</title>{"".join(parts)}</svg></div>'
    )
