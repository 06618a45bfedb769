"""FHIR Bulk Data over HTTP: asking for an export, asking how far it is, fetching its files, deleting it.

https://hl7.org/fhir/uv/bulkdata/export.html
"""

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError, outcome
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.http_types import http_date, parse_prefer
from fhir_dmp.http.answers import Shape, file_shape_of, send_bytes, send_stream, shape_of
from fhir_dmp.interactions import export, export_job, operations, tracing
from fhir_dmp.interactions.context import Context

NAME = "$export"
NDJSON = b"application/fhir+ndjson"
# https://hl7.org/fhir/uv/bulkdata/export.html#file-request : other names of the same.
NAMES = ("application/fhir+ndjson", "application/ndjson", "application/x-ndjson")
AGAIN_SECONDS = 1


def concerns(url: Url) -> bool:
    """Whether an address is about an export: its beginning, its state, one of its files."""
    return url.tail[:1] == (NAME,) and (len(url.tail) == 1 or not url.type)


async def serve(request: Request, send: Send, context: Context, url: Url, body: bytes) -> None:
    """Answer a request that concerns an export. body: of a POST."""
    method = "GET" if request.method == "HEAD" else request.method
    shape = (file_shape_of(request, url.query, NAMES) if len(url.tail) == 3 else shape_of(request, url.query))._replace(prefer="")
    if len(url.tail) == 1:
        if request.method == "HEAD":  # whoever only looks begins nothing
            raise FhirError("method", "an export is asked for by GET or POST", headers={"Allow": "GET, POST"})
        await _begin(request, send, context, url, body, shape)
    elif len(url.tail) == 2 and method == "GET":
        await _state(send, context, url.tail[1], shape)
    elif len(url.tail) == 2 and method == "DELETE":
        await export.cancel(context, url.tail[1])
        await send_bytes(send, 202, [], None, shape)
    elif len(url.tail) == 3 and method == "GET":
        content, size = await export.output_of(context, url.tail[1], url.tail[2])
        await tracing.shown(context, "export", "/".join(url.tail))
        pieces = context.store.contents.read(content)
        await send_stream(send, 200, [(b"content-type", NDJSON)], size, pieces, head=request.method == "HEAD")
    elif len(url.tail) > 3:
        raise FhirError("not-found", "there is nothing at this address")
    else:
        allowed = "GET, HEAD, DELETE" if len(url.tail) == 2 else "GET, HEAD"
        raise FhirError("method", f"`{request.method[:16]}` is not allowed at this address", headers={"Allow": allowed})


async def _begin(request: Request, send: Send, context: Context, url: Url, body: bytes, shape: Shape) -> None:
    asked = operations.understood(context, request.method, url, body)
    if not parse_prefer(request.headers.get("prefer")).respond_async:
        raise FhirError("invalid", "an export is answered later: send `Prefer: respond-async`")
    query = request.scope["query_string"].decode("ascii", "replace")
    path = "/".join(part for part in (context.base_url, url.type, url.id, NAME) if part)
    plan = await export.planned(context, url, asked.given, f"{path}?{query}" if query else path)
    await tracing.shown(context, "export", path.removeprefix(f"{context.base_url}/") + (f"?{query}" if query else ""))
    job = await export_job.start(context, plan)
    headers = [(b"content-location", f"{context.base_url}/{NAME}/{job}".encode())]
    await send_bytes(send, 202, headers, outcome([export.accepted()]), shape)


async def _state(send: Send, context: Context, id: str, shape: Shape) -> None:
    state = await export.state_of(context, id)
    if state.manifest is None:
        headers = [(b"x-progress", state.progress.encode()), (b"retry-after", b"%d" % AGAIN_SECONDS)]
        await send_bytes(send, 202, headers, None, shape)
        return
    headers = [(b"expires", http_date(state.expires_ms).encode())]
    await send_bytes(send, 200, headers, state.manifest, shape._replace(media_type="application/json"))
