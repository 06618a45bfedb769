"""The policy of a dossier: read with every request, compiled anew in the transaction of whatever changes it.

https://profiles.ihe.net/ITI/PCF/ ; consent.compiling
"""

from dataclasses import replace

from fhir_dmp.consent.break_glass import surviving
from fhir_dmp.consent.compiling import compiled
from fhir_dmp.consent.dossier import Dossier, MaskRule, Right
from fhir_dmp.consent.predicate import LIFTED, to_mongo
from fhir_dmp.consent.rules import meets
from fhir_dmp.dmp.documents import replaced
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import MIN_MS
from fhir_dmp.interactions import facts
from fhir_dmp.interactions.context import Context
from fhir_dmp.store.rows import Row

# What a policy is compiled from.
SOURCES = ("Patient", "Consent", "CareTeam", "RelatedPerson")
LONGEST_LINEAGE = 1_000
# Rows of what was hidden once and is not any more, by an act.
ONCE_HIDDEN = {"$or": [{f"y.{field}": {"$gt": 0}} for field in LIFTED.values()]}


async def of_dossiers(context: Context, dossiers: set[int]) -> dict[int, Dossier | None]:
    """Policy of each dossier, None where there is none."""
    found = await context.reads.policies(dossiers)
    return {one: await settled(context, one, found.get(one)) if one in found else None for one in dossiers}


def in_force(context: Context, stored: Dossier | None) -> Dossier | None:
    """The stored policy where it is the one in force, None where it must be compiled: in a sandbox anything may be written by anybody."""
    return None if context.sandbox else stored


async def of_row(context: Context, row: Row) -> Dossier | None:
    """The policy that was read with a row."""
    return None if row.erased else await settled(context, row.dossier, row.policy)


async def settled(context: Context, dossier: int, stored: Dossier | None) -> Dossier | None:
    """The policy in force, compiled at this use where none is stored."""
    return in_force(context, stored) or await compile_now(context, dossier, stored)


async def compile_now(
    context: Context,
    dossier: int,
    before: Dossier | None,
    *,
    grants: tuple[Right, ...] | None = None,
    closed_ms: int | None = None,
    given: str | None = None,
    lost: bool | None = None,
) -> Dossier | None:
    """The policy as its resources say now; None without a Patient.

    grants: in place of those before. closed_ms, given: of a closing just done. lost: what another host says, None to go by what was before.
    """
    rows = [row async for row in context.reads.scan(types=SOURCES, dossiers=(dossier,), batch=500)]
    rows.sort(key=lambda row: row.place)
    read: dict[str, list[dict]] = {name: [] for name in SOURCES}
    secret: set[str] = set()
    of_minor: set[str] = set()
    said: dict[str, int] = {}
    for row in rows:
        if row.body is not None:
            read[row.type].append(value := json.parse(row.body))
            if row.type == "Consent":
                said[value.get("id", "")] = int(row.updated_ms)  # the driver has integers of its own
            if facts.secret(row):
                secret.add(f"{row.type}/{value.get('id')}")
            if facts.of_minor(row):
                of_minor.add(f"{row.type}/{value.get('id')}")
    if not read["Patient"]:
        return None
    patient = read["Patient"][-1]
    named = await facts.names(context, [value for values in read.values() for value in values])
    policy = compiled(
        patient,
        read["Consent"],
        read["CareTeam"],
        read["RelatedPerson"],
        lambda text: named.get(text, frozenset()),
        # By what was in force until now: who takes a block back opens nothing that it had ended.
        grants=grants if grants is not None else surviving(before, context.now_ms()) if before else (),
        epoch=before.epoch + 1 if before else 1,
        closed_ms=closed_ms if closed_ms is not None else before.closed_ms if before else None,
        roots=await _roots(context, read["Consent"]),
        secret=secret,
        said=said,
        of_minor=of_minor,
    )
    # What comes back from another host may have been hidden there.
    lifted = before.lifted if before is not None and not before.given else await _anything_lifted(context, dossier)
    given = (before.given if before is not None else "") if given is None else given
    if lost is None:
        lost = before is not None and (before.lost or before.status is Status.RIGHTS_LOST)
    shut = policy.status is Status.CLOSED
    policy = replace(policy, lifted=lifted, given=given if shut else "", lost=lost and shut)
    if not shut and policy.closed_ms is not None:
        policy = replace(policy, closed_ms=None)
    return replace(policy, grants=surviving(policy, context.now_ms()))


async def _anything_lifted(context: Context, dossier: int) -> bool:
    return bool(await context.reads.count(ONCE_HIDDEN, dossiers=(dossier,), limit=1))


async def _roots(context: Context, consents: list[dict]) -> dict[str, str]:
    """Address of the first document of the lineage of each document that a mask by rule names: it covers every version of it."""
    found: dict[str, str] = {}
    for consent in consents:
        for data in (consent.get("provision") or {}).get("data") or ():
            text = (data.get("reference") or {}).get("reference") or ""
            if data.get("meaning") == "instance" and text:
                found[text] = await _first(context, text)
    return found


async def _first(context: Context, text: str) -> str:
    said = facts.here(context, text)
    for _ in range(LONGEST_LINEAGE):
        if said.kind != "local":
            break
        row = await context.reads.load(context.store.vault.locate(said.type, said.id))
        before = replaced(json.parse(row.body)) if row is not None and row.body is not None and not row.deleted else ()
        if not before:
            return said.relative
        said = facts.here(context, before[0])
    return text


async def recompute(
    inside: Context,
    dossier: int,
    *,
    grants: tuple[Right, ...] | None = None,
    closed_ms: int | None = None,
    given: str | None = None,
    lost: bool | None = None,
    at_ms: int,
) -> Dossier | None:
    """Compile and store, in the transaction of the change. inside: the context of that transaction."""
    before = await inside.transaction.stored_policy(dossier)
    policy = await compile_now(inside, dossier, before, grants=grants, closed_ms=closed_ms, given=given, lost=lost)
    if policy is not None:
        ended = _ended(before, policy, at_ms) if before is not None else {}
        for mask, shown_ms in ended.items():
            await inside.transaction.lift(dossier, to_mongo(meets(mask), inside.store.vault.hash64), shown_ms=shown_ms, at_ms=at_ms)
        policy = replace(policy, lifted=policy.lifted or bool(ended))
        await inside.transaction.set_policy(dossier, policy, at_ms=at_ms)
    return policy


def _ended(before: Dossier, policy: Dossier, at_ms: int) -> dict[MaskRule, int]:
    """Masks by rule that a new policy does without, with when what they hid was shown again: now, or at the end of their period.

    Not those that hid nothing: whoever saw the documents all the time would learn that there was a mask.
    """
    if before.given:
        return {}  # what another host did since is told by the rows that came from there
    left = set(before.masks) - set(policy.masks)
    # Said again unchanged, a mask goes on.
    still = {replace(mask, set_ms=MIN_MS) for mask in policy.masks}
    ended = {mask for mask in left if mask.hides(at_ms) and replace(mask, set_ms=MIN_MS) not in still}
    # What is joined to another dossier goes there without the masks whose time is over.
    behind = before.masks if policy.joined else left
    return dict.fromkeys(ended, at_ms) | {mask: mask.until_ms for mask in behind if mask.over(at_ms)}


async def lifted(inside: Context, dossier: int, *, at_ms: int) -> None:
    """Note, in the transaction that takes a label away, that something hidden is so no more."""
    before = await inside.transaction.stored_policy(dossier)
    if before is not None and not before.lifted:
        await inside.transaction.set_policy(dossier, replace(before, lifted=True), at_ms=at_ms)


async def masks_settled(inside: Context, dossier: int) -> bool:
    """Let the rows that masks by rule hid say themselves when that was over, before others come into the dossier; whether there are such.

    What comes was hidden by none of them: dated by them, it would tell whoever saw it elsewhere that they were there.
    """
    at_ms, before = inside.now_ms(), await inside.transaction.stored_policy(dossier)
    over = [mask for mask in before.masks if mask.over(at_ms)] if before is not None else []
    for mask in over:
        await inside.transaction.lift(dossier, to_mongo(meets(mask), inside.store.vault.hash64), shown_ms=mask.until_ms, at_ms=at_ms)
    if over:
        left = tuple(mask for mask in before.masks if mask not in over)
        await inside.transaction.set_policy(dossier, replace(before, masks=left, lifted=True), at_ms=at_ms)
    return bool(over)


async def lifted_with(inside: Context, dossier: int, other: int) -> None:
    """Note that what came from one dossier into another one may have been hidden there, in the transaction that shows it."""
    before = await inside.transaction.stored_policy(dossier)
    if before is not None and before.lifted:
        await lifted(inside, other, at_ms=inside.now_ms())


def patient_named(context: Context, text: str) -> str:
    """Logical id of the Patient a reference leads to, "" when it leads to none here."""
    said = facts.here(context, text)
    return said.id if said.kind == "local" and said.type == "Patient" else ""
