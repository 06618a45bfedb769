"""SMART App Launch scopes. They only narrow: without the claim nothing is narrowed, with it what it does not name is refused.

https://hl7.org/fhir/smart-app-launch/STU2/scopes-and-launch-context.html
"""

import re
from typing import NamedTuple

LETTERS = "cruds"
# Letters out of order are not a scope: `.dus` must never be read as d + u + s.
FORM = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,63})\.(c?r?u?d?s?|read|write|\*)", re.ASCII)
VERSION_1 = {"read": "rs", "write": "cud", "*": "cruds"}


class Scope(NamedTuple):
    """context: patient, user or system. type: a resource type or *. letters: those of `cruds` it grants."""

    context: str
    type: str
    letters: str


def parse(claim: str) -> tuple[Scope, ...]:
    """The resource scopes of a `scope` claim; others (openid, launch) say nothing about resources.

    A scope with a query (`Observation.rs?category=...`) grants nothing: serving it whole would widen it.

    >>> parse("openid system/*.cruds user/Patient.read")
    (Scope(context='system', type='*', letters='cruds'), Scope(context='user', type='Patient', letters='rs'))
    >>> parse("system/*.dus user/Observation.rs?category=laboratory system/*.")
    ()
    """
    found = (FORM.fullmatch(word) for word in claim.split(" "))
    return tuple(Scope(m[1], m[2], VERSION_1.get(m[3], m[3])) for m in found if m and m[3])


def allows(scopes: tuple[Scope, ...], contexts: tuple[str, ...], type_name: str, letter: str) -> bool:
    """Whether one of the scopes, in one of the contexts, grants the letter on the type. type_name "*": on every type at once."""
    return any(letter in s.letters and s.type in ("*", type_name) and s.context in contexts for s in scopes)
