"""The row of a Provenance that the server writes: in the dossier of what it vouches for, as visible as that, indexed in two parts.

https://hl7.org/fhir/R4/provenance.html

What all Provenances of one origin have in common is indexed once; it is most of each, and they are as many as the resources.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

from fhir_dmp.consent import companions
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.search import blind
from fhir_dmp.search.blind import Entries
from fhir_dmp.search.predicate import Hash64
from fhir_dmp.search.values import Reference
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.vault import Vault, version_id

PROVENANCE = "Provenance"
# Code system of what a Provenance of a host says that it is.
LEVEL = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-proof-level"


def made(
    vault: Vault,
    random: Callable[[int], bytes],
    about: NewRow,
    value: Mapping[str, Any],
    index: Mapping[str, tuple],
    shared: Entries,
    *,
    patient: str,
    at_ms: int,
) -> Change:
    """A new Provenance. about: the first version it vouches for. value: its members after `meta`. index: of what in it is its own.

    shared: entries of what it has in common with others. patient: "Patient/id" of the holder, whom it names, "" for none. random: gives id
    and version.
    """
    id, version = vault.new_id(about.dossier, random), vault.new_version(random)
    meta = {"versionId": version_id(version), "lastUpdated": to_instant(at_ms)}
    hash64 = vault.hash64
    own = blind.entries(PROVENANCE, index, hash64, patient or None)
    entries = both(own, _of_holder(patient, hash64), shared) if patient else both(own, shared)
    row = NewRow(
        key=vault.locate(PROVENANCE, id),
        dossier=about.dossier,
        type=PROVENANCE,
        version=version,
        updated_ms=at_ms,
        self64=blind.self_hash(PROVENANCE, id, hash64),
        x=entries.x,
        g=entries.g,
        c=entries.c,
        n=entries.n,
        body=json.dump({"resourceType": PROVENANCE, "id": id, "meta": meta, **value}),
        method="POST",
        visible=facts_of(about),
    )
    return Change(row, None)


def facts_of(about: NewRow) -> Any:
    """Facts of what vouches for a version: its own; none where it stands around the documents."""
    if about.type in companions.SEEN_AS or about.visible is None:
        return None
    if isinstance(about.visible, Mapping):
        return dict(about.visible)
    return [dict(one) for one in about.visible]


@lru_cache(maxsize=4096)
def _of_holder(patient: str, hash64: Hash64) -> Entries:
    """Of the reference to the holder, which all Provenances of a dossier have."""
    holder = (Reference("Patient", patient.removeprefix("Patient/")),)
    return blind.entries(PROVENANCE, {"target": holder, "patient": holder}, hash64, patient)


def both(*parts: Entries) -> Entries:
    """Entries of the parts of one Provenance."""
    return Entries(*[tuple(dict.fromkeys(chain.from_iterable(those))) for those in zip(*parts, strict=True)])
