"""From what was read to what is stored: one unit for each resource, or for each Bundle that stays whole.

https://hl7.org/fhir/R4/bundle.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_dmp.dmp.documents import replaced as replaced_by
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import cda, fhir_document
from fhir_dmp.exchange.described import formerly
from fhir_dmp.exchange.inputs import Item, gathered
from fhir_dmp.exchange.results import Result, refusal
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.references import reference_texts, rewrite
from fhir_dmp.interactions.context import Context
from fhir_dmp.signing.seal import Message
from fhir_dmp.store.naming import Hashing, Named, digest, named
from fhir_dmp.store.vault import COMMON

# What becomes of a unit: a resource of its own, a transaction, one entry of a batch, the end of a resource.
RESOURCE, TRANSACTION, REQUEST, DELETION = "resource", "transaction", "request", "deletion"
# Bundles whose entries are taken one by one. Documents, messages and answers are one thing and stay whole.
OPENED = ("collection", "searchset", "history")
# Who is found here, and is no resource that a source brings.
PEOPLE = frozenset({"Patient", "Practitioner", "PractitionerRole", "Organization"})


@dataclass(slots=True, eq=False)
class Unit:
    """One thing to store. tree: exact when `exact`. keys: of its lines in the ledger. version, digest: see ledger.Stored.

    plan: of a transaction or of a batch entry. message: who sealed the one it came in. results: filled when it is done, several for a
    transaction. within: the transaction it is a part of, None for what stands alone. method, aliases: of such a part, POST or PUT, and what
    others in the transaction call it. referred: see Foreign.referred, None before that was asked. former: version and digest of the same
    as its person was called once, see described.formerly.
    """

    place: str
    work: str
    tree: Mapping[str, Any]
    body: bytes
    keys: tuple[bytes, ...] = ()
    version: int = 0
    digest: int = 0
    names: tuple[str, ...] = ()
    plan: bundle.Plan | None = None
    entry: bundle.Entry | None = None
    full_url: str = ""
    message: Message | None = None
    results: list[Result] = field(default_factory=list)
    within: "Unit | None" = None
    method: str = "POST"
    aliases: tuple[str, ...] = ()
    referred: set[bytes] | None = None
    former: tuple[int, int] | None = None
    _references: list[str] | None = None

    @property
    def references(self) -> list[str]:
        """Texts of the references in it."""
        if self._references is None:
            self._references = reference_texts(self.tree)
        return self._references

    @property
    def type(self) -> str:
        found = self.tree.get("resourceType")
        return found if isinstance(found, str) else ""

    @property
    def id(self) -> str | None:
        return self.tree.get("id")

    @property
    def seed(self) -> tuple[str, str]:
        """What its ids are drawn from: the same whenever the same version comes."""
        return self.names[0], str(self.version)

    def done(self, result: Result) -> None:
        """It has this result."""
        self.results.append(result)


class Units:
    """Reads items of one source. exact: keep the text of numbers, for resources that will be changed before they are stored."""

    def __init__(self, context: Context, hashing: Hashing, *, exact: bool) -> None:
        self.context, self.hashing, self.exact = context, hashing, exact

    def of(self, item: Item, message: Message | None = None) -> list[Unit]:
        """The units of an item. What cannot be read is a unit that is done. message: who sealed the one that it is, or that it came in."""
        found = self._of(item)
        for unit in found:
            unit.message = message
        return found

    def _of(self, item: Item) -> list[Unit]:
        if item.fault is not None:
            return [failed(item.place, item.fault)]
        try:
            if item.body[:64].lstrip()[:1] == b"<":
                item = item._replace(body=gathered(cda.described(item.body)))
            depth = self.context.settings.max_depth + 3
            tree = (json.parse_exact if self.exact else json.parse)(item.body, max_depth=depth)
            kind = tree.get("type") if tree.get("resourceType") == "Bundle" else None
            if kind == "document" and self.exact:
                # What a dossier takes is the document with its reference: a Bundle by itself is in no dossier.
                item = item._replace(body=gathered(fhir_document.described(tree, item.body)))
                return list(self._opened(item, json.parse_exact(item.body, max_depth=depth)))
            if kind in ("transaction", "batch", *OPENED) and not self.exact:
                tree = json.parse_exact(item.body, max_depth=depth)
            if kind == "transaction":
                return [self._transaction(item, tree)]
            if kind == "batch":
                return list(self._batch(item, tree))
            if kind in OPENED:
                return list(self._opened(item, tree))
            return [self._resource(item.place, tree, item.body)]
        except FhirError as error:
            return [failed(item.place, error)]

    def _resource(self, place: str, tree: Mapping[str, Any], body: bytes) -> Unit:
        if not isinstance(tree.get("resourceType"), str):
            raise FhirError("invalid", "the resource has no `resourceType`", "resourceType")
        return self._named(Unit(place, RESOURCE, tree, body), named(tree, body, place))

    def _named(self, unit: Unit, found: Named) -> Unit:
        content = found.digest.hex()
        # A source that tells versions keeps to them. A sandbox takes what comes: there the content is the version.
        version = found.version if found.version and self.exact else content
        unit.names = found.names
        unit.keys = tuple(self.hashing.name(name) for name in found.names)
        unit.version = self.hashing.number("version", version)
        unit.digest = self.hashing.number("content", content)
        return unit

    def _planned(self, tree: dict) -> bundle.Plan:
        most, entries = self.context.settings.max_bundle_entries, tree.get("entry")
        if isinstance(entries, list) and len(entries) > most:
            raise FhirError("too-long", f"a Bundle may have {most} entries, this one has {len(entries)}", "Bundle.entry")
        return bundle.plan(tree, base_urls=(self.context.base_url,))

    def _transaction(self, item: Item, tree: dict) -> Unit:
        if len(item.body) > (most := self.context.settings.max_body_bytes):
            # All of it is stored at once, and what is stored at once must fit the cache of the database.
            raise FhirError("too-long", f"a transaction may take {most} bytes, this one takes {len(item.body)}", "Bundle")
        unit = Unit(item.place, TRANSACTION, tree, item.body, plan=self._planned(tree))
        return self._named(unit, whole(item))

    def _batch(self, item: Item, tree: dict) -> Iterator[Unit]:
        plan = self._planned(tree)
        found = whole(item)
        for entry in plan.entries:
            place = f"entry[{entry.index}]"
            if self.exact:
                yield self._alone(f"{item.place} {place}", entry)
                continue
            unit = Unit(f"{item.place} {place}", REQUEST, entry.resource or {}, b"", plan=plan, entry=entry)
            yield self._named(unit, found._replace(names=(f"{found.names[0]} {place}",)))

    def _alone(self, place: str, entry: bundle.Entry) -> Unit:
        """An entry of a batch of a real source: a resource it brings, nothing else."""
        try:
            if entry.fault is not None:
                raise entry.fault
            if entry.resource is None or entry.method not in ("POST", "PUT") or not (entry.creates or entry.method == "PUT"):
                raise FhirError("not-supported", "a source brings resources: POST or PUT of one", entry.place)
            return self._resource(place, entry.resource, json.dump(entry.resource))
        except FhirError as error:
            return failed(place, error)

    def parts(self, unit: Unit) -> list[Unit]:
        """The entries of a transaction that bring something, as units of their own: documents by their identifier, what is PUT by the id
        that the source gives it, others by their place.

        Entries that mark a document as superseded are left out when the transaction also brings what replaces it.
        """
        found, replaced = [], set()
        for entry in unit.plan.entries:
            if _brings(entry):
                body = json.dump(entry.resource)
                kept = entry.target.id or None
                if kept is None and entry.resource.get("resourceType") in PEOPLE:  # the source speaks of them elsewhere too
                    kept = entry.resource.get("id") or entry.full_url.rpartition(":")[2] or None
                told = named({**entry.resource, "id": kept}, body, f"{unit.names[0]} {entry.full_url or entry.index}")
                place = f"{unit.place} entry[{entry.index}]"
                part = Unit(place, RESOURCE, entry.resource, body, full_url=entry.full_url, within=unit, method=entry.method)
                part.aliases = tuple(one for one in (entry.full_url, entry.target.identity) if one)
                found.append(self._named(part, told))
                replaced |= set(replaced_by(entry.resource))
        for entry in unit.plan.entries:
            if not _brings(entry) and not (entry.method == "PATCH" and entry.target.identity in replaced):
                raise FhirError("not-supported", f"a source brings resources: {entry.method} is not one", entry.place)
        return found

    def _opened(self, item: Item, tree: dict) -> Iterator[Unit]:
        """Entries of a collection, searchset or history one by one; links between them that are urns are replaced."""
        listed = tree.get("entry", [])
        if not isinstance(listed, list):
            raise FhirError("invalid", "entry is not a list", "Bundle.entry")
        entries = [entry if isinstance(entry, dict) else {"resource": entry} for entry in listed]
        links = self._links(item, entries)
        once = {person["id"]: id for person in _people(entries) if self.exact and (id := formerly(person))}
        history = tree["type"] == "history"
        # A history is told newest first.
        numbered = list(enumerate(entries))
        for index, entry in reversed(numbered) if history else numbered:
            place = f"{item.place} entry[{index}]"
            resource = entry.get("resource")
            deleted = history and "resource" not in entry and _within(entry, "request").get("method") == "DELETE"
            if ("resource" not in entry and not deleted) or _within(entry, "search").get("mode") == "outcome":
                continue
            try:
                if deleted and self.exact:
                    raise FhirError("not-supported", "a source deletes nothing here", f"Bundle.entry[{index}]")
                if deleted:
                    yield self._deletion(item, place, _within(entry, "request"))
                    continue
                if not isinstance(resource, dict):
                    raise FhirError("invalid", "an entry holds a resource", f"Bundle.entry[{index}].resource")
                linked = rewrite(resource, links)
                body = json.dump(linked)
                tree_of = linked if self.exact else json.parse(body, max_depth=self.context.settings.max_depth)
                yield self._once(self._resource(place, tree_of, body), once)
            except FhirError as error:
                yield failed(place, error)

    def _once(self, unit: Unit, people: Mapping[str, str]) -> Unit:
        """The same, with what it was known by. people: id -> what each was called."""
        body = unit.body
        for now, before in people.items():
            body = body.replace(f'"Patient/{now}"'.encode(), f'"Patient/{before}"'.encode())
        if body != unit.body:
            content = digest(body).hex()
            unit.former = self.hashing.number("version", content), self.hashing.number("content", content)
        return unit

    def _links(self, item: Item, entries: list[dict]) -> dict[str, str]:
        """urn -> `Type/id`; an entry without an id is given one, drawn so that the same Bundle gives the same."""
        vault, links = self.context.store.vault, {}
        for entry in entries:
            resource, full_url = entry.get("resource"), entry.get("fullUrl")
            is_urn = isinstance(full_url, str) and full_url.startswith("urn:")
            if not (is_urn and isinstance(resource, dict) and "resourceType" in resource):
                continue
            if "id" not in resource:
                draw = self.hashing.random(f"{item.place}#{full_url}", "id")
                dossier = vault.new_dossier(draw) if resource["resourceType"] == "Patient" else COMMON
                entry["resource"] = resource = {**resource, "id": vault.new_id(dossier, draw)}
            links[full_url] = f"{resource['resourceType']}/{resource['id']}"
        return links

    def _deletion(self, item: Item, place: str, request: dict) -> Unit:
        """A version of a history that says that the resource is gone."""
        url = bundle.parse_url(str(request.get("url")))._replace(query=(), conditional=False)
        unit = Unit(place, DELETION, {"resourceType": url.type, "id": url.id}, b"")
        return self._named(unit, whole(item)._replace(names=(url.identity,)))


def _brings(entry: bundle.Entry) -> bool:
    """Whether an entry of a transaction is a resource that a source brings."""
    return entry.resource is not None and (entry.creates or (entry.method == "PUT" and bool(entry.target.id)))


def whole(item: Item) -> Named:
    """How a Bundle is called that is one thing: by its content and its place."""
    found = digest(item.body)
    return Named((f"{item.place}#{found.hex()}",), "", found)


def failed(place: str, error: FhirError) -> Unit:
    """A unit that is done before it began."""
    unit = Unit(place, RESOURCE, {}, b"")
    unit.done(refusal(place, error))
    return unit


def _within(entry: dict, name: str) -> dict:
    found = entry.get(name)
    return found if isinstance(found, dict) else {}


def _people(entries: list[dict]) -> list[dict]:
    found = [entry.get("resource") for entry in entries]
    return [one for one in found if isinstance(one, dict) and one.get("resourceType") == "Patient"]
