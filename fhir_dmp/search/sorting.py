"""The order of a search: sort keys of an index, missing values last; what they do not tell apart goes by id.

https://hl7.org/fhir/R4/search.html#sort
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.predicate import Hash64
from fhir_dmp.search.query import SortKey
from fhir_dmp.search.spelling import key as token_key
from fhir_dmp.search.values import DateRange, Index, Number, Quantity, Reference, String, Token, Uri, Value

# Newest first, as when nothing is said.
DEFAULT = (SortKey("_lastUpdated", True),)


def sort_values(index: Index, keys: tuple[SortKey, ...]) -> tuple:
    """One value for each key, None where the resource has none: the least of several ascending, the greatest descending.

    >>> sort_values({"family": (String("Zola", "zola"), String("Aba", "aba"))}, (SortKey("family", False), SortKey("birthdate", True)))
    ('aba', None)
    """
    found = []
    for key in keys:
        values = [v for value in index.get(key.code, ()) if (v := order_value(value)) is not None]
        found.append((max if key.descending else min)(values) if values else None)
    return tuple(found)


def order_value(value: Value) -> object:
    """What a value is ordered by; None for what has no order."""
    match value:
        case String(_, folded):
            return folded
        case DateRange(lo_ms, _):
            return lo_ms
        case Number(lo, _):
            return lo
        case Quantity(lo, _, _, _, _, canonical):
            return canonical[0] if canonical else lo
        case Token(system, code, text):
            return code or text or system
        case Reference(type_name, id_, _, url):
            return f"{type_name}/{id_}" if id_ else url
        case Uri(text):
            return text
    return None


def compare(a: tuple, b: tuple, keys: tuple[SortKey, ...]) -> int:
    """Order of the values of the sort keys. Missing values last in either direction; 0 for what is to go by id.

    >>> compare((1, None), (1, 5), (SortKey("a", False), SortKey("b", True)))
    1
    """
    for key, left, right in zip(keys, a, b, strict=True):
        if left == right:
            continue
        if left is None or right is None:
            return 1 if left is None else -1
        return (1 if left > right else -1) * (-1 if key.descending else 1)
    return 0


def in_order(places: Iterable[tuple[tuple, Any]], keys: tuple[SortKey, ...]) -> list[tuple[tuple, Any]]:
    """(values of the sort keys, match) in the order of `compare`; those that it does not tell apart stay as they come.

    >>> in_order([((1,), "a"), ((None,), "b"), ((2,), "c"), ((1,), "d")], (SortKey("date", True),))
    [((2,), 'c'), ((1,), 'a'), ((1,), 'd'), ((None,), 'b')]
    """
    found = list(places)
    for at in reversed(range(len(keys))):
        there = [place for place in found if place[0][at] is not None]
        missing = [place for place in found if place[0][at] is None]
        # reverse keeps the order of what is equal
        found = [*sorted(there, key=lambda place, at=at: place[0][at], reverse=keys[at].descending), *missing]
    return found


# ---- the same, read from what a row shows

Shown = Mapping[str, tuple[int | None, ...]]


def shown_by(types: Iterable[str | None], keys: Sequence[SortKey], hash64: Hash64) -> Shown | None:
    """Where the rows of each type show the values of the keys: hash of their intervals, None for the time of the row.

    None as a whole when a key is of what rows do not show: text, codes, quantities, dates of birth and death.
    """
    found: dict[str, tuple[int | None, ...]] = {}
    for type_name in types:
        if type_name is None:
            return None
        places: list[int | None] = []
        for key in keys:
            parameter = parameters(type_name)[key.code]
            if key.code == "_lastUpdated":
                places.append(None)
            elif parameter.type in ("date", "number") and not parameter.calendar:
                places.append(hash64(token_key(type_name, key.code, "n", "")))
            else:
                return None
        found[type_name] = tuple(places)
    return found


def shown_values(
    intervals: Sequence[tuple[int, int | Decimal, int | Decimal]],
    updated_ms: int,
    places: tuple[int | None, ...],
    keys: Sequence[SortKey],
) -> tuple:
    """sort_values of a resource, from the intervals of its row. places: of its type, see shown_by.

    >>> shown_values([(7, 10, 20), (7, 30, 40), (8, 1, 2)], 0, (7,), (SortKey("date", True),))
    (30,)
    """
    found = []
    for key, place in zip(keys, places, strict=True):
        if place is None:
            found.append(updated_ms)
            continue
        values = [lo for what, lo, _ in intervals if what == place]
        found.append(values[0] if len(values) == 1 else (max if key.descending else min)(values) if values else None)
    return tuple(found)
