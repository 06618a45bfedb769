"""The application: routes, what surrounds them, and what one worker opens and closes.

[base] is plain ASGI, the pages around it a FastAPI application; https://asgi.readthedocs.io/ ; ig/decisions/0001-asgi-server.md
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fhir_dmp.audit.merger import Merger
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import import_job, package_job
from fhir_dmp.http import auth, fhir, guide, health, journal, keys, portal, problems
from fhir_dmp.http.envelope import Envelope
from fhir_dmp.http.metrics import Metrics
from fhir_dmp.http.services import Services
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.interactions import choices, export_job, notices, retention
from fhir_dmp.settings import Settings, load
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.signing.message import Signers
from fhir_dmp.store.resources import Store

# What a browser may send and see across origins, when `cors_origins` names any.
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CORS_SENT = ("Authorization", "Content-Type", "Prefer", "If-Match", "If-None-Match", "If-None-Exist", "If-Modified-Since", "X-Request-Id")
CORS_SEEN = ("ETag", "Location", "Content-Location", "Last-Modified", "Retry-After", "X-Progress", "X-Request-Id", "X-Sandbox")

log = logging.getLogger("fhir_dmp.app")
TIDY_SECONDS = 3600
TOLD_AGAIN_SECONDS = 1.0
# FastAPI would send addresses with their queries to a collector that it finds in the environment.
SILENT = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


async def tidy(store: Store, address: str) -> None:
    """Every hour: destroy the dossiers whose ten years are over; remove sealed contents that no version names, and jobs of imports and
    packages, with what was sent, whose life is over. Any worker may.

    address: of this host, as named in traces.
    """
    recorder = Recorder(store, address)
    works = {
        "dossiers": partial(retention.sweep, store, recorder),
        "contents": store.sweep_contents,
        "imports": partial(import_job.forget_old, store),
        "packages": partial(package_job.forget_old, store),
    }
    while True:
        for what, work in works.items():
            try:
                await work()
            except FhirError as error:
                log.warning("%s were not swept: %s", what, error.message)
            except Exception:
                log.exception("%s were not swept", what)
        await asyncio.sleep(TIDY_SECONDS)


async def ended(tasks: list[asyncio.Task]) -> None:
    """Stop these tasks and wait until they have stopped. Told again and again: a command of the driver that is under way may swallow it."""
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=TOLD_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a task behind the requests ended with %s", type(error).__name__)


def create(settings: Settings | None = None, started: Callable[[], object] = lambda: None) -> ASGIApp:
    """The ASGI application.

    settings: None reads them from the environment and `fhir-dmp.toml`; `mongodb_uri` must then be set. started: called once it can serve.
    """
    settings = settings or load().settings
    services = Services(settings, Tokens.open(settings), Metrics(), law=choices.law(settings))
    services.seals = SealKeys(settings.data)
    services.signers = Signers(settings.message_signers, settings.message_seal_required, settings.jwks_seconds)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        services.store = await Store.open(
            settings.mongodb_uri,
            settings.database,
            data_dir=settings.data,
            sandbox=settings.sandbox,
            clock=services.clock,
            random=services.random,
            observe=services.metrics.batch,
        )
        # Every worker offers to merge the journal; whoever holds the lease does.
        services.recorder = Recorder(services.store, settings.base_url or settings.host)
        merger = Merger(services.store, settings.data, seconds=settings.journal_seconds)
        address = settings.base_url or settings.host
        background = [asyncio.create_task(merger.run()), asyncio.create_task(tidy(services.store, address))]
        background.append(asyncio.create_task(notices.run(services.store, settings)))
        background.append(asyncio.create_task(import_job.attend(services.store, settings)))
        try:
            started()
            yield
        finally:
            await export_job.stop()
            await package_job.stop()
            await import_job.stop()
            await ended(background)
            store, services.store = services.store, None
            await store.close()

    base = fhir.Fhir(services)
    around = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, telemetry=SILENT)
    for route in (
        *health.routes(services),
        *auth.routes(services),
        *keys.routes(services),
        *journal.routes(services),
        *portal.routes(services),
        *guide.routes(services),
    ):
        around.add_api_route(route.path, route.endpoint, methods=list(route.methods), name=route.name, response_model=None)
    for kind in (HTTPException, FhirError, Exception):
        around.add_exception_handler(kind, problems.passed_on)

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        # [base] does without the layers of the framework: they cost as much as a read, and what they do the envelope does.
        if scope["type"] == "http" and fhir.holds(scope["path"]):
            await base(scope, receive, send)
        else:
            await around(scope, receive, send)

    app: ASGIApp = front
    if settings.cors_origins:
        permitted = {"allow_methods": CORS_METHODS, "allow_headers": CORS_SENT, "expose_headers": CORS_SEEN}
        app = CORSMiddleware(problems.Refusals(front), allow_origins=settings.cors_origins, **permitted)
    return Envelope(app, services)
