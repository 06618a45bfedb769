"""The civil calendar of France: days, months and birthdays in Europe/Paris as milliseconds UTC.

https://www.legifrance.gouv.fr/codes/article_lc/LEGIARTI000006410850 (code de procédure civile 641: the last day where the day is absent)
"""

import calendar
import re
from datetime import MAXYEAR, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fhir_dmp.fhir.instants import MAX_MS, MIN_MS, interval

PARIS = ZoneInfo("Europe/Paris")
_EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?", re.ASCII)
_ZONELESS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+", re.ASCII)


def midnight_ms(day: date) -> int:
    """00:00 Europe/Paris of a day.

    >>> midnight_ms(date(2026, 7, 1)), midnight_ms(date(2026, 1, 1))
    (1782856800000, 1767222000000)
    """
    return _to_ms(datetime(day.year, day.month, day.day, tzinfo=PARIS))


@lru_cache(maxsize=65536)
def months_later_ms(ms: int, months: int) -> int:
    """The same hour, calendar months later; the last day of the month where the day is absent.

    >>> from fhir_dmp.fhir.instants import from_instant, to_instant
    >>> to_instant(months_later_ms(from_instant("2026-01-31T09:00:00Z"), 1))
    '2026-02-28T09:00:00.000Z'
    >>> to_instant(months_later_ms(from_instant("2026-03-15T09:00:00Z"), 1))  # summer time began in between
    '2026-04-15T08:00:00.000Z'
    """
    here = (_EPOCH + timedelta(milliseconds=ms)).astimezone(PARIS)
    year, month = _month(here.year, here.month, months)
    day = min(here.day, calendar.monthrange(year, month)[1])
    return _to_ms(here.replace(year=year, month=month, day=day, fold=0))


def years_later_ms(ms: int, years: int) -> int:
    """The same hour, years later."""
    return months_later_ms(ms, 12 * years)


def days_later_ms(ms: int, days: int) -> int:
    """The same hour, days later."""
    here = (_EPOCH + timedelta(milliseconds=ms)).astimezone(PARIS)
    return _to_ms((here + timedelta(days=days)).replace(fold=0))


@lru_cache(maxsize=16_384)
def birthday_ms(birth_date: str, age: int) -> int:
    """00:00 Europe/Paris of a birthday. birth_date: FHIR date; of a year or month only, its last day counts (nobody ages too early).

    Born on 29 February, the birthday of a common year is 28 February, the last day of that month. No later than dates reach. ValueError
    when it is no date.

    >>> birthday_ms("2008-02-29", 18) == midnight_ms(date(2026, 2, 28))
    True
    >>> birthday_ms("2008", 18) == midnight_ms(date(2026, 12, 31)) and birthday_ms("9990", 18) == midnight_ms(date(9999, 12, 31))
    True
    """
    if not _DATE.fullmatch(birth_date):
        raise ValueError(f"`{birth_date[:20]}` is not a birth date")
    year, month, day = (int(part) if part else 0 for part in (birth_date + "--").split("-")[:3])
    month = month or 12
    last = calendar.monthrange(year, month)[1]
    if day > last:
        raise ValueError(f"`{birth_date}` is not a date that exists")
    later = min(year + age, MAXYEAR)  # a date that is there is never one too many
    reached = calendar.monthrange(later, month)[1]
    return midnight_ms(date(later, month, min(day or last, reached)))


def span(text: str) -> tuple[int, int]:
    """The half-open period that a date or dateTime names; days and times without a zone are those of Europe/Paris.

    >>> span("2026-07-14") == (midnight_ms(date(2026, 7, 14)), midnight_ms(date(2026, 7, 15)))
    True
    """
    lo, hi = interval(text)
    if _DATE.fullmatch(text) or _ZONELESS.fullmatch(text):
        return _as_paris(lo), _as_paris(hi)
    return lo, hi


def window(start: str | None, end: str | None) -> tuple[int, int]:
    """The half-open period of a FHIR Period, both ends included as FHIR says; open ends reach as far as dates do."""
    return (span(start)[0] if start else MIN_MS), (span(end)[1] if end else MAX_MS)


def shown_clock(ms: int) -> str:
    """A moment as the clock of Paris shows it.

    >>> shown_clock(midnight_ms(date(2026, 7, 14)) + 1000)
    '14/07/2026 00:00:01'
    """
    here = (_EPOCH + timedelta(milliseconds=ms)).astimezone(PARIS)
    return f"{here:%d/%m/%Y %H:%M:%S}"


def _as_paris(ms: int) -> int:
    """A moment computed as if the clock of Paris showed UTC."""
    if not MIN_MS + 86_400_000 < ms < MAX_MS - 86_400_000:
        return ms
    return _to_ms((_EPOCH + timedelta(milliseconds=ms)).replace(tzinfo=PARIS))


def _month(year: int, month: int, more: int) -> tuple[int, int]:
    years, index = divmod(month - 1 + more, 12)
    return year + years, index + 1


def _to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
