"""FHIR transaction: all entries or none, references between them resolved.

https://hl7.org/fhir/R4/http.html#trules
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import bundle, json, profiles, schema
from fhir_dmp.fhir.http_types import parse_tags
from fhir_dmp.fhir.references import parse_reference, rewrite
from fhir_dmp.fhir.tables import compartment
from fhir_dmp.interactions import (
    conditional,
    delete,
    deposit_subject,
    depositing,
    dispatch,
    enforcement,
    keeping,
    octets,
    patch,
    read,
    received,
    rights,
    ruled,
    transaction_rights,
    update,
    writing,
    written_back,
)
from fhir_dmp.interactions.batch import entry_answer, request_of, told
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.depositing import Item
from fhir_dmp.interactions.facts import carried_on
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.prepare import Checked, check, stamp, written
from fhir_dmp.search import extract
from fhir_dmp.search.values import Reference
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.ledger import Repeated
from fhir_dmp.store.rows import Change, Content, Row
from fhir_dmp.store.vault import COMMON, dossier_in, version_id

LETTERS = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}
# Entries prepared before others get a turn of the event loop.
STRIDE = 16
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(slots=True)
class _Work:
    """What one attempt has found out, by index of entry.

    ids: `Type/id` of what each entry is about. new: ids the server has just given. same: conditional creates that ask for what an
    earlier entry creates, by index of that entry. rows: current versions. dossiers: of new resources. kept: contents that a patch
    leaves alone. answers: of writes. changes: what is to be stored. settled: entries that were acts on rights, done or refused.
    """

    context: Context
    plan: bundle.Plan
    ids: dict[int, str] = field(default_factory=dict)
    new: set[int] = field(default_factory=set)
    same: dict[int, int] = field(default_factory=dict)
    rows: dict[int, Row | None] = field(default_factory=dict)
    dossiers: dict[int, int] = field(default_factory=dict)
    kept: dict[int, Content] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    changes: list[tuple[Change, str]] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)

    def entries(self, *methods: str) -> Iterator[bundle.Entry]:
        return (entry for entry in self.plan.entries if entry.method in methods)


async def run(context: Context, plan: bundle.Plan, prefer: str = "") -> bytes:
    """The transaction-response. Every fault found is told, with its place; nothing is then stored."""
    for entry in plan.entries:
        if entry.method in LETTERS and not (entry.method == "POST" and not entry.creates):
            admit(context, entry.target.type, LETTERS[entry.method])
    faults = [issue for entry in plan.entries for issue in bundle.unresolved(entry, plan.full_urls)]
    if faults:
        raise _every_fault(context, plan, [FhirError.many("unprocessable", faults)])
    if context.enforcer is None:
        return bundle.transaction_response(await _run(context, plan, prefer))
    _well_formed(plan)
    for entry in plan.entries:
        depositing.intend(context, entry.resource or {})
    plan = await deposit_subject.named_in(context, plan)
    known = await received.once(context, *received.documents_of(plan))
    if known.parts:
        return bundle.transaction_response(await received.answers(context, plan, known.parts))
    try:
        return bundle.transaction_response(await _run(known.context, plan, prefer))
    except Repeated:  # the same at the same moment
        enforcement.unwritten(context)
        return await run(context, plan, prefer)


def _well_formed(plan: bundle.Plan) -> None:
    """Refuse what is no resource of R4 before any rule reads it."""
    faults = []
    for entry in plan.entries:
        if entry.creates or entry.method == "PUT":
            body = json.dump(entry.resource)
            found = schema.validate(json.parse(body), members=json.members(body))
            errors = [issue for issue in found if issue.severity in ("error", "fatal")]
            faults += [issue._replace(expression=f"{entry.place}.{_inside_of(issue.expression, entry.target.type)}") for issue in errors]
    if faults:
        raise FhirError.many("unprocessable", faults)


async def _run(context: Context, plan: bundle.Plan, prefer: str) -> list[bundle.Answer]:
    claims = _claims(context, plan)
    if claims or not all(_plain(entry) and (context.enforcer is None or _deposits(entry)) for entry in plan.entries):

        async def attempt(transaction) -> list[bundle.Answer]:
            work = await _prepared(context.inside(transaction), plan)
            await writing.write(work.context, work.changes)
            return await _answers(work, prefer)

        answers = await context.store.transact(attempt, claims=claims)
        await keeping.keep(context)
        return answers
    return await _committed(context, plan, prefer)


def _plain(entry: bundle.Entry) -> bool:
    """Whether the entry is decided without a search, and is an ordinary write."""
    if entry.method not in WRITES or (entry.method == "POST" and not entry.creates):
        return False
    if entry.target.conditional or entry.if_none_exist is not None:
        return False
    return entry.resource is None or not any(bundle.conditional_references(entry.resource))


def _deposits(entry: bundle.Entry) -> bool:
    """Whether the entry is decided by what the rules say before anything is written, as a deposit by itself is."""
    return entry.creates and entry.target.type not in rights.TYPES


def _claims(context: Context, plan: bundle.Plan) -> list[bytes]:
    """Criteria that no other request may decide about at the same time."""
    found = []
    for entry in plan.entries:
        if entry.if_none_exist is not None:
            found.append(conditional.claim(context, entry.target.type, entry.if_none_exist))
        elif entry.target.conditional and entry.method in ("PUT", "PATCH", "DELETE"):
            found.append(conditional.claim(context, entry.target.type, entry.target.query))
    return found + (transaction_rights.claims(context, plan) if context.enforcer is not None else [])


async def _committed(context: Context, plan: bundle.Plan, prefer: str) -> list[bundle.Answer]:
    """A transaction that needs no search: prepared outside of MongoDB's, then stored at once."""
    strict = any(entry.if_match or entry.if_none_match for entry in plan.entries)
    for turn in range(update.TURNS):
        work = await _prepared(context, plan)
        await in_step()
        try:
            await writing.write(context, work.changes)
        except Conflict:
            enforcement.unwritten(context)
            if strict or turn == update.TURNS - 1:
                raise update.changed_meanwhile() from None
            continue
        return await _answers(work, prefer)
    raise update.changed_meanwhile()


async def _prepared(context: Context, plan: bundle.Plan) -> _Work:
    work = _Work(context, plan)
    faults = await _identities(work) + await _conditional_references(work) + bundle.overlaps(plan.entries, work.ids)
    if faults:
        raise _every_fault(context, plan, faults)
    _new_ids(work)
    work.links.update(plan.links(work.ids))
    await _writes(work)
    return work


def _every_fault(context: Context, plan: bundle.Plan, found: list[FhirError]) -> FhirError:
    """The refusal of the whole, with what is wrong in its resources too, so that the client need not find out one by one."""
    faults = list(found)
    for entry in plan.entries:
        if entry.creates or entry.method == "PUT":
            try:
                with _at(entry):
                    check(context, json.dump(entry.resource), entry.target.type)
            except FhirError as fault:
                faults.append(fault)
    return FhirError.many(found[0].kind, [issue for fault in faults for issue in fault.issues])


async def _identities(work: _Work) -> list[FhirError]:
    """Which existing resource each entry is about; what is wrong with that."""
    context = work.context
    faults: list[FhirError] = []
    asked: dict[tuple, int] = {}
    for entry in work.entries(*WRITES):
        try:
            with _at(entry):
                await _identity(work, entry, asked)
        except FhirError as fault:
            faults.append(_told(fault))
    keys = {index: context.store.vault.locate(*identity.split("/")) for index, identity in work.ids.items()}
    rows = await context.reads.load_many(keys.values(), bodies=context.enforcer is None) if keys else {}
    for index, key in keys.items():
        row = rows.get(key)
        entry = work.plan.entries[index]
        row = row if row is not None and row.type == entry.target.type and not row.erased else None
        if context.enforcer is not None:
            try:
                with _at(entry):
                    row, _ = await enforcement.readable(context, entry.target.type, work.ids[index].split("/")[1], row)
            except FhirError as fault:
                faults.append(_told(fault))
        work.rows[index] = row
    if context.enforcer is not None:  # looked up, not shown
        context.enforcer.ledger.disclosed.clear()
        found = {index: keys[index] for index, row in work.rows.items() if row is not None}
        # Absent where the dossier was destroyed in between. What changed is decided on again before anything is stored.
        opened = await context.reads.load_many(found.values()) if found else {}
        work.rows |= {index: opened.get(key) for index, key in found.items()}
    return faults


async def _identity(work: _Work, entry: bundle.Entry, asked: dict[tuple, int]) -> None:
    """asked: criteria that no resource meets -> the first entry that has them."""
    criteria = entry.if_none_exist if entry.method == "POST" else entry.target.query if entry.target.conditional else None
    if criteria is None:
        if entry.method != "POST":
            work.ids[entry.index] = entry.target.identity
        return
    admit(work.context, entry.target.type, "s")
    found = await conditional.one(work.context, entry.target.type, criteria, feeding=entry.method in ("POST", "PUT"))
    if found is not None:
        work.ids[entry.index] = f"{entry.target.type}/{found.id}"
    elif entry.method == "PATCH":
        raise read.absent()
    elif entry.method != "DELETE":
        admit(work.context, entry.target.type, "c")
        _alike(work, entry, asked.setdefault((entry.target.type, *sorted(criteria)), entry.index))


def _alike(work: _Work, entry: bundle.Entry, first: int) -> None:
    """Two entries that would create on one condition: the second of two creates finds what the first creates."""
    if first == entry.index:
        return
    if entry.method == "PUT" or work.plan.entries[first].method == "PUT":
        raise FhirError("unprocessable", f"Bundle.entry[{first}] changes what meets the same criteria")
    work.same[entry.index] = first


async def _conditional_references(work: _Work) -> list[FhirError]:
    """Which resource each reference that is a search means; what is wrong with those that mean none or several."""
    faults: list[FhirError] = []
    for entry in work.entries("POST", "PUT"):
        for place, text, type_name, criteria in bundle.conditional_references(entry.resource or {}):
            if text not in work.links:
                try:
                    work.links[text] = await _meant(work.context, text, type_name, criteria)
                except FhirError as fault:
                    # Whatever place of the search itself it names, the client looks for the reference.
                    faults.append(FhirError(_told(fault).kind, fault.message, f"{entry.place}.{_inside(place, entry.target.type)}"))
    return faults


async def _meant(context: Context, text: str, type_name: str, criteria: bundle.Pairs) -> str:
    admit(context, type_name, "s")
    matches = await conditional.matching(context, type_name, criteria)
    if len(matches) != 1:
        said = "no resource meets" if not matches else "several resources meet"
        raise FhirError("multiple-matches" if matches else "precondition", f"{said} `{text[:200]}`; exactly one is needed")
    id = matches[0].id
    # That there is one is told to who asks: as if he had read it. Of the holder the deposit itself is told.
    if context.enforcer is not None and type_name != "Patient" and type_name not in enforcement.PUBLIC:
        inner = enforcement.apart(context)
        await read.seen(inner, type_name, id)
        context.enforcer.ledger.set_apart(inner.enforcer.ledger, "read", "")
    return f"{type_name}/{id}"


def _told(fault: FhirError) -> FhirError:
    """A fault of the client, to be told with the others; one of the server ends the attempt at once."""
    if fault.status >= 500:
        raise fault
    return fault


def _new_ids(work: _Work) -> None:
    """Ids of what will be created. Patients first: the id of anything in a dossier holds the key of that dossier."""
    context, vault = work.context, work.context.store.vault
    known = work.ids.keys() | work.same.keys()
    waiting = [entry for entry in work.entries("POST", "PUT") if entry.index not in known and (entry.creates or entry.method == "PUT")]
    for entry in [e for e in waiting if e.target.type == "Patient"] + [e for e in waiting if e.target.type != "Patient"]:
        given = entry.resource.get("id") if entry.method == "PUT" else None
        if given is not None:  # conditional update that found nothing: the client's id, in a sandbox
            if not context.sandbox:
                raise FhirError("business-rule", "ids are given by the server: leave the id out", f"{entry.place}.resource.id")
            id = given
        elif entry.target.type == "Patient":
            id = vault.new_id(vault.new_dossier(context.random), context.random)
        elif entry.target.type == "Binary":
            continue
        else:
            id = vault.new_id(_dossier(work, entry), context.random)
        work.ids[entry.index] = f"{entry.target.type}/{id}"
        work.new.add(entry.index)
    _binary_ids(work, [entry for entry in waiting if entry.index not in work.ids])
    work.ids.update({index: work.ids[first] for index, first in work.same.items()})


def _dossier(work: _Work, entry: bundle.Entry) -> int:
    """The dossier of a resource whose references are still as the client wrote them."""
    vault, named = work.context.store.vault, set()
    codes = compartment("Patient").get(entry.target.type, ())
    index = extract.some(entry.target.type, entry.resource, codes, base_urls=(work.context.base_url,)) if codes else {}
    for values in index.values():
        for value in values:
            text = value.url or f"{value.type}/{value.id}" if isinstance(value, Reference) else ""
            if (identity := _resolved(work, text, entry.base)).startswith("Patient/"):
                named.add(identity)
    if len(named) > 1 and not work.context.sandbox:
        raise FhirError("business-rule", "a resource may belong to one patient only; this one names several", f"{entry.place}.resource")
    return vault.dossier_of_patient(named.pop().partition("/")[2]) if len(named) == 1 else COMMON


def _resolved(work: _Work, text: str, base: str) -> str:
    """`Type/id` that a reference of an entry leads to, "" when it leads nowhere here. base: of the entry, for relative references."""
    if (linked := work.links.get(text)) is not None:
        return linked
    if (index := _linked_entry(work, text, base)) is not None:
        return work.ids.get(work.same.get(index, index), "")
    ref = parse_reference(text, (work.context.base_url,))
    return ref.relative if ref.kind == "local" else ""


def _linked_entry(work: _Work, text: str, base: str) -> int | None:
    """The entry whose fullUrl a link names, as `rewrite` will find it."""
    text = text.partition("#")[0].partition("/_history/")[0]
    found = work.plan.full_urls.get(text)
    return work.plan.full_urls.get(f"{base}/{text}") if found is None and base and ":" not in text else found


def _binary_ids(work: _Work, binaries: list[bundle.Entry]) -> None:
    """A Binary goes where its securityContext says, else to the dossier of the one document that points to it."""
    vault = work.context.store.vault
    owners: dict[int, set[int]] = {}
    for entry in work.entries("POST", "PUT") if binaries else ():
        identity = work.ids.get(entry.index)
        if identity is not None:
            dossier = dossier_in(vault.locate(*identity.split("/"))) if entry.index in work.new else _dossier(work, entry)
            for url in _urls(entry.resource):
                if (index := _linked_entry(work, url, entry.base)) is not None:
                    owners.setdefault(index, set()).add(dossier)
    for entry in binaries:
        context_of = (entry.resource.get("securityContext") or {}).get("reference")
        owner = owners.get(entry.index, {COMMON})
        dossier = next(iter(owner)) if len(owner) == 1 else COMMON
        if isinstance(context_of, str) and (identity := _resolved(work, context_of, entry.base)):
            type_name, _, id = identity.partition("/")
            dossier = vault.dossier_of_patient(id) if type_name == "Patient" else dossier_in(vault.open_id(id) or bytes(8))
        id = vault.new_id(dossier, work.context.random)
        work.ids[entry.index] = f"Binary/{id}"
        work.dossiers[entry.index] = dossier
        work.new.add(entry.index)


def _urls(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("url"), str):
            yield value["url"]
        for part in value.values():
            yield from _urls(part)
    elif isinstance(value, list):
        for part in value:
            yield from _urls(part)


async def _writes(work: _Work) -> None:
    """The version each entry stores, references rewritten; every fault of every entry is found before any is told."""
    faults = await transaction_rights.done(work, _at) if work.context.enforcer is not None else []
    ready: list[tuple[bundle.Entry, Checked]] = []
    for number, entry in enumerate(work.entries(*WRITES)):
        if entry.index in work.settled:
            continue
        if number % STRIDE == STRIDE - 1:
            await asyncio.sleep(0)
        if entry.method == "POST" and not entry.creates:
            continue
        try:
            with _at(entry):
                if (checked := await _judged(work, entry)) is not None:
                    ready.append((entry, checked))
        except FhirError as fault:
            faults.append(fault)
    if faults:
        raise FhirError.many(faults[0].kind, [issue for fault in faults for issue in fault.issues])
    items: dict[int, Item] = {}
    if work.context.enforcer is not None and ready:
        ready, items = await _decided(work, ready)
    for number, (entry, checked) in enumerate(ready):
        if number % STRIDE == STRIDE - 1:
            await asyncio.sleep(0)
        with _at(entry):
            await _stamped(work, entry, checked, items.get(entry.index))
    for index, first in work.same.items():
        work.answers[index] = msgspec.structs.replace(work.answers[first], status=200)


async def _decided(work: _Work, ready: list[tuple[bundle.Entry, Checked]]) -> tuple[list[tuple[bundle.Entry, Checked]], dict[int, Item]]:
    """What the rules say of all that is sent together; the resources as they will be stored, and what their deposit fixes."""
    context = work.context
    items = [Item(checked, work.ids[entry.index].split("/")[1], work.rows.get(entry.index)) for entry, checked in ready]
    changed = frozenset(work.ids[entry.index] for entry in work.entries("PATCH") if entry.index in work.ids)
    met, before = await depositing.decided(context, items, changed=changed)
    _submission(context, work.plan)  # who may not write it is not told what is wrong with it
    for index, (entry, _) in enumerate(ready):
        if work.dossiers.get(entry.index, met.number) != met.number:
            raise FhirError("business-rule", "a content is deposited with its document, which names it", f"{entry.place}.resource")
        ready[index] = (entry, items[index].checked)
    work.changes += [(one.change, one.id) for one in before]
    return ready, {entry.index: item for (entry, _), item in zip(ready, items, strict=True)}


def _submission(context: Context, plan: bundle.Plan) -> None:
    """Refuse what breaks ITI-65 as a whole, where the transaction is one."""
    entries = []
    for entry in plan.entries:
        resource = {"resource": entry.resource} if entry.resource is not None and entry.patch != "json" else {}
        full_url = {"fullUrl": entry.full_url} if entry.full_url else {}
        entries.append({**full_url, **resource, "request": {"method": entry.method, "url": entry.url}})
    claims = {"meta": {"profile": list(plan.profiles)}} if plan.profiles else {}
    value = json.parse(json.dump({"resourceType": "Bundle", **claims, "type": "transaction", "entry": entries}))
    strict = context.settings.strict_metadata
    found = profiles.submission_issues(value, context.actor.kind, language=context.language, strict=strict)
    if faults := [issue for issue in found if issue.severity in ("error", "fatal")]:
        raise FhirError.many("unprocessable", faults)


async def _ruled(work: _Work, entry: bundle.Entry, row: Row | None, id: str) -> bool:
    """What somebody who obeys the rules asks beside deposits; whether the answer is found."""
    context, type_name = work.context, entry.target.type
    if entry.method == "DELETE":
        await ruled.removed(context, type_name)
    if type_name in ruled.NEVER or type_name in enforcement.PUBLIC:
        raise FhirError("not-supported", f"a {type_name} is sent by itself or in a batch, not in a transaction of a dossier")
    if entry.method == "PUT" and (type_name in ruled.PDSM or type_name == "Binary"):
        raise ruled.not_allowed(type_name, "PUT", "GET, HEAD, PATCH")
    if entry.method == "POST" and entry.creates and entry.index not in work.new and entry.index not in work.same:
        inner = enforcement.apart(context)
        work.answers[entry.index] = await read.run(inner, type_name, id)
        context.enforcer.ledger.set_apart(inner.enforcer.ledger, "read", "")
        return True
    if entry.method != "PATCH":
        return False
    if row is None or row.deleted:
        raise read.absent() if row is None else read.deleted(row)
    update.precondition(row, parse_tags(entry.if_match))
    operations = entry.operations if entry.patch == "json" else rewrite(entry.resource, work.links, base=entry.base)
    work.answers[entry.index] = await ruled.patched_in(context, type_name, row, id, entry.patch, operations)
    return True


async def _judged(work: _Work, entry: bundle.Entry) -> Checked | None:
    """The valid resource that the entry stores, None when it stores none or its answer is already found."""
    context, row = work.context, work.rows.get(entry.index)
    id = work.ids.get(entry.index, "/").split("/")[1]
    exists = row is not None and not row.deleted
    if context.enforcer is not None and await _ruled(work, entry, row, id):
        return None
    if entry.method == "DELETE":
        _delete(work, entry, row, id)
        return None
    if entry.index in work.same:
        return None
    if entry.method == "POST" and entry.index not in work.new:
        work.answers[entry.index] = read.answer(row, id)
        return None
    update.precondition(row, parse_tags(entry.if_match), parse_tags(entry.if_none_match))
    if entry.method == "PATCH":
        if not exists:
            raise read.absent() if row is None else read.deleted(row)
        return await _patched(work, entry, row, id)
    if entry.method == "PUT" and not exists and entry.index not in work.new and not context.sandbox:
        raise read.absent()
    if entry.method == "PUT" and not exists:
        admit(context, entry.target.type, "c")
    # Who obeys the rules has been told what is no resource before they were asked.
    valid = context.enforcer is not None
    return check(context, json.dump(rewrite(entry.resource, work.links, base=entry.base)), entry.target.type, valid=valid)


async def _stamped(work: _Work, entry: bundle.Entry, checked: Checked, item: Item | None = None) -> None:
    """Give the version its place; contents are written now that nothing can be refused any more. item: as it was decided on, if it was."""
    row, id, dossier = work.rows.get(entry.index), work.ids[entry.index].split("/")[1], work.dossiers.get(entry.index)
    origin, gone = item.origin if item is not None else None, frozenset()
    if item is not None:
        checked, gone = await written_back.whole(work.context, checked, row)
    origin = await carried_on(work.context, checked.value) if origin is None and row is None else origin
    content = work.kept.get(entry.index)
    if octets.is_large(checked):
        checked, content = await octets.set_apart(work.context, checked, id, dossier)
    stamped = stamp(work.context, checked, method=entry.method, id=id, current=row, dossier=dossier, content=content, origin=origin)
    work.changes.append((stamped.change, id))
    answer = written(stamped, 200 if row is not None and not row.deleted else 201)
    work.answers[entry.index] = written_back.answered(work.context, answer, gone)


def _delete(work: _Work, entry: bundle.Entry, row: Row | None, id: str) -> None:
    update.precondition(row, parse_tags(entry.if_match))
    if row is None and not entry.target.conditional:
        work.answers[entry.index] = delete.never_was(work.context)
        return
    if row is None or row.deleted:
        work.answers[entry.index] = Answer(204)
        return
    change = delete.deletion_of(work.context, row, id)
    work.changes.append((change, id))
    work.answers[entry.index] = Answer(204, version=version_id(change.row.version))


async def _patched(work: _Work, entry: bundle.Entry, row: Row, id: str) -> Checked:
    operations = entry.operations if entry.patch == "json" else rewrite(entry.resource, work.links, base=entry.base)
    before = await patch.body_before(work.context, row, b"" if row.content is None else json.dump(operations))
    if before is row.body and row.content is not None:
        work.kept[entry.index] = row.content
    patched = patch.apply_tree(work.context, entry.patch, json.parse_exact(before), operations)
    patch.check_identity(patched, entry.target.type, id)
    return check(work.context, json.dump(patched), entry.target.type)


def _inside(expression: str, type_name: str) -> str:
    rest = expression.removeprefix(type_name).removeprefix(".")
    return f"resource.{rest}" if rest else "resource"


def _inside_of(expression: str, type_name: str) -> str:
    """The same place, seen from the entry; places that are not in its resource stay."""
    is_inside = expression == type_name or expression.startswith(f"{type_name}.") or expression == "resourceType"
    return _inside(expression, type_name) if type_name and is_inside else expression


async def _answers(work: _Work, prefer: str) -> list[bundle.Answer]:
    """One answer per entry, in order; reads come last and see what was written."""
    found: list[bundle.Answer] = []
    for entry in work.plan.entries:
        answer = work.answers.get(entry.index)
        if answer is None:
            with _at(entry):
                resource = rewrite(entry.resource, work.links) if entry.resource else None
                answer = await _read(work.context, entry, request_of(entry, resource))
        found.append(await entry_answer(work.context, entry, answer, prefer))
    return found


async def _read(context: Context, entry: bundle.Entry, request: dispatch.Request) -> Answer:
    """What an entry reads, told in the trace by its own words, of whom it names."""
    if context.enforcer is None:
        return await dispatch.run(context, request)
    inner = enforcement.apart(context)
    try:
        answer = await dispatch.run(inner, request)
    except FhirError:
        context.enforcer.ledger.add(inner.enforcer.ledger)
        raise
    told(context, entry, inner.enforcer.ledger)
    return answer


class _at:
    """Gives the refusals of an entry the entry's place."""

    def __init__(self, entry: bundle.Entry) -> None:
        self.place, self.type = entry.place, entry.target.type

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FhirError) and not error.where.startswith("Bundle.entry"):
            # "Patient.name[0]" of the resource is "resource.name[0]" of the entry.
            moved = [issue._replace(expression=_inside_of(issue.expression, self.type)) for issue in error.issues]
            raise FhirError(error.kind, error.message, issues=moved, headers=error.headers).within(self.place) from None
