"""How an example that breaks one rule is made from a good one.

https://hl7.org/fhir/R4/profiling.html
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from scripts.profile_sources.examples.parts import Resource

Change = Callable[[Resource], None]


class Bad(NamedTuple):
    """name: of the file. of: good example it is made from. rule, element, expression: what the validator must say, and nothing else."""

    name: str
    of: str
    profile: str
    change: Change
    rule: str
    element: str
    expression: str
    en: str
    fr: str
    severity: str = "error"


def at(path: str) -> tuple[Callable[[Resource], Any], str | int]:
    """Function to the owner of what a path names, e.g. "content.0.attachment.hash", and the last step."""
    steps = [int(part) if part.isdigit() else part for part in path.split(".")]

    def owner(value: Resource) -> Any:
        for step in steps[:-1]:
            value = value[step]
        return value

    return owner, steps[-1]


def drop(*paths: str) -> Change:
    def change(value: Resource) -> None:
        for path in paths:
            owner, last = at(path)
            del owner(value)[last]

    return change


def put(path: str, said: Any) -> Change:
    def change(value: Resource) -> None:
        owner, last = at(path)
        owner(value)[last] = said

    return change


def add(path: str, said: Any) -> Change:
    def change(value: Resource) -> None:
        owner, last = at(path)
        owner(value)[last].append(said)

    return change


def every(*changes: Change) -> Change:
    def change(value: Resource) -> None:
        for one in changes:
            one(value)

    return change
