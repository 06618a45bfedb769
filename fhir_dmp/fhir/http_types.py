"""What HTTP headers say in FHIR: formats, preferences, versions, moments, ranges. Pure functions on header texts.

https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/http.html#concurrency, RFC 9110, RFC 7240
"""

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from time import gmtime
from typing import Literal, NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.instants import SECOND
from fhir_dmp.fhir.references import is_id

FHIR_JSON = "application/fhir+json"
PLAIN_JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"
FHIR_VERSIONS = ("4.0", "4.0.1")
MAX_RANGES = 8
# Header texts whose meaning is kept: clients send the same few with every request.
KEPT = 256

_FORMATS = {"json": FHIR_JSON, FHIR_JSON: FHIR_JSON, PLAIN_JSON: PLAIN_JSON, "text/json": PLAIN_JSON}
_MEDIA = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+", re.ASCII)
_TAG = re.compile(r'(?:W/)?"([^"]*)"|([A-Za-z0-9\-.]{1,64})')
_RANGE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Media(NamedTuple):
    """A media type or range of a header, lower case; q between 0 and 1."""

    name: str
    parameters: dict[str, str]
    q: float = 1.0

    @property
    def our_version(self) -> bool:
        """Whether it names no FHIR version, or R4."""
        return self.parameters.get("fhirversion", FHIR_VERSIONS[0]) in FHIR_VERSIONS


def media_types(header: str | None) -> list[Media]:
    """The parts of Accept or Content-Type, in order; malformed parts are left out.

    >>> media_types("text/html;q=0.5, application/fhir+json; fhirVersion=4.0")[1]
    Media(name='application/fhir+json', parameters={'fhirversion': '4.0'}, q=1.0)
    """
    found = []
    for part in (header or "").split(","):
        name, *rest = (piece.strip() for piece in part.split(";"))
        if not _MEDIA.fullmatch(name.lower()):
            continue
        pairs = (piece.partition("=") for piece in rest if "=" in piece)
        parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
        quality = parameters.pop("q", "1")
        q = float(quality) if re.fullmatch(r"[01](?:\.[0-9]{0,3})?", quality) else 0.0
        found.append(Media(name.lower(), parameters, min(q, 1.0)))
    return found


@lru_cache(KEPT)
def answer_format(accept: str | None, format: str | None = None) -> str:
    """The Content-Type of the answer. format: the value of `_format`, which wins over Accept. Refuses what is not JSON (406).

    >>> answer_format("text/html, application/xml;q=0.9, */*;q=0.8"), answer_format("application/fhir+xml", "json")
    ('application/fhir+json; charset=utf-8', 'application/fhir+json; charset=utf-8')
    """
    if format:
        # `+` of an unescaped media type arrives as a space.
        asked = media_types(_FORMATS.get(format.strip().lower(), format.replace(" ", "+")))
        chosen = _FORMATS.get(asked[0].name) if asked and asked[0].our_version else None
        if chosen is None:
            raise FhirError("not-acceptable", f"`_format={format[:60]}` is not served; this server answers in {FHIR_JSON}")
        return f"{chosen}; charset=utf-8"
    ranges = media_types(accept)
    if not ranges:
        return f"{FHIR_JSON}; charset=utf-8"
    qualities = {name: _quality(ranges, name) for name in (FHIR_JSON, PLAIN_JSON)}
    best = max(qualities, key=lambda name: qualities[name])
    if not qualities[best]:
        raise FhirError("not-acceptable", f"none of the formats in Accept is served; this server answers in {FHIR_JSON}")
    return f"{best}; charset=utf-8"


def preferred(accept: str | None, offered: tuple[str, ...]) -> str | None:
    """The media type a client likes best among those offered, the first of them when it takes anything; None when it takes none.

    >>> preferred("text/html, application/pdf;q=0.9, */*;q=0.1", ("text/plain", "application/pdf")), preferred(None, ("text/plain",))
    ('application/pdf', 'text/plain')
    """
    ranges = media_types(accept) or [Media("*/*", {})]
    best = max(offered, key=lambda name: _quality(ranges, name))
    return best if _quality(ranges, best) else None


def binary_form(accept: str | None, format: str | None, content_type: str) -> Literal["fhir", "native"]:
    """Whether a Binary is read as a resource (a FHIR format is asked for by name) or in its own format. Neither acceptable: 406."""
    if format:
        answer_format(None, format)
        return "fhir"
    ranges = media_types(accept)
    if not ranges:
        return "native"
    own = (media_types(content_type) or [Media("application/octet-stream", {})])[0].name
    fhir = max((m.q for m in ranges if m.our_version and (m.name == FHIR_JSON or (m.name in _FORMATS and m.name != own))), default=0.0)
    native = _quality(ranges, own)
    if fhir and fhir >= native:
        return "fhir"
    if native:
        return "native"
    raise FhirError("not-acceptable", f"the content is `{content_type[:60]}`; Accept admits neither that nor {FHIR_JSON}")


@lru_cache(KEPT)
def check_resource_type(content_type: str | None) -> None:
    """Refuse (415) a request body that is not announced as FHIR R4 JSON in UTF-8."""
    found = media_types(content_type)
    if not found or found[0].name not in _FORMATS:
        said = f"`{content_type[:60]}`" if content_type else "a body without Content-Type"
        raise FhirError("media-type", f"{said} is not accepted; send {FHIR_JSON}")
    _check_parameters(found[0])


def patch_form(content_type: str | None) -> Literal["json", "fhirpath"]:
    """Which patch language a PATCH body is announced in; anything else is refused (415)."""
    found = media_types(content_type)
    if found and found[0].name == JSON_PATCH:
        _check_parameters(found[0])
        return "json"
    if found and found[0].name in _FORMATS:
        _check_parameters(found[0])
        return "fhirpath"
    said = f"`{content_type[:60]}`" if content_type else "a body without Content-Type"
    raise FhirError(
        "media-type",
        f"{said} is not accepted; send {JSON_PATCH} (JSON Patch) or {FHIR_JSON} (FHIRPath Patch)",
        headers={"Accept-Patch": f"{JSON_PATCH}, {FHIR_JSON}"},
    )


def is_form(content_type: str | None) -> bool:
    """Whether a body is announced as an HTML form, as POST _search sends it."""
    found = media_types(content_type)
    return bool(found) and found[0].name == FORM


@dataclass(frozen=True, slots=True)
class Prefer:
    """The preferences FHIR knows; "" where the client names none."""

    answer: Literal["", "minimal", "representation", "OperationOutcome"] = ""
    handling: Literal["", "strict", "lenient"] = ""
    respond_async: bool = False


@lru_cache(KEPT)
def parse_prefer(header: str | None) -> Prefer:
    """Unknown preferences and values are ignored, of a repeated one the first counts (RFC 7240).

    >>> parse_prefer('return=minimal; x=1, handling="lenient", respond-async')
    Prefer(answer='minimal', handling='lenient', respond_async=True)
    """
    said: dict[str, str] = {}
    for part in (header or "").split(","):
        name, _, value = part.split(";")[0].partition("=")
        said.setdefault(name.strip().lower(), value.strip().strip('"'))
    answers = {"minimal": "minimal", "representation": "representation", "operationoutcome": "OperationOutcome"}
    handling = said.get("handling", "").lower()
    return Prefer(
        answers.get(said.get("return", "").lower(), ""), handling if handling in ("strict", "lenient") else "", "respond-async" in said
    )


def etag(version_id: str) -> str:
    """
    >>> etag("3")
    'W/"3"'
    """
    return f'W/"{version_id}"'


@dataclass(frozen=True, slots=True)
class Tags:
    """If-Match or If-None-Match: any (`*`), or version ids. Tags that name no version of ours are dropped: they match nothing."""

    any: bool = False
    versions: frozenset[str] = frozenset()

    def match(self, version_id: str | None) -> bool:
        """version_id: of the current version, None when there is no resource."""
        return version_id is not None and (self.any or version_id in self.versions)


def parse_tags(header: str | None) -> Tags | None:
    """None when the header is absent. Weak and strong tags compare alike; a bare version id is understood. Malformed: 400.

    >>> parse_tags('W/"1", "2"').match("2"), parse_tags("*").match(None)
    (True, False)
    """
    if header is None:
        return None
    if header.strip() == "*":
        return Tags(any=True)
    versions = set()
    for part in header.split(","):
        found = _TAG.fullmatch(part.strip())
        if not found:
            raise FhirError("invalid", f"`{part.strip()[:60]}` is not an entity tag")
        versions.add(found[1] if found[1] is not None else found[2])
    return Tags(versions=frozenset(version for version in versions if is_id(version)))


def http_date(ms: int) -> str:
    """
    >>> http_date(784_111_777_999)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    day, rest = divmod(ms // SECOND, 86_400)
    return f"{_http_day(day)} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02} GMT"


@lru_cache(1024)
def _http_day(day: int) -> str:
    year, month, day, _, _, _, weekday, _, _ = gmtime(day * 86_400)
    return f"{_WEEKDAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04}"


def parse_http_date(text: str | None) -> int | None:
    """Milliseconds UTC, or None for an absent or malformed date, which HTTP says to ignore."""
    try:
        moment = parsedate_to_datetime((text or "")[:64])
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * SECOND
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def not_modified(version_id: str, last_updated_ms: int, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Whether a conditional read is answered 304. If-None-Match wins; HTTP dates hold whole seconds."""
    if (tags := parse_tags(if_none_match)) is not None:
        return tags.match(version_id)
    since = parse_http_date(if_modified_since)
    return since is not None and last_updated_ms // SECOND * SECOND <= since


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) to send, or None for the whole: no Range, another unit, a malformed one, or a few ranges at once.

    Unsatisfiable, or more than MAX_RANGES ranges: 416.

    >>> parse_range("bytes=2-4", 10), parse_range("bytes=-3", 10), parse_range("bytes=8-99", 10)
    ((2, 5), (7, 10), (8, 10))
    """
    unit, equals, ranges = (header or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    if ranges.count(",") >= MAX_RANGES:
        raise FhirError("range", f"more than {MAX_RANGES} ranges", headers={"Content-Range": f"bytes */{size}"})
    found = _RANGE.fullmatch(ranges.strip())
    if not found or found[0] == "-" or (found[1] and found[2] and int(found[1]) > int(found[2])):
        return None
    start = int(found[1]) if found[1] else max(size - int(found[2]), 0)
    end = min(int(found[2]) + 1, size) if found[1] and found[2] else size
    if start >= end:
        raise FhirError("range", f"the range starts beyond the {size} bytes of the content", headers={"Content-Range": f"bytes */{size}"})
    return start, end


@lru_cache(KEPT)
def language_of(accept: str | None) -> str:
    """en, or fr where Accept-Language prefers it.

    >>> language_of("fr-FR,fr;q=0.9,en;q=0.8"), language_of("en, fr;q=0.5"), language_of(None), language_of("de")
    ('fr', 'en', 'en', 'en')
    """
    best = {"en": 0.0, "fr": 0.0}
    for part in (accept or "").split(","):
        tag, _, quality = part.strip().partition(";")
        language = tag.strip().partition("-")[0].lower()
        try:
            given = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in best:
            best[language] = max(best[language], given)
    return "fr" if best["fr"] > best["en"] else "en"


def _quality(ranges: list[Media], name: str) -> float:
    """Quality that the most specific range gives to a media type, 0 when none admits it."""
    for wanted in (name, name.partition("/")[0] + "/*", "*/*"):
        if given := _given(ranges, wanted):
            return max(given)
    return 0.0


def _given(ranges: list[Media], name: str) -> list[float]:
    return [media.q for media in ranges if media.name == name and media.our_version]


def _check_parameters(media: Media) -> None:
    if not media.our_version:
        raise FhirError("media-type", f"FHIR version `{media.parameters['fhirversion'][:20]}` is not accepted; this server speaks 4.0")
    if media.parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise FhirError("media-type", f"charset `{media.parameters['charset'][:20]}` is not accepted; FHIR JSON is UTF-8")
