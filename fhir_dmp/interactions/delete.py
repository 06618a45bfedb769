"""FHIR delete interaction.

https://hl7.org/fhir/R4/http.html#delete
"""

from fhir_dmp.fhir import json
from fhir_dmp.fhir.http_types import Tags
from fhir_dmp.interactions import read, update, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.rows import Change, NewRow, Row
from fhir_dmp.store.vault import version_id


async def run(context: Context, type_name: str, id: str, *, if_match: Tags | None = None) -> Answer:
    """Delete; older versions stay in the history. Deleting again changes nothing."""
    admit(context, type_name, "d")
    for turn in range(update.TURNS):
        row = await read.current(context, type_name, id)
        update.precondition(row, if_match)
        if row is None:
            return never_was(context)
        if row.deleted:
            return Answer(204, version=version_id(row.version))
        deletion = deletion_of(context, row, id)
        try:
            await writing.write(context, [(deletion, id)])
        except Conflict:
            if if_match or turn == update.TURNS - 1:
                raise update.changed_meanwhile() from None
            continue
        return Answer(204, version=version_id(deletion.row.version))
    raise update.changed_meanwhile()


def never_was(context: Context) -> Answer:
    """Deleting what never was is done already, says R4; where rules apply it answers like any other resource that is not there."""
    if not context.sandbox:
        raise read.absent()
    return Answer(204)


def deletion_of(context: Context, row: Row, id: str) -> Change:
    """The version that says the resource is gone; it keeps the id, for histories."""
    deletion = NewRow(
        key=row.key,
        dossier=row.dossier,
        type=row.type,
        version=context.store.vault.new_version(context.random),
        updated_ms=max(context.now_ms(), row.updated_ms + 1),
        self64=0,
        x=(),
        g=(),
        c=(),
        n=(),
        body=json.dump({"resourceType": row.type, "id": id}),
        method="DELETE",
        deleted=True,
        visible=row.visible,
    )
    return Change(deletion, row.version, former=row.visible)
