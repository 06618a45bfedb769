"""Octets of a Binary: kept apart from its JSON when they are large, put back when it is read as JSON.

https://hl7.org/fhir/R4/binary.html
"""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace

from fhir_dmp.fhir import json
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.prepare import Checked, place_of
from fhir_dmp.store.rows import Content

# Up to here a content stays inside its row, as base64 of the resource.
INLINE_BYTES = 512 * 1024
# A multiple of three, so that base64 of the pieces is base64 of the whole.
STRIDE = 192 * 1024


async def set_apart(context: Context, checked: Checked, id: str | None) -> tuple[Checked, Content | None]:
    """A Binary received as JSON: large data is kept as octets, so that it can be streamed; data in another spelling stays as it is."""
    data = checked.value.get("data")
    if not isinstance(data, str) or len(data) <= INLINE_BYTES * 4 // 3:
        return checked, None
    octets = base64.b64decode(data)
    if base64.b64encode(octets).decode() != data:
        return checked, None

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(octets), STRIDE):
            yield octets[start : start + STRIDE]

    dossier = place_of(context, checked, id).dossier
    content = await context.store.contents.write(pieces(), dossier, context.settings.max_binary_bytes)
    return replace(checked, body=json.set_members(checked.body, {"data": None})), content


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
