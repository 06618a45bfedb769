"""The two-world test: what is hidden from somebody changes no answer to him, byte for byte. access-rules 6

A history of acts by a holder, a parent, professionals and structures runs on one host; without the acts of others that concern only what is
hidden from one asker it runs on another. Both are the real application on a real MongoDB, with one clock and one source of ids.
"""

import asyncio
import os

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from pymongo import MongoClient

from tests.worlds.comparing import Worlds
from tests.worlds.histories import Deed, Story, stories
from tests.worlds.hosting import Call
from tests.worlds.life import TURNS
from tests.worlds.purging import hidden_from

# Of each history some of the five hundred questions, others each time: more histories tell more than more questions. With --laws as many
# as a night has time for.
QUESTIONS, AT_LENGTH = 16, 48
# How a deposit is done with its list, a document withdrawn, and deposited hidden from its patient: see Play.
SUBMISSION, WITHDRAWAL, MASKED, INVISIBLE = 8, 6, 4, 6


@pytest.fixture(scope="module")
def runner():
    """An event loop for the hosts, which live longer than one example; of the kind that the server runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as found:
        yield found


@pytest.fixture(scope="module")
def worlds(runner, mongod, data_dir):
    names = tuple(f"world_{each}_{os.getpid()}" for each in "ab")
    found = runner.run(Worlds.open(mongod.uri, names, data_dir))
    yield found
    runner.run(found.close())
    with MongoClient(mongod.uri) as client:
        for name in names:
            client.drop_database(name)


def hold(runner, worlds, examples, everything, half):
    """The law on so many histories, new ones each time where there is time. half: of the histories, which two processes share."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        # To find the smallest history takes longer than all of them.
        phases=[Phase.generate, Phase.shrink] if everything else [Phase.generate],
    )
    @given(stories(), strategies.integers(0, 2**32))
    def compared(story, choice):
        runner.run(worlds.compare(story, AT_LENGTH if everything else QUESTIONS, choice))

    (compared if everything else seed(half)(compared))()
    assert worlds.compared > 500 and worlds.with_hidden > worlds.histories / 4 and worlds.gone > worlds.histories


def test_what_is_hidden_changes_no_answer(runner, worlds, histories, pytestconfig):
    hold(runner, worlds, histories(46, 1_000), pytestconfig.getoption("--laws"), 1)


def test_what_was_withdrawn_before_the_medecin_traitant_saw_it_is_in_no_trace_for_him(runner, worlds, histories):
    """He sees all traces of a dossier but those of what is hidden from him, his own requests in vain included."""
    deeds = [
        Deed("deposit", "emergency", 4, SUBMISSION),
        Deed("deposit", "emergency", 4, SUBMISSION),
        Deed("label", "holder", 1, WITHDRAWAL),
    ]
    play = runner.run(worlds.compare(Story(False, deeds, "traitant", True), histories(80, None), 1))
    assert hidden_from(play) == {1}


@pytest.mark.parametrize("asker", ["holder", "traitant"])
def test_whom_nothing_but_what_is_hidden_lets_in_is_in_no_trace(runner, worlds, asker):
    """His searches would be refused if it were not there: that they are not would tell of it."""
    gone = [Deed("deposit", "hospital", 4, INVISIBLE)] if asker == "holder" else [Deed("deposit", "hospital", 4, 0)] * 2
    withdrawn = [Deed("label", "holder", on, WITHDRAWAL) for on in range(2)] if asker == "traitant" else []
    searches = [Deed("search", "hospital", 0, how) for how in range(6)]
    # After he withdrew one of two he is still let in, by the other one.
    deeds = [*gone, *searches, *withdrawn[:1], *searches[:1], *withdrawn[1:]]
    play = runner.run(worlds.compare(Story(False, deeds, asker), 0, 1))
    assert hidden_from(play) == set(range(len(gone)))
    journal = runner.run(worlds.ask(play, Call("GET", f"AuditEvent?patient={play.patient}&_count=100", play.asker.token), 0))
    assert journal.status == 200 and journal.value()["total"] > 0


# In the second dossier: one document that all see, one that is masked, one that waits for its patient; replaced, read and looked for.
BESIDE = [
    Deed("deposit", "consented", 4, SUBMISSION),
    Deed("second", "time", 0, 0),
    *(Deed("deposit", "hospital", 4, SUBMISSION + how, True) for how in (0, MASKED, INVISIBLE)),
    *(Deed("replace", "hospital", on, 1, True) for on in (1, 2)),
    *(Deed("read", by, on, 0, True) for by in ("elsewhere", "team") for on in range(5)),
    *(Deed("search", by, 0, how, True) for by in ("elsewhere", "holder") for how in (0, 4)),
]
MEANWHILE = [
    *(Deed("read", "traitant", on, 0) for on in range(5)),
    Deed("replace", "hospital", 2, 0),
    Deed("rule", "holder", 2, 0),
    Deed("search", "traitant", 0, 4),
]


@pytest.mark.parametrize(
    ("asker", "hidden", "parted"),
    [("team", {2}, False), ("holder", {3}, True), ("other", {3}, False), ("traitant", set(), True), ("mandataire", {0, 1, 2, 3}, True)],
)
def test_what_is_hidden_in_a_dossier_that_is_joined_is_so_in_the_one_that_goes_on(runner, worlds, histories, asker, hidden, parted):
    deeds = [*BESIDE, Deed("merge", "admin", 0, 0), *MEANWHILE, Deed("read", asker, 0, 0)]
    deeds += [Deed("unmerge", "admin", 0, 0)] * parted
    play = runner.run(worlds.compare(Story(False, deeds, asker, True), histories(16, None), 1))
    assert hidden_from(play) == hidden and [one.former != "" for one in play.documents].count(True) > 4


# One that all see; one that is hidden from this asker, whom the other authors see; Lists that name the hidden one first, and last.
LISTED = {
    "team": [Deed("deposit", "hospital", 4, MASKED)],
    "holder": [Deed("deposit", "hospital", 4, INVISIBLE)],
    "nurse": [Deed("deposit", "hospital", 4, 1)],
}


@pytest.mark.parametrize("asker", LISTED)
def test_what_is_done_with_a_list_in_part_is_done_with_what_is_seen_of_it(runner, worlds, histories, asker):
    deeds = [Deed("deposit", "consented", 4, 0), *LISTED[asker], Deed("deposit", "consented", 4, 0)]
    deeds += [Deed("lot", "traitant", on, 2) for on in range(3)] + [Deed("turn", "asker", on, how) for on in range(3) for how in range(12)]
    play = runner.run(worlds.compare(Story(False, deeds, asker), histories(60, None), 1))
    assert hidden_from(play) == {1} and len(play.lists) == 3
    assert {step.reply.status for step in play.steps if step.kind == "turn"} >= {200, 405, 422}


LOST = len(TURNS) - 2


@pytest.mark.parametrize("how", [LOST, LOST + 1])
def test_what_is_hidden_stays_so_while_rights_are_lost_and_the_dossier_is_closed_and_opened(runner, worlds, histories, how):
    deeds = [
        Deed("deposit", "consented", 4, SUBMISSION),
        Deed("deposit", "hospital", 4, SUBMISSION + INVISIBLE),
        Deed("life", "holder", 0, how),
    ]
    deeds += [Deed("deposit", "consented", 4, SUBMISSION), Deed("read", "traitant", 1, 0)]
    play = runner.run(worlds.compare(Story(False, deeds, "holder", True), histories(60, None), 1))
    assert hidden_from(play) == {1} and all(step.done for step in play.steps if step.kind == "life")


@pytest.mark.parametrize("asker", ["traitant", "holder"])
def test_whom_nothing_but_what_is_hidden_let_in_before_two_were_joined_is_in_no_trace(runner, worlds, asker):
    """What he has in the dossier that goes on had not let him into the other one."""
    how = INVISIBLE if asker == "holder" else 0
    deeds = [
        Deed("deposit", "hospital", 4, 0),
        Deed("second", "time", 0, 0),
        *[Deed("deposit", "hospital", 4, how, True)] * 2,
        *(Deed("search", "hospital", 0, each, True) for each in range(6)),
        *(Deed("label", "holder", on, WITHDRAWAL, True) for on in range(2) if asker == "traitant"),
        Deed("merge", "admin", 0, 0),
    ]
    play = runner.run(worlds.compare(Story(False, deeds, asker), 0, 1))
    assert hidden_from(play) == {1, 2}
    journal = runner.run(worlds.ask(play, Call("GET", f"AuditEvent?patient={play.patient}&_count=100", play.asker.token), 0))
    assert journal.status == 200 and journal.value()["total"] > 0
