"""Older versions of a resource, by what each says itself: its type, dates, actors and references may be others than those of now.

https://hl7.org/fhir/R4/http.html#history ; labels, lineage, authors of documents and status are those of now, as nobody knew them then.
"""

from typing import TYPE_CHECKING

from fhir_dmp.fhir import json
from fhir_dmp.interactions import facts
from fhir_dmp.store.rows import Row

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context
    from fhir_dmp.interactions.enforcement import Known


def judged(context: "Context", version: Row, current: Row) -> Row:
    """A version with the facts by which it is judged and shown."""
    told = current.visible
    if version.version != current.version and isinstance(told, dict):
        if version.body is None or version.content is not None:
            told = {**told, facts.LEADS: True}
        else:
            value = json.parse(version.body)
            own = facts.visible(context, value, f"{version.type}/{value['id']}", version.dossier, version.updated_ms, current, None)
            told = {**own, "st": told["st"]}
    return version.but(visible=told)


def seen(context: "Context", met: "Known", version: Row, current: Row) -> Row | None:
    """The same, where he may see it: of what was of another type, or named others, he sees what is his to see."""
    found = judged(context, version, current)
    return found if version.version == current.version or version.deleted or met.reads(found) else None
