"""Contained resources to which nothing leads any more once references were taken out: they go, and come back, with what led to them.

https://hl7.org/fhir/R4/domainresource.html#invs dom-3; access-rules 6: the author of a hidden document stands in no visible one.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def left(before: Mapping[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """A resource without those contained ones that references led to before and none leads to now.

    before: as it is stored. after: what pruning left of it. One that nothing ever led to stays.
    """
    if not (contained := after.get("contained")):
        return after
    gone = _led(before) - _led(after)
    kept = [one for one in contained if one.get("id") not in gone]
    if len(kept) == len(contained):
        return after
    return {**after, "contained": kept} if kept else {name: part for name, part in after.items() if name != "contained"}


def back(stored: Mapping[str, Any], shown: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """A resource that somebody wrote of what he was shown, with the contained ones that he was not shown and that it leads to again.

    Where he gave their id to one of his own, that one stays.
    """
    unseen = _ids(stored) - _ids(shown)
    if not unseen:
        return made
    led, own = _led(made, stored.get("contained") or ()), {one.get("id"): one for one in made.get("contained") or ()}
    found = [own.pop(one["id"], one) for one in stored["contained"] if one["id"] in own or (one["id"] in unseen and one["id"] in led)]
    return {**made, "contained": [*found, *own.values()]} if found or own else made


def _led(value: Mapping[str, Any], more: Any = ()) -> frozenset[str]:
    """Ids of the contained resources that something outside of them leads to, over others too. more: contained ones beside its own."""
    known = {one["id"]: one for one in (*more, *(value.get("contained") or ())) if isinstance(one.get("id"), str)}
    waiting = [part for name, part in value.items() if name != "contained"]
    found: set[str] = set()
    while waiting:
        for id in _named(waiting.pop()):
            if id in known and id not in found:
                found.add(id)
                waiting.append(known[id])
    return frozenset(found)


def _named(value: Any) -> Iterator[str]:
    """Ids that texts of a value name, as "#id": references, and whatever else R4 lets lead to a contained resource."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _named(part)
    elif isinstance(value, list):
        for part in value:
            yield from _named(part)
    elif isinstance(value, str) and value.startswith("#"):
        yield value[1:]


def _ids(value: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one["id"] for one in value.get("contained") or () if isinstance(one.get("id"), str))
