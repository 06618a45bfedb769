"""Credentials and counters on the real database. https://pages.nist.gov/800-63-4/sp800-63b.html"""

import asyncio
import json

import pytest

from fhir_dmp.store import restored
from fhir_dmp.store.credentials import Credentials, Factor, Owner, issued_ms, replaced
from fhir_dmp.store.resources import Store

NOW = 1_795_000_000_000
FACTOR = Factor("JBSWY3DPEHPK3PXP", "camille@example.org")
GIVEN = {"password": "$argon2id$x", "factor": FACTOR, "codes": (), "now_ms": NOW}


@pytest.fixture
def credentials(store):
    return Credentials(store)


@pytest.fixture
def holder(store):
    """A holder: the id of a Patient in a dossier of its own."""
    return Owner(store.vault.new_id(store.new_dossier()))


async def issue(credentials, owner, identifier="abcd2345efgh", codes=("11111111", "22222222")):
    await credentials.issue(owner, identifier=identifier, password="$argon2id$x", factor=FACTOR, codes=codes, now_ms=NOW)
    return await credentials.find(credentials.hashed("login", identifier))


async def test_credentials_are_found_by_identifier_and_say_whose_they_are(credentials, holder):
    found = await issue(credentials, holder)
    assert credentials.owner(found) == holder and await credentials.factor(found) == FACTOR
    assert found.password == "$argon2id$x" and found.issued.year == 2026
    assert await credentials.find(credentials.hashed("login", "abcd2345efgi")) is None
    related = Owner(holder.patient, "r1")
    assert credentials.owner(await issue(credentials, related, "other2345efg")) == related
    assert credentials.owner(await credentials.find(found.login)) == holder, "a representative has credentials of his own"


async def test_nothing_stored_names_the_person_or_shows_a_secret(credentials, holder, store):
    await issue(credentials, Owner(holder.patient, "related-1"))
    (row,) = await store.connection.database["host.credentials"].find({}, hint="login").to_list()
    told = json.dumps(row, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))
    for secret in (holder.patient, "related-1", "abcd2345efgh", "11111111", FACTOR.totp, "camille"):
        assert secret not in told and secret.encode().hex() not in told


async def test_a_new_issue_replaces_the_former_whole(credentials, holder):
    former = await issue(credentials, holder, "former234567")
    latest = await issue(credentials, holder, "latest234567", codes=("33333333",))
    assert former.id == latest.id and await credentials.find(former.login) is None
    assert not await credentials.spend_code(former, "11111111") and not await credentials.spend_step(former, 7)
    assert not await credentials.spend_code(latest, "11111111") and await credentials.spend_code(latest, "33333333")


async def test_of_two_sessions_of_one_sheet_the_later_issue_replaces_nothing(credentials, holder, store):
    session = ((await issue(credentials, holder, "former234567")).id, NOW)
    assert not await replaced(store, holder.patient, session)

    def next_one(number):
        given = {"password": "$argon2id$x", "factor": FACTOR, "codes": ("33333333",), "now_ms": NOW + 1 + number, "by": session}
        return credentials.issue(holder, identifier=f"latest23456{number}", **given)

    issued = await asyncio.gather(*(next_one(number) for number in range(6)))
    assert sorted(issued) == [False] * 5 + [True]
    found = await credentials.find(credentials.hashed("login", f"latest23456{issued.index(True)}"))
    assert found is not None and await credentials.factor(found) == FACTOR
    assert await replaced(store, holder.patient, session) and not await replaced(store, holder.patient, (found.id, issued_ms(found)))
    assert await replaced(store, store.vault.new_id(store.new_dossier()), session), "nor does a session outlive its dossier"
    assert await credentials.issue(Owner(holder.patient, "r1"), identifier="other2345678", **GIVEN, by=session), (
        "another person's are his own"
    )


async def test_issues_at_the_same_moment_leave_one(credentials, holder, store):
    await asyncio.gather(*(issue(credentials, holder, f"same2345678{n}") for n in range(8)))
    assert await store.connection.database["host.credentials"].count_documents({}, hint="login") == 1


async def test_a_code_is_taken_by_one_caller_of_many(credentials, holder):
    found = await issue(credentials, holder)
    taken = await asyncio.gather(*(credentials.spend_code(found, "11111111") for _ in range(12)))
    assert sorted(taken) == [False] * 11 + [True]
    assert not await credentials.spend_code(found, "99999999") and await credentials.spend_code(found, "22222222")


async def test_a_time_step_is_taken_once_and_never_backwards(credentials, holder):
    found = await issue(credentials, holder)
    assert sorted(await asyncio.gather(*(credentials.spend_step(found, 100) for _ in range(12)))) == [False] * 11 + [True]
    assert not await credentials.spend_step(found, 99) and await credentials.spend_step(found, 101)


async def test_codes_of_one_person_are_not_those_of_another(credentials, holder, store):
    mine = await issue(credentials, holder, "mine23456789", codes=("11111111",))
    other = Owner(store.vault.new_id(store.new_dossier()))
    his = await issue(credentials, other, "his234567891", codes=("22222222",))
    assert not await credentials.spend_code(mine, "22222222") and await credentials.spend_code(his, "22222222")


async def test_the_second_secret_goes_with_the_dossier(credentials, holder, store):
    found = await issue(credentials, holder)
    await store.destroy_dossier(store.vault.dossier_of_patient(holder.patient))
    assert await credentials.factor(found) is None


async def test_a_sheet_that_was_replaced_stays_dead_after_a_restore(credentials, holder, store):
    database = store.connection.database
    former = await issue(credentials, holder, "former234567")
    backup = {name: await database[name].find({}, hint="_id_").to_list() for name in ("resources", "host.credentials")}
    await credentials.issue(
        holder, identifier="latest234567", password="$argon2id$x", factor=FACTOR, codes=("33333333",), now_ms=NOW + 60_000
    )
    for name, documents in backup.items():
        await database[name].delete_many({}, hint="_id_")
        await database[name].insert_many(documents)
    await database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_")
    assert await credentials.factor(await credentials.find(former.login)) == FACTOR, "the backup does not know better"
    assert (await store.acts.replay()).rows == 1
    assert await credentials.factor(await credentials.find(former.login)) is None


async def test_codes_of_a_sheet_older_than_a_restore_do_not_serve(credentials, holder, store):
    """Which of them were taken after the backup, nobody knows."""
    former = await issue(credentials, holder, "former234567")
    await restored.note(store.connection, NOW)
    assert not await credentials.spend_code(former, "11111111")
    assert not await credentials.spend_code(await credentials.find(former.login), "11111111")
    latest = await issue(credentials, holder, "latest234567", codes=("33333333", "44444444"))
    assert await credentials.spend_code(latest, "33333333")
    await restored.note(store.connection, NOW)
    assert not await credentials.spend_code(latest, "44444444"), "nor after the next one"
    assert await credentials.spend_step(latest, 7), "the application still serves"


async def test_a_record_from_before_there_were_restores_serves(credentials, holder, store):
    found = await issue(credentials, holder)
    await store.connection.database["host.credentials"].update_one({"_id": found.id}, {"$unset": {"era": ""}})
    assert await credentials.spend_code(await credentials.find(found.login), "11111111")


async def test_with_a_sheet_older_than_a_restore_somebody_may_have_logged_in(credentials, holder, store):
    assert not await credentials.taken(holder.patient)
    await issue(credentials, holder)
    assert not await credentials.taken(holder.patient)
    await restored.note(store.connection, NOW)
    assert await credentials.taken(holder.patient)
    assert not await credentials.taken(store.vault.new_id(store.new_dossier())), "with none nobody has"
    await issue(credentials, holder, "latest234567")
    assert not await credentials.taken(holder.patient)
    await store.connection.database["host.credentials"].delete_many({"login": {"$exists": True}}, hint="login")
    assert await credentials.taken(holder.patient), "nor with one that only the journal of acts remembers"


async def test_a_record_put_in_the_place_of_another_does_not_open(credentials, holder, store):
    from fhir_dmp.store.failures import Broken

    mine = await issue(credentials, holder, "mine23456789")
    his = await issue(credentials, Owner(holder.patient, "r1"), "his234567891")
    mine.factor = his.factor
    with pytest.raises(Broken):
        await credentials.factor(mine)
    mine.owner = his.owner[:-4] + "AAAA"
    with pytest.raises(Broken):
        credentials.owner(mine)


async def test_counts_begin_anew_after_their_span(credentials):
    name = credentials.hashed("asked", "x")
    found = [await credentials.count(name, NOW + at, 1000) for at in (0, 400, 999, 1000, 1500)]
    assert [one.times for one in found] == [1, 2, 3, 1, 2]
    assert [one.until_ms - NOW for one in found] == [1000, 1000, 1000, 2000, 2000]
    assert (await credentials.counted(name, NOW + 1999), await credentials.counted(name, NOW + 2000)) == (2, 0)
    await credentials.forget(name)
    assert await credentials.counted(name, NOW + 1500) == 0


async def test_a_lock_is_renewed_until_it_falls_and_then_ends_at_its_time(credentials):
    name = credentials.hashed("failures", "x")
    found = [await credentials.count(name, NOW + at, 1000, renewed_below=3) for at in (0, 900, 1800, 2700)]
    assert [(one.times, one.until_ms - NOW) for one in found] == [(1, 1000), (2, 1900), (3, 2800), (4, 2800)]
    assert await credentials.counted(name, NOW + 2799) == 4 and await credentials.counted(name, NOW + 2800) == 0


async def test_what_is_taken_back_was_not_counted(credentials):
    name = credentials.hashed("failures", "back")
    for _ in range(3):
        await credentials.count(name, NOW, 1000)
    await credentials.take_back(name)
    assert await credentials.counted(name, NOW) == 2
    for _ in range(4):
        await credentials.take_back(name)
    assert await credentials.counted(name, NOW) == 0, "and never less than nothing"


async def test_no_count_is_lost_among_many(credentials):
    name = credentials.hashed("asked", "crowd")
    found = await asyncio.gather(*(credentials.count(name, NOW, 1000) for _ in range(40)))
    assert sorted(one.times for one in found) == list(range(1, 41))


async def test_two_servers_count_together(credentials, mongod, data_dir, database):
    other = await Store.open(mongod.uri, database, data_dir=data_dir)
    try:
        name = credentials.hashed("asked", "both")
        await credentials.count(name, NOW, 1000)
        assert (await Credentials(other).count(name, NOW, 1000)).times == 2
    finally:
        await other.close()


def test_a_hash_serves_one_purpose_and_tells_its_parts_apart(credentials):
    names = [("login", "a"), ("failures", "a"), ("code", "a", "b"), ("code", "ab", ""), ("code", "", "ab"), ("code", "a\u0000b")]
    assert len({credentials.hashed(*each) for each in names}) == len(names)
