"""Reading a request within bounds: its body, its token, the address it was sent to.

https://www.rfc-editor.org/rfc/rfc9110 ; bearer tokens https://www.rfc-editor.org/rfc/rfc6750
"""

import asyncio
import ipaddress
import re
import zlib
from collections.abc import AsyncIterator
from functools import lru_cache

from starlette.requests import ClientDisconnect, Request

from fhir_dmp.errors import FhirError
from fhir_dmp.http.services import Services
from fhir_dmp.identity import tokens
from fhir_dmp.identity.actor import Actor
from fhir_dmp.settings import Settings

HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?", re.ASCII)
PIECE = 64 * 1024
SMALL = 64 * 1024
LATER = {"Retry-After": "1", "Connection": "close"}
LEAST_RATE = 20_000  # bytes a second, on the whole of a body


class Headers(dict[str, str]):
    """Headers by name, in lower case as ASGI gives them; of several of one name the first. Decoded once, asked for many times."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__([(name.decode("latin-1"), value.decode("latin-1")) for name, value in reversed(raw)])
        self._raw, self._repeated = raw, len(raw) != len(self)

    def getlist(self, name: str) -> list[str]:
        """Every value of a name, in order."""
        if name not in self:
            return []
        if not self._repeated:
            return [self[name]]
        wanted = name.encode("latin-1")
        return [value.decode("latin-1") for known, value in self._raw if known == wanted]


class Received(Request):
    """A request whose headers are looked up in a dictionary."""

    @property
    def headers(self) -> Headers:
        """By lower-case name."""
        if not hasattr(self, "_fields"):
            self._fields = Headers(self.scope["headers"])
        return self._fields


async def actor_of(request: Request, services: Services) -> Actor:
    """Who sends the request, by its access token; noted for the log as its kind alone.

    Nothing else says who asks: no cookie, no query parameter, no `X-` header.
    """
    given = request.headers.getlist("authorization")
    if not given:
        raise tokens.missing()
    if len(given) > 1:
        raise FhirError("invalid", "the request carries several `Authorization` headers")
    scheme, _, token = given[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise tokens.missing()
    actor = await services.tokens.verify(token.strip(), services.clock())
    request.scope["fhir_dmp.actor"] = actor.kind
    return actor


def base_url(request: Request, services: Services) -> str:
    """Address of [base] as the client knows it, no slash at the end: the setting, else the `Host` header of the request."""
    if services.settings.base_url:
        return services.settings.base_url.rstrip("/")
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]):
        raise FhirError("invalid", "the `Host` header is not usable")
    return f"{request.scope['scheme']}://{hosts[0]}/fhir"


def client_address(request: Request, settings: Settings) -> str:
    """Network address of the client: of the peer, or as one of the `trusted_proxies` names it; "" when unknown.

    Of `X-Forwarded-For` only what the proxies themselves added counts: the last address that is none of them.
    """
    client = request.scope.get("client")
    address = client[0] if client else ""
    if address in settings.trusted_proxies:
        named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        for one in reversed([part.strip() for part in named if part.strip()]):
            address = one
            if one not in settings.trusted_proxies:
                break
    return spelled(address)


@lru_cache(1024)
def spelled(address: str) -> str:
    """A network address in its one spelling, "" for anything else."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""


async def read_body(request: Request, services: Services, limit: int = 0) -> bytes:
    """The whole body, decompressed when it is gzip. limit: in bytes, both as sent and as read; 0: `max_body_bytes`."""
    limit = limit or services.settings.max_body_bytes
    pieces, size = [], 0
    try:
        async for piece in stream_body(request, services, limit):
            pieces.append(piece)
            size += len(piece)
            services.reading_bytes += len(piece)
            if services.reading_bytes > services.settings.max_reading_bytes and size > SMALL:
                raise FhirError(
                    "transient", "too many large bodies at a time, try again", headers={"Retry-After": "1", "Connection": "close"}
                )
    finally:
        services.reading_bytes -= size
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def stream_body(request: Request, services: Services, limit: int) -> AsyncIterator[bytes]:
    """The body piece by piece, decompressed when it is gzip. Stops at the limit: an endless body costs no more than a large one."""
    announced = request.headers.get("content-length", "")
    if announced and (not announced.isascii() or not announced.isdigit()):
        raise FhirError("invalid", "the `Content-Length` header is not a number")
    if announced and int(announced[:20]) > limit:
        raise too_long(limit)
    coding = ",".join(request.headers.getlist("content-encoding")).strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise FhirError("media-type", "the body's `Content-Encoding` must be gzip or absent", headers={"Accept-Encoding": "gzip"})
    pieces = silence_bounded(request, services.settings.body_seconds)
    if coding.endswith("gzip"):
        pieces = gunzipped(pieces, limit)
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            raise too_long(limit)
        if piece:
            yield piece
    request.scope["fhir_dmp.body_read"] = True


async def silence_bounded(request: Request, seconds: float) -> AsyncIterator[bytes]:
    """The body as it arrives; a client that falls silent, or drips, is given up."""
    if request.headers.get("content-length") == "0":
        return
    pieces = request.stream()
    clock = asyncio.get_running_loop().time
    last = clock() + seconds
    try:
        while True:
            async with asyncio.timeout(min(seconds, last - clock())):
                piece = await anext(pieces, None)
            if piece is None:
                return
            last += len(piece) / LEAST_RATE
            yield piece
    except TimeoutError:
        raise FhirError("timeout", "the request body came too slowly", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise FhirError("invalid", "the request body ended early") from None


async def gunzipped(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """Decompress in small steps, so that a small body that unfolds into a huge one is stopped at the limit."""
    unfold = zlib.decompressobj(wbits=31)
    sent = 0
    try:
        async for piece in pieces:
            sent += len(piece)
            if sent > limit:
                raise too_long(limit)
            while piece:
                if unfold.eof:
                    raise FhirError("invalid", "the gzip body has bytes after its end")
                yield unfold.decompress(piece, PIECE)
                piece = unfold.unconsumed_tail or unfold.unused_data
    except zlib.error:
        raise FhirError("invalid", "the body is not gzip as its `Content-Encoding` says") from None
    if not unfold.eof:
        raise FhirError("invalid", "the gzip body ends early")


def too_long(limit: int) -> FhirError:
    """The body is larger than may be. The connection closes: the rest is not read."""
    return FhirError("too-long", f"the request body is larger than {limit} bytes", headers={"Connection": "close"})
