"""Octets of a Binary: kept apart from its JSON when they are large, put back when it is read as JSON.

https://hl7.org/fhir/R4/binary.html
"""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace

from fhir_dmp.fhir import json, summary
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.prepare import Checked, place_of
from fhir_dmp.store.rows import Content

# Up to here a content stays inside its row, as base64 of the resource.
INLINE_BYTES = 512 * 1024
# A multiple of three, so that base64 of the pieces is base64 of the whole.
STRIDE = 192 * 1024


# Octets that one Bundle brings back; a reader of more asks for each Binary by itself.
BUNDLE_BYTES = 64 * 1024 * 1024


def is_large(checked: Checked) -> bool:
    """A Binary whose data would not stay in its row."""
    data = checked.value.get("data")
    return checked.type == "Binary" and isinstance(data, str) and len(data) > INLINE_BYTES * 4 // 3


async def set_apart(context: Context, checked: Checked, id: str | None, dossier: int | None = None) -> tuple[Checked, Content | None]:
    """A Binary received as JSON: large data is kept as octets, so that it can be streamed; data in another spelling stays as it is.

    dossier: None to find it out.
    """
    data = checked.value.get("data")
    if not is_large(checked):
        return checked, None
    octets = base64.b64decode(data)
    if base64.b64encode(octets).decode() != data:
        return checked, None

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(octets), STRIDE):
            yield octets[start : start + STRIDE]

    dossier = place_of(context, checked, id).dossier if dossier is None else dossier
    content = await context.store.contents.write(pieces(), dossier, context.settings.max_binary_bytes)
    return replace(checked, body=json.set_members(checked.body, {"data": None})), content


async def whole(context: Context, body: bytes, content: Content | None) -> bytes:
    """The resource as JSON, its octets put back."""
    if content is None:
        return body
    return b"".join([piece async for piece in json_stream(context, body, content)])


class Budget:
    """Octets put back into the entries of one Bundle, as many as fit; an entry left without them says so by its tag SUBSETTED."""

    def __init__(self, context: Context) -> None:
        self.context, self.left = context, BUNDLE_BYTES

    async def whole(self, body: bytes, content: Content | None) -> bytes:
        """An entry's resource."""
        if content is None:
            return body
        self.left -= content.size
        return await whole(self.context, body, content) if self.left >= 0 else summary.summary(body, "Binary", "data")


def data_of(body: bytes) -> tuple[str, bytes]:
    """contentType and octets of a Binary that holds its data itself."""
    resource = json.parse(body)
    return resource.get("contentType", "application/octet-stream"), base64.b64decode("".join(resource.get("data", "").split()))


async def json_stream(context: Context, body: bytes, content: Content) -> AsyncIterator[bytes]:
    """The resource as JSON, its octets in base64, without holding them all."""
    yield body[:-1] + b',"data":"'
    rest = b""
    async for piece in context.store.contents.read(content.id):
        rest += piece
        usable = len(rest) - len(rest) % 3
        yield base64.b64encode(rest[:usable])
        rest = rest[usable:]
    yield base64.b64encode(rest) + b'"}'


def json_length(body: bytes, content: Content) -> int:
    """Bytes that json_stream gives."""
    return len(body) + len(b',"data":""') + 4 * -(-content.size // 3)
