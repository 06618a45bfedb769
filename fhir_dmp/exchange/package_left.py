"""What takeovers that were refused or cut off left of a dossier that never was here: nothing of it comes into force by another package.

ig/decisions: host to host; access-rules: only its gestionnaire chooses the host of a dossier

A host that gave a dossier away knows its number and its keys for ever. What it sends under them, and is refused, must neither be met once
another host gives the dossier, nor keep the rows of that one out.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from fhir_dmp.exchange.package import RowLine
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import NewRow, Row
from fhir_dmp.store.takeover import Taken, Version

Before = Mapping[bytes, Mapping[int, Version]]


async def strange(store: Store, lines: Sequence[RowLine], taken: Sequence[Taken], before: Before) -> list[bytes]:
    """Keys of rows here of which something is not exactly what a package brings. lines, taken: of all that it brings, in one order."""
    brought = {(one.row.key, one.row.version): (line, one) for line, one in zip(lines, taken, strict=True)}
    found = []
    for key, own in before.items():
        for number, version in own.items():
            if not version.journal and not await _is_it(store, version, *brought.get((key, number), (None, None))):
                found.append(key)
                break
    return found


async def _is_it(store: Store, here: Version, line: RowLine | None, one: Taken | None) -> bool:
    if line is None or one is None or here.current != line.current or _said(here.row) != _said(one.row):
        return False
    if here.current and ((here.row.visible or None) != (one.row.visible or None) or here.row.acted_ms != one.acted_ms):
        return False
    return await _octets(store, here.row) == (one.row.content.sha256 if one.row.content is not None else None)


def _said(row: Row | NewRow) -> tuple:
    return row.type, row.updated_ms, row.method, row.deleted, row.body


async def _octets(store: Store, row: Row) -> bytes | None:
    """Digest of the content of a row."""
    if row.content is None:
        return None
    state = sha256()
    async for piece in store.contents.read(row.content.id):
        state.update(piece)
    return state.digest()
