"""I9, I12: an act that could not be kept outside of the database is answered 503, and is acknowledged once it is kept."""

import shutil

from tests.access.test_restore import MASK, SMALL, WITHDRAW, ids, patching
from tests.access.world import World, consent, document, number, refused
from tests.interactions.making import bundle
from tests.serving import here, serving

ACTS = "journal/acts.log"


def once(resource: dict, criteria: str) -> dict:
    """An entry that creates what is not there yet."""
    return {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"], "ifNoneExist": criteria}}


def test_what_was_answered_503_and_then_200_outlives_a_restore(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna = world.professional()
        bob, carl = world.professional(organization="750000002"), world.professional(organization="750000003")
        dossiers = first, second, third, fourth, fifth = [world.open(traitant=anna) for _ in range(5)]
        alone, entry = [world.open(traitant=anna) for _ in range(2)]
        for dossier in (*dossiers, alone, entry):
            for one in (bob, carl):
                world.consent(dossier, "access", one)
        masked, together = world.deposit(first, anna), world.deposit(first, anna)
        wrong, replaced, left, late = (world.deposit(one, anna) for one in (second, third, fourth, fifth))
        assert all(ids(bob, dossier) for dossier in dossiers)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said

        hiding = document(
            third,
            anna,
            labels=("MASQUE_PS",),
            masterIdentifier={"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}"},
        )
        blocks = []
        for dossier in (alone, entry):
            name = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}"}
            criteria = f"patient={dossier.id}&identifier={name['system']}|{name['value']}"
            blocks.append(({**consent(dossier, "block", carl), "identifier": [name]}, criteria))
        hiding["relatesTo"] = [{"code": "replaces", "target": {"reference": f"DocumentReference/{replaced['id']}"}}]

        def acts() -> list[int]:
            """Each in a dossier of its own, but for the two masks of the first one."""
            holder = world.holder(first)
            both = bundle("transaction", patching(masked, MASK), patching(together, MASK))
            return [
                holder.patch(f"DocumentReference/{masked['id']}", MASK).status_code,
                holder.post("", both).status_code,
                anna.patch(f"DocumentReference/{wrong['id']}", WITHDRAW).status_code,
                anna.post("DocumentReference", hiding).status_code,
                world.holder(alone).post("Consent", blocks[0][0], if_none_exist=blocks[0][1]).status_code,
                world.holder(entry).post("", bundle("transaction", once(*blocks[1]))).status_code,
            ]

        (server.data / ACTS).rename(tmp_path / "acts")
        (server.data / ACTS).mkdir()
        assert acts() == [503] * 6
        assert world.holder(fourth).patch(f"DocumentReference/{left['id']}", MASK).status_code == 503
        assert world.holder(fifth).patch(f"DocumentReference/{late['id']}", MASK).status_code == 503
        before = acts()
        assert before == [503] * 6, "what is so already is no less refused"
        (server.data / ACTS).rmdir()
        (tmp_path / "acts").rename(server.data / ACTS)
        assert acts() == [200] * 6
        # Another act in the same dossier keeps what waits there.
        world.consent(fourth, "block", carl)
    # Of the fifth one nobody asks again: the next start keeps it.
    with serving(tmp_path, environment=SMALL, sandbox=False):
        pass
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        for asker in (bob, carl):
            asker.server, asker.base = again, again.fhir
        assert [ids(bob, dossier) for dossier in dossiers] == [set()] * 5
        for one in (masked, together, wrong, replaced, left, late):
            assert bob.get(f"DocumentReference/{one['id']}").status_code == 404
        assert all(refused(carl.get(f"DocumentReference?patient={one.id}")) for one in (fourth, alone, entry))
