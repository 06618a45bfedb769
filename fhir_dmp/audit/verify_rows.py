"""Verification of rows: each stored version and content opens under the key of its dossier, at its place; its index is that of its body.

https://csrc.nist.gov/pubs/sp/800/38/d/final ; https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from fhir_dmp.audit.verify import Report
from fhir_dmp.consent.predicate import DATES, LABEL_BITS
from fhir_dmp.dmp.visibility import VISIBILITY
from fhir_dmp.errors import FhirError
from fhir_dmp.search.blind import Entries
from fhir_dmp.store.failures import UNREADABLE, Broken
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Row, decimal128, row_of
from fhir_dmp.store.vault import COMMON, dossier_in, is_dossier_row, version_id

# What a current row shows to a search, derived from its body; None where that cannot be told.
Derive = Callable[[Row], Entries | None]
# Those of the facts beside a row that its body says, whatever was done about it.
Told = Callable[[Row], Mapping[str, Any]]
LABELS = sum(LABEL_BITS[label] for label in VISIBILITY)


async def rows(
    store: Store,
    report: Report,
    progress: Callable[[int], None] = lambda done: None,
    derive: Derive = lambda row: None,
    facts: Told = lambda row: {},
) -> None:
    """Check every row of the store; faults are added to the report. progress: told how many rows are done."""
    lineages = Lineages(store, report)
    for collection in ("resources", "versions"):
        async for documents in store.log.every_row(collection):
            keys = await store.log.keys({_dossier_of(document) for document in documents})
            report.unreadable(await store.log.without_key([dossier for dossier, key in keys.items() if key is None]))
            for document in documents:
                row_key = document["k"] if collection == "versions" and "k" in document else document["_id"]
                if not isinstance(row_key, bytes) or len(row_key) != 16:
                    report.add("inserted", _called(store, document, row_key), "its key is none that this server makes")
                    continue
                if collection == "resources" and is_dossier_row(row_key):
                    continue
                row = await _row(store, report, document, row_key, keys[_dossier_of(document)])
                if row is not None and collection == "resources" and not row.deleted and row.body is not None:
                    _index(store, report, document, derive(row))
                    _facts(store, report, row, facts(row))
                    await lineages.add(row)
            report.rows += len(documents)
            progress(report.rows)
        await lineages.judge()


class Lineages:
    """Labels cover a lineage: whatever belongs to it carries the same ones. Rows come by key, so that one dossier is held at a time.

    Not of a sandbox, where `system` tokens write past the rules, nor of traces, which carry the labels of when they were written.
    """

    def __init__(self, store: Store, report: Report) -> None:
        self._store, self._report, self._dossier = store, report, COMMON
        # Lineage -> visibility bits -> rows.
        self._labels: dict[int, dict[int, list[tuple[str, bytes]]]] = {}

    async def add(self, row: Row) -> None:
        if self._store.sandbox or row.type == "AuditEvent":
            return
        if row.dossier != self._dossier:
            await self.judge()
            self._dossier = row.dossier
        for root, bits in _labels_of(row):
            self._labels.setdefault(root, {}).setdefault(bits, []).append((row.type, row.key))

    async def judge(self) -> None:
        """Those who differ from most of their lineage; all of it, where none are the most."""
        for root, met in self._labels.items():
            found = await self._at_once(root, met) if len(met) > 1 else met
            if len(found) > 1:
                most = max(map(len, found.values()))
                usual = [bits for bits, members in found.items() if len(members) == most]
                for bits, members in found.items():
                    if usual != [bits]:
                        for type, key in members:
                            why = f"it carries other visibility labels ({_said(bits)}) than the rest of its lineage"
                            self._report.add("labels", f"{type}/{self._store.vault.seal_id(key)}", why)
        self._labels = {}

    async def _at_once(self, root: int, met: Mapping[int, list[tuple[str, bytes]]]) -> dict[int, list[tuple[str, bytes]]]:
        """The same rows as they are at one moment: who serves meanwhile may have hidden something between two batches."""
        keys = [key for members in met.values() for _, key in members]
        found: dict[int, list[tuple[str, bytes]]] = {}
        for row in (await self._store.transact(lambda transaction: transaction.load_many(keys))).values():
            for one, bits in _labels_of(row):
                if one == root:
                    found.setdefault(bits, []).append((row.type, row.key))
        return found


def _labels_of(row: Row) -> list[tuple[int, int]]:
    """Lineage and visibility bits of each fact of a row."""
    told = row.visible if isinstance(row.visible, list) else [row.visible] if row.visible else []
    return [(one.get("rt", 0), one.get("lb", 0) & LABELS) for one in told]


def _said(bits: int) -> str:
    return ", ".join(label for label in VISIBILITY if LABEL_BITS[label] & bits) or "none"


def _facts(store: Store, report: Report, row: Row, expected: Mapping[str, Any]) -> None:
    """What the rules judge a row by, as far as its body says it."""
    shown = row.visible if isinstance(row.visible, dict) else {}
    differs = [name for name, value in expected.items() if shown.get(name) != value]
    if shown and differs:
        why = f"the rules judge it by other facts ({', '.join(sorted(differs))}) than its body says"
        if not {*differs} - {*DATES} and DATES[0] not in shown:
            why += "; `fhir-dmp reindex` mends that"
        report.add("facts", f"{row.type}/{store.vault.seal_id(row.key)}", why)


def _dossier_of(document: Mapping[str, Any]) -> int:
    """As the row says: an id that a client of a sandbox chose does not tell it."""
    said, key = document.get("d"), document["_id"]
    return said if isinstance(said, int) else dossier_in(key) if isinstance(key, bytes) and len(key) >= 8 else COMMON


def _called(store: Store, document: Mapping[str, Any], row_key: object) -> str:
    """Type, id and version of a row, as far as it tells them: whoever spoiled a row may have spoiled any part of it."""
    if isinstance(row_key, bytes):
        # Of an id that a client of a sandbox chose the key is a hash.
        sealed = len(row_key) == 16 and (not store.sandbox or document.get("d") == dossier_in(row_key))
        id = store.vault.seal_id(row_key) if sealed else row_key.hex()
    else:
        id = repr(row_key)
    name = f"{document.get('t') or document.get('tz') or 'row'}/{id}"
    version = document.get("v")
    return f"{name}/_history/{version_id(version)}" if isinstance(version, int) else name


async def _row(store: Store, report: Report, document: Mapping[str, Any], row_key: bytes, key) -> Row | None:
    """The row, opened; None when it was erased (the row of the dossier tells) or is a fault."""
    if key is None:
        return None
    name = _called(store, document, row_key)
    try:
        if document["d"] != dossier_in(row_key) and not store.sandbox:
            report.add("altered", name, "it stands in the dossier of another patient")
            return None
        row = row_of(document, key)
        for content in document.get("f", ()):
            async for _ in store.contents.read(content["i"], dossier=document["d"]):
                pass
        return row
    except UNREADABLE as error:
        report.add("altered", name, str(error) if isinstance(error, Broken) else "its row does not read")
    except FhirError as error:
        if error.kind == "transient":
            raise
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
