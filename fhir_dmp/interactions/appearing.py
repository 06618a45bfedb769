"""When something came to somebody: what was hidden from him and is so no more looks to him like a late deposit.

https://hl7.org/fhir/R4/resource.html#Meta ; access-rules: what becomes visible to a class is seen by it as a late deposit
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fhir_dmp.consent import companions
from fhir_dmp.consent.asking import READ
from fhir_dmp.consent.predicate import LABEL_BITS, LIFTED, facts_of, matches, to_mongo
from fhir_dmp.consent.rules import meets
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, MASKED
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS, to_instant
from fhir_dmp.store.rows import Row

if TYPE_CHECKING:
    from fhir_dmp.interactions.enforcement import Known

# Of rows once hidden from somebody, that are kept in memory; more are read again where they are asked for.
MOST = 1_000


def at(met: "Known", row: Row, listed: Sequence[Mapping[str, Any]]) -> int:
    """When the last thing that hid a resource from him was taken away, UTC ms; MIN_MS when nothing did. listed: its facts."""
    found = []
    action = companions.SEEN_AS.get(row.type, READ)
    for one in listed:
        own = facts_of(one, met.context.store.vault.hash64)
        if not _marked(met, one):
            found.append(MIN_MS)
        elif met.decide(action, own).permits:
            found.append(_of(met, action, one, own))
    # A list is there as soon as one of its documents is.
    return min(found, default=MIN_MS)


def _marked(met: "Known", one: Mapping[str, Any]) -> bool:
    lasting = one.get("lb", 0) & LABEL_BITS[INVISIBLE_PATIENT] and met.standing.is_waited_for
    return bool(lasting or met.policy.masks) or any(field in one for field in LIFTED.values())


def _of(met: "Known", action: str, one: Mapping[str, Any], own: Facts) -> int:
    instants = [(one[field], label) for label, field in LIFTED.items() if label not in own.labels and field in one]
    instants += [(rule.until_ms, MASKED) for rule in met.policy.masks if rule.over(met.now_ms) and matches(meets(rule), own)]
    if INVISIBLE_PATIENT in own.labels and own.release_ms <= met.now_ms:
        instants.append((own.release_ms, INVISIBLE_PATIENT))
    hid = [ms for ms, label in instants if not met.decide(action, own.but(labels=own.labels | {label}, release_ms=MAX_MS)).permits]
    return max(hid, default=MIN_MS)


def dated(body: bytes, at_ms: int) -> bytes:
    """A body whose meta.lastUpdated is this instant, UTC ms."""
    meta = json.parse_exact(bytes(json.members(body)["meta"]), object_only=False)
    return json.set_members(body, {"meta": json.dump({**meta, "lastUpdated": to_instant(at_ms)})})


async def lateness(met: "Known | None") -> None:
    """Note in `late` whether anything he sees came to him later than it was deposited: then searches by time ask each row."""
    if met is None or not met.may_be_late:
        return
    if parts := _once_hidden(met, MIN_MS):
        rows: list[Row] = []
        async for row in met.context.reads.scan({"$or": parts}, dossiers=(met.number,), batch=MOST, bodies=False):
            met.late = met.late or (met.reading(row).permits and met.appeared(row) > row.updated_ms)
            if len(rows) < MOST:
                rows.append(row)
            elif met.late:
                break
        met.once_hidden = tuple(rows) if len(rows) < MOST else None


async def keys_since(met: "Known", since_ms: int) -> frozenset[bytes]:
    """Keys of what came to him after an instant, UTC ms, though it was deposited before. Once `lateness` was noted."""
    if not met.may_be_late:
        return frozenset()
    rows = met.once_hidden
    if rows is None:
        if not (parts := _once_hidden(met, since_ms)):
            return frozenset()
        rows = [row async for row in met.context.reads.scan({"$or": parts}, dossiers=(met.number,), bodies=False)]
    return frozenset(row.key for row in rows if met.came(row) > since_ms)


def _once_hidden(met: "Known", since_ms: int) -> list[dict]:
    """Filters one of which every row meets that was hidden from somebody and is so no more, since an instant."""
    parts: list[dict] = []
    if met.policy.lifted:
        parts += [{f"y.{field}": {"$gt": max(0, since_ms)}} for field in LIFTED.values()]
    if met.standing.is_waited_for:
        parts.append({"y.lb": {"$bitsAllSet": LABEL_BITS[INVISIBLE_PATIENT]}, "y.rl": {"$gt": since_ms, "$lte": met.now_ms}})
    ended = [rule for rule in met.policy.masks if since_ms < rule.until_ms and rule.over(met.now_ms)]
    return [*parts, *(to_mongo(meets(rule), met.context.store.vault.hash64) for rule in ended)]
