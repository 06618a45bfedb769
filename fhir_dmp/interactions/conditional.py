"""Conditional create, update, patch and delete: the criteria of a search instead of an id.

https://hl7.org/fhir/R4/http.html#ccreate, #cond-update, #cdelete
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.http_types import Tags
from fhir_dmp.interactions import create, delete, keeping, patch, read, ruled, search_match, update
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import check, check_body_id
from fhir_dmp.store.vault import dossier_in

Pairs = Sequence[tuple[str, str]]


class Matched(NamedTuple):
    """A resource that meets criteria."""

    id: str
    version: str


def claim(context: Context, type_name: str, criteria: Pairs) -> bytes:
    """What two requests with the same criteria must not do at once: 8 bytes, nothing readable."""
    said = "\0".join([type_name, *(f"{name}={value}" for name, value in sorted(looked_for(criteria)))])
    return context.store.vault.hash64(b"claim\0" + said.encode()).to_bytes(8, "big", signed=True)


def looked_for(criteria: Pairs) -> Pairs:
    """Without what only says how the answer shall look; addresses carry both."""
    return [pair for pair in criteria if pair[0] not in ("_format", "_pretty")]


async def matching(context: Context, type_name: str, criteria: Pairs, *, most: int = 2, feeding: bool = False) -> list[Matched]:
    """At most `most` resources of a type that meet the criteria. No criteria, or one that is not understood, is an error, never «all».

    feeding: as in search_match.
    """
    criteria = looked_for(criteria)
    if not criteria:
        raise FhirError("precondition", "a conditional interaction needs at least one search parameter")
    return [Matched(id, version) for id, version in await search_match.run(context, type_name, criteria, most, feeding=feeding)]


async def one(context: Context, type_name: str, criteria: Pairs, *, feeding: bool = False) -> Matched | None:
    """The one resource that meets the criteria, or None; 412 when there are several. feeding: as in search_match."""
    found = await matching(context, type_name, criteria, feeding=feeding)
    if len(found) > 1:
        raise FhirError("multiple-matches", f"several resources of type {type_name} meet the criteria; the interaction needs one at most")
    return found[0] if found else None


async def alone(context: Context, type_name: str, criteria: Pairs, work: Callable[[Context], Awaitable[Answer]]) -> Answer:
    """Run `work` in a transaction in which nobody else decides about the same criteria."""

    async def attempt(transaction) -> Answer:
        return await work(context.inside(transaction))

    answer = await context.store.transact(attempt, claims=[claim(context, type_name, criteria)])
    await keeping.keep(context)
    return answer


async def conditional_create(context: Context, type_name: str, criteria: Pairs, body: bytes) -> Answer:
    """If-None-Exist: 200 with the one that exists, 201 with a new one, 412 when several exist."""
    admit(context, type_name, "c")
    admit(context, type_name, "s")
    checked = check(context, body, type_name)

    async def work(inside: Context) -> Answer:
        found = await one(inside, type_name, criteria, feeding=True)
        if found is not None:
            keeping.is_so(inside, dossier_in(inside.store.vault.locate(type_name, found.id)))
            return await read.run(inside, type_name, found.id)
        return await create.store(inside, checked)

    return await alone(context, type_name, criteria, work)


async def conditional_update(
    context: Context, type_name: str, criteria: Pairs, body: bytes, *, if_match: Tags | None = None, if_none_match: Tags | None = None
) -> Answer:
    """PUT [type]?criteria: none -> created (with the id of the body, in a sandbox), one -> replaced, several -> 412."""
    admit(context, type_name, "u")
    admit(context, type_name, "s")
    if context.enforcer is not None:
        return await _ruled_update(context, type_name, criteria, body, if_match, if_none_match)
    checked = check(context, body, type_name)
    body_id = checked.value.get("id")

    async def work(inside: Context) -> Answer:
        found = await one(inside, type_name, criteria)
        if found is not None:
            if body_id is not None:
                check_body_id(checked, found.id)
            return await update.store(inside, checked, found.id, if_match=if_match, if_none_match=if_none_match)
        admit(inside, type_name, "c")
        update.precondition(None, if_match)
        if body_id is None:
            return await create.store(inside, checked)
        if not inside.sandbox:
            raise FhirError("business-rule", "ids are given by the server: leave the id out", f"{type_name}.id")
        existing = await read.current(inside, type_name, body_id)
        if existing is not None and not existing.deleted:
            raise FhirError("conflict", f"no resource meets the criteria, but `{body_id}` exists")
        return await update.store(inside, checked, body_id)

    return await alone(context, type_name, criteria, work)


async def _ruled_update(
    context: Context, type_name: str, criteria: Pairs, body: bytes, if_match: Tags | None, if_none_match: Tags | None
) -> Answer:
    """The same of somebody who obeys the rules: what he does not see does not meet the criteria."""
    found = await one(context, type_name, criteria, feeding=True)
    if found is not None:
        return await ruled.change(context, type_name, found.id, body, if_match, if_none_match, found=True)
    admit(context, type_name, "c")
    update.precondition(None, if_match)
    checked = check(context, body, type_name)
    if "id" in checked.value:
        raise FhirError("business-rule", "ids are given by the server: leave the id out", f"{type_name}.id")
    return await ruled.create_checked(context, checked)


async def conditional_patch(
    context: Context, type_name: str, criteria: Pairs, form: str, body: bytes, *, if_match: Tags | None = None
) -> Answer:
    """PATCH [type]?criteria: one -> patched, none -> 404, several -> 412."""
    admit(context, type_name, "u")
    admit(context, type_name, "s")
    if context.enforcer is not None:
        found = await one(context, type_name, criteria)
        if found is None:
            raise read.absent()
        return await ruled.patched(context, type_name, found.id, form, body, if_match)

    async def work(inside: Context) -> Answer:
        found = await one(inside, type_name, criteria)
        if found is None:
            raise read.absent()
        return await patch.run(inside, type_name, found.id, form, body, if_match=if_match)

    return await alone(context, type_name, criteria, work)


async def conditional_delete(context: Context, type_name: str, criteria: Pairs, *, if_match: Tags | None = None) -> Answer:
    """DELETE [type]?criteria: none -> 204, one -> deleted, several -> 412."""
    admit(context, type_name, "d")
    admit(context, type_name, "s")
    if context.enforcer is not None:
        await ruled.removed(context, type_name)

    async def work(inside: Context) -> Answer:
        found = await one(inside, type_name, criteria)
        if found is None:
            return Answer(204)
        remove = delete.run if context.enforcer is None else ruled.removed_in
        return await remove(inside, type_name, found.id, if_match=if_match)

    return await alone(context, type_name, criteria, work)
