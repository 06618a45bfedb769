"""FHIR read interaction, and the loading of a current version that the others share.

https://hl7.org/fhir/R4/http.html#read
"""

from fhir_dmp.errors import FhirError
from fhir_dmp.interactions import enforcement, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import check_id
from fhir_dmp.store.reading import Opening, small
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import version_id


async def run(context: Context, type_name: str, id: str) -> Answer:
    """The current version of a resource; 404 when there is none, 410 when it was deleted."""
    admit(context, type_name, "r")
    row, met = await seen(context, type_name, id)
    if row is None:
        raise absent()
    if row.deleted:
        raise deleted(row)
    (body,) = await shown.bodies(context, met, [row])
    return answer(shown.timed(met, row), id, body)


async def current(context: Context, type_name: str, id: str, *, opening: Opening | bool = True) -> Row | None:
    """The row of `type_name`/`id`, deletions included; None when there is none, or one of another type.

    opening: whether its body is opened; a large one that is hidden must not be: time would tell.
    """
    key = context.store.vault.locate(type_name, check_id(id))
    row = (await context.reads.load_many((key,), bodies=opening)).get(key)
    return row if row is not None and row.type == type_name and not row.erased else None


async def seen(context: Context, type_name: str, id: str) -> tuple[Row | None, enforcement.Known | None]:
    """The same as the asker sees it, see enforcement.readable; a large body is opened once it is known that he does."""
    row, met = await enforcement.readable(context, type_name, id, await current(context, type_name, id, opening=small))
    if row is None or row.body is not None or not row.large:
        return row, met
    # Judged again: it may have been hidden meanwhile.
    return await enforcement.readable(context, type_name, id, await current(context, type_name, id))


def steady(context: Context, type_name: str) -> bool:
    """Whether a version is always shown alike, for a 304: labels change without one, and with them what is shown of all that may lead to
    something hidden.
    """
    return context.enforcer is None or type_name in enforcement.PUBLIC


def absent() -> FhirError:
    """One wording for absent, hidden and refused: nothing tells them apart."""
    return FhirError("not-found", "no such resource")


def deleted(row: Row) -> FhirError:
    """Deleted, with the version of the deletion."""
    return FhirError("deleted", "the resource was deleted", headers={"ETag": f'W/"{version_id(row.version)}"'})


def answer(row: Row, id: str, body: bytes | None = None) -> Answer:
    """A stored version as an answer. body: as the asker sees it."""
    version = version_id(row.version)
    return Answer(200, row.body if body is None else body, version, row.updated_ms, f"{row.type}/{id}/_history/{version}", row.content)
