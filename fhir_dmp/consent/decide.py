"""Who may do what: a pure, total function over named rules, and what it leaves when the document is not known yet.

https://profiles.ihe.net/ITI/PCF/ Consent Decision Service

`decide` and `residual` read the same tuple of rules, so that search and read cannot disagree:
{x : decide(r, d, x, t).effect == PERMIT} == {x : matches(residual(r, d, t), x)}.
A rule that raises denies.
"""

from functools import lru_cache
from typing import NamedTuple

from fhir_dmp.consent import acts, rules
from fhir_dmp.consent.asking import READ, SEARCH, Request
from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.consent.law import LAW, Law
from fhir_dmp.consent.predicate import ALWAYS, NEVER, All, AnyOf, Labelled, Not, Predicate, StatusIn, matches, moved, simplified
from fhir_dmp.consent.rules import PERMIT, REFUSE, Rule
from fhir_dmp.consent.standing import Standing
from fhir_dmp.dmp.documents import STATUSES, Facts

# Every row that is a document has one of these; a row that is none meets no residual.
A_DOCUMENT = StatusIn(frozenset(STATUSES))


class Decision(NamedTuple):
    """effect: PERMIT, HIDE or REFUSE. rule: the one that spoke. obligations: what comes with it, sorted; see OBLIGATIONS."""

    effect: str
    rule: str
    obligations: tuple[str, ...] = ()

    @property
    def permits(self) -> bool:
        """Whether it may happen."""
        return self.effect == PERMIT


OBLIGATIONS = {
    "trace": "an audit event, durable before the answer",
    "warn:MASQUE_PS": "say on screen that part of the document's visibility is restricted",
    "warn:INVISIBLE_PATIENT": "say on screen that the holder does not see the document yet",
    "warn:INVISIBLE_REPRESENTANTS_LEGAUX": "say on screen that the legal representatives do not see the document",
    "notify-holder": "a notification to the holder",
    "notify-medecin-traitant": "a notification to the declared médecin traitant",
    "review": "an entry in the review queue of the host's physician",
    "queue-for-host-physician": "the deposit waits for the host's physician: the holder is deceased",
    "hide-from-representatives": "the document and the session's traces carry INVISIBLE_REPRESENTANTS_LEGAUX",
    "traces-own": "only traces of the asker's own acts",
    "traces-but-hidden-from-patient": "no trace of a document that INVISIBLE_PATIENT hides now",
    "traces-but-hidden-from-representatives": "no trace of what INVISIBLE_REPRESENTANTS_LEGAUX hides, nor of a secret session",
}

NO_DOSSIER = Decision(REFUSE, "no-dossier")
NOTHING_SAID = "nothing-permits"
NOT_EVALUABLE = "rule-cannot-be-evaluated"


def decide(request: Request, dossier: Dossier | None, document: Facts | None, now_ms: int, law: Law = LAW) -> Decision:
    """The decision on one request. document: None for acts on the dossier; of a deposit, the facts of the new document."""
    return opening(request, law) if dossier is None else judged(Standing(request, dossier, now_ms, law), document)


def judged(standing: Standing, document: Facts | None) -> Decision:
    """The decision for somebody whose standing is known."""
    facts = document or Facts()
    for rule in rules_for(standing.request.action):
        try:
            predicate = rule.speaks(standing)
        except Exception:  # whatever went wrong: it denies
            return Decision(REFUSE, NOT_EVALUABLE)
        if predicate is not NEVER and matches(predicate, facts):
            return Decision(rule.effect, rule.name, obligations(standing, rule, document))
    return Decision(REFUSE, NOTHING_SAID)


def residual(request: Request, dossier: Dossier | None, now_ms: int, law: Law = LAW) -> Decision | Predicate:
    """The same rules with the document unknown: a refusal when no document could be permitted whatever it is, else a predicate."""
    if dossier is None:
        return NO_DOSSIER
    return left_of(Standing(request, dossier, now_ms, law))


def left_of(standing: Standing) -> Decision | Predicate:
    """What the rules leave for somebody whose standing is known."""
    spoken: list[tuple[bool, Predicate]] = []
    for rule in rules_for(standing.request.action):
        try:
            predicate = rule.speaks(standing)
            if predicate is not ALWAYS and predicate is not NEVER:
                predicate = simplified(predicate)
        except Exception:  # whatever went wrong: it denies
            if not spoken:
                return Decision(REFUSE, NOT_EVALUABLE)
            spoken.append((False, ALWAYS))
            break
        if predicate is NEVER:
            continue
        if predicate is ALWAYS and rule.effect == REFUSE and not spoken:
            return Decision(REFUSE, rule.name)
        spoken.append((rule.effect == PERMIT, predicate))
        if predicate is ALWAYS:
            break
    return composed(tuple(spoken)) if spoken else Decision(REFUSE, NOTHING_SAID)


@lru_cache(1024)
def composed(spoken: tuple[tuple[bool, Predicate], ...]) -> Predicate:
    """One predicate of what rules said, in their order: (whether it permits, the documents about which it speaks).

    The rules are asked every time; only what the same words come to is remembered.
    """
    left: Predicate = NEVER
    for permits, predicate in reversed(spoken):
        left = AnyOf((predicate, left)) if permits else All((Not(predicate), left))
    return simplified(All((A_DOCUMENT, left)))


def rules_for(action: str) -> tuple[Rule, ...]:
    """The rules of an action, in order; none, hence a refusal, for one we do not know."""
    if action in (READ, SEARCH):
        return rules.READING
    act = acts.ACTS.get(action)
    if act is None:
        return ()
    return (*rules.ADMISSION, *acts.ENDED, *rules.CURTAINS, *act.rules) if act.on == acts.DOCUMENT else act.rules


def opening(request: Request, law: Law = LAW) -> Decision:
    """What may be asked where no dossier is open: opening one."""
    if request.action != "open":
        return NO_DOSSIER
    if request.kind not in acts.MAY_OPEN or request.sector in law.never_served_sectors or request.unplaced:
        return Decision(REFUSE, NOTHING_SAID)
    if request.kind == "professional" and request.purposes and not request.purposes & law.care_purposes:
        return Decision(REFUSE, NOTHING_SAID)
    # The opening Consent says who opened: who cannot be named is nobody who did.
    if not {"professional": request.person, "structure": request.organization}.get(request.kind, request.kind):
        return Decision(REFUSE, NOTHING_SAID)
    return Decision(PERMIT, "opening", ("trace",))


def obligations(s: Standing, rule: Rule, document: Facts | None) -> tuple[str, ...]:
    """What a permission comes with."""
    if rule.effect != PERMIT:
        return ()
    action, found = s.request.action, {"trace"}
    if action in (READ, SEARCH) and document is not None and document.labels:
        found |= {f"warn:{label}" for label, p in rules.warnings(s).items() if label in document.labels and matches(p, document)}
    if action == "break-glass" or (action in (READ, SEARCH) and s.professional and s.emergency):
        found |= {"notify-holder", "notify-medecin-traitant", "review"}
    if s.request.kind == "mandataire" or action == "self-authorise":
        found.add("notify-holder")
    if action == "deposit" and s.deceased:
        found.add("queue-for-host-physician")
    if s.secret_session:
        found.add("hide-from-representatives")
    if action == "read-traces":
        found |= TRACES.get(rule.name, frozenset())
        if rule.name == "representative":
            found.add("traces-but-hidden-from-patient")
        if s.relative:
            found.add("traces-but-hidden-from-representatives")
    return tuple(sorted(found))


TRACES = {
    "holder": frozenset({"traces-but-hidden-from-patient"}),
    "representative": frozenset({"traces-but-hidden-from-representatives"}),
    "own-traces": frozenset({"traces-own"}),
}


class View(NamedTuple):
    """How one asker sees the documents he may read. shown, warned: label -> documents, at whatever moment they were found.

    duties: of any answer. now_ms: the moment at which he asks.
    """

    shown: dict[str, Predicate]
    warned: dict[str, Predicate]
    duties: tuple[str, ...]
    now_ms: int = 0

    def labels(self, document: Facts) -> frozenset[str]:
        """The visibility labels of a document that the asker may know of."""
        return self._among(self.shown, document)

    def warnings(self, document: Facts) -> frozenset[str]:
        """The visibility labels for which a document comes with a warning."""
        return self._among(self.warned, document)

    def _among(self, those: dict[str, Predicate], document: Facts) -> frozenset[str]:
        return frozenset([label for label in document.labels if matches(moved(those.get(label, NEVER), self.now_ms), document)])

    def searched(self, label: str) -> Predicate:
        """What a search by a visibility label finds, to be joined with the residual."""
        return simplified(All((Labelled(label), moved(self.shown.get(label, NEVER), self.now_ms))))


NOTHING_SHOWN = View({}, {}, ("trace",))


def view(request: Request, dossier: Dossier, now_ms: int, law: Law = LAW) -> View:
    """The view of one asker; nothing is shown when something cannot be evaluated."""
    return view_of(Standing(request, dossier, now_ms, law))


def view_of(standing: Standing) -> View:
    """The same for somebody whose standing is known."""
    try:
        any_permit = Rule("", PERMIT, lambda s: ALWAYS)
        return View(rules.labels_shown(standing), rules.warnings(standing), obligations(standing, any_permit, None), standing.now_ms)
    except Exception:  # what cannot be evaluated is not shown
        return NOTHING_SHOWN
