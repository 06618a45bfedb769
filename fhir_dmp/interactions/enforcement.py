"""The Consent Enforcement Point: asks the rules on behalf of every interaction, and notes what was shown, for the trace.

https://profiles.ihe.net/ITI/PCF/ ; rules: consent.decide. A request of a sandbox's `system` token has no enforcer and meets no rule.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fhir_dmp.consent import companions, stances
from fhir_dmp.consent.access import REFUSED
from fhir_dmp.consent.asking import READ, SEARCH, Request, author_here, copier, knowing, openly
from fhir_dmp.consent.break_glass import open_at
from fhir_dmp.consent.decide import NO_DOSSIER, Decision, View, decide, judged, view
from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.consent.law import LAW, Law
from fhir_dmp.consent.predicate import LABEL_BITS, LET_IN, STATUSES, Predicate, hashed, to_mongo
from fhir_dmp.consent.rules import HOLDERS_SIDE
from fhir_dmp.consent.stances import Stance
from fhir_dmp.consent.standing import Standing
from fhir_dmp.dmp.documents import JUDGED_AS, WITHDRAWN, Facts
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, INVISIBLE_RL
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS
from fhir_dmp.interactions import appearing, facts, policy, standing_in
from fhir_dmp.interactions.request_ledger import Ledger
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import AnyOf, Has, UriIs
from fhir_dmp.store.reading import Opener
from fhir_dmp.store.rows import Row, Unopened
from fhir_dmp.store.vault import COMMON, version_id

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context

# Whoever has a token may read these; they are in no dossier.
PUBLIC = facts.DIRECTORY | {
    "CapabilityStatement", "CodeSystem", "ConceptMap", "ImplementationGuide", "NamingSystem", "OperationDefinition",
    "SearchParameter", "StructureDefinition", "ValueSet",
}  # fmt: skip
# A List has the facts of several documents, and so has what vouches for it, and a trace of what tells of it.
SEVERAL = ("List", "Provenance", "AuditEvent")
DOCUMENT, DOCUMENTS = "document", "DocumentReference"
# Documents that point to one Binary; nobody needs more.
MOST_POINTING = 1_000
# Of documents that are all looked at, however many there are: a bound would go by what is hidden.
AT_ONCE = 1_000
ALL_LABELS = sum(LABEL_BITS.values())
TRACE = "AuditEvent"
NOTHING: dict = {"_id": {"$in": []}}
# A lineage, or an author, that no resource has.
NONE = -1
CARRIERS = ("DocumentReference", *JUDGED_AS)


class Enforcer(msgspec.Struct):
    """Who asks, by which choices of the host, and what he was shown."""

    request: Request
    law: Law = LAW
    ledger: Ledger = msgspec.field(default_factory=Ledger)

    def apart(self) -> "Enforcer":
        """The same asker with a ledger of its own, for a part that is told by itself."""
        return Enforcer(self.request, self.law)


class Known(msgspec.Struct):
    """One dossier as one asker meets it, at one moment. request: of the asker, completed. policy: None when there is no such dossier.

    opener: of its rows, where its own row was read for this.
    late: something he sees came to him later than it was deposited, see `lateness`. once_hidden: rows of what was hidden from somebody
    before, None where they are too many. untold: lineages that are hidden from him now though he
    sees what others do, by `rt`: no trace tells him of them, also one that was written in the instant of a label and does not carry it.
    None where that was not looked for: no trace is seen. unlet: authors, by `au`, of nothing else: nor does it tell that they were let in.
    """

    context: "Context"
    number: int
    request: Request
    policy: Dossier | None
    now_ms: int
    law: Law
    opener: Opener | None = None
    residuals: dict[str, Decision | Predicate] = {}
    filters: dict[str, dict] = {}
    judges: dict[str, stances.Judged] = {}
    late: bool = False
    once_hidden: tuple[Row, ...] | None = ()
    untold: frozenset[int] | None = frozenset()
    unlet: frozenset[int] = frozenset()
    _view: View | None = None
    _stance: Stance | None = None

    @property
    def patient(self) -> str:
        """Logical id of the holder, "" where there is no dossier."""
        policy = self.policy
        return policy.patient if policy is not None else ""

    def copying(self) -> None:
        """From now on what is asked is what the holder of a closed dossier keeps: a copy, by id or as a whole."""
        if self.request.kind in HOLDERS_SIDE:
            self.request = copier(self.request)

    @property
    def view(self) -> View:
        """How he sees what he may read."""
        if self._view is None:
            self._view = view(self.request, None, self.now_ms, self.law) if self.policy is None else self.stance.view(self.now_ms)
        return self._view

    @property
    def stance(self) -> Stance:
        """Where he stands, found once for everything that is judged at this moment, or before. policy: not None."""
        found = self._stance
        if found is None or found.request is not self.request:
            found = self._stance = stances.of(self.request, self.policy, self.law, self.context.store.vault.hash64, self.now_ms)
        return found

    @property
    def standing(self) -> Standing:
        """The same as the rules ask for it."""
        return self.stance.standing.at(self.now_ms)

    def decide(self, action: str, document: Facts | None = None, **about: Any) -> Decision:
        """The decision on one act."""
        request = self.request if action == self.request.action and not about else self.request.doing(action, **about)
        # Who is named by a Consent, or acted in a trace, is no author for that.
        request = knowing(request, document) if document and action not in companions.ACTS else request
        if request is self.request and self.policy is not None:
            return judged(self.standing, document)
        return decide(request, self.policy, document, self.now_ms, self.law)

    def secret(self, action: str, **about: Any) -> bool:
        """Whether no representative is told of an act on the dossier that was permitted: it is done in a minor's secret session, or nothing
        but what was given in one permits it.
        """
        if self.request.secret_session:
            return True
        if self.policy is None or not self.policy.secrets:
            return False
        request = self.request.doing(action, **about)
        return not decide(request, self.policy.without_secrets(), None, self.now_ms, self.law).permits

    def reading(self, row: Row) -> Decision:
        """The decision on reading one resource of this dossier by its id."""
        action = companions.SEEN_AS.get(row.type, READ)
        found = Decision("hide", "no-facts")
        if row.type == TRACE and self._of_untold(row):
            return found
        for one in facts.opened(self.context, row):
            found = self.decide(action, one)
            if found.permits:
                break
        return found

    def seen_of(self, row: Row) -> tuple[Facts, ...]:
        """The facts of a resource that he reads; of a List those of the documents that he sees: no act on it may tell of others."""
        own = facts.opened(self.context, row)
        return own if len(own) < 2 else tuple([one for one in own if self.decide(READ, one).permits])

    def reads(self, row: Row) -> bool:
        """Whether he may read one resource of this dossier by its id, as `reading` decides it."""
        if self.policy is None:
            return self.reading(row).permits
        stance = self.stance
        if stance.unrelated:
            return self.reading(row).permits  # what he wrote himself may let him in
        if row.type == TRACE and self._of_untold(row):
            return False
        action, now_ms, visible = companions.SEEN_AS.get(row.type, READ), self.now_ms, row.visible
        if visible and type(visible) is dict:
            return stance.permits(action, visible, now_ms)
        return any([stance.permits(action, one, now_ms) for one in facts.listed(row)])

    def _of_untold(self, row: Row | Unopened) -> bool:
        if not self.untold:
            return self.untold is None
        own = self._own
        return all(
            (one.get("rt") in self.untold or one.get(LET_IN) in self.unlet) and not own & set(one.get("au", ()))
            for one in facts.listed(row)
        )

    @property
    def _own(self) -> frozenset[int]:
        """How the journal of a professional names him: what he did himself he is told, without the document."""
        request = self.request
        person = request.person if request.kind == "professional" else ""
        return frozenset({hashed("author", person, self.context.store.vault.hash64)} if person else ())

    def appeared(self, row: Row) -> int:
        """When a resource that he sees last changed, to him, UTC ms: not before what hid it from him was taken away."""
        return max(row.updated_ms, self.came(row)) if self.may_be_late else row.updated_ms

    def came(self, row: Row) -> int:
        """When what hid a resource that he sees from him was taken away, UTC ms; before all times when nothing did."""
        return appearing.at(self, row, facts.listed(row))

    @property
    def may_be_late(self) -> bool:
        """Whether anything of the dossier may have been hidden from him before."""
        return self.policy is not None and self.stance.may_be_late

    def left(self, type_name: str) -> Decision | Predicate:
        """What the rules leave of a type."""
        act = companions.SEEN_AS.get(type_name, SEARCH)
        if act not in self.residuals:
            self.residuals[act] = NO_DOSSIER if self.policy is None else self.stance.left(act, self.now_ms)
        return self.residuals[act]

    def filter(self, type_name: str | None) -> dict:
        """The same as a filter over rows."""
        if type_name is not None:
            return self._filter(type_name)
        named = dict.fromkeys((*companions.SEEN_AS, *SEVERAL, "Binary"))
        parts = [{"$and": [{"t": name}, self._filter(name)]} for name in (*named, *sorted(PUBLIC))]
        others = {"$and": [{"t": {"$nin": [*named, *sorted(PUBLIC)]}}, self._filter(DOCUMENT)]}
        return {"$or": [*parts, others]}

    def _filter(self, type_name: str) -> dict:
        if type_name in PUBLIC:
            return {"$and": [{"d": COMMON}]}
        act = companions.SEEN_AS.get(type_name) or (type_name if type_name in SEVERAL else DOCUMENT)
        if act not in self.filters:
            left = self.left(type_name)
            if isinstance(left, Decision):
                self.filters[act] = NOTHING
            else:
                over = to_mongo(left, self.context.store.vault.hash64)
                over = {"$and": [over, *self._told()]} if type_name == TRACE else over
                self.filters[act] = {"$and": [{"d": self.number}, of_any(over) if type_name in SEVERAL else over]}
        return self.filters[act]

    def read_filter(self, type_name: str) -> dict:
        """Filter over rows of one of SEVERAL: what he may read by its id, once something of the dossier is shown to him."""
        stance = self.stance
        if stance.unrelated:  # what he wrote himself let him in
            stance = stances.of(author_here(self.request), self.policy, self.law, self.context.store.vault.hash64, self.now_ms)
        left = stance.left(READ, self.now_ms)
        return NOTHING if isinstance(left, Decision) else of_any(to_mongo(left, self.context.store.vault.hash64))

    def _told(self) -> list[dict]:
        if not self.untold:
            return [NOTHING] if self.untold is None else []
        told = {"y.rt": {"$nin": sorted(self.untold)}, f"y.{LET_IN}": {"$nin": sorted(self.unlet)}}
        return [{"$or": [told, *({"y.au": one} for one in self._own)]}]

    def sees(self, row: Row | Unopened) -> bool:
        """Whether a search may show a row."""
        if (kind := row.type) in PUBLIC:
            return row.dossier == COMMON
        sees = self.judges.get(kind)
        if sees is None:
            act = companions.SEEN_AS.get(kind, SEARCH)
            sees = self.judges[kind] = stances.nobody if self.policy is None else self.stance.judge(act, self.now_ms)
        if row.dossier != self.number or (kind == TRACE and self._of_untold(row)):
            return False
        visible = row.visible
        return sees(visible) if type(visible) is dict else any(map(sees, facts.listed(row)))

    @property
    def sight(self) -> Sight:
        """What joins every search in this dossier."""
        return Sight(self.filter, self.sees, self)


def of_any(filter: dict) -> dict:
    """A filter over `y.…` where `y` may be a list: one of its elements meets all of it."""
    alone = {"$and": [{"y": {"$not": {"$type": "array"}}}, filter]}
    return {"$or": [of_elements(filter), alone]}


def of_elements(filter: dict) -> dict:
    """A filter over `y.…` where `y` is a list."""

    def inner(value: Any) -> Any:
        if isinstance(value, dict):
            return {name.removeprefix("y."): inner(part) for name, part in value.items()}
        return [inner(part) for part in value] if isinstance(value, list) else value

    return {"y": {"$elemMatch": inner(filter)}}


# ---- dossiers


async def known(
    context: "Context", number: int, *, row: Row | None = None, patient: str = "", authored: bool = True, traces: bool = True
) -> Known:
    """A dossier as the asker meets it now. row: one of its rows, read just now, with its policy.

    patient: the id by which the request names the holder, "" where it does not; the id of anything else in the dossier names nobody.
    authored: whether it matters that he wrote something else in it; of a document read by its id that one alone does.
    traces: whether traces may be among what he asks for; without it he sees none.
    """
    enforcer = context.enforcer
    if row is not None:
        found, opener = policy.in_force(context, row.policy) or await policy.of_row(context, row), None
    else:
        opener = await context.reads.opener(number)
        found = await policy.settled(context, number, opener.policy) if opener is not None else None
    if patient and found is not None and found.patient != patient:
        found = None
    met = Known(context, number, enforcer.request, found, context.now_ms(), enforcer.law, opener)
    if found is None:
        # What does not exist is looked for, and judged, as long as what is refused.
        if authored and met.request.kind == "professional" and met.request.person:
            await _authored(context, number, met.request.person)
        stands_in = Known(context, number, met.request, standing_in.POLICY, met.now_ms, met.law)
        standing_in.refused(stands_in)
        if traces and row is None and met.request.kind in HOLDERS_SIDE:
            await _untold(stands_in)
    if found is not None:
        ledger = enforcer.ledger
        ledger.patient = found.patient
        if met.request.secret_session and not met.standing.secret_session:
            # Here alone: what he does and gives in it is that of an ordinary session.
            met.request = openly(met.request)
            ledger.openly |= {found.patient}
        stance = met.stance
        if stance.secretly:
            ledger.secretly |= {found.patient}
        for grant in open_at(found, met.now_ms):
            if grant.covers(frozenset({met.request.person}), met.now_ms):
                ledger.broken(grant)
        own = await _authored(context, number, met.request.person) if authored and stance.unrelated and met.request.person else ()
        if own:
            met.request = author_here(met.request)
            author = hashed("author", met.request.person, context.store.vault.hash64)
            through = least_hidden([one for row in own for one in facts.listed(row)])
            ledger.authored[found.patient] = {**through, LET_IN: author}
        if stance.regulating:
            ledger.regulated[number] = met
        traitant = stance.standing.traitant
        if traitant and row is None:
            ledger.watched = True
        if (met.request.kind in HOLDERS_SIDE or traitant) and (row is None or row.type == TRACE):
            met.untold, met.unlet = await _untold(met) if traces else (None, frozenset())
    return met


async def _untold(met: Known) -> tuple[frozenset[int], frozenset[int]]:
    """Lineages of which nothing is told now to whoever else sees all traces: what labels hide from the holder's side, what was withdrawn
    from all but the holder himself; and the authors of nothing else that he sees.
    """
    hidden: dict[str, Any] = {"y.st": STATUSES.index(WITHDRAWN)}
    if met.request.kind in HOLDERS_SIDE or met.standing.relative:
        hidden = {"$or": [hidden, {"y.lb": {"$bitsAnySet": LABEL_BITS[INVISIBLE_PATIENT] | LABEL_BITS[INVISIBLE_RL]}}]}
    rows = [row for row in await _documents(met, hidden, CARRIERS) if not met.reading(row).permits]
    untold, authors = _all(rows, "rt"), _all(rows, "au")
    # Asked whether or not there are any: two questions each time, so that their number tells nothing.
    beside = {"$or": [{"y.rt": {"$in": sorted(untold) or [NONE]}}, {"y.au": {"$in": sorted(authors) or [NONE]}}]}
    seen = [row for row in await _documents(met, beside, CARRIERS) if met.reading(row).permits]
    # What was withdrawn replaced something, or was replaced, that may still be there to be read.
    untold -= _all(seen, "rt")
    return untold, _all([row for row in rows if untold.issuperset(_all([row], "rt"))], "au") - _all(seen, "au")


async def _documents(met: Known, where: dict, types: Sequence[str] = (DOCUMENTS,)) -> list[Row]:
    return await _every(met.context, met.number, where, types)


async def _every(context: "Context", number: int, where: dict, types: Sequence[str]) -> list[Row]:
    """All such rows of a dossier, closed."""
    return [row async for row in context.reads.scan(where, types=types, dossiers=(number,), batch=AT_ONCE, bodies=False)]


def _all(rows: Iterable[Row], field: str) -> frozenset[int]:
    """Values of one of the facts, `rt` or `au`, of all the rows."""
    values = (one[field] for row in rows for one in facts.listed(row))
    return frozenset(each for value in values for each in (value if type(value) is list else (value,)))


async def _authored(context: "Context", number: int, person: str) -> list[Row]:
    """Of what a professional is an author in the dossier; asked when nothing else relates him."""
    author = hashed("author", person, context.store.vault.hash64)
    return await _every(context, number, {"y.au": author}, CARRIERS)


def least_hidden(those: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Facts that hide a trace from whomever those of all these resources together would: what one of them shows is shown.

    Several that hide nothing are none: each may be hidden later, while another one still lets him in. (Once all are: see `_untold`.)
    """
    there = [one for one in those if one.get("st") != STATUSES.index(WITHDRAWN)]
    best = min(there or those, key=lambda one: (one.get("lb", ALL_LABELS).bit_count(), one.get("rl", MAX_MS)))
    labels = ALL_LABELS
    for one in there or those:
        labels &= one.get("lb", ALL_LABELS)
    if there and not labels and len({one.get("rt", 0) for one in those}) > 1:
        return {"lb": 0, "fd": MIN_MS, "rl": MAX_MS, "rt": 0}
    return {"lb": labels, "fd": best.get("fd", MIN_MS), "rl": best.get("rl", MAX_MS), "rt": best.get("rt", 0)}


async def of_patient(context: "Context", id: str, *, traces: bool = True) -> Known:
    """The dossier of Patient/`id`; one that does not exist is met like one that refuses. traces: as in `known`."""
    return await known(context, context.store.vault.dossier_of_patient(id), patient=id, traces=traces)


def refused() -> FhirError:
    """One wording for unknown, unrelated, blocked and closed."""
    return FhirError("forbidden", REFUSED)


# ---- reading by id


async def readable(context: "Context", type_name: str, id: str, row: Row | None) -> tuple[Row | None, Known | None]:
    """The row, noted as shown, and the dossier as he meets it; no row when he sees none. Of a Patient, whose address names the dossier,
    a refusal. row: the current version, deletions too.
    """
    if context.enforcer is None:
        return row, None
    if row is not None and row.dossier == COMMON:
        if type_name in PUBLIC:
            note(context, row, id, "")
            return row, None
    elif row is not None:
        ledger = context.enforcer.ledger
        before = ledger.patient
        met = await known(context, row.dossier, row=row, authored=type_name in companions.SEEN_AS)
        met.copying()
        if type_name != "Patient" and not row.deleted and met.policy is not None:
            ledger.addressed[type_name, id] = None
        if met.reads(row) and (type_name != "Binary" or await _carried(context, met, id)):
            if not row.deleted:
                ledger.note(met.patient, row, id)
            return row, met
        if met.request.kind in HOLDERS_SIDE:
            # His own journal tells him of it no more than the answer does.
            ledger.patient = before
            ledger.addressed.pop((type_name, id), None)
        keep(met, row)
    else:
        await absent(context)
    if type_name == "Patient":
        raise refused()
    return None, None


async def absent(context: "Context", *, authored: bool = False, body: bool = True) -> None:
    """Take as long as to judge what he may not read. authored: as in `known`. body: whether its body would have been opened for that."""
    request = context.enforcer.request
    if authored and request.kind == "professional" and request.person:
        await _authored(context, COMMON, request.person)
    standing_in.hidden(Known(context, 0, request, standing_in.of(context), context.now_ms(), context.enforcer.law), body=body)


def apart(context: "Context") -> "Context":
    """The same asker with a ledger of its own, for a part that is told by itself."""
    return context.but(enforcer=context.enforcer.apart())


def unwritten(context: "Context") -> None:
    """What was to be written, with its trace, was not: the answer has a trace of its own."""
    if context.enforcer is not None:
        context.enforcer.ledger.written = False


def keep(met: Known, row: Row) -> None:
    """Note that somebody asked for what he does not see: whoever does not see it either is not told so.

    Of the holder's side itself nothing is noted: what was asked for in vain is in the journal as if it were not there.
    """
    if met.request.kind not in HOLDERS_SIDE:
        met.context.enforcer.ledger.kept += facts.listed(row)


def intend(context: "Context", labels: Iterable[str]) -> None:
    """Note which labels of visibility something is to get: from whom it would be hidden, it is hidden that it was refused."""
    if context.enforcer is not None and (bits := sum(LABEL_BITS[label] for label in labels)):
        context.enforcer.ledger.kept += ({"lb": bits},)


def note(context: "Context", row: Row, id: str, patient: str) -> None:
    """Note for the trace that a version is shown."""
    if context.enforcer is not None and not row.deleted:
        context.enforcer.ledger.note(patient, row, id)


def instead(context: "Context", noted: Row | None, row: Row, id: str) -> None:
    """Another version than the current one is shown."""
    if context.enforcer is not None and noted is not None:
        for shown in context.enforcer.ledger.disclosed.values():
            shown.pop((noted.type, id, version_id(noted.version)), None)
            shown[row.type, id, version_id(row.version)] = None


async def _carried(context: "Context", met: Known, id: str) -> bool:
    """Whether every document that points to a Binary may be read: one that hides, hides."""
    vault = context.store.vault
    pointing = AnyOf(tuple(Has("location", UriIs(f"{base}Binary/{id}")) for base in ("", f"{context.base_url}/")))
    where = narrow.to_mongo(pointing, DOCUMENTS, vault.hash64, vault.locate).filter
    rows = await context.reads.find(where, types=(DOCUMENTS,), dossiers=(met.number,), limit=MOST_POINTING, bodies=False)
    return len(rows) < MOST_POINTING and all(met.reading(row).permits for row in rows)


# ---- acts


STATUS = {
    "already-open": "conflict",
    "already-authorised": "conflict",
    "medecin-traitant-is-changed-not-blocked": "conflict",
    "blocked-professional-not-declared": "conflict",
    "not-in-this-state": "conflict",
    "justification-missing": "business-rule",
    "consent-not-attested": "business-rule",
}
WORDS = {
    "already-open": "this person has a dossier already",
    "already-authorised": "you have access to this dossier already",
    "medecin-traitant-is-changed-not-blocked": "the declared médecin traitant is changed, not blocked",
    "blocked-professional-not-declared": "a blocked professional cannot be declared",
    "not-in-this-state": "the dossier is not in a state from which this can be done",
    "justification-missing": "a justification is needed",
    "consent-not-attested": "the holder's consent must be attested",
}


def settle(decision: Decision) -> Decision:
    """A decision that permits, else its error: 409 and 422 where only the asker's own act is at fault, 403 elsewhere."""
    if not decision.permits:
        raise refusal_of(decision)
    return decision


def keep_from_all(met: Known, row: Row, secret: bool | None = None) -> None:
    """422 where something would be changed in a minor's secret session that representatives see: it would show itself.

    Asked once the act is permitted. row: the version to be changed. secret: None where the session says so. A parent who is a professional
    changes no document and no resource in one, his own neither: what is let through would tell him that it is hidden from parents.
    """
    theirs = met.standing.relative and row.type not in companions.SEEN_AS
    hidden = all(map(facts.kept_from_representatives, met.seen_of(row))) and not theirs
    if (met.request.secret_session if secret is None else secret) and not hidden:
        raise in_secret(row.type)


def in_secret(place: str) -> FhirError:
    """What shows itself to everybody is not for a secret session. place: in what is sent."""
    said = "in a minor's secret session what everybody sees is not changed: write something new, or change it in an ordinary session"
    return FhirError("business-rule", said, place)


def refusal_of(decision: Decision) -> FhirError:
    kind = STATUS.get(decision.rule)
    return FhirError(kind, WORDS[decision.rule]) if kind else refused()


def visible_rows(met: Known, rows: Sequence[Row]) -> list[Row]:
    """Those of the rows that a search would show."""
    return [row for row in rows if met.sees(row)]
