"""Random dossiers go to another host and come back: every decision, byte, label, seal and trace is what it was."""

from base64 import b64decode
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fhir_dmp.audit import chain
from fhir_dmp.audit.checkpoint import opened
from fhir_dmp.bench.growth import open_dossiers
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, package, package_former
from fhir_dmp.exchange.opening import judged
from fhir_dmp.exchange.package import RowLine
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import audit_proof, merged_rows, merging, origins, retention, unmerging
from fhir_dmp.interactions.merged import Renaming
from fhir_dmp.interactions.merging import Pair
from fhir_dmp.store import erasing
from fhir_dmp.store.takeover import versions
from tests.access.test_restore import working_list
from tests.exchange.moving import Played, acts

# Each example moves dossiers between servers: one that fails is told as it is, not made smaller.
PHASES = (Phase.explicit, Phase.generate)
# What grows when a dossier is closed, opened again, sealed and traced.
LIVING = frozenset({"Patient", "Consent", "Provenance", "AuditEvent", "Binary"})


def test_there_and_back_nothing_is_lost(two, histories):
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

    @settings(max_examples=histories(2, 100), deadline=None, phases=PHASES, suppress_health_check=checks, database=None)
    @given(story=acts)
    def moved(story):
        two.runner.run(round_trip(two, Played(two.world, story)))

    moved()


async def round_trip(two, play):
    number = two.stores[0].vault.dossier_of_patient(play.dossier.id)
    before = await two.snapshot(0, number, play.askers())
    package = await two.give(0, 1, play.dossier.id)
    done = await two.take(1, 0, package)
    assert (await two.take(1, 0, package)).new == 0
    assert lost(before, await two.snapshot(1, number, play.askers())) == []
    assert await two.unproved(0, 1, number) == []
    assert await two.sealed(1) == []
    await two.settle(0, 1, done.receipt)
    assert await two.move(1, 0, done.patient) == play.dossier.id
    (rows, decided), (after, decided_after) = before, await two.snapshot(0, number, play.askers())
    kept = {place: one for place, one in rows.items() if one[0] not in ("Patient", "Consent")}
    assert {place: after.get(place) for place in kept} == kept
    assert {place: after[place][:6] for place in rows} == {place: one[:6] for place, one in rows.items()}
    assert {after[place][0] for place in after.keys() - rows.keys()} <= LIVING
    assert {place: decided_after.get(place) for place in decided} == decided
    assert await two.sealed(0) == []


def lost(before, after):
    """What is not at another host what it was: versions, with their octets and facts, and decisions; and what nobody knows of."""
    (rows, decided), (there, decided_there) = before, after
    found = [(place, one[0]) for place, one in rows.items() if there.get(place) != one]
    found += [(place, "decision") for place, one in decided.items() if decided_there.get(place) != one]
    return found + [(place, there[place][0]) for place in there.keys() - rows.keys() if there[place][0] not in ("AuditEvent", "Binary")]


STORY = [
    ("deposit", "anna", ()),
    ("replace", 0, None),
    ("deposit", "bruno", ("MASQUE_PS",)),
    ("consent", "access", "nurse"),
    ("consent", "block", "bruno"),
    ("emergency", "emergency-break-glass", False),
]
# What is done to one host after the dossier came there: a filter on its rows, and what becomes of them.
DOCUMENT, TRACE, SEAL = {"t": "DocumentReference"}, {"t": "AuditEvent", "j": {"$exists": False}}, {"t": "Provenance"}
TAMPERING = {
    "a label is taken off": ("resources", {**DOCUMENT, "y.lb": 1}, {"$set": {"y.lb": 0}}),
    "an author is forgotten": ("resources", DOCUMENT, {"$set": {"y.au": []}}),
    "a structure is forgotten": ("resources", DOCUMENT, {"$set": {"y.og": 0}}),
    "a lineage is broken": ("resources", DOCUMENT, {"$set": {"y.rt": 0}}),
    "an instant is changed": ("resources", DOCUMENT, {"$inc": {"l": 1}}),
    "a version is lost": ("versions", {}, None),
    "a trace is lost": ("resources", TRACE, None),
    "a seal is lost": ("resources", SEAL, None),
    "a right is lost": ("resources", {"t": "Consent"}, None),
    "a content is lost": ("resources", {"t": "Binary", "y": {"$exists": True}}, None),
}


@pytest.fixture(scope="module")
def taken_over(two):
    """A dossier at the second host, and what it was at the first."""
    play = Played(two.world, STORY)
    number = two.stores[0].vault.dossier_of_patient(play.dossier.id)

    async def moved():
        before = await two.snapshot(0, number, play.askers())
        await two.take(1, 0, await two.give(0, 1, play.dossier.id))
        return before

    return play, number, two.runner.run(moved())


@pytest.mark.parametrize("what", TAMPERING)
def test_whatever_is_lost_between_two_hosts_is_found(two, taken_over, what):
    play, number, before = taken_over
    collection, where, change = TAMPERING[what]

    async def tampered():
        rows = two.stores[1].connection.database[collection]
        one = await rows.find_one({"d": number, **where}, hint="dossier")
        assert one is not None and lost(before, await two.snapshot(1, number, play.askers())) == []
        await (rows.update_one({"_id": one["_id"]}, change) if change else rows.delete_one({"_id": one["_id"]}))
        try:
            return lost(before, await two.snapshot(1, number, play.askers()))
        finally:
            await rows.replace_one({"_id": one["_id"]}, one, upsert=True)

    assert two.runner.run(tampered()) != []


@pytest.mark.parametrize("right", ["access", "blocks", "break_glass", "traitant", "titles"])
def test_a_right_that_changes_on_the_way_is_found(two, taken_over, right):
    play, number, before = taken_over

    async def tampered():
        store = two.stores[1]
        policy = (await store.policies({number}))[number]
        nothing = True if right == "break_glass" else type(getattr(policy, right))()
        assert getattr(policy, right) != nothing

        async def change(one):
            await store.transact(lambda transaction: transaction.set_policy(number, one, at_ms=store.clock()))

        await change(replace(policy, **{right: nothing}))
        try:
            return lost(before, await two.snapshot(1, number, play.askers()))
        finally:
            await change(policy)

    found = two.runner.run(tampered())
    assert found != [] and {kind for _, kind in found} == {"decision"}


def test_joined_and_parted_nothing_is_lost_and_nobody_gains(two, histories):
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

    @settings(max_examples=histories(2, 100), deadline=None, phases=PHASES, suppress_health_check=checks, database=None)
    @given(story=acts, other=acts)
    def joined(story, other):
        two.runner.run(there_and_back(two, Played(two.world, story), Played(two.world, other)))

    joined()


async def there_and_back(two, ends, goes_on):
    """Both dossiers, what everybody may do in each, before, while they are one, and after."""
    vault = two.stores[0].vault
    source, target = (vault.dossier_of_patient(one.dossier.id) for one in (ends, goes_on))
    ids = Renaming(vault, source, target, (ends.dossier.id, goes_on.dossier.id))
    plays = ((source, ends), (target, goes_on))
    before = [await two.snapshot(0, number, play.askers()) for number, play in plays]
    admin, given_ = two.world.operator(), {"source-patient": {"reference": ends.dossier.path}}
    answer = admin.run(f"{goes_on.dossier.path}/$merge", **given_)
    assert answer.status_code == 200, answer.text
    rows, decided = await two.snapshot(0, target, ends.askers(goes_on.dossier.id))
    copies = {(ids.key(key), version): one for (key, version), one in before[0][0].items() if one[0] not in ("Patient", "Provenance")}
    assert {place[1]: one[2:6] for place, one in copies.items()} == {place[1]: rows[place][2:6] for place in copies}
    for (name, key), (type_name, effect, *_) in before[0][1].items():
        if isinstance(key, str):
            continue
        now = decided.get((name, ids.key(key)))
        if name != "holder" and type_name in ("DocumentReference", "Binary") and now is not None and now[1] == "permit":
            assert effect == "permit", (name, type_name)
    answer = admin.run(f"{goes_on.dossier.path}/$unmerge", **given_)
    assert answer.status_code == 200, answer.text
    for (number, play), (old, decisions) in zip(plays, before, strict=True):
        new, now = await two.snapshot(0, number, play.askers())
        kept = {place: one for place, one in old.items() if one[0] not in ("Patient", "Consent")}
        assert {place: new.get(place) for place in kept} == kept
        assert {place: new[place][:6] for place in old} == {place: one[:6] for place, one in old.items()}
        assert {new[place][0] for place in new.keys() - old.keys()} <= {*LIVING, "Communication"}
        # A grant ends when its dossier is closed; who regulates is the same person.
        ended = {"carla", "regulation"} if "break_glass" in play.acts else set()
        assert {place: now.get(place) for place in decisions if place[0] not in ended} == {
            place: one for place, one in decisions.items() if place[0] not in ended
        }
    assert await two.sealed(0) == []


class Cut:
    """Two dossiers of the first host, and the steps of a merge one by one, as they are left by a process that dies."""

    def __init__(self, two):
        self.two, self.store = two, two.stores[0]
        self.ends, self.goes_on = Played(two.world, STORY), Played(two.world, STORY)
        actor = Actor(kind="operator", role="admin", issuer="test", subject="admin", expires=float("inf"))
        context = replace(two.giving(0, 1), actor=actor)
        self.context = replace(context, enforcer=judged(context))
        url = Url("Patient", self.goes_on.dossier.id, ("$merge",), (), False)
        self.pair = Pair.of(self.context, url, Given((("source-patient", self.ends.dossier.path),)))
        self.at_ms = 0

    async def close(self):
        work = partial(merging._closed, pair=self.pair, doubts=[merging.CERTAIN])
        self.at_ms = await self.store.transact(lambda transaction: work(self.context.inside(transaction)), claims=self.pair.claims)

    async def stage(self):
        await merged_rows.stage(self.context, self.pair.ids, self.at_ms)

    async def hide(self):
        await self.store.transact(lambda transaction: unmerging._hidden(self.context.inside(transaction), self.pair))

    def documents(self, play):
        answer = play.holder.get(f"DocumentReference?patient={play.dossier.id}&status=current,superseded&_count=100")
        return len(answer.json()["entry"]) if answer.status_code == 200 else None

    def ask(self, operation):
        given = {"source-patient": {"reference": self.ends.dossier.path}}
        answer = self.two.world.operator().run(f"{self.goes_on.dossier.path}/{operation}", **given)
        assert answer.status_code == 200, answer.text


def test_a_merge_that_was_cut_off_shows_nothing_half_and_is_gone_on_with(two):
    cut = Cut(two)
    own, other = cut.documents(cut.ends), cut.documents(cut.goes_on)
    two.runner.run(cut.close())
    assert (cut.documents(cut.ends), cut.documents(cut.goes_on)) == (None, other)
    two.runner.run(cut.stage())
    assert cut.documents(cut.goes_on) == other
    cut.ask("$merge")
    assert cut.documents(cut.goes_on) == own + other
    author, id = cut.ends.reports[1]
    replacing = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{cut.pair.ids.get(id)}"}}]}
    two.world.deposit(cut.goes_on.dossier, author, **replacing)
    cut.goes_on.consent("block", "carla")
    two.runner.run(cut.hide())
    assert (cut.documents(cut.ends), cut.documents(cut.goes_on)) == (None, other)
    # What is forbidden between the steps is forbidden in both as well.
    cut.goes_on.emergency("emergency-regulation", False)
    two.runner.run(cut.hide())
    cut.ask("$unmerge")
    assert (cut.documents(cut.ends), cut.documents(cut.goes_on)) == (own + 1, other)
    policies = two.runner.run(cut.store.policies({cut.pair.ids.source, cut.pair.ids.target}))
    for policy in policies.values():
        assert f"ps:{cut.goes_on.carla.idnps}" in {one.who for one in policy.blocks} and not policy.regulation and not policy.joined


def test_what_came_as_one_from_another_host_is_not_joined_to_what_came_from_it_before(two):
    """Copies that are here already would stay as they were there: what was hidden here since in what ends would be so no more."""
    cut = Cut(two)
    two.runner.run(two.take(1, 0, two.runner.run(two.give(0, 1, cut.ends.dossier.id))))
    cut.ask("$merge")
    there = two.runner.run(two.move(0, 1, cut.goes_on.dossier.id))
    seal = two.stores[1].vault.seal_id
    ends = seal(two.stores[0].vault.open_id(cut.ends.dossier.id))
    actor = Actor(kind="operator", role="admin", issuer="test", subject="admin", expires=float("inf"))
    context = replace(two.giving(1, 0), actor=actor)
    context = replace(context, enforcer=judged(context))
    url, asked = Url("Patient", there, ("$merge",), (), False), Given((("source-patient", f"Patient/{ends}"),))
    with pytest.raises(FhirError) as caught:
        two.runner.run(merging.run(context, url, asked))
    assert (caught.value.kind, "copies" in caught.value.message) == ("conflict", True)
    policies = two.runner.run(two.stores[1].policies({cut.pair.ids.source, cut.pair.ids.target}))
    assert {one.status.value for one in policies.values()} == {"open"}


@pytest.mark.parametrize("parted", [False, True])
def test_the_traces_of_what_was_joined_or_given_back_are_proved_to_the_next_host(two, parted):
    cut = Cut(two)
    cut.ask("$merge")
    number, patient = cut.pair.ids.target, cut.goes_on.dossier.id
    if parted:
        author, id = cut.ends.reports[1]
        replacing = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{cut.pair.ids.get(id)}"}}]}
        two.world.deposit(cut.goes_on.dossier, author, **replacing)
        cut.ask("$unmerge")
        number, patient = cut.pair.ids.source, cut.ends.dossier.id
    giver, taker = two.stores[0].record.identity, two.stores[1]
    journal = hosts.own(two.stores[0], two.a.data).journal
    own = partial(package.proves, origin=journal["origin"], public=b64decode(journal["key"]))

    async def proved():
        await two.take(1, 0, await two.give(0, 1, patient))
        left = await origins.load(taker, number, giver)
        rows = [one.row async for one in versions(taker, number) if one.row.type == "AuditEvent" and not one.journal]
        told = {}
        for row in rows:
            id = taker.vault.seal_id(row.key)
            told[id] = json.parse(await audit_proof._kept(two.plain(1), row, id, salted=True))["parameter"]
        return left, rows, told

    left, rows, told = two.runner.run(proved())
    kinds = []
    for row in rows:
        id = taker.vault.seal_id(row.key)
        proof, body = left.proofs[f"AuditEvent/{id}"], origins.translated(row.body, left.back)
        assert own(proof, row.key, body) and not own(proof, row.key, body.replace(b'"action":"', b'"action":"x'))
        joined = "joined" in proof
        kinds.append(joined)
        # Of what is not shown as it was, nothing is given by which it could be guessed.
        assert {"host", "id", "commitment" if joined else "salt"} <= {one["name"] for one in told[id]}
        if joined:
            other = proof["joined"].replace('"action":"', '"action":"x')
            assert not own(proof | {"joined": other}, row.key, body) and not own(proof | {"joined": other}, row.key, other.encode())
            assert not own(proof, row.key[:8] + bytes(8), body)
    assert kinds.count(True) > (0 if parted else 5) and kinds.count(False) > 5


def test_two_that_are_parted_leave_for_another_host_whatever_was_done_with_both(two):
    cut = Cut(two)
    cut.ask("$merge")
    there, other = cut.pair.ids.get(cut.ends.reports[0][1]), cut.goes_on.reports[0][1]
    anna = cut.goes_on.anna
    assert anna.get(f"DocumentReference/{there}").status_code == 200
    made = anna.post("List", working_list(cut.goes_on.dossier, anna, {"id": there}, {"id": other}))
    assert made.status_code == 201, made.text
    assert cut.goes_on.holder.get(f"List/{made.json()['id']}").status_code == 200
    assert cut.documents(cut.goes_on)
    cut.ask("$unmerge")
    # The List is judged by what is left of it.
    both, own = (two.runner.run(cut.store.load(cut.store.vault.open_id(id))) for id in (made.json()["id"], other))
    assert [one["rt"] for one in both.visible] == [own.visible["rt"]]
    for play in (cut.ends, cut.goes_on):
        assert two.runner.run(two.move(0, 1, play.dossier.id))
    assert two.runner.run(two.sealed(1)) == []


def test_a_trace_whose_original_was_destroyed_goes_on_and_is_told_to_have_no_proof(two):
    """Traces of what was done with the documents while two dossiers were one stand in the journal under the name of the other one."""
    cut = Cut(two)
    cut.ask("$merge")
    author, id = cut.ends.reports[1]
    replacing = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{cut.pair.ids.get(id)}"}}]}
    two.world.deposit(cut.goes_on.dossier, author, **replacing)
    cut.ask("$unmerge")

    async def moved():
        await retention.destroy(cut.store, cut.context.recorder, cut.pair.ids.target, "ten years")
        first = await two.take(1, 0, await two.give(0, 1, cut.ends.dossier.id))
        return first.unproved, (await two.take(2, 1, await two.give(1, 2, first.patient))).unproved

    first, second = two.runner.run(moved())
    assert first == second > 0


def test_a_trace_of_another_host_keeps_its_proof_when_its_dossier_is_joined_here(two):
    play, taker = Played(two.world, STORY[:1]), two.stores[1]
    giver, journal = two.stores[0].record.identity, hosts.own(two.stores[0], two.a.data).journal

    async def asked():
        moved = (await two.take(1, 0, await two.give(0, 1, play.dossier.id))).patient
        (goes_on,) = await open_dossiers(taker, two.b.data, [1])
        actor = Actor(kind="operator", role="admin", issuer="test", subject="admin", expires=float("inf"))
        context = replace(two.giving(1, 0), actor=actor)
        context = replace(context, enforcer=judged(context))
        ids = Renaming(taker.vault, *map(taker.vault.dossier_of_patient, (moved, goes_on)), (moved, goes_on))
        await merging.run(context, Url("Patient", goes_on, ("$merge",), (), False), Given((("source-patient", f"Patient/{moved}"),)))
        left, found = await origins.load(taker, ids.source, giver), []
        for reference, proof in left.proofs.items():
            id = ids.get(reference.partition("/")[2])
            (row,) = (await taker.load_many([taker.vault.locate("AuditEvent", id)])).values()
            told = json.parse(await audit_proof._kept(two.plain(1), row, id, salted=True))["parameter"]
            found.append((proof, {one["name"]: next(part for name, part in one.items() if name != "name") for one in told}, told))
        return found

    found = two.runner.run(asked())
    assert found
    for proof, told, listed in found:
        assert (told["host"], told["number"]) == (giver, str(proof["number"])) and "salt" not in told
        leaf = chain.Position(b64decode(told["chain"]), int(told["number"]), b64decode(told["row"])), b64decode(told["commitment"])
        head = opened(told["checkpoint"], journal["origin"], b64decode(journal["key"]))
        path = tuple(b64decode(one["valueBase64Binary"]) for one in listed if one["name"] == "path")
        assert chain.is_included(chain.leaf_hash(chain.leaf_data(*leaf)), int(told["index"]), head.size, path, head.root)


def test_what_a_former_host_left_with_a_dossier_is_in_the_ids_of_each_that_takes_it_over():
    """A first host's ids lead from there to the second, which gives the dossier away: they must lead to whoever takes it."""
    number = 7
    there, second, here = ("a" * 26, "b" * 26, "c" * 26)
    place = RowLine("Binary", "t" * 26, origins.key_of(number, "first").hex(), "v", 0, "POST", octets=package.Octets(0, 0, ""))

    def carried(line):
        table = msgspec.json.encode(origins.Origins("first", {there: second}, {f"AuditEvent/{second}": {"number": 7}}))
        left = [package_former.table(number, one, table) for one in package_former.tabled([line]).values()]
        return [package_former.here(one, {second: here}, "own") for one in left if one is not None]

    (found,) = carried(place)
    assert (found.ids, found.proofs) == ({there: here}, {f"AuditEvent/{here}": {"number": 7}})
    # A content that only looks like it stays what it is.
    other = msgspec.structs.replace(place, key=origins.key_of(number, "second").hex())
    assert carried(other) == []
    # What a host left itself is of no use to it.
    assert package_former.here(found, {}, "first") == origins.Origins("first", {}, {})


def test_what_was_joined_is_destroyed_with_the_dossier_that_goes_on(two):
    cut = Cut(two)
    cut.ask("$merge")
    numbers = {cut.pair.ids.source, cut.pair.ids.target}
    assert None not in two.runner.run(cut.store.policies(numbers)).values()

    async def dead(*_: object) -> None:
        raise RuntimeError("no more")

    with pytest.MonkeyPatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(erasing, "finish", dead)
        two.runner.run(retention.destroy(cut.store, cut.context.recorder, cut.pair.ids.target, "ten years"))
    assert set(two.runner.run(cut.store.policies(numbers)).values()) == {None}
    two.runner.run(retention.sweep(cut.store, cut.context.recorder))
    assert all(not two.runner.run(cut.store.find(dossiers=[number], limit=1)) for number in numbers)
