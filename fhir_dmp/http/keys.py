"""The public keys of the host: of its own token issuer, and of its seals.

https://www.rfc-editor.org/rfc/rfc7517#section-5
"""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_dmp.http.services import Services

KEPT = {"Cache-Control": "max-age=300"}


def routes(services: Services) -> list[Route]:
    """/auth/jwks, also as /auth/jwks.json; /auth/seals for seals, former keys too."""

    async def jwks(request: Request) -> Response:
        # A rotated key is seen here at once, also when no token came meanwhile.
        await services.tokens.host.refresh(services.clock())
        return Response(
            json.dumps(services.tokens.host.jwks()), headers={"Cache-Control": "max-age=300"}, media_type="application/jwk-set+json"
        )

    async def seals(request: Request) -> Response:
        services.seals.refresh(services.clock())
        return Response(json.dumps(services.seals.jwks()), headers=KEPT, media_type="application/jwk-set+json")

    return [
        Route("/auth/seals", seals, name="seals"),
        Route("/auth/jwks", jwks, name="jwks"),
        Route("/auth/jwks.json", jwks, name="jwks"),
    ]
