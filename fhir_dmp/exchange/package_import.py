"""The package of a dossier as another host gave it: everything is verified, then stored, then shown; nothing before.

ig/decisions: host to host; R1111-40 CSP

Keys of rows, versions, instants and facts stay what they were; only the public ids are those of this host. A dossier that was here before
and comes back finds its rows, and only what is new is added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.consent import break_glass, companions
from fhir_dmp.consent.dossier import Dossier, Right
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.documents import STATUSES, SUPERSEDED, WITHDRAWN
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import (
    hosts,
    opening,
    package_closing,
    package_former,
    package_labels,
    package_left,
    package_lost,
    package_read,
    package_returned,
    package_told,
)
from fhir_dmp.exchange import package as form
from fhir_dmp.exchange.hosts import Card
from fhir_dmp.exchange.package import Receipt, RowLine, wrong
from fhir_dmp.exchange.package_facts import sealed as sealed_facts
from fhir_dmp.exchange.package_read import Read
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import from_instant, to_instant
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.interactions import closing, enforcement, keeping, notices, origins, policy, sealing, search_match, tracing, writing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.origins import Origins, translated
from fhir_dmp.interactions.reindex import indexed
from fhir_dmp.signing import box, jws
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.signing.seal import digest
from fhir_dmp.store import joining, outbox, revising, takeover, withdrawing
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.joining import rights_of
from fhir_dmp.store.rows import Change, NewRow, Row
from fhir_dmp.store.takeover import Taken
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import COMMON, dossier_in, dossier_row, version_id, version_of

# How often a dossier is looked at again that changes here meanwhile.
TURNS = 5


class Done(msgspec.Struct, frozen=True):
    """What became of a package. patient: logical id here. new: versions that were not here. receipt: for the host that gave it.
    unproved: traces of which that host says that they stand in no journal.
    """

    patient: str
    dossier: int
    new: int
    counts: dict[str, int]
    receipt: str
    unproved: int = 0


async def read(context: Context, rules: Rules, file: BinaryIO) -> Done:
    """Take a dossier over from a registered host. rules: of that source. context: as of an import. file: seekable. Again does no harm.

    422 when anything in it is not as its host signed it, 409 when the person has another dossier here.
    """
    card = await hosts.card_of(rules.source)
    data = Path(context.settings.data)
    context = acting(context, rules, data)
    found = await package_read.verified(context, card, file, box.own_key(data))
    done = await _Taking(context, card, found).run()
    return msgspec.structs.replace(done, unproved=found.unproved)


def acting(context: Context, rules: Rules, data: Path) -> Context:
    """The context of an act of the giving host, under the rules, traced and sealed."""
    actor = opening.actor_of(rules)
    recorder = context.recorder or Recorder(context.store, context.base_url)
    acting = replace(context, actor=actor, recorder=recorder, seals=context.seals or SealKeys(data))
    return replace(acting, enforcer=opening.judged(acting, rules.origin))


# ---- storing


class _Coming(NamedTuple):
    """What a package brings. changed: with the version here that each replaces. same: here already, with facts to be renewed.

    current: all of it that is current there. here: keys of what was shown here before, that has facts. patient: as he was here,
    None where he was not. sent: as he comes, where something was told here since. told: his current version there is not here.
    """

    old: list[NewRow]
    new: list[Taken]
    changed: list[tuple[Taken, int]]
    same: list[Taken]
    current: list[Taken]
    here: frozenset[bytes]
    patient: Row | None
    sent: NewRow | None
    told: bool

    @property
    def came(self) -> list[Taken]:
        """Versions that are current now."""
        return [*self.new, *(one for one, _ in self.changed)]


class _Taking:
    """Stores one verified package."""

    def __init__(self, context: Context, card: Card, found: Read) -> None:
        self.context, self.card, self.found = context, card, found
        self.store, self.vault = context.store, context.store.vault
        self.number = int(found.package.dossier)
        self.ids = {one.id: self.vault.seal_id(bytes.fromhex(one.key)) for one in found.rows}
        self.patient = self.ids[found.package.patient]

    async def run(self) -> Done:
        """Store it, and show it. Again from its start when its dossier came to another state here since it was looked at: what another
        takeover did, or who opened it, is met as whatever else was done here.
        """
        for turn in range(TURNS):
            try:
                return await self._turn()
            except Conflict:
                enforcement.unwritten(self.context)
                if turn == TURNS - 1:
                    raise
        raise AssertionError("a turn returns or raises")

    async def _turn(self) -> Done:
        # First the epoch: what comes to be in the dossier while it is read is noticed by it.
        self.epoch = _epoch((await self.store.policies({self.number})).get(self.number))
        stored = (await policy.of_dossiers(self.context, {self.number}))[self.number]
        before: dict[bytes, dict[int, takeover.Version]] = {}
        async for one in takeover.versions(self.store, self.number):
            before.setdefault(one.row.key, {})[one.row.version] = one
        if any(one.row.erased for versions in before.values() for one in versions.values()):
            raise FhirError("conflict", "this dossier was destroyed here")
        await self._alone()
        await self._directory()
        await self._former()
        self.returns = _returns(stored, self.found)
        self.parted = await package_returned.pairs(self.context, self.number)
        rights = await package_returned.rights(self.context, self.parted)
        self.lines = lines = [one for one in self.found.rows if one.dossier and bytes.fromhex(one.key) not in rights]
        if not any(one.type == "Patient" and one.current and not one.deleted and one.id == self.found.package.patient for one in lines):
            raise wrong("it has no Patient")
        taken = [self._row(one) for one in lines]
        self.first, self.shut = stored is None, False
        if self.first and (told := await self.store.acts.of_lost(self.number)):
            self.shut = package_lost.rights_since(taken, told)
            taken = package_lost.hidden(taken, [one.current for one in lines], told)
        if self.first and (strange := await package_left.strange(self.store, lines, taken, before)):
            await self._removed(strange)
            before = {key: own for key, own in before.items() if key not in strange}
        try:
            coming = self._sorted(taken, before)
        except FhirError as error:
            ended = self._ended(taken, before) if error.kind == "conflict" else None
            if ended is None or not await ended.apply(self.context, self.patient):
                raise
            raise FhirError("conflict", f"{error.message}; it was closed here, as it was there") from None
        if self.returns:
            # A closed dossier may be opened meanwhile. What is there already somebody put there who never came to show it.
            rest = [one for one in coming.new if not _gives(one.row)]
            there = await takeover.put(self.store, rest, coming.old, staged=stored is not None)
            coming = coming._replace(same=[*coming.same, *(rest if stored is not None else there)])
        count = len(coming.old) + len(coming.new) + len(coming.changed)
        await self._appear(coming)
        receipt = Receipt(
            self.store.record.identity,
            self.found.package.host,
            self.found.package.patient,
            digest(msgspec.json.encode(self.found.manifest)),
            self.found.manifest.until,
            to_instant(self.context.now_ms()),
        )
        signed = self.context.seals.sign_as(form.RECEIPT, msgspec.json.encode(receipt))
        return Done(self.patient, self.number, count, self.found.manifest.counts, signed)

    async def _removed(self, keys: Sequence[bytes]) -> None:
        """Take away rows of a dossier that is not here. Conflict when it is by now."""

        async def work(transaction: Transaction) -> None:
            await self._as_before(transaction)
            await joining.drop(transaction, keys)

        await self.store.transact(work, claims=[rights_of(self.vault, self.number)])

    async def _as_before(self, transaction: Transaction) -> None:
        """Conflict when the dossier is not in the state any more by which everything was decided."""
        if _epoch(await transaction.stored_policy(self.number)) != self.epoch:
            raise Conflict(0, None)

    async def _alone(self) -> None:
        """Nobody has two dossiers."""
        plain = replace(self.context, enforcer=None)
        for one in self.found.rows:
            if one.type == "Patient" and one.current and not one.deleted:
                for ins in identity.ins_of(json.parse(self.found.bodies[one.reference] or b"{}")):
                    criteria = (("identifier", f"{ins.system}|{ins.value}"),)
                    if any(id != self.patient for id, _ in await search_match.run(plain, "Patient", criteria, 2)):
                        raise FhirError("conflict", "the holder has another dossier here: bring them together first")

    async def _directory(self) -> None:
        """Entries of the directory that came along, where they are not known yet."""
        rows = [one for one in self.found.rows if not one.dossier]
        there = await self.store.load_many([bytes.fromhex(one.key) for one in rows]) if rows else {}
        new = []
        for one in rows:
            key = bytes.fromhex(one.key)
            if dossier_in(key) != COMMON or one.type not in policy.facts.DIRECTORY or not one.current:
                raise wrong(f"{one.reference} is no entry of the directory")
            if key not in there:
                new.append(Taken(self._new_row(one, COMMON, None)))
        if new:
            await takeover.put(self.store, new, [])

    async def _former(self) -> None:
        """What the hosts before the giving one left with the dossier, in ids of this host."""
        for number, left in self.found.left.items():
            here = package_former.here(left, self.ids, self.store.record.identity)
            self.found.octets[number] = await origins.write(self.store, self.number, here)

    def _row(self, one: RowLine) -> Taken:
        return Taken(self._new_row(one, self.number, one.facts), one.acted_ms)

    def _new_row(self, one: RowLine, dossier: int, clear: object) -> NewRow:
        body = self.found.bodies[one.reference]
        body = translated(body, self.ids) if body is not None else None
        key, version = bytes.fromhex(one.key), version_of(one.version)
        if version is None:
            raise wrong(f"{one.reference} has no version")
        content = self.found.octets[one.octets.file] if one.octets is not None else None
        row = NewRow(key, dossier, one.type, version, one.updated_ms, 0, (), (), (), (), body, one.method, one.deleted, content)
        row = row._replace(visible=self._facts(clear))
        return indexed(self.store, row, (self.context.base_url,), current=one.current)

    def _facts(self, clear: object) -> object:
        if isinstance(clear, Mapping):
            return sealed_facts(clear, self.vault.hash64, self._address)
        return [sealed_facts(one, self.vault.hash64, self._address) for one in clear] if clear else None

    def _address(self, text: str) -> str:
        type_name, _, id = text.partition("/")
        return f"{type_name}/{self.ids.get(id, id)}" if id else text

    def _sorted(self, taken: Sequence[Taken], before: Mapping[bytes, Mapping[int, takeover.Version]]) -> "_Coming":
        """What is superseded, what is new, what replaces a version here (with that version), and what is here with facts to be renewed.

        Of a dossier that lives here, which was not given away or came back meanwhile, nothing is taken back that was done here since:
        what is the same gets labels alone, and what came later than what it brings stays.
        """
        known = {(bytes.fromhex(line.key), version_of(line.version)) for line in self.found.rows}
        here_ = {(key, version) for key, own in before.items() for version in own}
        old: list[NewRow] = []
        new: list[Taken] = []
        changed: list[tuple[Taken, int]] = []
        same: list[Taken] = []
        sent: NewRow | None = None
        for line, one in zip(self.lines, taken, strict=True):
            own = before.get(one.row.key, {})
            here = own.get(one.row.version)
            if here is not None and here.row.body != one.row.body:
                raise wrong(f"{line.reference} is not what this host gave away")
            if not line.current:
                if here is None:
                    old.append(one.row)
                continue
            current = next((each for each in own.values() if each.current), None)
            if current is None:
                new.append(one)
            elif here is not None and (self.returns or here.current):
                same.append(one._replace(row=one.row._replace(version=current.row.version)))
            elif here is not None:
                continue
            elif current.row.updated_ms < one.row.updated_ms and (self.returns or (one.row.key, current.row.version) in known):
                changed.append((one, current.row.version))
            elif self.returns and line.type == "Patient":
                sent = one.row  # what was told here since is put beside what it says: see package_returned
                old.append(sent)
            else:
                raise FhirError("conflict", f"{line.type}/{self.ids[line.id]} was changed here since")
        if (
            not package_closing.tells(self.found.policy)
            and not self.returns
            and any(_closed(one.row.body) for one in taken if one.row.type == "Patient" and (one.row.key, one.row.version) not in here_)
        ):
            raise FhirError("conflict", "the dossier lives here: the host that sends it gave it away")
        if not self.returns and any(one.row.type in policy.SOURCES for one in (*new, *(one for one, _ in changed))):
            current = [each.row for own in before.values() for each in own.values() if each.current and each.row.type in policy.SOURCES]
            if any((row.key, row.version) not in known for row in current):
                raise FhirError("conflict", "rights were given or taken here since: those of another host do not replace them")
        shown = frozenset(key for key, own in before.items() for each in own.values() if each.current and each.row.visible)
        coming = [one for line, one in zip(self.lines, taken, strict=True) if line.current]
        patient = next(one.row for one in coming if one.row.type == "Patient")
        own = before.get(patient.key, {})
        here = next((each.row for each in own.values() if each.current), None)
        return _Coming(old, new, changed, same, coming, shown, here, sent, patient.version not in own)

    def _ended(self, taken: Sequence[Taken], before: Mapping[bytes, Mapping[int, takeover.Version]]) -> "package_closing.Ended | None":
        """The closing that the package tells, where nobody told it here yet."""
        for line, (row, _) in zip(self.lines, taken, strict=True):
            if line.type == "Patient" and line.current and row.body is not None and package_closing.tells(self.found.policy):
                known = self.returns or row.version in before.get(row.key, {})
                return None if known or not _closed(row.body) else package_closing.Ended(self.found.policy, row, json.parse(row.body))
        return None

    async def _appear(self, coming: "_Coming") -> None:
        """The Patient, the policy, labels, what came along, and the trace: from now on the dossier is met. Conflict when it is not in the
        state any more by which all of this was decided.
        """
        kept, context = self.found.policy, self.context
        context.enforcer.ledger.patient = self.patient
        left = await self._origins()
        apart: list[package_returned.Apart] = []
        # Those too that a takeover which was cut off left here: nobody has noted them yet.
        rights = [one.row.key for one in coming.current if one.row.type in policy.SOURCES]
        # With what it writes itself, the dossier is what this package says and nothing else.
        brought = {(bytes.fromhex(one.key), version_of(one.version)) for one in self.found.rows if one.dossier}
        brought -= {(one.row.key, one.row.version) for one in coming.new if _gives(one.row)}
        told_of = [notices.told_of(self.store, self.number, root) for root in package_told.roots(coming.current)]

        async def work(transaction: Transaction) -> None:
            apart.clear()
            await self._as_before(transaction)
            if self.first:
                there = await takeover.places(transaction, self.number)
                own = {place for place, journal in there.items() if journal}
                if there.keys() - own != brought - own:
                    raise Conflict(0, None)  # another takeover put something there, or took it away
            inside = context.inside(transaction)
            if self.returns:
                await self._returned(inside, coming)
            else:
                await self._added(inside, coming)
            if left is not None:
                await transaction.write([left])
            apart.extend(await package_returned.hidden(inside, self.parted))
            asked = f"$import?source={context.actor.host}"
            if self.returns and coming.patient is not None:
                beside = await package_returned.changes(inside, coming.patient, coming.sent, self.parted)
                await writing.write(inside, beside, kind="operation", asked=asked)
            told = tracing.trace(inside, "import", patient=self.patient, query=asked)
            await transaction.write(context.recorder.changes([told]))
            for name in told_of:
                await outbox.mark(transaction, name, self.number, inside.now_ms())
            said: dict[str, Any] = {"grants": self._grants(), "closed_ms": kept.closed_ms} if self.returns else {}
            if not self.returns and (before := await transaction.stored_policy(self.number)) is not None and before.closed_ms is None:
                said["closed_ms"] = kept.closed_ms
            lost = kept.lost or kept.status == Status.RIGHTS_LOST.value
            said["lost"] = lost if self.returns else (lost and coming.told) or None
            if self.returns and kept.status != Status.OPEN.value:
                said["given"] = ""  # in charge again: no host opens it
            made: Dossier | None = await policy.recompute(inside, self.number, **said, at_ms=inside.now_ms())
            if made is None:
                raise wrong("it has no Patient")
            await keeping.acted(inside, "rights", [*rights, dossier_row(self.number)])
            if self.returns and made.status is Status.CLOSED:
                if made.deceased_ms is not None:
                    await policy.recompute(inside, self.number, given="", at_ms=inside.now_ms())
                elif kept.status == Status.OPEN.value:
                    await self._open_again(inside)
                elif kept.status == Status.RIGHTS_LOST.value:
                    kept_on = await package_returned.read_only(inside, self.number, self.patient)
                    await writing.write(inside, kept_on, kind="operation", asked=asked)
            if self.shut and made.status is not Status.CLOSED:
                await package_lost.shut(inside, self.number, self.patient)

        await self.store.dossier_key(self.number)
        claimed = (self.number, *(pair.ids.source for pair in self.parted))
        await self.store.transact(work, claims=[*(rights_of(self.vault, one) for one in claimed), *told_of])
        await keeping.keep(context)
        await package_returned.gone(context, apart)

    async def _returned(self, inside: Context, coming: "_Coming") -> None:
        """What comes into a dossier that does not live here: its labels are those of the host that was in charge."""
        # Rights of a package that is not taken in the end are nobody's.
        rights = [one for one in coming.new if _gives(one.row)]
        changes = [*(Change(one.row, None) for one in rights), *(Change(one.row, expected) for one, expected in coming.changed)]
        await inside.transaction.write(changes)
        renewed = [*coming.same, *rights, *(one for one, _ in coming.changed)]
        await keeping.acted(inside, "mask", await takeover.give(inside.transaction, renewed))
        await keeping.acted(inside, sealing.WITHDRAW, [one.row.key for one, _ in coming.changed if _is(WITHDRAWN, one.row)])

    async def _added(self, inside: Context, coming: "_Coming") -> None:
        """What comes into a dossier that lives here: of each lineage the labels of both hosts, on all that either has of it."""
        transaction, labelling = inside.transaction, package_labels
        # Not shown yet: left by a takeover for which the dossier was still closed.
        staged = [one for one in coming.same if one.row.visible and one.row.key not in coming.here]
        there = labelling.lineages(coming.current)
        roots = {root for root, one in there.items() if one.bits} | labelling.roots(one.row for one in (*coming.came, *staged))
        where = {"y.rt": {"$in": sorted(roots)}}
        rows = [(row, row.acted_ms) async for row in inside.reads.scan(where, dossiers=(self.number,), bodies=False)]
        here = labelling.lineages(rows)
        labels = labelling.together(there, here, labelling.set_since(coming.current, coming.here))

        def hidden(one: Taken) -> Taken:
            return one._replace(row=labelling.carrying(one.row, labels, here))

        new, changed = [hidden(one) for one in coming.new], [(hidden(one), expected) for one, expected in coming.changed]
        await takeover.put_old(transaction, [*coming.old, *(one.row for one in new if one.row.deleted)])
        await transaction.write([*(Change(one.row, None) for one in new), *(Change(one.row, expected) for one, expected in changed)])
        await takeover.give(transaction, [one for one in (*new, *(one for one, _ in changed)) if one.acted_ms])
        await takeover.give(transaction, [hidden(one) for one in staged])
        sealed = [one.row for one, _ in changed if isinstance(one.row.visible, dict) and one.row.type not in companions.SEEN_AS]
        keys = [key for row in sealed for key in await revising.follow(transaction, row)]
        # A List says no type nor dates of its own.
        lists = [one.row for one, _ in changed if one.row.type == "List"]
        keys += [key for row in lists for key in await withdrawing.follow(transaction, row)]
        await keeping.acted(inside, sealing.WITHDRAW, keys)
        covered: list[bytes] = []
        for root in sorted(root for root, one in here.items() if labels[root] & ~one.common):
            at_ms = max(inside.now_ms(), here[root].acted_ms + 1)
            covered += await transaction.relabel(self.number, root, add=labels[root], remove=0, at_ms=at_ms)
        await keeping.acted(inside, "mask", covered)
        await self._withdrawn(inside, coming, {row.key: row for row, _ in rows})

    async def _withdrawn(self, inside: Context, coming: "_Coming", before: Mapping[bytes, Row]) -> None:
        """What was withdrawn where it comes from, or here, is so with what both hosts have of it; and what its author brought back comes
        back. before: rows here, of the lineages that something comes into.
        """
        changed = {one.row.key: one.row for one, _ in coming.changed}
        roots = package_labels.roots(one.row for one in coming.came if one.row.type != package_labels.TRACE)
        keys = {key for key, row in changed.items() if _is(WITHDRAWN, row) or (key in before and _is(WITHDRAWN, before[key]))}
        for row in before.values():
            if row.type == package_labels.DOCUMENT and row.key not in changed and _is(WITHDRAWN, row):
                keys |= {row.key} if package_labels.roots([row]) & roots else set()
        await keeping.acted(inside, sealing.WITHDRAW, keys)
        documents = [row for row in (await inside.reads.load_many(keys)).values() if row.type == package_labels.DOCUMENT] if keys else []
        await sealing.follow(inside, [(row, self.vault.seal_id(row.key)) for row in documents if not _is(SUPERSEDED, row)])

    async def _origins(self) -> Change | None:
        """Where ids of the giving host lead here, and the proofs of its traces, kept in the dossier for those who verify."""
        package, own = self.found.package, self.store.record.identity
        key = origins.key_of(self.number, package.host)
        if package.host == own:
            return None
        proofs = {translated(one["reference"].encode(), self.ids).decode(): one["proof"] for one in self.found.proofs}
        ids = {there: here for there, here in self.ids.items() if there != here}
        former = {one.host for one in self.found.left.values()} - {package.host, own}
        current = await self.store.load(key)
        if (kept := await origins.load(self.store, self.number, package.host)) is not None:
            ids, proofs, former = {**kept.ids, **ids}, {**kept.proofs, **proofs}, former | {*kept.former}
        content = await origins.write(self.store, self.number, Origins(package.host, ids, proofs, tuple(sorted(former))))
        id, version, at_ms = self.vault.seal_id(key), self.vault.new_version(self.context.random), self.context.now_ms()
        at_ms = at_ms if current is None else max(at_ms, current.updated_ms + 1)
        meta = {"versionId": version_id(version), "lastUpdated": to_instant(at_ms)}
        body = json.dump({"resourceType": "Binary", "id": id, "meta": meta, "contentType": "application/json"})
        row = NewRow(key, self.number, "Binary", version, at_ms, 0, (), (), (), (), body, "POST", content=content)
        return Change(indexed(self.store, row, ()), None if current is None else current.version)

    def _grants(self) -> tuple[Right, ...]:
        told = (Right(**{**msgspec.to_builtins(one), "id": self.ids.get(one.id, one.id)}) for one in self.found.policy.grants)
        return tuple([break_glass.no_longer(one, self.context.now_ms(), self.context.enforcer.law) for one in told])

    async def _open_again(self, inside: Context) -> None:
        """A dossier that comes back opens again, with the emergency accesses that are open: none survives in a closed one."""
        url = Url("Patient", self.patient, ("$reactivate",), (), False)
        await closing.run(inside, url, Given((("reason", "transfer"),)), "reactivate", closing.OPENING)
        if self.found.policy.grants:
            await policy.recompute(inside, self.number, grants=self._grants(), at_ms=inside.now_ms())


def _epoch(stored: Dossier | None) -> int | None:
    """Which state of its rights a dossier is in, None without any."""
    return None if stored is None else stored.epoch


def _returns(stored: Dossier | None, found: Read) -> bool:
    """Whether it comes to a host where the dossier does not live: absent, or given to who gives it now. 409 for what is taken by nobody."""
    if stored is None:
        return True
    if stored.joined:
        raise FhirError("conflict", "the dossier was joined to another one here: the two are parted first")
    hosts_ = {found.package.host, *(one.host for one in found.left.values())}
    if stored.given in hosts_ and stored.closed_ms is not None and from_instant(found.package.at) > stored.closed_ms:
        return True
    if stored.given:
        # Its receipt would close the dossier at both hosts.
        raise FhirError("conflict", "the dossier was given away here: what the host that has it makes from now on is taken")
    if (stored.status, found.policy.status) == (Status.OPEN, Status.CLOSED.value) and not package_closing.tells(found.policy):
        raise FhirError("conflict", "the dossier lives here: what comes is a copy that was closed where it comes from")
    return False


def _gives(row: NewRow) -> bool:
    """Whether the policy of the dossier is compiled from it."""
    return row.type in policy.SOURCES and not row.deleted


def _is(status: str, row: NewRow | Row) -> bool:
    """Whether the rules judge a row by this status."""
    return any(one.get("st") == STATUSES.index(status) for one in package_labels.each(row.visible))


def _closed(body: bytes | None) -> bool:
    return body is not None and json.parse(body).get("active") is False


async def acknowledged(receipt: str, card: Card) -> Receipt:
    """What a receipt of the new host says. 422 when that host did not sign it."""
    try:
        found = msgspec.json.decode(hosts.signed_by(card, receipt.strip(), form.RECEIPT), type=Receipt)
    except (jws.Refused, msgspec.DecodeError) as error:
        raise FhirError("business-rule", f"this is no receipt of {card.name or card.host}: {error}") from None
    if found.host != card.host:
        raise FhirError("business-rule", "the receipt is one of another host")
    return found
