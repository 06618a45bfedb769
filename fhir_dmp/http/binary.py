"""Binary in its own format over HTTP: octets in, octets out, ranges.

https://hl7.org/fhir/R4/binary.html ; https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
"""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.http_types import binary_form, http_date, media_types, not_modified, parse_range, parse_tags
from fhir_dmp.fhir.json import members, parse
from fhir_dmp.http.answers import Shape, answer_headers, send_answer, send_bytes, send_stream, shape_of
from fhir_dmp.http.requests import stream_body
from fhir_dmp.http.services import Services
from fhir_dmp.interactions import binary, octets, read, tracing, vread
from fhir_dmp.interactions.context import Answer, Context

# A document that is opened in a browser runs nothing, whatever it calls itself. An application shows it by its own means.
INERT = [
    (b"content-disposition", b"attachment"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"x-content-type-options", b"nosniff"),
]
SERVED = ("create", "update", "read", "vread")
# FHIR JSON itself; a plain JSON file goes as FHIR JSON too, wrapped in a Binary, as the contract reads `application/json`.
JSON_NAMES = ("application/fhir+json", "application/json", "text/json")


async def serve(request: Request, send: Send, services: Services, context: Context, url: Url, name: str) -> bool:
    """Serve the request when it is about octets; False leaves it to the interactions on resources."""
    if name in ("create", "update"):
        return await _write(request, send, services, context, url, name)
    answer = await (read.run(context, "Binary", url.id) if name == "read" else vread.run(context, "Binary", url.id, url.tail[1]))
    await tracing.shown(context, name, "")
    if any(name in ("_summary", "_elements") for name, _ in url.query):
        return False
    resource = members(answer.body)
    content_type = parse(bytes(resource["contentType"]), object_only=False) if "contentType" in resource else "application/octet-stream"
    form = binary_form(request.headers.get("accept"), dict(url.query).get("_format"), content_type)
    known = not_modified(answer.version, answer.updated_ms, request.headers.get("if-none-match"), request.headers.get("if-modified-since"))
    # Octets are shown as they are; the resource may name something hidden.
    if known and (form != "fhir" or read.steady(context, "Binary")):
        await send_bytes(send, 304, answer_headers(answer, context.base_url, wrote=False), None, Shape("", False, ""))
        return True
    return await _read(request, send, context, url, answer, form, content_type)


async def _read(request: Request, send: Send, context: Context, url: Url, answer: Answer, form: str, content_type: str) -> bool:
    headers = answer_headers(answer, context.base_url, wrote=False)
    head = request.method == "HEAD"
    if form == "fhir":
        if answer.content is None:
            await send_answer(send, answer, shape_of(request, url.query), context.base_url, wrote=False)
            return True
        headers.append((b"content-type", b"application/fhir+json; charset=utf-8"))
        pieces = octets.json_stream(context, answer.body, answer.content)
        await send_stream(send, 200, headers, octets.json_length(answer.body, answer.content), pieces, head=head)
        return True
    headers += [*INERT, (b"content-type", header_of(content_type)), (b"accept-ranges", b"bytes")]
    held = None if answer.content else octets.data_of(answer.body)[1]
    size = len(held) if held is not None else answer.content.size
    part = parse_range(request.headers.get("range"), size) if same_as_before(request, answer) else None
    start, end = part or (0, size)
    if part:
        headers.append((b"content-range", f"bytes {start}-{end - 1}/{size}".encode()))
    pieces = one(held[start:end]) if held is not None else context.store.contents.read(answer.content.id, start, end)
    await send_stream(send, 206 if part else 200, headers, end - start, pieces, head=head)
    return True


def same_as_before(request: Request, answer: Answer) -> bool:
    """Whether a part may be sent to a client who has other parts: If-Range names this version, or is absent. RFC 9110 13.1.5"""
    condition = request.headers.get("if-range", "").strip()
    # A version never changes, so its tag compares as a strong one.
    return not condition or condition.removeprefix("W/") == f'"{answer.version}"' or condition == http_date(answer.updated_ms)


async def _write(request: Request, send: Send, services: Services, context: Context, url: Url, name: str) -> bool:
    content_type = request.headers.get("content-type", "")
    found = media_types(content_type)
    if not found:
        raise FhirError("media-type", "a content without Content-Type is not accepted")
    if found[0].name in JSON_NAMES:
        return False
    security_context = request.headers.get("x-security-context", "")
    pieces = stream_body(request, services, context.settings.max_binary_bytes)
    if name == "create":
        answer = await binary.create(context, content_type, security_context, pieces)
    else:
        if_match = parse_tags(request.headers.get("if-match"))
        answer = await binary.update_content(context, url.id, content_type, security_context, pieces, if_match)
    await send_answer(send, answer, Shape("application/fhir+json; charset=utf-8", False, "minimal"), context.base_url, wrote=True)
    return True


def header_of(content_type: str) -> bytes:
    """A Content-Type for the header; what is no media type is served as mere octets."""
    fits = content_type.isascii() and content_type.isprintable() and len(media_types(content_type)) == 1
    return content_type.encode() if fits else b"application/octet-stream"


async def one(piece: bytes) -> AsyncIterator[bytes]:
    """A content that is in memory, as a stream."""
    if piece:
        yield piece
