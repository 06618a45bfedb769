"""Verification of rows: each stored version and content opens under the key of its dossier, at its place; its index is that of its body.

https://csrc.nist.gov/pubs/sp/800/38/d/final ; https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from fhir_dmp.audit.verify import Report
from fhir_dmp.errors import FhirError
from fhir_dmp.search.blind import Entries
from fhir_dmp.store.failures import Broken
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Row, decimal128, row_of
from fhir_dmp.store.vault import dossier_in, is_dossier_row, version_id

# What a current row shows to a search, derived from its body; None where that cannot be told.
Derive = Callable[[Row], Entries | None]


async def rows(
    store: Store, report: Report, progress: Callable[[int], None] = lambda done: None, derive: Derive = lambda row: None
) -> None:
    """Check every row of the store; faults are added to the report. progress: told how many rows are done."""
    for collection in ("resources", "versions"):
        async for documents in store.log.every_row(collection):
            keys = await store.log.keys({_dossier_of(document) for document in documents})
            for document in documents:
                row_key = document["k"] if collection == "versions" and "k" in document else document["_id"]
                if collection == "resources" and is_dossier_row(row_key):
                    _dossier(report, document, keys[_dossier_of(document)])
                    continue
                row = await _row(store, report, document, bytes(row_key), keys[_dossier_of(document)])
                if row is not None and collection == "resources" and not row.deleted and row.body is not None:
                    _index(store, report, document, derive(row))
            report.rows += len(documents)
            progress(report.rows)


def _dossier_of(document: Mapping[str, Any]) -> int:
    """As the row says: an id that a client of a sandbox chose does not tell it."""
    said = document.get("d")
    return said if isinstance(said, int) else dossier_in(document["_id"])


def _dossier(report: Report, document: Mapping[str, Any], key: object) -> None:
    if key is None and "k" in document:
        report.add("altered", f"the key of dossier {dossier_in(document['_id'])}", "it does not open under the key of this host")
    elif key is None and "e" not in document:
        report.add("deleted", f"the key of dossier {dossier_in(document['_id'])}", "it is gone although the dossier was not erased")


async def _row(store: Store, report: Report, document: Mapping[str, Any], row_key: bytes, key) -> Row | None:
    """The row, opened; None when it was erased (the row of the dossier tells) or is a fault."""
    if key is None:
        return None
    name = f"{document.get('t') or document.get('tz') or 'row'}/{store.vault.seal_id(row_key)}"
    if "v" in document and isinstance(document["v"], int):
        name += f"/_history/{version_id(document['v'])}"
    try:
        if document["d"] != dossier_in(row_key) and not store.sandbox:
            report.add("altered", name, "it stands in the dossier of another patient")
            return None
        row = row_of(document, key)
        for content in document.get("f", ()):
            async for _ in store.contents.read(content["i"], dossier=document["d"]):
                pass
        return row
    except (Broken, KeyError, TypeError, ValueError) as error:
        report.add("altered", name, str(error) if isinstance(error, Broken) else "its row does not read")
    except FhirError as error:
        report.add("altered", name, f"its content does not read: {error}")
    return None


def _index(store: Store, report: Report, document: Mapping[str, Any], expected: Entries | None) -> None:
    if expected is None:
        return
    shown = [set(document.get(name, ())) for name in "xgc"]
    measured = {(one["p"], _plain(one["a"]), _plain(one["b"])) for one in document.get("n", ())}
    intervals = {(p, _plain(_stored(a)), _plain(_stored(b))) for p, a, b in expected.n}
    if shown != [set(expected.x), set(expected.g), set(expected.c)] or measured != intervals:
        name = f"{document['t']}/{store.vault.seal_id(document['_id'])}"
        report.add("index", name, "searches do not find it as its body says; `fhir-dmp reindex` mends that")


def _stored(value: object) -> object:
    return decimal128(value) if isinstance(value, Decimal) else value


def _plain(value: object) -> object:
    return value.to_decimal() if hasattr(value, "to_decimal") else value
