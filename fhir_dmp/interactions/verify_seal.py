"""[type]/[id]/$verify: the three levels of proof of a resource, each passed, indeterminate or failed, with reasons.

https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-verify ; ig/decisions: proofs

Whoever may read the resource may verify it. What is compared is what is stored, not what the asker is shown of it. What others say beside
it counts as far as he sees it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fhir_dmp.dmp import documents
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import from_instant
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import enforcement, facts, late_seals, read
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.origins import Homes
from fhir_dmp.interactions.seal_reading import foreign, is_seal, own_names, signatures
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import AnyOf, Has, ReferenceIs, UriIs
from fhir_dmp.signing import jws, seal
from fhir_dmp.signing.keys import Keys, SealKeys
from fhir_dmp.signing.seal import Opened, Version
from fhir_dmp.signing.verdict import FAILED, PASSED, Verdict, failed, indeterminate, passed, together
from fhir_dmp.store.contents import Contents
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON, version_id

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-verify"
DOCUMENT, BINARY, PROVENANCE = "DocumentReference", "Binary", "Provenance"
MOST_PROOFS, MOST_OCTETS = 200, 32 * 1024 * 1024
IDNPS_OF_RPPS = "8"
# A large or broken PDF may take seconds: one after the other, so that whoever asks for many takes no more than a thread.
_JUDGES = ThreadPoolExecutor(1, "author")


class Proof(NamedTuple):
    """A Provenance, and its row."""

    value: dict
    row: Row


async def run(context: Context, url: Url, given: Given) -> Answer:
    """Parameters `seal`, `message`, `author` (code) and `reason` (string, each begins with what it is about)."""
    admit(context, url.type, "r")
    row, met = await read.seen(context, url.type, url.id)
    if row is None:
        raise read.absent()
    if row.deleted:
        raise read.deleted(row)
    proofs = await provenances(context, met, row, url.id)
    sealed = await host_seal(context, row, url.id, proofs)
    if met is not None:
        at_ms = met.appeared(row)
        sealed = late_seals.verdict(context, sealed, at_ms if at_ms != row.updated_ms else None)
    found = {"seal": sealed[0], "message": message_seal(sealed), "author": await author(context, row, url.id, proofs, sealed)}
    listed = [{"name": name, "valueCode": verdict.status} for name, verdict in found.items()]
    listed += [{"name": "reason", "valueString": f"{name}: {reason}"} for name, verdict in found.items() for reason in verdict.reasons]
    return Answer(200, json.dump({"resourceType": "Parameters", "parameter": listed}))


async def provenances(context: Context, met: enforcement.Known | None, row: Row, id: str) -> list[Proof]:
    """What vouches for a version, or for the resource whatever its version, oldest first, as far as the asker sees it.

    Oldest first: what comes later puts nothing out of sight that came with the version.
    """

    async def naming(version: str | None) -> list[Row]:
        about = _naming(context, ReferenceIs(row.type, id, version))
        where = about if met is None else {"$and": [about, met.read_filter(PROVENANCE)]}
        return await context.reads.find(where, types=(PROVENANCE,), dossiers=(row.dossier,), descending=False, limit=MOST_PROOFS)

    rows = await naming(None)
    if len(rows) == MOST_PROOFS:  # nor do those of other versions
        rows = list({one.key: one for one in (*rows, *await naming(version_id(row.version)))}.values())
    version = f"{row.type}/{id}/_history/{version_id(row.version)}"
    named = {version, f"{row.type}/{id}", f"{context.base_url}/{version}", f"{context.base_url}/{row.type}/{id}"}
    found = [Proof(json.parse(one.body), one) for one in rows if one.body is not None]
    return [one for one in found if any(target.get("reference") in named for target in one.value.get("target") or ())]


def _naming(context: Context, target: ReferenceIs) -> dict:
    vault = context.store.vault
    return narrow.to_mongo(Has("target", target), PROVENANCE, vault.hash64, vault.locate).filter


async def host_seal(context: Context, row: Row, id: str, proofs: Sequence[Proof]) -> tuple[Verdict, Opened | None]:
    """Whether the stored version is the one that the host sealed, and what the seal says. proofs: as the asker sees them.

    The seal of the host speaks alone: beside it what others call a seal neither proves nor disproves anything.
    """
    own = context.seals if context.seals is not None else SealKeys(Path(context.settings.data))
    own.refresh(context.now_ms())
    keys: list[Keys] = [own, *await foreign()]
    version = Version(
        f"{row.type}/{id}/_history/{version_id(row.version)}", row.body or b"", await digest_of_row(context.store.contents, row)
    )
    homes = Homes(context.reads, own_names(context))
    opened = await _own_seal(context, row, id, keys, homes)
    if not opened:
        opened = [seal.opened(text, keys) for one in proofs for text in _seals(one.value)]
    if not opened:
        where = "in the directory, which is not sealed" if row.dossier == COMMON else "kept without a seal"
        return indeterminate(f"the resource is {where}"), None
    verdicts = [seal.compared(one, await homes.version(host_of(one), row.dossier, version)) for one in opened]
    best = next((place for place, one in enumerate(verdicts) if one.status == PASSED), 0)
    return together([one for one in verdicts if one.status != FAILED] if verdicts[best].status == PASSED else verdicts), opened[best]


async def _own_seal(context: Context, row: Row, id: str, keys: Sequence[Keys], homes: Homes) -> list[Opened]:
    """The seal that was stored with a version, whoever sees it; none where none names it. Of rights the first, even one that does not open.

    Looked for from the oldest on: nobody can name a version before it is stored, so that nobody puts anything before its seal.
    """
    version = version_id(row.version)
    about = _naming(context, ReferenceIs(row.type, id, version))
    async for one in _oldest_first(context, about, row.dossier):
        for text in _seals(json.parse(one.body or b"{}")):
            opened = seal.opened(text, keys)
            there = await homes.version(host_of(opened), row.dossier, Version(f"{row.type}/{id}/_history/{version}", b""))
            said = opened.statement.what if opened.statement is not None else ()
            # What carries no facts was written by the host, and is shown to nobody: one of rights that was changed is told here or nowhere.
            if one.visible is None or any(each.reference == there.reference for each in said):
                return [opened]
    return []


async def _oldest_first(context: Context, about: dict, dossier: int) -> AsyncIterator[Row]:
    """Provenances one by one: the first is nearly always the one that is looked for, and hidden ones are opened for nobody."""
    after = None
    for _ in range(MOST_PROOFS):
        rows = await context.reads.find(about, types=(PROVENANCE,), dossiers=(dossier,), descending=False, after=after, limit=1)
        if not rows:
            return
        yield rows[0]
        after = rows[0].place


def _seals(provenance: dict) -> list[str]:
    """The seals of hosts, or what says that it is one, in a Provenance."""
    return [text.decode() for form, text in signatures(provenance) if form == jws.FORM and is_seal(text)]


def host_of(opened: Opened) -> str:
    """The host that a seal says it is of."""
    return opened.statement.host if opened.statement is not None else ""


def message_seal(sealed: tuple[Verdict, Opened | None]) -> Verdict:
    """What the host noted of the message when it arrived; as good as the host's own seal."""
    verdict, found = sealed
    if found is None or found.statement is None:
        return indeterminate("without a seal of the host nothing is known of the message")
    said = found.statement.message
    if said is None or not said.signer:
        return indeterminate("the message that brought it was not sealed by its sender")
    told = f"the message was sealed by {said.signer} with key {said.kid}, verified on arrival on {found.statement.at}"
    return passed(told) if verdict.status == PASSED else Verdict(verdict.status, (told, "the host's seal, which says so, does not hold"))


async def digest_of_row(contents: Contents, row: Row) -> str:
    """Digest of the octets of a Binary, "" of anything else."""
    if row.type != BINARY:
        return ""
    if row.content is None:
        octets = seal.octets_of(row.body or b"{}")
        return seal.digest(octets) if octets is not None else ""
    state = sha256()
    async for piece in contents.read(row.content.id):
        state.update(piece)
    return jws.encoded(state.digest())


# ---- level 3


async def author(context: Context, row: Row, id: str, proofs: Sequence[Proof], sealed: tuple[Verdict, Opened | None]) -> Verdict:
    """The signatures of its author that a document carries, and those that came beside it."""
    value = json.parse(row.body or b"{}")
    if row.type == BINARY:
        parts = [(row, value.get("contentType", ""))]
        announced = await _authors_of_carriers(context, row, id)
    elif row.type == DOCUMENT:
        parts = await _contents(context, row, value)
        announced = await _authors(context, value)
    else:
        return indeterminate(f"a {row.type} is not a document; its author signs documents")
    statement = sealed[1].statement if sealed[1] is not None else None
    # What was here, signed, while the certificate was valid stays signed when the certificate has expired.
    at_ms = from_instant(statement.at) if statement is not None and sealed[0].status == PASSED else context.now_ms()
    moment, trusted = datetime.fromtimestamp(at_ms / 1000, UTC), context.settings.authorities
    beside = [one for one in proofs if _by_author(one.value) and (context.enforcer is None or _with(one.row, row))]
    # Nor was what came after it, or was put in its place, signed before that came.
    apart = [
        (form, text, datetime.fromtimestamp(one.row.updated_ms / 1000, UTC) if one.row.updated_ms > at_ms else None)
        for one in beside
        for form, text in signatures(one.value)
        if not is_seal(text)
    ]
    verdicts = []
    for part, kind in parts:
        octets = await _octets(context, part)
        own = tuple(apart) if part is parts[0][0] else ()
        if octets is None:
            verdicts.append(failed("the content is gone"))
        else:
            signed = (octets, kind, own)
            verdicts.append(await asyncio.get_running_loop().run_in_executor(_JUDGES, _judged, trusted, announced, moment, signed))
    return together(verdicts) if verdicts else indeterminate("the document has no content kept here")


def _judged(trusted: Path | None, announced: frozenset[str], moment: datetime, signed: tuple) -> Verdict:
    """The verdict on one document. trusted: folder of authorities. signed: fields of signing.author.Signed, and of what is apart."""
    # Libraries of a quarter of the time and memory that a server takes to start, and most never verify an author.
    from fhir_dmp.signing.author import Apart, Judge, Signed, verify
    from fhir_dmp.signing.authorities import authorities

    octets, kind, apart = signed
    document = Signed(octets, kind, tuple(Apart(*one) for one in apart))
    return asyncio.run(verify(document, Judge(authorities(trusted), announced, moment)))


def _by_author(provenance: dict) -> bool:
    """Whether a Provenance does not hold the seal of a message."""
    codings = (provenance.get("activity") or {}).get("coding") or ()
    return not any(one.get("code") == "message" for one in codings)


def _with(proof: Row, row: Row) -> bool:
    """Whether a Provenance came with a document, and has its lineage: what others say beside it neither proves nor disproves anything."""
    return not {one["rt"] for one in facts.listed(proof)}.isdisjoint(one["rt"] for one in facts.listed(row))


async def _contents(context: Context, row: Row, value: dict) -> list[tuple[Row, str]]:
    """The Binaries of a document, with the type each is announced as."""
    found = []
    for content in value.get("content") or ():
        attachment = content.get("attachment") or {}
        said = parse_reference(attachment.get("url", ""), (context.base_url,))
        if said.kind == "local" and said.type == BINARY:
            part = await context.reads.load(context.store.vault.locate(BINARY, said.id))
            if part is not None and not part.deleted and part.dossier == row.dossier:
                found.append((part, attachment.get("contentType", "")))
    return found


async def _octets(context: Context, row: Row) -> bytes | None:
    if row.content is None:
        return seal.octets_of(row.body or b"{}")
    if row.content.size > MOST_OCTETS:
        return bytes(MOST_OCTETS + 1)
    return b"".join([piece async for piece in context.store.contents.read(row.content.id)])


async def _authors(context: Context, value: dict) -> frozenset[str]:
    """The authors a document announces, as certificates name them: IDNPS, RPPS, FINESS."""
    named = await facts.names(context, [value])
    found = {one.partition(":")[2] for one in documents.authors_of(value, lambda text: named.get(text, frozenset()))}
    for one in value.get("author") or ():
        text = (one.get("identifier") or {}).get("value")
        found |= {text} if text else set()
    found |= {one[1:] for one in found if one.startswith(IDNPS_OF_RPPS) and len(one) == 12}
    return frozenset(found - {""})


async def _authors_of_carriers(context: Context, row: Row, id: str) -> frozenset[str]:
    """Of the documents that point to a Binary."""
    vault = context.store.vault
    pointing = AnyOf(tuple(Has("location", UriIs(f"{base}{BINARY}/{id}")) for base in ("", f"{context.base_url}/")))
    where = narrow.to_mongo(pointing, DOCUMENT, vault.hash64, vault.locate).filter
    found: frozenset[str] = frozenset()
    for carrier in await context.reads.find(where, types=(DOCUMENT,), dossiers=(row.dossier,), limit=MOST_PROOFS):
        found |= await _authors(context, json.parse(carrier.body or b"{}"))
    return found
