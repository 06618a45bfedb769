"""A resource that its author corrects, with what of it is hidden from him: whoever is shown less does not write back less.

https://hl7.org/fhir/R4/http.html#update ; access-map: references inside what is shown
"""

import msgspec

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions import enforcement, shown
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import Known
from fhir_dmp.interactions.prepare import Checked, check
from fhir_dmp.store.rows import Row


async def whole(context: Context, sent: Checked, row: Row | None) -> tuple[Checked, frozenset[str]]:
    """See `by`. row: the version it replaces, if any."""
    if row is None or not shown.leads(row):
        return sent, frozenset()
    return await by(await enforcement.known(context, row.dossier, row=row, authored=False), sent, row)


async def by(met: Known, sent: Checked, row: Row) -> tuple[Checked, frozenset[str]]:
    """What is stored of what somebody may write, and the references in it that he is not shown. row: the version it replaces.

    What he sends is decided on as he sends it. What is hidden from him was decided on when it was stored.
    """
    gone = await shown.hidden(met.context, met, [row.body]) if row.body is not None else frozenset[str]()
    if not gone or row.body is None:
        return sent, gone
    value = shown.put_back(met.context, json.parse_exact(row.body), json.parse_exact(sent.body), gone)
    try:
        return check(met.context, json.dump(value), sent.type), gone
    except FhirError:
        return sent, frozenset()  # to refuse what no longer goes with it would tell him that it is there


def answered(context: Context, answer: Answer, gone: frozenset[str]) -> Answer:
    """The answer to such a write as its sender sees what was stored. gone: see `whole`."""
    return msgspec.structs.replace(answer, body=shown.without(context, answer.body, gone)) if gone and answer.body else answer
