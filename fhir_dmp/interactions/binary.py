"""Binary: contents in their own format, streamed both ways when they are large.

https://hl7.org/fhir/R4/binary.html ; IHE MHD Retrieve Document [ITI-68]
"""

import base64
from collections.abc import AsyncIterator

from fhir_dmp.fhir import json
from fhir_dmp.fhir.http_types import Tags
from fhir_dmp.interactions import read, ruled, update, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.octets import INLINE_BYTES
from fhir_dmp.interactions.prepare import Checked, check, place_of, stamp, written
from fhir_dmp.store.rows import Content


async def create(context: Context, media_type: str, security_context: str, octets: AsyncIterator[bytes]) -> Answer:
    """A new Binary from octets in their own format. security_context: a reference, or "" for none."""
    admit(context, "Binary", "c")
    if context.enforcer is not None:
        raise ruled.alone()
    checked, content = await _received(context, media_type, security_context, octets, None)
    stamped = stamp(context, checked, method="POST", content=content)
    await writing.write(context, [(stamped.change, stamped.id)])
    return written(stamped, 201)


async def update_content(
    context: Context, id: str, media_type: str, security_context: str, octets: AsyncIterator[bytes], if_match: Tags | None
) -> Answer:
    """Replace a Binary by octets in their own format."""
    admit(context, "Binary", "u")
    if context.enforcer is not None:
        raise ruled.not_allowed("Binary", "PUT", "GET, HEAD")
    row = await read.current(context, "Binary", id)
    update.precondition(row, if_match)
    if (row is None or row.deleted) and not context.sandbox:
        raise read.absent()
    checked, content = await _received(context, media_type, security_context, octets, id)
    return await update.store(context, checked, id, if_match=if_match, content=content)


async def _received(
    context: Context, media_type: str, security_context: str, octets: AsyncIterator[bytes], id: str | None
) -> tuple[Checked, Content | None]:
    """The resource without or with its data, and the sealed content in the first case."""
    resource: dict = {"resourceType": "Binary", "contentType": media_type}
    if security_context:
        resource["securityContext"] = {"reference": security_context}
    head: list[bytes] = []
    size = 0
    async for piece in octets:
        head.append(piece)
        size += len(piece)
        if size > INLINE_BYTES:
            break
    else:
        if size:
            resource["data"] = base64.b64encode(b"".join(head)).decode()
        return check(context, json.dump(resource), "Binary"), None
    checked = check(context, json.dump(resource), "Binary")

    async def whole() -> AsyncIterator[bytes]:
        for piece in head:
            yield piece
        async for piece in octets:
            yield piece

    dossier = place_of(context, checked, id).dossier
    return checked, await context.store.contents.write(whole(), dossier, context.settings.max_binary_bytes)
