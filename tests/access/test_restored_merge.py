"""I9: two dossiers that were joined after the backup are one again after the restore, and everything that protected them does."""

import shutil

from tests.access.test_restore import MASK, SMALL, WITHDRAW, observation
from tests.access.world import World, refused
from tests.serving import here, serving

UNMASK = [{"op": "remove", "path": "/securityLabel/1"}]


def joined(world, ends, goes_on, operation: str = "$merge") -> None:
    answer = world.operator().run(f"{goes_on.path}/{operation}", **{"source-patient": {"reference": ends.path}})
    assert answer.status_code == 200, answer.text


def documents(asker, dossier) -> dict[str, dict]:
    """What he finds, by description."""
    found = asker.get(f"DocumentReference?patient={dossier.id}&_count=1000")
    assert found.status_code == 200, found.text
    every = [one["resource"] for one in found.json().get("entry", [])]
    return {one["description"]: one for one in every if one["resourceType"] == "DocumentReference"}


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

        joined(world, first, second)
        joined(world, second, third)
        assert set(documents(dora, third)) == {"hidden", "withdrawn", "plain", "second", "third"}
        copies = documents(dora, third)
        assert world.holder(third).patch(f"DocumentReference/{copies['hidden']['id']}", MASK).status_code == 200
        assert anna.patch(f"DocumentReference/{copies['withdrawn']['id']}", WITHDRAW).status_code == 200
        left = {"plain", "second", "third"}
        assert set(documents(dora, third)) == left and set(documents(anna, third)) == {*left, "hidden"}
        assert refused(carl.get(f"DocumentReference?patient={third.id}"))
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    for _ in range(2):  # what was made whole is left as it is
        with serving(tmp_path, environment=SMALL, sandbox=False) as again:
            world.server = again
            for asker in (anna, carl, dora):
                asker.server, asker.base = again, again.fhir
            assert set(documents(dora, third)) == left and set(documents(anna, third)) == {*left, "hidden"}
            for name in ("hidden", "withdrawn"):
                assert dora.get(f"DocumentReference/{copies[name]['id']}").status_code == 404
                assert dora.get(copies[name]["content"][0]["attachment"]["url"]).status_code == 404
            assert dora.get(copies["plain"]["content"][0]["attachment"]["url"]).status_code == 200
            # Compiled anew.
            world.consent(third, "access", world.professional())
            assert refused(carl.get(f"DocumentReference?patient={third.id}"))
    code, said = here("verify", "--data", server.data, environment=SMALL)
    assert code == 0, said


def test_what_was_taken_out_of_a_dossier_does_not_come_back_into_it(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna, bruno = world.professional(), world.professional(organization="750000003")
        # Two people, taken for one; the one pair joined when the backup is made, the other one later.
        early, late = [(world.open(traitant=anna), world.open(traitant=bruno)) for _ in range(2)]
        for own, other in (early, late):
            for name in ("hidden", "plain"):
                world.deposit(own, anna, description=name)
            world.deposit(other, bruno, description="other")
        joined(world, *early)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
        joined(world, *late)
        masked = []
        for own, other in (early, late):
            copies = documents(bruno, other)
            assert set(copies) == {"hidden", "plain", "other"}
            assert world.holder(other).patch(f"DocumentReference/{copies['hidden']['id']}", MASK).status_code == 200
            joined(world, own, other, "$unmerge")
            masked.append(copies["hidden"]["id"])
            assert set(documents(bruno, other)) == {"other"} and set(documents(anna, own)) == {"hidden", "plain"}
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        world.server = again
        for asker in (anna, bruno):
            asker.server, asker.base = again, again.fhir
        reader = world.professional()
        for (own, other), id in zip((early, late), masked, strict=True):
            assert set(documents(bruno, other)) == set(documents(world.holder(other), other)) == {"other"}
            assert bruno.get(f"DocumentReference/{id}").status_code == 404
            assert set(documents(anna, own)) == set(documents(world.holder(own), own)) == {"hidden", "plain"}
            world.consent(own, "access", reader)
            assert set(documents(reader, own)) == {"plain"}, "what was masked while they were one is masked"


def test_who_was_joined_the_other_way_round_keeps_his_own(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna, bruno = world.professional(), world.professional(organization="750000003")
        one, other = world.open(traitant=anna), world.open(traitant=bruno)
        world.deposit(one, anna, description="of one")
        world.deposit(other, bruno, description="of the other")
        joined(world, one, other)
        joined(world, one, other, "$unmerge")
        joined(world, other, one)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        world.server = again
        anna.server, anna.base = again, again.fhir
        assert set(documents(anna, one)) == {"of one", "of the other"}
        joined(world, other, one, "$unmerge")
        assert set(documents(anna, one)) == {"of one"} and set(documents(world.holder(other), other)) == {"of the other"}
    code, said = here("verify", "--data", server.data, environment=SMALL)
    assert code == 0, said


def test_what_was_hidden_between_two_joins_outlives_a_restore_of_a_backup_from_the_first(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna = world.professional()
        bruno, carl = world.professional(organization="750000003"), world.professional(organization="750000004")
        own, other = world.open(traitant=anna), world.open(traitant=bruno)
        world.consent(other, "access", carl)
        names = ("masked again", "masked", "withdrawn", "masked then", "shown", "plain")
        made = {name: world.deposit(own, anna, description=name, text=name) for name in names}
        for name in ("masked again", "shown"):
            assert world.holder(own).patch(f"DocumentReference/{made[name]['id']}", MASK).status_code == 200
        result = anna.post("Observation", observation(own, anna)).json()
        joined(world, own, other)
        copies = documents(bruno, other)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
        assert world.holder(other).patch(f"DocumentReference/{copies['masked again']['id']}", UNMASK).status_code == 200
        joined(world, own, other, "$unmerge")
        holder = world.holder(own)
        assert holder.patch(f"DocumentReference/{made['masked']['id']}", MASK).status_code == 200
        assert holder.patch(f"DocumentReference/{made['shown']['id']}", UNMASK).status_code == 200
        assert anna.patch(f"DocumentReference/{made['withdrawn']['id']}", WITHDRAW).status_code == 200
        assert anna.put(f"Observation/{result['id']}", {**result, "status": "entered-in-error"}).status_code == 200
        joined(world, own, other)
        assert world.holder(other).patch(f"DocumentReference/{copies['masked then']['id']}", MASK).status_code == 200
        before = documents(carl, other).keys(), documents(bruno, other).keys()
        assert before == ({"plain", "shown"}, {*names} - {"withdrawn"})
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    for _ in range(2):
        with serving(tmp_path, environment=SMALL, sandbox=False) as again:
            world.server = again
            for asker in (anna, bruno, carl):
                asker.server, asker.base = again, again.fhir
            assert (documents(carl, other).keys(), documents(bruno, other).keys()) == before
            assert bruno.get(f"Observation?patient={other.id}&_summary=count").json()["total"] == 0
            for name in ("masked", "withdrawn"):
                assert carl.get(copies[name]["content"][0]["attachment"]["url"]).status_code == 404
            told = carl.get(f"AuditEvent?patient={other.id}&_count=1000").text
            assert not any(copies[name]["id"] in told for name in ("masked", "withdrawn"))
    code, said = here("verify", "--data", server.data, environment=SMALL)
    assert code == 0, said
