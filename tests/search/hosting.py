"""A context on a real store, and resources in it, without HTTP."""

import itertools
import os
import time

from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import parse_query
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import search_type
from fhir_dmp.interactions.context import Context
from fhir_dmp.search import blind
from fhir_dmp.search.extract import extract
from fhir_dmp.search.values import Reference
from fhir_dmp.settings import Settings
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.vault import COMMON

BASE = "https://dmp.example/fhir"
_clock = itertools.count(1_800_000_000_000)


def context_on(store, **settings) -> Context:
    actor = Actor(kind="system", issuer="i", subject="s", expires=0)
    return Context(
        store=store,
        actor=actor,
        settings=Settings(**settings),
        base_url=BASE,
        now_ms=lambda: time.time_ns() // 1_000_000,
        random=os.urandom,
    )


def rows_of(store, resource: dict, *, previous=None, updated_ms: int | None = None, version: int | None = None) -> NewRow:
    """The row of a resource with an id of its own choice, as a sandbox keeps it."""
    type_name, id = resource["resourceType"], resource["id"]
    vault = store.vault
    updated = next(_clock) if updated_ms is None else updated_ms
    whole = {**resource, "meta": {**resource.get("meta", {}), "lastUpdated": to_instant(updated)}}
    index = extract(type_name, whole, base_urls=(BASE,))
    patients = {
        v.id for code in blind.locating(type_name) for v in index.get(code, ()) if isinstance(v, Reference) and v.type == "Patient" and v.id
    }
    dossier, patient = COMMON, None
    if type_name == "Patient":
        dossier, patient = vault.dossier_of_patient(id), f"Patient/{id}"
    elif len(patients) == 1:
        (only,) = patients
        dossier, patient = vault.dossier_of_patient(only), f"Patient/{only}"
    shown = blind.entries(type_name, index, vault.hash64, patient)
    body = json.dump(whole)
    return NewRow(
        key=vault.locate(type_name, id), dossier=dossier, type=type_name, version=version or vault.new_version(), updated_ms=updated,
        self64=blind.self_hash(type_name, id, vault.hash64), x=shown.x, g=shown.g, c=shown.c, n=shown.n, body=body,
        method="POST" if previous is None else "PUT",
    )  # fmt: skip


async def put(store, *resources: dict) -> list[NewRow]:
    """Store resources as they are, replacing those of the same id."""
    written = []
    for resource in resources:
        key = store.vault.locate(resource["resourceType"], resource["id"])
        now = await store.load(key)
        row = rows_of(store, resource, previous=now)
        await store.commit([Change(row, None if now is None else now.version)])
        written.append(row)
    return written


async def ask(context: Context, address: str, **more) -> search_type.Result:
    """The page of an address below the base, e.g. "Patient?name=x", or of a link."""
    path, _, query = address.removeprefix(f"{BASE}/").partition("?")
    parts = path.split("/") if path and path != BASE else []
    pairs = parse_query(query)
    if len(parts) == 3:
        more["compartment"] = (parts[0], parts[1])
        return await search_type.search(context, None if parts[2] == "*" else parts[2], pairs, **more)
    return await search_type.search(context, parts[0] if parts else None, pairs, **more)


def found(result: search_type.Result, mode: str = "match") -> list[str]:
    """Type/id of the entries, in order."""
    return [f"{entry.type}/{entry.id}" for entry in result.entries if entry.mode == mode]


async def ids(context: Context, address: str, **more) -> list[str]:
    """Ids of all matches, pages followed to the end."""
    seen: list[str] = []
    result = await ask(context, address, **more)
    while True:
        seen += [entry.id for entry in result.entries if entry.mode == "match"]
        link = dict(result.links).get("next")
        if link is None:
            return seen
        result = await ask(context, link, **more)
