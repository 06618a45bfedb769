"""I9: what imports hide stays hidden after a restore of a backup from before them."""

import shutil

from tests.access.test_restore import MASK, SMALL, WITHDRAW, ids
from tests.access.world import Dossier, World, listed, refused
from tests.exchange.test_sources import CARE, Sender
from tests.interactions.making import dumped
from tests.serving import here, serving

CAME = ("DocumentReference", "Observation", "Provenance")


def masks(holder, dossier) -> list[dict[str, str]]:
    """Labels before and after, of each trace of a mask."""
    found = holder.get(f"AuditEvent?patient={dossier.id}&_count=1000&subtype=mask").json()
    entities = [one for entry in found.get("entry", []) for one in entry["resource"].get("entity", []) if "detail" in one]
    return [{each["type"]: each["valueString"] for each in one["detail"]} for one in entities]


def read(by, resources) -> list[str]:
    """Those of them that somebody reads, with the contents of documents."""
    wanted = [f"{one['resourceType']}/{one['id']}" for one in resources]
    wanted += [content["attachment"]["url"] for one in resources for content in one.get("content", ())]
    return [one for one in wanted if by.get(one).status_code == 200]


def test_what_a_document_of_a_source_hides_stays_hidden(tmp_path):
    def sent(server, name, *resources) -> str:
        path = tmp_path / f"{name}.ndjson"
        path.write_bytes(b"".join(dumped(one) + b"\n" for one in resources))
        code, said = here("import", path, "--source", CARE, "--data", server.data, environment=SMALL)
        return f"{code} {said}"

    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        code, said = here("sources", "register", CARE, "--name", "Cabinet", "--data", server.data, environment=SMALL)
        assert code == 0, said
        dossier, bob = world.open(family="OZENNEBERT"), world.professional(organization="750000002")
        world.consent(dossier, "access", bob)
        world.consent(dossier, "feed")
        sender = Sender(world, dossier)
        report = {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}
        first = sender.document("f", type=report), sender.binary("f")
        wrong = {"resourceType": "Observation", "id": f"o-{sender.tag}", "status": "final", "code": {"text": "taille"}}
        wrong |= {"subject": {"reference": f"Patient/p-{sender.tag}"}, "performer": [{"reference": f"Practitioner/dr-{sender.tag}"}]}
        assert sent(server, "one", sender.patient(), sender.practitioner(), *first, wrong).startswith("0 ")
        before = ids(bob, dossier)
        came = [one for type_name in CAME for one in listed(bob, dossier, type_name)]
        assert len(before) == 1 and len(read(bob, came)) == len(came) + 1
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
        replaces = [{"code": "replaces", "target": {"reference": f"DocumentReference/f-{sender.tag}"}}]
        second = sender.document("g", type=report, labels=("MASQUE_PS",), relatesTo=replaces), sender.binary("g")

        journal = server.data / "journal" / "acts.log"
        journal.rename(tmp_path / "acts")
        journal.mkdir()
        assert not sent(server, "two", *second).startswith("0 ")
        journal.rmdir()
        (tmp_path / "acts").rename(journal)
        assert sent(server, "two", *second).startswith("0 ")
        assert all(bob.get(f"DocumentReference/{one}").status_code == 404 for one in before)
        assert {"label-before": "none", "label-after": "MASQUE_PS"} in masks(world.holder(dossier), dossier)
        assert sent(server, "three", {**wrong, "status": "entered-in-error"}).startswith("0 ")
        assert read(bob, came) == []
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        bob.server, bob.base = again, again.fhir
        assert ids(bob, dossier) == set() and read(bob, came) == []


def test_what_a_package_hides_withdraws_and_forbids_in_a_dossier_that_lives_here_stays_so(tmp_path):
    with (
        serving(tmp_path, environment=SMALL, sandbox=False, name="a") as a,
        serving(tmp_path, environment=SMALL, sandbox=False, name="b") as b,
    ):

        def command(server, *words) -> str:
            code, said = here(*words, "--data", server.data, environment={**SMALL, "FHIR_DMP_BASE_URL": server.fhir})
            assert code == 0, said
            return said

        def brought(folder: str) -> str:
            """The dossier, taken from the one host to the other; its id there."""
            command(a, "export", dossier.id, "--to", "b", "--out", tmp_path / folder)
            said = command(b, "import", tmp_path / folder / f"{dossier.id}.dmp", "--source", "a")
            return said.partition("Patient/")[2].split()[0]

        for one, other, name in ((a, b, "b"), (b, a, "a")):
            (tmp_path / f"{name}.card").write_text(command(other, "hosts", "card", "--name", name))
            command(one, "hosts", "register", name, tmp_path / f"{name}.card")
        world, there = World(a), World(b)
        anna, bob, carl = world.professional(), world.professional(organization="750000002"), world.professional(organization="750000003")
        dossier = world.open(traitant=anna)
        for one in (bob, carl):
            world.consent(dossier, "access", one)
        masked, wrong, _ = (world.deposit(dossier, anna) for _ in range(3))
        taken = Dossier(there, {"resourceType": "Patient", "id": brought("first")}, dossier.ins)
        bob, carl = (there.professional(one.rpps, organization=one.organization) for one in (bob, carl))
        assert len(ids(bob, taken)) == len(ids(carl, taken)) == 3
        came = [one for type_name in ("DocumentReference", "Provenance") for one in listed(bob, taken, type_name)]
        command(b, "backup", tmp_path / "backup")
        assert world.holder(dossier).patch(f"DocumentReference/{masked['id']}", MASK).status_code == 200
        assert anna.patch(f"DocumentReference/{wrong['id']}", WITHDRAW).status_code == 200
        world.consent(dossier, "block", carl)
        brought("second")
        (left,) = ids(bob, taken)
        seen = read(bob, came)
        assert len(came) > len(seen) > 1
        assert refused(carl.get(f"DocumentReference?patient={taken.id}"))
    shutil.rmtree(b.data / "mongodb")
    command(b, "restore", tmp_path / "backup")
    with serving(tmp_path, environment=SMALL, sandbox=False, name="b") as again:
        for asker in (bob, carl):
            asker.server, asker.base = again, again.fhir
        assert ids(bob, taken) == {left} and read(bob, came) == seen
        assert refused(carl.get(f"DocumentReference?patient={taken.id}"))
