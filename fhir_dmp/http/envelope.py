"""What every answer has, whatever route made it: request id, security headers, a log line, a count; and what no request passes: bounds.

Plain ASGI. https://www.rfc-editor.org/rfc/rfc9110 ; https://hl7.org/fhir/R4/security.html
"""

import logging
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_dmp.errors import FhirError
from fhir_dmp.http import logs, problems
from fhir_dmp.http.services import Services

log = logging.getLogger("fhir_dmp.http")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
MOST_HEADERS = 100
RETRY = {"Retry-After": "1"}
GONE = 499  # counted for a client that left before it was answered

# Set unless the route set its own: nothing of a dossier may stay in a cache, run in a browser, or be guessed to be something else.
COMMON = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
CLOSED = ((b"cache-control", b"no-store"), (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"))


class Envelope:
    """The outermost part of the application.

    A route may set `scope["fhir_dmp.interaction"]`: a name of a fixed set, for the log and the counters; else its own name is used.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app, self.services = app, services
        self.in_flight = 0
        self.logged = services.settings.log_level in ("debug", "info")
        self.always = COMMON + (((b"x-sandbox", b"true"),) if services.settings.sandbox else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if REQUEST_ID.fullmatch(given) else self.services.random(16).hex().encode()
        scope["fhir_dmp.request_id"] = request_id.decode()
        reply = Reply(scope, send, request_id, self.always)
        self.in_flight += 1
        self.services.metrics.in_flight.inc()
        try:
            if (refusal := self.bounds(scope)) is not None:
                await problems.answer(refusal)(scope, receive, reply)
            else:
                await self.app(scope, receive, reply)
        except FhirError as error:
            await reply.instead(problems.answer(error), receive)
        except Exception as error:
            # The last resort: without it the server would answer in its own words and log what the exception says.
            log.error("unforeseen fault, request %s", logs.shown(request_id.decode()), exc_info=error)
            await reply.instead(problems.answer(problems.unforeseen(request_id.decode())), receive)
        finally:
            self.in_flight -= 1
            self.services.metrics.in_flight.dec()
            self.note(scope, reply.status or GONE, time.perf_counter() - begun)

    def bounds(self, scope: Scope) -> FhirError | None:
        """Why the request is not even looked at, if so."""
        settings = self.services.settings
        if len(scope["raw_path"] or b"") + len(scope["query_string"]) > settings.max_url_bytes:
            return FhirError("uri-too-long", f"the address is longer than {settings.max_url_bytes} bytes; a search may be sent by POST")
        headers = scope["headers"]
        if len(headers) > MOST_HEADERS or sum(len(name) + len(value) + 4 for name, value in headers) > settings.max_header_bytes:
            return FhirError("header-too-long", f"more than {settings.max_header_bytes} bytes of headers, or more than {MOST_HEADERS}")
        if self.in_flight > settings.max_in_flight and not scope["path"].startswith("/health/"):
            return FhirError("transient", "too many requests at a time, try again", headers=RETRY)
        return None

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log the answer, by template and name only."""
        route = scope.get("route")
        interaction = scope.get("fhir_dmp.interaction") or getattr(route, "name", None) or "none"
        self.services.metrics.answered(interaction, status, seconds)
        if self.logged or status >= 500:
            path = getattr(route, "path", "-")
            method = scope["method"] if scope["method"] in METHODS else "-"
            actor = scope.get("fhir_dmp.actor", "-")
            logs.request_line(method, path, interaction, status, seconds, scope["fhir_dmp.request_id"], actor)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Reply:
    """`send` with the common headers added, and without a body for HEAD. status: 0 until an answer began."""

    def __init__(self, scope: Scope, send: Send, request_id: bytes, always: tuple[tuple[bytes, bytes], ...]) -> None:
        self.scope, self.send, self.status = scope, send, 0
        self.head = scope["method"] == "HEAD"
        self.extra = (*always, (b"x-request-id", request_id))
        self.closed = not scope["path"].startswith("/ig/")

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message["headers"])
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in self.extra if pair[0] not in present]
            if self.closed:
                headers += [pair for pair in CLOSED if pair[0] not in present]
            message = {**message, "headers": headers}
        elif self.head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self.send(message)

    async def instead(self, response: ASGIApp, receive: Receive) -> None:
        """Answer with this, unless an answer has begun: then it can only be cut off."""
        if self.status:
            raise ConnectionAbortedError("the answer had begun") from None
        await response(self.scope, receive, self)
