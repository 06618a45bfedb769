"""Every refusal as an OperationOutcome, whoever raised it: ours, the framework's, or a fault nobody foresaw.

https://hl7.org/fhir/R4/http.html#summary ; https://hl7.org/fhir/R4/operationoutcome.html
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_dmp.errors import FhirError, outcome
from fhir_dmp.fhir.french import in_french
from fhir_dmp.fhir.json import pretty

FHIR_JSON = "application/fhir+json; charset=utf-8"


def answer(error: FhirError, query: bytes = b"", language: str = "en") -> Response:
    """The HTTP answer of a refusal. query: of the request, which may want it pretty. language: en, or fr for what has French words."""
    body = outcome(map(in_french, error.issues) if language == "fr" else error.issues)
    return Response(pretty(body) if b"_pretty=true" in query else body, error.status, error.headers, media_type=FHIR_JSON)


def not_routed(method: str, error: HTTPException) -> FhirError:
    """The framework's own refusals: no such address, no such method there."""
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        methods = ", ".join(sorted(word.strip() for word in allowed.split(",") if word.strip()))
        return FhirError("method", f"`{method[:16]}` is not allowed at this address", headers={"Allow": methods})
    if error.status_code == 404:
        return FhirError("not-found", "there is nothing at this address")
    kind = {400: "invalid", 413: "too-long", 415: "media-type", 422: "unprocessable"}.get(error.status_code, "exception")
    return FhirError(kind, "the request cannot be served")


async def passed_on(request: Request, error: Exception) -> Response:
    """Exception handler of the pages around [base]: the envelope has the words for every refusal and fault."""
    raise error


def unforeseen(reference: str) -> FhirError:
    """A fault of the server: nothing of it is shown, the reference finds it in the log."""
    return FhirError("exception", f"the server failed to answer; reference `{reference}`")


class Refusals:
    """Turns refusals into answers below a part of the application that must see them as answers, e.g. to add headers for browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except (FhirError, HTTPException) as error:
            if begun:
                raise
            refusal = error if isinstance(error, FhirError) else not_routed(scope["method"], error)
            await answer(refusal)(scope, receive, send)
