"""What is kept of the rules' answers says what they would say anew, at every instant, and of what was read just now.

https://profiles.ihe.net/ITI/PCF/ ; consent.stances
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_dmp.consent import stances
from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.asking import READ, SEARCH, Request
from fhir_dmp.consent.companions import SEEN_AS
from fhir_dmp.consent.decide import Decision, decide, left_of, residual, view
from fhir_dmp.consent.dossier import Dossier, MaskRule, Permit, Right, Title, pack, unpack
from fhir_dmp.consent.law import LAW
from fhir_dmp.consent.predicate import facts_of, matches, row_of
from fhir_dmp.consent.standing import Standing
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.lifecycle import majority_ms
from fhir_dmp.dmp.paris import months_later_ms
from fhir_dmp.dmp.visibility import VISIBILITY
from fhir_dmp.fhir.instants import DAY, MAX_MS, MIN_MS, MINUTE
from tests.consent.strategies import NOW, PEOPLE, ROOTS, askers, documents, dossiers, mostly, subsets
from tests.consent.worlds import hash64

ACTIONS = (READ, SEARCH, *sorted(set(SEEN_AS.values())))
near = st.integers(-3, 3).map(lambda minutes: NOW + minutes * MINUTE // 2)
periods = st.tuples(st.just(MIN_MS) | near, st.just(MAX_MS) | near)
rights = st.lists(
    st.builds(lambda who, period, secret: Right(who, *period, secret=secret), st.sampled_from(PEOPLE[:2]), periods, st.booleans()),
    max_size=2,
).map(tuple)
# Policies of which most begins or ends within a few minutes, majorities among it.
worlds = st.builds(
    replace,
    dossiers,
    birth_date=mostly("1980-05-17", "2008-11-22", "2008-11-23", "no date"),
    deceased_ms=mostly(None, NOW, NOW + MINUTE),
    assimilated=rights,
    team=rights,
    access=rights,
    blocks=rights,
    grants=rights,
    titles=st.lists(
        st.builds(lambda who, kind, period: Title(who, kind, *period), st.just("mother"), st.sampled_from(["parent", "guardian"]), periods),
        max_size=2,
    ).map(tuple),
    masks=st.lists(
        st.builds(lambda roots, period: MaskRule(roots, since_ms=period[0], until_ms=period[1]), st.none() | subsets(ROOTS), periods),
        max_size=2,
    ).map(tuple),
    permits=st.lists(st.builds(lambda period: Permit("reimbursement", *period), periods), max_size=2).map(tuple),
)


@st.composite
def moments(draw, dossier: Dossier) -> list[int]:
    """Instants in any order, for the clock of a host may go back: about everything that begins and ends, and about the minutes."""
    ends = [one for one in stances.instants(dossier) if abs(one - NOW) < 2 * DAY] + [NOW, NOW + MINUTE]
    about = st.builds(lambda one, beside: one + beside, st.sampled_from(ends), st.sampled_from([-MINUTE, -1, 0, 1, 59_999, MINUTE]))
    return draw(st.lists(about | near, min_size=2, max_size=12))


@settings(max_examples=150, deadline=None)
@given(st.data(), askers, worlds, st.lists(documents, min_size=1, max_size=3))
def test_what_is_kept_says_what_would_be_said_anew(data, asker, dossier, found):
    request = replace(asker, action=READ)
    rows = [row_of(document, hash64) for document in found]
    for now_ms in data.draw(moments(dossier)):
        stance = stances.of(request, dossier, LAW, hash64, now_ms)
        action = data.draw(st.sampled_from(ACTIONS))
        left = residual(request.doing(action), dossier, now_ms)
        permitted = [not isinstance(left, Decision) and matches(left, facts_of(row, hash64)) for row in rows]
        way = data.draw(st.sampled_from(["permits", "left", "judge"]))
        if way == "permits":
            assert [stance.permits(action, row, now_ms) for row in rows] == permitted
        elif way == "judge":
            assert [stance.judge(action, now_ms)(row) for row in rows] == permitted
        else:
            assert stance.left(action, now_ms) == left
        if action in (READ, SEARCH):
            assert [decide(request.doing(action), dossier, facts_of(row, hash64), now_ms).permits for row in rows] == permitted
        kept, fresh = stance.view(now_ms), view(request, dossier, now_ms)
        assert [(kept.labels(one), kept.warnings(one)) for one in found] == [(fresh.labels(one), fresh.warnings(one)) for one in found]
        assert [kept.searched(label) for label in VISIBILITY] == [fresh.searched(label) for label in VISIBILITY]
        assert known(stance.standing.at(now_ms)) == known(Standing(request, dossier, now_ms, LAW))
        anew = stances.Stance(request, dossier, LAW, hash64, now_ms)
        assert (stance.unrelated, stance.secretly, stance.regulating) == (anew.unrelated, anew.secretly, anew.regulating)


ASKED = [name for name in vars(Standing) if not name.startswith("_") and name not in ("doing", "at", "now_ms", "request")]


def known(standing: Standing) -> dict[str, object]:
    """Everything that a rule may ask of a standing."""
    found = {}
    for name in ASKED:
        try:
            found[name] = getattr(standing, name)
        except ValueError:  # of a birth date that is none
            found[name] = ValueError
    return found


@settings(max_examples=100, deadline=None)
@given(askers, worlds, st.sampled_from([*ACTS, READ, SEARCH]), near)
def test_the_rules_compare_the_clock_with_nothing_else(asker, dossier, action, now_ms):
    """Whatever they compare it with ends what is kept: a rule that looks at another instant fails here."""
    clock = Watched(now_ms)
    clock.met = set()
    left_of(Standing(replace(asker, action=action), dossier, clock, LAW))
    assert clock.met <= {*stances.instants(dossier), MINUTE}


class Watched(int):
    """A clock that notes what it is compared with, and what it is divided by."""

    met: set[int]

    def _noted(self, name: str, other: int):
        self.met.add(int(other))
        return getattr(int, name)(self, other)

    def __lt__(self, other):
        return self._noted("__lt__", other)

    def __le__(self, other):
        return self._noted("__le__", other)

    def __gt__(self, other):
        return self._noted("__gt__", other)

    def __ge__(self, other):
        return self._noted("__ge__", other)

    def __mod__(self, other):
        return self._noted("__mod__", other)

    def __floordiv__(self, other):
        return self._noted("__floordiv__", other)


DOCTOR = Request(kind="professional", person=PEOPLE[0], professions=frozenset({"G15|10"}))
ROW = {"lb": 0, "ty": 0, "au": [], "og": 0, "fd": 0, "rl": 0, "st": 0, "rt": 1, "pa": 0, "pb": 1}


def asked(dossier: Dossier, request: Request = DOCTOR, now_ms: int = NOW) -> stances.Stance:
    return stances.of(request, dossier, LAW, hash64, now_ms)


def test_another_policy_is_another_answer_at_once():
    before = Dossier(patient="p", birth_date="1980-05-17", traitant=frozenset({DOCTOR.person}))
    assert asked(before).permits(READ, ROW, NOW) and asked(before).kept
    blocked = replace(before, blocks=(Right(DOCTOR.person),))
    assert not asked(blocked).kept and not asked(blocked).permits(READ, ROW, NOW)
    # Equal ones too: what is read and opened anew is asked anew.
    assert not asked(unpack(pack(before))).kept
    assert asked(before) is asked(before, now_ms=NOW + DAY) and not asked(before, replace(DOCTOR)).kept


def test_a_refusal_and_what_is_hidden_are_judged_anew():
    blocked = Dossier(patient="p", birth_date="1980-05-17", team=(Right(DOCTOR.person),), blocks=(Right(DOCTOR.person),))
    assert not asked(blocked).permits(READ, ROW, NOW) and isinstance(asked(blocked).left(SEARCH, NOW), Decision)
    assert not asked(blocked).kept
    member = replace(blocked, blocks=())
    assert not asked(member).permits(READ, {**ROW, "lb": 1}, NOW) and not asked(member).kept


PARENT = Request(kind="representative", patient="p", related_person="mother")
DECLARED = Dossier(patient="p", birth_date="1980-05-17", traitant=frozenset({DOCTOR.person}))
STRANGE = replace(DECLARED, traitant=frozenset())
CHILD = replace(STRANGE, birth_date="2008-11-23", titles=(Title("mother", "parent"),))
OF_AGE = majority_ms(CHILD.birth_date)
REIMBURSED = row_of(Facts(type="REMB", period=(NOW, NOW + 1)), hash64)
# Reimbursed two years ago to the minute that begins then.
LAST = row_of(Facts(type="REMB", period=(MIN_MS, months_later_ms(NOW, -LAW.reimbursement_months) + 1)), hash64)


# Not at the beginning of a minute.
THEN = NOW + 12_345


@pytest.mark.parametrize(
    ("request_", "action", "dossier", "row", "at_ms", "permitted"),
    [
        (DOCTOR, READ, replace(STRANGE, team=(Right(DOCTOR.person, until_ms=THEN),)), ROW, THEN, (True, False)),
        (DOCTOR, READ, replace(STRANGE, access=(Right(DOCTOR.person, since_ms=THEN),)), ROW, THEN, (False, True)),
        (DOCTOR, SEARCH, replace(DECLARED, blocks=(Right(DOCTOR.person, since_ms=THEN),)), ROW, THEN, (True, False)),
        (DOCTOR, SEARCH, replace(STRANGE, grants=(Right(DOCTOR.person, until_ms=THEN),)), ROW, THEN, (True, False)),
        (DOCTOR, READ, replace(DECLARED, deceased_ms=THEN), ROW, THEN, (True, False)),
        (DOCTOR, READ, replace(STRANGE, team=(Right(DOCTOR.person),), masks=(MaskRule(since_ms=THEN),)), ROW, THEN, (True, False)),
        (DOCTOR, READ, replace(STRANGE, team=(Right(DOCTOR.person),), masks=(MaskRule(until_ms=THEN),)), ROW, THEN, (False, True)),
        (DOCTOR, READ, replace(DECLARED, permits=(Permit("reimbursement", until_ms=THEN),)), REIMBURSED, THEN, (True, False)),
        (DOCTOR, READ, replace(DECLARED, permits=(Permit("reimbursement"),)), LAST, NOW + MINUTE, (True, False)),
        (PARENT, "see-patient", CHILD, ROW, OF_AGE, (True, False)),
        (PARENT, "see-patient", replace(CHILD, titles=(Title("mother", "guardian", until_ms=THEN),)), ROW, THEN, (True, False)),
    ],
)
def test_at_the_instant_at_which_something_begins_or_ends_it_does(request_, action, dossier, row, at_ms, permitted):
    """Asked again and again about it, forwards and backwards, by one asker of one policy: what is kept ends there."""
    before, after = permitted
    for beside in (-2, -1, 0, 1, -1, 0, -2):
        now_ms = at_ms + beside
        assert asked(dossier, request_, now_ms).permits(action, row, now_ms) == (before if beside < 0 else after)
        assert asked(dossier, request_, now_ms).judge(action, now_ms)(row) == (before if beside < 0 else after)
    kept = at_ms - 1 if before else at_ms
    assert asked(dossier, request_, kept).permits(action, row, kept) and asked(dossier, request_, kept).kept


SECRET = Right(DOCTOR.person, secret=True)
REGULATOR = replace(DOCTOR, purposes=frozenset({"ETREAT"}), regulation=True)


@pytest.mark.parametrize(
    ("request_", "rights", "secretly", "regulating"),
    [
        (DOCTOR, {"team": (SECRET,)}, True, False),
        (DOCTOR, {"access": (SECRET,)}, True, False),
        (DOCTOR, {"grants": (SECRET,)}, True, False),
        (DOCTOR, {"access": (SECRET, Right(DOCTOR.person))}, False, False),
        (DOCTOR, {"grants": (SECRET,), "team": (Right(DOCTOR.person),)}, False, False),
        (DOCTOR, {"team": (SECRET,), "traitant": frozenset({DOCTOR.person})}, False, False),
        (DOCTOR, {"team": (SECRET,), "blocks": (Right(DOCTOR.person),)}, False, False),
        (DOCTOR, {"team": (Right(PEOPLE[1], secret=True),)}, False, False),
        # Who regulates is told of as if he had no other right.
        (REGULATOR, {"access": (SECRET,)}, False, True),
        (REGULATOR, {"access": (Right(DOCTOR.person),)}, False, False),
        (REGULATOR, {"access": (SECRET,), "regulation": False}, True, False),
        (PARENT, {"team": (SECRET,)}, False, False),
    ],
)
def test_whom_nothing_but_a_secret_right_lets_in(request_, rights, secretly, regulating):
    stance = asked(replace(STRANGE, **rights), request_)
    assert (stance.secretly, stance.regulating) == (secretly, regulating)


def test_what_waits_for_the_holder_ends_to_the_millisecond():
    holder = Request(kind="patient", patient="p")
    dossier = Dossier(patient="p", birth_date="1980-05-17")
    assert asked(dossier, holder, NOW).permits(READ, ROW, NOW) and asked(dossier, holder, NOW + 100).kept
    waiting = {**ROW, "lb": 2, "rl": NOW + 100}
    for beside in (-1, 0, 1, -1):
        now_ms = NOW + 100 + beside
        assert asked(dossier, holder, now_ms).permits(READ, waiting, now_ms) == (beside >= 0)
        assert asked(dossier, holder, now_ms).judge(READ, now_ms)(waiting) == (beside >= 0)


def test_what_is_kept_has_a_bound():
    dossiers = [Dossier(patient=str(number), birth_date="1980-05-17", traitant=frozenset({DOCTOR.person})) for number in range(4_200)]
    for one in dossiers:
        assert asked(one).permits(READ, ROW, NOW)
    assert sum(asked(one).kept for one in dossiers) == stances.KEPT
