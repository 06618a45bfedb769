"""Random dossiers go to another host and come back: every decision, byte, label, seal and trace is what it was."""

from hypothesis import HealthCheck, given, settings

from tests.exchange.moving import Played, acts

# What grows when a dossier is closed, opened again, sealed and traced.
LIVING = frozenset({"Patient", "Consent", "Provenance", "AuditEvent", "Binary"})


def test_there_and_back_nothing_is_lost(two, histories):
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

    @settings(max_examples=histories(2, 100), deadline=None, suppress_health_check=checks, database=None)
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
