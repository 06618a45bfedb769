"""FHIR vread interaction.

https://hl7.org/fhir/R4/http.html#vread
"""

from fhir_dmp.interactions import enforcement, read, shown, versions
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import check_id
from fhir_dmp.store.vault import version_of


async def run(context: Context, type_name: str, id: str, version: str) -> Answer:
    """One version of a resource, current or superseded; 410 when that version is a deletion."""
    admit(context, type_name, "r")
    key = context.store.vault.locate(type_name, check_id(id))
    wanted = version_of(version)
    now, met = await read.seen(context, type_name, id)
    if context.enforcer is not None and now is None:
        raise read.absent()
    row = None if wanted is None else await context.reads.load_version(key, wanted)
    if row is None or row.type != type_name or row.erased:
        raise read.absent()
    if row.deleted:
        raise read.deleted(row)
    if now is not None and met is not None and (row := versions.seen(context, met, row, now)) is None:
        raise read.absent()
    enforcement.instead(context, now, row, id)
    (body,) = await shown.bodies(context, met, [row])
    return read.answer(shown.timed(met, row), id, body)
