"""I9 beside the rows of dossiers: a backup, then what the host and its holders used up or took back, the loss of everything, a restore."""

import re
import shutil

from tests.access.world import World, refused
from tests.serving import here, serving

SMALL = {"FHIR_DMP_MONGOD_CACHE_GB": "0.25"}


def sheet(asker, dossier):
    """(identifier and password, codes) of a new sheet, or the answer that refuses it."""
    answer = asker.send("POST", f"Patient/{dossier.id}/$access-sheet", accept="text/plain")
    if answer.status_code != 200:
        return answer, []
    words = {name: re.search(rf"\({name}\): (\S+)", answer.text)[1] for name in ("identifier", "password")}
    return words, re.findall(r"\b\d+\. (\d{8})\b", answer.text)


def login(server, words, code):
    challenge = server.client.post("/auth/login", json=words).json()["challenge"]
    return server.client.post("/auth/login/code", json={"challenge": challenge, "code": code})


def test_what_was_used_up_or_taken_back_after_the_backup_stays_so(tmp_path):
    def command(data, *arguments):
        code, said = here(*arguments, "--data", data, environment=SMALL)
        assert code == 0, said
        return said

    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        opener, anna = world.professional(), world.professional()
        one, two, three = (world.open(by=opener, traitant=anna) for _ in range(3))
        words, codes = sheet(opener, one)
        other, others = sheet(opener, two)
        assert login(server, words, codes[0]).status_code == 200
        for source in ("lost", "kept"):
            command(server.data, "sources", "register", source, "--name", "Cabinet")
        command(server.data, "backup", tmp_path / "backup", "--with-keys")

        assert login(server, words, codes[1]).status_code == 200
        assert login(server, other, others[0]).status_code == 200
        assert sheet(opener, two)[0].status_code == 403
        command(server.data, "sources", "disable", "lost", "--reason", "clé volée")
        old = anna.token
        command(server.data, "keys", "rotate", "--forget")

    # Nothing is left but the backup with its keys, and the journal, which was on another disk.
    data = tmp_path / "other"
    (data / "journal").mkdir(mode=0o700, parents=True)
    shutil.copy(server.data / "journal" / "acts.log", data / "journal" / "acts.log")
    shutil.rmtree(server.data)
    command(data, "restore", tmp_path / "backup")
    assert re.search("lost.*disabled 20.*: clé volée", command(data, "sources", "list"))

    with serving(tmp_path, environment=SMALL, sandbox=False, name="other") as again:
        assert again.client.get(f"/fhir/Patient/{one.id}", headers={"authorization": f"Bearer {old}"}).status_code == 401
        world = World(again)
        opener, holder = world.professional(opener.rpps, organization=opener.organization), world.holder(two)
        assert world.professional(anna.rpps, organization=anna.organization).get(f"Patient/{one.id}").status_code == 200
        wrong = login(again, words, "00000000")
        for code in codes[:3]:
            answer = login(again, words, code)
            assert (answer.status_code, answer.content) == (401, wrong.content)
        assert sheet(opener, two)[0].status_code == 403
        # Who never had a sheet is handed his first one; who acts for the dossier has another one issued.
        for dossier, asker in ((three, opener), (two, holder)):
            words, codes = sheet(asker, dossier)
            assert login(again, words, codes[0]).status_code == 200
        body = b'{"resourceType":"Patient","id":"1"}\n'
        for source, status in (("lost", 403), ("kept", 202)):
            sent = world.host(source).post(f"$import?source={source}", body, content_type="application/fhir+ndjson")
            assert sent.status_code == status, sent.text


def test_in_a_sandbox_too_a_block_after_the_backup_stays(tmp_path):
    with serving(tmp_path, environment=SMALL) as server:
        world = World(server)
        anna, carl = world.professional(), world.professional(organization="750000003")
        dossier = world.open(traitant=anna)
        world.consent(dossier, "access", carl)
        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0, said
        assert carl.get(f"DocumentReference?patient={dossier.id}").status_code == 200
        world.consent(dossier, "block", carl)
        assert refused(carl.get(f"DocumentReference?patient={dossier.id}"))
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    with serving(tmp_path, environment=SMALL) as again:
        carl.server, carl.base = again, again.fhir
        assert refused(carl.get(f"DocumentReference?patient={dossier.id}"))
