"""I9: a dossier that a restore lost, and that its own copy brings back, is as hidden as it was acknowledged to be."""

import shutil

from tests.access.test_restore import MASK, SMALL, WITHDRAW, ids
from tests.access.world import World, refused
from tests.serving import here, serving


def test_what_the_journal_tells_of_a_lost_dossier_holds_when_its_copy_is_taken_back(tmp_path):
    def command(server, *words, code=0) -> str:
        found, said = here(*words, "--data", server.data, environment={**SMALL, "FHIR_DMP_BASE_URL": server.fhir})
        assert found == code, said
        return said

    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna, bob, carl = world.professional(), world.professional(organization="750000002"), world.professional(organization="750000003")
        command(server, "export", world.open(traitant=anna).id, "--out", tmp_path / "first")
        command(server, "backup", tmp_path / "backup")
        hidden, forbidden, gone = (world.open(traitant=anna) for _ in range(3))
        reports = {}
        for dossier in (hidden, forbidden, gone):
            for one in (bob, carl):
                world.consent(dossier, "access", one)
            reports[dossier.id] = [world.deposit(dossier, anna)["id"] for _ in range(3)]
            command(server, "export", dossier.id, "--out", tmp_path / "own")
        for dossier in (hidden, forbidden):
            masked, wrong, left = reports[dossier.id]
            assert world.holder(dossier).patch(f"DocumentReference/{masked}", MASK).status_code == 200
            assert anna.patch(f"DocumentReference/{wrong}", WITHDRAW).status_code == 200
            assert ids(bob, dossier) == {left}
        world.consent(forbidden, "block", carl)
        command(server, "keys", "destroy", gone.id, "--reason", "a court ordered it", "--yes")
    shutil.rmtree(server.data / "mongodb")
    command(server, "restore", tmp_path / "backup")
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        askers = [bob, carl, *(world.holder(dossier) for dossier in (hidden, forbidden))]
        for asker in askers:
            asker.server, asker.base = again, again.fhir
        assert refused(bob.get(f"DocumentReference?patient={hidden.id}"))
        for dossier in (hidden, forbidden):
            command(again, "import", tmp_path / "own" / f"{dossier.id}.dmp", "--source", "this-host")
        assert ids(bob, hidden) == ids(carl, hidden) == {reports[hidden.id][2]}
        # Whom it keeps out nobody can read any more: until its holder opens it, everybody.
        for asker in (bob, carl):
            assert refused(asker.get(f"DocumentReference?patient={forbidden.id}"))
        assert askers[3].run(f"Patient/{forbidden.id}/$reactivate", reason="holder-request").status_code == 200
        assert ids(bob, forbidden) == {reports[forbidden.id][2]}
        said = command(again, "import", tmp_path / "own" / f"{gone.id}.dmp", "--source", "this-host", code=3)
        assert "destroyed" in said and refused(bob.get(f"DocumentReference?patient={gone.id}"))
