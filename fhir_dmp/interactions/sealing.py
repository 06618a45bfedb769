"""Seals on arrival: with each version written into a dossier goes a Provenance that the host has signed, or neither is stored.

https://hl7.org/fhir/R4/provenance.html ; ig/decisions: proofs

A seal shares the facts of what it seals, so whoever may not see that does not see the seal. Seals of rights and of people around the holder
carry no facts: no search and no read meets them, `$verify` and `fhir-dmp verify` do.
"""

import base64
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fhir_dmp.consent import companions
from fhir_dmp.dmp.documents import STATUSES, SUPERSEDED, WITHDRAWN
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import keeping, vouching
from fhir_dmp.interactions.facts import LEADS, listed, says_withdrawn
from fhir_dmp.search import blind, extract, narrow
from fhir_dmp.search.blind import Entries
from fhir_dmp.search.predicate import Has, Hash64, ReferenceIs
from fhir_dmp.search.values import DateRange, Reference
from fhir_dmp.signing import jws, seal
from fhir_dmp.signing.seal import Message, Sealed
from fhir_dmp.store import withdrawing
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.vault import COMMON, version_id
from fhir_dmp.store.withdrawing import WITHDRAW

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context

HOST = "https://fhir-dmp.example.org/fhir/sid/host"
SIGNER = "https://fhir-dmp.example.org/fhir/sid/message-signer"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
E1762 = "urn:iso-astm:E1762-95:2013"
JSON = "application/fhir+json"
DOCUMENT, CONTENT = "DocumentReference", "Binary"
REPLACED = STATUSES.index(SUPERSEDED)
UNSEALED = frozenset({"AuditEvent"})
# What says no status of its own by which it is withdrawn alone, or is no part of a document.
BORNE = [DOCUMENT, CONTENT, "Provenance", *UNSEALED]

Written = Sequence[tuple[Change, str]]


class Level(NamedTuple):
    """A level of proof as its Provenance tells it. agent: as what the signer vouches, (system, code, display).

    signature: code and display of E1762.
    """

    name: str
    display: str
    system: str
    agent: tuple[str, str, str]
    signature: tuple[str, str]


KEEPER = (PARTICIPANT, "custodian", "Custodian")
SENDER = (DCM, "110153", "Source Role ID")
SEAL = Level("seal", "Seal of the host on arrival", HOST, KEEPER, ("1.2.840.10065.1.12.1.14", "Source Signature"))
MESSAGE = Level("message", "Seal of the message", SIGNER, SENDER, ("1.2.840.10065.1.12.1.7", "Consent Signature"))


class Source:
    """Where many versions come from. value: activity, agent and entity of a Provenance. shared: how these are indexed."""

    __slots__ = ("shared", "value")

    def __init__(self, value: Mapping[str, Any], shared: Entries) -> None:
        self.value, self.shared = value, shared


class Story(NamedTuple):
    """Where versions come from, as their seal tells it too. names: reference of each -> its name there."""

    names: Mapping[str, str]
    source: Source


def of_writes(context: "Context", changes: Written, story: Story | None = None) -> list[Change]:
    """The seals of what is about to be stored, to be stored with it. changes: with logical ids.

    None for who meets no rule: in a sandbox his resources are nobody's evidence.
    """
    if context.enforcer is None or context.seals is None or context.recorder is None:
        return []
    groups = grouped([(change.row, id) for change, id in changes])
    if not groups:
        return []
    context.seals.refresh(context.now_ms())
    message, at_ms = context.message, context.now_ms()
    sender = message.sender if message is not None else None
    # Whoever reads what it replaces could try guesses about what was sent; a patch is short enough to be guessed whole.
    sent = [rows for rows in groups if rows[0][0].method != "PATCH"]
    own = sent[0] if len(sent) == 1 else None
    made = [_seal(context, rows, message if rows is own else sender, at_ms, story) for rows in groups]
    if own is not None and message is not None and message.jws:
        made.append(_provenance(context, MESSAGE, own, message.signer, message.jws, at_ms))
    return made


def grouped(written: Sequence[tuple[NewRow, str]]) -> list[list[tuple[NewRow, str]]]:
    """What is sealed together: a document with the contents and resources that came with it; anything else alone."""
    rows = [
        (row, id) for row, id in written if row.dossier != COMMON and not row.deleted and row.body is not None and row.type not in UNSEALED
    ]
    documents: dict[int, list[list[tuple[NewRow, str]]]] = {}
    groups = []
    for row, id in rows:
        if row.type == DOCUMENT:
            group = [(row, id)]
            groups.append(group)
            documents.setdefault(_root(row), []).append(group)
    for row, id in rows:
        if row.type == DOCUMENT:
            continue
        # A new version and the one it replaces have one root; what comes with them belongs to the new one.
        own = [group for group in documents.get(_root(row), ()) if _root(row) and group[0][0].method == "POST"]
        if len(own) == 1:
            own[0].append((row, id))
        else:
            groups.append([(row, id)])
    return groups


def _root(row: NewRow) -> int:
    return row.visible.get("rt", 0) if isinstance(row.visible, dict) and row.type not in companions.SEEN_AS else 0


def _seal(
    context: "Context", rows: Sequence[tuple[NewRow, str]], message: Message | None, at_ms: int, story: Story | None = None
) -> Change:
    """One seal over some versions of one dossier, signed and recorded at one instant."""
    host, at = context.recorder.indexer.server.identity, to_instant(at_ms)
    what = [_sealed(row, id) for row, id in rows]
    signed = seal.sign(context.seals, host, at, _patient(context, *rows[0]), what, message)
    return _provenance(context, SEAL, rows, host, signed, at_ms, story)


def _provenance(
    context: "Context",
    level: "Level",
    rows: Sequence[tuple[NewRow, str]],
    signer: str,
    signed: str,
    at_ms: int,
    story: Story | None = None,
) -> Change:
    """The Provenance that holds a JWS about some versions, and tells where they come from."""
    first, first_id = rows[0]
    vault = context.store.vault
    at, patient = to_instant(at_ms), _patient(context, first, first_id)
    versions = [_reference(row, id) for row, id in rows]
    targets = [*versions, patient] if patient else versions
    names = story.names if story is not None and not story.names.keys().isdisjoint(targets) else {}
    common = _common(level, signer, vault.hash64, story.source if names else None)
    told = [{"reference": one, "display": names[one]} if one in names else {"reference": one} for one in targets]
    value = {"target": told, "recorded": at, **common.written, "signature": [signature(level, at, common.who, signed)]}
    return vouching.made(
        vault, context.random, _leading(rows), value, index_of(versions, at_ms), common.shared, patient=patient, at_ms=at_ms
    )


def _leading(rows: Sequence[tuple[NewRow, str]]) -> NewRow:
    """The first of the versions, which leads to others where one of them does, or may be hidden by itself, as a content is not: a seal is
    shown over what is shown of each.
    """
    (first, _), *others = rows
    leads = any(row.type != CONTENT or (isinstance(row.visible, Mapping) and LEADS in row.visible) for row, _ in others)
    return first._replace(visible={**first.visible, LEADS: True}) if leads and isinstance(first.visible, Mapping) else first


def following(context: "Context", changes: Written) -> list[tuple[NewRow, str]]:
    """What is withdrawn or brought back by its author; superseded documents stay readable, and their seals with them."""
    return [(change.row, id) for change, id in changes if context.enforcer is not None and _withdraws(change)]


def _withdraws(change: Change) -> bool:
    row = change.row
    if row.type == DOCUMENT:
        return row.method == "PATCH" and isinstance(row.visible, dict) and row.visible["st"] != REPLACED
    return withdrawing.turns(change)


async def follow(inside: "Context", withdrawn: Sequence[tuple[NewRow, str]]) -> None:
    """What came with a document is seen as long as the document is: that a content, a list or a Provenance is there would tell of it.

    Of a lineage with other documents that stay, only what leads to this one or that it leads to. What somebody else wrote and that only
    names the document stays: it is not its author's to withdraw. Kept as a protective act, with what is withdrawn. inside: of the
    transaction.
    """
    keys = [row.key for row, _ in withdrawn]
    for row, id in withdrawn:
        if row.type != DOCUMENT:
            keys += await withdrawing.follow(inside.transaction, row)
            continue
        status, root = row.visible["st"], row.visible["rt"]
        stay = {"$and": [{"y.rt": root}, {"y.st": {"$ne": STATUSES.index(WITHDRAWN)}}, {"_id": {"$ne": row.key}}]}
        alone = not await inside.reads.count(stay, types=(DOCUMENT,), dossiers=(row.dossier,), limit=1)
        authors = row.visible["au"]
        his = {"y.au": {"$in": authors} if authors else []}
        where = his if alone else {"$and": [his, _about(inside, row, id)]}
        if status != withdrawing.GONE and (still := await _still(inside, row)):
            where = {"$and": [where, {"$nor": still}]}
        keys += await inside.transaction.restate(row.dossier, root, status, at_ms=row.updated_ms, where=where)
    if withdrawn:
        await keeping.acted(inside, WITHDRAW, keys)


async def _still(inside: "Context", row: NewRow) -> list[dict[str, Any]]:
    """Filters of what says itself that it is withdrawn, and of its seals: its document does not bring it back."""
    root = row.visible["rt"]
    where = {"$and": [{"t": {"$nin": BORNE}}, {"y.rt": root}, {"y.st": withdrawing.GONE}]}
    rows = [one async for one in inside.reads.scan(where, dossiers=(row.dossier,)) if says_withdrawn(one)]
    own = [(one, facts) for one in rows for facts in listed(one) if facts["rt"] == root]
    seals = [await withdrawing.vouching(inside.transaction, one, facts) for one, facts in own]
    return [{"_id": {"$in": [one.key for one in rows]}}, *seals] if rows else []


def _about(context: "Context", row: NewRow, id: str) -> dict[str, Any]:
    """Filter of rows: what refers to a document, and its contents."""
    vault = context.store.vault
    said = (parse_reference(text, (context.base_url,)) for text in attachments(json.parse(row.body)))
    contents = [vault.locate("Binary", one.id) for one in said if one.kind == "local" and one.type == "Binary"]
    leading = [
        narrow.to_mongo(Has(code, ReferenceIs(DOCUMENT, id)), type_name, vault.hash64, vault.locate).filter
        for code, type_name in (("target", "Provenance"), ("item", "List"))
    ]
    return {"$or": [*leading, {"_id": {"$in": contents}}]}


def attachments(document: Mapping[str, Any]) -> list[str]:
    """Addresses of the contents of a DocumentReference."""
    return [url for one in document.get("content") or () if (url := (one.get("attachment") or {}).get("url"))]


def _sealed(row: NewRow, id: str) -> Sealed:
    return seal.sealed(_reference(row, id), row.body, row.content.sha256 if row.content is not None else None)


def _reference(row: NewRow, id: str) -> str:
    return f"{row.type}/{id}/_history/{version_id(row.version)}"


def _patient(context: "Context", row: NewRow, id: str) -> str:
    """Reference to the holder, "" where he is not known."""
    if row.type == "Patient":
        return f"Patient/{id}"
    named = context.enforcer.ledger.patient
    return f"Patient/{named}" if named and context.store.vault.dossier_of_patient(named) == row.dossier else ""


class _Common(NamedTuple):
    """What all Provenances of a signer have in common, and of a source: most of each. written: members, as JSON. shared: their index.

    who: Reference to the signer.
    """

    written: Mapping[str, msgspec.Raw]
    shared: Entries
    who: Mapping[str, Any]


@lru_cache(maxsize=64)
def _common(level: Level, signer: str, hash64: Hash64, source: Source | None) -> _Common:
    who = {"identifier": {"system": level.system, "value": signer}, "display": signer if level is MESSAGE else "fhir-dmp"}
    system, code, display = level.agent
    value: dict[str, Any] = {
        "activity": {"coding": [{"system": vouching.LEVEL, "code": level.name, "display": level.display}]},
        "agent": [{"type": {"coding": [{"system": system, "code": code, "display": display}]}, "who": who}],
    }
    whole = {"resourceType": "Provenance", **value, "signature": [signature(level, "", who, "")]}
    shared = blind.entries("Provenance", extract.extract("Provenance", whole, base_urls=()), hash64)
    if source is not None:
        coding = [*value["activity"]["coding"], *source.value["activity"]["coding"]]
        value = {"activity": {"coding": coding}, "agent": [*value["agent"], *source.value["agent"]], "entity": source.value["entity"]}
        shared = vouching.both(shared, source.shared)
    return _Common({name: msgspec.Raw(json.dump(part)) for name, part in value.items()}, shared, who)


def signature(level: Level, when: str, who: Mapping[str, Any], signed: str) -> dict:
    """A FHIR Signature that holds a JWS. who: Reference. https://hl7.org/fhir/R4/datatypes.html#Signature"""
    return {
        "type": [{"system": E1762, "code": level.signature[0], "display": level.signature[1]}],
        "when": when,
        "who": who,
        "targetFormat": JSON,
        "sigFormat": jws.FORM,
        "data": base64.b64encode(signed.encode()).decode(),
    }


def index_of(targets: Sequence[str], at_ms: int) -> dict[str, tuple]:
    """What the search parameters find in the part of a seal that is its own: written down, which takes a tenth of looking for it."""
    found = []
    for one in targets:
        type_name, _, rest = one.partition("/")
        id, _, version = rest.partition("/_history/")
        found.append(Reference(type_name, id, version or None))
    index: dict[str, tuple] = {"target": tuple(found), "recorded": (DateRange(at_ms, at_ms + 1),)}
    if patients := tuple(one for one in found if one.type == "Patient"):
        index["patient"] = patients
    return index
