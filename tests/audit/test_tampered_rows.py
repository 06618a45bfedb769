"""`fhir-dmp verify` on a store in which somebody changed rows by hand: each is one line, and the rest is told too."""

import base64
import contextlib
import json
import os

import msgspec
import pytest
from bson import Binary
from pymongo import MongoClient

from fhir_dmp.audit.verify import Report
from fhir_dmp.audit.verify_rows import Lineages
from fhir_dmp.store.rows import Change
from fhir_dmp.store.vault import COMMON, Vault, dossier_in, dossier_row, version_id
from tests.access.test_deposits import stored, submission
from tests.access.test_restore import MASK
from tests.access.world import VISIBILITY, World, category, day, document
from tests.serving import here, serving
from tests.store.making import new_row

DATABASE = f"tampered_rows_{os.getpid()}"
LARGE = os.urandom(3 * 1024 * 1024)


class Kept:
    """A store with two dossiers, the server running, and what is in it."""

    def __init__(self, server, database, uri: str) -> None:
        self.server, self.database, self.uri, self.world = server, database, uri, World(server)
        self.rows, self.vault = database["resources"], Vault.load(server.data)
        world = self.world
        self.anna = world.professional()
        self.dossier, self.other = world.open(traitant=self.anna), world.open(traitant=self.anna)
        self.report = world.deposit(self.dossier, self.anna)
        self.masked = world.deposit(self.dossier, self.anna)
        added = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
        answer = world.holder(self.dossier).patch(f"DocumentReference/{self.masked['id']}", added)
        assert answer.status_code == 200, answer.text
        attachment = {"contentType": "text/plain", "data": base64.b64encode(LARGE).decode()}
        self.large = world.deposit(self.other, self.anna, content=[{**self.report["content"][0], "attachment": attachment}])

    def verify(self) -> tuple[int, dict[str, str], dict]:
        """Exit code, the faults (what -> why) and the summary."""
        environment = {"FHIR_DMP_DATABASE": DATABASE}
        code, said = here("verify", "--json", "--data", self.server.data, "--mongodb-uri", self.uri, environment=environment)
        *faults, summary = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return code, {one["what"]: f"{one['kind']}: {one['why']}" for one in faults}, summary

    def key(self, type: str, id: str) -> bytes:
        return self.vault.locate(type, id)

    @contextlib.contextmanager
    def changed(self, key: bytes, change: dict | None, collection: str = "resources"):
        """A row that is changed, or gone (None), for a while; the row as it was."""
        rows = self.database[collection]
        before = rows.find_one({"_id": Binary(key)}, hint="_id_")
        assert before is not None
        if change is None:
            rows.delete_one({"_id": before["_id"]}, hint="_id_")
        else:
            rows.update_one({"_id": before["_id"]}, change, hint="_id_")
        try:
            yield before
        finally:
            rows.replace_one({"_id": before["_id"]}, before, upsert=True, hint="_id_")

    def flipped(self, key: bytes, collection: str = "resources"):
        body = bytearray(self.database[collection].find_one({"_id": Binary(key)}, hint="_id_")["b"])
        body[len(body) // 2] ^= 1
        return self.changed(key, {"$set": {"b": Binary(bytes(body))}}, collection)


@pytest.fixture(scope="module")
def kept(mongod, tmp_path_factory):
    environment = {"FHIR_DMP_DATABASE": DATABASE}
    options = ("--mongodb-uri", mongod.uri, "--workers", "1")
    folder = tmp_path_factory.mktemp("tampered")
    with serving(folder, *options, environment=environment, sandbox=False) as running, MongoClient(mongod.uri) as client:
        yield Kept(running, client[DATABASE], mongod.uri)
        client.drop_database(DATABASE)


def test_what_nobody_touched_is_sound(kept):
    code, faults, summary = kept.verify()
    assert (code, faults, summary["faults"]) == (0, {}, 0)


def test_every_row_that_does_not_open_is_named_with_its_version_and_the_run_goes_on(kept):
    """Rows of several types at once, seals among them: one line each, none hides another."""
    rows = kept.rows.find({"d": dossier_in(kept.key("Patient", kept.dossier.id))}, hint="dossier")
    spoiled = {one["t"]: one for one in rows if "b" in one and one.get("t") in ("DocumentReference", "Binary", "Consent", "Provenance")}
    assert len(spoiled) == 4
    with contextlib.ExitStack() as stack:
        for one in spoiled.values():
            stack.enter_context(kept.flipped(bytes(one["_id"])))
        code, faults, summary = kept.verify()
    named = {f"{type}/{kept.vault.seal_id(bytes(one['_id']))}/_history/{version_id(one['v'])}" for type, one in spoiled.items()}
    assert code == 1 and faults.keys() == named, faults
    assert all(why.startswith("altered: ") for why in faults.values())
    assert summary["rows"] and summary["seals"]
    assert kept.verify()[0] == 0


def test_a_superseded_version_that_does_not_open_is_named(kept):
    patient = kept.anna.get(kept.dossier.path).json()
    former = patient["meta"]["versionId"]
    holder = kept.world.holder(kept.dossier)
    changed = holder.put(kept.dossier.path, {**patient, "telecom": [{"system": "phone", "value": "0102030405"}]})
    assert changed.status_code == 200, changed.text
    (row,) = kept.database["versions"].find({"k": Binary(kept.key("Patient", kept.dossier.id))}, hint="instance").limit(1)
    with kept.flipped(bytes(row["_id"]), "versions"):
        code, faults, _ = kept.verify()
    assert (code, list(faults)) == (1, [f"{kept.dossier.path}/_history/{former}"])


def test_a_block_of_a_large_content_that_was_changed_names_what_it_belongs_to(kept):
    chunks = kept.database["contents.chunks"]
    (row,) = kept.rows.find({"d": dossier_in(kept.key("Patient", kept.other.id)), "t": "Binary"}, hint="dossier")
    block = chunks.find_one({"files_id": row["f"][0]["i"], "n": 1}, hint="blocks")
    data = bytearray(block["data"])
    data[5] ^= 1
    chunks.update_one({"_id": block["_id"]}, {"$set": {"data": Binary(bytes(data))}}, hint="_id_")
    code, faults, _ = kept.verify()
    chunks.update_one({"_id": block["_id"]}, {"$set": {"data": block["data"]}}, hint="_id_")
    id = kept.vault.seal_id(bytes(row["_id"]))
    assert code == 1 and f"Binary/{id}/_history/{version_id(row['v'])}" in faults


@pytest.mark.parametrize("change", [{"$unset": {"m": ""}}, {"$set": {"v": "one"}}, {"$unset": {"l": ""}}, {"$set": {"b": 7}}])
def test_a_row_that_lost_a_part_is_named(kept, change):
    (row,) = kept.rows.find({"d": dossier_in(kept.key("Patient", kept.other.id)), "t": "Provenance"}, hint="dossier").limit(1)
    with kept.changed(bytes(row["_id"]), change):
        code, faults, _ = kept.verify()
    assert code == 1 and any(what.startswith(f"Provenance/{kept.vault.seal_id(bytes(row['_id']))}") for what in faults), faults


def test_a_dossier_whose_key_is_gone_is_one_line_and_others_are_told(kept):
    number = dossier_in(kept.key("Patient", kept.dossier.id))
    other = kept.key("Patient", kept.other.id)
    with kept.changed(dossier_row(number), None), kept.flipped(other) as patient:
        code, faults, _ = kept.verify()
    assert code == 1
    assert faults.keys() == {f"the key of dossier {number}", f"{kept.other.path}/_history/{version_id(patient['v'])}"}, faults


@pytest.mark.parametrize("change", [None, {"$unset": {"k": ""}}, {"$unset": {"k": ""}, "$set": {"e": 1}}], ids=["row", "key", "erased"])
def test_the_common_dossier_is_never_erased(kept, change):
    with kept.changed(dossier_row(COMMON), change):
        code, faults, summary = kept.verify()
    assert code == 1 and "the key of the common dossier" in faults, faults
    assert summary["erased"] == 0
    assert kept.verify()[0] == 0


HIDDEN = {"a mask taken off": ("masked", {"$bit": {"y.lb": {"and": ~1}}}), "a mask put on": ("report", {"$bit": {"y.lb": {"or": 1}}})}


@pytest.mark.parametrize("how", HIDDEN)
def test_labels_changed_behind_the_server_are_named(kept, how):
    document, change = HIDDEN[how]
    where = f"DocumentReference/{getattr(kept, document)['id']}"
    with kept.changed(kept.key(*where.split("/")), change):
        code, faults, _ = kept.verify()
    assert code == 1 and where in faults, faults
    assert len(faults) == 1 or all("rest of its lineage" in why for why in faults.values())


async def test_labels_that_change_between_two_batches_of_a_serving_host_are_no_fault(store):
    rows = [new_row(store, "DocumentReference", visible={"rt": 5, "lb": 1})]
    rows.append(new_row(store, "Observation", dossier=rows[0].dossier, visible={"rt": 5, "lb": 1}))
    await store.commit([Change(row, None) for row in rows])
    report = Report()
    lineages = Lineages(store, report)
    read_before, read_after = [await store.load(row.key) for row in rows]
    await lineages.add(msgspec.structs.replace(read_before, visible={"rt": 5, "lb": 0}))
    await lineages.add(read_after)
    await lineages.judge()
    assert not report.faults


FACTS = {"ty": 12345, "st": 2, "rl": 0, "pa": 1, "da": 1}


@pytest.mark.parametrize("name", FACTS)
def test_facts_that_the_body_does_not_say_are_named(kept, name):
    where = f"DocumentReference/{kept.report['id']}"
    with kept.changed(kept.key(*where.split("/")), {"$set": {f"y.{name}": FACTS[name]}}):
        code, faults, _ = kept.verify()
    assert (code, list(faults)) == (1, [where]) and name in faults[where], faults


def dates(facts):
    return [[one.get(name) for name in ("pa", "pb", "da", "db")] for one in (facts if isinstance(facts, list) else [facts])]


def test_dates_that_rows_do_not_keep_are_named_and_given_by_reindex(kept):
    """A mask by period covers every date of a document, its content, its List and its seals."""
    world, last_year = kept.world, {"start": "2025-02-03", "end": "2025-02-03"}
    nora, dossier = world.professional(), world.open(traitant=kept.anna)
    holder = world.holder(dossier)
    world.consent(dossier, "access", nora)
    sent = [document(dossier, kept.anna, context={"period": last_year}) for _ in range(2)]
    answer = kept.anna.post("", submission(dossier, kept.anna, *sent))
    (address,), made = stored(answer, "List"), stored(answer, "DocumentReference")
    where = {"d": dossier_in(kept.key("Patient", dossier.id))}
    before = [one for one in kept.rows.find(where, hint="dossier") if "y" in one]
    # As they were stored before rows kept more than the period.
    kept.rows.update_many({**where, "y": {"$not": {"$type": "array"}}}, {"$unset": {"y.da": "", "y.db": ""}}, hint="dossier")
    kept.rows.update_many({**where, "y": {"$type": "array"}}, {"$unset": {"y.$[].da": "", "y.$[].db": ""}}, hint="dossier")
    assert holder.patch(f"DocumentReference/{made[1]}", MASK).status_code == 200
    world.consent(dossier, "mask", dataPeriod={"start": day(days=-2), "end": day(days=2)})
    shown = (f"DocumentReference/{made[0]}", f"List/{address}")
    assert [nora.get(one).status_code for one in shown] == [200, 200]
    code, faults, _ = kept.verify()
    lacking = {one: why for one, why in faults.items() if "da, db" in why}
    assert code == 1 and lacking.keys() == {f"DocumentReference/{one}" for one in made}
    assert all(why.endswith("`fhir-dmp reindex` mends that") for why in lacking.values())
    environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_BASE_URL": kept.server.fhir}
    code, said = here("reindex", "--data", kept.server.data, "--mongodb-uri", kept.uri, environment=environment)
    assert code == 0, said
    assert [nora.get(one).status_code for one in shown] == [404, 404]
    found = {bytes(one["_id"]): one["y"] for one in kept.rows.find(where, hint="dossier") if "y" in one}
    assert all(dates(found[bytes(one["_id"])]) == dates(one["y"]) for one in before)
    assert kept.verify()[:2] == (0, {})


def test_the_copy_of_a_protective_act_that_was_changed_or_removed_is_named(kept):
    copies = kept.database["acts"]
    first, *_, last = list(copies.find({}, hint="_id_"))
    altered = first["b"][:-1] + bytes([first["b"][-1] ^ 1])
    with kept.changed(bytes(first["_id"]), {"$set": {"b": Binary(altered)}}, "acts"), kept.changed(bytes(last["_id"]), None, "acts"):
        code, faults, _ = kept.verify()
    assert code == 1 and len(faults) == 2, faults
    assert sorted(why.split(":")[0] for why in faults.values()) == ["altered", "deleted"]
    assert all(what.startswith("act ") and what.endswith("in the database") for what in faults)


def test_copies_of_acts_are_written_again_by_reindex(kept):
    kept.database["acts"].delete_many({}, hint="_id_")
    assert kept.verify()[0] == 1
    environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_BASE_URL": kept.server.fhir}
    code, said = here("reindex", "--data", kept.server.data, "--mongodb-uri", kept.uri, environment=environment)
    assert code == 0, said
    assert kept.verify()[:2] == (0, {})


def test_a_whole_lineage_whose_mask_was_taken_off_contradicts_the_act(kept):
    """All its rows at once, traces too: they agree with one another, and not with what the holder did."""
    where = f"DocumentReference/{kept.masked['id']}"
    row = kept.rows.find_one({"_id": Binary(kept.key(*where.split("/")))}, hint="_id_")
    lineage = {"d": row["d"], "y.rt": row["y"]["rt"], "y.lb": {"$bitsAllSet": 1}}
    keys = [one["_id"] for one in kept.rows.find(lineage, hint="dossier")]
    kept.rows.update_many({"_id": {"$in": keys}}, {"$bit": {"y.lb": {"and": ~1}}}, hint="_id_")
    code, faults, _ = kept.verify()
    kept.rows.update_many({"_id": {"$in": keys}}, {"$bit": {"y.lb": {"or": 1}}}, hint="_id_")
    assert code == 1 and where in faults and faults[where].startswith("acts: "), faults
    assert kept.verify()[0] == 0


def test_an_act_put_back_to_before_it_is_named(kept):
    where = f"DocumentReference/{kept.masked['id']}"
    with kept.changed(kept.key(*where.split("/")), {"$unset": {"a": ""}}):
        code, faults, _ = kept.verify()
    assert code == 1 and "older than the last act" in faults[where], faults


def test_rights_that_changed_while_two_dossiers_were_one_and_went_back_are_no_fault(kept):
    world = kept.world
    ends, goes_on = world.open(traitant=kept.anna), world.open(traitant=kept.anna)
    world.consent(ends, "access", world.professional())
    joined = {"source-patient": {"reference": ends.path}}
    assert world.operator().run(f"{goes_on.path}/$merge", **joined).status_code == 200
    holder = world.holder(goes_on)
    listed = holder.get(f"Consent?patient={goes_on.id}&_count=100").json()["entry"]
    (permit,) = [one["resource"] for one in listed if category(one["resource"]) == "access"]
    world.revoke(holder, permit)
    assert world.operator().run(f"{goes_on.path}/$unmerge", **joined).status_code == 200
    assert kept.verify()[:2] == (0, {})


def test_a_file_of_acts_that_was_altered_or_cut_is_named_and_the_rest_is_told(kept):
    path = kept.server.data / "journal" / "acts.log"
    whole = path.read_bytes()
    for spoiled in (whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], whole[: len(whole) // 2]):
        path.write_bytes(spoiled)
        try:
            code, faults, summary = kept.verify()
        finally:
            path.write_bytes(whole)
        assert code == 1 and list(faults) == ["the journal of protective acts"] and summary["seals"], faults
    assert kept.verify()[0] == 0
