"""Dossiers are joined and parted while sources send and others write: everything is where it belongs afterwards, once."""

import json
from dataclasses import replace
from functools import partial

import pytest

from fhir_dmp.bench import mixed
from fhir_dmp.bench.growth import open_dossiers
from fhir_dmp.consent import founding
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.opening import context_of, judged
from fhir_dmp.exchange.rules import HOST, Rules
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import closing, merging, policy, tracing, unmerging
from fhir_dmp.interactions.merged import Renaming
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.settings import Settings
from fhir_dmp.store.ledger import Ledger

RULES = Rules(source="other-host", kind=HOST, host="other-host", organization="1750000001")
ENDS, GOES_ON = 1, 2


class Lent:
    """A store in which something happens just before one of its transactions begins; for the rest it is the store."""

    def __init__(self, store, at, happens):
        self._store, self._left, self._happens = store, at, happens

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def transact(self, work, **more):
        self._left -= 1
        if self._left == 0:
            await self._happens()
        return await self._store.transact(work, **more)


class Two:
    """Two dossiers of a store, an administrator, and a source that knows both persons."""

    def __init__(self, store, data_dir, patients):
        self.store, self.patients = store, dict(zip((ENDS, GOES_ON), patients, strict=True))
        self.source = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")
        actor = Actor(kind="operator", role="admin", issuer="test", subject="admin", expires=float("inf"))
        self.admin = replace(self.source, actor=actor)
        self.numbers = {one: store.vault.dossier_of_patient(id) for one, id in self.patients.items()}
        self.ids = Renaming(store.vault, self.numbers[ENDS], self.numbers[GOES_ON], (self.patients[ENDS], self.patients[GOES_ON]))

    async def permit(self):
        """Both holders let the source send."""
        by = {"performer": {"display": "holder"}, "organization": {"display": "house"}, "at": "2026-01-01T00:00:00.000Z"}
        for whose, patient in self.patients.items():
            for category in ("opening", "feed"):
                value = founding.consent(category, patient=patient, permits=True, **by)
                row = stamp(self.source, check(self.source, json.dumps(value).encode(), "Consent"), method="POST").row
                await self.store.create(row)
            await self.store.transact(partial(self._recompute, self.numbers[whose]))

    async def _recompute(self, number, transaction):
        assert await policy.recompute(self.source.inside(transaction), number, at_ms=2) is not None

    async def send(self, *resources, engine=None):
        """Import; the results."""
        items = [Item(f"a.ndjson:{number}", json.dumps(one).encode(), 0) for number, one in enumerate(resources)]
        return [result for (result,) in await (engine or Engine(self.source, RULES, "job")).run(items)]

    async def ask(self, operation, at=0, happens=None):
        """The operation on both; what happens before its transaction of that place, counted from 1."""
        context = replace(self.admin, store=Lent(self.store, at, happens))
        url = Url("Patient", self.patients[GOES_ON], ("$" + operation,), (), False)
        given = Given((("source-patient", f"Patient/{self.patients[ENDS]}"),))
        run = {"merge": merging.run, "unmerge": unmerging.run}[operation]
        return await run(replace(context, enforcer=judged(context)), url, given)

    async def there(self, whose, type_name="Observation"):
        """Bodies of a type in one of the dossiers, those that rules may show; by what is noted in them."""
        rows = [row async for row in self.store.scan(types=(type_name,), dossiers=(self.numbers[whose],))]
        return {json.loads(row.body)["code"]["text"]: row for row in rows if row.visible}


@pytest.fixture
async def two(store, data_dir):
    await Ledger(store).ready()
    made = Two(store, data_dir, await open_dossiers(store, data_dir, [ENDS, GOES_ON]))
    await made.permit()
    told = await made.send(mixed.person(ENDS), mixed.person(GOES_ON))
    assert {one.status for one in told} == {200}
    return made


def noted(text, whose=ENDS, **more):
    """An observation of the source."""
    about = {"reference": f"Patient/{mixed.person(whose)['id']}"}
    return {"resourceType": "Observation", "id": f"o-{text}", "status": "final", "code": {"text": text}, "subject": about, **more}


@pytest.mark.parametrize("step", [1, 2])
async def test_what_a_source_sends_between_the_steps_of_a_parting_is_given_back(two, step):
    await two.send(noted("before"), noted("other", GOES_ON))
    await two.ask("merge")
    assert set(await two.there(GOES_ON)) == {"before", "other"}

    async def sent():
        assert [one.status for one in await two.send(noted("between"), noted("theirs", GOES_ON))] == [201, 201]
        assert set(await two.there(GOES_ON)) >= {"between", "theirs"}

    await two.ask("unmerge", step, sent)
    assert (set(await two.there(ENDS)), set(await two.there(GOES_ON))) == ({"before", "between"}, {"other", "theirs"})
    every = noted("between"), noted("before"), noted("theirs", GOES_ON), noted("other", GOES_ON)
    again = await two.send(*every, engine=Engine(two.source, RULES, "another"))
    assert {one.status for one in again} == {200}
    assert (set(await two.there(ENDS)), set(await two.there(GOES_ON))) == ({"before", "between"}, {"other", "theirs"})
    places = {one.location.partition("/_history")[0] for one in again[:2]}
    assert places == {f"Observation/{two.store.vault.seal_id(row.key)}" for row in (await two.there(ENDS)).values()}


async def test_what_was_decided_on_before_a_parting_and_is_stored_after_it_is_where_it_belongs(two):
    """The source's import has found that the dossier goes on in another one; then they are parted, and then it stores."""
    await two.send(noted("before"))
    await two.ask("merge")
    engine, asked = Engine(two.source, RULES, "late"), []
    commit = engine.ledger.commit

    async def late(entries, *more, **others):
        if not asked:
            asked.append([change.row.dossier for entry in entries for change in entry.changes])
            await two.ask("unmerge")
        return await commit(entries, *more, **others)

    engine.ledger.commit = late
    told = await two.send(noted("late"), noted("before", note=[{"text": "2"}], meta={"versionId": "2"}), engine=engine)
    assert set(asked[0]) == {two.numbers[GOES_ON]}
    assert [one.status for one in told] == [201, 200]
    assert (set(await two.there(ENDS)), set(await two.there(GOES_ON))) == ({"before", "late"}, set())
    assert b'"2"' in (await two.there(ENDS))["before"].body
    assert [one.status for one in await two.send(noted("late"))] == [200]


@pytest.mark.parametrize("step", [1, 2])
async def test_a_version_that_comes_between_the_steps_goes_back_with_the_rest(two, step):
    await two.send(noted("before"))
    await two.ask("merge")

    async def changed():
        (told,) = await two.send(noted("before", note=[{"text": "2"}], meta={"versionId": "2"}))
        assert told.status == 200

    await two.ask("unmerge", step, changed)
    row = (await two.there(ENDS))["before"]
    assert b'"2"' in row.body and not await two.there(GOES_ON)


@pytest.mark.parametrize("step", [1, 2])
async def test_what_was_decided_on_before_a_join_is_in_the_one_that_goes_on(two, step):
    """A dossier was closed while something for it was on its way: it comes along, or goes where that went, and no version is lost."""
    await two.send(noted("before"))
    engine, asked = Engine(two.source, RULES, "late"), []
    commit = engine.ledger.commit

    async def late(entries, *more, **others):
        done = []

        async def store():
            done.append(await commit(entries, *more, **others))

        if not asked:
            asked.append(True)
            await two.ask("merge", step, store)
            return done[0]
        return await commit(entries, *more, **others)

    engine.ledger.commit = late
    told = await two.send(noted("late"), noted("before", note=[{"text": "2"}], meta={"versionId": "2"}), engine=engine)
    assert [one.status for one in told] == [201, 200]
    here = await two.there(GOES_ON)
    assert set(here) == {"before", "late"} and b'"2"' in here["before"].body
    left = {name: two.ids.key(row.key) for name, row in (await two.there(ENDS)).items()}
    assert left == {name: here[name].key for name in ("late", "before") if name == "before" or step == 1}
    await two.ask("unmerge")
    assert (set(await two.there(ENDS)), set(await two.there(GOES_ON))) == ({"before", "late"}, set())


async def test_what_was_read_while_they_were_joined_is_told_in_the_one_that_goes_on(two):
    """Decided on before the dossier was closed, traced after its rows were read."""
    told = []

    async def traced(transaction):
        inside = replace(two.source, enforcer=judged(two.source)).inside(transaction)
        changes = inside.recorder.changes([tracing.trace(inside, "read", patient=two.patients[ENDS])])
        told.extend(two.ids.key(change.row.key) for change in changes)
        await transaction.write(changes)

    async def read():
        await two.store.transact(traced)

    await two.ask("merge", 2, read)
    assert told and all(row.visible for row in (await two.store.load_many(told)).values())
    assert set(await two.store.load_many(told)) == set(told)


async def test_a_dossier_that_closes_before_the_other_one_is_shown_in_it_goes_on_for_nobody(two):
    """It may be given away: what is joined to it now would be where nobody looks for it."""
    await two.send(noted("before"))

    async def closed():
        url, given = Url("Patient", two.patients[GOES_ON], ("$close",), (), False), Given((("reason", "transfer"),))
        await closing.run(replace(two.admin, enforcer=judged(two.admin)), url, given, "close", closing.CLOSING)

    with pytest.raises(FhirError) as caught:
        await two.ask("merge", 2, closed)
    assert caught.value.kind == "conflict"
    await two.ask("unmerge")
    assert (set(await two.there(ENDS)), set(await two.there(GOES_ON))) == ({"before"}, set())


async def test_who_is_never_done_asks_the_asker_to_come_again(two):
    await two.ask("merge")
    lent, number = Lent(two.store, 0, None), iter(range(100))

    async def transact(work, **more):
        await two.send(noted(f"again {next(number)}"))
        return await two.store.transact(work, **more)

    lent.transact = transact
    context = replace(two.admin, store=lent)
    url = Url("Patient", two.patients[GOES_ON], ("$unmerge",), (), False)
    given = Given((("source-patient", f"Patient/{two.patients[ENDS]}"),))
    with pytest.raises(FhirError) as caught:
        await unmerging.run(replace(context, enforcer=judged(context)), url, given)
    assert caught.value.kind == "transient" and "Retry-After" in caught.value.headers
    await two.ask("unmerge")
    assert len(await two.there(ENDS)) == next(number) and not await two.there(GOES_ON)
