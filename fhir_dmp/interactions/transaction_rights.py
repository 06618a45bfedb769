"""Acts on rights among the entries of a transaction: Patient, Consent, CareTeam, RelatedPerson, by the same rules as alone.

https://hl7.org/fhir/R4/http.html#trules ; https://profiles.ihe.net/ITI/PCF/

They come before all deposits of the transaction, people before the Consents that may name them; each is decided by what the former left.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.http_types import parse_tags
from fhir_dmp.fhir.references import parse_reference, rewrite
from fhir_dmp.interactions import enforcement, keeping, patch, read, rights, ruled, shown, update
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.prepare import check, check_body_id
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import dossier_in

if TYPE_CHECKING:
    from fhir_dmp.interactions.transaction import _Work

# Who is named comes before what names him.
ORDER = ("Patient", "RelatedPerson", "CareTeam", "Consent", "Communication")
WRITES = ("PUT", "PATCH", "DELETE")


def claims(context: Context, plan: bundle.Plan) -> list[bytes]:
    """Dossiers whose rights no other request may change at the same time."""
    dossiers: set[int] = set()
    for entry in plan.entries:
        if _acts(entry):
            named = entry.resource or {}
            texts = [(named.get(name) or {}).get("reference") for name in ("patient", "subject") if isinstance(named.get(name), dict)]
            texts += [entry.target.identity] if entry.method != "POST" and not entry.target.conditional else []
            for text in texts:
                said = parse_reference(text, (context.base_url,)) if isinstance(text, str) else None
                if said is not None and said.kind == "local":
                    dossiers.add(dossier_in(context.store.vault.locate(said.type, said.id)))
    return [rights.claim(context, one) for one in sorted(dossiers)]


async def done(work: "_Work", at: Callable[[bundle.Entry], AbstractContextManager]) -> list[FhirError]:
    """Do these acts, in the transaction; what was wrong with them. Their answers are in `work`. at: gives faults the place of an entry."""
    faults: list[FhirError] = []
    entries = [entry for entry in work.plan.entries if _acts(entry) and entry.index not in work.same]
    for entry in sorted(entries, key=lambda one: ORDER.index(one.target.type)):
        work.settled.add(entry.index)
        try:
            with at(entry):
                work.answers[entry.index] = await _done(work, entry)
        except FhirError as fault:
            if fault.status >= 500:
                raise
            faults.append(fault)
    return faults


def _acts(entry: bundle.Entry) -> bool:
    """Whether an entry is such an act: a search or an operation that is sent by POST is none."""
    return entry.target.type in rights.TYPES and (entry.creates or entry.method in WRITES)


async def _done(work: "_Work", entry: bundle.Entry) -> Answer:
    context, type_name = work.context, entry.target.type
    id, row = work.ids.get(entry.index, "/").split("/")[1], work.rows.get(entry.index)
    if entry.method == "DELETE":
        raise ruled.not_allowed(type_name, "DELETE", ruled.ALLOWED[type_name])
    rights.never(type_name, entry.method)
    if entry.method == "PATCH":
        return await _patched(work, entry, id, row)
    if entry.method == "POST" and entry.index not in work.new:
        keeping.is_so(context, dossier_in(context.store.vault.locate(type_name, id)))
        inner = enforcement.apart(context)
        answer = await read.run(inner, type_name, id)
        context.enforcer.ledger.set_apart(inner.enforcer.ledger, "read", "")
        return answer
    checked = check(context, json.dump(rewrite(entry.resource, work.links, base=entry.base)), type_name)
    if entry.index in work.new:
        return await rights.on_create(context, checked, id)
    _there(row)
    update.precondition(row, parse_tags(entry.if_match), parse_tags(entry.if_none_match))
    if not entry.target.conditional or "id" in checked.value:
        check_body_id(checked, id)
    return await rights.on_update(context, checked, id, row, "PUT")


async def _patched(work: "_Work", entry: bundle.Entry, id: str, row: Row | None) -> Answer:
    _there(row)
    update.precondition(row, parse_tags(entry.if_match))
    operations = entry.operations if entry.patch == "json" else rewrite(entry.resource, work.links, base=entry.base)
    met = await enforcement.known(work.context, row.dossier, row=row)
    (seen,) = await shown.bodies(work.context, met, [row])
    tree = patch.apply_tree(work.context, entry.patch, json.parse_exact(seen), operations)
    patch.check_identity(tree, entry.target.type, id)
    checked = check(work.context, json.dump(tree), entry.target.type)
    return await rights.on_update(work.context, checked, id, row, "PATCH")


def _there(row: Row | None) -> None:
    if row is None:
        raise read.absent()
    if row.deleted:
        raise read.deleted(row)
