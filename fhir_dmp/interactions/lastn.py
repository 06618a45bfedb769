"""FHIR operation Observation/$lastn: the newest observations of each code.

https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from collections.abc import Iterable
from dataclasses import replace

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Hit, Url, searchset
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import sets, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_includes import included
from fhir_dmp.interactions.search_rows import Opened, limits_of, matching
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import alternatives_of, entry_of, shaped, understood
from fhir_dmp.search.values import DateRange, Index

PARAMETERS = (Parameter("max", "positiveInt"),)
SUBJECTS = ("patient", "subject")
# One Bundle holds the answer, so what shapes pages has no place here.
SHAPES = ("_sort", "_count", "_total", "_cursor")
CODES = ("category", "code", "combo-code", "component-code")


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """The last `max` observations (1) of each code, newest first; those of the same moment as the last of them too."""
    admit(context, "Observation", "s")
    pairs = [(name, text) for name, text in given.pairs if name != "max"]
    _check([name for name, _ in pairs])
    query = understood(context, "Observation", pairs, context.lenient)
    alternatives = await alternatives_of(context, query, None, sight)
    found = await matching(context, alternatives, sight, limit=limits_of(context).candidates, reads=["date"])
    timed = [replace(each, row=shown.timed(sight.met, each.row)) for each in found]
    rows = [each.row for each in newest(timed, given.number("max", 1))]
    if len(rows) > context.settings.max_count:
        raise FhirError("too-costly", f"more than {context.settings.max_count} observations: ask for fewer codes, or a smaller `max`")
    others = await included(context, query, rows, sight) if rows and (query.includes or query.revincludes) else []
    rows, others = await shown.rows(context, sight, rows), await shown.rows(context, sight, others)
    entries = [*(entry_of(row, "match") for row in rows), *(entry_of(row, "include") for row in others)]
    hits = [Hit(f"{context.base_url}/{entry.type}/{entry.id}", shaped(entry, query), entry.mode) for entry in entries]
    told = [*query.understood, *((name, text) for name, text in given.pairs if name == "max")]
    return Answer(200, searchset(hits, total=len(rows), links=[("self", sets.address(context, url, told))]))


def _check(names: list[str]) -> None:
    if misplaced := [name for name in names if name in SHAPES]:
        raise FhirError("invalid", f"`{misplaced[0]}` has no meaning for `$lastn`, which answers in one Bundle, newest first")
    # What says who or what it is not, or that nobody knows, does not say who or what it is.
    telling = [name for name in names if name.partition(":")[2] not in ("missing", "not", "not-in")]
    plain = [name.partition(":")[0].partition(".")[0] for name in telling]
    if not any(name in SUBJECTS for name in plain):
        raise FhirError("invalid", "`$lastn` needs to know of whom: `patient` or `subject`")
    if not any(name in CODES or name.startswith(("code-value", "combo-code", "component-code")) for name in plain):
        raise FhirError("invalid", "`$lastn` needs to know what to look for: `category` or `code`")


def newest(found: Iterable[Opened], most: int) -> list[Opened]:
    """The newest of each group, newest first; those without a date last."""
    kept: list[Opened] = []
    for group in grouped(list(found)):
        group.sort(key=_order, reverse=True)
        last = moment(group[min(most, len(group)) - 1].index)
        kept += [each for place, each in enumerate(group) if place < most or (last is not None and moment(each.index) == last)]
    return sorted(kept, key=_order, reverse=True)


def _order(each: Opened) -> tuple:
    at = moment(each.index)
    return at is not None, at or 0, each.row.updated_ms, each.row.key


def moment(index: Index) -> int | None:
    """When it was observed, in ms; a period counts from its start."""
    return max((value.lo_ms for value in index.get("date", ()) if isinstance(value, DateRange)), default=None)


def grouped(found: list[Opened]) -> list[list[Opened]]:
    """Observations of one code together: codings that occur together are the same code, a code of text alone is its text."""
    root: dict[tuple, tuple] = {}

    def top(key: tuple) -> tuple:
        while root.setdefault(key, key) != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    keys = [_keys(each) for each in found]
    for said in keys:
        for other in said[1:]:
            root[top(other)] = top(said[0])
    groups: dict[tuple, list[Opened]] = {}
    for each, said in zip(found, keys, strict=True):
        groups.setdefault(top(said[0]), []).append(each)
    return list(groups.values())


def _keys(each: Opened) -> list[tuple]:
    code = json.parse(each.row.body).get("code") or {}
    codings = [("coding", coding.get("system", ""), coding["code"]) for coding in code.get("coding", ()) if coding.get("code")]
    return codings or [("text", code.get("text", ""))]
