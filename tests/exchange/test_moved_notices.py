"""The notice at two weeks is written once for each lineage, at whichever host the dossier is by then."""

import time
from dataclasses import replace

import pytest

from fhir_dmp.fhir.instants import DAY
from fhir_dmp.interactions import notices
from fhir_dmp.store.resources import Store
from tests.exchange.moving import Two


class _Later(Two):
    """Hosts that are more than two weeks ahead of who deposits."""

    async def _store(self, place):
        one = self.settings[place]
        return await Store.open(one.mongodb_uri, one.database, data_dir=one.data, clock=self.clock)

    @staticmethod
    def clock():
        return time.time_ns() // 1_000_000 + 16 * DAY

    def plain(self, host):
        return replace(super().plain(host), now_ms=self.clock)

    def announced(self, host):
        """How many notices a look writes."""
        return self.runner.run(notices.announce(self.stores[host], self.settings[host]))


@pytest.fixture(scope="module")
def later(two):
    opened = _Later(two.world, two.a.database, two.a.mongodb_uri, two.b.data)
    yield opened
    opened.close()


@pytest.mark.parametrize("told", [True, False])
def test_what_a_former_host_told_is_not_told_again_and_what_it_did_not_is(later, told):
    world = later.world
    anna = world.professional()
    dossier = world.open(traitant=anna)
    world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",))
    if told:
        assert later.announced(0) == 1
    world.deposit(dossier, anna, labels=("INVISIBLE_PATIENT",))
    id = later.runner.run(later.move(0, 1, dossier.id))
    assert later.announced(1) == (1 if told else 2)
    later.runner.run(later.move(1, 0, id))
    assert (later.announced(0), later.announced(1)) == (0, 0)
