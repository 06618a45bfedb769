"""No double entry: a document that its depositor sends again is the one he sent before; another content under its identifier is refused.

IHE XDS uniqueId https://profiles.ihe.net/ITI/TF/Volume3/ch-4.2.html ; PDSm DocumentReference.masterIdentifier

Identifiers collide within what one depositor sends, a person or a structure, and nowhere else: nobody learns what others deposited.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.rules import HOLDERS_SIDE
from fhir_dmp.dmp.documents import master_identifier
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import bundle, json
from fhir_dmp.interactions import enforcement, facts, merged, shown
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import Known
from fhir_dmp.store import acts_waiting, joining
from fhir_dmp.store.ledger import Ledger, Line, Part, Receipt, Recording, Stored
from fhir_dmp.store.naming import Hashing, master_name
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import dossier_in, dossier_row, version_id

DOCUMENT = "DocumentReference"
CHANGED = "you sent a document with this masterIdentifier and another content before: a new version has its own, and `replaces` the former"


@dataclass(frozen=True, slots=True)
class Once:
    """A deposit before it is made. parts: the rows of the first one, when it was made before; else context is the one to write with."""

    context: Context
    parts: tuple[Part, ...] = ()


async def once(context: Context, documents: Sequence[Mapping[str, Any]], contents: Mapping[str, Mapping[str, Any]] | None = None) -> Once:
    """What is known of the documents of one deposit, by their masterIdentifiers. 409 when one came with another content.

    contents: Binaries that come with them, by the url of the attachment.
    """
    name = depositor(context.enforcer.request)
    named = [(master_name(*master), one) for one in documents if (master := master_identifier(one))]
    if not named or not name:
        return Once(context)
    hashing = Hashing.of(context.store.vault, f"deposit {name}")
    digest = sha256(b"".join(_digest(one, contents or {}) for _, one in named)).hexdigest()
    version = hashing.number("version", digest)
    names = tuple(hashing.name(one) for one, _ in named)
    ledger = Ledger(context.store)
    if line := next(iter((await ledger.known(names)).values()), None):
        if line.version(version) is None:
            await _clashes(context, line)
        parts = await _where_now(context, again(line, version))
        # It hid what it replaced, and may have been cut off before that was kept.
        await acts_waiting.keep(context.store, {dossier_in(part.key) for part in parts})
        return Once(context, parts)
    receipt = Receipt(names, b"", DOCUMENT, Stored(version, version, 0, 0, 201))
    return Once(context.but(store=Recording(context.store, ledger, receipt, only=True)))


async def _where_now(context: Context, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The same rows in the dossier that has them now: it may have been joined to another one since, or that one parted from it."""
    vault, found = context.store.vault, []
    rows = await context.store.load_many([part.key for part in parts], bodies=False)
    for part in parts:
        row, others = rows.get(part.key), list[int]()
        if row is None:
            others = await joining.parted_from(context.store, dossier_in(part.key))
        elif row.policy is not None and row.policy.joined:
            passed, _ = await merged.way(context, row.policy.patient)
            others = [vault.dossier_of_patient(passed[-1])]
        there = await context.store.load_many([dossier_row(one)[:8] + part.key[8:] for one in others], bodies=False) if others else {}
        found.append(part._replace(key=next(iter(there), part.key)))
    return tuple(found)


async def _clashes(context: Context, line: Line) -> None:
    """Note what was deposited before: whoever does not see it is not told that another content came under its identifier."""
    inner = enforcement.apart(context)
    keys = {part.key for stored in line.versions for part in stored.parts if part.type == DOCUMENT}
    for row in (await context.store.load_many(keys, bodies=False)).values():
        met = await enforcement.known(inner, row.dossier, row=row, authored=False)
        # His own journal tells the holder's side of it no more than the answer does.
        if met.request.kind not in HOLDERS_SIDE or met.reading(row).permits:
            context.enforcer.ledger.kept += facts.listed(row)


def again(line: Line, version: int) -> tuple[Part, ...]:
    """The rows of a deposit that was made before; 409 when it was another one."""
    stored = line.version(version)
    if stored is None:
        raise FhirError("conflict", CHANGED, f"{DOCUMENT}.masterIdentifier")
    return stored.parts


def depositor(request: Request) -> str:
    """In whose name identifiers are told apart, "" for whom the rules cannot name: a structure speaks by its certificate alone."""
    if request.kind in ("professional", "structure"):
        return request.person if request.kind == "professional" else request.organization
    return f"{request.kind} {request.patient} {request.related_person}"


def location(context: Context, part: Part) -> str:
    """Type/id/_history/version of a row."""
    return f"{part.type}/{context.store.vault.seal_id(part.key)}/_history/{version_id(part.row)}"


async def answered(context: Context, parts: Sequence[Part]) -> Answer:
    """200 for the document that was deposited before, as its depositor may see it now. parts: a list may have come first among them."""
    part = next((one for one in parts if one.type == DOCUMENT), parts[0])
    row, met = await _met(context, part)
    if met is None:
        return Answer(200, None, version_id(part.row), None, location(context, part))
    id = context.store.vault.seal_id(part.key)
    (body,) = await shown.bodies(context, met, [row])
    return Answer(
        200, body, version_id(row.version), shown.timed(met, row).updated_ms, f"{row.type}/{id}/_history/{version_id(row.version)}"
    )


async def _met(context: Context, part: Part) -> tuple[Row | None, Known | None]:
    """What was deposited, noted for the trace, and the dossier as its depositor meets it: None where he does not see it.

    Whoever does not see it either is not told that it came again.
    """
    row = await context.store.load(part.key)
    if row is None or row.deleted or row.body is None:
        return row, None
    met = await enforcement.known(context, row.dossier, row=row, authored=False)
    if not met.reading(row).permits:
        enforcement.keep(met, row)
        return row, None
    enforcement.note(context, row, context.store.vault.seal_id(part.key), met.patient)
    return row, met


async def answers(context: Context, plan: bundle.Plan, parts: Sequence[Part]) -> list[bundle.Answer]:
    """One answer for each entry of a transaction that was deposited before: where what it created is. Each document is told as itself."""
    for part in parts:
        if part.type == DOCUMENT and part.method == "POST":
            inner = enforcement.apart(context)
            await _met(inner, part)
            context.enforcer.ledger.set_apart(inner.enforcer.ledger, "create", location(context, part))
    left: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        left.setdefault((part.method, part.type), []).append(part)
    found = []
    for entry in plan.entries:
        mine = left.get((entry.method, entry.target.type))
        told = f"{context.base_url}/{location(context, part)}" if mine and (part := mine.pop(0)) else ""
        found.append(bundle.Answer(200, location=told))
    return found


def documents_of(plan: bundle.Plan) -> tuple[list[Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
    """The documents that a transaction creates, and the Binaries that come with them, by fullUrl."""
    made = [entry for entry in plan.entries if entry.creates and entry.resource is not None]
    documents = [entry.resource for entry in made if entry.target.type == DOCUMENT]
    return documents, {entry.full_url: entry.resource for entry in made if entry.target.type == "Binary"}


def _digest(document: Mapping[str, Any], contents: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Over what a document says and holds, whatever addresses and ids this sending gave it."""
    told = {name: value for name, value in document.items() if name not in ("id", "meta", "text", "content")}
    hashed = sha256(json.dump(told))
    for content in document.get("content") or ():
        attachment = dict(content.get("attachment") or {})
        octets = attachment.pop("data", None) or contents.get(attachment.get("url", ""), {}).get("data") or ""
        for name in ("url", "size", "hash"):
            attachment.pop(name, None)
        hashed.update(json.dump({**content, "attachment": attachment}))
        hashed.update(sha256(_octets(octets)).digest())
    return hashed.digest()


def _octets(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return data.encode()
