"""Random dossiers go to another host and come back: every decision, byte, label, seal and trace is what it was."""

from hypothesis import HealthCheck, Phase, given, settings

from fhir_dmp.interactions.merged import Renaming
from tests.exchange.moving import Played, acts

# What grows when a dossier is closed, opened again, sealed and traced.
# Each example moves dossiers between servers: one that fails is told as it is, not made smaller.
PHASES = (Phase.explicit, Phase.generate)
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
    before, decided = await two.snapshot(0, number, play.dossier.id, play.askers(play.dossier.id))
    there = await two.move(0, 1, play.dossier.id)
    taken, decided_there = await two.snapshot(1, number, there, play.askers(there))
    assert {place: taken.get(place) for place in before} == before
    assert {taken[place][0] for place in taken.keys() - before.keys()} <= {"AuditEvent", "Binary"}
    assert {place: decided_there.get(place) for place in decided} == decided
    assert await two.sealed(1) == []
    assert await two.move(1, 0, there) == play.dossier.id
    after, decided_after = await two.snapshot(0, number, play.dossier.id, play.askers(play.dossier.id))
    kept = {place: one for place, one in before.items() if one[0] not in ("Patient", "Consent")}
    assert {place: after.get(place) for place in kept} == kept
    assert {place: after[place][:6] for place in before} == {place: one[:6] for place, one in before.items()}
    assert {after[place][0] for place in after.keys() - before.keys()} <= LIVING
    assert {place: decided_after.get(place) for place in decided} == decided
    assert await two.sealed(0) == []


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
    before = [await two.snapshot(0, number, play.dossier.id, play.askers(play.dossier.id)) for number, play in plays]
    admin, given_ = two.world.operator(), {"source-patient": {"reference": ends.dossier.path}}
    answer = admin.run(f"{goes_on.dossier.path}/$merge", **given_)
    assert answer.status_code == 200, answer.text
    rows, decided = await two.snapshot(0, target, goes_on.dossier.id, ends.askers(goes_on.dossier.id))
    copies = {(ids.key(key), version): one for (key, version), one in before[0][0].items() if one[0] not in ("Patient", "Provenance")}
    assert {place[1]: one[2:6] for place, one in copies.items()} == {place[1]: rows[place][2:6] for place in copies}
    for (name, key), (type_name, effect, _, _) in before[0][1].items():
        now = decided.get((name, ids.key(key)))
        if name != "holder" and type_name in ("DocumentReference", "Binary") and now is not None and now[1] == "permit":
            assert effect == "permit", (name, type_name)
    answer = admin.run(f"{goes_on.dossier.path}/$unmerge", **given_)
    assert answer.status_code == 200, answer.text
    for (number, play), (old, decisions) in zip(plays, before, strict=True):
        new, now = await two.snapshot(0, number, play.dossier.id, play.askers(play.dossier.id))
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
