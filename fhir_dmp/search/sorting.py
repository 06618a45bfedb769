"""The order of a search: sort keys of an index, missing values last, ties by time and key.

https://hl7.org/fhir/R4/search.html#sort
"""

from collections.abc import Callable
from functools import cmp_to_key

from fhir_dmp.search.query import SortKey
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
    """Order of two places: (value of each key..., updated_ms, row key). Missing values last in either direction."""
    for key, left, right in zip(keys, a, b, strict=False):
        if left == right:
            continue
        if left is None or right is None:
            return 1 if left is None else -1
        return (1 if left > right else -1) * (-1 if key.descending else 1)
    # Ties: newest first, then by row key, as the store orders them.
    return (a[len(keys) :] < b[len(keys) :]) - (a[len(keys) :] > b[len(keys) :])


def by_place(keys: tuple[SortKey, ...]) -> Callable[[tuple], object]:
    """Key function for sorted() over places."""
    return cmp_to_key(lambda a, b: compare(a, b, keys))
