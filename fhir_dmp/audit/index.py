"""The blind index of a trace, put together from parts instead of being extracted from the event.

https://hl7.org/fhir/R4/auditevent.html#search
The parts that stay the same (codes, agents) are extracted once by the search parameters themselves and kept; a test compares the whole
with the generic way.
"""

from collections.abc import Callable

import msgspec

from fhir_dmp.audit import event
from fhir_dmp.audit.event import Disclosed, Server, Trace, agents, head, source
from fhir_dmp.audit.kinds import KINDS
from fhir_dmp.audit.pieces import text
from fhir_dmp.search import blind
from fhir_dmp.search.blind import Entries
from fhir_dmp.search.extract import extract
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.spelling import address_key, key, signed, token_spellings

_KEPT = 2048
# Characters of a request id.
_LONGEST = 200
_TYPE = "AuditEvent"


class Part:
    """Bytes and what they show in the index."""

    __slots__ = ("c", "g", "held", "joined", "json", "n", "x")

    def __init__(self, json: bytes, entries: Entries, held: object = None) -> None:
        self.json, self.held = json, held
        self.x, self.g, self.c, self.n = entries.x, entries.g, entries.c, entries.n
        self.joined: dict[Part, Joined] = {}


class Joined:
    """What several parts show together."""

    __slots__ = ("_g", "_x", "c", "g", "n", "x")

    def __init__(self, *parts: Part) -> None:
        self._x = dict.fromkeys(token for part in parts for token in part.x)
        self._g = dict.fromkeys(token for part in parts for token in part.g)
        self.x, self.g = tuple(self._x), tuple(self._g)
        self.c = tuple(dict.fromkeys(token for part in parts for token in part.c))
        self.n = tuple(interval for part in parts for interval in part.n)

    def x_and(self, more: dict[int, None]) -> tuple[int, ...]:
        return (*self.x, *[token for token in more if token not in self._x])

    def g_and(self, more: dict[int, None]) -> tuple[int, ...]:
        return (*self.g, *[token for token in more if token not in self._g])


class Indexer:
    """Builds events and their entries for one host. hash64: keyed hash of the store. It only keeps what it could build again."""

    def __init__(self, hash64: Callable[[bytes], int], server: Server) -> None:
        self._hash, self.server = hash64, server
        self._observer = self._part(source(server))
        self._agents: dict[tuple, Part] = {}
        self._heads: dict[tuple, Part] = {}
        self._holders: dict[str, tuple[dict[int, None], dict[int, None]]] = {}
        known = parameters(_TYPE)
        self._selective = {code for code in ("entity", "patient") if known[code].selective}
        self._placing = blind.locating(_TYPE)
        self._date = hash64(key(_TYPE, "date", "n", ""))
        self._ref = {code: key(_TYPE, code, "ref", "") for code in ("entity", "patient")}
        self._refv = {code: key(_TYPE, code, "refv", "") for code in ("entity", "patient")}
        self._present = {code: hash64(key(_TYPE, code, "present", "")) for code in ("date", "entity", "patient")}

    def _part(self, members: bytes, held: object = None, patient: str | None = None) -> Part:
        """A fragment of an event, its entries found by the search parameters."""
        value = msgspec.json.decode(b'{"resourceType":"AuditEvent",' + members + b"}")
        return Part(members, blind.entries(_TYPE, extract(_TYPE, value), self._hash, patient), held)

    def agents(self, trace: Trace) -> Part:
        """The agents; those of one bearer (the same object for as long as its token is kept) are built once."""
        actor = trace.actor
        own = actor is not None and actor.patient == trace.patient != ""
        codes = KINDS[trace.kind]
        known = (id(actor), own, trace.purposes, codes.client, codes.server, trace.client_address)
        part = self._agents.get(known)
        if part is None or part.held is not actor:
            json = agents(actor, trace.purposes, own, codes.client, codes.server, trace.client_address, self.server)
            part = self._part(json, actor, f"Patient/{trace.patient}" if own else None)
            if len(self._agents) >= _KEPT:
                self._agents.clear()
            self._agents[known] = part
        return part

    def codes(self, trace: Trace) -> Part:
        """Type, subtype, action, outcome, profile, and the codes of the entities that are there."""
        disclosed = len(trace.disclosed)
        there = (bool(trace.query), bool(trace.consents), bool(trace.request_id))
        known = (trace.kind, trace.outcome, bool(trace.patient), min(disclosed, 2), there)
        part = self._heads.get(known)
        if part is None:
            profile, codes = head(trace.kind, trace.outcome, bool(trace.patient), disclosed)
            members = [codes, b'"outcome":"%b"' % trace.outcome.encode()]
            if profile:
                members.append(b'"meta":{%b}' % profile[1:])
            if listed := self._entity_codes(trace):
                members.append(b'"entity":[%b]' % b",".join(listed))
            part = self._heads[known] = self._part(b",".join(members))
        return part

    @staticmethod
    def _entity_codes(trace: Trace) -> list[bytes]:
        there = (
            (trace.query, event.QUERY),
            (trace.patient, event.PATIENT),
            (trace.disclosed, event.DATA),
            (trace.consents, event.CONSENT),
            (trace.request_id, event.REQUEST),
        )
        return [b"{%b}" % codes for said, codes in there if said]

    def build(self, trace: Trace, id: str, version_id: str) -> tuple[bytes, Entries]:
        """The AuditEvent of a trace, and what its row shows."""
        part = self.agents(trace)
        return event.event(trace, part.json, self._observer.json, id, version_id), self._entries(trace, part)

    def _entries(self, trace: Trace, agents: Part) -> Entries:
        codes = self.codes(trace)
        kept = agents.joined.get(codes)
        if kept is None:
            kept = agents.joined[codes] = Joined(codes, agents, self._observer)
        x: dict[int, None] = {self._present["date"]: None}
        g: dict[int, None] = {}
        own = trace.patient
        for one in trace.disclosed:
            self._reference(one, own, x, g)
        if own:
            holder_x, holder_g = self._holder(own)
            x.update(holder_x)
            g.update(holder_g)
        for consent in trace.consents:
            self._reference(Disclosed("Consent", consent), own, x, g)
        if trace.request_id:
            self._request(trace.request_id, x, g)
        return Entries(kept.x_and(x), kept.g_and(g), kept.c, ((self._date, trace.at_ms, trace.at_ms + 1), *kept.n))

    def made_of(self, trace: Trace) -> None:
        """What its patient and what it discloses add to a trace, made and thrown away."""
        x: dict[int, None] = {}
        g: dict[int, None] = {}
        for one in (Disclosed("Patient", trace.patient), *trace.disclosed):
            self._reference(one, trace.patient, x, g)
        event.entities(trace)

    def _holder(self, patient: str) -> tuple[dict[int, None], dict[int, None]]:
        """What the patient of a trace shows: a dossier that is read is read again."""
        kept = self._holders.get(patient)
        if kept is None:
            x: dict[int, None] = {}
            g: dict[int, None] = {}
            self._reference(Disclosed("Patient", patient), patient, x, g)
            if len(self._holders) >= _KEPT:
                self._holders.clear()
            kept = self._holders[patient] = x, g
        return kept

    def _reference(self, one: Disclosed, own: str, x: dict[int, None], g: dict[int, None]) -> None:
        hash64 = self._hash
        address = signed(hash64(address_key(one.type, one.id)))
        is_patient = one.type == "Patient"
        x[self._present["entity"]] = None
        for code in ("entity", "patient") if is_patient else ("entity",):
            hashed = hash64(self._ref[code] + address)
            x[hashed] = None
            if code in self._selective and not (is_patient and one.id == own and code in self._placing):
                g[hashed] = None
            if one.version:
                x[hash64(self._refv[code] + one.reference.encode())] = None
            if is_patient:
                x[self._present["patient"]] = None

    def _request(self, request_id: str, x: dict[int, None], g: dict[int, None]) -> None:
        x[self._present["entity"]] = None
        plain = request_id.isascii() and request_id.isalnum() and len(request_id) <= _LONGEST
        said = request_id if plain else msgspec.json.decode(text(request_id, _LONGEST))
        for spelling in token_spellings(None, said.casefold()):
            hashed = self._hash(key(_TYPE, "entity", "refid", spelling))
            x[hashed] = None
            if "entity" in self._selective and not spelling.startswith("|"):
                g[hashed] = None
