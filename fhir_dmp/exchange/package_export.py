"""A dossier as a package for another host: read at one moment, signed, and encrypted to the one who may open it.

ig/decisions: host to host; https://hl7.org/fhir/R4/bundle.html
"""

import asyncio
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import msgspec

from fhir_dmp.audit.merger import Merger
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts
from fhir_dmp.exchange import package as form
from fhir_dmp.exchange.package import File, Grant, Manifest, Octets, Package, Policy, RowLine
from fhir_dmp.exchange.package_facts import Names
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.references import reference_texts
from fhir_dmp.interactions import audit_proof, choices, facts, merged, origins
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.origins import Origins
from fhir_dmp.signing import box, jws
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.signing.seal import digest
from fhir_dmp.store import joining
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.records import Source
from fhir_dmp.store.rows import Row, Visible
from fhir_dmp.store.takeover import Version, versions
from fhir_dmp.store.vault import COMMON, dossier_row, version_id

# A trace gets its place in the signed journal within seconds; it is waited for.
PROOF_TRIES, PROOF_SECONDS = 40, 0.5


@dataclass(slots=True)
class _Draft:
    """What is being put together. rows: lines, in order. files: name -> bodies, in the order of the rows."""

    rows: list[RowLine] = field(default_factory=list)
    files: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    told: dict[str, File] = field(default_factory=dict)
    octets: int = 0


async def write(context: Context, dossier: int, recipient: str, file: BinaryIO, reason: str = "") -> Manifest:
    """Write the package of a dossier. recipient: a registered host. file: opened for writing, front to back.

    404 where there is no such dossier; 422 when a fact cannot be told.
    """
    card = await hosts.card_of(recipient)
    moment = Moment()
    read = [one async for one in versions(context.store, dossier, moment)]
    policy = (await context.store.policies({dossier})).get(dossier)
    if policy is None or not any(one.row.type == "Patient" for one in read):
        raise FhirError("not-found", "there is no such dossier")
    if any(one.row.erased for one in read):
        raise FhirError("deleted", "this dossier was destroyed")
    at = to_instant(context.now_ms())
    package = Package(form.FORMAT, context.store.record.identity, card.host, policy.patient, str(dossier), at, reason)
    sealed = box.Closing(file, card.packages)
    with tarfile.open(fileobj=sealed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        draft = _Draft()
        _add(archive, draft, "package.json", msgspec.json.encode(package), 1)
        for one in sorted(read, key=lambda one: (one.row.updated_ms, one.row.key)):
            await _version(context, archive, draft, one)
        directory = await _directory(context, [one.row for one in read])
        _clear(context, draft, [*read, *await _once_here(context, dossier)], directory, [one.organization for one in await _sources()])
        for row in directory:
            _row(context, draft, Version(row, True, False), None, f"{form.DIRECTORY}.json", dossier=False)
        for name, bodies in sorted(draft.files.items()):
            data = form.bundle(bodies) if name.endswith(".json") else b"".join(body + b"\n" for _, body in bodies)
            _add(archive, draft, name, data, len(bodies))
        _add(archive, draft, "rows.ndjson", form.lines(draft.rows), len(draft.rows))
        proofs = await _proofs(context, dossier, [one for one in read if one.row.type == "AuditEvent" and one.current])
        _add(archive, draft, "proofs.ndjson", form.lines(proofs), len(proofs))
        law = choices.law(context.settings)
        told = {name: getattr(law, name) for name in law.__dataclass_fields__ if name != "matrix"}
        grants = tuple(msgspec.convert(msgspec.to_builtins(one), Grant) for one in policy.grants)
        choice = msgspec.to_builtins(told)
        kept = Policy(policy.status.value, policy.epoch, grants, law.matrix.version, choice, policy.closed_ms, policy.given, policy.lost)
        _add(archive, draft, "policy.json", msgspec.json.encode(kept), 1)
        manifest = Manifest(package, draft.told, dict(form.counted(draft.rows)), state_of(read))
        data = msgspec.json.encode(manifest)
        _entry(archive, "manifest.json", data)
        signed = _keys(context).sign_as(form.TYP, data)
        first, _, last = signed.split(".")
        _entry(archive, "manifest.jws", f"{first}..{last}".encode())
    sealed.close()
    return manifest


def state_of(read: Sequence[Version]) -> str:
    """A digest of which version of everything is current, and of its facts: equal as long as nothing but reading happened."""
    rows = [one.row for one in read if one.current and one.row.type != "AuditEvent"]
    return _digest((row.key, row.version, row.acted_ms, row.visible) for row in rows)


async def current_state(inside: Context, dossier: int) -> str:
    """The same, as a transaction sees it. inside: the context of that transaction."""
    return _digest(await inside.transaction.standing(dossier))


def _digest(standing: Iterable[tuple[bytes, int, int, Visible]]) -> str:
    """standing: as of Reader.standing."""
    rows = sorted(standing, key=itemgetter(0))
    kept = [(key.hex(), int(version), int(acted_ms), repr(visible)) for key, version, acted_ms, visible in rows]
    return jws.encoded(sha256(msgspec.json.encode(kept)).digest())


def _keys(context: Context) -> SealKeys:
    return context.seals if context.seals is not None else SealKeys(Path(context.settings.data))


async def _version(context: Context, archive: tarfile.TarFile, draft: _Draft, one: Version) -> None:
    octets = None
    if (content := one.row.content) is not None:
        name, state = f"octets/{draft.octets}", sha256()
        info = tarfile.TarInfo(name)
        info.size = content.size
        # A content is read in pieces and never held whole.
        pieces = [piece async for piece in context.store.contents.read(content.id)] if content.size < box.PIECE else None
        if pieces is not None:
            data = b"".join(pieces)
            state.update(data)
            archive.addfile(info, io.BytesIO(data))
        else:
            archive.fileobj.write(info.tobuf(archive.format, archive.encoding, archive.errors))
            archive.offset += _header_size(archive, info)
            async for piece in context.store.contents.read(content.id):
                state.update(piece)
                archive.fileobj.write(piece)
            padding = -content.size % tarfile.BLOCKSIZE
            archive.fileobj.write(bytes(padding))
            archive.offset += content.size + padding
        octets = Octets(draft.octets, content.size, jws.encoded(state.digest()))
        draft.told[name] = File(content.size, octets.sha256, 1)
        draft.octets += 1
    _row(context, draft, one, octets, form.group_of(one.row.type, one.row.body) if one.row.body is not None else "")


def _header_size(archive: tarfile.TarFile, info: tarfile.TarInfo) -> int:
    return len(info.tobuf(archive.format, archive.encoding, archive.errors))


def _row(context: Context, draft: _Draft, one: Version, octets: Octets | None, file: str, *, dossier: bool = True) -> None:
    row = one.row
    id, version = context.store.vault.seal_id(row.key), version_id(row.version)
    line = RowLine(
        type=row.type,
        id=id,
        key=row.key.hex(),
        version=version,
        updated_ms=int(row.updated_ms),
        method=row.method,
        file=file,
        current=one.current,
        deleted=row.deleted,
        dossier=dossier,
        acted_ms=int(row.acted_ms),
        facts=row.visible if dossier else None,
        octets=octets,
    )
    draft.rows.append(line)
    if file:
        draft.files.setdefault(file, []).append((f"{context.base_url}/{row.type}/{id}", row.body))


def _clear(context: Context, draft: _Draft, read: Sequence[Version], directory: Sequence[Row], others: Sequence[str]) -> None:
    """Tell the facts of all rows in the clear. read: what may name them. directory: an author may be named there alone."""
    values = [json.parse(row.body) for row in (*(one.row for one in read), *directory) if row.body is not None]
    addresses = {f"{one.row.type}/{context.store.vault.seal_id(one.row.key)}" for one in read}
    names = Names(context.store.vault.hash64, values, addresses, others)
    for place, line in enumerate(draft.rows):
        if isinstance(line.facts, Mapping):
            draft.rows[place] = msgspec.structs.replace(line, facts=names.clear(line.facts, line.reference))
        elif line.facts:
            draft.rows[place] = msgspec.structs.replace(line, facts=[names.clear(one, line.reference) for one in line.facts])


async def _once_here(context: Context, dossier: int) -> list[Version]:
    """What was one with this dossier until they were parted, under the keys that it had here: traces of it may have stayed."""
    pairs, found = await joining.every_parted(context.store), []
    for number in {one for pair in pairs if dossier in pair for one in pair} - {dossier}:
        async for one in versions(context.store, number):
            found.append(one._replace(row=one.row.but(key=dossier_row(dossier)[:8] + one.row.key[8:])))
    return found


class _Structure(msgspec.Struct, frozen=True):
    organization: str


async def _sources() -> list[_Structure]:
    """The structures that sources deposit as."""
    found = []
    for one in await Source.objects.order_by("pk").to_list():
        for name in facts.identity.structure(None, one.rules.get("organization") or ""), one.rules.get("organization") or "":
            if name:
                found.append(_Structure(facts.identity.org(name)))
    return found


async def _directory(context: Context, rows: Sequence[Row]) -> list[Row]:
    """Entries of the directory that a dossier refers to, and those that these refer to.

    By whatever name of this host, as the rights are compiled: what is left behind ends a block at the next host.
    """
    found: dict[bytes, Row] = {}
    waiting = [row.body for row in rows if row.body is not None]
    while waiting:
        wanted = set()
        for body in waiting:
            for text in reference_texts(json.parse(body)):
                said = facts.here(context, text)
                if said.kind == "local" and said.type in facts.DIRECTORY:
                    key = context.store.vault.locate(said.type, said.id)
                    wanted |= {key} - found.keys()
        loaded = await context.store.load_many(wanted) if wanted else {}
        new = {key: row for key, row in loaded.items() if row.dossier == COMMON and not row.deleted and row.body is not None}
        found |= new
        waiting = [row.body for row in new.values()]
    return [found[key] for key in sorted(found)]


async def _proofs(context: Context, dossier: int, traces: Sequence[Version]) -> list[dict]:
    """The place of each trace in the signed journal, of what came with a joined dossier, or was given back by one, that of the original,
    which may be in the journal of a host before this one. What came from there with this dossier itself is proved by what that host left
    with it, which is in it. A trace that no head covers yet is waited for; where no server runs that would bring it into the journal, it is
    brought there now. 503 when it does not come. Of one that is in no journal, since a source sent it or its original was destroyed, just
    that is told: the next host takes no trace of which nothing is said.
    """
    found, tries = [], PROOF_TRIES
    vault, relatives = context.store.vault, {}
    left: dict[int, list[Origins]] = {}
    for one in traces:
        reference = f"AuditEvent/{vault.seal_id(one.row.key)}"
        original = None if one.journal else await _original(context, one.row.key, relatives)
        if not one.journal and (original is None or original.body is None):
            continue
        if original is not None:
            if original.dossier not in left:
                left[original.dossier] = await origins.every(context.store, original.dossier)
            if (proof := _given(f"AuditEvent/{vault.seal_id(original.key)}", original.body, left[original.dossier])) is not None:
                found.append({"reference": reference, "proof": proof})
                continue
        id = vault.seal_id(one.row.key if original is None else original.key)
        more = {} if original is None else {"joined": original.body.decode()}
        while True:
            try:
                proof = form.proof_value(await audit_proof.proof_of(context.store, id)) | more
                found.append({"reference": reference, "proof": proof})
                break
            except FhirError as error:
                if error.kind != "transient":
                    break
                if tries <= 0:
                    raise
                tries -= 1
                if not await _merged(context):
                    await asyncio.sleep(PROOF_SECONDS)
    proved = {one["reference"] for one in found}
    proved |= {reference for one in await origins.every(context.store, dossier) for reference in one.proofs}
    others = (f"AuditEvent/{vault.seal_id(one.row.key)}" for one in traces)
    return [*found, *({"reference": one, "proof": {}} for one in others if one not in proved)]


async def _merged(context: Context) -> bool:
    """Bring what is written into the journal and sign it, where nobody else is about to; whether that was done."""
    merger = Merger(context.store, Path(context.settings.data))
    try:
        return await merger.round() > 0
    finally:
        await merger.close()


def _given(reference: str, body: bytes, left: Sequence[Origins]) -> dict | None:
    """The proof that a former host gave of a trace, with the trace as it was in its journal. body: here. left: by hosts of its dossier."""
    for one in left:
        if (proof := one.proofs.get(reference)) is not None:
            return {"host": one.host, "joined": origins.translated(body, one.back).decode()} | proof
    return None


async def _original(context: Context, key: bytes, relatives: dict[int, list[int]]) -> Row | None:
    """The trace of which this row is a copy. relatives: see merged.original."""
    there = await merged.original(context.store, key, relatives)
    return None if there is None else await context.store.load(there)


def _add(archive: tarfile.TarFile, draft: _Draft, name: str, data: bytes, count: int) -> None:
    draft.told[name] = File(len(data), digest(data), count)
    _entry(archive, name, data)


def _entry(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
