"""Verification of rows: each stored version and content opens under the key of its dossier, at its place and nowhere else.

https://csrc.nist.gov/pubs/sp/800/38/d/final
"""

from collections.abc import Callable, Mapping
from typing import Any

from fhir_dmp.audit.verify import Report
from fhir_dmp.errors import FhirError
from fhir_dmp.store.failures import Broken
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import row_of
from fhir_dmp.store.vault import dossier_in, is_dossier_row, version_id


async def rows(store: Store, report: Report, progress: Callable[[int], None] = lambda done: None) -> None:
    """Check every row of the store; faults are added to the report. progress: told how many rows are done."""
    for collection in ("resources", "versions"):
        async for documents in store.log.every_row(collection):
            keys = await store.log.keys({dossier_in(document["_id"]) for document in documents})
            for document in documents:
                row_key = document["k"] if collection == "versions" and "k" in document else document["_id"]
                if collection == "resources" and is_dossier_row(row_key):
                    _dossier(report, document, keys[dossier_in(row_key)])
                    continue
                await _row(store, report, document, bytes(row_key), keys[dossier_in(row_key)])
            report.rows += len(documents)
            progress(report.rows)


def _dossier(report: Report, document: Mapping[str, Any], key: object) -> None:
    if key is None and "k" in document:
        report.add("altered", f"the key of dossier {dossier_in(document['_id'])}", "it does not open under the key of this host")
    elif key is None and "e" not in document:
        report.add("deleted", f"the key of dossier {dossier_in(document['_id'])}", "it is gone although the dossier was not erased")


async def _row(store: Store, report: Report, document: Mapping[str, Any], row_key: bytes, key) -> None:
    if key is None:
        return  # erased; the row of the dossier tells
    name = f"{document.get('t') or document.get('tz') or 'row'}/{store.vault.seal_id(row_key)}"
    if "v" in document and isinstance(document["v"], int):
        name += f"/_history/{version_id(document['v'])}"
    try:
        if document["d"] != dossier_in(row_key) and store.vault.open_id(store.vault.seal_id(row_key)) == row_key and not store.sandbox:
            report.add("altered", name, "it stands in the dossier of another patient")
            return
        row_of(document, key)
        for content in document.get("f", ()):
            async for _ in store.contents.read(content["i"], dossier=document["d"]):
                pass
    except (Broken, KeyError, TypeError, ValueError) as error:
        report.add("altered", name, str(error) if isinstance(error, Broken) else "its row does not read")
    except FhirError as error:
        report.add("altered", name, f"its content does not read: {error}")
