"""[base]: every FHIR interaction over HTTP. Reads the request, runs one interaction, answers.

https://hl7.org/fhir/R4/http.html
"""

from dataclasses import replace
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from fhir_dmp.consent.access import admit
from fhir_dmp.consent.asking import Request as Asked
from fhir_dmp.consent.asking import asking
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.http_types import (
    FORM,
    check_resource_type,
    is_form,
    language_of,
    parse_prefer,
    patch_form,
)
from fhir_dmp.http import access_journal, binary, bulk, conformance, dossiers, imports, quarantine, sheet
from fhir_dmp.http.answers import Shape, send_answer, send_bytes, shape_of
from fhir_dmp.http.envelope import announces_body
from fhir_dmp.http.requests import Received, actor_of, base_url, client_address, read_body
from fhir_dmp.http.sealed import received
from fhir_dmp.http.services import Services
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import batch, dispatch, enforcement, login_sessions, octets, search_access, tracing, transaction
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.pace import in_step

BASE = "/fhir"
WRITING = frozenset({"create", "update", "patch", "delete"})
# One page of results that a client may ask for in a form.
FORM_BYTES = 256 * 1024
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Template(NamedTuple):
    """What logs and counters know of an address."""

    path: str
    name: str


TEMPLATE = Template(f"{BASE}/{{path:path}}", "fhir")


def holds(path: str) -> bool:
    """Whether an address is [base] or below it."""
    return path.startswith(f"{BASE}/") or path == BASE


class Fhir:
    """ASGI endpoint of [base] and everything below it: the address is a table of its own, see dispatch."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Received(scope, receive)
        scope["route"] = TEMPLATE
        if scope["method"] not in METHODS:
            raise FhirError("method", f"`{scope['method'][:16]}` is not a FHIR method", headers={"Allow": ", ".join(METHODS)})
        path, query = address(scope)
        if path in conformance.PUBLIC:
            scope["fhir_dmp.interaction"] = "capabilities"
            await conformance.answer(request, send, self.services, path, query)
            return
        context = await self.context(request)
        await in_step()
        asked = f"{path}?{query}" if query else path
        try:
            await self.answer(request, send, context, path, query, asked)
        except FhirError as error:
            await tracing.refused(context, scope.get("fhir_dmp.interaction", ""), f"{scope['method']} {asked}", error)
            raise

    async def answer(self, request: Request, send: Send, context: Context, path: str, query: str, sent: str) -> None:
        """Serve one request of somebody who is known. sent: address below [base], as it goes into the trace."""
        scope = request.scope
        if not path and scope["method"] == "POST":
            await self.bundle(request, send, context, bundle.parse_query(query))
            return
        url = bundle.parse_url(sent)
        scope["fhir_dmp.interaction"] = name = dispatch.name_of(scope["method"], url)
        if url.type == "Binary" and name in binary.SERVED and await binary.serve(request, send, self.services, context, url, name):
            return
        if name == "operation":
            await self.operation(request, send, context, url, sent)
        else:
            await self.interaction(request, send, context, url, name, sent)

    async def context(self, request: Request) -> Context:
        """Who asks comes before anything else of the request is looked at."""
        services = self.services
        actor = await actor_of(request, services)
        await login_sessions.check(services.store, actor)
        ruled = admit(actor, services.settings.sandbox)
        context = Context(
            store=services.store,
            actor=actor,
            settings=services.settings,
            base_url=base_url(request, services),
            now_ms=services.clock,
            random=services.random,
            lenient=parse_prefer(request.headers.get("prefer")).handling == "lenient",
            language=language_of(request.headers.get("accept-language")),
            recorder=services.recorder,
            seals=services.seals,
            request_id=request.scope.get("fhir_dmp.request_id", ""),
            client_address=client_address(request, services.settings),
            enforcer=enforcement.Enforcer(asked_by(actor), services.law) if ruled else None,
            election=services.store.election or await services.store.elected() if ruled else None,
        )
        by_ins = actor.kind == "patient" and not actor.patient and actor.ins is not None
        return await search_access.recognised(context) if by_ins else context

    async def interaction(self, request: Request, send: Send, context: Context, url: bundle.Url, name: str, sent: str) -> None:
        """One interaction that is neither a Bundle nor a Binary in its own format. sent: its address, as it goes into the trace."""
        headers, method = request.headers, request.scope["method"]
        shape = shape_of(request, url.query)
        form, body, criteria = "", b"", None
        if method == "POST" and url.tail[-1:] == ("_search",):
            url = url._replace(query=url.query + await self.form(request))
            # With the parameters of its form.
            path, told = sent.partition("?")[0], "&".join(f"{given}={text}" for given, text in url.query)
            sent = f"{path}?{told}" if told else path
        elif method in ("POST", "PUT"):
            check_resource_type(headers.get("content-type"))
            body = await read_body(request, self.services)
            context = await received(request, self.services, context, body)
            if (exists := headers.get("if-none-exist")) is not None and method == "POST":
                criteria = bundle.parse_query(exists.partition("?")[2] if "?" in exists else exists)
        elif method == "PATCH":
            form = patch_form(headers.get("content-type"))
            body = await read_body(request, self.services)
            context = await received(request, self.services, context, body)
        asked = dispatch.Request(
            method=method,
            url=url,
            body=body,
            patch=form,
            if_match=headers.get("if-match"),
            if_none_match=headers.get("if-none-match"),
            if_modified_since=headers.get("if-modified-since"),
            if_none_exist=criteria,
        )
        if name.startswith("search") and headers.get("x-explain", "").lower() == "true" and explains(self.services, context.actor):
            context = replace(context, explain=True)
        answer = await dispatch.run(context, asked)
        if answer.content is not None and shape.prefer not in ("minimal", "OperationOutcome"):
            answer = msgspec.structs.replace(answer, body=await octets.whole(context, answer.body, answer.content))
        await in_step()
        await tracing.shown(context, name, sent)
        await send_answer(send, answer, shape, context.base_url, wrote=name in WRITING)

    async def operation(self, request: Request, send: Send, context: Context, url: bundle.Url, sent: str) -> None:
        """An operation; its input is in the query, or in a body. sent: its address, as it goes into the trace."""
        if imports.concerns(url):
            await imports.serve(request, send, self.services, context, url)
            return
        if dossiers.is_receipt(request, url):
            await dossiers.acknowledge(request, send, context, url, await read_body(request, self.services, dossiers.RECEIPT_BYTES))
            return
        body = b""
        if request.method == "POST" and announces_body(request.scope["headers"]):
            check_resource_type(request.headers.get("content-type"))
            body = await read_body(request, self.services)
            context = await received(request, self.services, context, body)
        for page in (bulk, dossiers, quarantine, sheet):
            if page.concerns(url):
                await page.serve(request, send, context, url, body)
                return
        form = access_journal.page_of(request, url)
        shape = Shape(form, False, "") if form else shape_of(request, url.query)
        answer = await dispatch.run(context, dispatch.Request(request.method, url, body))
        await tracing.shown(context, "operation", sent)
        if form:
            await access_journal.send_page(request, send, answer.body, form)
            return
        await send_answer(send, answer, shape, context.base_url, wrote=answer.location is not None)

    async def form(self, request: Request) -> bundle.Pairs:
        """Parameters of POST _search."""
        if not is_form(request.headers.get("content-type")):
            if request.headers.get("content-length", "0") == "0" and not request.headers.get("content-type"):
                return ()
            raise FhirError("media-type", f"the parameters of _search are sent as {FORM}")
        body = await read_body(request, self.services, FORM_BYTES)
        try:
            return bundle.parse_query(body.decode("utf-8"))
        except UnicodeDecodeError:
            raise FhirError("invalid", "the form is not UTF-8") from None

    async def bundle(self, request: Request, send: Send, context: Context, pairs: bundle.Pairs) -> None:
        """Batch or transaction."""
        shape = shape_of(request, pairs)
        check_resource_type(request.headers.get("content-type"))
        body = await read_body(request, self.services)
        context = await received(request, self.services, context, body, is_bundle=True)
        plan = read_plan(context, body)
        request.scope["fhir_dmp.interaction"] = plan.kind
        run = transaction.run if plan.kind == "transaction" else batch.run
        answered = await run(context, plan, shape.prefer)
        await tracing.shown(context, plan.kind, plan.kind)
        await send_bytes(send, 200, [], answered, shape)


# What each actor asks as, the same for as long as his token is kept: by his number, with himself, so that no other has it.
_asked: dict[int, tuple[Actor, Asked]] = {}
MOST_ASKED = 4096


def asked_by(actor: Actor) -> Asked:
    """As `asking`: an actor is the same object as long as his token is kept."""
    found = _asked.get(id(actor))
    if found is None or found[0] is not actor:
        if len(_asked) >= MOST_ASKED:
            _asked.clear()
        found = _asked[id(actor)] = actor, asking(actor)
    return found[1]


def explains(services: Services, actor: Actor) -> bool:
    """Who is told how a search was done, which counts what was left out of it: administrators of this host, `system` in a sandbox."""
    return (services.settings.sandbox and actor.kind == "system") or (actor.kind == "operator" and actor.role == "admin")


def read_plan(context: Context, body: bytes) -> bundle.Plan:
    """The entries of a batch or transaction, within bounds."""
    # A Bundle is deeper than its resources by three levels.
    tree = json.parse_exact(body, max_depth=context.settings.max_depth + 3)
    entries = tree.get("entry")
    if isinstance(entries, list) and len(entries) > context.settings.max_bundle_entries:
        most = context.settings.max_bundle_entries
        raise FhirError("too-long", f"a Bundle may have {most} entries, this one has {len(entries)}", "Bundle.entry")
    return bundle.plan(tree, base_urls=(context.base_url,))


def address(scope: Scope) -> tuple[str, str]:
    """Path below [base] as sent, without outer slashes, and query."""
    raw = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0]
    try:
        path, query = raw.decode("ascii"), scope["query_string"].decode("ascii")
    except UnicodeDecodeError:
        raise FhirError("invalid", "an address has ASCII characters only; others are percent-encoded") from None
    return path.removeprefix(BASE).removeprefix("/").removesuffix("/"), query
