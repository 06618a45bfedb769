"""Normal forms of what is compared, and the keys by which the blind index knows it: one place for writing and asking.

https://hl7.org/fhir/R4/search.html#string and https://hl7.org/fhir/R4/search.html#token
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import lru_cache

from fhir_dmp.fhir.instants import interval
from fhir_dmp.search.values import DateRange, Quantity, Token

# Parameters every type has, hashed under one type so that a search over all types asks once.
COMMON = frozenset({"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"})

PREFIXES = (1, 2, 3, 4, 6, 8, 12)

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_IGNORED = re.compile(r"[\W_]+")
_SIGNS = re.compile(r"[()\[\]{}*+?|^$\\]")


def plainly(text: str) -> str:
    """Without case or accents, everything else as it is.

    >>> plainly("Cœur (d'Élise)")
    "coeur (d'elise)"
    """
    plain = unicodedata.normalize("NFKD", text.casefold()).casefold().translate(_LETTERS)
    return "".join(ch for ch in plain if not unicodedata.combining(ch))


def literal(text: str) -> str:
    """What must occur as it is written: a text with signs that nobody writes in a name, else "".

    >>> literal("(a+)+$"), literal("Jean-Pierre d'O.")
    ('(a+)+$', '')
    """
    return plainly(text) if _SIGNS.search(text) else ""


def fold(text: str) -> str:
    """Letters and digits only, without case or accents; text made of nothing else keeps its characters.

    >>> fold("Jean-Pierre  LEFÈVRE"), fold("Cœur"), fold("!?")
    ('jeanpierrelefevre', 'coeur', '!?')
    """
    return _IGNORED.sub("", plainly(text)) or "".join(text.split())


def fold_words(text: str) -> str:
    """As fold, with single spaces kept between words: for searches in running text.

    >>> fold_words("Os  brisé, au bras")
    'os brise au bras'
    """
    return _IGNORED.sub(" ", plainly(text)).strip()


def code_key(parameter: str, code: str) -> str:
    """Codes compare without case, ids with it."""
    return code if parameter == "_id" or parameter.endswith("._id") else code.casefold()


def key(type_name: str, parameter: str, kind: str, value: str | bytes) -> bytes:
    """What is hashed for one token of the index.

    >>> key("Patient", "_tag", "code", "a")
    b'Resource\\x00_tag\\x00code\\x00a'
    """
    owner = "Resource" if parameter in COMMON else type_name
    body = value if isinstance(value, bytes) else value.encode()
    return f"{owner}\0{parameter}\0{kind}\0".encode() + body


def address_key(type_name: str, id_: str) -> bytes:
    """What is hashed for the address of a resource, the `s` of its row."""
    return f"ref\0{type_name}/{id_}".encode()


def signed(number: int) -> bytes:
    """A 64-bit hash as bytes."""
    return number.to_bytes(8, "big", signed=True)


def token_spellings(system: str | None, code: str) -> tuple[str, ...]:
    """Every form in which FHIR may ask for this token.

    >>> token_spellings("http://loinc.org", "11488-4")
    ('http://loinc.org|11488-4', '11488-4', 'http://loinc.org|')
    >>> token_spellings(None, "10")
    ('|10', '10')
    """
    return (f"{system}|{code}", code, f"{system}|") if system else (f"|{code}", code)


def spellings_of(parameter: str, token: Token) -> Iterator[str]:
    """token_spellings of a value, in all its namespaces."""
    if token.code is None:
        if token.system:
            yield f"{token.system}|"
        return
    code = code_key(parameter, token.code)
    yield from token_spellings(token.system, code)
    for system in token.systems:
        yield f"{system}|{code}"
        yield f"{system}|"


def prefix_key(folded: str) -> tuple[str, bool]:
    """The longest indexed prefix of what is asked, and whether it says all that was asked.

    >>> prefix_key("mart"), prefix_key("marti")
    (('mart', True), ('mart', False))
    """
    length = max((n for n in PREFIXES if n <= len(folded)), default=0)
    return folded[:length], length == len(folded)


def path_prefixes(uri: str) -> Iterator[str]:
    """The URI and what stands above it, by path segments.

    >>> list(path_prefixes("http://a.fr/b/c"))
    ['http://a.fr/b/c', 'http://a.fr/b', 'http://a.fr']
    """
    text = uri.rstrip("/")
    start = text.find("//")
    floor = start + 2 if start >= 0 else 0
    while text:
        yield text
        cut = text.rfind("/", floor)
        if cut <= floor:
            return
        text = text[:cut]


def is_below(uri: str, ancestor: str) -> bool:
    """Whether a URI is the other or stands under it by path segments.

    >>> is_below("http://a.fr/b/c", "http://a.fr/b/"), is_below("http://a.fr/bc", "http://a.fr/b")
    (True, False)
    """
    top = ancestor.rstrip("/")
    return bool(top) and top in path_prefixes(uri)


@lru_cache(maxsize=4096)
def months(lo_ms: int, hi_ms: int, most: int) -> tuple[str, ...]:
    """The months that [lo_ms, hi_ms) touches, UTC; () when they are more than `most`, or of no calendar.

    >>> months(1_704_067_200_000, 1_706_745_600_001, 2), months(0, 10**15, 40)
    (('2024-01', '2024-02'), ())
    """
    if not 0 < hi_ms - lo_ms < (most + 1) * 31 * _DAY_MS:
        return ()
    try:
        first, last = (date.fromordinal(_EPOCH + ms // _DAY_MS) for ms in (lo_ms, hi_ms - 1))
    except (ValueError, OverflowError):
        return ()
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return tuple(f"{number // 12:04}-{number % 12 + 1:02}" for number in numbers) if len(numbers) <= most else ()


def unit_spellings(value: Quantity) -> tuple[str, ...]:
    """Unit keys of a quantity in its own unit: any, the code or the unit in words, system and code.

    >>> from decimal import Decimal
    >>> unit_spellings(Quantity(Decimal(1), Decimal(1), "http://unitsofmeasure.org", "mg", "milligrams"))
    ('', '|mg', '|milligrams', 'http://unitsofmeasure.org|mg')
    """
    keys = {"": None}
    for word in (value.code, value.unit):
        if word:
            keys[f"|{word}"] = None
    if value.system and value.code:
        keys[f"{value.system}|{value.code}"] = None
    return tuple(keys)


def calendar_keys(value: DateRange) -> Iterator[str]:
    """The calendar year, month and day that hold a date whole: how birth dates are hashed.

    >>> list(calendar_keys(DateRange(*interval("1980-05"))))
    ['1980', '1980-05']
    """
    try:
        first = datetime.fromtimestamp(value.lo_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return
    for form in (f"{first.year:04}", f"{first.year:04}-{first.month:02}", first.strftime(f"{first.year:04}-%m-%d")):
        lo, hi = interval(form)
        if lo <= value.lo_ms and value.hi_ms <= hi:
            yield form
