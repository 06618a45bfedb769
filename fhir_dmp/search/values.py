"""What a search parameter finds in a resource, as frozen values.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from decimal import Context, Decimal, InvalidOperation

from msgspec import Struct

from fhir_dmp.fhir.instants import MAX_MS, MIN_MS

# An open end of a period.
BEGINNING_MS = MIN_MS - 86_400_000 * 366
END_MS = MAX_MS + 86_400_000 * 366

INFINITY = Decimal("Infinity")
# What Decimal128 of the store holds; both evaluators round alike, so they cannot differ beyond it.
DIGITS = Context(prec=34, Emax=6000, Emin=-6000)


class Token(Struct, frozen=True):
    """A code, identifier, boolean, contact: system|code.

    text: display or text in words, for :text. types: (system, code) of Identifier.type, for :of-type.
    systems: other namespaces under which the same code may be asked for (the code system of a `code` element).
    """

    system: str | None
    code: str | None
    text: str | None = None
    types: tuple[tuple[str | None, str], ...] = ()
    systems: tuple[str, ...] = ()


class Reference(Struct, frozen=True):
    """A reference: local ones have type and id, absolute, urn and canonical ones url.

    version: of a versioned local reference or a canonical. identifier: logical reference, for :identifier.
    """

    type: str | None = None
    id: str | None = None
    version: str | None = None
    url: str | None = None
    identifier: Token | None = None


class String(Struct, frozen=True):
    """raw: as written. folded: see spelling.fold."""

    raw: str
    folded: str


class DateRange(Struct, frozen=True):
    """Half-open [lo_ms, hi_ms), UTC; an open period ends at BEGINNING_MS or END_MS."""

    lo_ms: int
    hi_ms: int


class Number(Struct, frozen=True):
    """Closed [lo, hi], at most 34 digits, infinite where a range is open; a plain number has lo == hi."""

    lo: Decimal
    hi: Decimal


class Quantity(Struct, frozen=True):
    """Closed [lo, hi] in the unit as written; canonical: the same in canonical UCUM units, (lo, hi, unit), where UCUM knows the unit."""

    lo: Decimal
    hi: Decimal
    system: str | None = None
    code: str | None = None
    unit: str | None = None
    canonical: tuple[Decimal, Decimal, str] | None = None


class Uri(Struct, frozen=True):
    value: str


class Composite(Struct, frozen=True):
    """parts: for each component the values found beneath one same element."""

    parts: tuple[tuple, ...]


class Position(Struct, frozen=True):
    """Degrees, WGS 84."""

    latitude: Decimal
    longitude: Decimal


Value = Token | Reference | String | DateRange | Number | Quantity | Uri | Composite | Position
Index = dict[str, tuple[Value, ...]]


def decimal_of(value: object) -> Decimal | None:
    """The number as a Decimal of at most 34 digits; None for what is not a finite number or has an absurd exponent.

    >>> decimal_of("1.50"), decimal_of(True), decimal_of("1e999999999")
    (Decimal('1.50'), None, None)
    """
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or not -6000 < number.adjusted() < 6000:
        return None
    return DIGITS.plus(number)
