"""Deposits by those who obey the rules: what may be written, and what a deposit fixes for good.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ (ITI-65, ITI-105); CSP R1111-49; https://profiles.ihe.net/ITI/PCF/
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from fhir_dmp.consent import companions, labelling
from fhir_dmp.consent.predicate import LABEL_BITS, AuthoredBy, DepositedBy, facts_of, hashed, matches
from fhir_dmp.consent.rules import MACHINES
from fhir_dmp.dmp import documents, identity
from fhir_dmp.dmp.documents import SUPERSEDED, WITHDRAWN, Facts
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, VISIBILITY, labels_of, unknown
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference, reference_texts, references
from fhir_dmp.interactions import covering, deposit_faults, enforcement, facts, reviewing, seal_reading, shown
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import Known, settle
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.pace import in_step
from fhir_dmp.interactions.prepare import Checked, Stamped, check, check_profiles, place_of, rebuilt, stamp
from fhir_dmp.interactions.relabelling import OVER
from fhir_dmp.interactions.vouching import PROVENANCE
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON

DOCUMENT = "DocumentReference"
HOLDERS = ("patient", "representative")
IMPORTING = ("host", "feed")
NOWHERE = "the reference leads to no resource of this dossier"
UNREADABLE = "the reference is none that leads anywhere, write Type/id"


@dataclass(slots=True)
class Item:
    """One resource that is sent. id: given or to be given, None for one the store chooses. row: the version it replaces.

    own: that version came from this very source, as the ledger of imports says. replaced: the documents it replaces, by their ids, where
    the sender need not see them; `relatesTo` then names none. first_ms: as of an Origin.

    Filled in by `decided`: checked: as it will be stored; origin: what its deposit fixes.
    """

    checked: Checked
    id: str | None = None
    row: Row | None = None
    origin: Origin | None = None
    own: bool = False
    replaced: Sequence[tuple[Row, str]] = ()
    first_ms: int | None = None

    @property
    def address(self) -> str:
        """Type/id, "" while it has none."""
        return f"{self.checked.type}/{self.id}" if self.id else ""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is sent together, looked up once for all of it.

    addresses: of everything. contents: Binaries by their addresses, below [base] and absolute. pointing: address below [base] -> places of
    the documents whose contents it names.
    """

    addresses: frozenset[str]
    contents: Mapping[str, Mapping[str, Any]]
    pointing: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, context: Context, items: Sequence[Item]) -> "_Sent":
        base, contents, pointing = context.base_url + "/", {}, {}
        for place, one in enumerate(items):
            if one.checked.type == "Binary":
                contents[one.address] = contents[base + one.address] = one.checked.value
            elif one.checked.type == DOCUMENT:
                urls = {content.get("attachment", {}).get("url", "") for content in one.checked.value.get("content") or ()}
                for address in {url.removeprefix(base) for url in urls}:
                    pointing.setdefault(address, []).append(place)
        return cls(frozenset(one.address for one in items), contents, pointing)


async def decided(
    context: Context, items: Sequence[Item], dossier: int | None = None, changed: frozenset[str] = frozenset(), *, resolved: bool = False
) -> tuple[Known, list[Stamped]]:
    """Decide on everything that is sent together; the dossier as the depositor meets it, and the versions of documents it supersedes.

    dossier: where the address says, None to take it from the resources, which all belong to one. changed: addresses of documents that the
    same request has changed already. resolved: references were made here of what a source calls its own, so that they probe nothing.
    """
    places = [place_of(context, one.checked, one.id) for one in items if one.checked.type != "Binary"]
    numbers, holders = {place.dossier for place in places}, {place.patient or "" for place in places}
    if dossier is not None:
        numbers |= {dossier}
    for one in items:
        intend(context, one.checked.value)
    if COMMON in numbers:
        deposit_faults.tell(deposit_faults.of_nobody(one.checked for one in items))
    if len(numbers) != 1 or COMMON in numbers:
        raise enforcement.refused()
    holder = holders.pop() if len(holders) == 1 else ""
    met = await enforcement.known(context, numbers.pop(), patient=holder.removeprefix("Patient/"), traces=False)
    if met.policy is None:
        raise enforcement.refused()
    named = await facts.named_by(context, [text for one in items for text in one.checked.references])
    reviewing.taken(context), covering.taken(context), covering.joined(context)  # of an attempt before this one
    predecessors: list[Stamped] = []
    sent = _Sent.of(context, items)
    for one in items:
        if one.checked.type == DOCUMENT:
            # Contents that an import brings by themselves have a place that is theirs alone.
            predecessors += await _document(context, met, one, None if resolved and len(items) == 1 else sent, named, changed)
    lineage = cache(lambda place: _lineage(context, met, items[place]))
    for one in items:
        if one.checked.type != DOCUMENT:
            await _other(context, met, one, items, sent, lineage, resolved=resolved)
    await _whole(context, met, items, resolved=resolved)
    await in_step(context.transaction)
    for one in items:  # who may not write it is not told what is wrong with it
        check_profiles(context, one.checked)
    return met, predecessors


def intend(context: Context, value: Mapping[str, Any]) -> None:
    """Note from whom a document that is sent would be hidden, whatever becomes of it."""
    if value.get("resourceType") == DOCUMENT and context.enforcer is not None:
        labels = labels_of(value.get("securityLabel") or ()) & frozenset(VISIBILITY)
        enforcement.intend(context, labels)


async def refers(context: Context, met: Known, checked: Checked, id: str | None) -> None:
    """422 where a resource that stands around the documents refers to what is not there for who writes it: hidden or absent."""
    await _whole(context, met, [Item(checked, id)], resolved=False)


def _authors(kind: str, value: Mapping[str, Any], named: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Who wrote a document, as its deposit fixes it. kind: of the token.

    The holder's side is the author of what it deposits, and of what another system says that it alone wrote. Named by a professional
    or a structure, or beside professionals, it is none: it would withdraw what they wrote.
    """
    own = frozenset({identity.HOLDER})
    if kind in HOLDERS:
        return own
    found = documents.authors_of(value, lambda text: named.get(text, frozenset()))
    return found if found == own and kind in IMPORTING else found - own


async def _document(
    context: Context, met: Known, one: Item, sent: _Sent | None, named: Mapping[str, frozenset[str]], changed: frozenset[str]
) -> list[Stamped]:
    """A document: its author among those who send it, within the matrix, what it replaces seen and replaceable.

    sent: all that is sent together, its contents among it; None where these come by themselves.
    """
    request, value = met.request, one.checked.value
    labels = labelling.deposited(request, labels_of(value.get("securityLabel") or ()) & frozenset(VISIBILITY))
    authors = _authors(request.kind, value, named)
    told = _facts(met, value, authors, labels)
    told_all = replace(told, labels=told.labels | labels_of(value.get("securityLabel") or ()))
    decision = met.decide("deposit", told)
    deposit_faults.tell(deposit_faults.of_type(decision, value))
    settle(decision)
    reviewing.noted(context, met, decision, resource=one.address)
    found = [*deposit_faults.of_labels(value), *unknown(value.get("securityLabel") or ())]
    deposit_faults.tell([*found, *labelling.faults_of_deposit(request, told_all, met.law)])
    if sent is not None:
        _contents(context, one, sent)
    before, stamped = list(one.replaced), []
    for place, text in enumerate(documents.replaced(value)):
        row, id = await _predecessor(context, met, text, f"{DOCUMENT}.relatesTo[{place}].target")
        before.append((row, id))
        if f"{DOCUMENT}/{id}" not in changed:
            if documents.status_of(json.parse(row.body)) == SUPERSEDED:
                raise FhirError("conflict", "this document is superseded already", f"{DOCUMENT}.relatesTo[{place}].target")
            stamped += superseded(context, row, id)
    if len({row.visible["rt"] for row, _ in before}) > 1:
        # It would carry on what two documents say, and could be hidden with one of them alone.
        raise FhirError("business-rule", "a document replaces one document, or versions of one", f"{DOCUMENT}.relatesTo")
    lineage = facts.strictest([row.visible for row, _ in before]) if before else None
    if lineage is not None and INVISIBLE_PATIENT in labels and lineage["rl"] <= met.now_ms:
        if request.kind not in ("host", "feed"):
            raise FhirError("business-rule", OVER, f"{DOCUMENT}.securityLabel")
        labels -= {INVISIBLE_PATIENT}
    bits = sum(LABEL_BITS[label] for label in labels)
    for row, id in before if bits else ():
        # Whatever it is hidden by already: that may be kept from him.
        if not _hides(met, row):
            said = "it would hide the document it replaces, which only its author, or the structure that deposited it, may"
            raise FhirError("business-rule", said, f"{DOCUMENT}.securityLabel")
        context.enforcer.ledger.covered.append(covering.Covered(row, id, met.patient, bits))
    one.origin = Origin(authors, request.organization, labels, lineage, first_ms=one.first_ms)
    one.checked = _apart(context, met, one.checked)
    return stamped


def superseded(context: Context, row: Row, id: str) -> list[Stamped]:
    """The version of a document that says that it is replaced; none of one that is so already, or withdrawn: that it stays."""
    if documents.status_of(json.parse(row.body)) in (SUPERSEDED, WITHDRAWN):
        return []
    # Written in the same transaction: a mask set meanwhile is then a conflict, and not missed by the new version.
    body = json.set_members(row.body, {"status": json.dump(SUPERSEDED)})
    return [stamp(context, check(context, body, DOCUMENT, before=row.body), method="PATCH", id=id, current=row)]


def _hides(met: Known, row: Row) -> bool:
    """Whether somebody may hide a document by what replaces it: its author, the structure that deposited it, the source that brought it."""
    request = met.request
    names = frozenset({identity.HOLDER} if request.kind in HOLDERS else {request.person} - {""})
    by = DepositedBy(request.organization) if request.kind == "structure" else AuthoredBy(names)
    return request.kind in ("host", "feed") or any(matches(by, one) for one in facts.opened(met.context, row))


def _contents(context: Context, one: Item, sent: _Sent) -> None:
    """A document points to contents that are sent with it: pointing to another's would bind that one to its own labels."""
    for place, content in enumerate(one.checked.value.get("content") or ()):
        url = (content.get("attachment") or {}).get("url")
        said = parse_reference(url, (context.base_url,)) if url else None
        if said is None or said.kind in ("absolute", "other") or (said.kind == "local" and f"{said.type}/{said.id}" in sent.addresses):
            continue
        where = f"{DOCUMENT}.content[{place}].attachment.url"
        raise FhirError("business-rule", "a document comes with its content: `url` names a resource of the same request", where)
    deposit_faults.tell(deposit_faults.of_contents(one.checked.value, sent.contents))


def _facts(met: Known, value: Mapping[str, Any], authors: frozenset[str], labels: frozenset[str]) -> Facts:
    return documents.facts_of(
        value, authors=authors, organization=met.request.organization, first_deposit_ms=met.now_ms, root="", labels=labels
    )


async def _predecessor(context: Context, met: Known, text: str, place: str) -> tuple[Row, str]:
    """The document that is replaced; one that is hidden is as absent as one that never was."""
    said = parse_reference(text, (context.base_url,))
    row = None
    if said.kind == "local" and said.type == DOCUMENT:
        key = context.store.vault.locate(DOCUMENT, said.id)
        row = await context.reads.load(key) if facts.perhaps_in(context, key, met.number) else None
        row = row if row is not None and row.dossier == met.number else None
    by_structure = met.request.kind == "structure"
    if row is not None:
        # Whoever does not see what was to be replaced is not told that it was refused, whatever the reason.
        enforcement.keep(met, row)
    if row is None or row.deleted or row.body is None or not (by_structure or met.reading(row).permits):
        raise FhirError("business-rule", NOWHERE, place)
    (own,) = facts.opened(context, row)
    if by_structure and not met.decide("replace-by-structure", own).permits:
        # A certificate reads nothing: what is not its own is not there for it.
        raise FhirError("business-rule", NOWHERE, place)
    if not by_structure:
        settle(met.decide("replace", own))
    return row, said.id


def _apart(context: Context, met: Known, checked: Checked) -> Checked:
    """The document without its visibility labels, which stand beside it, and with the depositor's organisation as its keeper."""
    body, value = shown.relabelled(checked.body, frozenset()), dict(checked.value)
    if "custodian" not in value and (structure := identity.structure(None, context.actor.organization)):
        keeper = {"identifier": {"system": identity.IDNST, "value": structure}}
        body = json.set_members(body, {"custodian": json.dump(keeper)}, after="author")
        value["custodian"] = keeper
    if value.pop("securityLabel", None) is not None and (left := json.members(body).get("securityLabel")) is not None:
        value["securityLabel"] = json.parse(bytes(left), object_only=False)
    return rebuilt(context, checked, body, value)


async def _other(
    context: Context,
    met: Known,
    one: Item,
    items: Sequence[Item],
    sent: _Sent,
    lineage: Callable[[int], Mapping[str, Any]],
    *,
    resolved: bool,
) -> None:
    """What comes with documents shares their lineages; what comes alone is judged as the document that would carry it.

    sent: the items, looked up. lineage: facts of a document among them, by its place there. resolved: as in `decided`.
    """
    kind, request = one.checked.type, met.request
    if kind in companions.SEEN_AS or kind in enforcement.PUBLIC:
        raise enforcement.refused()
    if one.row is not None and one.own:
        # What a source corrects of its own is a deposit; authors, lineage and labels stay what they are.
        for own in facts.opened(context, one.row):
            settle(met.decide("deposit", own))
        gone = await facts.withdrawn_with(context, one.row)
        one.origin = Origin(frozenset({request.person} - {""}), request.organization, withdrawn=gone)
        return
    if one.row is not None:
        if kind == PROVENANCE and (isinstance(one.row.visible, list) or seal_reading.sealed_by_host(json.parse(one.row.body or b"{}"))):
            # A host made it, with the facts of what it vouches for: it is nobody's, and what is hidden of a List must not tell.
            raise enforcement.refused()
        for own in facts.opened(context, one.row):
            settle(met.decide("replace", own))
            # In place only by its author: whoever is shown less than there is would write back less.
            settle(met.decide("withdraw", own))
        enforcement.keep_from_all(met, one.row)
        # What is hidden from him is named as in vain as what is absent, before anything is said of what is there.
        await _whole(context, met, items, resolved=resolved)
        # What it named already it belongs to, or is not hidden with: that of several documents one is hidden from him now changes nothing.
        before = {parse_reference(text, (context.base_url,)).relative for text in reference_texts(json.parse(one.row.body or b"{}"))}
        named = await _named_before(context, met, items, one, before)
        if named is not None and named["rt"] not in {own["rt"] for own in facts.listed(one.row)}:
            raise FhirError("business-rule", f"a {kind} that names a document belongs to it from its deposit on: deposit a new one", kind)
    if kind == "Binary":
        carriers = sent.pointing.get(one.address, ())
    else:
        carriers = [place for place, other in enumerate(items) if other.checked.type == DOCUMENT and _joined(other, one)]
    lineages = [lineage(place) for place in carriers]
    if not lineages and one.row is None and kind != "Binary" and (around := _around(items, one)):
        before = await _named_before(context, met, items, one)
        lineages = [facts.strictest([*(lineage(place) for place in around), *([before] if before else [])])]
    if kind == "List":
        if one.row is None and not lineages and not resolved:
            # Before anybody is told which of its references lead nowhere.
            settle(met.decide("deposit" if request.kind in MACHINES else "list", _facts(met, one.checked.value, frozenset(), frozenset())))
        lineages += await _listed_before(context, met, one, items, resolved=resolved)
    authors = frozenset({identity.HOLDER} if request.kind in HOLDERS else {request.person} - {""})
    if lineages:
        of = {"of": lineages} if kind == "List" else _one_of(lineages, kind)
        one.origin = Origin(authors, request.organization, labelling.joining(request) if kind == "List" else None, of)
    elif one.row is None:
        labels = labelling.deposited(request, frozenset())
        # A content that an import brings after its document is judged as that.
        carrier = one.origin.lineage if one.origin is not None else None
        judged = facts_of(carrier, context.store.vault.hash64) if carrier else _facts(met, one.checked.value, authors, labels)
        decision = settle(met.decide("deposit", judged))
        reviewing.noted(context, met, decision, resource=one.address)
        beside = None if carrier or kind == "Binary" else await _named_before(context, met, items, one)
        if beside is not None:
            labels = labelling.joining(request)
        # What a machine brings has no author of its own.
        one.origin = Origin(authors, request.organization, labels, carrier or beside, beside is not None and bool(authors))
    if one.row is not None and (gone := await facts.withdrawn_with(context, one.row)):
        one.origin = (one.origin or Origin(authors, request.organization))._replace(withdrawn=gone)
    deposit_faults.tell(deposit_faults.of_labels(one.checked.value))


def _around(items: Sequence[Item], one: Item) -> list[int]:
    """Places of the documents with which something comes that none of them names: those it leads to over others, either way, else all."""
    documents_ = [place for place, other in enumerate(items) if other.checked.type == DOCUMENT]
    if len(documents_) < 2:
        return documents_
    near = {other.address for other in _linked(items, one)}
    return [place for place in documents_ if items[place].address in near] or documents_


def _linked(items: Sequence[Item], one: Item) -> list[Item]:
    """What one of the items leads to or from, itself first; over others, but not over documents, lists and contents."""
    found, near = [one], {one.address}
    for at in found:
        if at is one or at.checked.type not in (DOCUMENT, "List", "Binary"):
            for other in items:
                if other.address not in near and (other.address in at.checked.references or at.address in other.checked.references):
                    near.add(other.address)
                    found.append(other)
    return found


async def _named_before(
    context: Context, met: Known, items: Sequence[Item], one: Item, known: Collection[str] = ()
) -> Mapping[str, Any] | None:
    """The lineage of a document that was there before and that something names, itself or over others; None where it names none.

    known: addresses that are left out.
    """
    vault, sent = context.store.vault, {other.address for other in items} | set(known)
    said = {parse_reference(text, (context.base_url,)) for other in _linked(items, one) for text in other.checked.references}
    around = {*companions.SEEN_AS, *enforcement.PUBLIC}
    named = {vault.locate(ref.type, ref.id): ref.relative for ref in said if ref.kind == "local" and ref.type not in around}
    keys = [key for key, address in named.items() if address not in sent and facts.perhaps_in(context, key, met.number)]
    rows = await context.reads.load_many(keys, bodies=False) if keys else {}
    lineages = []
    for key, row in rows.items():
        if row.dossier != met.number:
            continue
        own = hashed("root", named[key], vault.hash64)  # of what belongs to no document
        lineages += [one for one in facts.listed(row) if not row.deleted and (row.type == DOCUMENT or one["rt"] != own)]
        covering.joins(context, row)
    return facts.strictest(lineages) if lineages else None


def _one_of(lineages: list[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    if len({one["rt"] for one in lineages}) > 1 and kind != "Binary":
        raise FhirError("business-rule", f"a {kind} belongs to one document of a submission, this one to several", kind)
    return lineages[0]


def _joined(document: Item, one: Item) -> bool:
    """Whether a document and a resource sent with it, which is no content, belong together: one leads to the other."""
    return one.address in document.checked.references or any(
        text.partition("/_history/")[0] == document.address for text in one.checked.references
    )


def _lineage(context: Context, met: Known, document: Item) -> Mapping[str, Any]:
    """Facts of a document that is about to be stored."""
    found = facts.visible(context, document.checked.value, document.address, met.number, met.now_ms, document.row, document.origin)
    assert isinstance(found, dict)
    return found


async def _listed_before(context: Context, met: Known, one: Item, items: Sequence[Item], *, resolved: bool) -> list[Mapping[str, Any]]:
    """Facts of the documents a List names that were there before."""
    new = {other.address for other in items}
    found = []
    for place, reference in references(one.checked.value):
        said = parse_reference(reference["reference"], (context.base_url,))
        if said.kind == "local" and said.type == DOCUMENT and said.relative not in new:
            row = await context.reads.load(context.store.vault.locate(DOCUMENT, said.id))
            if row is None or row.deleted or row.dossier != met.number or not (resolved or _met(met, row)):
                if row is not None and row.dossier == met.number:
                    enforcement.keep(met, row)
                raise FhirError("business-rule", NOWHERE, place)
            found += facts.listed(row)
            covering.joins(context, row)
    return found


def _met(met: Known, row: Row) -> bool:
    """Whether what is sent may refer to a row: the depositor sees it; a machine, which sees nothing, deposited it itself."""
    if met.request.kind in MACHINES:
        own = DepositedBy(met.request.organization)
        return any(one.status != WITHDRAWN and matches(own, one) for one in facts.opened(met.context, row))
    return met.reading(row).permits


async def _whole(context: Context, met: Known, items: Sequence[Item], *, resolved: bool) -> None:
    """Every reference leads somewhere that the depositor may refer to."""
    new = {one.address for one in items}
    vault = context.store.vault
    wanted: dict[str, bytes] = {}
    faults = []
    for text in (text for one in items for text in one.checked.references):
        said = parse_reference(text, (context.base_url,))
        address = f"{said.type}/{said.id}"
        if said.kind == "other":
            # Nobody would resolve it, nor take it out of what is shown to whom it is hidden from what it means.
            faults.append(Issue("error", "invalid", f"{UNREADABLE}: `{text[:80]}`", _place(items, text.__eq__)))
        if said.kind == "local" and address not in new and address != f"Patient/{met.patient}":
            wanted[address] = vault.locate(said.type, said.id)
    rows = await context.reads.load_many(set(wanted.values()), bodies=False) if wanted else {}

    def names(address: str, text: str) -> bool:
        said = parse_reference(text, (context.base_url,))
        return f"{said.type}/{said.id}" == address

    for address, key in wanted.items():
        row, kind = rows.get(key), address.partition("/")[0]
        there = row is not None and not row.deleted and row.type == kind
        if there and row.dossier == met.number:
            there = resolved or _met(met, row)
            if not there:
                enforcement.keep(met, row)
        elif there:
            there = row.dossier == COMMON and kind in enforcement.PUBLIC
        if not there:
            faults.append(Issue("error", "business-rule", f"{NOWHERE}: `{address[:80]}`", _place(items, partial(names, address))))
    if faults:
        raise FhirError.many("business-rule", faults)


def _place(items: Sequence[Item], means: Callable[[str], bool]) -> str:
    """Where the last reference of a meaning stands."""
    found = ""
    for one in items:
        for place, reference in references(one.checked.value):
            found = place if means(reference["reference"]) else found
    return found
