"""Resources of a real source on their way into a dossier: who is meant, what the codes mean, what the references lead to here.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ ; what may be deposited is decided by interactions.depositing, as for any other depositor
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir_dmp.dmp import documents, identity
from fhir_dmp.dmp.documents import STATUSES
from fhir_dmp.dmp.identity import INS_SYSTEMS
from fhir_dmp.dmp.paris import span
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.exchange import mapping, people, together, waiting
from fhir_dmp.exchange.joined import Joined, at_home
from fhir_dmp.exchange.moved import Moved
from fhir_dmp.exchange.opening import judged
from fhir_dmp.exchange.provenance import SID, drawing
from fhir_dmp.exchange.referring import (
    BINARY,
    DIRECTORY,
    DOCUMENT,
    PATIENT,
    Links,
    contents_of,
    directory_number,
    display_of,
    one_number,
    patient_name,
    replaced_in,
)
from fhir_dmp.exchange.rules import EXPERIMENT, FEED, Rules
from fhir_dmp.exchange.units import RESOURCE, Unit
from fhir_dmp.exchange.waiting import CODE, IDENTITY, Held
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference, rewrite
from fhir_dmp.interactions import covering, depositing, enforcement, match, merged, octets, reviewing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.depositing import Item
from fhir_dmp.interactions.enforcement import Enforcer
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.prepare import Checked, Stamped, check, place_of, stamp
from fhir_dmp.interactions.search_sight import UNRESTRICTED
from fhir_dmp.store.ledger import Ledger, Line, Promise, Receipt, Stored
from fhir_dmp.store.naming import digest, master_name
from fhir_dmp.store.reviews import Review
from fhir_dmp.store.rows import Change, Row
from fhir_dmp.store.vault import COMMON, dossier_in, seal, unseal

CHANGED = "this document was received with another content: one id, one document; a new version has an id of its own and `replaces` it"
OTHER_OCTETS = "this content was received with other octets: a new version of a document has an id of its own and `replaces` it"
_STAND_IN = b"stand-in "
# Version, in the ledger, of a Patient of whom a person said who he is.
DECIDED = "decided"


@dataclass(slots=True)
class Made:
    """A unit ready to be stored. stamped: itself first, then what it supersedes. promises: of contents it points to. issues: to tell.

    key: by which the ledger knows it, None for that of its row. covered: lineages that it, or what comes with it, hides, see covering;
    masks: the traces of that.
    acted: rows whose lineages it joins, as they were when it was decided on, see Transaction.unchanged.
    reviews: what it, or what comes with it, leaves for the host's physician. rights: see Entry.
    """

    checked: Checked
    stamped: Stamped
    superseded: list[Stamped]
    row: Row | None
    patient: str
    promises: tuple[Promise, ...] = ()
    issues: tuple[Issue, ...] = ()
    key: bytes | None = None
    covered: tuple[tuple[int, int, int, int], ...] = ()
    acted: Mapping[bytes, int] = field(default_factory=dict)
    masks: tuple[Change, ...] = ()
    reviews: tuple[Review, ...] = ()
    rights: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Read:
    """A resource in words of this host. contents: url -> name of each Binary that it points to and that has not come.

    nameless: references to professionals and structures that never came. people: keys of Patients that it names, as in Links.
    """

    tree: Mapping[str, Any]
    contents: dict[str, str]
    nameless: Sequence[str] = ()
    people: set[bytes] = field(default_factory=set)


class Kept(Exception):
    """The unit waits in quarantine. result: what is said of it."""

    def __init__(self, result) -> None:
        super().__init__("in quarantine")
        self.result = result


class Foreign:
    """Prepares units of one source. job: hash of the import, for receipts. known: lines of the ledger that its run has learnt of."""

    def __init__(self, context: Context, rules: Rules, ledger: Ledger, hashing, job: int, known: dict[bytes, Line]) -> None:
        self.known, self.last = known, False
        # When what it is given was received, UTC ms, where that was not now.
        self.received_ms: int | None = None
        self.context, self.rules, self.ledger, self.hashing, self.job = context, rules, ledger, hashing, job
        self.quarantine = waiting.of(context.store, rules)
        self.joined, self.moved = Joined(context), Moved(context, rules)
        # Names that the ledger was asked for in this run and did not know.
        self.absent: set[bytes] = set()
        # Keys of Patients who wait: whoever they were found to be before, somebody must say who they are now.
        self.doubted: set[bytes] = set()
        # Names of contents whose documents were refused in this run: what nobody may bring is not kept either.
        self.refused: set[str] = set()
        # Patients who have one of the numbers of those whom this run is about: number -> each with what he is.
        self._numbered: dict[tuple[str, str], list[tuple[Row, Mapping[str, Any]]]] = {}
        # Contents that come yet in this run: id -> number of the dossier.
        self._coming: dict[str, int] = {}
        self._asking = judged(context, rules.origin)

    async def learn(self, names: Iterable[bytes]) -> dict[bytes, Line]:
        """Lines of the ledger by name, of dossiers of which it is then known where they go on."""
        asked = set(names)
        lines = await self.ledger.known(asked)
        self.absent |= asked - lines.keys()
        await self.joined.learn(lines.values())
        return lines

    async def doubt(self, names: Iterable[bytes]) -> None:
        """Learn which of these Patients wait."""
        if asked := sorted(names):
            self.doubted |= await self.quarantine.has(asked)

    def numbers(self, patient: Mapping[str, Any]) -> list[bytes]:
        """Keys of the names that the numbers of a Patient may be."""
        return [self.hashing.name(patient_name(*one)) for one in people.numbers(patient, self.rules)]

    def acting(self) -> Context:
        """The context in which the rules judge what the source deposits."""
        return self.context.but(enforcer=Enforcer(self._asking.request, self._asking.law))

    # People

    async def person(self, unit: Unit, line: Line | None) -> tuple[Receipt, str]:
        """The receipt of a Patient who is found here, and his address; Kept when somebody must say who it is.

        Of no version: what changes here is not for his source to know.
        """
        asked = json.parse(unit.body)
        row = await self.context.store.load(line.key) if line is not None and line.key else None
        row = None if row is None or row.erased or not row.body else row
        if row is None or not self._still(asked, row, line):
            row = await self._found(unit, asked, row)
        # Whose dossier was joined to another one is met there as long as they are one.
        stored = Stored(unit.version, unit.digest, row.version, self.job, 200)
        id, _ = await self._survivor(row)
        names = map(self.hashing.name, [patient_name(*one) for one in people.names(asked, json.parse(row.body), self.rules)])
        keys = (*unit.keys, *(name for name in names if name not in self.known or self.known[name].key == row.key))
        return Receipt(tuple(dict.fromkeys(keys)), row.key, PATIENT, stored), f"Patient/{id}"

    def _still(self, asked: Mapping[str, Any], row: Row, line: Line) -> bool:
        """Whether a Patient is still he whom the ledger knows: nothing contradicts it, or somebody decided so of the INS he says."""
        stored = line.version(self.hashing.number("version", DECIDED))
        decided = stored is not None and stored.digest in (0, self.hashing.number("said", people.ins(asked)))
        return decided or people.still(asked, json.parse(row.body), self.rules)

    async def _survivor(self, row: Row) -> tuple[str, Row]:
        return await merged.survivor(self.context, self.context.store.vault.seal_id(row.key), row)

    async def _found(self, unit: Unit, asked: Mapping[str, Any], before: Row | None) -> Row:
        """The row of who is meant. before: of whom he was found to be before. Kept where he is nobody, or not the same any more."""
        rows, found = await self._by_numbers(asked) if before is None else ([], None)
        if found is None or found.place is None:
            rows, goes_on = await self._alike(asked)
            found = people.identify(asked, [json.parse(row.body) for row in rows], self.rules, goes_on)
        row, why = None if found.place is None else rows[found.place], found.why
        if row is not None and before is not None:
            if (await self._survivor(row))[0] == (await self._survivor(before))[0]:
                return before  # so that he is who he was when the two are parted
            row, why = None, f"the {found.why} is that of another dossier than before"
        if row is None:
            if before is not None:
                # What names him by a number of the source leads nowhere until it is known whose that is.
                listed = [name for name in self.numbers(asked) if name in self.known and self.known[name].key == before.key]
                await self.ledger.forget(listed, before.key)
                for name in listed:
                    del self.known[name]
            seal_id = self.context.store.vault.seal_id
            told = tuple((f"Patient/{seal_id(rows[one.place].key)}", one.score, one.grade, one.by) for one in found.candidates)
            kept = await self._hold(unit, IDENTITY, f"who is this? {why}", people=told)
            # Whether anybody here is like that, and what differs, is for whoever looks at it here.
            raise Kept(kept._replace(issues=(Issue("warning", "incomplete", "in quarantine: somebody must say who this is"),)))
        await self.joined.learn([Line(row.key, PATIENT)])
        return row

    async def said(self, unit: Unit) -> None:
        """It is known who a Patient is, and what names him goes with his dossier: what the source said of him before waits no longer."""
        await self.quarantine.remove(unit.keys[0])
        self.doubted.discard(unit.keys[0])

    async def turn_away(self, document: Unit) -> None:
        """Contents of a document that its dossier does not take are not kept either, unless it waits itself."""
        names = set(contents_of(document.tree).values())
        self.refused |= names
        if names and not await self.quarantine.has([document.keys[0]]):
            await self.quarantine.drop([self.hashing.name(name) for name in names])

    async def look(self, units: Iterable[Unit]) -> None:
        """Look together for the Patients among these units who did not come before, by their numbers."""
        named = (unit for unit in units if unit.work == RESOURCE and unit.type == PATIENT)
        listed = [unit.tree for unit in named if not any(key in self.known for key in unit.keys)]
        rows = await together.numbered(self.context.but(enforcer=None), self.rules, listed) if len(listed) > 1 else []
        self._numbered = {}
        for row in rows:
            value = json.parse(row.body)
            for number in people.numbers(value, self.rules):
                self._numbered.setdefault(number, []).append((row, value))
        await self.joined.learn(Line(row.key, PATIENT) for row in rows)

    async def _by_numbers(self, asked: Mapping[str, Any]) -> tuple[list[Row], people.Found | None]:
        """Who is meant as far as numbers tell, of those who were looked for together; the rows in which the place counts."""
        there = {row.key: (row, value) for number in people.numbers(asked, self.rules) for row, value in self._numbered.get(number, ())}
        if not there:
            return [], None
        rows, goes_on = await self._in_order([there[key][0] for key in sorted(there)])
        return rows, people.identify(asked, [there[row.key][1] for row in rows], self.rules, goes_on)

    async def _alike(self, asked: Mapping[str, Any]) -> tuple[list[Row], list[str]]:
        """Patients who may be meant, and the logical id of the Patient that goes on for each; first those who go on themselves."""
        plain = self.context.but(enforcer=None)
        try:
            rows = await match.candidates(plain, dict(people.current(asked)), UNRESTRICTED)
        except FhirError as error:
            if error.status == 400:  # too little is told to look for anybody
                return [], []
            raise
        return await self._in_order(rows)

    async def _in_order(self, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
        vault = self.context.store.vault
        found = [(row, (await merged.survivor(self.context, vault.seal_id(row.key), row))[0]) for row in rows]
        found.sort(key=lambda one: vault.seal_id(one[0].key) != one[1])
        return [row for row, _ in found], [id for _, id in found]

    # The directory: it is kept by this host, so that a source adds nobody to it

    async def listed(self, unit: Unit, inside: Links | None = None) -> Receipt:
        """The receipt of a professional or structure: from now on he is named by his identifier.

        One without a number that is known here stays what the source says, a number of its own and a name, and has no rights by that.
        inside: who else comes with him.
        """
        tree = json.parse(unit.body)
        identifiers = tree.get("identifier") or []
        named = next((one for one in identifiers if identity.known_as([one])), None)
        if named is None and unit.type == "PractitionerRole" and isinstance(tree.get("practitioner"), dict):
            inner = tree["practitioner"]
            if text := inner.get("reference"):
                links = inside if inside is not None and text in inside.stand_ins else await self._links([text], unit)
                named = (links.stand_ins.get(text) or {}).get("identifier")
            named = named or inner.get("identifier")
        reference: dict[str, Any] = {"type": unit.type}
        if named := named or next((one for one in identifiers if one.get("value")), None):
            reference["identifier"] = {name: named[name] for name in ("system", "value") if name in named}
        if display := display_of(tree):
            reference["display"] = display
        if len(reference) == 1:
            raise FhirError("business-rule", f"a {unit.type} without a number and a name is nobody", f"{unit.type}.identifier")
        key = await self.context.store.dossier_key(COMMON)
        sealed = seal(key, json.dump(reference), _STAND_IN + unit.keys[0])
        stored = Stored(unit.version, unit.digest, 0, self.job, 200)
        return Receipt(unit.keys[:1], b"", unit.type, stored, stand_in=sealed)

    async def stand_in(self, receipt: Receipt) -> dict:
        """What references to somebody of the directory become."""
        key = await self.context.store.dossier_key(COMMON)
        return json.parse(unseal(key, receipt.stand_in, _STAND_IN + receipt.names[0]))

    # Deposits

    async def deposit(self, unit: Unit, line: Line | None) -> Made:
        """A resource of a dossier. Kept when it waits."""
        if line is None and unit.type == BINARY:
            line = await self._awaited(unit)
        row = await self._corrected(unit, line)
        read = await self._translated(unit, unit.tree, {})
        await in_step()
        checked = self._checked(read, unit.type)
        await in_step()
        dossier = self._dossier(checked, line)
        if line is None:
            await self.moved.refuse(unit.names, dossier)
        home = self.joined.home(read.people, dossier)
        promises = self._promised(read, dossier, home)
        if promises:  # what was found valid, its contents at their new addresses
            checked = self._checked(read, unit.type, valid=True)
        (made,) = await self._made([unit], [self._item(checked, self._id(unit, line, dossier), row)], dossier)
        made.promises, made.issues = promises, _told(read)
        made.key = at_home(made.stamped.row.key, home) if line is None else line.key
        return made

    async def _awaited(self, unit: Unit) -> Line:
        """What the ledger knows of a content of which no document had spoken. Kept while its document waits, or has not come at all."""
        waits, alone = await self.quarantine.has(list(unit.keys[:1])), "no document of this source points to this content yet"
        if not waits and (not self.last or unit.id is None or unit.names[0] in self.refused):
            raise FhirError("not-found", alone, BINARY)
        kept = await self._hold(unit, waiting.CONTENT, "the document that points to this content waits" if waits else alone)
        line = (await self.learn(unit.keys[:1])).get(unit.keys[0])
        if line is None:
            raise Kept(kept)
        await self.quarantine.remove(unit.keys[0])  # another import brought its document meanwhile
        return line

    async def early(self, documents: Iterable[Unit]) -> AsyncIterator[tuple[bytes, Held]]:
        """Contents of these documents that came before them, with their keys in quarantine."""
        keys = [self.hashing.name(name) for unit in documents for name in contents_of(unit.tree).values()]
        for key in sorted(await self.quarantine.has(keys)) if keys else ():
            found = await self.quarantine.get(key)
            if found is not None and found.kind == waiting.CONTENT and (held := waiting.opened(found)).body:
                yield key, held

    async def together(self, parts: Sequence[Unit], lines: Sequence[Line | None], people: Links) -> list[Made]:
        """The resources of a transaction, e.g. of an ITI-65, deposited all or none. parts: its entries that bring something; lines: of each
        that came before. people: in it.
        """
        addresses = {alias: "" for part in parts for alias in part.aliases}
        reads = [await self._translated(part, part.tree, addresses, people) for part in parts]
        dossiers = {
            self._dossier(self._checked(read, part.type), None) for read, part in zip(reads, parts, strict=True) if part.type != BINARY
        }
        rows = [await self._corrected(part, line) for part, line in zip(parts, lines, strict=True)]
        dossiers |= {row.dossier for row in rows if row is not None}
        if len(dossiers) != 1:
            raise FhirError("business-rule", "a transaction is about one dossier", "Bundle")
        (dossier,) = dossiers
        for part, line in zip(parts, lines, strict=True):
            if line is None:
                await self.moved.refuse(part.names, dossier)
        ids = [self._id(part, line, dossier) for part, line in zip(parts, lines, strict=True)]
        links = {alias: f"{part.type}/{id}" for part, id in zip(parts, ids, strict=True) for alias in part.aliases}
        items = []
        for part, read, id, row in zip(parts, reads, ids, rows, strict=True):
            read.tree = rewrite(dict(read.tree), links)
            items.append(self._item(self._checked(read, part.type), id, row))
        made = await self._made(parts, items, dossier)
        home = self.joined.home({key for read in reads for key in read.people}, dossier)
        for one, read, line in zip(made, reads, lines, strict=True):
            one.issues, one.key = _told(read), at_home(one.stamped.row.key, home) if line is None else line.key
        return made

    async def _corrected(self, unit: Unit, line: Line | None) -> Row | None:
        """The row that a source corrects, as it is now; None for something new. 409 for what is never corrected, or was changed here."""
        if line is None or not line.versions:
            return None
        if unit.type in (DOCUMENT, BINARY):
            raise FhirError("conflict", CHANGED if unit.type == DOCUMENT else OTHER_OCTETS)
        row = await self.context.store.load(self.joined.here(line.key))
        if row is not None and row.version not in {stored.row for stored in line.versions}:
            raise FhirError("conflict", "this was changed here since it came: another version of it must be brought together by somebody")
        return row

    def _item(self, checked: Checked, id: str, row: Row | None) -> Item:
        """What is deposited. An import restarts no clock: what waited was received before, and what is taken over from an experimental
        dossier was deposited in that one when it says. In any other record `date` tells of no deposit.
        """
        first = [] if self.received_ms is None else [self.received_ms]
        if self.rules.kind == EXPERIMENT and checked.type == DOCUMENT and checked.value.get("date"):
            first.append(span(checked.value["date"])[0])
        return Item(checked, id, row, own=row is not None, first_ms=min(first, default=None))

    def _id(self, unit: Unit, line: Line | None, dossier: int) -> str:
        return self._new_id(unit, dossier) if line is None else self.context.store.vault.seal_id(self.joined.here(line.key))

    async def _translated(self, unit: Unit, tree: Mapping[str, Any], inside: Mapping[str, str], people: Links | None = None) -> _Read:
        """The resource in words of this host. inside: references that its own Bundle will resolve. people: who comes with it."""
        people = people or Links()
        unknown: list = []
        if unit.type == DOCUMENT:
            tree, unknown = mapping.mapped(tree, self.rules)
        elsewhere = {text for text in unit.references if text not in inside}
        listed = sorted(elsewhere - people.texts.keys() - people.stand_ins.keys())
        contents = {text: name for text, name in contents_of(tree).items() if text not in inside}
        self._ours({*elsewhere, *contents}, unit)
        links = await self._links(listed, unit, contents)
        if unknown:
            await self._admitted(links.people | people.people, unit.type)
            told = waiting.codes_of(unknown)
            raise Kept(await self._hold(unit, CODE, "a code nobody knows", links.people | people.people, codes=told))
        links.texts |= people.texts
        links.stand_ins |= people.stand_ins
        links.people |= people.people
        left = {text: name for text, name in contents.items() if text not in links.texts}
        return _Read(replaced_in(tree, links, unit.body), left, links.nameless, links.people)

    async def _admitted(self, named: Collection[bytes], type_name: str) -> None:
        """403 where a dossier takes nothing of this source: of what is refused nothing is kept."""
        for dossier in {dossier_in(self.joined.here(key)) for key in named}:
            acting = self.acting()
            met = await enforcement.known(acting, dossier, traces=False)
            if met.policy is None or not met.decide("deposit").permits:
                raise FhirError("forbidden", await self._why(acting, dossier, type_name))

    def _checked(self, read: _Read, type_name: str, *, valid: bool = False) -> Checked:
        return check(self.context, json.dump({name: part for name, part in read.tree.items() if name != "id"}), type_name, valid=valid)

    def _dossier(self, checked: Checked, line: Line | None) -> int:
        if checked.type == BINARY:
            return dossier_in(self.joined.here(line.key))
        dossier = place_of(self.context, checked, None).dossier
        if dossier == COMMON:
            said = f"this {checked.type} names no patient: a source brings what belongs to a dossier"
            raise FhirError("business-rule", said, checked.type)
        return dossier

    def _new_id(self, unit: Unit, dossier: int) -> str:
        return self.context.store.vault.new_id(dossier, self.hashing.random(unit.names[0], "id"))

    def _promised(self, read: _Read, dossier: int, home: int) -> tuple[Promise, ...]:
        """Contents that have not come get their place now, and the document points there."""
        vault, links, found = self.context.store.vault, {}, []
        for text, name in read.contents.items():
            key = vault.new_key(dossier, self.hashing.random(name, "id"))
            links[text] = f"{BINARY}/{vault.seal_id(key)}"
            found.append(Promise(self.hashing.name(name), at_home(key, home), BINARY))
        read.tree = rewrite(dict(read.tree), links) if links else read.tree
        return tuple(found)

    def _carries_its_own(self, items: Sequence[Item], dossier: int) -> None:
        """Refuse a document with a content that came for somebody else: neither would hide with the other, nor be read where it is."""
        for item in items:
            for place, content in enumerate(item.checked.value.get("content") or () if item.checked.type == DOCUMENT else ()):
                said = parse_reference((content.get("attachment") or {}).get("url") or "", (self.context.base_url,))
                here = said.kind == "local" and said.type == BINARY
                if here and dossier_in(self.context.store.vault.locate(BINARY, said.id)) != dossier:
                    said = "`url` names a content that came for somebody else"
                    raise FhirError("business-rule", said, f"{DOCUMENT}.content[{place}].attachment.url")

    async def _made(self, units: Sequence[Unit], items: Sequence[Item], dossier: int) -> list[Made]:
        """The rules, with the words of an import where they refuse; then the versions."""
        acting = self.acting()
        self._carries_its_own(items, dossier)
        whole = [item.checked.body for item in items]
        replaced = [documents.replaced(item.checked.value) if item.checked.type == DOCUMENT else () for item in items]
        before: dict[int, list[Stamped]] = {}
        carried: dict[bytes, int] = {}
        for place, (item, targets) in enumerate(zip(items, replaced, strict=True)):
            if targets:  # what a source replaces it brought itself: it need not see it
                before[place] = await self._superseded(acting, item, targets, dossier)
                item.checked = check(self.context, json.set_members(item.checked.body, {"relatesTo": None}), DOCUMENT)
        if items[0].checked.type == BINARY and len(items) == 1:
            carried = await self._carried(items[0], dossier)
        try:
            met, _ = await depositing.decided(acting, items, dossier, resolved=True)
        except FhirError as error:
            if error.kind == "forbidden":
                raise FhirError("forbidden", await self._why(acting, dossier, items[0].checked.type)) from None
            raise
        hidden = covering.taken(acting)
        self.context.store.changed(one.after for one in hidden)
        made = []
        for place, (unit, item, body) in enumerate(zip(units, items, whole, strict=True)):
            if place in before:
                related = bytes(json.members(body)["relatesTo"])
                item.checked = check(self.context, json.set_members(item.checked.body, {"relatesTo": related}, after="author"), DOCUMENT)
            await in_step()
            stamped = await self._stamped(acting, unit, item, dossier)
            made.append(Made(item.checked, stamped, before.get(place, []), item.row, met.patient))
        made[0].covered = tuple(one.relabelled(met.now_ms) for one in hidden)
        made[0].masks = tuple(change for one in hidden for change in covering.told(acting, one))
        # A content by itself is looked at with its document.
        noted = () if len(items) == 1 and items[0].checked.type == BINARY else reviewing.taken(acting)
        made[0].reviews = tuple(reviewing.entry(self.context, one) for one in noted)
        made[0].acted = covering.joined(acting) | carried
        made[0].rights = {met.number: met.policy.epoch}
        return made

    async def _carried(self, item: Item, dossier: int) -> dict[bytes, int]:
        """A content that comes by itself belongs to the documents that point to it: it is seen as they are, by the strictest of them.

        When each of them was last acted on, by key of the row.
        """
        rows = await self._carriers(item.id, dossier)
        lineages = [row.visible for row in rows if isinstance(row.visible, dict)]
        if lineages:
            strictest = max(lineages, key=lambda one: (one["st"] == STATUSES.index(documents.WITHDRAWN), one["lb"].bit_count()))
            item.origin = (item.origin or Origin())._replace(lineage=strictest)
        return {row.key: row.acted_ms for row in rows}

    def expect(self, contents: Iterable[Unit]) -> None:
        """These contents come one after the other, and nothing else before them."""
        lines = [self.known[unit.keys[0]] for unit in contents if unit.keys and unit.keys[0] in self.known]
        keys = [self.joined.here(line.key) for line in lines if line.key and not line.versions]
        self._coming = {self.context.store.vault.seal_id(key): dossier_in(key) for key in keys}

    async def _carriers(self, id: str, dossier: int) -> list[Row]:
        """Documents that point to a content; read together with those of the contents that come next."""
        seen = self.context.store
        if id not in seen.carriers and len(self._coming) > 1 and id in self._coming:
            seen.carriers |= await together.pointing(self.context, self._coming)
        self._coming.pop(id, None)
        return seen.carriers[id] if id in seen.carriers else await together.pointing_to_one(self.context, id, dossier)

    async def _superseded(self, acting: Context, item: Item, replaced: Sequence[str], dossier: int) -> list[Stamped]:
        """What a document replaces. Its lineage, labels included, goes on in all that comes with it."""
        found: list[Stamped] = []
        rows = []
        for text in replaced:
            said = parse_reference(text, (acting.base_url,))
            row = await acting.store.load(acting.store.vault.locate(DOCUMENT, said.id)) if said.kind == "local" else None
            if row is None or row.deleted or row.dossier != dossier:
                raise FhirError("not-found", "the document it replaces has not come", f"{DOCUMENT}.relatesTo")
            rows.append((row, said.id))
            found += depositing.superseded(acting, row, said.id)
        item.replaced = rows
        return found

    async def _why(self, acting: Context, dossier: int, type_name: str) -> str:
        met = await enforcement.known(acting, dossier)
        if met.policy is None:
            return "there is no dossier of this person"
        if type_name not in documents.JUDGED_AS and type_name not in (DOCUMENT, "List", BINARY):
            return f"a source does not bring a {type_name}: rights and people of a dossier are set by its holder"
        needed = self.rules.consent
        # What the feed brings is shown with consent; it is taken without.
        if needed and self.rules.kind != FEED and not met.policy.permitted(needed, acting.now_ms()):
            return f"the holder has not consented to `{needed}`"
        if met.policy.given:
            return "the dossier was given to another host: what is of it is sent there"
        return f"the dossier does not take this: {met.decide('deposit').rule}"

    async def _stamped(self, acting: Context, unit: Unit, item: Item, dossier: int) -> Stamped:
        checked, content = item.checked, None
        if octets.is_large(checked):
            checked, content = await octets.set_apart(acting, checked, item.id, dossier)
        given = {"method": "POST" if item.row is None else "PUT", "id": item.id, "current": item.row, "content": content}
        own = dossier if checked.type == BINARY else None
        draw = self.hashing.random(*unit.seed)
        return stamp(drawing(acting, draw), checked, dossier=own, origin=item.origin, **given)

    # References

    def referred(self, unit: Unit) -> set[bytes]:
        """Keys of what a resource refers to in its source."""
        if unit.referred is None:
            names = {self._name(text, unit, quiet=True) for text in unit.references}
            unit.referred = {self.hashing.name(name) for name in names | set(contents_of(unit.tree).values()) if name}
        return unit.referred

    async def _links(self, listed: Sequence[str], unit: Unit, contents: Mapping[str, str] | None = None) -> Links:
        """What texts of References become. 404 while one leads to something that has not come; Kept when it leads to somebody who waits.

        contents: url -> name, which need not have come.
        """
        names: dict[str, str] = dict(contents or {})
        found, missing = Links(), []
        for text in listed:
            if (somebody := directory_number(text)) is not None:
                found.stand_ins[text] = somebody
            elif name := self._name(text, unit):
                names[text] = name
        keys = {name: self.hashing.name(name) for name in names.values()}
        if unknown := [key for key in keys.values() if key not in self.known and key not in self.absent]:
            learnt = await self.learn(unknown)
            self.known |= learnt
            await self.doubt(name for name, line in learnt.items() if line.type == PATIENT)
        for text, name in names.items():
            line = self.known.get(keys[name])
            if line is None or (line.type == PATIENT and not await self._means(name, line)):
                address, people = await self._by_number(name)
                found.people |= people
                if address:
                    found.texts[text] = address
                elif text not in (contents or {}):
                    missing.append((text, name))
            elif line.stand_in:
                key = await self.context.store.dossier_key(COMMON)
                found.stand_ins[text] = json.parse(unseal(key, line.stand_in, _STAND_IN + keys[name]))
            else:
                found.texts[text] = f"{line.type}/{self.context.store.vault.seal_id(self.joined.here(line.key))}"
                found.people |= {line.key} if line.type == PATIENT else set()
        if self.last:
            for text, name in [one for one in missing if one[1].partition("/")[0] in DIRECTORY]:
                missing.remove((text, name))
                system = f"{SID}import-source/{self.rules.source}"
                found.stand_ins[text] = {"type": name.partition("/")[0], "identifier": {"system": system, "value": name}}
                found.nameless.append(text)
        if missing:
            await self._absent(unit, missing, keys, found.people)
        return found

    async def _means(self, name: str, line: Line) -> bool:
        """Whether a name is still that of a Patient: none of somebody who waits, and no number that he has not here."""
        if self.hashing.name(name) in self.doubted:
            return False
        system, bar, value = name.removeprefix("Patient?identifier=").partition("|")
        if not bar or not name.startswith("Patient?"):
            return True
        row = await self.context.store.load(line.key)
        return row is not None and row.body is not None and people.has(json.parse(row.body), system, value)

    async def _by_number(self, name: str) -> tuple[str, set[bytes]]:
        """Address of the one patient here with an INS, where that is how the source names him, "" for none; keys of those who have it."""
        system, _, value = name.removeprefix("Patient?identifier=").partition("|")
        if not name.startswith("Patient?") or system not in INS_SYSTEMS:
            return "", set()
        rows, goes_on = await self._alike({"identifier": [{"system": system, "value": value}]})
        await self.joined.learn(Line(row.key, PATIENT) for row in rows)
        return (f"Patient/{goes_on[0]}", {row.key for row in rows}) if len(set(goes_on)) == 1 else ("", set())

    def _name(self, text: str, unit: Unit, *, quiet: bool = False) -> str:
        """Name in the source of what a reference leads to; "" where it leads nowhere that an import knows."""
        said = parse_reference(text, self.rules.base_urls)
        if said.kind == "local" or (said.kind == "absolute" and said.relative and self._own(said.base)):
            return said.relative
        if said.kind == "conditional":
            system, value = one_number(said.query)
            if value and said.type in (PATIENT, DOCUMENT):
                return patient_name(system, value) if said.type == PATIENT else master_name(system, value)
            if quiet:
                return ""
            wanted = "who is meant, or which document, is told by one identifier, its system and its value"
            raise FhirError("not-supported", f"`{text[:100]}`: {wanted}", unit.type)
        if said.kind == "urn" and not quiet:
            raise FhirError("not-found", f"`{text[:100]}` is the fullUrl of no entry", unit.type)
        return ""

    def _ours(self, texts: Iterable[str], unit: Unit) -> None:
        """Refuse addresses of this host, whatever is there: a source refers to what it brought, and by its own names."""
        for text in sorted(texts):
            said = parse_reference(text, (self.context.base_url,)) if ":" in text else None
            if said is None or said.type in (PATIENT, *DIRECTORY) or parse_reference(text, self.rules.base_urls).kind == "local":
                continue
            # This host has other names too; its ids are its own.
            if said.kind == "local" or (said.id and self.context.store.vault.open_id(said.id) is not None):
                raise FhirError("not-found", f"`{text[:100]}` has not come from this source", unit.type)

    def _own(self, base: str) -> bool:
        return base.rstrip("/") in {one.rstrip("/") for one in self.rules.base_urls}

    async def _absent(self, unit: Unit, missing: Sequence[tuple[str, str]], keys: Mapping[str, bytes], people: Collection[bytes]) -> None:
        waits = await self.quarantine.has([keys[name] for _, name in missing])
        for text, name in missing:
            if keys[name] in waits:
                raise Kept(await self._hold(unit, IDENTITY, f"`{text[:100]}` waits for somebody to say who it is", people))
        text, _ = missing[0]
        raise FhirError("not-found", f"`{text[:100]}` has not come from this source", unit.type)

    async def hold(self, unit: Unit, people: Collection[bytes]):
        """A transaction waits with somebody in it. people: keys of others in it, who are known."""
        return await self._hold(unit, IDENTITY, "somebody must say first who a Patient in it is", people)

    async def _hold(self, unit: Unit, kind: str, why: str, named: Collection[bytes] = (), **more: Any):
        """Kept, and what is said of it. named: keys of the Patients it names, as far as they are known."""
        # What came as one thing waits as one; that somebody must say who a Patient is is asked of the Patient.
        unit = unit if unit.type == PATIENT or unit.within is None else unit.within
        dossiers = {dossier_in(key) for key in named}
        if unit.type == PATIENT:
            self.doubted.add(unit.keys[0])
        message = (unit.within or unit).message
        sealed = (message.signer, message.kid) if message is not None and message.signer else ()
        held = Held(place=unit.place, names=unit.names, why=why, body=unit.body, sealed=sealed, **more)
        if unit.type in (DOCUMENT, BINARY) and (before := await self.quarantine.get(unit.keys[0])) is not None:
            body = waiting.opened(before).body
            once = body and unit.former is not None and unit.former[1] == self.hashing.number("content", digest(body).hex())
            if body and digest(body) != digest(unit.body) and not once:
                raise FhirError("conflict", CHANGED if unit.type == DOCUMENT else OTHER_OCTETS)
        if unit.type == DOCUMENT:
            await self._expect(unit, contents_of(unit.tree), dossiers)
        # Of a transaction its parts tell more.
        named_there = None if unit.work != RESOURCE else () if unit.type == PATIENT else self.referred(unit)
        return await waiting.hold(self.quarantine, unit.keys[0], kind, held, dossiers, named_there)

    async def _expect(self, document: Unit, contents: Mapping[str, str], dossiers: Collection[int]) -> None:
        """Contents of a document that waits wait with it, also those that come later."""
        keys = {self.hashing.name(name): name for name in contents.values()}
        before = await self.quarantine.has(list(keys)) if keys else set()
        await self.quarantine.about(before, dossiers)
        for key in keys.keys() - before:
            held = Held(place=document.place, names=(keys[key],), why="it has not come yet", body=b"")
            await waiting.hold(self.quarantine, key, waiting.CONTENT, held, dossiers, ())  # it goes with its document


def _told(read: _Read) -> tuple[Issue, ...]:
    said = "`{}` has not come from this source: it stays a name"
    return tuple(Issue("warning", "incomplete", said.format(text[:100])) for text in read.nameless)
