"""What anybody may ask without a token: capabilities and where tokens come from.

https://hl7.org/fhir/R4/http.html#capabilities ; https://hl7.org/fhir/smart-app-launch/STU2/conformance.html
"""

import json
from functools import lru_cache

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import summary
from fhir_dmp.fhir.bundle import parse_query
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.json import dump
from fhir_dmp.http.answers import Shape, send_bytes, shape_of
from fhir_dmp.http.requests import base_url
from fhir_dmp.http.services import Services
from fhir_dmp.identity.assertions import GRANT
from fhir_dmp.interactions.capabilities import statement

PUBLIC = ("metadata", ".well-known/smart-configuration")
MODES = ("full", "normative", "terminology")


async def answer(request: Request, send: Send, services: Services, path: str, query: str) -> None:
    """Answer one of PUBLIC."""
    if request.method not in ("GET", "HEAD"):
        raise FhirError("method", f"`{request.method[:16]}` is not allowed at this address", headers={"Allow": "GET, HEAD"})
    base = base_url(request, services)
    if path != "metadata":
        await send_bytes(send, 200, [], json.dumps(smart(base, services.tokens.host.issuer)).encode(), Shape("application/json", False, ""))
        return
    pairs = parse_query(query)
    asked = dict(pairs)
    if (mode := asked.get("mode", "full")) not in MODES:
        raise FhirError("invalid", f"`mode={mode[:40]}` is none of {', '.join(MODES)}")
    shape = shape_of(request, pairs)
    told = told_of(to_instant(services.began_ms), services.settings.sandbox, base, bool(services.settings.cors_origins))
    await send_bytes(send, 200, [], summary.shaped(told, "CapabilityStatement", pairs), shape)


@lru_cache(maxsize=8)
def told_of(date: str, sandbox: bool, base: str, cors: bool) -> bytes:
    """The statement as bytes: it is large, anybody may ask for it, and it never changes while the server runs."""
    return dump(statement(date, sandbox=sandbox, base_url=base, cors=cors))


def smart(base: str, issuer: str) -> dict:
    """SMART configuration: tokens are bearer tokens of trusted issuers, or of the host's own, for an assertion or at patient login."""
    origin = base.rsplit("/", 1)[0]
    return {
        "issuer": issuer,
        "jwks_uri": f"{origin}/auth/jwks",
        "token_endpoint": f"{origin}/auth/token",
        "token_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": [GRANT],
        "login_endpoint": f"{origin}/auth/login",
        "login_code_endpoint": f"{origin}/auth/login/code",
        "capabilities": ["permission-v2", "permission-patient", "permission-user"],
        "scopes_supported": ["patient/*.cruds", "user/*.cruds", "system/*.cruds"],
    }
