"""What anybody may ask without a token: capabilities and where tokens come from.

https://hl7.org/fhir/R4/http.html#capabilities ; https://hl7.org/fhir/smart-app-launch/STU2/conformance.html
"""

import json

from starlette.requests import Request
from starlette.types import Send

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import parse_query
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.json import dump
from fhir_dmp.http.answers import Shape, send_bytes, shape_of
from fhir_dmp.http.requests import base_url
from fhir_dmp.http.services import Services
from fhir_dmp.interactions.capabilities import statement

PUBLIC = ("metadata", ".well-known/smart-configuration")
MODES = ("full", "normative", "terminology")


async def answer(request: Request, send: Send, services: Services, path: str, query: str) -> None:
    """Answer one of PUBLIC."""
    if request.method not in ("GET", "HEAD"):
        raise FhirError("method", f"`{request.method[:16]}` is not allowed at this address", headers={"Allow": "GET, HEAD"})
    base = base_url(request, services)
    if path != "metadata":
        await send_bytes(send, 200, [], json.dumps(smart(base)).encode(), Shape("application/json", False, ""))
        return
    asked = dict(parse_query(query))
    if (mode := asked.get("mode", "full")) not in MODES:
        raise FhirError("invalid", f"`mode={mode[:40]}` is none of {', '.join(MODES)}")
    shape = shape_of(request, tuple(asked.items()))
    told = statement(to_instant(services.clock()), sandbox=services.settings.sandbox, base_url=base)
    await send_bytes(send, 200, [], dump(told), shape)


def smart(base: str) -> dict:
    """SMART configuration: tokens are bearer tokens of trusted issuers, or of the host's own."""
    origin = base.rsplit("/", 1)[0]
    return {
        "issuer": base,
        "jwks_uri": f"{origin}/auth/jwks",
        "capabilities": ["permission-v2", "permission-patient", "permission-user"],
        "scopes_supported": ["patient/*.cruds", "user/*.cruds", "system/*.cruds"],
    }
