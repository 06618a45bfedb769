"""Tables as HTML, with filters above them when there is much to look through.

https://html.spec.whatwg.org/multipage/tables.html
"""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import count
from typing import NamedTuple

_numbers = count(1)
# Where a long code may go on in the next line: after its signs, and between a small letter and a capital.
BREAK = re.compile(r"(?<=[./|_#=&?:-])(?=\w)|(?<=[a-z])(?=[A-Z])")
# More columns than that are read side by side on a phone too.
MOST_STACKED = 6
WORDS = {
    "fr": {"search": "Filtrer", "all": "tous", "table": "tableau", "what": "Ce que c'est"},
    "en": {"search": "Filter", "all": "all", "table": "table", "what": "What it is"},
}


class Cell(NamedTuple):
    """html: as it is. kind: class of the cell. column: name by which a choice of columns keeps it, "" for always."""

    html: str
    kind: str = ""
    column: str = ""


class Choice(NamedTuple):
    """A choice above a table. name: of the row's fact, or "column". values: (value, shown)."""

    name: str
    label: str
    values: list[tuple[str, str]]


def text(value: object) -> Cell:
    return Cell(escape(str(value)))


def code(value: object) -> Cell:
    return Cell(f"<code>{breakable(str(value))}</code>" if value != "" else "")


def breakable(text: str) -> str:
    """A code as HTML that a narrow column does not cut within a word.

    >>> breakable("Patient.birthDate")
    'Patient.<wbr>birth<wbr>Date'
    """
    return "<wbr>".join(map(escape, BREAK.split(text)))


def table(
    language: str,
    heads: Sequence[Cell | str],
    rows: Iterable[tuple[Sequence[Cell | str], dict[str, str]]],
    choices: Sequence[Choice] = (),
    *,
    filtered: bool = True,
    kind: str = "",
    caption: str = "",
) -> str:
    """rows: (cells, facts a choice may ask about). kind: tree or grid; any other one is shown row by row on a phone."""
    number = next(_numbers)
    said = WORDS[language]
    name = caption or said["table"]
    made = ["<tr>" + "".join(th(each) for each in heads) + "</tr>"]
    stacked = not kind and len(heads) <= MOST_STACKED
    told = ["", *(f' data-h="{escape(str(each))}"' if stacked and each != said["what"] else "" for each in heads[1:])]
    body = "".join(f"<tr{facts_of(facts)}>" + "".join(map(td, cells, told)) + "</tr>" for cells, facts in rows)
    styled = f' class="{kind or "stack"}"' if kind or stacked else ""
    grid = f'<table id="table-{number}"{styled}><thead>{"".join(made)}</thead><tbody>{body}</tbody></table>'
    scroll = f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(name)} {number}">{grid}</div>'
    return (filters(language, number, choices) if filtered else "") + scroll


def filters(language: str, number: int, choices: Sequence[Choice]) -> str:
    """The form above a table."""
    said = WORDS[language]
    made = [f'<label>{said["search"]}<input type="search" autocomplete="off"></label>']
    for choice in choices:
        kind = "data-column" if choice.name == "column" else f'data-row="{choice.name}"'
        options = f'<option value="">{said["all"]}</option>' + "".join(
            f'<option value="{escape(value)}">{escape(shown)}</option>' for value, shown in choice.values
        )
        made.append(f"<label>{escape(choice.label)}<select {kind}>{options}</select></label>")
    return f'<form class="filters" data-filters="table-{number}">{"".join(made)}<output></output></form>'


def facts_of(facts: dict[str, str]) -> str:
    return "".join(f' data-{name}="{escape(value)}"' for name, value in facts.items())


def th(cell: Cell | str) -> str:
    cell = cell if isinstance(cell, Cell) else text(cell)
    return f'<th scope="col"{attributes(cell)}><span>{cell.html}</span></th>'


def td(cell: Cell | str, told: str) -> str:
    cell = cell if isinstance(cell, Cell) else text(cell)
    return f"<td{attributes(cell)}{told if cell.html else ''}>{cell.html}</td>"


def attributes(cell: Cell) -> str:
    return (f' class="{cell.kind}"' if cell.kind else "") + (f' data-c="{escape(cell.column)}"' if cell.column else "")
