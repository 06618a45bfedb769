"""Operation Patient/[id]/$unmerge: what was joined by mistake is parted, each dossier with what is its own.

https://hl7.org/fhir/R5/patient-operation-merge.html (the reverse is this project's)

The dossier that had ended opens again as it was. What became of its documents meanwhile goes back with them: new versions, what replaced
them, and masks that were set; none is taken off. What sources sent meanwhile for its holder goes there too, as the ledger of imports says.
What was forbidden meanwhile is forbidden in both (parted_rights); rights that were given meanwhile stay where they were given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_dmp.consent import notices
from fhir_dmp.consent.predicate import LIFTED
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.interactions import closing, keeping, merged, merging, policy, writing
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import TRACE
from fhir_dmp.interactions.facts import listed
from fhir_dmp.interactions.merged import REPLACED_BY, REPLACES
from fhir_dmp.interactions.merged_rows import RIGHTS, Copying, renamed, roots, versions_of
from fhir_dmp.interactions.merging import Pair
from fhir_dmp.interactions.parted_rights import Parting
from fhir_dmp.store import acts_waiting, joining, takeover
from fhir_dmp.store.ledger import Ledger
from fhir_dmp.store.rows import Change, NewRow, Row
from fhir_dmp.store.takeover import Taken, Version
from fhir_dmp.store.transaction import Transaction

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-unmerge"
PARAMETERS = merging.PARAMETERS
# What a Patient says of a death: neither of two that were joined had died.
DEATH = frozenset({"deceasedDateTime", "_deceasedDateTime", "deceasedBoolean", "_deceasedBoolean"})
PARTED = Issue("information", "informational", "the two dossiers are parted")


async def run(context: Context, url: Url, given: Given) -> Answer:
    """Parameters as of $merge; `result` is the Patient of the address. 409 when the two are not joined."""
    pair = Pair.of(context, url, given)
    if given.flag("preview"):
        ended, row = await _joined(context, pair)
        pair.noted(ended, row)
        return merging.answer(given, [merging.PREVIEW], row)
    for _ in range(merging.TURNS):
        leaving = await context.store.transact(lambda transaction: _hidden(context.inside(transaction), pair), claims=pair.claims)
        await given_back(context, pair, leaving)

        async def part(inside: Context, leaving: Leaving = leaving) -> Row | None:
            return await _parted(inside, pair, leaving)

        row = await context.store.transact(lambda transaction: part(context.inside(transaction)), claims=pair.claims)
        if row is not None:
            await keeping.keep(context)
            return merging.answer(given, [PARTED], row)
    raise FhirError("transient", merging.STILL_COMING, headers={"Retry-After": "5"})


async def _joined(inside: Context, pair: Pair) -> tuple[Row, Row]:
    ended, goes_on = await pair.patients(inside)
    if merged.linked(json.parse(ended.body), REPLACED_BY) != [pair.target]:
        raise FhirError("conflict", "the two dossiers are not joined")
    if merged.linked(json.parse(goes_on.body), REPLACED_BY):
        raise FhirError("conflict", "the one that went on was joined to another dossier since: those two are parted first")
    return ended, goes_on


@dataclass(slots=True)
class Leaving:
    """What leaves the dossier that goes on. rows: of the other one, type and key. keys: of rows there. lineages: hashes of their roots
    there. state: what was current of them, see joining.state.
    """

    rows: list[tuple[str, bytes]]
    keys: list[bytes]
    lineages: frozenset[int]
    state: dict[bytes, str] = field(default_factory=dict)


async def _hidden(inside: Context, pair: Pair) -> Leaving:
    """Take what belongs to the other dossier out of sight, what replaced it here too: from now on nobody changes it here."""
    await _joined(inside, pair)
    return await hidden(inside, pair)


async def hidden(inside: Context, pair: Pair) -> Leaving:
    """The same, whatever their Patients say of each other."""
    leaving = await _belonging(inside, pair, [(one.row.type, one.row.key) for one in await versions_of(inside, pair.ids.source)])
    await joining.hide(inside.transaction, leaving.keys, pair.ids.source)
    leaving.state = await joining.state(inside.transaction, leaving.keys)
    return leaving


async def _belonging(inside: Context, pair: Pair, own: list[tuple[str, bytes]]) -> Leaving:
    """What of the dossier that goes on belongs to the other one now. own: what that one has itself, type and key."""
    rows = list(own)
    # And what sources sent meanwhile for whoever had it, or had one that was joined to it before.
    came = await Ledger(inside.store).joined(await merged.every(inside.reads, pair.ids.source))
    rows += [(type_name, pair.ids.back.key(key)) for type_name, key in came]
    lineages = frozenset(roots(inside.store.vault, rows, pair.ids).values())
    keys = [pair.ids.key(key) for _, key in rows]
    keys += await joining.of_lineages(inside.transaction, pair.ids.target, sorted(lineages))
    return Leaving(own, list(dict.fromkeys(keys)), lineages)


@dataclass(slots=True)
class _Sorted:
    """Rows for the dossier that opens again. changed: with the version each replaces. same: rows there whose facts become stricter."""

    new: list[Taken] = field(default_factory=list)
    old: list[NewRow] = field(default_factory=list)
    changed: list[tuple[Taken, int]] = field(default_factory=list)
    same: list[Taken] = field(default_factory=list)


async def given_back(context: Context, pair: Pair, leaving: Leaving) -> None:
    """What became of its documents since, into the dossier that is still closed. Again does no harm: what is later there stays."""
    store, ids = context.store, pair.ids.back
    own: dict[bytes, dict[int, Version]] = {}
    async for one in takeover.versions(store, pair.ids.source):
        own.setdefault(one.row.key, {})[one.row.version] = one
    known = {(key, version) for key, versions in own.items() for version in versions}
    there = await versions_of(context, pair.ids.target)
    facts = await joining.staged(store, pair.ids.target)
    addresses = roots(store.vault, [(one.row.type, one.row.key) for one in there], ids)
    # A trace that tells of what stays, too, is judged there by that, and here by this.
    facts |= {one.row.key: _of(one.row, leaving.lineages) for one in there if one.journal and _told_of(one, leaving)}
    wanted = set(leaving.keys)
    chosen = [one for one in there if one.row.type not in RIGHTS and (one.row.key in wanted or _told_of(one, leaving))]
    found = _Sorted()
    for one in chosen:
        here = own.get(ids.key(one.row.key), {}).get(one.row.version)
        if here is not None and one.current and here.current:
            now = _now(here.row, one.row, renamed(facts.get(one.row.key), addresses))
            if now != here.row.visible or one.row.acted_ms > here.row.acted_ms:
                found.same.append(Taken(_relabelled(here.row, now), one.row.acted_ms))
    async for one, row in Copying(context, ids, addresses).copies(chosen, known, facts):
        current = next((each.row for each in own.get(row.key, {}).values() if each.current), None)
        if not one.current:
            found.old.append(row)
        elif current is None:
            found.new.append(Taken(row, one.row.acted_ms))
        elif current.updated_ms > row.updated_ms:
            found.old.append(row)
        else:
            kept = row._replace(visible=_stricter(row.visible, current.visible))
            found.changed.append((Taken(kept, one.row.acted_ms), current.version))
    await takeover.put(store, found.new, found.old)
    if found.changed:

        async def changed(transaction: Transaction) -> None:
            await transaction.write([Change(one.row, expected) for one, expected in found.changed])
            await acts_waiting.add(transaction, "mask", [one.row.key for one, _ in found.changed], store.clock())

        await store.transact(changed)
    await takeover.relabel(store, [*found.same, *(one for one, _ in found.changed)])


def _told_of(one: Version, leaving: Leaving) -> bool:
    """Whether it is a trace of this host that tells of what leaves: it stays in this journal, and comes into the other as well."""
    return one.journal and any(facts.get("rt") in leaving.lineages for facts in listed(one.row))


def _of(row: Row, lineages: frozenset[int]) -> Any:
    """Facts of a row about some lineages alone."""
    return [one for one in row.visible if one.get("rt") in lineages] if isinstance(row.visible, list) else row.visible


def _now(own: Row, copy: Row, there: Any) -> Any:
    """Facts of a row that has no new version since. copy: of it. there: what that one is judged by, in the terms of this dossier."""
    if not own.visible or not there or isinstance(own.visible, list) != isinstance(there, list):
        return own.visible
    if own.type == TRACE or own.acted_ms > copy.acted_ms:
        return _stricter(own.visible, there)
    return _stricter(there, own.visible)


def _stricter(later: Any, former: Any) -> Any:
    """The later facts of a row with the labels of both, and when what hid it was last taken away."""
    if isinstance(later, list):
        by_root = {one["rt"]: one for one in (former if isinstance(former, list) else [former] if former else ())}
        return [_stricter(one, by_root.get(one["rt"])) for one in later]
    if not isinstance(later, Mapping) or not isinstance(former, Mapping):
        return later
    away = {name: max(later.get(name, 0), former.get(name, 0)) for name in LIFTED.values() if name in later or name in former}
    return {**later, "lb": later.get("lb", 0) | former.get("lb", 0), **away}


def _relabelled(row: Row, visible: Any) -> NewRow:
    place = row.key, row.dossier, row.type, row.version, row.updated_ms
    return NewRow(*place, 0, (), (), (), (), None, row.method, visible=visible)


async def _parted(inside: Context, pair: Pair, leaving: Leaving) -> Row | None:
    """Take the copies away, open the dossier that had ended under what was forbidden since, and undo both links; the Patient that went on.

    None when something came since it was looked at what leaves: that is to be given back first. What was closed meanwhile stays closed.
    """
    ended, goes_on = await _joined(inside, pair)
    now = await _belonging(inside, pair, leaving.rows)
    if set(now.keys) != set(leaving.keys) or await joining.state(inside.transaction, leaving.keys) != leaving.state:
        return None
    parting = Parting(inside, pair.ids, frozenset(leaving.keys), await _since_ms(inside, ended, pair))
    forbidden, forbidden_there = await parting.changes()
    await joining.drop(inside.transaction, leaving.keys)
    staying = await joining.forget(inside.transaction, pair.ids.target, leaving.lineages, at_ms=inside.now_ms())
    await keeping.acted(inside, "mask", staying)
    await joining.note_parted(inside.transaction, pair.ids.source, pair.ids.target)
    asked = f"Patient/{pair.target}/$unmerge?{pair.asked}"
    value = await parting.without_former_traitant(_unlinked(ended, REPLACED_BY, pair.target), goes_on)
    there = (await policy.of_dossiers(inside, {pair.ids.target}))[pair.ids.target]
    open = there is not None and there.status is not Status.CLOSED
    if there is not None and there.deceased_ms is not None:
        value = {**value, **{name: one for name, one in json.parse_exact(goes_on.body or b"{}").items() if name in DEATH}}
    changes = [merging.changed_patient(inside, ended, pair.source, {**value, "active": open and there.status is Status.OPEN})]
    changes += [*await closing.opening_switched(inside, pair.ids.source, open), *forbidden]
    inside.enforcer.ledger.patient = pair.source
    await writing.write(inside, changes, kind="operation", asked=asked)
    if not open and not inside.sandbox:
        closed = {"closed_ms": there.closed_ms, "lost": there.lost or None} if there is not None else {}
        await policy.recompute(inside, pair.ids.source, **closed, at_ms=inside.now_ms())
    await policy.lifted_with(inside, pair.ids.target, pair.ids.source)
    await merging.told_holder(inside, pair.ids.source, notices.UNMERGE)
    changed = merging.changed_patient(inside, goes_on, pair.target, _unlinked(goes_on, REPLACES, pair.source))
    inside.enforcer.ledger.patient = pair.target
    await writing.write(inside, [changed, *forbidden_there], kind="operation", asked=asked)
    await merging.told_holder(inside, pair.ids.target, notices.UNMERGE)
    return (await pair.patients(inside))[1]


async def _since_ms(inside: Context, ended: Row, pair: Pair) -> int:
    """When the dossier that ended was joined: of the first of its Patient's latest versions that say so, UTC."""
    since_ms, place = ended.updated_ms, None
    while versions := await inside.reads.history(key=ended.key, before=place, limit=merged.AT_ONCE):
        for row in versions:
            if merged.linked(json.parse(row.body or b"{}"), REPLACED_BY) != [pair.target]:
                return since_ms
            since_ms = row.updated_ms
        place = versions[-1].history_place
    return since_ms


def _unlinked(row: Row, kind: str, other: str) -> dict[str, Any]:
    """A Patient without one link."""
    value = json.parse_exact(row.body or b"{}")
    left = [one for one in value.get("link") or () if merged.linked({"link": [one]}, kind) != [other]]
    return {name: part for name, part in {**value, "link": left}.items() if name != "link" or left}
