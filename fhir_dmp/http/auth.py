"""Where tokens come from: patient login in two steps, and the token endpoint.

https://www.rfc-editor.org/rfc/rfc6749#section-3.2 ; https://www.rfc-editor.org/rfc/rfc7523
"""

import json
from urllib.parse import parse_qsl

import jiter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.http_types import FORM, PLAIN_JSON, is_form, media_types
from fhir_dmp.http.requests import client_address, read_body
from fhir_dmp.http.services import Services
from fhir_dmp.identity import assertions, secrets, senders
from fhir_dmp.identity.tokens import LONGEST_TOKEN
from fhir_dmp.interactions import login, token_exchange
from fhir_dmp.interactions.login import Caller, Desk

LOGIN, CODE, TOKEN = "/auth/login", "/auth/login/code", "/auth/token"
LOGIN_BYTES, TOKEN_BYTES = 4096, 4 * LONGEST_TOKEN
GRANT_FIELDS = ("grant_type", "assertion", "scope", "client_id", "resource")
# OAuth asks for both; the second is for caches of another age.
UNKEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def routes(services: Services) -> list[Route]:
    """/auth/login, /auth/login/code, /auth/token."""
    desks: list[Desk] = []
    sender = senders.of(services.settings)

    def desk() -> Desk:
        if services.store is None:
            raise FhirError("transient", "the server is starting or stopping, try again", headers={"Retry-After": "1"})
        if not desks or desks[0].store is not services.store:
            desks[:] = [Desk(services.store, services.settings, services.tokens, sender, services.recorder)]
        return desks[0]

    async def begin(request: Request) -> Response:
        given = await members(request, services, "identifier", "password")
        challenge = await login.begin(desk(), given["identifier"], given["password"], caller_of(request, services))
        return answer({"challenge": challenge})

    async def finish(request: Request) -> Response:
        given = await members(request, services, "challenge", "code")
        token, seconds = await login.finish(desk(), given["challenge"], given["code"], caller_of(request, services))
        return answer({"access_token": token, "expires_in": seconds})

    async def token(request: Request) -> Response:
        form = await fields(request, services)
        base = services.settings.base_url.rstrip("/").removesuffix("/fhir")
        exchanged = await token_exchange.run(
            desk(),
            form["assertion"],
            scope=form.get("scope", ""),
            client_id=form.get("client_id", ""),
            # Only an address that the settings name: that of the request is what the client says it is.
            audiences=frozenset({base + TOKEN}) if base else frozenset(),
            caller=caller_of(request, services),
        )
        told = {"access_token": exchanged.token, "token_type": "Bearer", "expires_in": exchanged.seconds}
        return answer(told | ({"scope": exchanged.scope} if exchanged.scope else {}))

    return [
        Route(LOGIN, begin, methods=["POST"], name="login"),
        Route(CODE, finish, methods=["POST"], name="login-code"),
        Route(TOKEN, token, methods=["POST"], name="token"),
    ]


async def members(request: Request, services: Services, *names: str) -> dict[str, str]:
    """The members of a JSON object, all texts, all needed, and no other."""
    found = media_types(request.headers.get("content-type"))
    if not found or found[0].name != PLAIN_JSON:
        raise FhirError("media-type", f"login is asked for in {PLAIN_JSON}")
    body = await read_body(request, services, LOGIN_BYTES)
    try:
        value = jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        raise FhirError("invalid", "the body is not JSON, or has a member twice") from None
    wanted = " and ".join(f"`{name}`" for name in names)
    if not isinstance(value, dict) or set(value) != set(names):
        raise FhirError("invalid", f"the body is an object with {wanted} and nothing else")
    for name in names:
        longest = LOGIN_BYTES if name == "challenge" else secrets.LONGEST
        if not isinstance(value[name], str) or not value[name] or len(value[name]) > longest:
            raise FhirError("invalid", f"`{name}` must be a text of at most {longest} characters")
    return value


async def fields(request: Request, services: Services) -> dict[str, str]:
    """The fields of a token request, each once. Others are ignored, as OAuth wants."""
    if not is_form(request.headers.get("content-type")):
        raise FhirError("media-type", f"a token is asked for in {FORM}")
    body = await read_body(request, services, TOKEN_BYTES)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=32, errors="strict")
    except ValueError:
        raise FhirError("invalid", "invalid_request: the body is not a form in UTF-8") from None
    known = [pair for pair in pairs if pair[0] in GRANT_FIELDS]
    form = dict(known)
    if len(form) != len(known):
        raise FhirError("invalid", "invalid_request: a field is given twice")
    if not form.get("grant_type"):
        raise FhirError("invalid", "invalid_request: `grant_type` is absent")
    if form["grant_type"] != assertions.GRANT:
        raise FhirError("invalid", f"unsupported_grant_type: the only one is {assertions.GRANT}")
    if not form.get("assertion"):
        raise FhirError("invalid", "invalid_request: `assertion` is absent")
    if not form.get("client_id", "x").isprintable() or len(form.get("client_id", "")) > secrets.LONGEST:
        raise FhirError("invalid", "invalid_request: `client_id` is too long, or not a text")
    return form


def caller_of(request: Request, services: Services) -> Caller:
    """Who is at the other end of the line."""
    return Caller(client_address(request, services.settings), request.scope.get("fhir_dmp.request_id", ""))


def answer(value: dict) -> Response:
    """JSON that nobody keeps."""
    return Response(json.dumps(value, separators=(",", ":")), headers=UNKEPT, media_type=PLAIN_JSON)
