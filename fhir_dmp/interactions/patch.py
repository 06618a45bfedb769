"""FHIR patch interaction: JSON Patch and FHIRPath Patch.

https://hl7.org/fhir/R4/http.html#patch
"""

import re
from collections.abc import Iterator

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import fhirpath_patch, json
from fhir_dmp.fhir.http_types import Tags
from fhir_dmp.fhir.patch import json_patch
from fhir_dmp.interactions import octets, read, update, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import check, stamp, written
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.rows import Row


async def run(context: Context, type_name: str, id: str, form: str, body: bytes, *, if_match: Tags | None = None) -> Answer:
    """Change the current version as the patch says. form: json (RFC 6902) or fhirpath (a Parameters resource)."""
    admit(context, type_name, "u")
    for turn in range(update.TURNS):
        row = await read.current(context, type_name, id)
        if row is None:
            raise read.absent()
        if row.deleted:
            raise read.deleted(row)
        update.precondition(row, if_match)
        before = await body_before(context, row, body)
        patched = apply(context, form, json.parse_exact(before), body)
        check_identity(patched, type_name, id)
        checked = check(context, json.dump(patched), type_name)
        content = row.content if before is row.body else None
        if octets.is_large(checked):
            checked, content = await octets.set_apart(context, checked, id)
        stamped = stamp(context, checked, method="PATCH", id=id, current=row, content=content)
        try:
            await writing.write(context, [(stamped.change, id)])
        except Conflict:
            if if_match or turn == update.TURNS - 1:
                raise update.changed_meanwhile() from None
            continue
        return written(stamped, 200)
    raise update.changed_meanwhile()


async def body_before(context: Context, row: Row, patch_body: bytes) -> bytes:
    """The resource to be patched; the octets of a large Binary are put back only for a patch that may speak of them."""
    return row.body if row.content is None or b"data" not in patch_body else await octets.whole(context, row.body, row.content)


def apply(context: Context, form: str, resource: dict, body: bytes) -> dict:
    """The resource after a patch as received."""
    patch = json.parse_exact(body, max_depth=context.settings.max_depth, object_only=form != "json")
    return apply_tree(context, form, resource, patch)


def apply_tree(context: Context, form: str, resource: dict, patch: dict | list) -> dict:
    """The resource after a patch. form: json (a list of operations) or fhirpath (a Parameters resource).

    One that asks what is there reads it: its scopes must let it.
    """
    if asks(form, patch):
        admit(context, resource["resourceType"], "r")
    if form == "json":
        return json_patch(resource, patch)
    if patch.get("resourceType") != "Parameters":
        raise FhirError("invalid", "a FHIRPath Patch is a Parameters resource; a JSON Patch is sent as application/json-patch+json")
    return fhirpath_patch.apply(resource, patch)


def asks(form: str, patch: dict | list) -> bool:
    """Whether what becomes of a patch tells a value of the resource: an operation `test`, a criterion in a path.

    >>> asks("json", [{"op": "add", "path": "/a", "value": 1}]), asks("json", [{"op": "test", "path": "/a", "value": 1}])
    (False, True)
    """
    if form == "json":
        return isinstance(patch, list) and any(isinstance(one, dict) and one.get("op") == "test" for one in patch)
    return any(isinstance(one, str) and ("(" in one or "=" in one) for one in _paths(patch))


def _paths(patch: object) -> Iterator[object]:
    """Values named `path` of a FHIRPath Patch, well formed or not."""
    if isinstance(patch, list):
        for one in patch:
            yield from _paths(one)
    elif isinstance(patch, dict):
        if patch.get("name") == "path":
            yield patch.get("valueString")
        yield from _paths([patch.get("parameter"), patch.get("part")])


def changed(form: str, patch: dict | list) -> frozenset[str]:
    """Members of the resource that the operations of a patch would change, as far as they say so. form, patch: as of apply_tree.

    >>> sorted(changed("json", [{"op": "replace", "path": "/type/text"}, {"op": "test", "path": "/x"}, {"op": "remove", "path": "/a/0"}]))
    ['a', 'type']
    """
    paths = [one.get("path") for one in patch if one.get("op") != "test"] if form == "json" else _fhirpaths(patch)
    return frozenset(found[0] for one in paths if isinstance(one, str) and (found := _MEMBER.findall(one)))


def _fhirpaths(patch: dict) -> list:
    """`Type.member…` of each operation, without the type; of an `add` the name of what is added to the resource itself."""
    found = []
    for operation in patch.get("parameter") or ():
        said = {part.get("name"): part.get("valueString") for part in operation.get("part") or ()}
        _, _, rest = str(said.get("path") or "").partition(".")
        found.append(rest or said.get("name"))
    return found


_MEMBER = re.compile(r"[A-Za-z]+")


def check_identity(patched: dict, type_name: str, id: str) -> None:
    """A patch changes neither resourceType nor id."""
    if not isinstance(patched, dict) or patched.get("resourceType") != type_name or patched.get("id") != id:
        raise FhirError("unprocessable", "a patch may change neither resourceType nor id")
