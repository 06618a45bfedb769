"""Which interaction a request asks for: the one table behind HTTP, batches, transactions and imports.

https://hl7.org/fhir/R4/http.html#summary
"""

from msgspec import Struct
from msgspec.structs import replace

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json, summary
from fhir_dmp.fhir.bundle import Pairs, Url
from fhir_dmp.fhir.http_types import Tags, not_modified, parse_tags
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import (
    conditional,
    create,
    delete,
    history,
    octets,
    operations,
    patch,
    read,
    ruled,
    search_access,
    search_existence,
    search_type,
    update,
    vread,
)
from fhir_dmp.interactions.capabilities import statement
from fhir_dmp.interactions.context import Answer, Context, admit, unread


class Request(Struct, frozen=True):
    """One interaction as asked for. patch: json or fhirpath, language of a PATCH body. The header texts are as received."""

    method: str
    url: Url
    body: bytes = b""
    patch: str = ""
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_none_exist: Pairs | None = None


def name_of(method: str, url: Url) -> str:
    """Name of the interaction, one of a fixed set, for counters and logs."""
    tail = url.tail
    if tail and "$" in (tail[0][0], tail[-1][0]):
        return "operation"
    level = "instance" if url.id else "type" if url.type else "system"
    if tail[:1] == ("_history",):
        return "vread" if len(tail) == 2 else f"history-{level}"
    if method in ("GET", "HEAD"):
        if url.id and not tail:
            return "read"
        return "search-compartment" if url.id else f"search-{level}"
    if tail[-1:] == ("_search",):
        return "search-compartment" if url.id else f"search-{level}"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "none")


async def run(context: Context, request: Request) -> Answer:
    """Do what is asked. Anything that is no interaction of this server is refused."""
    url = request.url
    if operations.is_operation(url):
        return await operations.run(context, request.method, url, request.body)
    if request.method in ("GET", "HEAD"):
        return await _get(context, request)
    if request.method == "POST":
        if url.tail[-1:] == ("_search",):
            return await _search(context, url, url.tail[:-1], url.query)
        if url.type and not url.id and not url.tail:
            return await _post(context, request)
    elif url.type and not url.tail and request.method in ("PUT", "PATCH", "DELETE"):
        answer = await (_entity if url.id else _conditional)(context, request)
        return unread(context, url.type, answer) if request.method == "PATCH" else answer
    raise not_an_interaction(request)


async def _get(context: Context, request: Request) -> Answer:
    url = request.url
    if url.id and not url.tail:
        answer = await read.run(context, url.type, url.id)
        known = not_modified(answer.version, answer.updated_ms, request.if_none_match, request.if_modified_since)
        if known and read.steady(context, url.type):
            return Answer(304, None, answer.version, answer.updated_ms)
        return _shaped(url, await _whole(context, answer))
    if url.tail[:1] == ("_history",):
        if url.id and len(url.tail) == 2:
            return _shaped(url, await _whole(context, await vread.run(context, url.type, url.id, url.tail[1])))
        if len(url.tail) == 1:
            return await history.run(context, url.type or None, url.id or None, url.query)
        raise FhirError("not-found", "there is nothing at this address")
    if url.tail == ("metadata",):
        cors = bool(context.settings.cors_origins)
        told = statement(to_instant(context.now_ms()), sandbox=context.sandbox, base_url=context.base_url, cors=cors)
        return Answer(200, json.dump(told))
    return await _search(context, url, url.tail, url.query)


async def _search(context: Context, url: Url, tail: tuple[str, ...], pairs: Pairs) -> Answer:
    if url.id and len(tail) <= 1:
        type_name = None if tail in ((), ("*",)) else tail[0]
        pairs = search_access.completed(context, type_name, pairs)
        sight = await search_access.sight(context, type_name, pairs, (url.type, url.id))
        return await search_type.run(context, type_name, pairs, compartment=(url.type, url.id), sight=sight)
    if not url.id and not tail:
        if search_existence.asks(context, url.type, pairs):
            return await search_existence.run(context, pairs)
        pairs = search_access.completed(context, url.type, pairs)
        sight = await search_access.sight(context, url.type or None, pairs, None)
        return await search_type.run(context, url.type or None, pairs, sight=sight)
    raise FhirError("not-found", "there is nothing at this address")


async def _post(context: Context, request: Request) -> Answer:
    if request.if_none_exist is not None:
        return await conditional.conditional_create(context, request.url.type, request.if_none_exist, request.body)
    if context.enforcer is not None:
        admit(context, request.url.type, "c")
        return await ruled.create(context, request.url.type, request.body)
    return await create.run(context, request.url.type, request.body)


async def _entity(context: Context, request: Request) -> Answer:
    url, if_match = request.url, parse_tags(request.if_match)
    if context.enforcer is not None:
        return await _ruled(context, request, if_match)
    if request.method == "PUT":
        none_match = parse_tags(request.if_none_match)
        return await update.run(context, url.type, url.id, request.body, if_match=if_match, if_none_match=none_match)
    if request.method == "PATCH":
        return await patch.run(context, url.type, url.id, request.patch, request.body, if_match=if_match)
    return await delete.run(context, url.type, url.id, if_match=if_match)


async def _ruled(context: Context, request: Request, if_match: Tags | None) -> Answer:
    """A change by somebody who obeys the rules."""
    url = request.url
    admit(context, url.type, "d" if request.method == "DELETE" else "u")
    if request.method == "PUT":
        return await ruled.change(context, url.type, url.id, request.body, if_match, parse_tags(request.if_none_match))
    if request.method == "PATCH":
        return await ruled.patched(context, url.type, url.id, request.patch, request.body, if_match)
    return await ruled.remove(context, url.type, url.id, if_match)


async def _conditional(context: Context, request: Request) -> Answer:
    url, if_match = request.url, parse_tags(request.if_match)
    if request.method == "PUT":
        none_match = parse_tags(request.if_none_match)
        return await conditional.conditional_update(context, url.type, url.query, request.body, if_match=if_match, if_none_match=none_match)
    if request.method == "PATCH":
        return await conditional.conditional_patch(context, url.type, url.query, request.patch, request.body, if_match=if_match)
    return await conditional.conditional_delete(context, url.type, url.query, if_match=if_match)


async def _whole(context: Context, answer: Answer) -> Answer:
    """With the octets of a large Binary in the resource. Whoever reads one over HTTP gets them streamed instead."""
    return (
        answer if answer.content is None else replace(answer, body=await octets.whole(context, answer.body, answer.content), content=None)
    )


def _shaped(url: Url, answer: Answer) -> Answer:
    """The answer as `_summary` and `_elements` want it. https://hl7.org/fhir/R4/search.html#summary"""
    body = summary.shaped(answer.body, url.type, url.query)
    return answer if body is answer.body else replace(answer, body=body)


def not_an_interaction(request: Request) -> FhirError:
    """405, with the methods the address has. https://www.rfc-editor.org/rfc/rfc9110#name-405-method-not-allowed"""
    url = request.url
    if url.tail[-1:] == ("_search",):
        allowed = "POST"
    elif url.tail:
        allowed = "GET, HEAD"
    elif url.id:
        allowed = "GET, HEAD, PUT, PATCH, DELETE"
    else:
        allowed = "GET, HEAD, POST, PUT, PATCH, DELETE" if url.type else "GET, HEAD, POST"
    return FhirError("method", f"`{request.method[:16]}` is not an interaction of this address", headers={"Allow": allowed})
