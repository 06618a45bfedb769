"""Moments and the periods that dates name, as integer milliseconds UTC since the epoch.

https://hl7.org/fhir/R4/datatypes.html#dateTime and https://hl7.org/fhir/R4/search.html#date
"""

import re
from datetime import date
from functools import lru_cache

from fhir_dmp.errors import FhirError

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

MIN_MS = -62_135_596_800_000  # 0001-01-01T00:00:00Z
MAX_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

# A fraction of a second may have any length; what is longer is not remembered.
LONGEST_KEPT = 64
_EPOCH = date(1970, 1, 1).toordinal()
_MOMENT = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?",
    re.ASCII,
)


@lru_cache(maxsize=1024)
def to_instant(ms: int) -> str:
    """The FHIR instant of a moment, always UTC with milliseconds.

    >>> to_instant(1_790_000_000_123), to_instant(-1)
    ('2026-09-21T14:13:20.123Z', '1969-12-31T23:59:59.999Z')
    """
    if not MIN_MS <= ms <= MAX_MS:
        raise FhirError("invalid", f"the moment {ms} ms lies outside the years 0001 to 9999")
    days, rest = divmod(ms, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, millis = divmod(rest, SECOND)
    return f"{date.fromordinal(_EPOCH + days).isoformat()}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"


def from_instant(text: str) -> int:
    """The moment an instant names; digits beyond milliseconds are cut off. Refuses what has no second or no zone.

    >>> from_instant("2026-09-21T16:13:20.1239+02:00")
    1790000000123
    """
    found = _MOMENT.fullmatch(text)
    if not found or found[6] is None or found[8] is None:
        raise FhirError("invalid", f"`{text[:60]}` is not an instant")
    return _start(text, found)


def interval(text: str) -> tuple[int, int]:
    """The half-open period [lo, hi) that a date, dateTime or instant names; without a zone it is UTC.

    A year, month, day, minute or second is the whole of it; a fraction of a second is one millisecond. Second 60 is the next second.

    >>> interval("2024-02") == (from_instant("2024-02-01T00:00:00Z"), from_instant("2024-03-01T00:00:00Z"))
    True
    >>> interval("1970-01-01T00:01"), interval("1970-01-01T01:00:00+01:00"), interval("1970-01-01T00:00:00.5Z")
    ((60000, 120000), (0, 1000), (500, 501))
    """
    return (_interval if len(text) <= LONGEST_KEPT else _interval.__wrapped__)(text)


@lru_cache(maxsize=4096)
def _interval(text: str) -> tuple[int, int]:
    """The same dates come several times with a resource, and again with those beside it."""
    found = _MOMENT.fullmatch(text)
    if not found:
        raise FhirError("invalid", f"`{text[:60]}` is not a date or date and time")
    lo = _start(text, found)
    year, month = int(found[1]), found[2]
    if month is None:
        return lo, lo + (366 if _is_leap(year) else 365) * DAY
    if found[3] is None:
        return lo, lo + _days_in(year, int(month)) * DAY
    if found[4] is None:
        return lo, lo + DAY
    if found[6] is None:
        return lo, lo + MINUTE
    return lo, lo + (SECOND if found[7] is None else 1)


def _start(text: str, found: re.Match) -> int:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = date(int(year), int(month or 1), int(day or 1)).toordinal() - _EPOCH
    except ValueError:
        raise FhirError("invalid", f"`{text[:60]}` is not a date that exists") from None
    ms = days * DAY
    if hour is None:
        return ms
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        raise FhirError("invalid", f"`{text[:60]}` is not a time that exists")
    ms += int(hour) * HOUR + int(minute) * MINUTE + int(second or 0) * SECOND + int((fraction or "")[:3].ljust(3, "0"))
    return ms - _offset(text, zone)


def _offset(text: str, zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise FhirError("invalid", f"`{text[:60]}` has a time zone that does not exist")
    return (hours * HOUR + minutes * MINUTE) * (-1 if zone[0] == "-" else 1)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if _is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31
