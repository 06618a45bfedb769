"""Updates of documents and lists as PDSm allows them: status, visibility labels, isArchived; each is an act that the rules decide.

https://interop.esante.gouv.fr/ig/fhir/pdsm/st_maj.html ; CSP R1111-49, R1111-50, R1111-53

Labels are a set beside the body: to change them makes no version. A patch runs on what the asker sees; what he does not see stays.
"""

from collections.abc import Collection
from typing import Any

from fhir_dmp.consent import labelling
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.dmp import documents, visibility
from fhir_dmp.dmp.documents import IS_ARCHIVED, WITHDRAWN, Facts
from fhir_dmp.dmp.visibility import CONFIDENTIALITY, INVISIBLE_PATIENT, INVISIBLE_RL, VISIBILITY, labels_of
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.interactions import covering, enforcement, facts, keeping, patch, policy, read, shown, tracing, writing
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import Known, settle
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.rows import Row

OVER = "the month after the first deposit is over: nothing is hidden from the holder any more"
CHANGEABLE = frozenset({"status", "securityLabel", "extension"})


async def patched(context: Context, met: Known, row: Row, id: str, form: str, operations: dict | list) -> Answer:
    """The document after an accepted change, as the asker sees it then. form, operations: the patch, see patch.apply_tree.

    405 for any other element, 403 for an act that is not his, 422 for labels that do not go together, or come too late.
    """
    (seen,) = await shown.bodies(context, met, [row])
    view = json.parse_exact(seen)
    wanted = _wanted(context, form, json.parse_exact(seen), operations, row.type)
    patch.check_identity(wanted, row.type, id)
    # The act is judged by what it changes: nothing that stood there before keeps the holder from a mask.
    check(context, json.dump(wanted), row.type, before=seen)
    shown_labels, wanted_labels = labels_of(view.get("securityLabel") or ()), labels_of(wanted.get("securityLabel") or ())
    asked = visibility.change(shown_labels, wanted_labels)
    enforcement.intend(context, asked.added & set(VISIBILITY))
    touched = {name for name in view.keys() | wanted.keys() if view.get(name) != wanted.get(name)}
    if touched - CHANGEABLE or _others(view) != _others(wanted):
        raise _unchangeable(row.type, touched - CHANGEABLE or touched)
    own = met.seen_of(row) or (Facts(status=WITHDRAWN),)
    faults = visibility.unknown(_new(view, wanted)) or _foreign(_new(view, wanted)) or _unclear(view, wanted)
    if faults := faults or visibility.issues_of(asked.added, met.law.masked_and_invisible):
        raise FhirError.many("business-rule", faults)
    acts = (*labelling.acts_of(asked), *_acts(view, wanted))
    for act in acts:
        for one in own:
            settle(met.decide(act, one))
    if touched and INVISIBLE_RL not in asked.added:
        enforcement.keep_from_all(met, row)
    if INVISIBLE_PATIENT in asked.added and any(one.release_ms <= met.now_ms for one in own):
        # It would hide nothing, and the end of the month would still be told as when the document came to the holder.
        raise FhirError("business-rule", OVER, f"{row.type}.securityLabel")
    body = _stored(row, wanted, asked.added & set(CONFIDENTIALITY))
    assert acts or body == row.body  # nothing is stored that nobody decided
    checked = check(context, body, row.type, before=row.body) if body != row.body else None
    origin = Origin(withdrawn=await facts.withdrawn_with(context, row)) if row.type == "List" else None
    add = sum(LABEL_BITS[label] for label in asked.added & set(VISIBILITY))
    remove = sum(LABEL_BITS[label] for label in asked.removed & set(VISIBILITY))
    if not add and not remove:
        if checked is None:
            _noted(context, met, row, id)
            keeping.is_so(context, row.dossier)
            if context.transaction is None:
                await keeping.keep(context)
            return read.answer(shown.timed(met, row), id, seen)
        stamped = stamp(context, checked, method="PATCH", id=id, current=row, origin=origin)
        await writing.write(context, [(stamped.change, id)])
        return await _answer(context, met, _as_row(row, stamped), id)
    return await _relabelled(context, met, row, id, checked, origin, (add, remove), own[0])


def _noted(context: Context, met: Known, row: Row, id: str) -> None:
    """Note for the trace a change that changes nothing; among others it is told by itself, as it would be alone."""
    inner = enforcement.apart(context) if context.transaction is not None else context
    enforcement.note(inner, row, id, met.patient)
    if inner is not context:
        context.enforcer.ledger.set_apart(inner.enforcer.ledger, "patch", "")


def _wanted(context: Context, form: str, view: dict, operations: dict | list, type_name: str) -> dict:
    """The view after a patch; 405 when what it cannot find is nothing that changes."""
    try:
        return patch.apply_tree(context, form, view, operations)
    except FhirError as error:
        if error.kind == "unprocessable" and (others := patch.changed(form, operations) - CHANGEABLE):
            raise _unchangeable(type_name, others) from None
        raise


def _unchangeable(type_name: str, names: Collection[str]) -> FhirError:
    said = f"a {type_name} changes in status, securityLabel and isArchived alone; `{sorted(names)[0][:60]}` does not"
    return FhirError("method", said, headers={"Allow": "GET, HEAD, PATCH"})


async def _relabelled(
    context: Context, met: Known, row: Row, id: str, checked: Any, origin: Origin | None, bits: tuple[int, int], own: Facts
) -> Answer:
    """Labels of the whole lineage changed, with the version that goes with it when there is one, and the trace: all or none."""
    add, remove = bits
    at_ms = max(context.now_ms(), row.acted_ms + 1)
    after = _with_bits(row, add, remove).but(acted_ms=at_ms)
    before = tuple(sorted(own.labels))
    now = tuple(sorted((own.labels | _labels(add)) - _labels(remove)))
    labels = before, now
    claims = covering.claims(context, (row.key,))
    kind = "mask" if add else "unmask"
    stamped = stamp(context, checked, method="PATCH", id=id, current=after, origin=origin) if checked is not None else None

    async def work(transaction) -> None:
        inside = context.inside(transaction)
        await transaction.claim(claims)
        if not context.sandbox and (now := await transaction.stored_policy(row.dossier)) is not None and now.epoch != met.policy.epoch:
            raise Conflict(0, None)  # decided by what is in force no more
        keys: list[bytes] = []
        for root in {one["rt"] for one in facts.listed(row)}:
            keys += await transaction.relabel(row.dossier, root, add=add, remove=remove, at_ms=at_ms)
        if remove:
            await policy.lifted(inside, row.dossier, at_ms=at_ms)
        if not keys:
            raise read.absent()
        context.store.still(context.election)
        if stamped is not None:
            await writing.write(inside, [(stamped.change, id)], kind=kind, labels=labels)
        else:
            await transaction.write(tracing.of_act(inside, kind, after, id, met.patient, labels))
        await keeping.acted(inside, kind, keys)

    if context.transaction is not None:
        await work(context.transaction)
    else:
        await context.store.transact(work, claims=claims)
        await keeping.keep(context)
    return await _answer(context, met, _as_row(after, stamped) if stamped else after, id)


async def _answer(context: Context, met: Known, row: Row, id: str) -> Answer:
    """The document as it is now; without a body for whom it has just become invisible."""
    if not met.reading(row).permits:
        return Answer(204)
    (body,) = await shown.bodies(context, met, [row])
    return read.answer(shown.timed(met, row), id, body)


def _as_row(row: Row, stamped: Any) -> Row:
    new = stamped.row
    return row.but(version=new.version, updated_ms=new.updated_ms, body=new.body, visible=new.visible, method="PATCH")


def _others(value: dict) -> list:
    """Extensions but isArchived."""
    return [one for one in value.get("extension") or () if one.get("url") != IS_ARCHIVED]


def _acts(view: dict, wanted: dict) -> list[str]:
    """Acts of a change that is not one of labels."""
    found = []
    if view.get("status") != wanted.get("status"):
        found.append("withdraw" if WITHDRAWN in (view.get("status"), wanted.get("status")) else "replace")
    if documents.is_archived(view) != documents.is_archived(wanted):
        found.append("archive")
    return found


def _new(view: dict, wanted: dict) -> list[dict]:
    """Labels he sends that he was not shown."""
    shown_ = view.get("securityLabel") or []
    return [one for one in wanted.get("securityLabel") or () if one not in shown_]


def _foreign(labels: list[dict]) -> list[Issue]:
    """Labels are a set, of those we know: of another one nobody could say who may change it."""
    where = "DocumentReference.securityLabel"
    return [
        Issue("error", "business-rule", "only labels of the DMP are added to a document", where) for one in labels if not labels_of([one])
    ]


def _unclear(view: dict, wanted: dict) -> list[Issue]:
    """PDSm has one isArchived, a boolean: what is neither would be kept and mean nothing."""
    before, after = ([one for one in each.get("extension") or () if one.get("url") == IS_ARCHIVED] for each in (view, wanted))
    if after == before or (len(after) < 2 and all(isinstance(one.get("valueBoolean"), bool) for one in after)):
        return []
    return [Issue("error", "business-rule", "isArchived is said once, with true or false", f"{wanted['resourceType']}.extension")]


def _stored(row: Row, wanted: dict, added: frozenset[str]) -> bytes:
    """The body to be stored: as it is, with what changes; N, R and V are added, never removed. added: of those."""
    before = json.parse_exact(row.body)
    changes: dict[str, Any] = {}
    if wanted.get("status") != before.get("status"):
        changes["status"] = wanted.get("status")
    if documents.is_archived(wanted) != documents.is_archived(before):
        archived = [one for one in wanted.get("extension") or () if one.get("url") == IS_ARCHIVED]
        changes["extension"] = [*_others(before), *archived] or None
    if added:
        changes["securityLabel"] = [*(before.get("securityLabel") or ()), *(visibility.concept(label) for label in sorted(added))]
    if not changes:
        return row.body
    return json.set_members(row.body, {name: None if value is None else json.dump(value) for name, value in changes.items()})


def _labels(bits: int) -> frozenset[str]:
    return frozenset(label for label in VISIBILITY if LABEL_BITS[label] & bits)


def _with_bits(row: Row, add: int, remove: int) -> Row:
    def one(facts_: dict) -> dict:
        return {**facts_, "lb": (facts_["lb"] | add) & ~remove}

    return row.but(visible=[one(each) for each in row.visible] if isinstance(row.visible, list) else one(row.visible))
