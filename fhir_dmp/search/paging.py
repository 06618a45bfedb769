"""Where a page begins: what a cursor holds, sealed, and bound to the search and to its reader.

https://hl7.org/fhir/R4/http.html#paging

A reader walks over the set as it was at the moment of the first page: a resource changed since then keeps the place it had, so that
nothing is met twice or missed while others write. Each page shows the current content.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from fhir_dmp.errors import FhirError

Seal = Callable[[bytes, str], str]
Open = Callable[[str, str], bytes | None]

PURPOSE = "search page"


@dataclass(frozen=True, slots=True)
class Cursor:
    """moment: of the first page, as the store tells it. total: found then, None when not counted. back: the page ends before the place.

    place: where the entry next to the page stands: its sort values, then its id; "" where no entry on the page has the same values.
    """

    moment: int
    total: int | None
    back: bool
    place: tuple


def encode(cursor: Cursor, seal: Seal, query: bytes, reader: bytes) -> str:
    """The cursor as an opaque text. query: Query.digest(). reader: digest of whom it is made for."""
    body = [cursor.moment, cursor.total, cursor.back, [_packed(part) for part in cursor.place]]
    return seal(_binding(query, reader) + msgspec.msgpack.encode(body), PURPOSE)


def decode(text: str, open_: Open, query: bytes, reader: bytes) -> Cursor:
    """The cursor of a text; FhirError when it was not made here, for this search and this reader."""
    opened = open_(text, PURPOSE)
    binding = _binding(query, reader)
    if opened is None or opened[: len(binding)] != binding:
        raise FhirError("invalid", "search parameter `_cursor` does not belong to this search: follow the links of its first page")
    moment, total, back, place = msgspec.msgpack.decode(opened[len(binding) :])
    return Cursor(moment, total, back, tuple(_unpacked(part) for part in place))


def _binding(query: bytes, reader: bytes) -> bytes:
    return hashlib.blake2b(query + b"\0" + reader, digest_size=16).digest()


def _packed(part: object) -> object:
    if isinstance(part, Decimal):
        return {"n": str(part)}
    return int(part) if isinstance(part, int) else part  # the store's integers are of a class of its own


def _unpacked(part: object) -> object:
    return Decimal(part["n"]) if isinstance(part, dict) else part
