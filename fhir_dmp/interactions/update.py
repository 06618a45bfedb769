"""FHIR update interaction, update-as-create in a sandbox.

https://hl7.org/fhir/R4/http.html#update
"""

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.http_types import Tags
from fhir_dmp.interactions import octets, read, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.facts import carried_on
from fhir_dmp.interactions.prepare import Checked, check, check_body_id, stamp, written
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.rows import Content, Row
from fhir_dmp.store.vault import version_id

# Writers without If-Match take turns; more turns than this mean a resource under siege.
TURNS = 50


async def run(
    context: Context, type_name: str, id: str, body: bytes, *, if_match: Tags | None = None, if_none_match: Tags | None = None
) -> Answer:
    """Replace the current version. A sandbox also takes a new id; elsewhere only the server gives ids."""
    admit(context, type_name, "u")
    checked = check(context, body, type_name)
    check_body_id(checked, id)
    content = None
    if type_name == "Binary":
        checked, content = await octets.set_apart(context, checked, id)
    return await store(context, checked, id, if_match=if_match, if_none_match=if_none_match, content=content)


async def store(
    context: Context,
    checked: Checked,
    id: str,
    *,
    if_match: Tags | None = None,
    if_none_match: Tags | None = None,
    content: Content | None = None,
) -> Answer:
    """Replace the current version by a resource that is already checked."""
    for turn in range(TURNS):
        row = await read.current(context, checked.type, id)
        precondition(row, if_match, if_none_match)
        new = row is None or row.deleted
        if new and not context.sandbox:
            raise read.absent()
        if new:
            admit(context, checked.type, "c")
        origin = await carried_on(context, checked.value) if row is None else None
        stamped = stamp(context, checked, method="PUT", id=id, current=row, content=content, origin=origin)
        try:
            await writing.write(context, [(stamped.change, id)])
        except Conflict:
            if if_match or if_none_match or turn == TURNS - 1:
                raise changed_meanwhile() from None
            if row is None:
                await _check_free(context, checked.type, id)
            continue
        return written(stamped, 201 if new else 200)
    raise changed_meanwhile()


async def _check_free(context: Context, type_name: str, id: str) -> None:
    """An id of the server's own form means one resource, whatever its type: 409 when a client takes it for another."""
    other = await context.reads.load(context.store.vault.locate(type_name, id))
    if other is not None and other.type != type_name:
        raise FhirError("conflict", "this id, given by the server to another resource, cannot be used again")


def precondition(row: Row | None, if_match: Tags | None, if_none_match: Tags | None = None) -> None:
    """412 when If-Match names none of the current version, or If-None-Match names it. https://hl7.org/fhir/R4/http.html#concurrency"""
    current = version_id(row.version) if row is not None and not row.deleted else None
    if if_match is not None and not if_match.match(current):
        raise changed_meanwhile()
    if if_none_match is not None and if_none_match.match(current):
        raise FhirError("precondition", "the resource exists already")


def changed_meanwhile() -> FhirError:
    """The version the client had in mind is not the current one."""
    return FhirError("precondition", "the current version is not the one named by If-Match; read it again and repeat")
