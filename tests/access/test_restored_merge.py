"""I9: two dossiers that were joined after the backup are one again after the restore, and everything that protected them does."""

import shutil

from tests.access.test_restore import MASK, SMALL, WITHDRAW
from tests.access.world import World, refused
from tests.serving import here, serving


def joined(world, ends, goes_on) -> None:
    answer = world.operator().run(f"{goes_on.path}/$merge", **{"source-patient": {"reference": ends.path}})
    assert answer.status_code == 200, answer.text


def test_what_protects_two_joined_dossiers_outlives_a_restore(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna = world.professional()
        carl, dora = world.professional(organization="750000003"), world.professional(organization="750000004")
        first, second, third = (world.open(traitant=anna) for _ in range(3))
        # Blocked in the one that ends, and let into the one that goes on.
        world.consent(first, "block", carl)
        for one in (carl, dora):
            world.consent(third, "access", one)
        for name in ("hidden", "withdrawn", "plain"):
            world.deposit(first, anna, description=name, text=name)
        world.deposit(second, anna, description="second")
        world.deposit(third, anna, description="third")
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said

        def shown(asker) -> dict[str, dict]:
            found = asker.get(f"DocumentReference?patient={third.id}&_count=1000")
            assert found.status_code == 200, found.text
            every = [one["resource"] for one in found.json().get("entry", [])]
            return {one["description"]: one for one in every if one["resourceType"] == "DocumentReference"}

        joined(world, first, second)
        joined(world, second, third)
        assert set(shown(dora)) == {"hidden", "withdrawn", "plain", "second", "third"}
        copies = shown(dora)
        assert world.holder(third).patch(f"DocumentReference/{copies['hidden']['id']}", MASK).status_code == 200
        assert anna.patch(f"DocumentReference/{copies['withdrawn']['id']}", WITHDRAW).status_code == 200
        left = {"plain", "second", "third"}
        assert set(shown(dora)) == left and set(shown(anna)) == {*left, "hidden"}
        assert refused(carl.get(f"DocumentReference?patient={third.id}"))
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    for _ in range(2):  # what was made whole is left as it is
        with serving(tmp_path, environment=SMALL, sandbox=False) as again:
            world.server = again
            for asker in (anna, carl, dora):
                asker.server, asker.base = again, again.fhir
            assert set(shown(dora)) == left and set(shown(anna)) == {*left, "hidden"}
            for name in ("hidden", "withdrawn"):
                assert dora.get(f"DocumentReference/{copies[name]['id']}").status_code == 404
                assert dora.get(copies[name]["content"][0]["attachment"]["url"]).status_code == 404
            assert dora.get(copies["plain"]["content"][0]["attachment"]["url"]).status_code == 200
            # Compiled anew.
            world.consent(third, "access", world.professional())
            assert refused(carl.get(f"DocumentReference?patient={third.id}"))
    code, said = here("verify", "--data", server.data, environment=SMALL)
    assert code == 0, said
