"""What the rules leave to one asker in one dossier, kept up to the next instant at which they may say otherwise.

https://profiles.ihe.net/ITI/PCF/ (residual rules of a consent decision)

Practice software asks ten to fifty things of one dossier by one token within minutes. The answer of the rules depends on four things: the
request of the token, the policy, the choices of the host, and the clock. The first three are compared by identity, and the policy is the
one that was read from the database in this very request: a revocation is another policy. The clock is compared with every instant that
stands in the policy, and with the majority of the holder.

Kept is only what lets something be seen. A refusal, and what is hidden, is judged anew each time, as long as what is not there
(interactions.standing_in): how long an answer takes tells nothing of what somebody asked before. The two clocks of documents, the month of
INVISIBLE_PATIENT and the months of reimbursements, are set anew at each moment (predicate.moved).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.decide import Decision, View, left_of, view_of
from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.consent.law import Law
from fhir_dmp.consent.predicate import Hash64, Predicate, facts_of, judge, matches, moved, tick
from fhir_dmp.consent.standing import ETREAT, Standing
from fhir_dmp.dmp.lifecycle import majority_ms
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS

FIELDS = tuple(each.name for each in fields(Dossier))
INSTANTS = frozenset(name for name in FIELDS if name.endswith("_ms"))
of_fields = attrgetter(*FIELDS)
Judged = Callable[[Mapping[str, Any]], bool]
# Askers in dossiers. Whoever comes first goes first: most have ended by then.
KEPT = 4_096


class Left(NamedTuple):
    """What the rules leave of the rows that an action is about, as it is from since_ms to before until_ms.

    judged: the same of the sub-document `y` of a row; None where it changes with every millisecond.
    """

    predicate: Predicate
    judged: Judged | None
    since_ms: int
    until_ms: int


class Stance:
    """One asker in one dossier, from since_ms to before until_ms: as long as `standing` holds. kept: it will be met again.

    unrelated: a professional whom nothing lets into the whole of it. regulating: nothing but the regulation of emergency calls does, as
    far as representatives are told. secretly: nothing but what was given in a minor's secret session does. may_be_late: something of it
    may have been hidden from him before.
    """

    __slots__ = (
        "_left",
        "_view",
        "dossier",
        "hash64",
        "kept",
        "law",
        "may_be_late",
        "regulating",
        "request",
        "secretly",
        "since_ms",
        "standing",
        "unrelated",
        "until_ms",
    )

    def __init__(self, request: Request, dossier: Dossier, law: Law, hash64: Hash64, now_ms: int) -> None:
        self.request, self.dossier, self.law, self.hash64 = request, dossier, law, hash64
        self.standing = standing = Standing(request, dossier, now_ms, law)
        self.unrelated = standing.professional and not standing.related
        told = standing
        if standing.professional and standing.related and dossier.secrets:
            told = Standing(request, dossier.without_secrets(), now_ms, law)
        self.secretly = told is not standing and not told.related and not standing.blocked
        self.regulating = told.professional and told.mode == ETREAT and told.emergency and not told.authorised
        self.may_be_late = bool(dossier.lifted or dossier.masks or standing.is_waited_for)
        self.since_ms, self.until_ms, self.kept = now_ms, now_ms + 1, False
        self._left: dict[str, Left] = {}
        self._view: View | None = None

    def left(self, action: str, now_ms: int) -> Decision | Predicate:
        """What the rules leave of the rows that an action is about. now_ms: within since_ms and until_ms."""
        if action in self._left:
            return self._now(action, now_ms).predicate
        found = left_of(self._doing(action, now_ms))
        if not isinstance(found, Decision):
            self._learn(action, found, now_ms)
        return found

    def judge(self, action: str, now_ms: int) -> Judged:
        """The same of the sub-document `y` of a row."""
        left = self.left(action, now_ms)
        return nobody if isinstance(left, Decision) else self._now(action, now_ms).judged or judge(left, self.hash64)

    def permits(self, action: str, row: Mapping[str, Any], now_ms: int) -> bool:
        """Whether an action on one row is left. row: its `y`. What is not takes as long whatever was kept."""
        fresh = self
        if self.kept:
            if action in self._left:
                predicate, judged, since_ms, until_ms = self._left[action]
                if not since_ms <= now_ms < until_ms:
                    predicate, judged, _, _ = self._now(action, now_ms)
                if matches(predicate, facts_of(row, self.hash64)) if judged is None else judged(row):
                    return True
            fresh = Stance(self.request, self.dossier, self.law, self.hash64, now_ms)
        left = left_of(fresh._doing(action, now_ms))
        if isinstance(left, Decision) or not matches(left, facts_of(row, self.hash64)):
            return False
        self._learn(action, left, now_ms)
        return True

    def view(self, now_ms: int) -> View:
        """How he sees what he may read."""
        found = self._view
        if found is None:
            found = self._view = view_of(self.standing.at(now_ms))
        return found if found.now_ms == now_ms else View(found.shown, found.warned, found.duties, now_ms)

    def _now(self, action: str, now_ms: int) -> Left:
        found = self._left[action]
        if not found.since_ms <= now_ms < found.until_ms:
            found = self._left[action] = self._as_it_is(moved(found.predicate, now_ms), now_ms)
        return found

    def _learn(self, action: str, left: Predicate, now_ms: int) -> None:
        self._left[action] = self._as_it_is(left, now_ms)
        keep(self)

    def _as_it_is(self, left: Predicate, now_ms: int) -> Left:
        ticks = tick(left)
        since_ms, until_ms = (now_ms - now_ms % ticks, now_ms - now_ms % ticks + ticks) if ticks else (MIN_MS, MAX_MS)
        return Left(left, None if ticks == 1 else judge(left, self.hash64), since_ms, until_ms)

    def _doing(self, action: str, now_ms: int) -> Standing:
        standing = self.standing.at(now_ms)
        return standing if action == self.request.action else standing.doing(self.request.doing(action))


def nobody(row: Mapping[str, Any]) -> bool:
    """Of those to whom the rules leave nothing."""
    return False


def instants(dossier: Dossier) -> Iterator[int]:
    """Every instant at which something in a policy begins or ends, and the majority of its holder; UTC ms."""
    for name, value in zip(FIELDS, of_fields(dossier), strict=True):
        if type(value) is tuple:
            for one in value:
                yield one.since_ms
                yield one.until_ms
        elif value is not None and name in INSTANTS:
            yield value
    try:
        yield majority_ms(dossier.birth_date)
    except ValueError:
        return  # a birth date that is none says nothing at any time


_kept: OrderedDict[tuple[int, int], Stance] = OrderedDict()


def of(request: Request, dossier: Dossier, law: Law, hash64: Hash64, now_ms: int) -> Stance:
    """Where somebody stands now, met before or found anew. dossier: as it was read for this request."""
    found = _kept.get((id(request), id(dossier)))
    # Whoever is kept is alive, so that no other has its number; it is looked at all the same.
    if (
        found is not None
        and found.request is request
        and found.dossier is dossier
        and found.since_ms <= now_ms < found.until_ms
        and found.law is law
        and found.hash64 == hash64
    ):
        return found
    return Stance(request, dossier, law, hash64, now_ms)


def keep(stance: Stance) -> None:
    """Keep it up to the next instant at which the rules may say otherwise."""
    if stance.kept:
        return
    now_ms = stance.standing.now_ms
    since_ms, until_ms = MIN_MS, MAX_MS
    for instant in instants(stance.dossier):
        if instant <= now_ms:
            since_ms = max(since_ms, instant)
        else:
            until_ms = min(until_ms, instant)
    stance.since_ms, stance.until_ms, stance.kept = since_ms, until_ms, True
    _kept.pop(key := (id(stance.request), id(stance.dossier)), None)
    _kept[key] = stance
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
