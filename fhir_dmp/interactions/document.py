"""FHIR operation Composition/[id]/$document: a Composition with everything it refers to, as one document Bundle.

https://hl7.org/fhir/R4/composition-operation-document.html and https://hl7.org/fhir/R4/documents.html
"""

import uuid
from dataclasses import dataclass, field
from functools import partial

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url, collection
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.fhir.references import is_id, parse_reference, references
from fhir_dmp.interactions import octets, read, search_match, sets, shown, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import check, stamp, written
from fhir_dmp.interactions.search_rows import limits_of
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import entry_of
from fhir_dmp.store.rows import Row, Unopened
from fhir_dmp.store.vault import COMMON, version_id

PARAMETERS = (Parameter("id", "uri"), Parameter("persist", "boolean"), Parameter("graph", "uri"))
URN = "urn:ietf:rfc:3986"
# One document for one state of what it holds: asked for again, it has the same identifier.
NAMESPACE = uuid.UUID("5a2d2f6e-6c5b-4b0e-9a3a-0e4d7f1c2b90")


@dataclass(slots=True)
class _Gathered:
    rows: dict[bytes, Row] = field(default_factory=dict)
    missing: list[Issue] = field(default_factory=list)


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """The document, made now; with `persist` also stored as a Bundle, once for one state of what it holds."""
    if given.one("graph") is not None:
        raise FhirError("not-supported", "this server follows the references of a Composition, not a GraphDefinition: leave `graph` out")
    admit(context, "Composition", "r")
    if given.flag("persist"):
        if context.enforcer is not None:
            # Kept for others, it would show them what only this asker sees.
            raise FhirError("not-supported", "a document of a dossier is made anew for each who asks: leave `persist` out")
        admit(context, "Bundle", "c")
    composition = await _composition(context, _id_of(context, url, given), sight)
    gathered = await _gather(context, composition, sight)
    if gathered.missing:
        raise FhirError.many("unprocessable", gathered.missing)
    rows = list(gathered.rows.values())
    versions = ",".join(sorted(f"{row.key.hex()}/{version_id(row.version)}" for row in rows))
    identifier = f"urn:uuid:{uuid.uuid5(NAMESPACE, f'{context.base_url} {composition.key.hex()} {versions}')}"
    if not given.flag("persist"):
        return Answer(200, await _bundle(context, rows, identifier))
    return await _stored(context, composition, rows, identifier)


def _id_of(context: Context, url: Url, given: Given) -> str:
    asked = given.one("id")
    if url.id:
        if asked is not None:
            raise FhirError("invalid", "the address names the Composition already: leave `id` out")
        return url.id
    if asked is None:
        raise FhirError("invalid", "`$document` needs to know of which Composition: parameter `id`")
    said = parse_reference(asked, (context.base_url,))
    if said.kind == "absolute":
        raise FhirError("not-supported", "documents are made of Compositions of this server only")
    id = said.id if said.kind == "local" and said.type == "Composition" else asked
    if not is_id(id):
        raise FhirError("invalid", f"parameter `id`: `{asked[:80]}` is not the id of a Composition")
    return id


async def _composition(context: Context, id: str, sight: Sight) -> Row:
    row = await read.current(context, "Composition", id, opening=sight.sees)
    if row is None or (not row.deleted and not sight.sees(row)):
        raise read.absent()
    if row.deleted:
        raise read.deleted(row)
    (seen,) = await shown.rows(context, sight, [row])
    return seen


async def _gather(context: Context, composition: Row, sight: Sight) -> _Gathered:
    """The Composition, then what it refers to, then what those refer to.

    What the Composition itself names must be there; further references may lead out of the document.
    """
    result = _Gathered({composition.key: composition})
    own = (composition.dossier, COMMON)
    vault, fresh = context.store.vault, [composition]
    while fresh:
        wanted: dict[bytes, tuple[str, str]] = {}
        for row in fresh:
            for place, type_name, id in sets.local_references(context, row.body):
                if (key := vault.locate(type_name, id)) not in result.rows:
                    wanted.setdefault(key, (type_name, place))
        loaded = await context.reads.load_many(wanted, bodies=partial(_seen, sight)) if wanted else {}
        direct, fresh = fresh == [composition], []
        for key, (type_name, place) in wanted.items():
            row = loaded.get(key)
            there = row is not None and row.type == type_name and not row.deleted and row.body is not None
            # A document is about one patient: it does not lead into the dossier of another.
            same = there and (composition.dossier == COMMON or row.dossier in own)
            if same and _seen(sight, row) and context.actor.allows(type_name, "r"):
                fresh.append(row)
            elif direct and not (type_name == "Patient" and sight.met is not None):
                # Whom nothing but what he wrote himself lets in is not shown the Patient, and knows whom it is about.
                result.missing.append(Issue("error", "not-found", "what is referred to here cannot be put into the document", place))
        fresh = await shown.rows(context, sight, fresh)
        result.rows.update((row.key, row) for row in fresh)
        if len(result.rows) > limits_of(context).included:
            raise FhirError("too-costly", f"the document would hold more than {limits_of(context).included} resources")
        if direct:
            result.missing += _elsewhere(context, composition, result.rows)
    return result


def _seen(sight: Sight, row: Row | Unopened) -> bool:
    """Whether a document shows somebody a resource: as he reads it by its id, also where it was withdrawn."""
    return sight.sees(row) or (sight.met is not None and row.dossier == sight.met.number and sight.met.reads(row))


def _elsewhere(context: Context, composition: Row, rows: dict[bytes, Row]) -> list[Issue]:
    """References of the Composition to other servers, from which nothing is fetched, and to versions that are no longer current."""
    found = []
    for place, reference in references(json.parse(composition.body)):
        said = parse_reference(reference["reference"], (context.base_url,))
        row = rows.get(context.store.vault.locate(said.type, said.id)) if said.kind == "local" else None
        if said.kind in ("absolute", "urn"):
            found.append(Issue("error", "not-found", "what is referred to here is on another server, not in the document", place))
        elif row is not None and said.version and said.version != version_id(row.version):
            found.append(Issue("error", "not-found", "the version referred to here is not the current one, which a document holds", place))
    return found


async def _bundle(context: Context, rows: list[Row], identifier: str) -> bytes:
    budget = octets.Budget(context)
    entries = [(f"{context.base_url}/{row.type}/{entry_of(row, 'match').id}", await sets.hit_body(budget, row)) for row in rows]
    body = collection(entries, type="document")
    head = {"timestamp": json.dump(to_instant(context.now_ms()))}
    body = json.set_members(body, head, after="type")
    return json.set_members(body, {"identifier": json.dump({"system": URN, "value": identifier})})


async def _stored(context: Context, composition: Row, rows: list[Row], identifier: str) -> Answer:
    """The document of this state as it was stored, else stored now, in the dossier of its Composition."""
    known = await search_match.run(context, "Bundle", [("identifier", f"{URN}|{identifier}"), ("type", "document")], 1)
    if known and (row := await read.current(context, "Bundle", known[0][0])) is not None and not row.deleted:
        return read.answer(row, known[0][0])
    checked = check(context, await _bundle(context, rows, identifier), "Bundle")
    stamped = stamp(context, checked, method="POST", dossier=composition.dossier)
    await writing.write(context, [(stamped.change, stamped.id)])
    return written(stamped, 200)
