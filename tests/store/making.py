"""Rows to test with."""

import itertools
import os

from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import NewRow

_milliseconds = itertools.count(1_700_000_000_000)


def new_row(store: Store, type: str = "Patient", *, dossier: int | None = None, **fields) -> NewRow:
    """A first version in a dossier of its own, or in `dossier`."""
    dossier = store.new_dossier() if dossier is None else dossier
    id = store.vault.new_id(dossier)
    values = {
        "key": store.vault.locate(type, id),
        "dossier": dossier,
        "type": type,
        "version": store.vault.new_version(),
        "updated_ms": next(_milliseconds),
        "self64": store.vault.hash64(f"{type}/{id}".encode()),
        "x": (),
        "g": (),
        "c": (),
        "n": (),
        "body": f'{{"resourceType":"{type}","id":"{id}"}}'.encode(),
        "method": "POST",
    }
    return NewRow(**{**values, **fields})


def changed(row: NewRow, **fields) -> NewRow:
    """A following version."""
    version = int.from_bytes(os.urandom(8), "big", signed=True)
    return row._replace(
        **{"version": version, "updated_ms": max(next(_milliseconds), row.updated_ms + 1), "deleted": False, "method": "PUT", **fields}
    )
