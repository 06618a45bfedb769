"""Writes by those who obey the rules: deposits, PDSm updates, acts on rights, the directory; anything else is refused.

https://interop.esante.gouv.fr/ig/fhir/pdsm/st_maj.html ; access-map: who may write what
"""

import base64
import hashlib

from msgspec.structs import replace

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.http_types import Tags
from fhir_dmp.interactions import (
    delete,
    deposit_subject,
    depositing,
    directory_entries,
    enforcement,
    keeping,
    octets,
    patch,
    read,
    received,
    relabelling,
    rights,
    shown,
    update,
    writing,
    written_back,
)
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.depositing import DOCUMENT, Item
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.prepare import Checked, Stamped, check, check_body_id, place_of, stamp, written
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.ledger import Repeated
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON

# PDSm documents and lists change by PATCH alone.
PDSM = frozenset({DOCUMENT, "List"})
NEVER = frozenset({"AuditEvent"})
# What may be done with one resource of a type, where it is not to read and to replace it.
ALLOWED = {
    **dict.fromkeys(PDSM, "GET, HEAD, PATCH"),
    **dict.fromkeys((*NEVER, "Binary", "Communication"), "GET, HEAD"),
    **dict.fromkeys(("Patient", "Consent", "CareTeam", "RelatedPerson"), "GET, HEAD, PUT, PATCH"),
}


def not_allowed(type_name: str, method: str, allowed: str) -> FhirError:
    """405 of a type, whatever is stored."""
    return FhirError("method", f"a {type_name} of a dossier is not changed by {method}", headers={"Allow": allowed})


def alone() -> FhirError:
    """405: a content without a document belongs to nobody's dossier."""
    return FhirError(
        "method", "a content is deposited with its document: ITI-65, or ITI-105 with attachment.data", headers={"Allow": "GET, HEAD"}
    )


def directory(context: Context) -> None:
    """Who keeps the directory: this host's administrators."""
    request = context.enforcer.request
    if not (request.kind == "operator" and request.role == "admin"):
        raise enforcement.refused()


async def create(context: Context, type_name: str, body: bytes) -> Answer:
    """POST [type]."""
    if type_name in NEVER:
        raise not_allowed(type_name, "POST", "GET, HEAD")
    await in_step()
    checked = check(context, body, type_name)
    await in_step()
    return await create_checked(context, checked)


async def create_checked(context: Context, checked: Checked) -> Answer:
    """The same, of a resource that is checked."""
    checked = await deposit_subject.named(context, checked)
    if checked.type in rights.TYPES:
        return await rights.on_create(context, checked)
    if checked.type in enforcement.PUBLIC:
        directory(context)
        if place_of(context, checked, None).dossier != COMMON:
            raise enforcement.refused()
        stamped = stamp(context, checked, method="POST")
        await writing.write(context, [(stamped.change, stamped.id)])
        return written(stamped, 201)
    if checked.type == "Binary":
        raise alone()
    if checked.type == DOCUMENT:
        known = await received.once(context, [checked.value])
        if known.parts:
            return await received.answered(context, known.parts)
        try:
            return await _deposited(known.context, checked)
        except Repeated:  # the same at the same moment
            enforcement.unwritten(context)
            return await create_checked(context, checked)
    return await _deposited(context, checked)


async def _deposited(context: Context, checked: Checked) -> Answer:
    for turn in range(update.TURNS):
        items = [_with_id(context, checked)]
        if checked.type == DOCUMENT:
            items = _published(context, items[0])
        met, before = await depositing.decided(context, items)
        await in_step()
        stamped = [await _stamped(context, one, met.number) for one in items]
        await in_step()
        try:
            await writing.write(context, [(one.change, one.id) for one in (*stamped, *before)])
        except Conflict:
            enforcement.unwritten(context)
            if turn == update.TURNS - 1:
                raise update.changed_meanwhile() from None
            continue
        return await _as_seen(context, met, stamped[0])
    raise update.changed_meanwhile()


async def _as_seen(context: Context, met: enforcement.Known, stamped: Stamped) -> Answer:
    """The answer to a deposit: what a read would show to who deposited; a certificate is shown what it sent."""
    answer, row = written(stamped, 201), stamped.row
    stored = Row(row.key, row.dossier, row.type, row.version, row.updated_ms, row.method, False, row.body, visible=row.visible)
    if not met.reading(stored).permits:
        return answer
    (body,) = await shown.bodies(context, met, [stored])
    return replace(answer, body=body)


def _with_id(context: Context, checked: Checked) -> Item:
    dossier = place_of(context, checked, None).dossier
    return Item(checked, context.store.vault.new_id(dossier, context.random))


def _published(context: Context, item: Item) -> list[Item]:
    """ITI-105: what a document carries in its attachments becomes Binaries beside it, deposited with it."""
    if not any("data" in (content.get("attachment") or ()) for content in item.checked.value.get("content") or ()):
        return [item]
    tree = json.parse_exact(item.checked.body)
    binaries: list[Item] = []
    dossier = place_of(context, item.checked, item.id).dossier
    for content in tree.get("content") or ():
        attachment = content.get("attachment") or {}
        data = attachment.pop("data", None)
        if data is None:
            continue
        octets_ = base64.b64decode("".join(data.split()))
        resource = {"resourceType": "Binary", "contentType": attachment.get("contentType", "application/octet-stream"), "data": data}
        binary = Item(check(context, json.dump(resource), "Binary"), context.store.vault.new_id(dossier, context.random))
        attachment["url"] = binary.address
        attachment.setdefault("size", len(octets_))
        attachment.setdefault("hash", base64.b64encode(hashlib.sha1(octets_, usedforsecurity=False).digest()).decode())
        binaries.append(binary)
    if binaries:
        admit(context, "Binary", "c")
        item.checked = check(context, json.dump(tree), DOCUMENT)
    return [item, *binaries]


async def _stamped(context: Context, item: Item, dossier: int) -> Stamped:
    checked, content = item.checked, None
    if octets.is_large(checked):
        checked, content = await octets.set_apart(context, checked, item.id, dossier)
    method = "POST" if item.row is None else "PUT"
    given = {"method": method, "id": item.id, "current": item.row, "dossier": None, "content": content, "origin": item.origin}
    if checked.type == "Binary":
        given["dossier"] = dossier
    return stamp(context, checked, **given)


async def change(
    context: Context, type_name: str, id: str, body: bytes, if_match: Tags | None, if_none_match: Tags | None, *, found: bool = False
) -> Answer:
    """PUT [type]/[id]. found: by criteria, so that the body need not say the id."""
    if type_name in PDSM or type_name in NEVER or type_name == "Binary":
        raise not_allowed(type_name, "PUT", ALLOWED[type_name])
    for turn in range(update.TURNS):
        row = await _changeable(context, type_name, id)
        if row is None:
            raise read.absent()
        if row.deleted:
            raise read.deleted(row)
        context.enforcer.ledger.disclosed.clear()
        update.precondition(row, if_match, if_none_match)
        checked = check(context, body, type_name)
        if not found or "id" in checked.value:
            check_body_id(checked, id)
        try:
            return await _replaced(context, checked, id, row)
        except Conflict:  # a new version meets If-Match again; an act that made none is not to be told
            if turn == update.TURNS - 1:
                raise update.changed_meanwhile() from None
    raise update.changed_meanwhile()


async def _changeable(context: Context, type_name: str, id: str) -> Row | None:
    """The current version of what he sees. The feed of the Assurance Maladie writes whole identities, which it does not read."""
    if type_name != "Patient" or context.enforcer.request.kind != "feed":
        return (await read.seen(context, type_name, id))[0]
    row = await read.current(context, type_name, id)
    if row is None:
        return (await enforcement.readable(context, type_name, id, row))[0]
    await enforcement.known(context, row.dossier, row=row)
    return row


async def _replaced(context: Context, checked: Checked, id: str, row: Row, method: str = "PUT") -> Answer:
    if checked.type in rights.TYPES:
        return await rights.on_update(context, checked, id, row, method)
    if checked.type in enforcement.PUBLIC:
        directory(context)
        if faults := directory_entries.renamed(json.parse(row.body), checked.value):
            raise FhirError.many("business-rule", faults)
        stamped = stamp(context, checked, method=method, id=id, current=row)
        if stamped.row.dossier != COMMON:
            raise enforcement.refused()
        await writing.write(context, [(stamped.change, id)])
        return written(stamped, 200)
    item = Item(checked, id, row)
    met, before = await depositing.decided(context, [item], row.dossier)
    item.checked, gone = await written_back.whole(context, item.checked, row)
    stamped = await _stamped(context, item, met.number)
    await writing.write(context, [(one.change, one.id) for one in (stamped, *before)])
    return written_back.answered(context, written(stamped, 200), gone)


async def patched(context: Context, type_name: str, id: str, form: str, body: bytes, if_match: Tags | None) -> Answer:
    """PATCH [type]/[id], on the asker's own view of the resource."""
    if type_name in NEVER:
        raise not_allowed(type_name, "PATCH", "GET, HEAD")
    for turn in range(update.TURNS):
        row, met = await read.seen(context, type_name, id)
        if row is None:
            raise read.absent()
        if row.deleted:
            raise read.deleted(row)
        context.enforcer.ledger.disclosed.clear()
        update.precondition(row, if_match)
        try:
            if type_name in PDSM:
                operations = json.parse_exact(body, max_depth=context.settings.max_depth, object_only=form != "json")
                return await relabelling.patched(context, met, row, id, form, operations)
            if type_name not in rights.TYPES and type_name not in enforcement.PUBLIC:
                raise not_allowed(type_name, "PATCH", "GET, HEAD, PUT")
            (seen,) = await shown.bodies(context, met, [row])
            tree = patch.apply(context, form, json.parse_exact(seen), body)
            patch.check_identity(tree, type_name, id)
            return await _replaced(context, check(context, json.dump(tree), type_name), id, row, "PATCH")
        except Conflict:  # a new version meets If-Match again; an act that made none is not to be told
            if turn == update.TURNS - 1:
                raise update.changed_meanwhile() from None
    raise update.changed_meanwhile()


async def patched_in(context: Context, type_name: str, row: Row, id: str, form: str, operations: dict | list) -> Answer:
    """The same as an entry of a transaction. row: which the asker sees. operations: parsed, references resolved."""
    if type_name not in PDSM:
        raise not_allowed(type_name, "PATCH", "GET, HEAD, PUT")
    # Acts on rights came first, and another entry may have changed its labels.
    row = await read.current(context, type_name, id) or row
    met = await enforcement.known(context, row.dossier, row=row)
    return await relabelling.patched(context, met, row, id, form, operations)


async def removed(context: Context, type_name: str) -> None:
    """DELETE [type]: nothing of a dossier is deleted. Returns for the directory, whose keepers may."""
    if type_name not in enforcement.PUBLIC:
        raise not_allowed(type_name, "DELETE", ALLOWED.get(type_name, "GET, HEAD, PUT"))
    directory(context)


async def remove(context: Context, type_name: str, id: str, if_match: Tags | None) -> Answer:
    """DELETE [type]/[id]."""
    await removed(context, type_name)

    async def attempt(transaction) -> Answer:
        return await removed_in(context.inside(transaction), type_name, id, if_match)

    answer = await context.store.transact(attempt)
    await keeping.keep(context)
    return answer


async def removed_in(inside: Context, type_name: str, id: str, if_match: Tags | None) -> Answer:
    """The same in a transaction, of what may be deleted at all."""
    await directory_entries.free(inside, type_name, id)
    return await delete.run(inside, type_name, id, if_match=if_match)
