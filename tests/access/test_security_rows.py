"""The attack classes A01 to A30 and B07 to B24, one test a row. access-rules 6; https://hl7.org/fhir/R4/security.html#AccessDenied

The rows on oracles are asked of two hosts: on one the document m is hidden from the asker, on the other it was never written.
"""

import asyncio
import itertools
import os
import re

import pytest
from pymongo import MongoClient

from tests.worlds import people
from tests.worlds.asking import NOBODY, PATCH, Asked
from tests.worlds.comparing import Worlds
from tests.worlds.histories import Play, Story
from tests.worlds.scripted import CASES, Betrayal


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as found:
        yield found


@pytest.fixture(scope="module")
def worlds(runner, mongod, data_dir):
    names = tuple(f"rows_{each}_{os.getpid()}" for each in "ab")
    found = runner.run(Worlds.open(mongod.uri, names, data_dir))
    yield found
    runner.run(found.close())
    with MongoClient(mongod.uri) as client:
        for name in names:
            client.drop_database(name)


@pytest.fixture(scope="module", params=CASES, ids=str)
def play(request, runner, worlds):
    """The history with m, played in both worlds."""
    found = Betrayal(worlds.one, worlds.professionals, request.param, worlds.name())
    runner.run(worlds.both(found))
    return found


_numbers = itertools.count(1)


class Asking:
    """Asks both worlds as the one from whom m is hidden; the answers are the same, or the test fails."""

    def __init__(self, runner, worlds, play) -> None:
        self.runner, self.worlds, self.play = runner, worlds, play
        self.asked = Asked(play.asker.token)
        self.m, self.here = play.hidden, f"patient={play.patient}"

    def __call__(self, call, status: int | None = None):
        self.play.now += 1_000
        answer = self.runner.run(self.worlds.ask(self.play, call, next(_numbers)))
        assert status is None or answer.status == status, answer
        return answer

    def get(self, path: str, status: int | None = None, **headers: str):
        return self(self.asked.get(path, **headers), status)

    def send(self, method: str, path: str, body=b"", status: int | None = None, **headers: str):
        return self(self.asked.send(method, path, body, **headers), status)

    def found(self, path: str) -> dict:
        return self.get(path, 200).value()


@pytest.fixture
def ask(runner, worlds, play):
    return Asking(runner, worlds, play)


def absent(one, other) -> bool:
    """Whether two answers are the same but for the ids they were asked about."""
    return (one.status, one.body, one.headers) == (other.status, other.body, other.headers)


def ids(bundle: dict) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", []) if "id" in entry["resource"]]


# ---- oracles on hidden resources


def test_a01_read(ask):
    assert absent(ask.get(ask.m.address, 404), ask.get(f"DocumentReference/{NOBODY}", 404))


@pytest.mark.parametrize("said", ["_summary=count", "_total=accurate", "_total=estimate", "_total=accurate&_count=0"])
def test_a02_totals(ask, said):
    assert ask.found(f"DocumentReference?{ask.here}&{said}")["total"] == len(ids(ask.found(f"DocumentReference?{ask.here}")))


def test_a03_pages_are_full(ask):
    everything = ids(ask.found(f"DocumentReference?{ask.here}"))
    first = ask.found(f"DocumentReference?{ask.here}&_count=1")
    assert len(ids(first)) == 1 and len(everything) >= 3 and first["total"] == len(everything)


def test_a04_a_page_is_for_who_asked_for_the_first(ask):
    """What is shown of it is decided anew: test_revocation_races."""
    first = ask.found(f"DocumentReference?{ask.here}&_count=1")
    link = next(one["url"] for one in first["link"] if one["relation"] == "next").partition("/fhir/")[2]
    for name in ("traitant", "unrelated", "consented"):
        if not ask.play.is_asker(name):
            answer = ask(Asked(ask.play.cast[name].token).get(link))
            assert answer.status in (400, 403) and b'"entry"' not in answer.body, answer


def test_a05_reverse_chains(ask):
    patient = ask.play.patient
    for chain in (f"type={people.REPORT}", f"_id={ask.m.id}", f"identifier={ask.m.master}", f"_has:List:item:_id={ask.m.listed}"):
        ask.get(f"Patient?_id={patient}&_has:DocumentReference:patient:{chain}")
    ask.get(f"Patient?_has:DocumentReference:patient:type={people.REPORT}", 403)


def test_a06_chains(ask):
    for path in (
        f"List?{ask.here}&item:DocumentReference.identifier={ask.m.master}",
        f"DocumentReference?{ask.here}&relatesto:DocumentReference.identifier={ask.m.master}",
        f"DocumentReference?{ask.here}&related:DocumentReference.type={people.REPORT}",
        f"Provenance?{ask.here}&target:DocumentReference.type={people.REPORT}",
        f"AuditEvent?{ask.here}&entity:DocumentReference.identifier={ask.m.master}",
    ):
        answer = ask.get(path)
        assert answer.status != 200 or not ids(answer.value()), answer


def test_a06_chains_through_what_refers_to_it(ask):
    """A document that is shown says nothing of the reference to m, neither in itself nor at the end of a chain."""
    for criterion in ("relatesto:missing=false", "related:missing=false", "relation=appends", "related:missing=true&_summary=count"):
        for path in (
            f"List?{ask.here}&item:DocumentReference.{criterion}",
            f"AuditEvent?{ask.here}&entity:DocumentReference.{criterion}",
            f"Patient?_id={ask.play.patient}&_has:DocumentReference:patient:{criterion}",
        ):
            ask.get(path, 200)


def test_a07_includes(ask):
    for path in (
        f"List?{ask.here}&_include=List:item",
        f"List?{ask.here}&_include=*",
        f"DocumentReference?{ask.here}&_revinclude=*&_include:iterate=*",
        f"DocumentReference?{ask.here}&_include:iterate=DocumentReference:relatesto&_revinclude:iterate=List:item",
    ):
        assert ask.m.listed not in ids(ask.found(path)), path


def test_a08_histories(ask):
    for path in ("/_history", f"/_history/{ask.m.versions[0]}", "/_history/1", "/_history?_since=2020-01-01", "/_history?_at=2026"):
        answer = ask.get(ask.m.address + path)
        assert answer.status == 404 or (answer.status == 400 and "_at" in path)
    for path in ("_history", "DocumentReference/_history", "List/_history?_since=2020-01-01T00:00:00Z"):
        ask.get(path, 403)
    assert ask.found(f"{ask.play.shown.address}/_history")["total"] == 1


def test_a09_operations_on_sets(ask):
    patient = ask.play.patient
    assert not {ask.m.id, ask.m.binary, ask.m.listed} & set(ids(ask.found(f"Patient/{patient}/$everything")))
    ask.get(f"Patient/{patient}/$everything?_count=1", 200)
    ask.get(f"DocumentReference/$docref?{ask.here}", 200)
    ask.get(f"Composition/{ask.m.id}/$document", 404)
    ask.get("$export", 403, prefer="respond-async")


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "application/fhir+json"])
def test_a10_contents(ask, accept):
    path = f"Binary/{ask.m.binary}"
    for headers in ({}, {"range": "bytes=0-1"}, {"range": "bytes=900-"}):
        assert absent(ask.get(path, 404, accept=accept, **headers), ask.get(f"Binary/{NOBODY}", 404, accept=accept, **headers))
    ask.send("HEAD", path, status=404, accept=accept)


def test_a11_conditional_create(ask):
    value = people.document(ask.play.patient, ask.play.asker, people.REPORT, 77, at=ask.play.at)
    answer = ask.send("POST", "DocumentReference", value, if_none_exist=f"{ask.here}&identifier={ask.m.master}")
    assert answer.status not in (200, 412), answer


def test_a12_conditional_changes(ask):
    criteria = f"DocumentReference?{ask.here}&identifier={ask.m.master}"
    value = people.document(ask.play.patient, ask.play.asker, people.REPORT, 78, at=ask.play.at)
    fail = people.dumped([{"op": "test", "path": "/status", "value": "x"}])
    ask.send("PATCH", criteria, fail, 404, **PATCH)
    for chain in (
        f"relatesto={ask.m.address}",
        f"relatesto:DocumentReference.identifier={ask.m.master}",
        "related:missing=false",
        f"_has:List:item:_id={ask.m.listed}",
    ):
        ask.send("PATCH", f"DocumentReference?{ask.here}&_id={ask.play.shown.id}&{chain}", fail, **PATCH)
        ask.send("PATCH", f"DocumentReference?_id={ask.play.shown.id}&{chain}", fail, 403, **PATCH)
    ask.send("DELETE", criteria)
    assert ask.send("PUT", criteria, value).status not in (200, 412)


def test_a13_put(ask):
    value = {**people.document(ask.play.patient, ask.play.asker, people.REPORT, 79, at=ask.play.at), "id": ask.m.id}
    other = {**value, "id": NOBODY}
    assert absent(ask.send("PUT", ask.m.address, value, 405), ask.send("PUT", f"DocumentReference/{NOBODY}", other, 405))


def test_a14_conditional_read(ask):
    for headers in ({"if_none_match": f'W/"{ask.m.versions[0]}"'}, {"if_modified_since": "Wed, 01 Jan 2098 00:00:00 GMT"}):
        ask.get(ask.m.address, 404, **headers)


def test_a15_if_match(ask):
    for tag in ('W/"1"', f'W/"{ask.m.versions[0]}"'):
        value = [{"op": "add", "path": "/status", "value": "superseded"}]
        ask.send("PATCH", ask.m.address, people.dumped(value), 404, if_match=tag, **PATCH)
        assert ask.send("PUT", ask.m.address, b"{}", if_match=tag).status != 412


def test_a16_patch_tests_nothing(ask):
    for value in ("current", "superseded", "x"):
        body = people.dumped([{"op": "test", "path": "/status", "value": value}])
        absent_too = ask.send("PATCH", f"DocumentReference/{NOBODY}", body, 404, **PATCH)
        assert absent(ask.send("PATCH", ask.m.address, body, 404, **PATCH), absent_too)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'[{"op":"x"}]', b"<x/>", b"\xff"])
def test_a17_ill_formed_bodies(ask, body):
    for method, headers in (("PATCH", PATCH), ("PATCH", {}), ("PUT", {}), ("DELETE", {})):
        assert absent(ask.send(method, ask.m.address, body, **headers), ask.send(method, f"DocumentReference/{NOBODY}", body, **headers))


@pytest.mark.parametrize("key", ["description", "-description", "date", "-date", "identifier", "_id", "status", "type,-_lastUpdated"])
def test_a18_order(ask, key):
    found = ids(ask.found(f"DocumentReference?{ask.here}&_sort={key}&_count=1&_elements=status"))
    assert found and ask.m.id not in found


def test_a19_parts(ask):
    for said in (
        "_elements=relatesTo,context",
        "_summary=text",
        "_summary=data",
        "_contained=true",
        "_contained=both&_containedType=contained",
    ):
        ask.get(f"DocumentReference?{ask.here}&{said}")


def test_a20_references(ask):
    """What is shown names m nowhere: neither relatesTo, context.related, nor an entry of a list."""
    play = ask.play
    assert "relatesTo" not in ask.found(play.shown.address)
    last = play.documents[-1]
    assert "context" not in ask.found(last.address)
    entries = ask.found(f"List/{last.listed}")["entry"]
    assert [one["item"]["reference"] for one in entries] == [last.address, play.documents[0].address]
    assert play.shown.address in ask.get(f"DocumentReference?{ask.here}").body.decode()


@pytest.mark.parametrize(
    "said",
    [
        "DocumentReference?{here}&relatesto={m}",
        "DocumentReference?{here}&related={m}",
        "DocumentReference?{here}&relatesto:missing=false",
        "DocumentReference?{here}&relatesto:missing=true&_total=accurate&_count=1",
        "DocumentReference?{here}&related:missing=false",
        "DocumentReference?{here}&relation=appends",
        "DocumentReference?{here}&relation:not=appends&_summary=count",
        "DocumentReference?{here}&relationship={m}$appends",
        "DocumentReference?{here}&_sort=relatesto&_count=1",
        "DocumentReference?{here}&_has:DocumentReference:related:relation=appends",
        "List?{here}&item={m}",
        "List?{here}&item:missing=false",
        "List?{here}&item:DocumentReference.relation=appends",
        "AuditEvent?{here}&entity={m}",
        "AuditEvent?{here}&entity-role=4",
        "AuditEvent?{here}&entity-role=3&_count=2",
        "AuditEvent?{here}&entity-type=2&_summary=count",
        "AuditEvent?{here}&entity:missing=true",
        "Patient?_id={patient}&_has:DocumentReference:patient:relatesto={m}",
        "Patient?_id={patient}&_has:DocumentReference:patient:relation=appends",
        "Patient?_id={patient}&_has:List:patient:item={m}",
    ],
)
def test_a20_searches_by_references(ask, said):
    """What is taken out of what is shown is not found either."""
    answer = ask.get(said.format(here=ask.here, m=ask.m.address, patient=ask.play.patient))
    assert answer.status == 400 or "{m}" not in said or not ids(answer.value())


def test_a21_traces(ask):
    for path in (f"AuditEvent?{ask.here}&entity={ask.m.address}", f"Provenance?{ask.here}&target={ask.m.address}"):
        assert not ids(ask.found(path))
    ask.get(f"AuditEvent?{ask.here}&_count=1000", 200)


def test_a22_consents(ask):
    text = ask.get(f"Consent?{ask.here}", 200).body.decode()
    assert ask.play.documents[1].id not in text
    for path in (f"Consent?{ask.here}&data={ask.m.address}", f"Consent?{ask.here}&category=mask"):
        assert not ids(ask.found(path))


def test_a23_conditional_references(ask):
    other = f"DocumentReference?{ask.here}&identifier={ask.m.master}"
    value = people.document(ask.play.patient, ask.play.asker, people.REPORT, 80, at=ask.play.at)
    sent = people.submission(ask.play.patient, ask.play.asker, 80, value, (other,))
    assert ask.send("POST", "", sent).status >= 400


def test_a24_references_to_what_is_hidden(ask):
    value = people.document(ask.play.patient, ask.play.asker, _own(ask), 81, at=ask.play.at)
    for said in (ask.m.address, f"Binary/{ask.m.binary}", f"List/{ask.m.listed}"):
        answers = []
        for reference in (said, f"{said.partition('/')[0]}/{NOBODY}"):
            answers.append(ask.send("POST", "DocumentReference", {**value, "context": {"related": [{"reference": reference}]}}, 422))
        assert answers[0].body.replace(said.encode(), b"") == answers[1].body.replace(f"{said.partition('/')[0]}/{NOBODY}".encode(), b"")


def test_a25_replacing_what_is_hidden(ask):
    value = people.document(ask.play.patient, ask.play.asker, _own(ask), 82, at=ask.play.at)
    answers = []
    for target in (ask.m.address, f"DocumentReference/{NOBODY}"):
        related = [{"code": "replaces", "target": {"reference": target}}]
        answers.append(ask.send("POST", "DocumentReference", {**value, "relatesTo": related}, 422))
    assert absent(*answers)
    traitant = ask.play.cast["traitant"].token
    current = ask.runner.run(ask.worlds.one.send(Asked(traitant).get(ask.m.address)))
    assert current.value()["status"] == "current"


def _own(ask) -> str:
    return people.REPORT if ask.play.asker.rpps else people.OWN_WORDS


def test_a26_last_updated(ask):
    resources = [entry["resource"] for entry in ask.found(f"DocumentReference?{ask.here}&_sort=_lastUpdated")["entry"]]
    for one in [one["meta"]["lastUpdated"] for one in resources if "meta" in one]:
        ask.get(f"DocumentReference?{ask.here}&_lastUpdated=gt{one}&_summary=count", 200)
        ask.get(f"Patient/{ask.play.patient}/$everything?_since={one}", 200)
    ask.get(f"Patient/{ask.play.patient}", 200)


def test_a27_ids_tell_nothing(worlds, runner, play):
    """Consecutive ids have nothing in common, nor do versions."""
    found = [one.id for one in play.documents] + [one.binary for one in play.documents]
    shared = [os.path.commonprefix([a, b]) for a in found for b in found if a != b]
    assert max(map(len, shared)) < 6 and all(re.fullmatch(r"[a-z2-7]{26}", one) for one in found)
    versions = [one.versions[0] for one in play.documents]
    assert len({one[:4] for one in versions}) == len(versions)


def test_a28_hidden_and_absent_take_the_same_steps(worlds, runner, play, mongod):
    """The same number of commands goes to the database for both; how long they take is measured by fhir_dmp/bench/timing.py."""
    asked = Asked(play.asker.token)

    def commands(call) -> dict[str, int]:
        """The fewest of several counts: what other servers do in the background is counted too."""
        counts = []
        with MongoClient(mongod.uri) as client:
            for _ in range(6):
                play.now += 1_000
                worlds.one.moment(f"{play.name} counts {play.now}".encode(), play.now)
                before = client.admin.command("serverStatus")["metrics"]["commands"]
                runner.run(worlds.one.send(call))
                after = client.admin.command("serverStatus")["metrics"]["commands"]
                counts.append({name: after[name]["total"] - before[name]["total"] for name in ("find", "aggregate", "insert", "update")})
        return {name: min(each[name] for each in counts) for name in counts[0]}

    commands(asked.get(play.hidden.address))
    for path in ("DocumentReference/{}", "Binary/{}", "DocumentReference/{}/_history"):
        hidden, none = (commands(asked.get(path.format(id))) for id in (play.hidden.id, NOBODY))
        assert hidden == none, path
    # By an identifier that a hidden document has, and one that none has.
    found = []
    for value in (play.hidden.master, "urn:oid:1.2.250.1.999.3.1"):
        same = [{"op": "replace", "path": "/status", "value": "current"}]
        found.append(commands(asked.send("PATCH", f"DocumentReference?identifier=urn:ietf:rfc:3986|{value}", same, **PATCH)))
    assert found[0] == found[1]


def test_a29_nothing_is_counted_apart(ask):
    ask.get(f"Communication?{ask.here}", 200)
    ask.get(f"Patient/{ask.play.patient}/$access-journal")
    ask.get("$statistics", 403)


@pytest.mark.parametrize(
    "said", ["_text=compte", "_content=compte", "_filter=status eq current", "description:contains=compte", "_query=x"]
)
def test_a30_texts(ask, said):
    answer = ask.get(f"DocumentReference?{ask.here}&{said}")
    assert answer.status in (200, 400)


# ---- races


@pytest.mark.parametrize("way", ["read", "search"])
def test_a_trace_written_in_the_instant_of_a_label_does_not_tell_of_the_document(worlds, runner, way):
    """A read is held between its decision and its trace; meanwhile the author hides the document from the holder."""
    host = worlds.one
    found = Play(host, worlds.professionals, Story(False, [], "holder"), worlds.name())

    async def raced() -> tuple[list, list]:
        host.sealing(False)
        await found.open()
        one = await found.deposit(found.cast["hospital"], people.REPORT, (), 1)
        path = f"AuditEvent?patient={found.patient}&_count=1000"
        before = traces(await found.act("holder", "search", found.call("holder", "GET", path)))
        recorder, begun, go = host.services.recorder, asyncio.Event(), asyncio.Event()
        record = recorder.record

        async def held(traces):
            begun.set()
            await go.wait()
            return await record(traces)

        recorder.record = held
        paths = {"read": one.address, "search": f"DocumentReference?patient={found.patient}&_id={one.id}"}
        reading = asyncio.create_task(host.send(found.call("traitant", "GET", paths[way])))
        await begun.wait()
        recorder.record = record
        value = {"coding": [{"system": people.VISIBILITY, "code": "INVISIBLE_PATIENT"}]}
        hiding = found.json_patch("hospital", one.address, [{"op": "add", "path": "/securityLabel/-", "value": value}])
        assert (await found.act("hospital", "label", hiding)).status == 200
        go.set()
        assert (await reading).status == 200
        after = await found.act("holder", "search", found.call("holder", "GET", path))
        assert after.value()["total"] == len(traces(after))
        journal = await found.act("traitant", "search", found.call("traitant", "GET", path))
        told = [each for each in traces(journal) if one.address in str(each)]
        assert told
        for each in told if way == "read" else ():
            answer = await found.act("holder", "read", found.call("holder", "GET", f"AuditEvent/{each['id']}"))
            assert answer.status == 404, answer
        return before, traces(after)

    before, after = runner.run(raced())
    # Besides what he was told before: his own search of traces, and of a search what is not hidden.
    new = [each for each in after if each["id"] not in {known["id"] for known in before}]
    assert not [each for each in new if each.get("subtype", [{}])[0].get("code") == "read"], new
    assert all("DocumentReference/" not in str(each) for each in new)


def traces(reply) -> list[dict]:
    assert reply.status == 200, reply
    return [entry["resource"] for entry in reply.value().get("entry", [])]
