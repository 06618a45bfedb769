"""Rules of the primitive data types: pattern, range and what to say when a value breaks them.

https://hl7.org/fhir/R4/datatypes.html#primitive
Patterns use ASCII classes only and end at the end of text, so that every regular expression engine reads them alike.
"""

import re
from decimal import Decimal
from typing import NamedTuple

# A string may hold 1 MB (R4, string). base64Binary and xhtml have no limit of their own but that of the body.
STRING_LENGTH = 1024 * 1024

# R4 sets no limit on decimals. These are what a search index of decimal128 can place; more digits or larger exponents only serve attacks.
DECIMAL_DIGITS = 128
DECIMAL_EXPONENT = 6144

INTEGER_MIN, INTEGER_MAX = -(2**31), 2**31 - 1

_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_MONTH = "(?:0[1-9]|1[0-2])"
_DAY_OF_YEAR = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
_DAY = f"(?:{_YEAR}-{_DAY_OF_YEAR}|{_LEAP_YEAR}-02-29)"
# Second 60 is a leap second; R4's pattern allows it. 24:00 is not a time.
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

# White space of R4's own patterns. A no-break space is a character like any other, so that a string of the standard's own
# examples stays valid whatever an engine takes \s for.
_BLANK = r"[ \t\r\n]"
_INK = r"[^ \t\r\n\x00-\x1f]"
# Control characters cannot be written in XML, the standard's other format; R4 says SHOULD NOT, here they are refused.
_TEXT = rf"(?:{_BLANK}*{_INK})(?:{_INK}|{_BLANK})*"
_URI = r"[^ \t\r\n\x00-\x1f]+"


class Primitive(NamedTuple):
    """json: string, integer, number or boolean. pattern: of the whole value, "" for none. low, high: of integers. hint: plain words."""

    json: str
    pattern: str
    hint: str
    low: int | None = None
    high: int | None = None


PRIMITIVES: dict[str, Primitive] = {
    "base64Binary": Primitive(
        "string",
        rf"{_BLANK}*(?:(?:[A-Za-z0-9+/]{{4}}{_BLANK}*)+|(?:[A-Za-z0-9+/]{{4}}{_BLANK}*)*(?:[A-Za-z0-9+/]{{2}}==|[A-Za-z0-9+/]{{3}}=){_BLANK}*)",
        "base64 in groups of four characters, padded with `=`",
    ),
    "boolean": Primitive("boolean", "", "true or false, without quotes"),
    "canonical": Primitive("string", _URI, "a URL without spaces, optionally with `|version`"),
    "code": Primitive("string", rf"{_INK}+(?: {_INK}+)*", "a code without spaces at its ends and only single spaces inside"),
    "date": Primitive("string", f"(?:{_YEAR}(?:-{_MONTH})?|{_DAY})", "a date that exists, as YYYY, YYYY-MM or YYYY-MM-DD"),
    "dateTime": Primitive(
        "string",
        f"(?:{_YEAR}(?:-{_MONTH})?|{_DAY}(?:T{_TIME}{_ZONE})?)",
        "a date that exists, as YYYY, YYYY-MM, YYYY-MM-DD or with time, seconds and zone: YYYY-MM-DDThh:mm:ss+zz:zz",
    ),
    "decimal": Primitive("number", "", "a JSON number, without quotes"),
    "id": Primitive("string", r"[A-Za-z0-9\-.]{1,64}", "1 to 64 letters, digits, `-` or `.`"),
    "instant": Primitive("string", f"{_DAY}T{_TIME}{_ZONE}", "a date that exists with time, seconds and zone: YYYY-MM-DDThh:mm:ss+zz:zz"),
    "integer": Primitive("integer", "", "a whole JSON number of 32 bits, without quotes or fraction", INTEGER_MIN, INTEGER_MAX),
    "markdown": Primitive("string", _TEXT, "text that is not empty, at most 1 MB, without control characters"),
    "oid": Primitive("string", r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", "urn:oid: and digits separated by dots"),
    "positiveInt": Primitive("integer", "", "a whole JSON number from 1 to 2147483647, without quotes or fraction", 1, INTEGER_MAX),
    "string": Primitive("string", _TEXT, "text that is not empty, at most 1 MB, without control characters"),
    "time": Primitive("string", _TIME, "a time of day with seconds and without zone: hh:mm:ss"),
    "unsignedInt": Primitive("integer", "", "a whole JSON number from 0 to 2147483647, without quotes or fraction", 0, INTEGER_MAX),
    "uri": Primitive("string", _URI, "a URI, not empty and without spaces"),
    "url": Primitive("string", _URI, "a URL, not empty and without spaces"),
    "uuid": Primitive(
        "string", "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "urn:uuid: and a UUID in lower case"
    ),
    "xhtml": Primitive("string", "", "XHTML: one <div> of the namespace http://www.w3.org/1999/xhtml"),
}

LIMITED = frozenset({"string", "markdown"})

_COMPILED = {name: re.compile(p.pattern) for name, p in PRIMITIVES.items() if p.pattern}


def fits(type_name: str, value: object) -> bool:
    """Whether a JSON value is a valid value of this primitive type; numbers as int and Decimal.

    >>> fits("date", "2024-02-29"), fits("date", "2023-02-29"), fits("positiveInt", 0), fits("decimal", Decimal("1.00"))
    (True, False, False, True)
    """
    rule = PRIMITIVES[type_name]
    match rule.json:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool) and rule.low <= value <= rule.high
        case "number":
            return isinstance(value, int | Decimal) and not isinstance(value, bool) and decimal_fits(value)
    if not isinstance(value, str):
        return False
    if type_name in LIMITED and len(value) > STRING_LENGTH:
        return False
    pattern = _COMPILED.get(type_name)
    return bool(value) and (pattern is None or pattern.fullmatch(value) is not None)


def decimal_fits(value: int | Decimal) -> bool:
    """Whether a number stays within DECIMAL_DIGITS and DECIMAL_EXPONENT. Nothing is computed with it, so a huge exponent costs nothing."""
    if type(value) is int:
        return -(10**DECIMAL_DIGITS) < value < 10**DECIMAL_DIGITS
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return False
    return len(digits) <= DECIMAL_DIGITS and exponent >= -DECIMAL_EXPONENT and exponent + len(digits) - 1 <= DECIMAL_EXPONENT
