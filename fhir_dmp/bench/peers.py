"""Figures of other servers, read from the tables of a Markdown file: columns server, data, work, conns, req/s.

https://github.github.com/gfm/#tables-extension-
"""

from pathlib import Path
from typing import NamedTuple

from fhir_dmp.commands import Failed


class Peer(NamedTuple):
    """One row. rate: the best of its repetitions, requests a second."""

    server: str
    size: str
    name: str
    connections: int
    rate: float


def read(path: Path) -> list[Peer]:
    """Every row of every table that has these columns."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{path} cannot be read: {error}") from None
    found: list[Peer] = []
    columns: dict[str, int] = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            columns = {}
        elif cells[:4] == ["server", "data", "work", "conns"]:
            columns = {name.split(" ")[0]: place for place, name in enumerate(cells)}
        elif columns and "req/s" in columns and (peer := _peer(cells, columns["req/s"])):
            found.append(peer)
    if not found:
        raise Failed(f"{path} has no table with the columns server, data, work, conns, req/s")
    return found


def _peer(cells: list[str], place: int) -> Peer | None:
    try:
        rates = [float(part.replace(",", "")) for part in cells[place].split("/")]
        return Peer(cells[0], cells[1], cells[2], int(cells[3]), max(rates))
    except (ValueError, IndexError):
        return None
