"""$export-dossier over HTTP: asking for the package of a dossier, fetching it; the receipt of the host that took it.

https://hl7.org/fhir/R4/async.html
"""

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError, Issue, outcome
from fhir_dmp.exchange import package_job
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.http_types import media_types
from fhir_dmp.http.answers import file_shape_of, send_bytes, send_stream, shape_of
from fhir_dmp.interactions import operations, tracing
from fhir_dmp.interactions.context import Context

NAME = "$export-dossier"
PACKAGE = b"application/vnd.fhir-dmp.package"
NAMES = ("application/vnd.fhir-dmp.package", "application/octet-stream")
AGAIN_SECONDS = 1
RECEIPT, RECEIPT_BYTES = "application/jose", 64 * 1024
ACCEPTED = Issue("information", "informational", "the package is being made; it will be at Content-Location")


def concerns(url: Url) -> bool:
    """Whether an address is about the package of a dossier: its beginning, or the package itself."""
    return url.tail[:1] == (NAME,) and (url.type == "Patient" and bool(url.id) and len(url.tail) == 1 or not url.type)


def is_receipt(request: Request, url: Url) -> bool:
    """Whether another host acknowledges what it took over."""
    announced = media_types(request.headers.get("content-type") or "")
    return url.tail == (NAME,) and not url.type and request.method == "POST" and bool(announced) and announced[0].name == RECEIPT


async def acknowledge(request: Request, send: Send, context: Context, url: Url, body: bytes) -> None:
    """Close the dossier that a receipt is about. 409 when it has changed here meanwhile: the new host then takes what is new."""
    receipt = await package_job.acknowledged(context, body.decode("ascii", "replace"))
    told = [
        {"name": "patient", "valueReference": {"reference": f"Patient/{receipt.patient}"}},
        {"name": "host", "valueString": receipt.host},
    ]
    told.append({"name": "status", "valueCode": "closed"})
    shape = shape_of(request, url.query)._replace(prefer="")
    await send_bytes(send, 200, [], json.dump({"resourceType": "Parameters", "parameter": told}), shape)


async def serve(request: Request, send: Send, context: Context, url: Url, body: bytes) -> None:
    """Answer a request that concerns a package. body: of a POST."""
    method = "GET" if request.method == "HEAD" else request.method
    shape = (file_shape_of(request, url.query, NAMES) if len(url.tail) == 2 else shape_of(request, url.query))._replace(prefer="")
    if url.type:
        given = operations.understood(context, request.method, url, body).given
        recipient = (given.one("recipient") or "").rpartition("|")[2]
        job = await package_job.start(context, url.id, recipient, given.one("reason") or "")
        headers = [(b"content-location", f"{context.base_url}/{NAME}/{job}".encode())]
        await send_bytes(send, 202, headers, outcome([ACCEPTED]), shape)
    elif len(url.tail) == 1:
        raise FhirError("media-type" if method == "POST" else "method", f"a receipt is sent here by POST, as {RECEIPT}")
    elif len(url.tail) != 2:
        raise FhirError("not-found", "there is nothing at this address")
    elif method == "DELETE":
        await package_job.forget(context, url.tail[1])
        await send_bytes(send, 202, [], None, shape)
    elif method == "GET":
        found = await package_job.package_of(context, url.tail[1])
        if found is None:
            await send_bytes(send, 202, [(b"x-progress", b"being made"), (b"retry-after", b"%d" % AGAIN_SECONDS)], None, shape)
            return
        content, size, patient = found
        if context.enforcer is not None:
            context.enforcer.ledger.patient = patient
            await tracing.shown(context, "export", "/".join(url.tail))
        headers = [(b"content-type", PACKAGE), (b"content-disposition", b'attachment; filename="dossier.dmp"')]
        await send_stream(send, 200, headers, size, context.store.contents.read(content), head=request.method == "HEAD")
    else:
        raise FhirError("method", f"`{request.method[:16]}` is not allowed at this address", headers={"Allow": "GET, HEAD, DELETE"})
