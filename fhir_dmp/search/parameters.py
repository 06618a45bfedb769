"""Search parameters of each resource type, compiled: those of R4, those of PDSm and MHD, and SearchParameter resources of `profiles/`.

https://hl7.org/fhir/R4/searchparameter-registry.html
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from fhir_dmp.fhir import tables
from fhir_dmp.search.convert import converter
from fhir_dmp.search.expressions import Branch, branches
from fhir_dmp.search.own import OWN

PROFILES = Path(__file__).parents[2] / "profiles"

# Without an expression: decided over the opened body, see words.py.
TEXTS = frozenset({"_text", "_content"})

# Dates whose day, month and year are hashed instead of kept as intervals.
_PERSONAL_DATES = frozenset({"birthdate", "death-date", "deathdate"})
# A trace names everything that was disclosed at once; it is looked for within a dossier, by its agent or by time.
_CROWDED = frozenset({("AuditEvent", "entity")})
_NAMED = frozenset({"Patient", "Practitioner", "Person", "RelatedPerson", "Organization"})


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite. code, type, targets: of the search parameter it is read as. expression: from the composite's base."""

    code: str
    type: str
    expression: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter on one resource type.

    type: number, date, string, token, reference, composite, quantity, uri, special. targets: types a reference may name.
    selective: its tokens go to the index across dossiers. calendar: a birth or death date, hashed.
    coded: its tokens go to the code index across dossiers.
    rooted: a composite whose parts all belong to the resource itself, and so equals the conjunction of its parts.
    either_way: a composite of two parts whose definition leaves open which comes first: both orders are understood.
    """

    code: str
    type: str
    url: str
    branches: tuple[Branch, ...]
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    selective: bool = False
    calendar: bool = False
    coded: bool = False
    rooted: bool = False
    either_way: bool = False


@cache
def rows() -> tuple[tables.SearchParameter, ...]:
    """Every definition, in the form of the official table; later ones replace earlier ones of the same base and code."""
    return (*tables.search_parameters(), *OWN, *published(PROFILES))


def published(folder: Path) -> tuple[tables.SearchParameter, ...]:
    """SearchParameter resources of a folder, files SearchParameter-*.json."""
    return tuple(row_of(json.loads(file.read_bytes())) for file in sorted(folder.glob("SearchParameter-*.json")))


def row_of(resource: dict) -> tables.SearchParameter:
    """A SearchParameter resource in the form of the official table."""
    parts = tuple((part["definition"], part["expression"]) for part in resource.get("component", ()))
    return tables.SearchParameter(
        resource["url"],
        resource["code"],
        resource["type"],
        tuple(resource["base"]),
        resource.get("expression", ""),
        tuple(resource.get("target", ())),
        parts,
        resource.get("xpathUsage", "normal"),
    )


@cache
def parameters(type_name: str) -> Mapping[str, Parameter]:
    """Search parameters by code of a resource type, common ones included.

    >>> parameters("Patient")["birthdate"].calendar, parameters("Patient")["identifier"].selective
    (True, True)
    """
    kinds = {type_name, "Resource"} | ({"DomainResource"} if "text" in tables.elements(type_name) else set())
    found = {}
    for row in rows():
        if row.expression and kinds.intersection(row.base):
            found[row.code] = _compiled(type_name, row)
    return MappingProxyType(dict(sorted(found.items())))


@cache
def common() -> Mapping[str, Parameter]:
    """Parameters of every type: what a search over all types may ask."""
    return MappingProxyType({code: p for code, p in parameters("Basic").items() if code.startswith("_")})


# Raised when values are found or spelled in another way than before, or rows keep more facts: stored rows are then indexed again.
SPELLING = 4


@cache
def definitions_digest() -> str:
    """What the index of a stored row depends on besides the resource: 32 hex characters."""
    return hashlib.blake2b(f"{SPELLING} {rows()!r}".encode(), digest_size=16).hexdigest()


@cache
def _by_url() -> dict[str, tables.SearchParameter]:
    return {row.url: row for row in rows()}


def _compiled(type_name: str, row: tables.SearchParameter) -> Parameter:
    found = branches(row.expression, type_name)
    leaves = {branch.type for branch in found}
    parts = tuple((_by_url()[url], expression) for url, expression in row.components)
    crossed = bool(parts) and not all(_fits(part, expression, branch) for part, expression in parts for branch in found)
    if crossed:
        # DocumentReference.relationship names its two parts the wrong way round.
        parts = tuple((part, expression) for (part, _), (_, expression) in zip(reversed(parts), parts, strict=True))
    # Where a composite stands on the resource itself, its parts are what their own parameters find: it equals their conjunction.
    rooted = bool(parts) and all(not branch.steps for branch in found)
    return Parameter(
        row.code,
        row.type,
        row.url,
        found,
        _targets(row, found),
        tuple(Component(part.code, part.type, part.expression if rooted else expression, _targets(part, ())) for part, expression in parts),
        selective=_is_selective(type_name, row, leaves),
        calendar=row.type == "date" and row.code in _PERSONAL_DATES,
        coded=row.type == "token" and row.code in ("code", "type"),
        rooted=rooted,
        either_way=crossed,
    )


def _fits(part: tables.SearchParameter, expression: str, base: Branch) -> bool:
    """Whether what the expression finds is of the data types that the parameter's type searches."""
    return any(converter(part.type, branch) for branch in branches(expression, base.place))


def _targets(row: tables.SearchParameter, found: tuple[Branch, ...]) -> tuple[str, ...]:
    """Types the parameter may refer to: those it declares, as far as the elements it reads allow them."""
    if row.type != "reference":
        return ()
    declared = set(tables.RESOURCE_TYPES if not row.target or "Resource" in row.target else row.target)
    if found and all(branch.targets and "Resource" not in branch.targets for branch in found):
        declared &= {target for branch in found for target in branch.targets}
    return tuple(sorted(declared))


def _is_selective(type_name: str, row: tables.SearchParameter, leaves: Iterable[str]) -> bool:
    match row.type:
        case "token":
            return set(leaves) == {"Identifier"}
        case "reference":
            return (type_name, row.code) not in _CROWDED
        case "uri":
            return row.code not in ("_profile", "_source", "policy")
        case "string":
            return type_name in _NAMED and row.code in ("name", "family", "given")
    return False
