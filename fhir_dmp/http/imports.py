"""$import over HTTP: sending dossiers, asking how far they are, the report.

https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-import
"""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError, Issue, outcome
from fhir_dmp.exchange import import_job, package_job
from fhir_dmp.exchange.rules import SANDBOX
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.http_types import check_resource_type, media_types
from fhir_dmp.http.answers import send_bytes, send_stream, shape_of
from fhir_dmp.http.dossiers import PACKAGE
from fhir_dmp.http.requests import read_body, stream_body
from fhir_dmp.http.sealed import received
from fhir_dmp.http.services import Services
from fhir_dmp.interactions import import_
from fhir_dmp.interactions.context import Context
from fhir_dmp.signing.message import HEADER

NAME = "$import"
NDJSON = frozenset({"application/fhir+ndjson", "application/ndjson", "application/x-ndjson"})
FHIR_JSON = b"application/fhir+json; charset=utf-8"
# The package of one dossier, sealed on disk as it arrives.
MOST = 1 << 40
ACCEPTED = Issue("information", "informational", "the import has begun; its state is at Content-Location")


def concerns(url: Url) -> bool:
    """Whether an address is about an import."""
    return url.tail[:1] == (NAME,) and not url.type


async def serve(request: Request, send: Send, services: Services, context: Context, url: Url) -> None:
    """Answer a request that concerns an import."""
    import_.admit_sender(context, request.method)
    method = "GET" if request.method == "HEAD" else request.method
    if len(url.tail) == 1 and request.method == "POST":
        await _begin(request, send, services, context, url)
    elif len(url.tail) == 1:
        raise FhirError("method", "an import is sent by POST", headers={"Allow": "POST"})
    elif len(url.tail) > 2:
        raise FhirError("not-found", "there is nothing at this address")
    elif method == "GET":
        await _state(request, send, context, url.tail[1])
    elif method == "DELETE":
        await (package_job.taking.remove if _is_takeover(url.tail[1]) else import_job.cancel)(context, url.tail[1])
        await send_bytes(send, 202, [], None, shape_of(request, url.query)._replace(prefer=""))
    else:
        raise FhirError("method", f"`{request.method[:16]}` is not allowed at this address", headers={"Allow": "GET, HEAD, DELETE"})


async def _begin(request: Request, send: Send, services: Services, context: Context, url: Url) -> None:
    shape = shape_of(request, url.query)._replace(prefer="")
    given = [value for name, value in url.query if name == "source"]
    if len(given) > 1 or (not given and context.actor.kind != "system"):
        raise FhirError("invalid", "`source` names the one source the data come from")
    announced = media_types(request.headers.get("content-type") or "")
    source, form = given[0] if given else SANDBOX, announced[0].name if announced else ""
    if form == PACKAGE.decode():
        job = await package_job.take(context, source, stream_body(request, services, MOST))
    else:
        job = await _resources(request, services, context, source, ndjson=form in NDJSON)
    headers = [(b"content-location", f"{context.base_url}/{NAME}/{job}".encode())]
    await send_bytes(send, 202, headers, outcome([ACCEPTED]), shape)


async def _resources(request: Request, services: Services, context: Context, source: str, *, ndjson: bool) -> str:
    if not ndjson:
        check_resource_type(request.headers.get("content-type"))
    body = await read_body(request, services)
    if not body.strip():
        raise FhirError("invalid", "the body is empty: send a Bundle, or NDJSON")
    context = await received(request, services, context, body, is_bundle=not ndjson)
    said = context.message
    # The signature of a Bundle is looked at once more where the Bundle is taken apart: it is kept with what it brings.
    sealed = (said.signer, said.kid) if said is not None and said.signer and HEADER in request.headers else ()
    return await import_job.start(context, source, body, ndjson=ndjson, sealed=sealed)


def _is_takeover(id: str) -> bool:
    return id.startswith(f"{package_job.taking.kind}-")


async def _state(request: Request, send: Send, context: Context, id: str) -> None:
    if _is_takeover(id):
        shape = shape_of(request, ())._replace(prefer="")
        await send_bytes(send, 200, [(b"cache-control", b"no-store")], json.dump(await package_job.taken(context, id)), shape)
        return
    state = await import_job.state_of(context, id)
    head = json.dump(state.head)
    size, pieces = len(head), _told(head)
    if state.report is not None:
        before, after = head[:-2] + b',{"name":"report","resource":', b"}]}"
        size = len(before) + await context.store.contents.size(state.report) + len(after)
        pieces = _joined(before, context.store.contents.read(state.report), after)
    headers = [(b"content-type", FHIR_JSON), (b"cache-control", b"no-store")]
    await send_stream(send, 200, headers, size, pieces, head=request.method == "HEAD")


async def _told(head: bytes) -> AsyncIterator[bytes]:
    yield head


async def _joined(before: bytes, pieces: AsyncIterator[bytes], after: bytes) -> AsyncIterator[bytes]:
    yield before
    async for piece in pieces:
        yield piece
    yield after
