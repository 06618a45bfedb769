"""The engine of imports: a run of items is checked, indexed, sealed and stored in few transactions, each thing exactly once.

https://hl7.org/fhir/R4/http.html#transaction

INVARIANT: whatever a process had done when it died is either stored with its line in the ledger, or not at all; doing the same items
again therefore ends in the same store and the same results.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fhir_dmp.dmp.documents import replaced
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.exchange import received, waiting
from fhir_dmp.exchange.drawn import Drawn, Moment
from fhir_dmp.exchange.foreign import CHANGED as DOCUMENT_CHANGED
from fhir_dmp.exchange.foreign import Foreign, Kept, Made
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.points import reached
from fhir_dmp.exchange.provenance import Origins, Told, drawing
from fhir_dmp.exchange.referring import BINARY, DIRECTORY, DOCUMENT, PATIENT, Links, contents_of, items_of
from fhir_dmp.exchange.repeats import in_order, parts_of, version_of
from fhir_dmp.exchange.results import WORTH_ANOTHER_TRY, Result, answered, refusal
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.exchange.seen import Seen
from fhir_dmp.exchange.units import DELETION, PEOPLE, REQUEST, RESOURCE, TRANSACTION, Unit, Units, failed
from fhir_dmp.exchange.waves import in_turns, waves
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.references import is_id
from fhir_dmp.fhir.tables import compartment
from fhir_dmp.interactions import batch, dispatch, octets, transaction
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.prepare import Checked, check, check_value, patients_named, stamp
from fhir_dmp.search import extract
from fhir_dmp.store import acts_waiting
from fhir_dmp.store.batching import Failed
from fhir_dmp.store.failures import Conflict
from fhir_dmp.store.ledger import Entry, Ledger, Line, Part, Receipt, Recording, Repeated, Stored
from fhir_dmp.store.naming import Hashing
from fhir_dmp.store.rows import Change, Row
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import dossier_in, version_id

log = logging.getLogger("fhir_dmp.exchange")

# What one transaction stores: few enough for a cache of 1 GB and a limit of 60 s, many enough to be worth its commit.
GROUP = 500
GROUP_BYTES = 4 * 1024 * 1024
TURNS = 5
KNOWN = Issue("information", "informational", "this version was imported before")
CHANGED = "the source sent another content under this id and version before: nothing is changed"


class Ready(NamedTuple):
    """A unit that only needs to be stored. told: its versions, its own first.

    results: what is answered once it is stored.
    """

    unit: Unit
    entry: Entry
    told: tuple[Told, ...]
    results: tuple[Result, ...]

    @property
    def size(self) -> int:
        return sum(len(change.row.body) for change in self.entry.changes)


class Engine:
    """Imports items of one source for one job. Not to be used for two runs at a time."""

    def __init__(self, context: Context, rules: Rules, job: str) -> None:
        # What is decided on and stored together has one instant.
        self._moment = Moment(context.now_ms)
        self.context = context = replace(context, now_ms=self._moment.now_ms)
        self.rules = rules
        self.hashing = Hashing.of(context.store.vault, rules.source)
        self.job = self.hashing.number("job", job)
        self.ledger = Ledger(context.store)
        self.origins = Origins(context, rules, self.hashing, job)
        self.units = Units(context, self.hashing, exact=not rules.plain)
        self.seen = Seen(context.store)
        # Lines of the ledger, as a run learns of them.
        self.known: dict[bytes, Line] = {}
        # What waited, and came along with what was imported.
        self.brought: list[Result] = []
        self.foreign = Foreign(replace(context, store=self.seen), rules, self.ledger, self.hashing, self.job, self.known)

    def tick(self) -> None:
        """The next transaction begins."""
        self._moment.pass_on()

    async def run(self, items: Iterable[Item], *, last: bool = False) -> list[list[Result]]:
        """Results of each item, in the order of its entries. Items are about different things, or in an order that matters.

        last: nothing more comes; a professional or structure that a real source only refers to stays a name.
        """
        self.foreign.last = last
        listed = [await self._units(item) for item in items]
        await _Run(self, [unit for units in listed for unit in units]).run()
        reached("chunk-done")
        return [[result for unit in units for result in unit.results] for units in listed]

    async def bind(self, receipt: Receipt) -> None:
        """What waits for somebody of whom it is known now who he is goes with his dossier, whatever becomes of it."""
        quarantine, names = self.foreign.quarantine, set(receipt.names)
        async for one in quarantine.all(naming=names):
            held = waiting.opened(one)
            for unit in self.units.of(held.item) if held.body else ():
                named = self.foreign.referred(unit)
                if unit.work == TRANSACTION:
                    with contextlib.suppress(FhirError):  # it is told of that when it is imported
                        named = named | {key for part in self.units.parts(unit) for key in part.keys}
                if not names.isdisjoint(named):
                    contents = [self.hashing.name(name) for name in contents_of(unit.tree).values()]
                    await quarantine.about([one.key, *contents], {dossier_in(receipt.key)})

    async def _units(self, item: Item) -> list[Unit]:
        """The units of an item, its seal verified before it is parsed."""
        try:
            return self.units.of(item, await received.message_of(self.context, self.rules, item))
        except FhirError as error:
            return [failed(item.place, error)]


class _Run:
    """One run. known: lines of the ledger. rows: current versions, as read before anything was stored. touched: rows stored since.

    hoped: names in `known` of what is ready to be stored and is not stored yet. kept: see _kept.
    """

    def __init__(self, engine: Engine, units: Sequence[Unit]) -> None:
        self.engine, self.context, self.units = engine, engine.context, units
        self.known, self.hoped = engine.known, set[bytes]()
        self.rows: Mapping[bytes, Row] = {}
        self.touched: set[bytes] = set()
        self.group: list[Ready] = []
        # Who was found, and is not in the ledger yet: unit, receipt, and its address.
        self.people: list[tuple[Unit, Receipt, str]] = []
        # One context, whose ids are drawn for one resource after the other.
        self.drawn = Drawn(engine.context.random)
        self.stamping = replace(engine.context, random=self.drawn)
        self.busy: set[bytes] = set()
        # Names of what waits for something later: other versions of it wait behind it.
        self.held: set[bytes] = set()
        self.size = 0
        self.kept = False

    async def run(self) -> None:
        """Give every unit its results."""
        waiting = [unit for unit in self.units if not unit.results]
        plain = waiting if self.engine.rules.plain else ()
        if not plain:
            # A content is seen as its documents are: they come first.
            waiting.sort(key=lambda unit: unit.type == BINARY)
        foreign, vault = self.engine.foreign, self.context.store.vault
        names = {key for unit in waiting for key in (unit.keys if plain else (*unit.keys, *foreign.referred(unit)))}
        if plain:
            self.known |= await self.engine.ledger.known(names)
        else:
            people = [unit for unit in waiting if unit.work == RESOURCE and unit.type == PATIENT]
            names.update(name for unit in people for name in foreign.numbers(unit.tree))
            foreign.absent, foreign.doubted = set(), set()
            self.known |= await foreign.learn(names)
            known = {name for name in names if name in self.known and self.known[name].type == PATIENT}
            await foreign.doubt(known | {key for unit in people for key in unit.keys})
            await self.engine.seen.fetch({foreign.joined.here(line.key) for line in self.known.values() if line.key})
            await foreign.look(waiting)
        own = {vault.locate(unit.type, unit.id) for unit in plain if unit.work == RESOURCE and isinstance(unit.id, str)}
        self.rows = await self.context.store.load_many(own, likely=False) if own else {}
        reached("chunk-prepared")
        # INVARIANT: nothing is stored while a wave is prepared: what it was decided by holds for the transaction that it goes into.
        contents = [] if plain else [unit for unit in waiting if unit.work == RESOURCE and unit.type == BINARY]
        for wave in waves(waiting, bool(plain), foreign.referred):
            if contents and wave[0] is contents[0]:
                await self._flush()
                foreign.expect(contents)
            if not self.busy.isdisjoint(key for unit in wave for key in unit.keys):
                await self._flush()
            await in_turns(self._guarded(unit, self._one(unit)) for unit in wave)
            await self._flush_if_full()
        await self._flush()
        if not self.engine.rules.plain:
            await self._early([unit for unit in waiting if unit.type == DOCUMENT and unit.results and unit.results[0].accepted])

    async def _early(self, documents: Sequence[Unit]) -> None:
        """Bring contents that came before these documents, and waited for them."""
        found: list[tuple[bytes, list[Unit]]] = []
        async for key, held in self.engine.foreign.early(documents):
            found.append((key, self.engine.units.of(held.item, held.message)))
            for unit in found[-1][1]:
                await self._guarded(unit, self._one(unit))
                await self._flush_if_full()
        await self._flush()
        for key, units in found:
            self.engine.brought += [result for unit in units for result in unit.results]
            if all(result.accepted for unit in units for result in unit.results):
                await self.engine.foreign.quarantine.remove(key)

    async def _guarded(self, unit: Unit, work) -> None:
        """Whatever goes wrong about one unit is told of it alone."""
        try:
            await work
        except FhirError as error:
            if unit.type == DOCUMENT and error.status not in WORTH_ANOTHER_TRY:
                self.engine.foreign.refused |= set(contents_of(unit.tree).values())
                if error.kind == "forbidden":
                    await self.engine.foreign.turn_away(unit)
            self._refuse(unit, error)
        except Repeated as repetition:
            self._repeat(unit, repetition.line)
        except Kept as kept:
            unit.done(kept.result)
        except Exception as error:
            unit.done(self._unforeseen(unit, error))

    def _refuse(self, unit: Unit, error: FhirError) -> None:
        if error.status in WORTH_ANOTHER_TRY:
            self.held.update(unit.keys)
        unit.done(refusal(unit.place, error))

    def _unforeseen(self, unit: Unit, error: Exception) -> Result:
        """A resource is looked at before it is checked, in the words of its source: where it is not sound, that is what is wrong."""
        try:
            for tree in [entry.resource or {} for entry in unit.plan.entries] if unit.work == TRANSACTION else [unit.tree]:
                check(self.context, json.dump(tree), None)
        except FhirError as fault:
            return refusal(unit.place, fault)
        log.error("unforeseen fault, import of %s", unit.place, exc_info=error)
        return Result(unit.place, 500, issues=(Issue("fatal", "exception", f"this program failed: {type(error).__name__}"),))

    async def _one(self, unit: Unit) -> None:
        if not self.busy.isdisjoint(unit.keys):
            await self._flush()
        if not self.engine.foreign.last and not self.held.isdisjoint(unit.keys):
            raise FhirError("not-found", "what came of it before waits for something that has not come", unit.type)
        # Where another version of a Patient waits, this one is the last word of its source: it is not only known.
        if (line := self._line(unit)) and self.engine.foreign.doubted.isdisjoint(unit.keys):
            await self._kept()
            self._repeat(unit, line)
        elif unit.work == RESOURCE and not self.engine.rules.plain and unit.type in (PATIENT, *DIRECTORY):
            await self._named(unit)
        elif unit.work == RESOURCE or not self.engine.rules.plain:
            ready = await self._ready(unit)
            if ready is None:
                return
            self.group.append(ready)
            self.size += ready.size
            self.busy |= {name for receipt in ready.entry.receipts for name in receipt.every_name}
            self.busy |= {change.row.key for change in ready.entry.changes}
            self._hope(ready)
        else:
            await self._flush()
            await self._apart(unit)

    async def _kept(self) -> None:
        """What was stored before may have hidden something, and been cut off before that was kept. Asked once in a run."""
        if not self.kept:
            await acts_waiting.keep(self.context.store)
            self.kept = True

    def _line(self, unit: Unit) -> Line | None:
        """The line that knows this version."""
        lines = [line for key in unit.keys if (line := self.known.get(key))]
        found = next((line for line in lines if version_of(line, unit)), None)
        if found is None and unit.former is not None:
            found = next((line for line in lines if line.version(unit.former[0])), None)
            if found is not None:
                unit.version, unit.digest = unit.former
        return found

    def _repeat(self, unit: Unit, line: Line) -> None:
        """What is answered when it was stored before: what was then answered, when that was this very import."""
        stored = version_of(line, unit)
        if stored.digest != unit.digest:
            unit.done(refusal(unit.place, FhirError("conflict", CHANGED)))
            return
        again = stored.job == self.engine.job
        if not line.key and unit.work != TRANSACTION:
            unit.done(
                Result(unit.place, 200, issues=() if stored.job == self.engine.job else (KNOWN,), known=stored.job != self.engine.job)
            )
            return
        whole = Part("PUT", line.type, line.key, stored.row, stored.status)
        for place, entry, part in parts_of(unit, stored, whole, self.engine.rules.plain):
            told = {"known": not again, "issues": () if again else (KNOWN,)}
            if part is None:
                unit.done(Result(place, 200, **told))
                continue
            id = self._id(part, unit.id if entry is None else entry.target.id)
            location = f"{part.type}/{id}/_history/{version_id(part.row)}" if part.method != "DELETE" or entry is not None else ""
            if part.type == PATIENT and not self.engine.rules.plain:
                location = location.partition("/_history")[0]  # see Foreign.person
            unit.done(Result(place, part.status if again else 200, location, **told))

    def _id(self, part: Part, given: object) -> str:
        """Logical id of a row: a sandbox keeps ids that sources chose."""
        vault = self.context.store.vault
        if self.engine.rules.plain and isinstance(given, str) and given and vault.locate(part.type, given) == part.key:
            return given
        return vault.seal_id(self.engine.foreign.joined.here(part.key))

    # A resource of its own

    async def _ready(self, unit: Unit) -> Ready | None:
        """None when there is nothing left to store."""
        if self.engine.rules.plain:
            return await self._plain(unit)
        alone = unit.work == RESOURCE and unit.type != BINARY and not replaced(unit.tree)
        if not alone and not self.busy.isdisjoint(self.engine.foreign.referred(unit)):
            await self._flush()
        if unit.work == TRANSACTION:
            return await self._together(unit)
        line = next((self.known[key] for key in unit.keys if key in self.known), None)
        made = await self.engine.foreign.deposit(unit, line)
        await in_step()
        entry, told = self._entry(unit, made)
        awaited = any(key in self.known and key not in self.hoped for key in unit.keys)
        entry = entry._replace(changes=[*entry.changes, *self._seals(unit, told)], awaited=awaited)
        return Ready(unit, entry, told, (Result(unit.place, entry.receipt.stored.status, made.stamped.location, made.issues),))

    async def _named(self, unit: Unit) -> None:
        """A Patient, or somebody of the directory: no resource of ours, but from now on it is known who is meant."""
        foreign, location = self.engine.foreign, ""
        if unit.type == PATIENT:
            receipt, location = await foreign.person(unit, next((self.known[key] for key in unit.keys if key in self.known), None))
        else:
            receipt = await foreign.listed(unit)
        self.people.append((unit, receipt, location))
        self.busy.update(receipt.names)
        self._expect(receipt)

    async def _people(self, unit: Unit, parts: Sequence[Unit]) -> tuple[Links, dict[str, tuple[Result, Part | None]]]:
        """Those whom a transaction names: what references to them become; by place, what is answered, and the row of a Patient."""
        foreign, links, found = self.engine.foreign, Links(), {}
        for part in sorted(parts, key=lambda one: one.type == "PractitionerRole"):  # who may refer to the others
            try:
                if part.type == PATIENT:
                    self.known |= await foreign.learn((*part.keys, *foreign.numbers(part.tree)))
                    await foreign.doubt(part.keys)
                    receipt, location = await foreign.person(part, next((self.known[key] for key in part.keys if key in self.known), None))
                    links.texts[part.full_url] = location
                    links.people.add(receipt.key)
                else:
                    receipt, location = await foreign.listed(part, links), ""
                    links.stand_ins[part.full_url] = await foreign.stand_in(receipt)
            except Kept:
                raise Kept(await foreign.hold(unit, links.people)) from None
            await self._link([receipt], [location] if receipt.key and receipt.names[0] not in self.known else [])
            self._learnt(receipt)
            if part.type == PATIENT:
                await self._bound(part, receipt)
            row = Part(part.method, part.type, receipt.key, receipt.stored.row, 200) if receipt.key else None
            found[part.place] = Result(part.place, 200, location), row
        return links, found

    async def _together(self, unit: Unit) -> Ready | None:
        """A transaction of a real source: each of its resources is known by itself too, and who is named in it is found."""
        every = self.engine.units.parts(unit)
        if not self.busy.isdisjoint(key for part in every for key in part.keys):
            await self._flush()
        links, people = await self._people(unit, [part for part in every if part.type in PEOPLE])
        lines = await self.engine.foreign.learn(key for part in every if part.place not in people for key in part.keys)
        before = {part.place: next((lines[key] for key in part.keys if key in lines), None) for part in every}
        answers = people | self._came_before([part for part in every if part.place not in people], before, links)
        parts = [part for part in every if part.place not in answers]
        if not parts:
            rows = tuple(row for _, row in answers.values() if row is not None)
            receipt = Receipt(unit.keys, b"", "Bundle", Stored(unit.version, unit.digest, 0, self.engine.job, 200, rows))
            await self.engine.ledger.link(receipt)
            self._learnt(receipt)
            for result in in_order(unit, answers):
                unit.done(result)
            return None
        made = await self.engine.foreign.together(parts, [before[part.place] for part in parts], links)
        built = [self._entry(part, one) for part, one in zip(parts, made, strict=True)]
        every_told = tuple(one for _, told in built for one in told)
        changes = [change for entry, _ in built for change in entry.changes] + self._seals(unit, every_told)
        for part, one in zip(parts, made, strict=True):
            row, status = one.stamped.row, 201 if one.row is None else 200
            stored_as = Part(part.method, row.type, one.key, row.version, status)
            answers[part.place] = Result(part.place, status, one.stamped.location, one.issues), stored_as
        rows = tuple(row for part in every if (row := answers[part.place][1]) is not None)
        first = made[0].stamped.row
        stored = Stored(unit.version, unit.digest, first.version, self.engine.job, 200, rows)
        others = tuple(entry.receipt for entry, _ in built)
        entry = Entry(changes, Receipt(unit.keys, made[0].key, first.type, stored), others, covered=made[0].covered, acted=made[0].acted)
        entry = entry._replace(reviews=made[0].reviews, rights=made[0].rights)
        return Ready(unit, entry, every_told, in_order(unit, answers))

    def _came_before(self, parts: Sequence[Unit], lines: Mapping[str, Line | None], links: Links) -> dict[str, tuple[Result, Part | None]]:
        """Of the parts of a transaction that were stored before, as they are now: what is answered, and the row. 409 when one has changed.

        With a document came its contents and its submission set. links: learn what others refer to them by.
        """
        found: dict[str, tuple[Result, Part | None]] = {}
        known, contents = set[str](), set[str]()
        for part in parts:
            line = lines[part.place]
            stored = None if line is None else version_of(line, part)
            if line is None or (stored is None and part.type != DOCUMENT):
                continue
            if stored is None or stored.digest != part.digest:
                raise FhirError("conflict", DOCUMENT_CHANGED if part.type == DOCUMENT else CHANGED)
            row = Part(part.method, line.type, line.key, stored.row, 200)
            address = f"{line.type}/{self._id(row, None)}"
            # In the words in which the transaction, once it is stored, answers again.
            found[part.place] = Result(part.place, 200, f"{address}/_history/{version_id(stored.row)}"), row
            links.texts |= dict.fromkeys(part.aliases, address)
            if part.type == DOCUMENT:
                known.update(part.aliases)
                contents.update(url for one in part.tree["content"] if (url := one["attachment"].get("url")))
        for part in parts:
            came = part.type == BINARY and not contents.isdisjoint(part.aliases)
            came = came or (part.type == "List" and bool(items := items_of(part.tree)) and items <= known)
            if came and part.place not in found:
                found[part.place] = Result(part.place, 200), None
        return found

    def _seals(self, unit: Unit, told: Sequence[Told]) -> list[Change]:
        """The host's seals of what is deposited together, which tell where it comes from."""
        return self.engine.origins.seals(told, self.engine.hashing.random(*unit.seed, "seal"), unit.message)

    async def _plain(self, unit: Unit) -> Ready:
        checked = check_value(self.context, unit.body, unit.tree, unit.type)
        await in_step()
        vault, hashing = self.context.store.vault, self.engine.hashing
        id, key = unit.id, None
        if id is not None:
            if not is_id(id):
                raise FhirError("invalid", f"`{str(id)[:100]}` is not an id", f"{unit.type}.id")
            key = vault.locate(unit.type, id)
            if key in self.busy:
                await self._flush()
        current = None if key is None else await self.context.store.load(key) if key in self.touched else self.rows.get(key)
        if current is not None and (current.type != unit.type or current.erased):
            raise FhirError("conflict", "this id, given by the server to another resource, cannot be used again")
        content = None
        if octets.is_large(checked):
            checked, content = await octets.set_apart(self.context, checked, id)
        created = current is None or current.deleted
        method = "POST" if id is None else "PUT"
        self.drawn.source = hashing.random(*unit.seed)
        stamped = stamp(self.stamping, checked, method=method, id=id, current=current, content=content)
        entry, told = self._entry(unit, Made(checked, stamped, [], current, _patient(checked, stamped.id)), created)
        return Ready(unit, entry, told, (Result(unit.place, entry.receipt.stored.status, stamped.location),))

    def _entry(self, unit: Unit, made: Made, created: bool | None = None) -> tuple[Entry, tuple[Told, ...]]:
        """With its receipt; and what is told of it."""
        row, created = made.stamped.row, made.row is None if created is None else created
        own = Told(row, made.stamped.id, made.patient, unit.names[0], created)
        changes = [*(one.change for one in (made.stamped, *made.superseded)), *made.masks]
        stored = Stored(unit.version, unit.digest, row.version, self.engine.job, 201 if created else 200)
        told = (own, *(Told(one.row, one.id, made.patient) for one in made.superseded))
        joined = self.engine.foreign.joined.passed(dossier_in(made.key)) if made.key and dossier_in(made.key) != row.dossier else ()
        receipt = Receipt(unit.keys, made.key or row.key, row.type, stored, made.promises, joined=joined)
        return Entry(changes, receipt, covered=made.covered, acted=made.acted, reviews=made.reviews, rights=made.rights), told

    async def _flush_if_full(self) -> None:
        if max(len(self.group), len(self.people)) >= GROUP or self.size >= GROUP_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        """Store what is ready."""
        group, self.group, self.busy, self.size = self.group, [], set(), 0
        people, self.people = self.people, []
        self.engine.tick()
        hoped, self.hoped = self.hoped, set()
        try:
            if people:
                found = [location for _, receipt, location in people if receipt.key and receipt.names[0] in hoped]
                await self._link([receipt for _, receipt, _ in people], found)
                for unit, receipt, location in people:
                    self._learnt(receipt)
                    hoped -= set(receipt.names)
                    await self._bound(unit, receipt)
                    unit.done(Result(unit.place, 200, location))
                people = []
            if not group:
                return
            reached("before-commit")
            outcomes = await self._commit(group)
        except FhirError as error:
            self.engine.seen.forget()
            for name in hoped:
                self.known.pop(name, None)
            for unit in (*(one for one, _, _ in people), *(ready.unit for ready in group)):
                self._refuse(unit, error)
            return
        self.engine.seen.decided()
        reached("after-commit")
        for ready, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Failed):
                for name in (name for receipt in ready.entry.receipts for name in receipt.every_name if name in hoped):
                    self.known.pop(name, None)
                await self._guarded(ready.unit, self._contested(ready.unit, outcome.error))
            elif isinstance(outcome, Repeated):
                self._repeat(ready.unit, outcome.line)
            else:
                self._stored(ready)

    async def _link(self, receipts: Sequence[Receipt], found: Sequence[str]) -> None:
        """Write who was found. found: addresses of Patients of whom the source is told now that they are here: in their dossiers."""
        traces = self.engine.origins.found([one.removeprefix("Patient/") for one in found])

        async def work(transaction: Transaction) -> None:
            await transaction.write(traces)
            await self.engine.ledger.link(*receipts, transaction=transaction)

        await (self.context.store.transact(work) if traces else self.engine.ledger.link(*receipts))

    async def _bound(self, unit: Unit, receipt: Receipt) -> None:
        """Whoever waited does so no longer: last, so that who is cut off comes back to it."""
        if unit.keys[0] in self.engine.foreign.doubted:
            await self.engine.bind(receipt)
            await self.engine.foreign.said(unit)

    async def _commit(self, group: Sequence[Ready]) -> list:
        def beside(places: Sequence[int]) -> Sequence[Change]:
            reached("in-commit")
            return self.engine.origins.beside([one for place in places for one in group[place].told])

        return await self.engine.ledger.commit([ready.entry for ready in group], beside)

    def _stored(self, ready: Ready) -> None:
        self.touched |= {change.row.key for change in ready.entry.changes}
        for receipt in ready.entry.receipts:
            self._learnt(receipt)
        for result in ready.results:
            ready.unit.done(result)

    def _hope(self, ready: Ready) -> None:
        """What comes next may refer to it: both are stored, or it was there already."""
        if self.engine.rules.plain:
            return
        self.engine.seen.will_be(ready.entry.changes)
        for receipt in ready.entry.receipts:
            self._expect(receipt)

    def _expect(self, receipt: Receipt) -> None:
        """What the ledger will know."""
        own = ((name, Line(receipt.key, receipt.type, stand_in=receipt.stand_in)) for name in receipt.names)
        for name, line in (*own, *((promise.name, Line(promise.key, promise.type)) for promise in receipt.promises)):
            if name not in self.known:
                self.known[name] = line
                self.hoped.add(name)

    def _learnt(self, receipt: Receipt) -> None:
        """What the ledger now knows."""
        for key in receipt.names:
            before = self.known.get(key)
            if before is None:
                self.known[key] = Line(receipt.key, receipt.type, (receipt.stored,), receipt.stand_in)
            else:
                versions, stand_in = (*before.versions, receipt.stored), receipt.stand_in or before.stand_in
                self.known[key] = Line(receipt.key, before.type, versions, stand_in)
        for promise in receipt.promises:
            self.known.setdefault(promise.name, Line(promise.key, promise.type))

    async def _contested(self, unit: Unit, error: BaseException) -> None:
        """Somebody else wrote the resource at the same moment, or its dossier was parted from another: once more on what it is now."""
        for _ in range(TURNS):
            if not isinstance(error, Conflict):
                raise error
            self.engine.seen.forget()
            await self.engine.foreign.joined.renew()
            self.touched |= {self.context.store.vault.locate(unit.type, unit.id)} if unit.id is not None else set()
            ready = await self._ready(unit)
            if await self._there(ready):
                self._stored(ready)
                return
            (outcome,) = await self._commit([ready])
            if isinstance(outcome, Repeated):
                raise outcome
            if outcome is None:
                self._stored(ready)
                return
            error = outcome.error
        raise FhirError("conflict", "the resource was changed again and again meanwhile")

    async def _there(self, ready: Ready) -> bool:
        """Whether a row is there of which the ledger knows nothing: a restore brought back what was hidden or withdrawn since its backup,
        and nothing else. It stays as it is; the ledger learns of it, and its source is answered as of what is stored now: it is not told.
        """
        unit, entry = ready.unit, ready.entry
        own = entry.changes[0]
        if self.engine.rules.plain or unit.work != RESOURCE or own.expected is not None or len(ready.told) > 1 or entry.covered:
            return False
        if await self.context.store.load(own.row.key) is None or await self.engine.ledger.known(unit.keys):
            return False
        await self.engine.ledger.link(entry.receipt)
        return True

    # What stays whole

    async def _apart(self, unit: Unit) -> None:
        """A transaction, an entry of a batch, or a deletion: the interaction itself, with the receipt in its own transaction."""
        stored = Stored(unit.version, unit.digest, 0, self.engine.job, 200)
        receipt = Receipt(unit.keys, b"", unit.type or "Bundle", stored)
        recording = Recording(self.context.store, self.engine.ledger, receipt, traces=self._beside)
        context = drawing(replace(self.context, store=recording), self.engine.hashing.random(*unit.seed))
        reached("before-commit")
        if unit.work == TRANSACTION:
            told = json.parse(await transaction.run(context, unit.plan, "minimal"))
            for index, entry in enumerate(told.get("entry", ())):
                unit.done(answered(self.context.base_url, f"{unit.place} entry[{index}]", entry["response"]))
        elif unit.work == REQUEST:
            answer = await batch.answer_of(context, unit.entry, "minimal")
            told = json.parse(bundle.batch_response([answer]))
            unit.done(answered(self.context.base_url, unit.place, told["entry"][0]["response"]))
        elif unit.work == DELETION:
            url = bundle.parse_url(f"{unit.type}/{unit.id}")
            answer = await dispatch.run(context, dispatch.Request("DELETE", url))
            unit.done(Result(unit.place, answer.status))
        reached("after-commit")
        self.known |= await self.engine.ledger.known(unit.keys)
        self.touched |= set(self.rows)

    def _beside(self, changes: Sequence[Change]) -> list[Change]:
        """Provenances and traces of what an interaction writes."""
        told = []
        for change in changes:
            row = change.row
            if row.deleted or row.body is None:
                continue
            value = json.parse(row.body)
            id = value["id"]
            patients = {id} if row.type == "Patient" else _named_in(self.context, row.type, value)
            patient = next(iter(patients)) if len(patients) == 1 else ""
            told.append(Told(row, id, patient, f"{row.type}/{id}", change.expected is None))
        reached("in-commit")
        return self.engine.origins.beside(told)


def _patient(checked: Checked, id: str) -> str:
    named = {id} if checked.type == "Patient" else checked.told.patients
    return next(iter(named)) if len(named) == 1 else ""


def _named_in(context: Context, type_name: str, value: dict) -> set[str]:
    codes = compartment("Patient").get(type_name, ())
    return patients_named(type_name, extract.some(type_name, value, codes, base_urls=(context.base_url,))) if codes else set()
