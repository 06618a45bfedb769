"""A dossier that is given away closes with all that was acknowledged in it: what meets the closing is taken along or refused."""

import asyncio
import json
from dataclasses import replace

import pytest

from fhir_dmp.consent.asking import asking
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import package_export
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.rules import HOST, Rules
from fhir_dmp.fhir import bundle
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.json import parse_exact
from fhir_dmp.interactions import dispatch, notices, transaction, writing
from fhir_dmp.interactions.enforcement import Enforcer
from fhir_dmp.store.ledger import Ledger
from tests.access.test_deposits import posted
from tests.access.test_findings import observed
from tests.access.test_hidden_together import MASK
from tests.access.test_restore import WITHDRAW
from tests.access.world import consent, document, now, number, parameters, refused
from tests.exchange.moving import Played
from tests.exchange.test_sources import RELIABILITY

LIVING = frozenset({"Patient", "Provenance", "AuditEvent", "Binary"})
# What a request that must wait for the closing is given to answer all the same.
MEANWHILE_SECONDS = 1.0


def identified(play):
    """A document that is known when it comes again."""
    master = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}"}
    return document(play.dossier, play.anna, masterIdentifier=master)


def together(play):
    """A transaction of one document."""
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [posted(observed(play.dossier, "vital-signs"), "urn:uuid:00000000-0000-4000-8000-000000000001")],
    }


def hiding(play):
    """What replaces a document, and hides both."""
    related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{play.reports[0][1]}"}}]
    return document(play.dossier, play.anna, labels=("INVISIBLE_PATIENT",), relatesTo=related)


def first(play):
    return f"DocumentReference/{play.reports[0][1]}"


# (who, method, path, body)
DEPOSITS = {
    "deposit": lambda play: (play.anna, "POST", "DocumentReference", document(play.dossier, play.anna)),
    "deposit that is known again": lambda play: (play.anna, "POST", "DocumentReference", identified(play)),
    "result": lambda play: (play.anna, "POST", "Observation", observed(play.dossier, "vital-signs")),
    "transaction": lambda play: (play.anna, "POST", "", together(play)),
    "replacement that hides": lambda play: (play.anna, "POST", "DocumentReference", hiding(play)),
    "withdrawal": lambda play: (play.anna, "PATCH", first(play), WITHDRAW),
}
ACTS = DEPOSITS | {
    "mask": lambda play: (play.holder, "PATCH", first(play), MASK),
    "block": lambda play: (play.holder, "POST", "Consent", consent(play.dossier, "block", play.bruno)),
    "closing": lambda play: (play.holder, "POST", f"{play.dossier.path}/$close", parameters(reason="holder-request")),
}


def send(who, method, path, body):
    return who.patch(path, body) if method == "PATCH" else who.post(path, body)


@pytest.fixture
def play(two):
    return Played(two.world, [("deposit", "anna", ()), ("deposit", "anna", ())])


@pytest.fixture
def moving(two, play):
    """The dossier, taken by the second host, and its receipt, which the first one has not seen."""
    return Moving(two, play)


class Moving:
    def __init__(self, two, play):
        self.two, self.play = two, play
        self.number = two.stores[0].vault.dossier_of_patient(play.dossier.id)
        self.again()

    def again(self):
        self.done = self.two.runner.run(self._again())

    async def _again(self):
        return await self.two.take(1, 0, await self.two.give(0, 1, self.play.dossier.id))

    async def settled(self):
        """Whether the first host closes the dossier."""
        try:
            await self.two.settle(0, 1, self.done.receipt)
        except FhirError as error:
            assert error.kind == "conflict"
            return False
        return True

    @property
    def policy(self):
        return self.two.runner.run(self.two.stores[0].policies({self.number}))[self.number]

    def rows(self, host):
        """Versions that are current at a host, and their facts; without what tells of a closing."""

        async def found():
            rows, _ = await self.two.snapshot(host, self.number, {})
            current = {key: one for key, one in rows.items() if one[6] and one[0] not in LIVING}
            return {key: one for key, one in current.items() if one[0] != "Consent" or b'"opening"' not in one[1]}

        return self.two.runner.run(found())


def after_comparing(monkeypatch, happens):
    """Let something happen once, when the state of the dossier was read and before it is closed."""
    current, left = package_export.current_state, [happens]

    async def read(*given):
        found = await current(*given)
        if left:
            await left.pop()()
        return found

    monkeypatch.setattr(package_export, "current_state", read)


@pytest.mark.parametrize("what", ACTS)
def test_what_is_asked_for_while_a_receipt_is_compared_is_taken_along_or_refused(moving, monkeypatch, what):
    asked, answers = ACTS[what](moving.play), []

    async def happens():
        answers.append(asyncio.get_running_loop().run_in_executor(None, send, *asked))
        await asyncio.wait(answers, timeout=MEANWHILE_SECONDS)

    async def both():
        after_comparing(monkeypatch, happens)
        closed = await moving.settled()
        return closed, await answers[0]

    closed, answer = moving.two.runner.run(both())
    assert (answer.status_code < 300) != closed, answer.text
    assert closed or answer.status_code in (200, 201)
    assert not closed or answer.status_code in (403, 404, 409), answer.text
    if not closed and what != "closing":
        moving.again()
        assert moving.two.runner.run(moving.settled())
    if what != "closing":
        assert moving.policy.status is Status.CLOSED and moving.rows(0) == moving.rows(1)


def test_what_is_announced_while_a_receipt_is_compared_is_taken_along_or_not_announced(two, monkeypatch):
    moving, told = Moving(two, Played(two.world, [("deposit", "anna", ("INVISIBLE_PATIENT",)), ("deposit", "anna", ())])), []
    store, settings = two.stores[0], two.settings[0]

    async def happens():
        row = await store.load(store.vault.locate("DocumentReference", moving.play.reports[0][1]))
        told.append(asyncio.ensure_future(notices._announce(store, settings, moving.number, row.visible["rt"])))
        await asyncio.wait(told, timeout=MEANWHILE_SECONDS)

    async def both():
        after_comparing(monkeypatch, happens)
        return await moving.settled(), await told[0]

    closed, announced = two.runner.run(both())
    assert announced != closed
    if announced:
        moving.again()
        assert two.runner.run(moving.settled())
    assert moving.policy.status is Status.CLOSED and moving.rows(0) == moving.rows(1)


@pytest.mark.parametrize("what", DEPOSITS)
def test_what_was_decided_on_before_the_closing_is_not_stored_after_it(moving, monkeypatch, what):
    who, method, path, body = DEPOSITS[what](moving.play)
    write, closed = writing.write, []

    async def late(*given, **more):
        if not closed:
            closed.append(None)
            closed[0] = await moving.settled()
        return await write(*given, **more)

    async def asked():
        context = await acting(moving.two, who)
        monkeypatch.setattr(writing, "write", late)
        if not path:
            return await transaction.run(context, bundle.plan(parse_exact(json.dumps(body).encode())))
        type_name, _, id = path.partition("/")
        url = Url(type_name, id, (), (), False)
        return await dispatch.run(context, dispatch.Request(method, url, json.dumps(body).encode(), patch="json"))

    before = moving.rows(1)
    with pytest.raises(FhirError) as caught:
        moving.two.runner.run(asked())
    assert closed == [True] and caught.value.status in (403, 404)
    assert moving.rows(0) == before


async def acting(two, who):
    """The context of a request at the first host."""
    plain = two.plain(0)
    actor = await two.world.tokens.verify(who.token, plain.now_ms())
    return replace(plain, actor=actor, enforcer=Enforcer(asking(actor)))


def test_what_a_source_sends_is_not_stored_after_the_closing(moving):
    """The import has found that the dossier is open; then it closes, and then it stores."""
    play, two = moving.play, moving.two
    rules = Rules(source=f"source-{number()}", kind=HOST, organization="1750000001")
    play.holder.post("Consent", consent(play.dossier, "feed"))
    moving.again()
    sending = context_of(two.stores[0], two.a, rules, two.a.base_url)
    status = {"url": RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": "QUAL"}}]}
    traits = {name: play.dossier.patient[name] for name in ("identifier", "name", "gender", "birthDate")}
    person = {"resourceType": "Patient", "id": "p", "extension": [status], **traits}
    sent = {**observed(play.dossier, "vital-signs"), "id": "o", "subject": {"reference": "Patient/p"}}
    engine, closed = Engine(sending, rules, "job"), []
    commit = engine.ledger.commit

    async def late(*given, **more):
        if not closed:
            closed.append(None)
            closed[0] = await moving.settled()
        return await commit(*given, **more)

    async def imported():
        await Ledger(two.stores[0]).ready()
        items = [Item(f"a.ndjson:{place}", json.dumps(one).encode(), 0) for place, one in enumerate((person, sent))]
        first = await engine.run(items[:1])
        engine.ledger.commit = late
        return [result.status for (result,) in (*first, *await engine.run(items[1:]))]

    before = moving.rows(1)
    assert (two.runner.run(imported()), closed) == ([200, 403], [True])
    assert moving.rows(0) == before


def test_of_two_receipts_at_once_one_closes(moving):
    async def both():
        return await asyncio.gather(moving.settled(), moving.settled())

    assert sorted(moving.two.runner.run(both())) == [False, True]
    assert moving.policy.given == moving.two.stores[1].record.identity


def test_a_dossier_that_opens_again_while_a_receipt_is_compared_is_given_to_nobody(two, play, monkeypatch):
    """It was closed before it was given away. Once it is, its holder may open it here all the same."""
    closing = parameters(reason="holder-request")
    assert play.holder.post(f"{play.dossier.path}/$close", closing).status_code == 200
    moving, answers, opened = Moving(two, play), [], []

    async def happens():
        asked = play.holder, "POST", f"{play.dossier.path}/$reactivate", parameters()
        answers.append(asyncio.get_running_loop().run_in_executor(None, send, *asked))
        done, _ = await asyncio.wait(answers, timeout=MEANWHILE_SECONDS)
        opened.append(bool(done))

    async def both():
        after_comparing(monkeypatch, happens)
        return await moving.settled(), await answers[0]

    given, answer = two.runner.run(both())
    assert (given, answer.status_code) == (not opened[0], 200)


def test_what_comes_late_of_a_dead_person_goes_to_the_host_that_has_the_dossier(two, play):
    """Until the dossier is given away it is taken here, though it is closed."""
    died = parameters(reason="deceased", date=now(days=-1))
    assert two.world.host().post(f"{play.dossier.path}/$close", died).status_code == 200
    two.world.deposit(play.dossier, play.anna)
    moving = Moving(two, play)
    two.world.deposit(play.dossier, play.anna)
    assert not two.runner.run(moving.settled())
    moving.again()
    assert two.runner.run(moving.settled())
    assert refused(play.anna.post("DocumentReference", document(play.dossier, play.anna)))
    assert moving.rows(0) == moving.rows(1)


def test_a_death_that_is_told_to_the_former_host_takes_nothing_back(moving):
    assert moving.two.runner.run(moving.settled())
    died = parameters(reason="deceased", date=now(days=-1))
    assert moving.two.world.host().post(f"{moving.play.dossier.path}/$close", died).status_code == 200
    assert refused(moving.play.anna.post("DocumentReference", document(moving.play.dossier, moving.play.anna)))
    assert moving.policy.given == moving.two.stores[1].record.identity
