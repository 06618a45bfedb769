"""The journal of traces for witnesses: its latest signed head, proofs that it only grew, and the key that signs. No personal data.

https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md ; https://www.rfc-editor.org/rfc/rfc6962#section-4.4

No token: another host, an authority or a newspaper may keep what it finds here. It learns how many traces there are, nothing else.
"""

import base64
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_dmp.audit.merger import signer
from fhir_dmp.errors import FhirError
from fhir_dmp.http.services import Services
from fhir_dmp.interactions import audit_proof
from fhir_dmp.store.resources import Store

FRESH = {"Cache-Control": "no-cache"}


def routes(services: Services) -> list[Route]:
    """/journal/checkpoint, /journal/consistency, /journal/key."""

    def store() -> Store:
        if services.store is None:
            raise FhirError("transient", "the server is starting", headers={"Retry-After": "1"})
        return services.store

    async def checkpoint(request: Request) -> Response:
        return Response(await audit_proof.checkpoint(store()), headers=FRESH, media_type="text/plain")

    async def consistency(request: Request) -> Response:
        old, new = (size(request, name) for name in ("old", "new"))
        told = await audit_proof.consistency(store(), old, new)
        return Response(json.dumps(told), headers=FRESH, media_type="application/json")

    async def key(request: Request) -> Response:
        return Response(pem(signer(store()).public), headers={"Cache-Control": "max-age=300"}, media_type="application/x-pem-file")

    return [
        Route("/journal/checkpoint", checkpoint, name="checkpoint"),
        Route("/journal/consistency", consistency, name="consistency"),
        Route("/journal/key", key, name="journal-key"),
    ]


def pem(public: bytes) -> str:
    """A public key as text. public: DER, SubjectPublicKeyInfo. https://www.rfc-editor.org/rfc/rfc7468#section-13"""
    text = base64.b64encode(public).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(("-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""))


def size(request: Request, name: str) -> int:
    """A size of the log, from the query."""
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise FhirError("invalid", f"`{name}` is a size of the log, as a checkpoint tells it")
    return int(text)
