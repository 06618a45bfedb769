"""Traces of what an interaction shows, writes or refuses, made of what its ledger holds.

IHE BALP https://profiles.ihe.net/ITI/BALP/ ; R1111-43 CSP; a trace is durable before the first byte of the answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_dmp.audit.event import MAJOR, MINOR, SERIOUS, SUCCESS, Disclosed, Trace
from fhir_dmp.audit.kinds import KINDS
from fhir_dmp.consent.companions import SEEN_AS, TRACE
from fhir_dmp.consent.predicate import LABEL_BITS, LET_IN, SECRET_SESSION, often
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS
from fhir_dmp.interactions import regulation, standing_in
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.facts import listed, secret
from fhir_dmp.interactions.request_ledger import Ledger
from fhir_dmp.store.failures import unavailable
from fhir_dmp.store.rows import Change, NewRow, Row
from fhir_dmp.store.vault import version_id

# Kinds that tell of one resource: whoever may not see its lineage does not see the trace either. A search is told without what is hidden.
SINGLE = frozenset({"read", "vread", "history-instance", "create", "update", "patch", "delete", "mask", "unmask"})
METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# Answers by which the rules refuse; any other 4xx tells what is wrong with the request.
DENIED = frozenset({403, 404})
# Of visibility, before and after an act.
Labels = tuple[tuple[str, ...], tuple[str, ...]]
# The kind of what an import brings.
IMPORT = "import"
# Of a Bundle with thousands of entries.
LONGEST_QUERY = 16_000
# Of a request that was refused: whoever is refused writes no dossier full.
LONGEST_REFUSED = 2_000
NOT_GIVEN = "the answer that was traced just before was not given: MongoDB elected another primary meanwhile"
# What has a lineage of no document.
AROUND = SEEN_AS.keys() - {"AuditEvent"}
NO_LINEAGE: Mapping[str, Any] = {"lb": 0, "fd": MIN_MS, "rl": MAX_MS, "rt": 0}


async def shown(context: Context, kind: str, asked: str) -> None:
    """Record what is about to be shown. kind: name of the interaction. asked: the request, e.g. "Patient?_id=x". 503 when it cannot be."""
    if context.enforcer is None or context.recorder is None:
        return
    ledger = context.enforcer.ledger
    parts = (*ledger.apart.values(), (kind, asked, ledger)) if ledger.apart else ((kind, asked, ledger),)
    traces = [one for part in parts for one in _of_part(context, *part)]
    if not traces:
        return
    if ledger.regulated:
        await regulation.of_reading(context, alone=is_single(kind, asked, ledger))
    receipt = await context.recorder.record(traces)
    if context.election is not None and receipt.election != context.election:
        # Another primary was elected since: what was read may be older than a mask that it acknowledged.
        await context.recorder.record([one._replace(outcome=MAJOR, reason=NOT_GIVEN) for one in traces])
        raise unavailable()


def _of_part(context: Context, kind: str, asked: str, ledger: Ledger) -> list[Trace]:
    """Traces of what one part of a request was shown, or the whole; none where there are traces of it already."""
    named = {**{patient: {} for patient in ledger.asked}, **ledger.disclosed}
    if not named and (ledger.written or ledger.told):
        return []
    lineages = ledger.lineages if named and is_single(kind, asked, ledger) else None
    kind = _kind_of(kind)
    query = "" if kind in SINGLE else asked
    queries = {patient: "\n".join(lines)[:LONGEST_QUERY] for patient, lines in ledger.asked.items()}
    # Of what belongs to several documents is told as soon as one of them is seen.
    hidden = list(lineages.values()) if lineages else None if named else most_hidden(ledger.kept)
    # Who is told of one document, or of a trace of it, that one says; of anything else, what let him in.
    let_in = ledger.authored if not lineages or any(one[0] in AROUND for those in named.values() for one in those) else {}
    by_right = not (context.enforcer.ledger.secretly and lineages and _is_his(context, named, lineages))
    return [
        trace(
            context,
            kind,
            patient=patient,
            disclosed=tuple([Disclosed(*one) for one in those]),
            query=queries.get(patient, query),
            facts=visible(context, let_in.get(patient) or hidden, patient=patient, by_right=by_right),
        )
        for patient, those in (named or {ledger.patient: {}}).items()
    ]


def _is_his(context: Context, named: Mapping[str, Iterable[tuple[str, str, str]]], lineages: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether what is shown is, in part, a document of his own: that he reads whatever else lets him in."""
    documents = all(one[0] not in SEEN_AS for those in named.values() for one in those)
    return documents and any(_wrote(context, one) for one in lineages.values())


def _wrote(context: Context, facts: Mapping[str, Any]) -> bool:
    """Whether who asks is an author of a document. facts: of its row."""
    person = context.enforcer.request.person
    return bool(person) and often("author", person, context.store.vault.hash64) in facts.get("au", ())


def is_single(kind: str, asked: str, ledger: Ledger) -> bool:
    """Whether an interaction tells of one resource alone: whoever may not see that one is not told of it."""
    return kind in SINGLE or (_kind_of(kind) == "operation" and (ledger.alone or _on_instance(asked)))


def _on_instance(asked: str) -> bool:
    """Whether an operation is one on a single resource other than the Patient, who stands for his dossier.

    >>> _on_instance("DocumentReference/a/$verify"), _on_instance("Patient/a/$everything"), _on_instance("DocumentReference/$docref?x=y")
    (True, False, False)
    """
    type_name, _, rest = asked.partition("?")[0].partition("/")
    return type_name != "Patient" and "/$" in rest


async def refused(context: Context, name: str, asked: str, error: FhirError) -> None:
    """Record that something was not given. In nobody's own journal: who is told that nothing is there has nothing to look up; only who
    named a dossier whose whole journal is his to read finds it there, whatever is hidden from him.

    name: of the interaction, "" when it was not understood. A refusal by the rules is a security alert that names what was asked for;
    a request that is wrong in itself is a failure of its own kind. Whoever may not see what was asked for does not see that it was.
    """
    if context.enforcer is None or context.recorder is None or error.status >= 500:
        return
    ledger, denied = context.enforcer.ledger, error.status in DENIED
    addressed = tuple([Disclosed(*one) for one in ledger.addressed])
    if denied and not ledger.patient:
        standing_in.told(context)
    reason = f"{error.status} {error.message}"[:LONGEST_REFUSED]
    # Where he is refused it is all the same whether something of his own is there; elsewhere it alone let him in so far.
    own = () if denied else tuple(ledger.authored.values())
    # Of one thing that belongs to several documents is told as soon as one of them is seen.
    alone = name in SINGLE and len(ledger.addressed) == 1
    each = [(one,) for one in ledger.lineages.values()] if alone else []
    found = [one for those in each or [tuple(ledger.lineages.values())] if (one := most_hidden((*ledger.kept, *those, *own))) is not None]
    found = [{**one, LET_IN: own[0][LET_IN]} for one in found] if own else found
    facts = visible(context, found or None, own=ledger.watched, patient=ledger.patient)
    kind, outcome = ("refusal", SERIOUS) if denied else (_kind_of(name), MINOR)
    query = asked[:LONGEST_REFUSED]
    told = {"patient": ledger.patient, "disclosed": addressed, "query": query, "outcome": outcome, "reason": reason, "facts": facts}
    await context.recorder.record([trace(context, kind, **told)])


def _kind_of(name: str) -> str:
    return "search" if name.startswith("search") else name if name in KINDS else "operation"


def most_hidden(kept: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Facts that hide a trace from whomever those of one of these resources would hide it from."""
    if not kept:
        return None
    labels = 0
    for one in kept:
        labels |= one.get("lb", 0)
    last = max(kept, key=lambda one: one.get("rl", MAX_MS))
    root = next((root for one in kept if (root := one.get("rt"))), 0)  # labels that something was to get have none
    return {"lb": labels, "fd": last.get("fd", MIN_MS), "rl": last.get("rl", MAX_MS), "rt": root}


def of_writes(
    context: Context, written: Sequence[tuple[NewRow, str]], kind: str = "", asked: str = "", labels: Labels | None = None
) -> list[Change]:
    """Traces of writes, to be stored with them. written: rows and their logical ids. kind: "" for that of each row's method.

    asked: the request, of a kind that tells of several resources at once. labels: of an act that changed them.
    """
    if context.enforcer is None or context.recorder is None or not written:
        return []
    ledger = context.enforcer.ledger
    groups: dict[tuple[str, tuple[tuple[int, int], ...], str], list[Disclosed]] = {}
    lineages: dict[tuple[tuple[int, int], ...], list[Mapping[str, Any]]] = {}
    # Where no right but that to deposit is used, or the rows themselves say who is told of it.
    by_right: dict[tuple[tuple[int, int], ...], bool] = {}
    if kind == IMPORT:  # one for all that came together, told as soon as something of it is seen
        lineages[(0, 0),] = _lineages(written)
    for row, id in written:
        several = _of_write(row, kind)
        place = tuple((one.get("rt", 0), one.get("lb", 0) & LABEL_BITS[SECRET_SESSION]) for one in several)
        lineages.setdefault(place, several)
        free = row.type in SEEN_AS or row.method == "POST" or (bool(ledger.secretly) and any(_wrote(context, one) for one in several))
        by_right[place] = by_right.get(place, True) and not free
        patient = "" if not row.dossier else id if row.type == "Patient" else ledger.patient
        told = Disclosed(row.type, id, version_id(row.version))
        groups.setdefault((kind or METHODS[row.method], place, patient), []).append(told)
    ledger.written = True
    traces = [
        trace(
            context,
            name,
            patient=patient,
            disclosed=tuple(those),
            query=asked,
            labels=labels,
            facts=visible(context, lineages[place], patient=patient, by_right=by_right[place]),
        )
        for (name, place, patient), those in groups.items()
    ]
    return context.recorder.changes(traces)


def of_act(context: Context, kind: str, row: Row, id: str, patient: str, labels: Labels) -> list[Change]:
    """The trace of an act that made no version, to be stored with it. row: as it is after the act. labels: see Labels."""
    ledger = context.enforcer.ledger
    ledger.written = True
    if context.recorder is None:
        return []
    told = Disclosed(row.type, id, version_id(row.version))
    lineages = list(listed(row))
    facts = visible(context, lineages or None, patient=patient, by_right=not any(_wrote(context, one) for one in lineages))
    return context.recorder.changes([trace(context, kind, patient=patient, disclosed=(told,), labels=labels, facts=facts)])


def _lineages(written: Sequence[tuple[NewRow, str]]) -> list[Mapping[str, Any]]:
    """Facts of the documents among what is written, each once; of what is no document everybody is told who sees the journal."""
    found: dict[int, Mapping[str, Any]] = {}
    for row, _ in written:
        several = row.visible if isinstance(row.visible, list) else (row.visible or NO_LINEAGE,)
        for one in several if row.type not in SEEN_AS else (NO_LINEAGE,):
            found[one.get("rt", 0)] = one
    return [NO_LINEAGE] if 0 in found else list(found.values())


def _of_write(row: NewRow, kind: str) -> list[Mapping[str, Any]]:
    """Facts by which the trace of a written row is judged, where it has its own, those of each document that it belongs to; of a right that
    is told to no representative always.
    """
    if not kind or kind in SINGLE:
        return list({one.get("rt", 0): one for one in listed(row)}.values()) or [NO_LINEAGE]
    return [{**NO_LINEAGE, "lb": LABEL_BITS[SECRET_SESSION]} if kind != IMPORT and row.type in SEEN_AS and secret(row) else NO_LINEAGE]


def trace(
    context: Context,
    kind: str,
    *,
    patient: str = "",
    disclosed: tuple[Disclosed, ...] = (),
    query: str = "",
    outcome: str = SUCCESS,
    reason: str = "",
    labels: Labels | None = None,
    facts: Any = None,
) -> Trace:
    """One trace of this request."""
    ledger, told = context.enforcer.ledger, facts if facts is not None else visible(context, None, patient=patient)
    return Trace(
        kind=kind,
        at_ms=context.now_ms(),
        outcome=outcome,
        reason=reason,
        actor=context.actor,
        purposes=(ledger.secret_purposes if _is_secret(told) else None) or ledger.purposes,
        patient=patient,
        disclosed=disclosed,
        query=query,
        request_id=context.request_id,
        client_address=context.client_address,
        labels=labels,
        visible=told,
    )


def _is_secret(facts: Any) -> bool:
    """Whether no representative is told of a trace. facts: by which it is judged."""
    return all(one["lb"] & LABEL_BITS[SECRET_SESSION] for one in (facts if type(facts) is list else (facts,)))


def visible(
    context: Context,
    lineage: Mapping[str, Any] | list[Mapping[str, Any]] | None,
    *,
    own: bool = True,
    patient: str = "",
    by_right: bool = True,
) -> Any:
    """Facts by which reading a trace is judged. lineage: of the document it tells of, or of several of which one that is seen is enough.

    own: it belongs to the journal of who acted. patient: whose dossier it is about, "" for none. by_right: it needed a right to that: what
    is done by nothing but a right that was given in a minor's secret session is told as if done in one.
    """
    if type(lineage) is list:
        found = [visible(context, one, own=own, patient=patient, by_right=by_right) for one in lineage]
        return found if len(found) > 1 else found[0]
    request, hash64, ledger = context.enforcer.request, context.store.vault.hash64, context.enforcer.ledger
    secretly = (request.secret_session and patient not in ledger.openly) or (by_right and patient in ledger.secretly)
    of = lineage or NO_LINEAGE
    let_in = {LET_IN: of[LET_IN]} if LET_IN in of else {}
    return {
        **let_in,
        "lb": of.get("lb", 0) | (LABEL_BITS[SECRET_SESSION] if secretly else 0),
        "ty": often("type", TRACE, hash64),
        "au": [often("author", request.person, hash64)] if own and request.person else [],
        "og": 0,
        "fd": of.get("fd", MIN_MS),
        "rl": of.get("rl", MAX_MS),
        "st": 0,
        "rt": of.get("rt", 0),
        "pa": MIN_MS,
        "pb": MAX_MS,
    }
