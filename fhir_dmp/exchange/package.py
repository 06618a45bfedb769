"""The package of a dossier as one host gives it to another: what is in it, and how it is laid out.

Seed of the exchange format (identification, contents, masks, personal expression, traces); ig/decisions: host to host

A tar archive in a box (signing.box), read front to back:

    package.json                  who gives which dossier to whom, and when
    octets/N                      contents that are kept apart from their Binary
    identification.json           Bundle: Patient, RelatedPerson, CareTeam, every version
    rights.json                   Bundle: Consents, every version
    directory.json                Bundle: professionals and structures that the dossier refers to
    contents.ndjson, traces.ndjson, seals.ndjson   documents and data; AuditEvents; Provenances (those with line breaks: in a Bundle .json)
    rows.ndjson                   each version in its order: key, place, and the facts it is judged by, in the clear
    proofs.ndjson                 of each trace, its place in the journal of the host; of one that came with a joined dossier also the
                                  AuditEvent as it was there, which is what the journal holds, and its host where that is another one;
                                  an empty proof of one that stands in no journal: from a source, or its original was destroyed
    policy.json                   open break-glass grants, life of the dossier, choices of the law and version of the matrix
    manifest.json, manifest.jws   counts and digests of all of it, signed by the host
"""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from msgspec import Meta

from fhir_dmp.audit import chain, checkpoint
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.instants import MAX_MS
from fhir_dmp.interactions import origins

FORMAT = 1
TYP = "dmp-package+jws"
RECEIPT = "dmp-receipt+jws"
GROUPS = {"Patient": "identification", "RelatedPerson": "identification", "CareTeam": "identification", "Consent": "rights"}
GROUPS |= {"AuditEvent": "traces", "Provenance": "seals"}
DIRECTORY = "directory"
BUNDLES = frozenset({"identification", "rights", DIRECTORY})
# What may be in one beside its contents: files that hold resources, and what tells of them.
HOLDING = frozenset(f"{name}{end}" for name in {*GROUPS.values(), DIRECTORY, "contents"} for end in (".json", ".ndjson"))
TELLING = ("rows.ndjson", "proofs.ndjson", "policy.json")
SIGNED = ("manifest.json", "manifest.jws")

Id = Annotated[str, Meta(pattern=r"^[a-z2-7]{26}\Z")]
Key = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Moment = Annotated[int, Meta(ge=0, le=MAX_MS)]
Count = Annotated[int, Meta(ge=0, le=2**62)]


class Package(msgspec.Struct, frozen=True):
    """host, recipient: identities of who gives and who takes. patient: logical id there. dossier: its number, as text. at: instant."""

    format: int
    host: str
    recipient: str
    patient: Id
    dossier: Annotated[str, Meta(pattern=r"^(0|-?[1-9][0-9]{0,18})\Z")]
    at: str
    reason: str = ""


class Octets(msgspec.Struct, frozen=True):
    """A content kept apart. file: number of its file. sha256: base64url."""

    file: Count
    size: Count
    sha256: str


class RowLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version. id: logical id at who gives. key: hex, of the row, the same at every host. file: that holds the body, "" for none.

    facts: in the clear. acted_ms: last act without a version. dossier: False for an entry of the directory.
    """

    type: str
    id: Id
    key: Key
    version: Annotated[str, Meta(pattern=r"^[a-z2-7]{13}\Z")]
    updated_ms: Moment
    method: Literal["POST", "PUT", "PATCH", "DELETE"]
    file: str = ""
    current: bool = True
    deleted: bool = False
    dossier: bool = True
    acted_ms: Moment = 0
    facts: Any = None
    octets: Octets | None = None

    @property
    def reference(self) -> str:
        """Type/id/_history/version, there."""
        return f"{self.type}/{self.id}/_history/{self.version}"


class Grant(msgspec.Struct, frozen=True):
    """An open break-glass grant. See consent.dossier.Right."""

    who: str
    since_ms: Moment
    until_ms: Moment
    id: str
    secret: bool = False
    organization: str = ""


class Policy(msgspec.Struct, frozen=True):
    """What of the policy no resource says. status, closed_ms: of the dossier. matrix: version of the habilitation matrix. law: choices.

    given: to which host it was given, "" for none; packages that were made before this was told say nothing. lost: closed while rights
    were lost.
    """

    status: Literal["open", "closed", "rights-lost"]
    epoch: Count
    grants: tuple[Grant, ...]
    matrix: str
    law: dict[str, Any]
    closed_ms: Moment | None = None
    given: str | None = None
    lost: bool = False


class File(msgspec.Struct, frozen=True):
    """size: octets. sha256: base64url. count: of what it holds."""

    size: Count
    sha256: str
    count: Count


class Manifest(msgspec.Struct, frozen=True):
    """What is signed. counts: resources by type, current versions. until: state of the dossier that the package holds, see `state_of`."""

    package: Package
    files: dict[str, File]
    counts: dict[str, int]
    until: str


class Receipt(msgspec.Struct, frozen=True):
    """What the new host signs once everything is verified and stored. manifest: digest of it. until: as there."""

    host: str
    given_by: str
    patient: str
    manifest: str
    until: str
    at: str


class Proof(msgspec.Struct, frozen=True):
    """The place of a trace in a journal, see `proof_value`. joined, host: see above."""

    chain: str
    number: Count
    row: str
    salt: str
    index: Count
    path: tuple[str, ...]
    checkpoint: str
    publicKey: str
    joined: str | None = None
    host: str | None = None


class Proved(msgspec.Struct, frozen=True):
    """A trace ("AuditEvent/id") and its Proof; an empty one where its host says that it stands in no journal any more."""

    reference: str
    proof: dict[str, Any]


def wrong(reason: str) -> FhirError:
    """The refusal of a package; nothing of it is then shown to anybody."""
    return FhirError("business-rule", f"the package cannot be taken: {reason}")


def group_of(type_name: str, body: bytes) -> str:
    """The file that holds a body. Octets with line breaks of their own cannot be lines."""
    group = GROUPS.get(type_name, "contents")
    return f"{group}.json" if group in BUNDLES or b"\n" in body or b"\r" in body else f"{group}.ndjson"


def proof_value(proof: Any) -> dict[str, Any]:
    """An inclusion proof (interactions.audit_proof.Proof) as plain JSON."""

    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    place = proof.place
    return {
        "chain": text(place.position.chain),
        "number": place.position.number,
        "row": text(place.position.key),
        "salt": text(proof.salt),
        "index": proof.index,
        "path": [text(one) for one in proof.path],
        "checkpoint": proof.checkpoint,
        "publicKey": text(proof.public),
    }


_head = lru_cache(maxsize=8)(checkpoint.opened)


def proves(proof: Mapping[str, Any], key: bytes, body: bytes, origin: str, public: bytes) -> bool:
    """Whether a proof (see proof_value) shows that an AuditEvent is in the journal of a host: its name and key are origin and public.

    key: of the row. joined: in place of the body its original, of which it is a copy under other ids and under the same random bytes.
    """
    try:
        row, salt = base64.b64decode(proof["row"]), base64.b64decode(proof["salt"])
        path = [base64.b64decode(part) for part in proof["path"]]
        text = proof.get("joined")
        if text is not None:
            if row[8:] != key[8:] or origins.nameless(text.encode()) != origins.nameless(body):
                return False
            key, body = row, text.encode()
        position = chain.Position(base64.b64decode(proof["chain"]), proof["number"], key)
        leaf = chain.leaf_hash(chain.leaf_data(position, chain.commitment(salt, body)))
        signed = _head(proof["checkpoint"], origin, public)
        held = signed is not None and chain.is_included(leaf, proof["index"], signed.size, path, signed.root)
    except (KeyError, TypeError, ValueError, AttributeError, UnsupportedAlgorithm, FhirError):
        return False
    return held and row == key


def bundle(resources: list[tuple[str, bytes]]) -> bytes:
    """A Bundle of type collection, its resources as they are. resources: (fullUrl, JSON)."""
    entries = b",\n".join(b'{"fullUrl":%b,"resource":%b}' % (msgspec.json.encode(url), body) for url, body in resources)
    return b'{"resourceType":"Bundle","type":"collection","entry":[\n' + entries + b"\n]}"


class _Entry(msgspec.Struct):
    resource: msgspec.Raw


class _Bundle(msgspec.Struct):
    entry: tuple[_Entry, ...] = ()


_BUNDLE = msgspec.json.Decoder(_Bundle)


def bodies_of(name: str, data: bytes) -> list[bytes]:
    """The resources in one file, octet for octet."""
    if name.endswith(".ndjson"):
        return data.split(b"\n")[:-1]
    return [bytes(one.resource) for one in _BUNDLE.decode(data).entry]


def lines(values: list[Any]) -> bytes:
    """NDJSON."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in values)


def counted(rows: list[RowLine]) -> Mapping[str, int]:
    """Current resources by type."""
    found: dict[str, int] = {}
    for one in rows:
        if one.current and not one.deleted:
            found[one.type] = found.get(one.type, 0) + 1
    return dict(sorted(found.items()))
