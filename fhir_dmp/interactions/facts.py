"""Facts by which the rules will judge what is being stored: found once, at the deposit, kept beside the body.

https://profiles.ihe.net/ITI/PCF/ ; consent.predicate lists what a row keeps.

What a deposit fixes (authors, structure, first instant, lineage, labels) is carried to every version and never read again from a body.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fhir_dmp.consent import companions, directives, notices
from fhir_dmp.consent.predicate import DATES, LABEL_BITS, LIFTED, OF_MINOR, SECRET_SESSION, facts_of, row_of
from fhir_dmp.dmp import documents, identity
from fhir_dmp.dmp.documents import STATUSES, WITHDRAWN, Facts
from fhir_dmp.dmp.visibility import INVISIBLE_RL
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import Ref, parse_reference, reference_texts
from fhir_dmp.fhir.tables import compartment
from fhir_dmp.interactions.context import Context
from fhir_dmp.store.rows import Row, Unopened, Visible
from fhir_dmp.store.vault import COMMON, dossier_in

# Carried from the first version to the last.
FIXED = ("lb", "au", "og", "fd", "rl", "rt", *LIFTED.values())
DIRECTORY = frozenset({"Practitioner", "PractitionerRole", "Organization"})
# Whether a reference of the body leads to something of the dossier that may be hidden.
LEADS = "hr"
# On what only names its document: its type is its own, and goes with its body.
BESIDE = "be"


class Origin(NamedTuple):
    """What a deposit says beside its body. authors: "ps:IDNPS" and identity.HOLDER. organization: "org:IDNST" of the token.

    labels: visibility labels, None for those of the body. lineage: facts, as stored, of the document that it replaces or belongs to.
    beside: it only names that document: it is hidden with it, and has a type and authors of its own.
    withdrawn: roots of its lineages all documents of which are. first_ms: when it was deposited first, UTC, where that was not now.
    """

    authors: frozenset[str] = frozenset()
    organization: str = ""
    labels: frozenset[str] | None = None
    lineage: Mapping[str, Any] | None = None
    beside: bool = False
    withdrawn: Collection[int] = ()
    first_ms: int | None = None


def visible(
    context: Context,
    value: Mapping[str, Any],
    address: str,
    dossier: int,
    at_ms: int,
    current: Row | None,
    origin: Origin | None,
    texts: Callable[[], Iterable[str]] | None = None,
) -> Visible:
    """Facts of a version. value: the resource. address: "Type/id". at_ms: UTC. current: what it replaces. origin: None as written.

    texts: gives those of its references, where somebody keeps them.
    """
    if dossier == COMMON:
        return None
    kind, hash64 = value["resourceType"], context.store.vault.hash64
    if kind in companions.SEEN_AS:
        around = companion(value, address, at_ms)
        if origin is not None:
            around = replace(around, authors=origin.authors, labels=origin.labels or frozenset())
        found = row_of(around, hash64)
        if current is not None and isinstance(current.visible, dict):
            # Of a minor's secret session; for whom it was given, says who gives it last.
            found["lb"] |= current.visible.get("lb", 0) & ~(0 if origin is None else LABEL_BITS[OF_MINOR])
    else:
        origin = origin or Origin(documents.authors_of(value, nobody))
        first_ms = at_ms if origin.first_ms is None else min(origin.first_ms, at_ms)
        told = documents.facts_of(
            value, authors=origin.authors, organization=origin.organization, first_deposit_ms=first_ms, root=address, labels=origin.labels
        )
        found = row_of(told, hash64)
        root = found["rt"]
        if kind == "List":
            return _of_list(found, current, origin)
        if origin.lineage is not None:
            found |= {name: origin.lineage[name] for name in FIXED if name not in ("au", "og") and name in origin.lineage}
            found["lb"] = _joined(found["lb"], told.labels | (origin.labels or frozenset()))
            if kind != "DocumentReference":
                if origin.beside:
                    found[BESIDE] = True
                else:
                    found |= {name: origin.lineage[name] for name in ("ty", "au", "og")}
                    found |= _dated(value, origin.lineage)
                if origin.lineage["st"] == STATUSES.index(WITHDRAWN):  # a content that comes after its document was withdrawn
                    found["st"] = origin.lineage["st"]
        if current is not None and isinstance(current.visible, dict):
            found |= {name: current.visible[name] for name in FIXED if name in current.visible}
            if kind != "DocumentReference" and found["rt"] != root:
                found |= _of_document(current, current.visible, origin)
                found |= _dated(value, current.visible) if BESIDE not in found and _as_document(current) else {}
            if context.sandbox and context.enforcer is None:
                found |= _said(current, told.labels, found, at_ms)
    if leads_inside(context, reference_texts(value) if texts is None else texts(), dossier):
        found[LEADS] = True
    return found


def _of_document(current: Row, own: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """What a new version keeps of its document, whatever its body says: the type it is judged by, and that it was withdrawn.

    Read again from the body, they would show what the matrix, a mask by rule or the withdrawal hides.
    """
    kept = {name: own[name] for name in ((BESIDE,) if BESIDE in own else ("ty",)) if name in own}
    if own.get("st") == STATUSES.index(WITHDRAWN) and (own["rt"] in origin.withdrawn or not says_withdrawn(current)):
        kept["st"] = own["st"]
    return kept


def _dated(value: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What says no date itself, as a content, is dated as its document is: a mask by period hides the two together. Else nothing."""
    return {} if documents.says_when(value) else {name: document[name] for name in ("pa", "pb", *DATES) if name in document}


def _as_document(row: Row) -> bool:
    """Whether a row is known to be dated as its document is. Else nobody knows here when that was: any mask by period hides."""
    return row.type == "Binary" or (row.body is not None and not documents.says_when(json.parse(row.body)))


def says_withdrawn(row: Row) -> bool:
    """Whether the body of a row says so itself."""
    return row.body is not None and documents.status_of(json.parse(row.body)) == WITHDRAWN


async def withdrawn_with(context: Context, row: Row) -> set[int]:
    """Of what says itself that it is withdrawn, the roots of its lineages all documents of which are so as well: it is not brought back
    without them.
    """
    if not says_withdrawn(row):
        return set()
    gone, lineages = STATUSES.index(WITHDRAWN), {"y.rt": {"$in": sorted({one["rt"] for one in listed(row)})}}
    roots: dict[bool, set[int]] = {True: set(), False: set()}
    async for one in context.reads.scan(lineages, types=("DocumentReference",), dossiers=(row.dossier,), bodies=False):
        roots[one.visible["st"] == gone].add(one.visible["rt"])
    return roots[True] - roots[False]


def _said(current: Row, labels: frozenset[str], found: Mapping[str, Any], at_ms: int) -> dict[str, Any]:
    """Labels as somebody says them who meets no rule: what is new in his body is put on, what is not there any more taken off."""
    body = json.parse(current.body) if current.body else {}
    before = documents.labels_said(body)
    bits = found["lb"]
    for label in labels - before:
        bits |= LABEL_BITS[label]
    for label in before - labels:
        bits &= ~LABEL_BITS[label]
    return {"lb": bits, **{LIFTED[label]: at_ms for label in before - labels}}


async def carried_on(context: Context, value: Mapping[str, Any]) -> Origin | None:
    """What a document is deposited with that somebody who meets no rule replaces others by: their lineage. None for anything else."""
    if context.enforcer is not None or value["resourceType"] != "DocumentReference" or not (targets := documents.replaced(value)):
        return None
    said = [parse_reference(text, (context.base_url,)) for text in targets]
    keys = {context.store.vault.locate(one.type, one.id) for one in said if one.perhaps_here}
    rows = (await context.reads.load_many(keys, bodies=False)).values() if keys else ()
    lineages = [row.visible for row in rows if isinstance(row.visible, dict) and row.type == "DocumentReference" and not row.deleted]
    return Origin(documents.authors_of(value, nobody), lineage=strictest(lineages)) if lineages else None


def strictest(lineages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The lineage of what belongs to several, one at least: the most hidden one, with the labels of all."""
    labels = 0
    for one in lineages:
        labels |= one["lb"]
    return {**max(lineages, key=lambda one: one["lb"].bit_count()), "lb": labels}


def _of_list(own: dict[str, Any], current: Row | None, origin: Origin) -> list[dict[str, Any]]:
    """A List is visible as soon as one of the documents it was deposited with is. It always may lead to something hidden.

    Withdrawn by what it says itself it is with all of them; brought back, with those alone that are there.
    """
    gone = STATUSES.index(WITHDRAWN)
    if current is not None and isinstance(current.visible, list):
        found = current.visible
        if any(one["st"] == gone for one in found) and says_withdrawn(current):
            found = [{**one, "st": gone if one["rt"] in origin.withdrawn else own["st"]} for one in found]
    else:
        lineages = origin.lineage.get("of", ()) if origin.lineage is not None else ()
        joining = origin.labels or frozenset()
        found = [{**one, "lb": _joined(one["lb"], joining), LEADS: True} for one in lineages] or [{**own, LEADS: True}]
    return [{**one, "st": gone} for one in found] if own["st"] == gone else found


def _joined(bits: int, labels: frozenset[str]) -> int:
    """Labels of what joins a lineage that has these bits, with its own. That it is of a minor's secret session stands apart, where
    representatives see the lineage: an act on its labels must not take it off.
    """
    return bits | sum(LABEL_BITS[one] for one in labels if one != SECRET_SESSION or not bits & LABEL_BITS[INVISIBLE_RL])


def companion(value: Mapping[str, Any], address: str, at_ms: int) -> Facts:
    """Facts of what stands around the documents."""
    if value["resourceType"] == "Consent":
        directive = directives.read(value, nobody)
        return companions.consent_facts(directive, address) if directive else Facts(type="consent:", root=address, first_deposit_ms=at_ms)
    if value["resourceType"] == "Communication" and notices.is_notice(value):
        return companions.notice_facts(notices.addressed(value), address)
    return Facts(type=value["resourceType"], root=address, first_deposit_ms=at_ms)


def nobody(reference: str) -> frozenset[str]:
    """For references that are not looked up."""
    return frozenset()


def here(context: Context, text: str) -> Ref:
    """What a stored reference leads to, by whatever name this host was addressed when it was written: ids of this host are its own.

    A right must not end because the next request, or a command, comes by another address.
    """
    said = parse_reference(text, (context.base_url,))
    if said.kind == "absolute" and said.type and context.store.vault.open_id(said.id) is not None:
        return replace(said, kind="local", base="")
    return said


def leads_inside(context: Context, texts: Iterable[str], dossier: int) -> bool:
    """Whether a reference leads to another resource of the same dossier than its Patient, or may. texts: of the references."""
    vault, anywhere = context.store.vault, context.sandbox
    for text in texts:
        said = parse_reference(text, (context.base_url,))
        near = said.perhaps_here and said.type not in ("Patient", *DIRECTORY)
        if near and (anywhere or dossier_in(vault.locate(said.type, said.id)) == dossier):
            return True
    return False


def perhaps_in(context: Context, key: bytes, dossier: int) -> bool:
    """Whether a key may be that of a row of a dossier: an id of a real store says of which, one that a client chose does not."""
    return dossier_in(key) == dossier or context.sandbox


def belongs(type_name: str) -> bool:
    """Whether resources of a type may belong to a dossier."""
    return type_name == "Binary" or bool(compartment("Patient").get(type_name))


def listed(row: Row | Unopened) -> tuple[Mapping[str, Any], ...]:
    """The facts of a row; several for a List, none for a row without."""
    visible = row.visible
    return tuple(visible) if isinstance(visible, list) else (visible,) if visible else ()


def secret(row: Row | Unopened) -> bool:
    """Whether a Consent or CareTeam was written in a minor's secret session: no representative is told of it."""
    return any(one.get("lb", 0) & LABEL_BITS[SECRET_SESSION] for one in listed(row))


def of_minor(row: Row | Unopened) -> bool:
    """Whether a mandate or RelatedPerson was written for a minor by who acts for him: what it gives ends with the majority."""
    return any(one.get("lb", 0) & LABEL_BITS[OF_MINOR] for one in listed(row))


def kept_from_representatives(one: Facts) -> bool:
    """Whether representatives see nothing of it."""
    return not one.labels.isdisjoint((SECRET_SESSION, INVISIBLE_RL))


def opened(context: Context, row: Row | Unopened) -> tuple[Facts, ...]:
    """The same as the rules read them."""
    hash64 = context.store.vault.hash64
    return tuple([facts_of(one, hash64) for one in listed(row)])


async def names(context: Context, values: Iterable[Mapping[str, Any]]) -> Mapping[str, frozenset[str]]:
    """Who is named by each reference of these resources to the directory, as the directory says now: reference -> names."""
    return await named_by(context, (text for value in values for text in reference_texts(value)))


async def named_by(context: Context, texts: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """The same of the texts of references."""
    vault, wanted = context.store.vault, {}
    for text in texts:
        said = here(context, text)
        if said.kind == "local" and said.type in DIRECTORY:
            wanted[text] = vault.locate(said.type, said.id)
    if not wanted:
        return {}
    rows = await context.reads.load_many(set(wanted.values()))
    found, roles = {}, {}
    for text, key in wanted.items():
        row = rows.get(key)
        if row is None or row.deleted or row.body is None:
            continue
        one = json.parse(row.body)
        found[text] = identity.known_as(one.get("identifier") or ())
        if one["resourceType"] == "PractitionerRole" and not found[text]:
            roles[text] = one.get("practitioner") or {}
    if roles:
        behind = [
            one for one in (role.get("reference") for role in roles.values()) if isinstance(one, str) and "PractitionerRole" not in one
        ]
        known = await named_by(context, behind) if behind else {}
        for text, one in roles.items():
            by_identifier = identity.known_as([one["identifier"]]) if isinstance(one.get("identifier"), dict) else frozenset()
            found[text] = by_identifier or known.get(one.get("reference") or "", frozenset())
    return found


def renamed(facts: Facts, **changes: Any) -> Facts:
    """The same facts with some replaced, for a question about a document that is about to be stored."""
    return facts.but(**changes)
