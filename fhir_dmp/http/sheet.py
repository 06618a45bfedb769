"""The access sheet over HTTP: as text or PDF, whichever the client asks for; as a Binary for whoever asks for FHIR.

https://www.rfc-editor.org/rfc/rfc9110#name-accept
"""

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.http_types import FHIR_JSON, PLAIN_JSON, preferred
from fhir_dmp.http.answers import Shape, send_bytes
from fhir_dmp.interactions import access_sheet, access_sheet_form, operations, tracing
from fhir_dmp.interactions.context import Context

TEXT, PDF = "text/plain", "application/pdf"
# For a client that takes anything, the first one.
OFFERED = (TEXT, PDF, FHIR_JSON, PLAIN_JSON)

# Values of `_format`. `+` of an unescaped media type arrives as a space.
SPELLED = {"json": FHIR_JSON, "pdf": PDF, "text": TEXT, **{name: name for name in OFFERED}}


def concerns(url: Url) -> bool:
    """Whether an address is that of the access sheet."""
    return url.type == "Patient" and url.tail == (access_sheet.NAME,)


async def serve(request: Request, send: Send, context: Context, url: Url, body: bytes) -> None:
    """Answer a request for a sheet. What cannot be shown as asked is refused before anything is issued."""
    asked = operations.understood(context, request.method, url, body)
    form = chosen(request.headers.get("accept"), dict(url.query).get("_format"))
    sent = f"{url.type}/{url.id}/{access_sheet.NAME}"
    if form not in (TEXT, PDF):
        answer = await access_sheet.run(context, url, asked.given)
        await tracing.shown(context, "operation", sent)
        await send_bytes(send, 200, [], answer.body, Shape(f"{form}; charset=utf-8", dict(url.query).get("_pretty") == "true", ""))
        return
    sheet = await access_sheet.asked_for(context, url, asked.given)
    await tracing.shown(context, "operation", sent)
    shown = access_sheet_form.pdf(sheet) if form == PDF else access_sheet_form.text(sheet).encode()
    headers = [(b"content-disposition", b'attachment; filename="access-sheet.%s"' % (b"pdf" if form == PDF else b"txt"))]
    await send_bytes(send, 200, headers, shown, Shape(PDF if form == PDF else f"{TEXT}; charset=utf-8", False, ""))


def chosen(accept: str | None, format: str | None) -> str:
    """The form of the answer. format: the value of `_format`, which wins over Accept. 406 for anything else.

    >>> chosen("*/*", None), chosen("text/plain", "application/pdf"), chosen("application/pdf", "json")
    ('text/plain', 'application/pdf', 'application/fhir+json')
    """
    form = SPELLED.get(format.replace(" ", "+")) if format else preferred(accept, OFFERED)
    if form is None:
        raise FhirError("not-acceptable", f"an access sheet is given as {TEXT}, {PDF} or {FHIR_JSON}")
    return form
