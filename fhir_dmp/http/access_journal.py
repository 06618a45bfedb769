"""The access journal over HTTP: as FHIR, as a page or as text, whichever the client asks for; French, or English where that is preferred.

https://www.rfc-editor.org/rfc/rfc9110#name-accept-language
"""

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.http_types import FHIR_JSON, PLAIN_JSON, preferred
from fhir_dmp.http.answers import Shape, send_bytes
from fhir_dmp.interactions import access_journal, access_journal_form

HTML, TEXT = "text/html", "text/plain"
OFFERED = (FHIR_JSON, PLAIN_JSON, HTML, TEXT)
FORMATS = {"json": FHIR_JSON, "html": HTML, "text": TEXT}
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def page_of(request: Request, url: Url) -> str:
    """The form that is no FHIR in which a request wants the access journal; "" where it wants FHIR or something else. 406 for no form."""
    if url.type != "Patient" or url.tail != (access_journal.NAME,):
        return ""
    format = dict(url.query).get("_format")
    form = preferred(FORMATS.get(format, format.replace(" ", "+")) if format else request.headers.get("accept"), OFFERED)
    if form is None:
        raise FhirError("not-acceptable", f"the access journal is given as {', '.join(OFFERED)}")
    return form if form in (HTML, TEXT) else ""


async def send_page(request: Request, send: Send, parameters: bytes, form: str) -> None:
    """Answer with what the operation answered, as a page or as text."""
    language = spoken(request.headers.get("accept-language"))
    show = access_journal_form.html if form == HTML else access_journal_form.text
    headers = [(b"content-language", language.encode()), (b"vary", b"accept, accept-language"), (b"content-security-policy", POLICY)]
    await send_bytes(send, 200, headers, show(json.parse(parameters), language).encode(), Shape(f"{form}; charset=utf-8", False, ""))


def spoken(accept: str | None) -> str:
    """fr, or en where a client prefers it.

    >>> spoken("en-GB,en;q=0.9,fr;q=0.8"), spoken("fr-FR"), spoken(None), spoken("de")
    ('en', 'fr', 'fr', 'fr')
    """
    wanted = []
    for part in (accept or "").split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((float(quality or 1), tag.partition("-")[0].lower()))
        except ValueError:
            continue
    best = {language: max((quality for quality, tag in wanted if tag == language), default=0.0) for language in ("fr", "en")}
    return "en" if best["en"] > best["fr"] else "fr"
