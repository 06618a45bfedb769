"""Updates of documents and lists as PDSm allows them: status, visibility labels, isArchived; each is an act that the rules decide.

https://interop.esante.gouv.fr/ig/fhir/pdsm/st_maj.html ; CSP R1111-49, R1111-50, R1111-53

Labels are a set beside the body: to change them makes no version. A patch runs on what the asker sees; what he does not see stays.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fhir_dmp.consent import labelling
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.dmp import documents, visibility
from fhir_dmp.dmp.documents import IS_ARCHIVED, WITHDRAWN, Facts
from fhir_dmp.dmp.visibility import CONFIDENTIALITY, VISIBILITY, label_of, labels_of
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.interactions import enforcement, facts, patch, read, shown, tracing, writing
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import Known, settle
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.store.rows import Row

CHANGEABLE = frozenset({"status", "securityLabel", "extension"})


async def patched(context: Context, met: Known, row: Row, id: str, apply: Callable[[dict], dict]) -> Answer:
    """The document after an accepted change, as the asker sees it then. apply: view -> what he wants of it.

    405 for any other element, 403 for an act that is not his, 422 for labels that do not go together.
    """
    (seen,) = await shown.bodies(context, met, [row])
    view = json.parse_exact(seen)
    wanted = apply(json.parse_exact(seen))
    patch.check_identity(wanted, row.type, id)
    touched = {name for name in view.keys() | wanted.keys() if view.get(name) != wanted.get(name)}
    if touched - CHANGEABLE or _others(view) != _others(wanted):
        raise FhirError(
            "method",
            f"a {row.type} changes in status, securityLabel and isArchived alone; `{sorted(touched - CHANGEABLE or touched)[0]}` does not",
            headers={"Allow": "GET, HEAD, PATCH"},
        )
    own = _facts(context, row)
    shown_labels, wanted_labels = labels_of(view.get("securityLabel") or ()), labels_of(wanted.get("securityLabel") or ())
    asked = visibility.change(shown_labels, wanted_labels)
    if faults := visibility.issues_of(asked.added, met.law.masked_and_invisible):
        raise FhirError.many("business-rule", faults)
    for act in (*labelling.acts_of(asked), *_acts(view, wanted)):
        for one in own:
            settle(met.decide(act, one))
    body = _stored(context, row, wanted) if touched else None
    checked = check(context, body, row.type) if body is not None and body != row.body else None
    add = sum(LABEL_BITS[label] for label in asked.added & set(VISIBILITY))
    remove = sum(LABEL_BITS[label] for label in asked.removed & set(VISIBILITY))
    if not add and not remove:
        if checked is None:
            enforcement.note(context, row, id, met.patient)
            return read.answer(row, id, seen)
        stamped = stamp(context, checked, method="PATCH", id=id, current=row)
        await writing.write(context, [(stamped.change, id)])
        return await _answer(context, met, _as_row(row, stamped), id)
    return await _relabelled(context, met, row, id, checked, (add, remove), own[0])


async def _relabelled(context: Context, met: Known, row: Row, id: str, checked: Any, bits: tuple[int, int], own: Facts) -> Answer:
    """Labels of the whole lineage changed, with the version that goes with it when there is one, and the trace: all or none."""
    add, remove = bits
    at_ms = max(context.now_ms(), row.acted_ms + 1)
    after = replace(_with_bits(row, add, remove), acted_ms=at_ms)
    before = tuple(sorted(own.labels))
    now = tuple(sorted((own.labels | _labels(add)) - _labels(remove)))
    ledger = context.enforcer.ledger
    ledger.labels = (before, now)
    kind = "mask" if add else "unmask"
    stamped = stamp(context, checked, method="PATCH", id=id, current=after) if checked is not None else None

    async def work(transaction) -> None:
        inside = context.inside(transaction)
        keys: list[bytes] = []
        for root in {one["rt"] for one in facts.listed(row)}:
            keys += await transaction.relabel(row.dossier, root, add=add, remove=remove, at_ms=at_ms)
        if not keys:
            raise read.absent()
        if stamped is not None:
            await writing.write(inside, [(stamped.change, id)], kind=kind)
        else:
            await transaction.write(tracing.of_act(inside, kind, after, id, met.patient))
        ledger.acts = {**ledger.acts, kind: frozenset(keys)}

    if context.transaction is not None:
        await work(context.transaction)
    else:
        await context.store.transact(work)
        await writing.keep(context)
    return await _answer(context, met, _as_row(after, stamped) if stamped else after, id)


async def _answer(context: Context, met: Known, row: Row, id: str) -> Answer:
    """The document as it is now; without a body for whom it has just become invisible."""
    if not met.reading(row).permits:
        return Answer(204)
    (body,) = await shown.bodies(context, met, [row])
    return read.answer(row, id, body)


def _as_row(row: Row, stamped: Any) -> Row:
    new = stamped.row
    return replace(row, version=new.version, updated_ms=new.updated_ms, body=new.body, visible=new.visible, method="PATCH")


def _facts(context: Context, row: Row) -> tuple[Facts, ...]:
    return facts.opened(context, row) or (Facts(status=WITHDRAWN),)


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


def _stored(context: Context, row: Row, wanted: dict) -> bytes:
    """The body to be stored: as it is, with what may change; N, R and V are never removed."""
    members = {name: wanted.get(name) for name in ("status", "extension")}
    kept = []
    for concept in wanted.get("securityLabel") or ():
        codings = [coding for coding in concept.get("coding") or () if label_of(coding) not in VISIBILITY]
        if codings or not concept.get("coding"):
            kept.append({**concept, "coding": codings} if codings else concept)
    stored = json.parse_exact(row.body).get("securityLabel") or ()
    there = labels_of(kept)
    kept += [one for one in stored if labels_of([one]) & set(CONFIDENTIALITY) - there]
    if len(labels_of(kept) & set(CONFIDENTIALITY)) > 1:
        kept = [one for one in kept if not labels_of([one]) & labels_of(stored) & set(CONFIDENTIALITY)]
    changes = {name: json.dump(value) if value is not None else None for name, value in members.items()}
    return json.set_members(row.body, {**changes, "securityLabel": json.dump(kept) if kept else None})


def _labels(bits: int) -> frozenset[str]:
    return frozenset(label for label in VISIBILITY if LABEL_BITS[label] & bits)


def _with_bits(row: Row, add: int, remove: int) -> Row:
    def one(facts_: dict) -> dict:
        return {**facts_, "lb": (facts_["lb"] | add) & ~remove}

    return replace(row, visible=[one(each) for each in row.visible] if isinstance(row.visible, list) else one(row.visible))
