"""Verification of every seal in a store: the version it names is there, with the content that was sealed.

https://hl7.org/fhir/R4/provenance.html ; ig/decisions: proofs
"""

from collections.abc import Callable, Sequence

from fhir_dmp.audit.verify import Report
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions.origins import Homes, translated
from fhir_dmp.interactions.seal_reading import is_seal, signatures
from fhir_dmp.interactions.verify_seal import digest_of_row
from fhir_dmp.signing import seal
from fhir_dmp.signing.jws import FORM
from fhir_dmp.signing.keys import Keys
from fhir_dmp.signing.seal import Opened, Version
from fhir_dmp.signing.verdict import FAILED
from fhir_dmp.store.failures import UNREADABLE, Broken
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import version_id, version_of

BATCH = 200


async def seals(store: Store, report: Report, keys: Sequence[Keys], progress: Callable[[int], None] = lambda done: None) -> int:
    """Derive every seal again; faults are added to the report. How many were verified. keys: of this host first."""
    done = 0
    async for places in store.log.places_of("Provenance", BATCH):
        found = [row for row in await _readable(store, places) if row.body is not None and b'"application/jose"' in row.body]
        done += await _verified(store, report, keys, found)
        progress(done)
    return done


async def _readable(store: Store, places: Sequence[tuple[bytes, int]]) -> list[Row]:
    """Versions by key and version; what does not open is left out: the verification of rows names it."""
    try:
        return await store.load_versions(places)
    except (FhirError, *UNREADABLE) as error:
        if isinstance(error, FhirError) and error.kind == "transient":
            raise
        if len(places) == 1:
            return []
    middle = len(places) // 2
    return [*await _readable(store, places[:middle]), *await _readable(store, places[middle:])]


async def _verified(store: Store, report: Report, keys: Sequence[Keys], rows: Sequence[Row]) -> int:
    found: list[tuple[str, Opened, str]] = []
    homes = Homes(store, frozenset({store.record.identity}))
    for row in rows:
        name = f"Provenance/{store.vault.seal_id(row.key)}"
        for form, text in signatures(json.parse(row.body or b"{}")):
            if form == FORM and is_seal(text):
                opened = seal.opened(text.decode(), keys)
                if opened.statement is None:
                    report.add("seal", name, opened.verdict.reasons[0])
                    continue
                try:
                    home = await homes.at(opened.statement.host, row.dossier)
                except Broken:
                    report.add("seal", name, f"what {opened.statement.host} left with the dossier does not read")
                    continue
                for one in opened.statement.what:
                    here = translated(one.reference.encode(), home.ids).decode() if home is not None else one.reference
                    found.append((name, opened, here))
    wanted = {reference: _place(store, reference) for _, _, reference in found}
    stored = {(row.key, row.version): row for row in await _readable(store, [one for one in wanted.values() if one])}
    for name, opened, reference in found:
        row = stored.get(wanted[reference]) if wanted[reference] else None
        if row is None:
            if not wanted[reference] or not await _is_there(store, *wanted[reference]):
                report.add("seal", reference, f"{name} seals it, and it is not there")
            continue
        if row.erased or row.body is None:
            continue
        try:
            version = Version(reference, row.body, await digest_of_row(store.contents, row))
        except FhirError as error:
            report.add("seal", reference, f"its content does not read: {error}")
            continue
        verdict = seal.compared(opened, await homes.version(opened.statement.host, row.dossier, version))
        if verdict.status == FAILED:
            report.add("seal", reference, verdict.reasons[0])
    return len(rows)


async def _is_there(store: Store, key: bytes, version: int) -> bool:
    """Whether there is a row that does not open, or was one that went back to the dossier it came from."""
    try:
        return await store.load_version(key, version) is not None or await store.log.given_back(key)
    except (FhirError, *UNREADABLE):
        return True


def _place(store: Store, reference: str) -> tuple[bytes, int] | None:
    """Key and version of "Type/id/_history/version"."""
    parts = reference.split("/")
    version = version_of(parts[3]) if len(parts) == 4 else None
    key = store.vault.locate(parts[0], parts[1]) if version is not None else None
    return (key, version) if key is not None and version_id(version) == parts[3] else None
