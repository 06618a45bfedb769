"""Restrictions of two dossiers that are parted: what their holder forbade while they were one is forbidden in both.

Code de la santé publique L1111-14 to L1111-19; https://hl7.org/fhir/R5/patient-operation-merge.html

Masks, blocks and oppositions of the dossier that goes on come into the one that opens again as Consents of its own, with an id of its own:
they stand in both. Whoever was let in no longer is let in no longer by that one either. What was permitted meanwhile stays where it was.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from fhir_dmp.consent import joining
from fhir_dmp.consent.compiling import traitant_of
from fhir_dmp.consent.directives import INACTIVE, ONE_SPEAKS, Directive, read
from fhir_dmp.consent.predicate import LABEL_BITS, SECRET_SESSION
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import facts
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.merged import Renaming
from fhir_dmp.interactions.origins import translated
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.store import joining as rows
from fhir_dmp.store.rows import Change, Row
from fhir_dmp.store.vault import dossier_in

TYPES = ("Consent", "CareTeam")
AT_ONCE = 50
# In place of a reference to somebody or something that only the other dossier has.
ELSEWHERE = "of the other dossier"

Changes = list[tuple[Change, str]]


class _Right(NamedTuple):
    """A Consent or CareTeam with its body read. label: it was written in a minor's secret session."""

    row: Row
    value: dict[str, Any]
    secret: bool


@dataclass(slots=True)
class Parting:
    """Finds what is to be written when two dossiers are parted, within the transaction of that, before the copies are taken away.

    ids: from the dossier that opens again to the one that goes on. leaving: keys of the rows there that leave it. since_ms: when the two
    became one, UTC.
    """

    inside: Context
    ids: Renaming
    leaving: Collection[bytes]
    since_ms: int
    _named: Mapping[str, frozenset[str]] = field(default_factory=dict)

    async def changes(self) -> tuple[Changes, Changes]:
        """Versions for the dossier that opens again, and for the one that goes on."""
        staged = await rows.staged(self.inside.store, self.ids.target)
        opens = await self._rights(self.ids.source, {})
        there = await self._rights(self.ids.target, staged)
        changed = [one for one in there if one.row.updated_ms > self.since_ms]
        former = [await self._since(one.row.key) for one in changed]
        every = [value for versions in former for value in versions]
        self._named = await facts.names(self.inside, [*(one.value for one in (*opens, *there)), *every])
        own = {self.ids.key(one.row.key): one for one in opens}
        gone = self._gone(there, [*every, *(own[one.row.key].value for one in changed if one.row.key in own)])
        stays = [one for one in there if one.row.key not in self.leaving]
        ended = {one.row.key: value for one in opens if (value := joining.without(one.value, gone, self._resolve)) is not None}
        taken = {}
        for one in changed:
            before = own.get(one.row.key)
            # A restriction in the copy of one that goes as it came would be lost to the dossier that it is taken from.
            if before is not None and one.row.key in self.leaving and not self._same(before.value, one.value):
                taken[one.row.key] = one
        return (
            [*self._written(opens, changed, ended, self._for_opening), *await self._titles_ended()],
            self._written(stays, list(taken.values()), {}, self._for_going_on),
        )

    async def _titles_ended(self) -> Changes:
        """RelatedPersons of the dossier that opens again, whose number held a title in the other and does so no more."""
        now_ms = self.inside.now_ms()
        once, still = frozenset[str](), frozenset[str]()
        for row in await self._people(self.ids.target):
            if row.updated_ms > self.since_ms:
                once = once.union(*(joining.acting(value, self.since_ms) for value in await self._since(row.key)))
            still |= joining.acting(json.parse(row.body or b"{}"), now_ms)
        ended = []
        for row in await self._people(self.ids.source):
            value = json.parse_exact(row.body or b"{}")
            if not joining.acting(value, now_ms).isdisjoint(once - still):
                ended.append(self._stamped({**value, "active": False}, False, row))
        return ended

    async def _people(self, dossier: int) -> list[Row]:
        found = self.inside.reads.scan(types=("RelatedPerson",), dossiers=(dossier,), batch=500)
        return [row async for row in found if row.body is not None and not row.deleted]

    async def _rights(self, dossier: int, staged: Mapping[bytes, Any]) -> list[_Right]:
        """Rights of a dossier, oldest first. staged: facts of what is out of sight, by key."""
        found = []
        async for row in self.inside.reads.scan(types=TYPES, dossiers=(dossier,), batch=500):
            if row.body is not None and not row.deleted:
                shown = facts.listed(row) or facts.listed(row.but(visible=staged.get(row.key)))
                secret = any(one.get("lb", 0) & LABEL_BITS[SECRET_SESSION] for one in shown)
                found.append(_Right(row, json.parse_exact(row.body), secret))
        return sorted(found, key=lambda one: one.row.place)

    async def without_former_traitant(self, value: Mapping[str, Any], there: Row) -> Mapping[str, Any]:
        """The Patient of the dossier that opens again, without a médecin traitant of both who is so no more. there: the other Patient."""
        versions = await self._since(there.key)
        now = json.parse(there.body or b"{}")
        named = await facts.names(self.inside, [value, now, *versions])

        def names(patient: Mapping[str, Any]) -> frozenset[str]:
            return traitant_of(patient, lambda text: named.get(text, frozenset()))

        gone = frozenset().union(*(names(one) for one in versions)) - names(now)
        listed = value.get("generalPractitioner") or []
        left = [one for one in listed if gone.isdisjoint(names({**value, "generalPractitioner": [one]}))]
        if len(left) == len(listed):
            return value
        rest = {name: part for name, part in value.items() if name != "generalPractitioner"}
        return {**rest, "generalPractitioner": left} if left else rest

    async def _since(self, key: bytes) -> list[dict[str, Any]]:
        """Every version of a right or Patient since the dossiers became one, and the one that it had then."""
        found: list[dict[str, Any]] = []
        place = None
        while versions := await self.inside.reads.history(key=key, before=place, limit=AT_ONCE):
            for row in versions:
                if row.body is not None:
                    found.append(json.parse_exact(row.body))
                if row.updated_ms <= self.since_ms:
                    return found
            place = versions[-1].history_place
        return found

    def _resolve(self, text: str) -> frozenset[str]:
        return self._named.get(text, frozenset())

    def _gone(self, there: list[_Right], once: list[dict[str, Any]]) -> frozenset[tuple[str, str]]:
        """Who was let in once, since then, and is so no more, in the ids of the dossier that opens again."""
        now_ms = self.inside.now_ms()
        found = {each for value in once for each in joining.lets(value, self._resolve, self.since_ms)}
        found -= {each for one in there for each in joining.lets(one.value, self._resolve, now_ms)}
        return frozenset((kind, self.ids.back.get(who) or who) for kind, who in found)

    def _written(
        self,
        present: list[_Right],
        given: list[_Right],
        ended: dict[bytes, Mapping[str, Any]],
        terms: Callable[[Mapping[str, Any]], dict[str, Any] | None],
    ) -> Changes:
        """Versions by which what restricts among the given holds in a dossier too. present: its rights.

        ended: what becomes of some of them. terms: a Consent as it is there, None for one that says nothing there.
        """
        active = [(one, said) for one in present if one.value["resourceType"] == "Consent" and (said := self._read(one.value)) is not None]
        active = [(one, said) for one, said in active if said.active]
        new: dict[Any, tuple[dict[str, Any], bool]] = {}
        for one in given:
            said = self._read(one.value) if one.value["resourceType"] == "Consent" else None
            value = terms(one.value) if said is not None and joining.restricts(said) else None
            if value is None:
                continue
            said = replace(self._read(value), id="")
            alike = [(each, other) for each, other in active if other.category == said.category]
            if said.category not in ONE_SPEAKS:
                if all(replace(other, id="") != said for _, other in alike):
                    new[one.row.key] = value, one.secret
            elif not alike or alike[-1][1].permits:
                # The new one ends the former, which would else speak again when the new one is revoked.
                new[said.category] = value, one.secret
                ended |= {each.row.key: {**each.value, "status": INACTIVE} for each, _ in alike}
        changes = [self._stamped(value, secret) for value, secret in new.values()]
        return changes + [self._stamped(ended[one.row.key], False, one.row) for one in present if one.row.key in ended]

    def _read(self, value: Mapping[str, Any]) -> Directive | None:
        return read(value, self._resolve)

    def _same(self, own: Mapping[str, Any], copy: Mapping[str, Any]) -> bool:
        """Whether a Consent of the dossier that opens again says the same as what its copy became."""
        there = self._renamed(copy)
        return own["resourceType"] != "Consent" or self._read(own) == self._read(there)

    def _stamped(self, value: Mapping[str, Any], secret: bool, current: Row | None = None) -> tuple[Change, str]:
        """A version of it: of a new row, or in place of the one that is there."""
        said = self._read(value) if value["resourceType"] == "Consent" else None
        origin = Origin(said.names if said is not None else frozenset(), labels=frozenset({SECRET_SESSION} if secret else ()))
        checked = check(self.inside, json.dump(value), value["resourceType"], valid=True)
        if current is None:
            stamped = stamp(self.inside, checked, method="POST", origin=origin)
        else:
            stamped = stamp(self.inside, checked, method="PUT", id=value["id"], current=current, origin=origin)
        return stamped.change, stamped.id

    # What a Consent says, in the terms of each dossier

    def _for_opening(self, value: Mapping[str, Any]) -> dict[str, Any] | None:
        """A Consent in the dossier that opens again."""
        masking = _masking(value, self._leaves)
        return self._renamed(_leading(masking, lambda text: self._inside(text) and not self._leaves(text))) if masking is not None else None

    def _for_going_on(self, value: Mapping[str, Any]) -> dict[str, Any] | None:
        """A Consent in the dossier that goes on, without what leaves it."""
        masking = _masking(value, lambda text: not self._leaves(text))
        return _leading(masking, lambda text: self._inside(text) and self._leaves(text)) if masking is not None else None

    def _renamed(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return json.parse_exact(translated(json.dump(value), self.ids.back))

    def _key(self, text: str) -> bytes | None:
        said = parse_reference(text, (self.inside.base_url,))
        return self.inside.store.vault.locate(said.type, said.id) if said.kind == "local" and said.type != "Patient" else None

    def _leaves(self, text: str) -> bool:
        return self._key(text) in self.leaving

    def _inside(self, text: str) -> bool:
        """Whether a reference leads to something of the dossier that goes on, other than its Patient."""
        key = self._key(text)
        return key is not None and dossier_in(key) == self.ids.target


def _masking(value: Mapping[str, Any], has: Callable[[str], bool]) -> dict[str, Any] | None:
    """A Consent with those documents alone that a dossier has; None for a mask of which nothing is left. has: reference -> whether."""
    provision = value.get("provision") or {}
    data = provision.get("data") or []
    left = [
        one for one in data if one.get("meaning") != "instance" or not (text := (one.get("reference") or {}).get("reference")) or has(text)
    ]
    if len(left) == len(data):
        return dict(value)
    return {**value, "provision": {**provision, "data": left}} if left else None


def _leading(part: Any, strange: Callable[[str], bool]) -> Any:
    """The same without references to what only the other dossier has. strange: reference -> whether."""
    if isinstance(part, list):
        return [_leading(one, strange) for one in part]
    if not isinstance(part, dict):
        return part
    found = {name: _leading(one, strange) for name, one in part.items()}
    if isinstance(found.get("reference"), str) and strange(found["reference"]):
        del found["reference"]
        found.setdefault("display", ELSEWHERE)
    return found
