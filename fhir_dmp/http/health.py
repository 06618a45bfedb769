"""For supervision: is the process alive, can it serve, what does it count. No personal data.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_dmp.http.metrics import MEDIA_TYPE
from fhir_dmp.http.services import Services

JSON = "application/json"
NOT_READY = {"Retry-After": "1"}


def routes(services: Services) -> list[Route]:
    """/health/live, /health/ready, /metrics."""

    async def live(request: Request) -> Response:
        return Response(b'{"status":"live"}', media_type=JSON)

    async def ready(request: Request) -> Response:
        if services.store is not None and await services.store.ping():
            return Response(b'{"status":"ready"}', media_type=JSON)
        return Response(b'{"status":"not ready"}', 503, NOT_READY, media_type=JSON)

    async def metrics(request: Request) -> Response:
        return Response(services.metrics.text(), headers={"Content-Type": MEDIA_TYPE})

    return [
        Route("/health/live", live, name="live"),
        Route("/health/ready", ready, name="ready"),
        Route("/metrics", metrics, name="metrics"),
    ]
