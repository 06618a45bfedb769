"""FHIR history interactions: of an instance, a type, the system.

https://hl7.org/fhir/R4/http.html#history
"""

from hashlib import blake2b
from urllib.parse import urlencode

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json, summary
from fhir_dmp.fhir.bundle import Pairs, Version, history_bundle
from fhir_dmp.fhir.instants import MIN_MS, interval
from fhir_dmp.interactions import enforcement, octets, read, shown, versions
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import check_id
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import version_id

STATUS = {"POST": 201, "PUT": 200, "PATCH": 200, "DELETE": 204}
SHAPES = ("_summary", "_elements")
IGNORED = ("_format", "_pretty")
PAGE = "_page"
# What says of which type it is, and of when, once and for all: whoever sees one version sees all.
SAME = ("DocumentReference", "Binary")
# Versions that are judged by themselves: so many bodies are in memory beside those of the page.
AT_ONCE = 50


async def run(context: Context, type_name: str | None, id: str | None, pairs: Pairs) -> Answer:
    """Versions, newest first. id None: of a type; type_name None too: of everything. Deletions are among them, without a resource."""
    admit(context, type_name, "r" if id else "s")
    since, at, count, after, asked = _parameters(context, type_name, id, pairs)
    key, row, met = None, None, None
    if id is not None:
        key = context.store.vault.locate(type_name, check_id(id))
        row, met = await read.seen(context, type_name, id)
        if row is None:
            raise read.absent()
    elif context.enforcer is not None and type_name not in enforcement.PUBLIC:
        raise enforcement.refused()
    came_ms = met.came(row) if row is not None and met is not None and met.may_be_late else MIN_MS
    if since is not None and came_ms >= since:
        since = None  # all of it came to him since then, or later
    reads, until = context.reads, None
    if at is not None:
        first, until = await _current_within(context, key, at, came_ms)
        since = max(first, since or first)
    types = None if type_name is None or key is not None else (type_name,)
    if row is not None and met is not None and type_name not in SAME:
        rows, total, place = [], 0, None
        while some := await reads.history(key=key, since_ms=since, until_ms=until, before=place, limit=AT_ONCE):
            place = some[-1].history_place
            seen = [each for each in some if versions.seen(context, met, each, row) is not None]
            total += len(seen)
            rows += [each for each in seen if after is None or each.history_place < after][: count + 1 - len(rows)]
    else:
        rows = await reads.history(key=key, types=types, since_ms=since, until_ms=until, before=after, limit=count + 1)
        total = await reads.history_count(key=key, types=types, since_ms=since, until_ms=until)
    page = rows[:count]
    path = "/".join(part for part in (context.base_url, type_name, id, "_history") if part)
    links = [("self", _url(path, asked))]
    if len(rows) > count and page:
        links.append(("next", _url(path, [*asked, (PAGE, _seal(context, path, asked, page[-1]))])))
    if count == 0 or ("_summary", "count") in pairs:
        return Answer(200, history_bundle((), total=total, links=links[:1]))
    budget = octets.Budget(context)
    # Of an erased dossier there is nothing left to tell, not even an id.
    page = [each if row is None else versions.judged(context, each, row) for each in page if not each.erased]
    if row is not None:
        page = await shown.rows(context, Sight(met=met), page)
    told = [await _version(context, row, budget, pairs) for row in page]
    return Answer(200, history_bundle(told, total=total, links=links))


async def _current_within(context: Context, key: bytes, at: tuple[int, int], came_ms: int) -> tuple[int, int]:
    """Between which instants, half-open, the versions were written that were current at a moment of `at`, UTC ms.

    came_ms: when all of it came to him: what was replaced before was never current to him.
    """
    start, end = max(at[0], came_ms), at[1]
    if end <= came_ms:
        return end, end
    before = await context.reads.history(key=key, until_ms=start + 1, limit=1)
    return (before[0].updated_ms if before else start), end


async def _version(context: Context, row: Row, budget: octets.Budget, pairs: Pairs) -> Version:
    id = json.parse(bytes(json.members(row.body)["id"]), object_only=False) if row.body else ""
    created = row.method in ("POST", "PUT") and not row.deleted
    address = f"{row.type}/{id}"
    return Version(
        full_url=f"{context.base_url}/{address}",
        body=None if row.deleted else summary.shaped(await budget.whole(row.body, row.content), row.type, pairs),
        method=row.method,
        url=row.type if row.method == "POST" else address,
        status=STATUS[row.method] if created or row.deleted else 200,
        version_id=version_id(row.version),
        last_updated_ms=row.updated_ms,
    )


def _parameters(context: Context, type_name: str | None, id: str | None, pairs: Pairs):
    since, at, count, token, asked = None, None, context.settings.default_count, None, []
    for name, value in pairs:
        if name == "_since":
            since = interval(value.replace(" ", "+"))[0]  # a zone whose `+` was not escaped
        elif name == "_at" and id is not None:
            at = interval(value.replace(" ", "+"))
        elif name == "_count":
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise FhirError("invalid", f"`_count={value[:40]}` is not a whole number")
            count = min(int(value), context.settings.max_count)
        elif name == PAGE:
            token = value
            continue
        elif name in SHAPES:
            if name == "_summary":
                summary.parse_mode(value)
        elif name not in IGNORED and not context.lenient:
            known = "_since, _at (of a resource), _count, _summary and _elements"
            raise FhirError("invalid", f"a history has no parameter `{name[:60]}`; it knows {known}")
        else:
            continue
        asked.append((name, value))
    path = "/".join(part for part in (context.base_url, type_name, id, "_history") if part)
    return since, at, count, None if token is None else _open(context, path, asked, token), asked


def _url(path: str, pairs: list) -> str:
    return f"{path}?{urlencode(pairs)}" if pairs else path


def _purpose(context: Context, path: str, asked: list) -> str:
    said = "\0".join([path, context.actor.issuer, context.actor.kind, context.actor.subject, *(f"{n}={v}" for n, v in asked)])
    return "history " + blake2b(said.encode(), digest_size=16).hexdigest()


def _seal(context: Context, path: str, asked: list, last: Row) -> str:
    updated_ms, place = last.history_place
    return context.store.vault.seal_token(updated_ms.to_bytes(8, "big", signed=True) + place, _purpose(context, path, asked))


def _open(context: Context, path: str, asked: list, token: str) -> tuple[int, bytes]:
    value = context.store.vault.open_token(token, _purpose(context, path, asked))
    if value is None or len(value) != 32:
        raise FhirError("invalid", "this page belongs to another query or caller, or to none; start again from the first page")
    return int.from_bytes(value[:8], "big", signed=True), value[8:]
