"""Functions of FHIRPath that invariants of profiles call. Collections are lists; what is no single value gives none.

http://hl7.org/fhirpath/N1/#functions
"""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from fhir_dmp.fhir import tables

_SYSTEM_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "string": (str,),
    "code": (str,),
    "uri": (str,),
    "Boolean": (bool,),
    "boolean": (bool,),
    "Integer": (int,),
    "integer": (int,),
    "Decimal": (Decimal, float),
    "decimal": (Decimal, float),
}


def truth(items: list) -> bool | None:
    """A collection where a boolean is wanted: None when it is empty, or is no single value."""
    if len(items) != 1:
        return None
    return items[0] if type(items[0]) is bool else True


def equal(a: object, b: object, loose: bool = False) -> bool:
    """Whether two items are equal; loose: texts whatever their case and spaces.

    >>> equal(1, True), equal({"a": [1]}, {"a": [1]}), equal("A b", "a  B", loose=True)
    (False, True, True)
    """
    if (type(a) is bool) != (type(b) is bool):
        return False
    if loose and isinstance(a, str) and isinstance(b, str):
        return a.lower().split() == b.lower().split()
    return a == b


def typed(item: object, name: str) -> bool:
    """Whether an item is of a type, as far as JSON tells: resources by resourceType, primitives by their JSON kind."""
    if type(item) is dict:
        kind = item.get("resourceType")
        if kind is None:
            return name in ("Element", "BackboneElement") or tables.is_data_type(name)
        return kind == name or name == "Resource" or (name == "DomainResource" and kind not in ("Bundle", "Binary", "Parameters"))
    return type(item) in _SYSTEM_TYPES.get(name, ())


def _key(item: object) -> object:
    """What equal items have in common, to be looked up: thousands of values are compared without comparing each with each."""
    if type(item) is bool:
        return "bool", item
    if isinstance(item, dict):
        return "dict", frozenset((name, _key(inner)) for name, inner in item.items())
    if isinstance(item, list):
        return "list", tuple(map(_key, item))
    return item


def _distinct(items: list) -> list:
    found: dict = {}
    for item in items:
        found.setdefault(_key(item), item)
    return list(found.values())


def _subset(items: list, others: list) -> list:
    known = set(map(_key, others))
    return [all(_key(item) in known for item in items)]


def _intersect(items: list, others: list) -> list:
    known = set(map(_key, others))
    return _distinct([item for item in items if _key(item) in known])


def _not(items: list) -> list:
    said = truth(items)
    return [] if said is None else [not said]


def _on_text(function: Callable[[str], object]) -> Callable[[list], list]:
    return lambda items: [function(items[0])] if len(items) == 1 and type(items[0]) is str else []


def _text(items: list) -> list:
    """http://hl7.org/fhirpath/N1/#tostring-string : one simple value as text, of anything else nothing."""
    if len(items) != 1 or isinstance(items[0], dict | list):
        return []
    return [str(items[0]).lower() if type(items[0]) is bool else str(items[0])]


PLAIN: dict[str, Callable[[list], list]] = {
    "exists": lambda items: [bool(items)],
    "empty": lambda items: [not items],
    "not": _not,
    "count": lambda items: [len(items)],
    "first": lambda items: items[:1],
    "last": lambda items: items[-1:],
    "tail": lambda items: items[1:],
    "distinct": _distinct,
    "isDistinct": lambda items: [len(_distinct(items)) == len(items)],
    "allTrue": lambda items: [all(item is True for item in items)],
    "anyTrue": lambda items: [any(item is True for item in items)],
    "hasValue": lambda items: [len(items) == 1 and type(items[0]) is not dict],
    "toString": _text,
    "length": _on_text(len),
    "lower": _on_text(str.lower),
    "upper": _on_text(str.upper),
    "trim": _on_text(str.strip),
}


def _holds(test: Callable, item: object, resource: dict) -> bool:
    return truth(test([item], resource)) is True


# Name -> function (items, test or projection, resource) -> items.
LAMBDAS: dict[str, Callable[[list, Callable, dict], list]] = {
    "where": lambda items, test, resource: [item for item in items if _holds(test, item, resource)],
    "exists": lambda items, test, resource: [any(_holds(test, item, resource) for item in items)],
    "all": lambda items, test, resource: [all(_holds(test, item, resource) for item in items)],
    "select": lambda items, test, resource: [one for item in items for one in test([item], resource)],
}


@lru_cache(1024)
def _pattern(text: str) -> re.Pattern[str]:
    # `$` of Python also stands before a final line break.
    return re.compile(text[:-1] + r"\Z" if text.endswith("$") and not text.endswith(r"\$") else text)


def _texts(function: Callable[[str, str], object]) -> Callable[[list, list], list]:
    def call(items: list, given: list) -> list:
        if len(items) != 1 or len(given) != 1 or type(items[0]) is not str or type(given[0]) is not str:
            return []
        return [function(items[0], given[0])]

    return call


def _substring(items: list, given: list) -> list:
    if len(items) != 1 or type(items[0]) is not str or len(given) != 1 or type(given[0]) is not int:
        return []
    return [items[0][given[0] :]] if 0 <= given[0] < len(items[0]) else []


def _extension(items: list, given: list) -> list:
    found: list = []
    for item in items:
        listed = item.get("extension") if type(item) is dict else None
        if type(listed) is list:
            found += [one for one in listed if type(one) is dict and [one.get("url")] == given]
    return found


# Name -> function (items, argument) -> items.
ARGUMENTS: dict[str, Callable[[list, list], list]] = {
    "startsWith": _texts(str.startswith),
    "endsWith": _texts(str.endswith),
    "contains": _texts(lambda text, part: part in text),
    "matches": _texts(lambda text, pattern: _pattern(pattern).search(text) is not None),
    "substring": _substring,
    "extension": _extension,
    "union": lambda items, others: _distinct([*items, *others]),
    "combine": lambda items, others: [*items, *others],
    "intersect": _intersect,
    "subsetOf": _subset,
    "skip": lambda items, given: items[given[0] :] if given and type(given[0]) is int and given[0] >= 0 else [],
    "take": lambda items, given: items[: given[0]] if given and type(given[0]) is int and given[0] >= 0 else [],
}
