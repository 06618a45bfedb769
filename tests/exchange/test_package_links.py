"""A host that is known and does what it likes says of a dossier that it was joined to one of this host: nobody else's follows from that."""

import pytest

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.fhir import json
from fhir_dmp.interactions import merged, retention
from fhir_dmp.interactions.merged import REPLACED_BY, REPLACES
from fhir_dmp.interactions.merging import changed_patient
from tests.exchange import forging
from tests.exchange.forging import lines, resources, unsealed, value_of, with_bodies


class Lives:
    """A dossier that lives at the second host, and what the first one sends of others."""

    def __init__(self, two):
        self.two, self.plain = two, two.plain(1)
        self.store = self.plain.store
        self.anna = two.world.professional()
        self.patient = self.moved(two.world.open(traitant=self.anna))

    def moved(self, dossier):
        self.two.world.deposit(dossier, self.anna)
        return self.two.runner.run(self.two.move(0, 1, dossier.id))

    def number(self, patient):
        return self.store.vault.dossier_of_patient(patient)

    def link(self, kind, patient=None):
        return {"other": {"reference": f"Patient/{patient or self.patient}"}, "type": kind}

    def taken(self, *links):
        """Logical id of the Patient of another dossier, of which the first host says that."""
        dossier = self.two.world.open(traitant=self.anna)
        package = self.two.runner.run(self.two.give(0, 1, dossier.id))
        parts = unsealed(forging.opened(package, self.two.b.data))
        kinds = [row["type"] for row in lines(parts, "rows.ndjson") if row.get("file")]
        said = [
            (name, json.dump(value_of(body) | {"link": list(links)}) if kind == "Patient" and links else body)
            for kind, (name, body) in zip(kinds, resources(parts), strict=True)
        ]
        sent = forging.closed(with_bodies(parts, said), self.two.a.data, self.two.b.data)
        return self.two.runner.run(self.two.take(1, 0, sent)).patient

    def says(self, patient, **fields):
        """A Patient says so at the second host, whoever wrote it."""

        async def said(transaction):
            row = await transaction.load(self.store.vault.locate("Patient", patient))
            value = {name: one for name, one in json.parse_exact(row.body).items() if name != "link"}
            await transaction.write([changed_patient(self.plain.inside(transaction), row, patient, value | fields)[0]])

        self.two.runner.run(self.store.transact(said))

    def goes_on(self, patient):
        return self.two.runner.run(merged.survivor(self.plain, patient))[0]

    def left(self):
        """How many versions of the dossier that lives there can be read."""
        number = self.number(self.patient)
        return self.two.runner.run(self.store.count(None, dossiers=(number,))) if self.two.runner.run(self.store.policies({number})) else 0


@pytest.fixture(scope="module")
def lives(two):
    return Lives(two)


def test_who_says_alone_that_another_dossier_was_joined_to_it_does_not_take_that_along_when_it_ends(lives):
    before, forged = lives.left(), lives.taken(lives.link(REPLACES))
    assert before
    assert lives.two.runner.run(merged.every(lives.store, lives.number(forged))) == [lives.number(forged)]
    recorder = Recorder(lives.store, lives.plain.base_url)
    assert lives.two.runner.run(retention.destroy(lives.store, recorder, lives.number(forged), "said by hand"))
    assert lives.left() == before


def test_who_says_alone_that_he_goes_on_in_another_dossier_goes_on_in_his_own(lives):
    forged, run = lives.taken(), lives.two.runner.run
    lives.says(forged, active=False, link=[lives.link(REPLACED_BY)])
    assert lives.goes_on(forged) == forged
    lives.says(forged, active=True)
    # And nothing that it has stands for anything in that one: no proof is given, nor sent away, of what is there.
    assert run(merged.relatives(lives.store, lives.number(forged))) == []
    (row,) = run(lives.store.find(types=("Patient",), dossiers=(lives.number(lives.patient),), limit=1))
    alike = lives.store.vault.locate("Patient", forged)[:8] + row.key[8:]
    assert run(merged.original(lives.store, alike)) is None


def test_what_both_say_holds(lives):
    """As a host that joined them says it of both, each by a package of its own."""
    other = lives.taken(lives.link(REPLACES))
    lives.says(lives.patient, active=False, link=[lives.link(REPLACED_BY, other)])
    numbers = lives.number(lives.patient), lives.number(other)
    assert lives.goes_on(lives.patient) == other
    assert lives.two.runner.run(merged.every(lives.store, numbers[1])) == [numbers[1], numbers[0]]
    lives.says(lives.patient, active=True)
    assert lives.goes_on(lives.patient) == lives.patient
    assert lives.two.runner.run(merged.every(lives.store, numbers[1])) == [numbers[1]]
