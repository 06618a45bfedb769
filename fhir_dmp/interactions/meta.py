"""FHIR operation $meta: profiles, tags and security labels of a resource, a version, a type or everything.

https://hl7.org/fhir/R4/resource-operation-meta.html
"""

from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.interactions import read, sets, vread
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.search.predicate import EVERYTHING

LISTS = ("profile", "security", "tag")


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """Parameters with one `return`; of a resource the meta as it is, otherwise what is in use."""
    if not url.id:
        admit(context, url.type or None, "s")
        return Answer(200, _parameters(await _in_use(context, url.type or None, sight)))
    if len(url.tail) == 3:
        answer = await vread.run(context, url.type, url.id, url.tail[1])
    else:
        answer = await read.run(context, url.type, url.id)
    row = await read.current(context, url.type, url.id)
    # Whoever may not see the resource as it is now sees nothing of its versions.
    if row is not None and not row.deleted and not sight.sees(row):
        raise read.absent()
    members = json.members(answer.body or b"{}")
    return Answer(200, _parameters(bytes(members["meta"]) if "meta" in members else b"{}"), answer.version, answer.updated_ms)


async def _in_use(context: Context, type_name: str | None, sight: Sight) -> bytes:
    """Every profile, label and tag that some resource carries, each once."""
    found: dict[str, dict[bytes, object]] = {name: {} for name in LISTS}
    for row in await sets.all_rows(context, [(type_name, EVERYTHING)], sight):
        meta = json.parse(row.body).get("meta", {}) if b'"meta"' in (row.body or b"") else {}
        for name in LISTS:
            for value in meta.get(name, ()):
                if value is not None:
                    found[name][_identity(value)] = value
    return json.dump({name: [value for _, value in sorted(values.items())] for name, values in found.items() if values})


def _identity(value: object) -> bytes:
    said = [value.get("system"), value.get("code")] if isinstance(value, dict) else value
    return json.dump(said)


def _parameters(meta: bytes) -> bytes:
    return b'{"resourceType":"Parameters","parameter":[{"name":"return","valueMeta":' + meta + b"}]}"
