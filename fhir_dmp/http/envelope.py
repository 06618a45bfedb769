"""What every answer has, whatever route made it: request id, security headers, a log line, a count; and what no request passes: bounds.

Plain ASGI. https://www.rfc-editor.org/rfc/rfc9110 ; https://hl7.org/fhir/R4/security.html
"""

import logging
import re
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.http_types import language_of
from fhir_dmp.http import logs, problems
from fhir_dmp.http.services import Services

log = logging.getLogger("fhir_dmp.http")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MOST_HEADERS = 100
RETRY = {"Retry-After": "1"}
FRAMING = {b"content-length", b"transfer-encoding"}
GONE = 499  # counted for a client that left before it was answered

# Set unless the route set its own: nothing of a dossier may stay in a cache, run in a browser, or be guessed to be something else.
COMMON = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
CLOSED = ((b"cache-control", b"no-store"), (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"))


class Envelope:
    """The outermost part of the application, and the one place where refusals become answers.

    A route may set `scope["fhir_dmp.interaction"]`: a name of a fixed set, for the log and the counters; else its own name is used.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app, self.services, self.settings = app, services, services.settings
        self.in_flight, self.told, self.told_at = 0, 0, 0.0
        self.logged = self.settings.log_level in ("debug", "info")
        self.always = COMMON + (((b"x-sandbox", b"true"),) if self.settings.sandbox else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        given, size, framing = b"", 0, set()
        for name, value in scope["headers"]:
            size += len(name) + len(value) + 4
            if name == b"x-request-id":
                given = value
            elif name in FRAMING:
                framing.add(name)
        request_id = given if REQUEST_ID.fullmatch(given) else self.services.random(16).hex().encode()
        scope["fhir_dmp.request_id"] = request_id.decode()
        reply = Reply(scope, send, (*self.always, (b"x-request-id", request_id)))
        self.in_flight += 1
        try:
            self.bound(scope, size, framing)
            await self.app(scope, receive, reply)
        except FhirError as error:
            await reply.instead(error, receive)
        except HTTPException as error:
            await reply.instead(problems.not_routed(scope["method"], error), receive)
        except Exception as error:
            # The last resort: without it the server would answer in its own words and log what the exception says.
            log.error("unforeseen fault, request %s", logs.shown(scope["fhir_dmp.request_id"]), exc_info=error)
            await reply.instead(problems.unforeseen(scope["fhir_dmp.request_id"]), receive)
        finally:
            self.in_flight -= 1
            self.note(scope, reply.status or GONE, begun)

    def bound(self, scope: Scope, header_bytes: int, framing: set[bytes]) -> None:
        """Refuse what is not even looked at. framing: headers that tell where the body ends."""
        settings = self.settings
        if len(scope["raw_path"] or b"") + len(scope["query_string"]) > settings.max_url_bytes:
            raise FhirError("uri-too-long", f"the address is longer than {settings.max_url_bytes} bytes; a search may be sent by POST")
        if header_bytes > settings.max_header_bytes or len(scope["headers"]) > MOST_HEADERS:
            raise FhirError("header-too-long", f"more than {settings.max_header_bytes} bytes of headers, or more than {MOST_HEADERS}")
        if framing == FRAMING:
            # A proxy in front may have believed the other one: what follows could be somebody else's request.
            raise FhirError("invalid", "a request has `Content-Length` or `Transfer-Encoding`, not both", headers={"Connection": "close"})
        if self.in_flight > settings.max_in_flight and not scope["path"].startswith("/health/"):
            raise FhirError("transient", "too many requests at a time, try again", headers=RETRY)

    def note(self, scope: Scope, status: int, begun: float) -> None:
        """Count and log the answer, by template and name only."""
        now = time.perf_counter()
        route = scope.get("route")
        page = getattr(scope.get("endpoint"), "__name__", "none")
        interaction = scope.get("fhir_dmp.interaction") or getattr(route, "name", page)
        self.services.metrics.answered(interaction, status, now - begun)
        if self.in_flight != self.told and (not self.in_flight or now - self.told_at > 0.5):
            self.told, self.told_at = self.in_flight, now
            self.services.metrics.in_flight.set(self.in_flight)
        if self.logged or status >= 500:
            method = scope["method"] if scope["method"] in METHODS else "-"
            actor = scope.get("fhir_dmp.actor", "-")
            path = getattr(route, "path", "-")
            logs.request_line(method, path, interaction, status, now - begun, scope["fhir_dmp.request_id"], actor)


class Reply:
    """`send` with the common headers added, and without a body for HEAD. status: 0 until an answer began."""

    __slots__ = ("extra", "head", "scope", "send", "status")

    def __init__(self, scope: Scope, send: Send, extra: tuple[tuple[bytes, bytes], ...]) -> None:
        self.scope, self.send, self.status = scope, send, 0
        self.head = scope["method"] == "HEAD"
        self.extra = extra if scope["path"].startswith("/ig/") else extra + CLOSED

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            present = {name for name, _ in headers}
            message["headers"] = [*headers, *[pair for pair in self.extra if pair[0] not in present]]
        elif self.head and message["type"] == "http.response.body":
            message["body"] = b""
        await self.send(message)

    async def instead(self, error: FhirError, receive: Receive) -> None:
        """Answer with this refusal, unless an answer has begun: then it can only be cut off."""
        if self.status:
            raise ConnectionAbortedError("the answer had begun") from None
        accept = next((value for name, value in self.scope["headers"] if name == b"accept-language"), b"")
        answer = problems.answer(error, self.scope["query_string"], language_of(accept.decode("latin-1")))
        if not self.scope.get("fhir_dmp.body_read") and announces_body(self.scope["headers"]):
            # The rest of the body stays unread, and a connection with half a request on it serves no other: the client must know.
            answer.headers["connection"] = "close"
        await answer(self.scope, receive, self)


def announces_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request with these headers has a body."""
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in headers)
