"""AuditEvent/[id]/$proof: that a trace is in the log, as a proof that anybody can check with nothing but the host's public key.

https://www.rfc-editor.org/rfc/rfc6962#section-2.1.1

Whoever may read the trace may have its proof. To check: leaf = SHA-256(0x00 || chain || number, 8 octets || row, 16 octets ||
HMAC-SHA-256(salt, body)), body being the AuditEvent as it was answered; then the path, then the head. Who is shown only a part of a trace
gets the HMAC instead of the salt: it proves that the trace stands there, and nothing of what it says.
"""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from fhir_dmp.audit import chain
from fhir_dmp.audit.checkpoint import Head, opened
from fhir_dmp.audit.merger import signer
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.interactions import merged, origins, read, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.store.lanes import Place, place_of, salt_of
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON, dossier_in

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-proof"


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """The proof of one trace. sight: who may read the trace may have it; who is shown a part of it, gets no salt."""
    admit(context, "AuditEvent", "r")
    row = await context.reads.load(context.store.vault.locate("AuditEvent", url.id))
    if row is None or row.type != "AuditEvent" or row.deleted or row.erased or not sight.sees(row):
        raise read.absent()
    (seen,) = await shown.rows(context, sight, [row])
    salted = seen.body == row.body and not shown.narrowed(sight.met, row.body or b"")
    if (kept := await _kept(context, row, url.id, salted=salted)) is not None:
        return Answer(200, kept)
    return Answer(200, parameters(await proof_of(context.store, url.id), salted=salted))


async def _kept(context: Context, row: Row, id: str, *, salted: bool) -> bytes | None:
    """The proof that another host gave along with a trace of its own; None for a trace of this host."""
    document = await context.store.log.row(context.store.vault.locate("AuditEvent", id))
    if row.dossier == COMMON or (document is not None and place_of(document) is not None):
        return None
    for one in await origins.every(context.reads, row.dossier):
        if (proof := one.proofs.get(f"AuditEvent/{id}")) is not None:
            named: list[dict] = [{"name": name, "valueBase64Binary": proof[name]} for name in ("chain", "row", "publicKey")]
            salt, joined = base64.b64decode(proof["salt"]), proof.get("joined")
            # One that had come with a dossier joined there: what is shown is not what was committed to.
            salted = salted and joined is None
            there = origins.translated(row.body or b"", one.back) if joined is None else joined.encode()
            committed = _text(chain.commitment(salt, there))
            named.append({"name": "salt" if salted else "commitment", "valueBase64Binary": proof["salt"] if salted else committed})
            named += [{"name": "path", "valueBase64Binary": part} for part in proof["path"]]
            named += [{"name": name, "valueString": str(proof[name])} for name in ("number", "index", "checkpoint")]
            own = one.back.get(id, id) if joined is None else msgspec.json.decode(joined)["id"]
            named += [{"name": "host", "valueString": proof.get("host", one.host)}, {"name": "id", "valueString": own}]
            return msgspec.json.encode({"resourceType": "Parameters", "parameter": named})
    # It came with a dossier that was joined to this one, or back from it: it stands in a journal under the name it had there.
    there = await merged.original(context.reads, row.key)
    original = None if there is None else await context.reads.load(there)
    if original is None:
        raise read.absent()
    id = context.store.vault.seal_id(original.key)
    if (kept := await _kept(context, original, id, salted=False)) is not None:  # and that dossier from another host
        return kept
    named = msgspec.json.decode(parameters(await proof_of(context.store, id), salted=False))["parameter"]
    return msgspec.json.encode({"resourceType": "Parameters", "parameter": [*named, {"name": "id", "valueString": id}]})


class Proof(NamedTuple):
    """place: of the trace in its chain. salt: 16 bytes. index, path: in the tree of `head`. checkpoint: signed. public: DER key."""

    place: Place
    salt: bytes
    index: int
    path: tuple[bytes, ...]
    head: Head
    checkpoint: str
    public: bytes

    def holds(self, body: bytes, origin: str) -> bool:
        """Whether it proves that this AuditEvent is in the log of that name."""
        position = self.place.position
        leaf = chain.leaf_hash(chain.leaf_data(position, chain.commitment(self.salt, body)))
        signed = opened(self.checkpoint, origin, self.public)
        return signed is not None and chain.is_included(leaf, self.index, signed.size, self.path, signed.root)


async def proof_of(store: Store, id: str) -> Proof:
    """The proof of AuditEvent/`id` in the latest signed head. 404 without such a trace, 503 while no head covers it yet."""
    document = await store.log.row(store.vault.locate("AuditEvent", id))
    place = place_of(document) if document else None
    if document is None or place is None:
        raise read.absent()
    dossier = dossier_in(document["_id"])
    key = (await store.log.keys({dossier}))[dossier]
    if key is None:
        raise read.absent()
    position = place.position
    found, latest = await store.log.find(position.chain, position.number), await store.log.latest_head()
    if found is None or latest is None or latest["_id"] <= found[0]:
        raise FhirError("transient", "the trace is not under a signed head yet, please repeat", headers={"Retry-After": "5"})
    index, _ = found
    head = Head(latest["_id"], bytes(latest["root"]), latest["at"])
    path = await store.log.hashes(chain.inclusion_ranges(index, head.size))
    return Proof(place, salt_of(document, key), index, tuple(path), head, latest["text"], signer(store).public)


def parameters(proof: Proof, *, salted: bool = True) -> bytes:
    """The answer: Parameters. salted: with the salt, so that what the trace says can be checked; else with the commitment alone."""
    position = proof.place.position
    committed = ("salt", proof.salt) if salted else ("commitment", proof.place.committed)
    binaries = [("chain", position.chain), ("row", position.key), committed, *(("path", part) for part in proof.path)]
    binaries += [("root", proof.head.root), ("publicKey", proof.public)]
    # Texts, since R4 has no integers of 64 bits.
    numbers = [("number", position.number), ("index", proof.index), ("size", proof.head.size)]
    named = [{"name": name, "valueBase64Binary": _text(value)} for name, value in binaries]
    named += [{"name": name, "valueString": str(value)} for name, value in numbers]
    named.append({"name": "checkpoint", "valueString": proof.checkpoint})
    return msgspec.json.encode({"resourceType": "Parameters", "parameter": named})


async def consistency(store: Store, old: int, new: int) -> Mapping[str, Any]:
    """Proof that the log of `old` entries is the beginning of that of `new` entries, as plain JSON. 404 beyond the signed log."""
    latest = await store.log.latest_head()
    if not 0 <= old <= new <= (latest["_id"] if latest else 0):
        raise FhirError("not-found", "the log has no such size")
    path = await store.log.hashes(chain.consistency_ranges(old, new))
    return {"old": old, "new": new, "path": [_text(part) for part in path]}


async def checkpoint(store: Store) -> str:
    """The latest signed head as text, for witnesses; 404 before the first one."""
    latest = await store.log.latest_head()
    if latest is None:
        raise FhirError("not-found", "nothing was signed yet")
    return latest["text"]


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
