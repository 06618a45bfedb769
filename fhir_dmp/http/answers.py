"""An interaction's answer on its way out: headers, preferences, formats.

https://hl7.org/fhir/R4/http.html#general
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import Issue, outcome
from fhir_dmp.fhir.http_types import answer_format, etag, http_date, parse_prefer, preferred
from fhir_dmp.fhir.json import dump, pretty
from fhir_dmp.interactions.context import Answer

Headers = list[tuple[bytes, bytes]]
DONE = {200: "done", 201: "created", 204: "deleted"}


class Shape(NamedTuple):
    """How the client wants its answers. media_type: of JSON. prefer: minimal, representation, OperationOutcome or ""."""

    media_type: str
    pretty: bool
    prefer: str


def shape_of(request: Request, pairs: Sequence[tuple[str, str]]) -> Shape:
    """How the answer shall look; refused (406) before anything is done when it cannot look like that."""
    asked = dict(pairs)
    media_type = answer_format(request.headers.get("accept"), asked.get("_format"))
    return Shape(media_type, asked.get("_pretty") == "true", parse_prefer(request.headers.get("prefer")).answer)


def file_shape_of(request: Request, pairs: Sequence[tuple[str, str]], names: tuple[str, ...]) -> Shape:
    """The same where a file may be the answer. names: media types of that file, which need not be one of JSON."""
    if preferred(request.headers.get("accept"), names) and "_format" not in dict(pairs):
        return Shape(answer_format(None), False, "")
    return shape_of(request, pairs)


async def send_answer(send: Send, answer: Answer, shape: Shape, base_url: str, *, wrote: bool) -> None:
    """Answer with a resource, as JSON. wrote: the interaction changed something, so preferences about its answer count."""
    body = answer.body
    if wrote and shape.prefer == "minimal":
        body = None
    elif wrote and shape.prefer == "OperationOutcome":
        body = outcome([Issue("information", "informational", DONE.get(answer.status, "done"))])
    headers = answer_headers(answer, base_url, wrote=wrote)
    await send_bytes(send, answer.status, headers, body, shape)


def answer_headers(answer: Answer, base_url: str, *, wrote: bool) -> Headers:
    """ETag, Last-Modified, Location of what was written or Content-Location of what was read, X-Explain of a search."""
    headers: Headers = []
    if answer.version is not None:
        headers.append((b"etag", etag(answer.version).encode()))
    if answer.updated_ms is not None:
        headers.append((b"last-modified", http_date(answer.updated_ms).encode()))
    if answer.location is not None:
        name = b"location" if wrote else b"content-location"
        headers.append((name, f"{base_url}/{answer.location}".encode()))
    if answer.explained is not None:
        headers.append((b"x-explain", dump(answer.explained)))
    return headers


async def send_bytes(send: Send, status: int, headers: Headers, body: bytes | None, shape: Shape) -> None:
    """Answer with JSON bytes, or nothing."""
    if status in (204, 304):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    if body and shape.pretty:
        body = pretty(body)
    if body:
        headers.append((b"content-type", shape.media_type.encode()))
    headers.append((b"content-length", b"%d" % len(body or b"")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body or b""})


async def send_stream(send: Send, status: int, headers: Headers, length: int, pieces: AsyncIterator[bytes], *, head: bool) -> None:
    """Answer piece by piece. head: the client wants the headers only, so no piece is read."""
    headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if not head:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
