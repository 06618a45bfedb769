"""A resource as one asker sees it: the visibility labels he may know, no reference to what is hidden from him.

https://profiles.ihe.net/ITI/PCF/ ; access-rules: labels are kept apart from the body, so that masking makes no new version.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import msgspec

from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.consent.rules import HOLDERS_SIDE
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, INVISIBLE_RL, MASKED, VISIBILITY, concept, label_of, labels_of
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import Ref, parse_reference, references
from fhir_dmp.fhir.tables import element
from fhir_dmp.interactions import facts, late_seals, orphans, versions
from fhir_dmp.interactions.appearing import dated
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON, dossier_in, version_id

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context
    from fhir_dmp.interactions.enforcement import Known

# Where a reference that is gone takes with it what would tell that there was one.
WHOLE = ("AuditEvent.entity", "List.entry", "DocumentReference.relatesTo", "Composition.relatesTo")
# In place of what R4 requires and its reader does not see: the same whatever it was, as if whoever wrote it had not known it.
UNKNOWN = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
# What an extension is not without a value or extensions of its own.
HOLLOW = frozenset({"url", "id"})
LABELLED = "DocumentReference"
# Of the trace of a request that was wrong in itself; a login that failed tells of no document.
FAULTY, REQUEST = b'"4"', b'"rest"'
# Labels before and after an act, in its trace.
CHANGES, NONE = ("label-before", "label-after"), "none"
CHANGED = b'"label-before"'
LABELS = sum(LABEL_BITS[label] for label in VISIBILITY)
NO_LABELS: frozenset[str] = frozenset()


async def bodies(context: "Context", met: "Known | None", rows: Sequence[Row]) -> list[bytes]:
    """What the asker sees of each row, all of which he may see. met: None for who meets no rule, and for the directory."""
    if met is None or met.policy is None:
        return [row.body or b"{}" for row in rows]
    late, found = met.may_be_late, []
    for row in rows:
        if late or leads(row) or (row.type == late_seals.PROVENANCE and late_seals.outdated(context, row)):
            found = await pruned(context, met, rows)
            break
        found.append(row.body or b"{}")
    for place, row in enumerate(rows):
        if row.type == LABELLED:
            found[place] = labelled(met, row, found[place])
        elif row.type == "AuditEvent":
            found[place] = _trace(met, found[place])
    return found


def _trace(met: "Known", body: bytes) -> bytes:
    """A trace as somebody sees it who may see it."""
    if met.request.kind in HOLDERS_SIDE or met.standing.relative:
        body = without_queries(body)
    return without_labels(body, kept_from(met)) if narrowed(met, body) else body


def narrowed(met: "Known | None", body: bytes) -> bool:
    """Whether the trace of an act on labels is told without some of them, whether there were any or not."""
    return met is not None and CHANGED in body and bool(kept_from(met))


def kept_from(met: "Known") -> frozenset[str]:
    """Labels of which an asker is told on no document: that of an act he finds in a trace may not tell him either."""
    if met.request.kind in HOLDERS_SIDE:
        return frozenset({INVISIBLE_PATIENT} | ({INVISIBLE_RL} if met.request.kind == "representative" else set()))
    standing = met.standing
    hidden = frozenset({INVISIBLE_PATIENT, INVISIBLE_RL}) if standing.relative else NO_LABELS
    return hidden if standing.traitant or standing.assimilated else hidden | {MASKED}


def without_labels(body: bytes, labels: Collection[str]) -> bytes:
    """The trace of an act on labels without some of them, before and after it."""
    entities = json.parse_exact(bytes(json.members(body)["entity"]), object_only=False)
    for detail in (one for entity in entities for one in entity.get("detail") or () if one["type"] in CHANGES):
        said = [label for label in detail["valueString"].split() if label not in labels]
        detail["valueString"] = " ".join(said) or NONE
    return json.set_members(body, {"entity": json.dump(entities)})


def without_queries(body: bytes) -> bytes:
    """A trace without the words of its query and of what was wrong with it: somebody may have asked by name for what its reader is not
    shown, or been told of it.
    """
    if b'"outcomeDesc"' in body:
        told = json.members(body)
        if bytes(told["outcome"]) == FAULTY and REQUEST in bytes(told["type"]):  # a refusal says the same whatever is there
            body = json.set_members(body, {"outcomeDesc": None})
    if b'"query"' not in body:
        return body
    kept = [one for one in json.parse_exact(bytes(json.members(body)["entity"]), object_only=False) if "query" not in one]
    # Without it, it no longer follows the profile that asks for it.
    meta = {
        name: part for name, part in json.parse_exact(bytes(json.members(body)["meta"]), object_only=False).items() if name != "profile"
    }
    return json.set_members(body, {"entity": json.dump(kept) if kept else None, "meta": json.dump(meta)})


async def pruned(context: "Context", met: "Known | None", rows: Sequence[Row]) -> list[bytes]:
    """Bodies of rows without the references to what the asker does not see."""
    found = [row.body or b"{}" for row in rows]
    if met is None or met.policy is None:
        return found
    gone, former = frozenset[str](), frozenset[str]()
    if leading := [place for place, row in enumerate(rows) if leads(row)]:
        vouching = [found[place] for place in leading if rows[place].type == late_seals.PROVENANCE]
        vouched = await late_seals.vouched(context, vouching) if vouching else []
        # What a former version names its row does not tell.
        telling = [row.body for row in vouched if row.body and (row.visible is None or leads(row))]
        gone = await hidden(context, met, [*(found[place] for place in leading), *telling])
        former = await _former(context, met, vouched)
        for place in leading:
            if out := gone | former if rows[place].type == late_seals.PROVENANCE else gone:
                found[place] = without(context, found[place], out)
    again = gone or former or met.may_be_late or any([late_seals.outdated(context, row) for row in rows])
    return await _as_they_came(context, met, rows, found, gone, former) if again else found


async def unhiding(context: "Context", met: "Known | None", rows: Sequence[Row]) -> list[Row]:
    """Rows whose bodies lead to nothing that the asker does not see; seals are not made anew."""
    leading = [row.body or b"{}" for row in rows if leads(row)] if met is not None and met.policy is not None else []
    gone = await hidden(context, met, leading) if leading else frozenset()
    return [row.but(body=without(context, row.body, gone)) if row.body and leads(row) else row for row in rows] if gone else list(rows)


async def _former(context: "Context", met: "Known", vouched: Sequence[Row]) -> frozenset[str]:
    """Versions, as "Type/id/_history/version", that were replaced and that the asker does not see, though he may see what is now."""
    old = [row for row in vouched if row.visible is None and row.body and row.dossier == met.number]
    rows = await context.reads.load_many({row.key for row in old}, bodies=False) if old else {}
    unseen = [row for row in old if row.key in rows and versions.seen(context, met, row, rows[row.key]) is None]
    return frozenset([f"{row.type}/{id_of(row.body)}/_history/{version_id(row.version)}" for row in unseen])


async def _as_they_came(
    context: "Context", met: "Known", rows: Sequence[Row], found: list[bytes], gone: frozenset[str], former: frozenset[str]
) -> list[bytes]:
    """Bodies of what came to the asker later than it was deposited, dated as it came; seals over what he is shown. gone: see `without`.

    former: see `_former`.
    """
    judged = await late_seals.judging(context) if any([row.type == late_seals.PROVENANCE for row in rows]) else None
    for place, row in enumerate(rows):
        # A row that a search found by when it came says that time already, its body does not.
        late = met.may_be_late and (at_ms := met.came(row)) >= row.updated_ms
        if judged is not None and row.type == late_seals.PROVENANCE:
            seen = partial(_vouched, context, gone, former) if late or ((gone or former) and leads(row)) else None
            if seen is not None or late_seals.outdated(context, row):
                found[place] = await late_seals.told(context, met, row, found[place], at_ms if late else None, seen, judged)
        if late:
            found[place] = dated(found[place], at_ms)
    return found


def _vouched(context: "Context", gone: frozenset[str], former: frozenset[str], version: str, body: bytes) -> bytes | None:
    """A version as a seal over it is told; None where it is not."""
    return None if version in former or version.partition("/_history/")[0] in gone else without(context, body, gone)


def timed(met: "Known | None", row: Row) -> Row:
    """A row with the time of its last change as the asker sees it."""
    at_ms = row.updated_ms if met is None or not met.may_be_late else met.appeared(row)
    return row if at_ms == row.updated_ms else row.but(updated_ms=at_ms)


async def rows(context: "Context", sight: Sight, found: Sequence[Row]) -> list[Row]:
    """Rows that the asker may see, with the bodies he sees, noted for the trace."""
    return [row for row, _ in await identified(context, sight, found)]


async def identified(context: "Context", sight: Sight, found: Sequence[Row]) -> list[tuple[Row, str]]:
    """The same, each with its logical id."""
    if context.enforcer is None:
        return [(row, id_of(row.body) if row.body else "") for row in found]
    met = sight.met
    patient, ledger = met.patient if met is not None else "", context.enforcer.ledger
    result = []
    for row, body in zip(found, await bodies(context, met, found), strict=True):
        id = id_of(body)
        if row.type != "AuditEvent":  # a journal is told as the query that asked for it
            ledger.note(patient if row.dossier != COMMON else "", row, id)
        result.append((row if body is row.body else timed(met, row).but(body=body), id))
    return result


class _Identity(msgspec.Struct):
    id: str = ""


_IDENTITY = msgspec.json.Decoder(_Identity)


# As the server itself writes them.
_BEGINNING = re.compile(rb'\{"resourceType":"[A-Za-z]{1,64}","id":"([A-Za-z0-9.\-]{1,64})"')


def id_of(body: bytes) -> str:
    """Logical id of a stored resource, "" where it says none."""
    found = _BEGINNING.match(body)
    return found[1].decode() if found is not None else _IDENTITY.decode(body).id


def leads(row: Row) -> bool:
    """Whether a reference in it may lead to something hidden."""
    if row.dossier == COMMON:
        return False
    visible = row.visible
    if type(visible) is dict:
        return facts.LEADS in visible or row.type == "AuditEvent"
    return row.type == "AuditEvent" or any(one.get(facts.LEADS) for one in visible or ())


def restricted(row: Row) -> bool:
    """Whether its lineage carries a label of visibility."""
    visible = row.visible
    if type(visible) is dict:
        return visible.get("lb", LABELS) & LABELS != 0
    return any(one.get("lb", LABELS) & LABELS for one in facts.listed(row))


def labelled(met: "Known", row: Row, body: bytes) -> bytes:
    """A document with those visibility labels of its lineage that the asker may know of, in place of any it was sent with."""
    shown = met.view.labels(facts.opened(met.context, row)[0]) if restricted(row) else NO_LABELS
    # `in` would first ask whether these bytes are a number.
    return relabelled(body, shown) if shown or body.find(b"MASQUE_PS") >= 0 or body.find(b"INVISIBLE_") >= 0 else body


def relabelled(body: bytes, labels: frozenset[str]) -> bytes:
    """A body whose visibility labels are these and no others; labels of other systems stay where they are."""
    members = json.members(body)
    given = bytes(members["securityLabel"]) if "securityLabel" in members else b""
    new = (_labels_often if len(given) <= LONGEST_KEPT else _labels)(given, labels)
    if new is None or not given:
        return json.set_members(body, {"securityLabel": new})
    members["securityLabel"] = msgspec.Raw(new)
    return json.joined(members)


def _labels(given: bytes, labels: frozenset[str]) -> bytes | None:
    """`securityLabel` with these visibility labels and no others. given: as sent, empty for none; None: it has no member."""
    kept = []
    for one in json.parse_exact(given, object_only=False) if given else ():
        codings = [coding for coding in one.get("coding") or () if label_of(coding) not in VISIBILITY]
        if len(codings) == len(one.get("coding") or ()):
            kept.append(one)
        elif codings:
            kept.append({**one, "coding": codings})
    kept += [concept(label) for label in VISIBILITY if label in labels]
    return json.dump(kept) if kept else None


# Documents say much the same here.
_labels_often = lru_cache(1024)(_labels)
LONGEST_KEPT = 1024


# ---- references


async def hidden(context: "Context", met: "Known", values: Sequence[bytes]) -> frozenset[str]:
    """References to resources of the dossier, as "Type/id", that lead to nothing he sees; what is not there is not told from it."""
    return await unseen(
        context, met, {said.relative for body in values for said in _local(context, json.parse(body)) if said.type != "Patient"}
    )


async def unseen(context: "Context", met: "Known", addresses: Collection[str]) -> frozenset[str]:
    """Those of some addresses, "Type/id", within the dossier that lead to nothing he sees."""
    wanted = {}
    for address in addresses:
        key = context.store.vault.locate(*address.split("/", 1))
        if facts.perhaps_in(context, key, met.number) and not address.startswith("Patient/"):
            wanted[address] = key
    rows = await context.reads.load_many(set(wanted.values()), bodies=False) if wanted else {}
    seen = set()
    for address, key in wanted.items():
        row = rows.get(key)
        if row is None or row.dossier != met.number:
            if _outside(context, met, address, key, row):
                seen.add(address)
        elif not row.deleted and row.type == address.partition("/")[0] and met.reading(row).permits:
            seen.add(address)
    return frozenset(wanted) - seen


def _outside(context: "Context", met: "Known", address: str, key: bytes, row: Row | None) -> bool:
    """Whether an address leads to nothing of the dossier, whatever is there. Where a client chose its id, what is absent may belong."""
    if row is not None:
        return True
    type_name, _, id = address.partition("/")
    return dossier_in(key) != met.number and not (context.store.vault.open_id(id) is None and facts.belongs(type_name))


def _local(context: "Context", value: Any) -> Iterator[Ref]:
    for _, reference in references(value):
        said = parse_reference(reference["reference"], (context.base_url,))
        if said.perhaps_here:
            yield replace(said, version="")


def without(context: "Context", body: bytes, gone: frozenset[str]) -> bytes:
    """The body without references to these addresses, "Type/id" or with a version. An element that needs its reference goes with it; what
    the resource needs is `UNKNOWN`. A contained resource goes with the last reference that led to it.
    """
    value = json.parse_exact(body)
    kept, changed = _left(context, value, gone)
    return json.dump(kept) if changed else body


def _left(context: "Context", value: dict[str, Any], gone: frozenset[str]) -> tuple[dict[str, Any], bool]:
    """What is left of a resource, and whether something went."""
    kept, changed = _pruned(context, value, value["resourceType"], gone, must=True)
    return (orphans.left(value, kept), True) if changed else (value, False)


def _pruned(context: "Context", value: Any, path: str, gone: frozenset[str], *, must: bool = False) -> tuple[Any, bool]:
    """(what is left, whether something went); None: the whole of it goes. must: the resource needs it."""
    if isinstance(value, list):
        if _of_values(path):  # a place for each value of the other list, which keeps its own
            kept = [_pruned(context, part, path, gone) for part in value]
            left = [part for part, _ in kept]
            return (left if any(part is not None for part in left) else None), any(changed for _, changed in kept)
        parts = _parts(context, value, path, gone, must)
        left = [part for part, changed, _ in parts if part is not None or not changed]
        return (left or None), any(changed for _, changed, _ in parts)
    if not isinstance(value, dict):
        return value, False
    path, must = _begun(value, path, must)
    nothing = UNKNOWN if must else None
    text = value.get("reference")
    if isinstance(text, str):
        said = parse_reference(text, (context.base_url,))
        if said.perhaps_here and (said.relative in gone or (said.version and f"{said.relative}/_history/{said.version}" in gone)):
            return nothing, True
    left: dict[str, Any] = {}
    any_change = False
    for name, part in value.items():
        place = f"{path}.{name}"
        inner = isinstance(part, (dict, list))
        kept, changed = _pruned(context, part, place, gone, must=must and _needed(place)) if inner else (part, False)
        any_change = any_change or changed
        if kept is None and changed:
            if path in WHOLE or _needed(place) or (name.startswith("value") and path.endswith("xtension")):
                return None, True
            continue
        left[name] = kept
    hollow = not left or (path.endswith("xtension") and left.keys() <= HOLLOW)
    return (nothing, True) if any_change and hollow else (left, any_change)


def _begun(value: Mapping[str, Any], path: str, must: bool) -> tuple[str, bool]:
    """Path of a value, and whether it is needed: both begin anew with a resource, contained ones too."""
    kind = value.get("resourceType")
    return (kind, True) if isinstance(kind, str) else (path, must)


def _parts(context: "Context", value: list, path: str, gone: frozenset[str], must: bool) -> list[tuple[Any, bool, bool]]:
    """The same of each entry of a list, and whether it must stay: where none else would, the first does. must: as in `_pruned`."""
    found = [(*_pruned(context, part, path, gone), False) for part in value]
    if must and found and all(kept is None and changed for kept, changed, _ in found):
        found[0] = (*_pruned(context, value[0], path, gone, must=True), True)
    return found


def put_back(context: "Context", stored: dict[str, Any], wanted: dict[str, Any], gone: frozenset[str]) -> dict[str, Any]:
    """What somebody wants a resource to be, with what of it is not shown to him as it is. See `_put_back`."""
    return orphans.back(stored, _left(context, stored, gone)[0], _put_back(context, stored, wanted, gone, ""))


def _put_back(context: "Context", stored: Any, wanted: Any, gone: frozenset[str], path: str, *, must: bool = True) -> Any:
    """The same of any part of it, but for contained resources to which nothing that is shown leads.

    What he leaves as he was shown it is as it was. An element that he was not shown at all comes back, unless he gave it a value himself:
    he replaced it. In a list that he changed what he was not shown comes last. What is hidden within an entry stays with it as long as it
    says the same as before, has the same id, or stands where it stood in a list of as many; what is told of a value, as long as the value
    is the same. What he takes away is what he was shown of it.

    stored: as it is. wanted: made from what `without` left of that. gone: as there. must: see `_pruned`.
    """
    if not isinstance(stored, dict) or not isinstance(wanted, dict):
        lists = isinstance(stored, list) and isinstance(wanted, list)
        return _list_back(context, stored, wanted, gone, path, must=must) if lists else wanted
    path, must = _begun(stored, path, must)
    made = dict(wanted)
    for name, part in stored.items():
        place = f"{path}.{name}"
        needed = must and _needed(place)
        kept, changed = _pruned(context, part, place, gone, must=needed) if isinstance(part, (dict, list)) else (part, False)
        if not changed or (name.startswith("_") and not json.same(made.get(name[1:]), stored.get(name[1:]))):
            continue
        if name in made:
            made[name] = _back(context, part, kept, made[name], gone, place, must=needed)
        elif (kept is None or isinstance(part, list)) and not _chosen(place, made):
            left = [None] * len(part) if _of_values(place) else []
            made[name] = part if kept is None else _list_back(context, part, left, gone, place, must=needed)
    return {name: part for name, part in made.items() if part != []}


def _back(context: "Context", stored: Any, kept: Any, wanted: Any, gone: frozenset[str], path: str, *, must: bool) -> Any:
    """The same of a part. kept: what he was shown of it."""
    if json.same(kept, wanted):
        return stored
    return wanted if kept is None and isinstance(stored, dict) else _put_back(context, stored, wanted, gone, path, must=must)


def _list_back(context: "Context", stored: list, wanted: list, gone: frozenset[str], path: str, *, must: bool) -> list:
    if _of_values(path):
        return [_value_back(context, one, said, gone, path) for one, said in zip_longest(stored, wanted)]
    judged = list(zip(stored, _parts(context, stored, path, gone, must), strict=True))
    seen = [(one, kept, changed, stays) for one, (kept, changed, stays) in judged if kept is not None or not changed]
    made = list(wanted)
    if any(changed for _, _, changed, _ in seen):
        for number, place in _paired([kept for _, kept, _, _ in seen], wanted).items():
            one, kept, changed, stays = seen[number]
            made[place] = _back(context, one, kept, made[place], gone, path, must=stays) if changed else made[place]
    return made + [one for one, (kept, changed, _) in judged if changed and kept is None]


def _value_back(context: "Context", stored: Any, wanted: Any, gone: frozenset[str], path: str) -> Any:
    """What is told of one value of several."""
    if wanted is None and stored is not None:
        kept, _ = _pruned(context, stored, path, gone)
        return stored if kept is None else None
    return _put_back(context, stored, wanted, gone, path, must=False)


def _paired(shown: Sequence[Any], wanted: Sequence[Any]) -> dict[int, int]:
    """Place of an entry in a list as it was shown -> its place in what was made of that: where it is said again, else where its id is,
    else, in a list of as many, where it was.
    """
    found: dict[int, int] = {}
    namings: list[Callable[[int, Any], Any]] = [lambda _, one: _word(one), lambda _, one: one.get("id") if isinstance(one, dict) else None]
    namings += [lambda place, _: place] if len(shown) == len(wanted) else []
    for naming in namings:
        taken, places = set(found.values()), {}
        for place, one in enumerate(wanted):
            if place not in taken:
                places.setdefault(naming(place, one), []).append(place)
        places.pop(None, None)
        for number, one in enumerate(shown):
            if number not in found and (those := places.get(naming(number, one))):
                found[number] = those.pop(0)
    return found


def _word(value: Any) -> Any:
    """A value as something that can be looked up, whatever the order of its members."""
    if isinstance(value, dict):
        return frozenset((name, _word(part)) for name, part in value.items())
    if isinstance(value, list):
        return tuple(map(_word, value))
    return json.number(value) if isinstance(value, json.Exact) else value


def _of_values(path: str) -> bool:
    """Whether a list tells of the values of another one, each at its place: `_given` of `given`."""
    return path.rpartition(".")[2].startswith("_")


def _chosen(path: str, made: Mapping[str, Any]) -> bool:
    """Whether an element that may be of several types is there as one of them."""
    found = element(path)
    return found is not None and found.choice and any(found.json_name(kind) in made for kind in found.types)


def _needed(path: str) -> bool:
    found = element(path)
    return found is not None and found.min > 0


def labels_in(value: Mapping[str, Any]) -> frozenset[str]:
    """Visibility labels that a resource carries in its body."""
    return labels_of(value.get("securityLabel") or ()) & frozenset(VISIBILITY)
