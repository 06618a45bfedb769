"""The application: routes, what surrounds them, and what one worker opens and closes.

Plain Starlette endpoints on a FastAPI application; https://asgi.readthedocs.io/
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from fhir_dmp.errors import FhirError
from fhir_dmp.http import fhir, health, keys, portal, problems
from fhir_dmp.http.envelope import Envelope
from fhir_dmp.http.metrics import Metrics
from fhir_dmp.http.services import Services
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings, load
from fhir_dmp.store.resources import Store

# What a browser may send and see across origins, when `cors_origins` names any.
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CORS_SENT = ("Authorization", "Content-Type", "Prefer", "If-Match", "If-None-Match", "If-None-Exist", "If-Modified-Since", "X-Request-Id")
CORS_SEEN = ("ETag", "Location", "Content-Location", "Last-Modified", "Retry-After", "X-Request-Id", "X-Sandbox")


def create(settings: Settings | None = None) -> ASGIApp:
    """The ASGI application. settings: None reads them from the environment and `fhir-dmp.toml`; `mongodb_uri` must then be set."""
    settings = settings or load().settings
    services = Services(settings, Tokens.open(settings), Metrics())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.store = await Store.open(settings, services)
        try:
            yield
        finally:
            store, services.store = services.store, None
            await store.close()

    application = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    application.router.routes[:] = [*health.routes(services), *keys.routes(services), *portal.routes(services), *fhir.routes(services)]
    application.add_exception_handler(FhirError, problems.refused)
    application.add_exception_handler(HTTPException, problems.not_routed)
    if settings.cors_origins:
        application.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_SENT,
            expose_headers=CORS_SEEN,
        )
    application.add_middleware(Envelope, services=services)
    return application
