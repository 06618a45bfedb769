"""Pieces of JSON: strings, codings and concepts as FHIR accepts them, as bytes.

https://hl7.org/fhir/R4/datatypes.html#Coding
"""

from functools import lru_cache

import msgspec

_CONTROL = {number: " " for number in (*range(32), 127, *range(128, 160), *range(0xD800, 0xE000))}
_string = msgspec.json.Encoder().encode


def text(value: str, longest: int = 1000) -> bytes:
    """A JSON string that FHIR accepts as a string: never empty, without control characters and lone surrogates.

    >>> text('a "b"\\n'), text(" ")
    (b'"a \\\\"b\\\\""', b'"-"')
    """
    if not value.isprintable():
        value = value.translate(_CONTROL)
    return _string(value[:longest].strip() or "-")


@lru_cache(4096)
def coding(system: str, code: str, display: str) -> bytes:
    """A Coding."""
    shown = b',"display":%b' % text(display) if display else b""
    return b'{%b"code":%b%b}' % (uri_member(system), text(" ".join(code.translate(_CONTROL).split())), shown)


@lru_cache(4096)
def concept(system: str, code: str, display: str) -> bytes:
    """A CodeableConcept of one Coding."""
    return b'{"coding":[%b]}' % coding(system, code, display)


def uri_member(system: str) -> bytes:
    """`system` with a comma after it, nothing when it is empty."""
    system = word(system)
    return b'"system":%b,' % text(system) if system else b""


def word(value: str) -> str:
    """Without spaces and control characters, as a URI must be."""
    return "".join(value.split()) if value.isprintable() else "".join(value.translate(_CONTROL).split())
