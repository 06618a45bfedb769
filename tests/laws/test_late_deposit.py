"""What was hidden from somebody and then shown to him looks to him like a late deposit, byte for byte. access-rules 6

On one host a document is deposited, hidden and shown a day later; on the other it is deposited that day. With the same clock and the same
source of ids no answer to him tells one from the other, its seal included; what tells who looked, and when, does: that is his right.
"""

import asyncio
import os
from random import Random

import pytest
from pymongo import MongoClient

from tests.worlds import asking
from tests.worlds.comparing import Worlds
from tests.worlds.late import CASES, IDLE, Idle, Late

# The holder is told who did what, also of what was hidden from him while it was.
JOURNALS = ("AuditEvent", "$access-journal", "Communication", "Patient/", "_revinclude=*", "%2A")
# Of the other questions, in the ordinary run; all of them with --laws.
QUESTIONS = 30
PROVENANCES = (
    "Provenance?patient={patient}",
    "Provenance?patient={patient}&_sort=recorded",
    "Provenance?patient={patient}&_sort=-recorded&_count=1",
    "Provenance?patient={patient}&recorded=lt{before}",
    "Provenance?patient={patient}&recorded=gt{before}&_summary=count",
    "Provenance?patient={patient}&_lastUpdated=lt{before}",
    "DocumentReference?patient={patient}&_has:Provenance:target:recorded=lt{before}",
    "DocumentReference?patient={patient}&_lastUpdated=lt{before}",
    "Provenance?patient={patient}&target:DocumentReference._lastUpdated=lt{before}",
    "List?patient={patient}&item:DocumentReference._lastUpdated=lt{before}",
    "Patient?_id={patient}&_has:DocumentReference:patient:_lastUpdated=lt{before}&_summary=count",
    "Patient?_id={patient}&_has:Provenance:patient:recorded=lt{before}",
    "DocumentReference?patient={patient}&_revinclude=Provenance:target&_include=DocumentReference:related",
    "Patient/{patient}/$everything?_since={before}&_type=DocumentReference,Provenance,Binary,List",
    "DocumentReference/$docref?patient={patient}",
    "DocumentReference/$docref?patient={patient}&_count=1",
    "Patient/{patient}/$summary",
    "{binary}",
    "{late}",
    "{late}/_history",
    "{late}/_history?_at={before}",
    "Patient/{patient}/Provenance?recorded=ge{before}&_sort=-_lastUpdated",
)


@pytest.fixture(scope="module")
def runner():
    """An event loop for the hosts."""
    with asyncio.Runner() as found:
        yield found


@pytest.fixture(scope="module")
def worlds(runner, mongod, data_dir):
    names = tuple(f"late_{each}_{os.getpid()}" for each in "ab")
    found = runner.run(Worlds.open(mongod.uri, names, data_dir))
    yield found
    runner.run(found.close())
    with MongoClient(mongod.uri) as client:
        for name in names:
            client.drop_database(name)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_shown_looks_like_a_late_deposit(runner, worlds, pytestconfig, case):
    play = Late(worlds.one, worlds.professionals, case, Worlds.name())
    runner.run(worlds.both(play, play.deposited_late))
    left_out = JOURNALS if case.asker == "holder" else ()
    everything = pytestconfig.getoption("--laws")
    asked_of_both(runner, worlds, play, play.documents[1], left_out, everything)


@pytest.mark.parametrize("way", IDLE)
def test_a_mask_by_rule_that_hid_nothing_changes_nothing(runner, worlds, pytestconfig, way):
    play = Idle(worlds.one, worlds.professionals, way, Worlds.name())
    runner.run(worlds.both(play, play.unmasked))
    asked_of_both(runner, worlds, play, play.documents[0], (), pytestconfig.getoption("--laws"))


def asked_of_both(runner, worlds, play, late, left_out, everything) -> None:
    """What tells when things came, then some of all questions, or all of them. late: the document. left_out: parts of questions."""
    asked = asking.Asked(play.asker.token)
    for number, path in enumerate([*PROVENANCES, "{late}/$verify", "{binary}/$verify"]):
        names = {"patient": play.patient, "before": play.before, "late": late.address, "binary": f"Binary/{late.binary}"}
        found = runner.run(worlds.ask(play, asked.get(path.format(**names)), number))
        assert found.status == 200, found
    more = [call for call in asking.calls(play) if not any(one in call.path for one in left_out)]
    if not everything:
        more = Random(1).sample(more, QUESTIONS)
    for number, call in enumerate(more):
        runner.run(worlds.ask(play, call, len(PROVENANCES) + number))
