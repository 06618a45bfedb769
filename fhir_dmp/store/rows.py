"""Rows: the values that go into the store and come out of it, and their BSON.

https://bsonspec.org/spec.html
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import bson
import msgspec
from bson import Decimal128
from bson.codec_options import CodecOptions, TypeEncoder, TypeRegistry
from bson.decimal128 import create_decimal128_context
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.errors import FhirError
from fhir_dmp.store.compressed import expand
from fhir_dmp.store.vault import seal, unseal, version_row

ROW_BYTES = 12 * 1024 * 1024
INLINE_BODY_BYTES = 1024 * 1024
# In the row of a dossier: numbers of those that were joined to it and are so no more.
PARTED = "pt"
# In the same: numbers of those that an administrator of this host began to join to it.
JOINED = "jb"


Visible = dict[str, Any] | list[dict[str, Any]] | None


class Content(NamedTuple):
    """A sealed content (GridFS). id: 16 bytes. size: plain bytes. sha256: of the plain bytes, only where it was just written."""

    id: bytes
    size: int
    sha256: bytes | None = None


class NewRow(NamedTuple):
    """One version to be stored, all plain.

    key: 16 bytes. version: new random int64. updated_ms: meta.lastUpdated, UTC, greater than that of the version it replaces.
    self64: hash by which references find this resource, 0 for none. Blind index, keyed hashes and intervals, nothing readable: x every
    token; g the selective ones; c code tokens; n (parameter hash, low, high), int or Decimal, half-open.
    body: final JSON bytes; for a deletion None or what a history shall tell of it (e.g. the id a client chose), sealed too.
    method: POST, PUT, PATCH or DELETE. content: a sealed content that this version refers to; it lives as long as one version does.
    journal: it is a trace, and gets a number in a chain of the journal. visible: facts by which the rules of access judge it, see
    consent.predicate; a list of them where one that is visible makes it visible.
    """

    key: bytes
    dossier: int
    type: str
    version: int
    updated_ms: int
    self64: int
    x: tuple[int, ...]
    g: tuple[int, ...]
    c: tuple[int, ...]
    n: tuple[tuple[int, int | Decimal, int | Decimal], ...]
    body: bytes | None
    method: str
    deleted: bool = False
    content: Content | None = None
    journal: bool = False
    visible: Visible = None


class Change(NamedTuple):
    """A row and the version that must be current for it to be stored; None: the key must not exist yet.

    acted_ms: when the last act that made no version touched the row that is replaced, as it was read; one that came since is a conflict
    too, else a mask could be written over. None: whatever it is. former: facts of the row that is replaced, see withdrawing.
    """

    row: NewRow
    expected: int | None
    acted_ms: int | None = None
    former: Visible = None


class Row(msgspec.Struct, frozen=True):
    """One version as read. updated_ms: UTC. version: int64, see vault.version_id.

    body: final JSON bytes, wherever they were kept; None when the dossier was erased (`erased`), or when it was not asked for.
    intervals: `n` of NewRow, where it was asked for. visible: as in NewRow; of a current version. acted_ms: when the last act that made no
    new version touched the row, UTC, 0 for never. policy: of its dossier, read at the same moment, None where there is none. large: its
    body is kept apart.
    """

    key: bytes
    dossier: int
    type: str
    version: int
    updated_ms: int
    method: str
    deleted: bool
    body: bytes | None
    content: Content | None = None
    self64: int = 0
    erased: bool = False
    intervals: tuple[tuple[int, int | Decimal, int | Decimal], ...] = ()
    visible: Visible = None
    acted_ms: int = 0
    policy: Dossier | None = None
    large: bool = False

    def but(self, **changes: Any) -> "Row":
        """The same with some fields replaced."""
        return msgspec.structs.replace(self, **changes)

    @property
    def place(self) -> tuple[int, bytes]:
        """Where this row stands in the order of a search."""
        return self.updated_ms, self.key

    @property
    def history_place(self) -> tuple[int, bytes]:
        """Where this version stands in the order of a history."""
        return self.updated_ms, version_row(self.key, self.version)


class Unopened:
    """A current row as a search finds it: what its document shows, read where it is asked for; its body stays sealed."""

    __slots__ = ("document", "dossier", "key", "type", "updated_ms", "visible")
    body = None
    deleted = False

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.key, self.dossier, self.type, self.updated_ms = document["_id"], document["d"], document["t"], document["l"]
        self.visible: Visible = document.get("y")

    @property
    def version(self) -> int:
        return self.document["v"]

    @property
    def intervals(self) -> tuple[tuple[int, int | Decimal, int | Decimal], ...]:
        return intervals_of(self.document)


class _DecimalEncoder(TypeEncoder):
    python_type = Decimal

    def transform_python(self, value: Decimal) -> Decimal128:
        return decimal128(value)


_CONTEXT = create_decimal128_context()


def decimal128(value: Decimal) -> Decimal128:
    """The nearest of 34 digits: the index narrows, the body decides."""
    return _decimal128(str(value))


class _Encoded(Decimal128):
    """One whose octets are kept: the driver makes them anew each time it writes it."""

    __slots__ = ("bid",)


@lru_cache(maxsize=8192)
def _decimal128(text: str) -> Decimal128:
    """Written bit by bit, three times as fast as by the driver. One measure has many numbers in an index, and they come again."""
    value = Decimal(text)
    if value.is_finite():
        sign, digits, exponent = value.as_tuple()
        if len(digits) <= 34 and -6176 <= exponent <= 6111:
            coefficient = int(value.copy_abs().scaleb(-exponent, _CONTEXT))
            octets = (sign << 127 | exponent + 6176 << 113 | coefficient).to_bytes(16, "little")
            made = _Encoded.from_bid(octets)
            made.bid = octets
            return made
    return Decimal128(_CONTEXT.create_decimal(value))


OPTIONS: CodecOptions = CodecOptions(type_registry=TypeRegistry([_DecimalEncoder()]))
RAW: CodecOptions = CodecOptions(document_class=RawBSONDocument)


def encode(document: Mapping[str, Any]) -> RawBSONDocument:
    """BSON of one document, refused here when it cannot be stored: in a batch it would take the others down with it."""
    try:
        data = bson.encode(document, codec_options=OPTIONS)
    except (InvalidDocument, OverflowError, UnicodeError, ValueError, TypeError) as error:
        raise FhirError("unprocessable", "the resource cannot be stored: its index does not fit the database") from error
    if len(data) > ROW_BYTES:
        raise FhirError("too-long", f"the resource and its index take {len(data)} bytes, more than {ROW_BYTES}")
    return RawBSONDocument(data, RAW)


def current_document(row: NewRow, key: AESGCM, large: Content | None = None, body: bytes | None = None) -> dict[str, Any]:
    """Document in `resources` of a new current version; without type and index when it is a deletion, so that no search meets it.

    large: the content that keeps its body. body: what is sealed in place of the body itself.
    """
    document: dict[str, Any] = {
        "_id": row.key,
        "d": row.dossier,
        "tz" if row.deleted else "t": row.type,
        "v": row.version,
        "l": row.updated_ms,
        "m": row.method,
    }
    if not row.deleted:
        if row.self64:
            document["s"] = row.self64
        document.update(index_fields(row.x, row.g, row.c, row.n))
    if row.visible:
        document["y"] = row.visible
    document.update(_body_fields(row, key, large, row.body if body is None else body))
    return document


def index_fields(x: Iterable[int], g: Iterable[int], c: Iterable[int], n: Iterable[tuple]) -> dict[str, Any]:
    """The blind index in a document. What is empty is left out: its index then has no entry for this row."""
    spans = [{"p": p, "a": a if type(a) is int else _bound(a), "b": b if type(b) is int else _bound(b)} for p, a, b in n]
    fields = {"x": list(x), "g": list(g), "c": list(c), "n": spans}
    return {name: values for name, values in fields.items() if values}


def _bound(value: int | Decimal) -> int | Decimal128:
    return decimal128(value) if isinstance(value, Decimal) else value


def deletion_document(row: NewRow, key: AESGCM) -> dict[str, Any]:
    """Document in `versions` of a deletion, which is a version too."""
    return {
        "_id": version_row(row.key, row.version),
        "k": row.key,
        "d": row.dossier,
        "t": row.type,
        "v": row.version,
        "l": row.updated_ms,
        "m": row.method,
        "del": True,
        **_body_fields(row, key, None, row.body),
    }


def superseded_document(current: Mapping[str, Any]) -> dict[str, Any] | None:
    """Document in `versions` of a current row that is about to be replaced; None for a deletion, which is there already."""
    if "t" not in current:
        return None
    kept = {name: current[name] for name in ("d", "t", "v", "l", "m", "s", "b", "f") if name in current}
    key = bytes(current["_id"])
    return {"_id": version_row(key, current["v"]), "k": key, **kept}


def _body_fields(row: NewRow, key: AESGCM, large: Content | None, body: bytes | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    contents = []
    if row.content is not None:
        contents.append({"i": row.content.id, "z": row.content.size})
    if large is not None:
        contents.append({"i": large.id, "z": large.size, "w": True})
    elif body is not None:
        fields["b"] = seal(key, body, version_row(row.key, row.version))
    if contents:
        fields["f"] = contents
    return fields


def large_body(document: Mapping[str, Any]) -> Content | None:
    """The content that holds the whole body of a stored document, when it does not hold it itself."""
    return next((Content(item["i"], item["z"]) for item in document["f"] if item.get("w")), None) if "f" in document else None


def row_of(
    document: Mapping[str, Any],
    key: AESGCM | None,
    *,
    large: bytes | None = None,
    erased: bool = False,
    policy: Dossier | None = None,
    intervals: bool = True,
) -> Row:
    """Value of a document of `resources` or `versions`. key: of its dossier, None: the body stays closed. intervals: with those it has."""
    return Row(
        key=document["k"] if "k" in document else document["_id"],
        dossier=document["d"],
        type=document["t"] if "t" in document else document["tz"],
        version=document["v"],
        updated_ms=document["l"],
        method=document["m"],
        deleted="tz" in document or "del" in document,
        body=large if large is not None else body_in(document, key),
        content=next((Content(item["i"], item["z"]) for item in document["f"] if not item.get("w")), None) if "f" in document else None,
        self64=document.get("s", 0),
        erased=erased,
        intervals=intervals_of(document) if intervals and "n" in document else (),
        visible=document.get("y"),
        acted_ms=document.get("a", 0),
        policy=policy,
        large="f" in document and large_body(document) is not None,
    )


def body_in(document: Mapping[str, Any], key: AESGCM | None) -> bytes | None:
    """The body that a document itself holds, opened; None when it holds none, or without the key."""
    if key is None or "b" not in document:
        return None
    return expand(unseal(key, document["b"], version_row(document["k"] if "k" in document else document["_id"], document["v"])))


def intervals_of(document: Mapping[str, Any]) -> tuple[tuple[int, int | Decimal, int | Decimal], ...]:
    """`n` of a document, as in NewRow."""
    return tuple(
        [
            (
                item["p"],
                low.to_decimal() if isinstance(low := item["a"], Decimal128) else low,
                high.to_decimal() if isinstance(high := item["b"], Decimal128) else high,
            )
            for item in document.get("n", ())
        ]
    )
