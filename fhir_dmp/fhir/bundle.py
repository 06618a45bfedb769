"""Bundles: reading a batch or transaction into entries, and writing answers by splicing bytes.

https://hl7.org/fhir/R4/bundle.html and https://hl7.org/fhir/R4/http.html#transaction
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json as exact
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.http_types import JSON_PATCH, etag, media_types
from fhir_dmp.fhir.instants import from_instant, to_instant
from fhir_dmp.fhir.references import is_id, parse_reference, reference_texts, references

MAX_URL = 60_000  # what comes over HTTP is bounded by a setting
MAX_PAIRS = 1000

# The order in which the interactions of a transaction take effect, whatever the order of its entries.
ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}

_SEGMENT = re.compile(r"[A-Za-z0-9\-._$]{1,128}")
_ENTITIES = {"PUT", "PATCH", "DELETE"}

Pairs = tuple[tuple[str, str], ...]


class Url(NamedTuple):
    """A request address relative to the base, e.g. `Patient/1/_history/2`, `Patient?name=x`, `$op`, `Patient/1/Observation`.

    type, id: "" where it has none. tail: the segments after them, e.g. ("_history", "2"), ("$everything",), ("Observation",).
    query: decoded pairs in order; conditional: whether a `?` was there.
    """

    type: str
    id: str
    tail: tuple[str, ...]
    query: Pairs
    conditional: bool

    @property
    def identity(self) -> str:
        return f"{self.type}/{self.id}" if self.id else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a batch or transaction.

    index: in the Bundle. place: "Bundle.entry[3]". full_url: "" when absent. base: address its relative references are resolved against.
    if_none_exist: pairs of its query, None when absent. if_modified_since: ms UTC.
    resource: a tree of `parse_exact`; of a PATCH, the patch. patch: language of a PATCH body; operations: its JSON Patch document.
    fault: why this entry cannot be processed (only in a batch, where the others are).
    """

    index: int
    place: str
    method: str
    url: str = ""
    target: Url = Url("", "", (), (), False)
    full_url: str = ""
    base: str = ""
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: int | None = None
    if_none_exist: Pairs | None = None
    resource: dict | None = None
    patch: Literal["", "json", "fhirpath"] = ""
    operations: list | None = None
    fault: FhirError | None = None

    @property
    def creates(self) -> bool:
        """POST of a new resource, not of an operation or search."""
        return self.method == "POST" and not self.target.id and not self.target.tail


@dataclass(frozen=True, slots=True)
class Plan:
    """kind: batch or transaction. entries: in the order of the Bundle. full_urls: fullUrl -> index of its entry. profiles: it claims."""

    kind: Literal["batch", "transaction"]
    entries: tuple[Entry, ...]
    full_urls: Mapping[str, int] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()

    def ordered(self) -> list[Entry]:
        """The entries in the order of processing: of a transaction deletes, creates, updates and patches, reads; of a batch as sent."""
        return sorted(self.entries, key=lambda entry: ORDER[entry.method]) if self.kind == "transaction" else list(self.entries)

    def links(self, identities: Mapping[int, str]) -> dict[str, str]:
        """fullUrl -> reference that replaces it, for `references.rewrite`. identities: index of an entry -> `Type/id` it was given."""
        return {url: identities[index] for url, index in self.full_urls.items() if index in identities}


def plan(bundle: dict, *, base_urls: Sequence[str] = ()) -> Plan:
    """Read and check a Bundle (a tree of `parse_exact`) of type batch or transaction.

    A transaction with faults is refused with all of them (422, or 400 where an entry makes no sense at all); in a batch each faulty
    entry carries its own.
    """
    if bundle.get("resourceType") != "Bundle":
        raise FhirError("invalid", "a batch or transaction is a Bundle", "resourceType")
    kind = bundle.get("type")
    if kind not in ("batch", "transaction"):
        raise FhirError("invalid", "only a Bundle of type `batch` or `transaction` can be processed", "Bundle.type")
    listed = bundle.get("entry", [])
    if not isinstance(listed, list):
        raise FhirError("invalid", "entry is not a list", "Bundle.entry")
    entries = tuple(_entry(index, raw, base_urls) for index, raw in enumerate(listed))
    duplicates, full_urls = _full_urls(entries)
    if kind == "transaction":
        faults = [entry.fault for entry in entries if entry.fault] + duplicates + overlaps(entries)
        if faults:
            worst = "invalid" if any(fault.status == 400 for fault in faults) else "unprocessable"
            raise FhirError.many(worst, [issue for fault in faults for issue in fault.issues])
    meta = bundle.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    return Plan(kind, entries, full_urls, tuple(one for one in claimed if isinstance(one, str)) if isinstance(claimed, list) else ())


def overlaps(entries: Iterable[Entry], identities: Mapping[int, str] | None = None) -> list[FhirError]:
    """Faults of a transaction that changes one resource twice. identities: index -> `Type/id` of entries whose condition was resolved."""
    seen: dict[str, str] = {}
    faults = []
    for entry in entries:
        identity = (identities or {}).get(entry.index) or entry.target.identity
        if entry.method not in _ENTITIES or not identity:
            continue
        if identity in seen:
            faults.append(FhirError("unprocessable", f"`{identity}` is already changed by {seen[identity]}", entry.place))
        seen.setdefault(identity, entry.place)
    return faults


def conditional_references(resource: dict) -> Iterator[tuple[str, str, str, Pairs]]:
    """(place, text, type, pairs) of each reference that is a search, e.g. `Patient?identifier=...`, to be resolved before storing."""
    if not any("?" in text for text in reference_texts(resource)):
        return
    for place, reference in references(resource):
        found = parse_reference(reference["reference"])
        if found.kind == "conditional":
            yield f"{place}.reference", reference["reference"], found.type, parse_query(found.query)


def unresolved(entry: Entry, full_urls: Mapping[str, int]) -> list[Issue]:
    """Places in an entry that refer to a urn which no entry of the Bundle has as fullUrl."""

    def leads_nowhere(text: str) -> bool:
        return text[:4].lower() == "urn:" and text.partition("#")[0] not in full_urls

    resource = entry.resource or {}
    if not any(leads_nowhere(text) for text in reference_texts(resource)):
        return []
    return [
        Issue(
            "error",
            "not-found",
            f"`{reference['reference'][:100]}` is the fullUrl of no entry",
            f"{entry.place}.resource.{place.partition('.')[2]}.reference",
        )
        for place, reference in references(resource)
        if leads_nowhere(reference["reference"])
    ]


def parse_query(text: str) -> Pairs:
    """Decoded pairs of a query, with or without `?`, blank values kept.

    >>> parse_query("?identifier=urn:oid:1.2%7C3&active")
    (('identifier', 'urn:oid:1.2|3'), ('active', ''))
    """
    text = text.removeprefix("?")
    if "%" not in text and "+" not in text and text.count("&") < MAX_PAIRS:
        parts = [pair.partition("=") for pair in text.split("&") if pair]
        return tuple([(name, value) for name, _, value in parts])
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PAIRS))
    except ValueError:
        raise FhirError("invalid", f"`{text[:100]}` is not a query") from None


def parse_url(text: str, base_urls: Sequence[str] = ()) -> Url:
    """A request address of an entry; our own absolute addresses are accepted, others are not.

    >>> parse_url("Patient/1/_history/2")
    Url(type='Patient', id='1', tail=('_history', '2'), query=(), conditional=False)
    """
    if len(text) > MAX_URL:
        raise FhirError("invalid", f"address of more than {MAX_URL} characters")
    own = next((base for base in [url.rstrip("/") for url in base_urls] if text.startswith((base + "/", base + "?"))), None)
    relative = text[len(own) :] if own is not None else text
    path, asked, query = relative.removeprefix("/").partition("?")
    if own is None and (":" in path or path.startswith("/")):
        raise FhirError("invalid", f"`{text[:100]}` is not an address relative to this server's base")
    if tables.known_type(path) and "#" not in text:
        return Url(path, "", (), parse_query(query), bool(asked))
    segments = tuple(map(unquote, path.split("/"))) if path else ()
    # Patient/1/*: every type of a compartment
    plain = segments[:2] + segments[3:] if segments[2:3] == ("*",) else segments
    if "#" in text or not all(map(_SEGMENT.fullmatch, plain)) or "." in plain or ".." in plain:
        raise FhirError("invalid", f"`{text[:100]}` is not an address of a resource, type or operation")
    if segments and segments[0][0] in "$_" or segments == ("metadata",):
        return Url("", "", segments, parse_query(query), bool(asked))
    if segments and not tables.known_type(segments[0]):
        raise FhirError("not-found", f"`{segments[0]}` is not a resource type")
    type_name, tail = (segments[0], segments[1:]) if segments else ("", ())
    id = ""
    if tail and tail[0][0] not in "$_":
        id, tail = tail[0], tail[1:]
        if not is_id(id):
            raise FhirError("invalid", f"`{id[:100]}` is not an id")
    return Url(type_name, id, tail, parse_query(query), bool(asked))


def _entry(index: int, raw: object, base_urls: Sequence[str]) -> Entry:
    place = f"Bundle.entry[{index}]"
    request = raw.get("request") if isinstance(raw, dict) else None
    if not isinstance(request, dict):
        return Entry(index, place, "GET", fault=FhirError("invalid", "an entry needs a request", f"{place}.request"))
    method = request.get("method")
    if not isinstance(method, str) or method not in ORDER:
        return Entry(index, place, "GET", fault=FhirError("invalid", "unknown method", f"{place}.request.method"))
    url = request.get("url")
    url = url if isinstance(url, str) else ""
    resource = raw.get("resource") if isinstance(raw.get("resource"), dict) else None
    full_url = raw.get("fullUrl") if isinstance(raw.get("fullUrl"), str) else ""
    given = {"index": index, "place": place, "method": method, "url": url, "full_url": full_url, "resource": resource}
    try:
        given |= _full_url(full_url, place, base_urls)
        given["target"] = target = _target(method, url, place, base_urls)
        given |= _conditions(request, place)
        given |= _body(method, target, resource, place)
    except FhirError as fault:
        return Entry(**given, fault=fault)
    return Entry(**given)


def _full_url(full_url: str, place: str, base_urls: Sequence[str]) -> dict:
    if "/_history/" in full_url:
        raise FhirError("unprocessable", "a fullUrl names no version", f"{place}.fullUrl")
    ref = parse_reference(full_url, base_urls)
    return {"base": ref.base if ref.kind in ("absolute", "local") else ""}


def _target(method: str, url: str, place: str, base_urls: Sequence[str]) -> Url:
    try:
        target = parse_url(url, base_urls)
    except FhirError as fault:
        raise FhirError(fault.kind, fault.message, f"{place}.request.url") from None
    is_operation = bool(target.tail) and target.tail[-1][0] == "$"
    fits = True
    if method == "POST":
        fits = is_operation or target.tail == ("_search",) or (bool(target.type) and not target.id and not target.tail)
    elif method in _ENTITIES:
        fits = bool(target.type) and not target.tail and bool(target.id) != target.conditional
        fits = fits and bool(target.id or target.query)
    if not url or not fits:
        raise FhirError("invalid", f"{method} cannot be sent to `{url[:100]}`", f"{place}.request.url")
    return target


def _conditions(request: dict, place: str) -> dict:
    def text(name: str) -> str | None:
        value = request.get(name)
        return value if isinstance(value, str) else None

    found: dict = {"if_match": text("ifMatch"), "if_none_match": text("ifNoneMatch")}
    if (since := text("ifModifiedSince")) is not None:
        try:
            found["if_modified_since"] = from_instant(since)
        except FhirError as fault:
            raise FhirError("invalid", fault.message, f"{place}.request.ifModifiedSince") from None
    if (query := text("ifNoneExist")) is not None:
        pairs = parse_query(query.partition("?")[2] if "?" in query else query)
        if not pairs:
            raise FhirError("invalid", "ifNoneExist without a search parameter", f"{place}.request.ifNoneExist")
        found["if_none_exist"] = pairs
    return found


def _body(method: str, target: Url, resource: dict | None, place: str) -> dict:
    place = f"{place}.resource"
    if method == "PATCH":
        return _patch(resource, place)
    if method == "PUT" or (method == "POST" and not target.tail):
        if resource is None:
            raise FhirError("invalid", f"{method} needs a resource", place)
        if resource.get("resourceType") != target.type:
            raise FhirError("invalid", f"the resource is not a {target.type}, as the address says", f"{place}.resourceType")
        if target.id and resource.get("id") != target.id:
            raise FhirError("invalid", f"the id of the resource is not `{target.id}`, as the address says", f"{place}.id")
    return {}


def _patch(resource: dict | None, place: str) -> dict:
    if resource is not None and resource.get("resourceType") == "Parameters":
        return {"patch": "fhirpath"}
    if resource is None or resource.get("resourceType") != "Binary":
        raise FhirError("invalid", f"PATCH needs Parameters (FHIRPath Patch) or a Binary of {JSON_PATCH}", place)
    announced = media_types(str(resource.get("contentType")))
    if not announced or announced[0].name != JSON_PATCH:
        raise FhirError("invalid", f"a Binary that patches is of {JSON_PATCH}", f"{place}.contentType")
    try:
        data = base64.b64decode("".join(str(resource.get("data", "")).split()), validate=True)
        operations = exact.parse_exact(data, object_only=False)
    except ValueError:
        raise FhirError("invalid", "data is not base64", f"{place}.data") from None
    except FhirError as fault:
        raise FhirError(fault.kind, fault.message, f"{place}.data") from None
    if not isinstance(operations, list):
        raise FhirError("invalid", "a JSON Patch is a list of operations", f"{place}.data")
    return {"patch": "json", "operations": operations}


def _full_urls(entries: Iterable[Entry]) -> tuple[list[FhirError], dict[str, int]]:
    faults, found = [], {}
    for entry in entries:
        if entry.full_url and entry.full_url in found:
            first = f"Bundle.entry[{found[entry.full_url]}]"
            faults.append(
                FhirError("unprocessable", f"`{entry.full_url[:100]}` is already the fullUrl of {first}", f"{entry.place}.fullUrl")
            )
        elif entry.full_url:
            found[entry.full_url] = entry.index
    return faults, found


# --- answers ---


class Hit(NamedTuple):
    """An entry of a searchset. full_url: "" leaves it out. body: JSON of the resource, spliced as it is.

    search: further members of `search`, a JSON object, e.g. b'{"score":0.9}'.
    """

    full_url: str
    body: bytes
    mode: Literal["match", "include", "outcome"] = "match"
    search: bytes = b""


class Version(NamedTuple):
    """An entry of a history. body: None for a deletion. method: that made this version. status: e.g. 200, 201, 204."""

    full_url: str
    body: bytes | None
    method: str
    url: str
    status: int
    version_id: str
    last_updated_ms: int


class Answer(NamedTuple):
    """What became of an entry of a batch or transaction. outcome: OperationOutcome; resource: what the entry returns; both spliced."""

    status: int
    location: str = ""
    version_id: str = ""
    last_updated_ms: int | None = None
    outcome: bytes | None = None
    resource: bytes | None = None
    full_url: str = ""


Links = Iterable[tuple[str, str]]  # (relation, url), in order


def searchset(
    hits: Iterable[Hit], *, total: int | None = None, links: Links = (), id: str = "", last_updated_ms: int | None = None
) -> bytes:
    """A searchset Bundle.

    >>> searchset([Hit("", b'{"resourceType":"Patient"}')], total=1)
    b'{"resourceType":"Bundle","type":"searchset","total":1,"entry":[{"resource":{"resourceType":"Patient"},"search":{"mode":"match"}}]}'
    """
    entries = [
        b'{"fullUrl":%b,"resource":%b,"search":{"mode":"%b"}}' % (exact.dump(hit.full_url), hit.body, hit.mode.encode())
        if hit.full_url and hit.mode and not hit.search
        else _object(_full(hit.full_url), b'"resource":' + hit.body, b'"search":' + _object(_text("mode", hit.mode), hit.search[1:-1]))
        for hit in hits
    ]
    return _bundle("searchset", entries, total, links, id, last_updated_ms)


def history_bundle(
    versions: Iterable[Version], *, total: int | None = None, links: Links = (), id: str = "", last_updated_ms: int | None = None
) -> bytes:
    """A history Bundle; versions newest first, as given."""
    entries = [
        _object(
            _full(version.full_url),
            b"" if version.body is None else b'"resource":' + version.body,
            b'"request":{"method":%s,"url":%s}' % (exact.dump(version.method), exact.dump(version.url)),
            b'"response":'
            + _object(
                _text("status", status_line(version.status)),
                _text("etag", etag(version.version_id)),
                _text("lastModified", to_instant(version.last_updated_ms)),
            ),
        )
        for version in versions
    ]
    return _bundle("history", entries, total, links, id, last_updated_ms)


def transaction_response(answers: Iterable[Answer], *, links: Links = (), id: str = "") -> bytes:
    """The answer to a transaction: one entry for each of the request, in its order."""
    return _bundle("transaction-response", [_answer(answer) for answer in answers], None, links, id, None)


def batch_response(answers: Iterable[Answer], *, links: Links = (), id: str = "") -> bytes:
    """The answer to a batch: one entry for each of the request, in its order, refusals included."""
    return _bundle("batch-response", [_answer(answer) for answer in answers], None, links, id, None)


def collection(
    bodies: Iterable[tuple[str, bytes]], *, type: Literal["collection", "document", "searchset"] = "collection", id: str = ""
) -> bytes:
    """A Bundle of (fullUrl, resource) without search or response parts."""
    return _bundle(type, [_object(_full(full_url), b'"resource":' + body) for full_url, body in bodies], None, (), id, None)


def status_line(status: int) -> str:
    """
    >>> status_line(201)
    '201 Created'
    """
    return f"{status} {HTTPStatus(status).phrase}"


def _answer(answer: Answer) -> bytes:
    response = _object(
        _text("status", status_line(answer.status)),
        _text("location", answer.location),
        _text("etag", etag(answer.version_id) if answer.version_id else ""),
        _text("lastModified", "" if answer.last_updated_ms is None else to_instant(answer.last_updated_ms)),
        b"" if answer.outcome is None else b'"outcome":' + answer.outcome,
    )
    return _object(_full(answer.full_url), b"" if answer.resource is None else b'"resource":' + answer.resource, b'"response":' + response)


def _bundle(type_name: str, entries: list[bytes], total: int | None, links: Links, id: str, last_updated_ms: int | None) -> bytes:
    linked = b",".join([b'{"relation":%b,"url":%b}' % (exact.dump(relation), exact.dump(url)) for relation, url in links])
    return _object(
        b'"resourceType":"Bundle"',
        _text("id", id),
        b"" if last_updated_ms is None else b'"meta":' + _object(_text("lastUpdated", to_instant(last_updated_ms))),
        _text("type", type_name),
        b"" if total is None else b'"total":%d' % total,
        b'"link":[' + linked + b"]" if linked else b"",
        b'"entry":[' + b",".join(entries) + b"]" if entries else b"",
    )


def _object(*parts: bytes) -> bytes:
    return b"{" + b",".join(part for part in parts if part) + b"}"


def _text(name: str, value: str) -> bytes:
    return b'"%s":%s' % (name.encode(), exact.dump(value)) if value else b""


def _full(full_url: str) -> bytes:
    return _text("fullUrl", full_url)
