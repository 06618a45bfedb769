"""The engine of imports on a real store: dossiers of a registered source, stored few transactions at a time."""

import base64
import gc
import json
import random
from collections import Counter

import msgspec
import pytest

from fhir_dmp.bench import mixed
from fhir_dmp.bench.growth import open_dossiers
from fhir_dmp.dmp.identity import RPPS
from fhir_dmp.exchange import engine as engines
from fhir_dmp.exchange import importer, reviewing
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.inputs import Item
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.pool import Here
from fhir_dmp.exchange.provenance import SID
from fhir_dmp.exchange.rules import HOST, Rules, Target
from fhir_dmp.exchange.units import Unit
from fhir_dmp.settings import Settings
from fhir_dmp.store.failures import unavailable
from fhir_dmp.store.ledger import Ledger

RULES = Rules(source="other-host", kind=HOST, host="other-host", organization="1750000001")
HOLDERS = [1, 2, 3]


@pytest.fixture
async def importing(store, data_dir):
    """Engines of one import into opened dossiers; the persons are known."""
    await Ledger(store).ready()
    await open_dossiers(store, data_dir, HOLDERS)
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")

    def made(job: str = "job") -> Engine:
        return Engine(context, RULES, job)

    told = await made().run(items([mixed.person(number) for number in HOLDERS]))
    assert {result.status for (result,) in told} == {200}
    return made


def items(resources: list[dict]) -> list[Item]:
    return [Item(f"a.ndjson:{number}", json.dumps(one).encode(), 0) for number, one in enumerate(resources, 1)]


def dossiers() -> list[dict]:
    """What the source has of each holder, but who he is."""
    return [one for number in HOLDERS for one in mixed.dossier(number) if one["resourceType"] != "Patient"]


class Counting:
    """Counts the transactions of an engine, and lets one fail."""

    def __init__(self, ledger: Ledger, failing: int = 0) -> None:
        self._commit, self.sizes, self._failing = ledger.commit, [], failing
        ledger.commit = self

    async def __call__(self, entries, *arguments):
        self.sizes.append(len(entries))
        if len(self.sizes) == self._failing:
            raise unavailable()
        return await self._commit(entries, *arguments)


async def test_what_refers_to_one_another_is_stored_together(importing, store):
    engine = importing()
    counting = Counting(engine.ledger)
    told = await engine.run(items(dossiers()))
    assert Counter(result.status for (result,) in told) == {201: 19 * len(HOLDERS)}
    # Contents come after the documents that point to them, all else together.
    assert counting.sizes == [17 * len(HOLDERS), 2 * len(HOLDERS)]
    rows = {f"{row.type}/{store.vault.seal_id(row.key)}": row async for row in store.scan()}
    for result, sent in zip(told, dossiers(), strict=True):
        body = json.loads(rows[result[0].location.partition("/_history")[0]].body)
        said = [body[name]["reference"] for name in ("subject", "patient", "encounter") if name in body]
        assert all(text in rows for text in said) and len(said) == sum(name in sent for name in ("subject", "patient", "encounter"))
    again = await importing().run(items(dossiers()))
    assert [result.location for (result,) in again] == [result.location for (result,) in told]


async def test_contents_that_a_document_announced_are_stored_at_the_first_attempt(importing, store, monkeypatch):
    begun, transaction = [], store.connection.transaction

    async def counted(attempt, **more):
        async def once(session):
            begun.append(session)
            return await attempt(session)

        return await transaction(once, **more)

    monkeypatch.setattr(store.connection, "transaction", counted)
    told = await importing().run(items(dossiers()))
    assert Counter(result.status for (result,) in told) == {201: 19 * len(HOLDERS)}
    assert len(begun) == 2  # the documents and all else, then the contents


async def test_a_run_leaves_nothing_for_the_collector(importing):
    def kept():
        return {id(one): one for one in gc.get_objects() if isinstance(one, Unit | Engine)}

    gc.collect()
    before = kept()  # by other tests
    gc.disable()
    try:
        assert len(await importing().run(items(dossiers()))) == 19 * len(HOLDERS)
        assert kept().keys() <= before.keys()
    finally:
        gc.enable()


async def test_the_order_does_not_matter_once_everything_has_come(importing):
    mixed_up = dossiers()
    random.Random(7).shuffle(mixed_up)
    for _ in range(4):
        told = await importing().run(items(mixed_up))
        statuses = Counter(result.status for (result,) in told)
        assert set(statuses) <= {201, 200, 404}
        if not statuses[404]:
            break
    assert not statuses[404] and statuses.total() == 19 * len(HOLDERS)


async def test_nothing_refers_to_what_could_not_be_stored(importing, store, monkeypatch):
    monkeypatch.setattr(engines, "GROUP", 2)
    engine = importing()
    Counting(engine.ledger, failing=1)
    one = [resource for resource in mixed.dossier(1) if resource["resourceType"] in ("Encounter", "Observation")][:4]
    told = [result for (result,) in await engine.run(items(one))]
    # Two stays of which none was stored, then what was observed during one of them.
    assert [result.status for result in told] == [503, 503, 404, 404]
    assert "Encounter/enc-1-0" in told[2].issues[0].diagnostics
    assert {row.type async for row in store.scan()} <= {"Patient", "AuditEvent"}


# --- whole patients in one Bundle ---


def whole(number: int, **changes: object) -> dict:
    """A transaction with the holder, those who treat him, and what they found."""
    about, doctor, role, stay = (f"urn:uuid:0000000{number}-0000-4000-8000-00000000000{place}" for place in range(4))
    status = {"status": "final", "code": {"text": "pouls"}, "valueQuantity": {"value": 61}}
    resources = [
        (about, {**mixed.holder(number), "id": f"whole-{number}", **changes}),
        (
            doctor,
            {"resourceType": "Practitioner", "identifier": [{"system": "urn:x-us", "value": "290"}], "name": [{"family": "SCHRÖDER"}]},
        ),
        (role, {"resourceType": "PractitionerRole", "practitioner": {"reference": doctor}}),
        ("urn:uuid:0", {"resourceType": "Organization", "name": "Hôpital Morvenal"}),
        (stay, {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": {"reference": about}}),
        ("", {"resourceType": "Observation", "subject": {"reference": about}, "encounter": {"reference": stay}, **status}),
    ]
    resources[-1][1]["performer"] = [{"reference": doctor}, {"reference": role}, {"reference": "urn:uuid:0"}]
    entries = [{"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}} for url, one in resources]
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{k: v for k, v in one.items() if v} for one in entries]}


async def rows_of(store) -> dict[str, dict]:
    return {f"{row.type}/{store.vault.seal_id(row.key)}": json.loads(row.body) async for row in store.scan()}


async def test_who_is_named_in_a_bundle_is_found_and_no_resource(importing, store):
    (told,) = await importing().run(items([whole(1)]))
    assert [result.status for result in told] == [200, 200, 200, 200, 201, 201], told
    rows = await rows_of(store)
    patient, stay, pulse = (told[place].location.partition("/_history")[0] for place in (0, 4, 5))
    assert rows[stay]["subject"] == {"reference": patient} and rows[patient]["resourceType"] == "Patient"
    assert rows[pulse]["subject"] == {"reference": patient} and rows[pulse]["encounter"] == {"reference": stay}
    known = {"system": "urn:x-us", "value": "290"}
    assert rows[pulse]["performer"] == [
        {"type": "Practitioner", "identifier": known, "display": "SCHRÖDER"},
        {"type": "PractitionerRole", "identifier": known},
        {"type": "Organization", "display": "Hôpital Morvenal"},
    ]
    assert not {name.partition("/")[0] for name in rows} & {"Practitioner", "PractitionerRole", "Organization"}
    # The same again is the same, and by the same import is answered as it was.
    assert await importing().run(items([whole(1)])) == [told]
    assert (await rows_of(store)).keys() == rows.keys()


async def test_a_bundle_of_people_alone_is_learnt(importing, store):
    people = whole(1)
    people["entry"] = people["entry"][:4]
    (told,) = await importing().run(items([people]))
    assert [result.status for result in told] == [200] * 4
    assert await importing().run(items([people])) == [told]
    assert {name.partition("/")[0] for name in await rows_of(store)} <= {"Patient", "AuditEvent"}


async def test_a_bundle_about_somebody_in_doubt_waits_whole_until_somebody_says_who_it_is(importing, store, data_dir):
    (told,) = await importing().run(items([whole(2, birthDate="1901-01-01")]))
    assert [(result.place, result.status) for result in told] == [("a.ndjson:1", 202)]
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")
    waits = [(key, held.names[0]) async for key, _, held in reviewing.waiting_things(context, RULES)]
    assert len(waits) == 2 and {row.type async for row in store.scan()} <= {"Patient", "AuditEvent"}
    (person,) = (key for key, name in waits if name == "Patient/whole-2")
    holder = next(iter([row async for row in store.scan() if row.type == "Patient"]))
    await reviewing.link(context, RULES, person, store.vault.seal_id(holder.key))
    replayed = [result async for result in reviewing.replay(context, RULES, "replay")]
    assert Counter(result.status for result in replayed) == {200: 4, 201: 2}
    assert [one async for one in reviewing.waiting_things(context, RULES)] == []


async def test_a_bundle_with_a_code_nobody_knows_waits_whole(importing, store, data_dir):
    local = {"coding": [{"system": "urn:x-local", "code": "CRX", "display": "Compte rendu"}]}
    sent = whole(1)
    kinds = {one["resourceType"]: one for one in mixed.dossier(1)}
    document, content = kinds["DocumentReference"], kinds["Binary"]
    document = {**document, "type": local, "subject": {"reference": sent["entry"][0]["fullUrl"]}}
    document["content"][0]["attachment"]["url"] = "urn:uuid:c"
    for url, one in (("urn:uuid:d", document), ("urn:uuid:c", content)):
        sent["entry"].append({"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}})
    (told,) = await importing().run(items([sent]))
    assert [(result.place, result.status) for result in told] == [("a.ndjson:1", 202)]
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")
    (waits,) = [held async for _, _, held in reviewing.waiting_things(context, RULES)]
    assert json.loads(waits.body)["type"] == "transaction" and waits.codes[0][1] == "urn:x-local|CRX"
    # Once somebody has said what it means, everything in it comes.
    meaning = RULES.maps | {"type": {"urn:x-local|CRX": Target("http://loinc.org", "11488-4", "Compte rendu de consultation")}}
    understood = msgspec.structs.replace(RULES, maps=meaning)
    replayed = [result async for result in reviewing.replay(context, understood, "replay")]
    assert Counter(result.status for result in replayed) == {200: 4, 201: 4}, replayed
    assert [one async for one in reviewing.waiting_things(context, understood)] == []


async def test_the_content_of_a_document_that_waits_waits_with_it(importing, store, data_dir):
    """Nothing is lost: it comes with the document, or after it, and is there once somebody has said what the code means."""
    local = {"coding": [{"system": "urn:x-local", "code": "CRY", "display": "Compte rendu"}]}
    sent = [one for number in HOLDERS[:2] for one in mixed.dossier(number) if one["resourceType"] in ("DocumentReference", "Binary")]
    sent = [{**one, "type": local} if one["resourceType"] == "DocumentReference" else one for one in sent]
    contents = [one for one in sent if one["resourceType"] == "Binary"]
    late = contents[1:]
    told = await importing().run(items([one for one in sent if one not in late]))
    assert {result.status for (result,) in told} == {202}
    told = await importing().run(items(late))
    assert {result.status for (result,) in told} == {202}, told
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")
    assert len([one async for one in reviewing.waiting_things(context, RULES)]) == len(sent)
    still = [result async for result in reviewing.replay(context, RULES, "replay")]
    assert Counter(result.status for result in still) == {202: len(sent)}
    meaning = RULES.maps | {"type": {"urn:x-local|CRY": Target("http://loinc.org", "11488-4", "Compte rendu de consultation")}}
    understood = msgspec.structs.replace(RULES, maps=meaning)
    replayed = [result async for result in reviewing.replay(context, understood, "replay")]
    assert Counter(result.status for result in replayed) == {201: len(sent)}, replayed
    assert [one async for one in reviewing.waiting_things(context, understood)] == []
    assert Counter([row.type async for row in store.scan()])["Binary"] == len(contents)


async def test_professionals_who_never_come_stay_names_once_nothing_more_comes(importing, store):
    """PDSm examples refer to professionals that no file brings: a document is not lost for that, and nobody gets a right by it."""
    role = {"reference": "PractitionerRole/nobody", "display": "Dr QUELQU'UN"}
    sent = [one for one in mixed.dossier(1) if one["resourceType"] == "Immunization"]
    sent[0] = {**sent[0], "performer": [{"actor": role}], "encounter": None}
    sent[0] = {name: value for name, value in sent[0].items() if value}
    ((first,),) = await importing().run(items(sent))
    assert first.status == 404 and "PractitionerRole/nobody" in first.issues[0].diagnostics
    ((told,),) = await importing().run(items(sent), last=True)
    assert told.status == 201 and "stays a name" in told.issues[0].diagnostics and told.issues[0].severity == "warning"
    stored = (await rows_of(store))[told.location.partition("/_history")[0]]
    identifier = {"system": f"{SID}import-source/other-host", "value": "PractitionerRole/nobody"}
    assert stored["performer"] == [{"actor": {"type": "PractitionerRole", "identifier": identifier, "display": "Dr QUELQU'UN"}}]
    # What belongs to a dossier is never made up.
    ((lost,),) = await importing().run(items([{**sent[0], "id": "i2", "encounter": {"reference": "Encounter/nothing"}}]), last=True)
    assert lost.status == 404 and "Encounter/nothing" in lost.issues[0].diagnostics


async def test_who_comes_beside_what_refers_to_him_is_found(importing, store):
    """In one run, stored in two transactions whoever they are: one for people, one for what is about them."""
    doctor = {"resourceType": "Practitioner", "id": "d", "identifier": [{"system": RPPS, "value": "10001234567"}]}
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/d"}}
    (sent,) = [one for one in mixed.dossier(1) if one["resourceType"] == "Immunization"]
    sent = {name: value for name, value in sent.items() if name != "encounter"}
    people = [{**doctor, "id": f"other-{number}"} for number in range(3)]
    engine = importing()
    counting = Counting(engine.ledger)
    told = await engine.run(items([doctor, role, *people, {**sent, "performer": [{"actor": {"reference": "PractitionerRole/r"}}]}]))
    assert [result.status for (result,) in told] == [200] * 5 + [201] and counting.sizes == [1]
    (body,) = [one for one in (await rows_of(store)).values() if one["resourceType"] == "Immunization"]
    assert body["performer"] == [{"actor": {"type": "PractitionerRole", "identifier": {"system": RPPS, "value": "10001234567"}}}]
    assert await importing().run(items([doctor, role])) == told[:2]


async def test_a_fhir_document_is_its_composition_and_its_octets(importing, store):
    holder = mixed.holder(1)
    doctor = {"resourceType": "Practitioner", "identifier": [{"system": RPPS, "value": "10001234567"}], "name": [{"family": "LESTRELIN"}]}
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "subject": {"reference": "urn:uuid:p"},
        "date": "2026-02-03T10:00:00+01:00",
        "author": [{"reference": "urn:uuid:d"}],
        "title": "Compte rendu",
        "confidentiality": "N",
    }
    parts = (("urn:uuid:c", composition), ("urn:uuid:p", holder), ("urn:uuid:d", doctor))
    entries = [{"fullUrl": url, "resource": one} for url, one in parts]
    identifier = {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:6f4d2f1c-7a55-4b8e-9a5e-0d7a2f0c0001"}
    sent = {"resourceType": "Bundle", "type": "document", "identifier": identifier, "timestamp": composition["date"], "entry": entries}
    (told,) = await importing().run(items([sent]))
    assert [result.status for result in told] == [200, 201, 201], told
    rows = await rows_of(store)
    document, content = (rows[told[place].location.partition("/_history")[0]] for place in (1, 2))
    assert document["masterIdentifier"] == identifier and document["type"]["coding"][0]["code"] == "11488-4"
    assert document["subject"]["reference"] == told[0].location.partition("/_history")[0] and document["description"] == "Compte rendu"
    assert document["author"][0]["identifier"] == {"system": RPPS, "value": "10001234567"}
    assert document["content"][0]["attachment"]["url"].endswith(content["id"]) and content["contentType"] == "application/fhir+json"
    assert json.loads(base64.b64decode(content["data"])) == sent
    assert [result.status for result in (await importing().run(items([sent])))[0]] == [200, 201, 201]
    ((told,),) = await importing().run(items([{**sent, "entry": entries[1:]}]))
    assert told.status == 422 and "Composition" in told.issues[0].diagnostics


# --- what a source PUTs in a transaction ---


def put(*resources: dict) -> dict:
    """A transaction as many systems export a patient: each resource under the id it has there."""
    entries = [
        {"fullUrl": f"http://there/{one['resourceType']}/{one['id']}", "resource": one}
        | {"request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def visit(number: int, version: str, **more: object) -> list[dict]:
    """A stay, and what was observed during it."""
    about = {"reference": f"Patient/{mixed.person(number)['id']}"}
    stay = {"resourceType": "Encounter", "id": f"stay-{number}", "status": "finished", "class": {"code": "AMB"}, "subject": about}
    pulse = {"resourceType": "Observation", "id": f"pulse-{number}", "status": "final", "code": {"text": "pouls"}, "subject": about}
    pulse |= {"encounter": {"reference": f"Encounter/{stay['id']}"}, "meta": {"versionId": version}, **more}
    return [stay, pulse]


async def test_what_is_put_in_a_transaction_is_known_by_its_id(importing, store):
    person = mixed.person(1)
    (told,) = await importing().run(items([put(*visit(1, "1"), person)]))
    assert [one.status for one in told] == [201, 201, 200]
    stay, pulse = (one.location.partition("/_history")[0] for one in told[:2])
    rows = await rows_of(store)
    assert (
        rows[pulse]["encounter"]["reference"] == stay and rows[pulse]["subject"]["reference"] == told[2].location.partition("/_history")[0]
    )
    # Alone, and in another transaction, it is the same; a new version is a correction, and all or nothing.
    ((alone,),) = await importing("two").run([Item("alone.ndjson:1", json.dumps(visit(1, "1")[0], separators=(",", ":")).encode(), 0)])
    assert (alone.status, alone.location) == (200, told[0].location)
    (again,) = await importing("two").run([Item("other.json", json.dumps(put(*visit(1, "1"))).encode(), 0)])
    assert [(one.status, one.location) for one in again] == [(200, one.location) for one in told[:2]]
    (changed,) = await importing().run(items([put(*visit(1, "2", valueInteger=61))]))
    assert [(one.status, one.location.partition("/_history")[0]) for one in changed] == [(200, stay), (200, pulse)]
    assert (await rows_of(store))[pulse]["valueInteger"] == 61
    (wrong,) = await importing().run(items([put(*visit(1, "2", valueInteger=62))]))
    assert [one.status for one in wrong] == [409]
    (torn,) = await importing().run(items([put(*visit(2, "1"), {"resourceType": "Observation", "id": "bad"})]))
    assert [one.status for one in torn] == [422]
    assert {one for one in await rows_of(store) if one.startswith(("Encounter", "Observation"))} == {stay, pulse}
    # The same run again answers as it did.
    (same,) = await importing().run(items([put(*visit(1, "1"), person)]))
    assert [(one.status, one.location) for one in same] == [(one.status, one.location) for one in told]


async def test_what_is_new_beside_a_document_that_came_before_is_not_lost(importing, store):
    about = {"reference": f"Patient/{mixed.person(1)['id']}"}
    document = next(one for one in mixed.dossier(1) if one["resourceType"] == "DocumentReference")
    document = {name: part for name, part in document.items() if name not in ("id", "context")} | {"subject": about}
    document["content"] = [{"attachment": {"contentType": "text/plain", "url": "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0001"}}]
    content = {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(b"octets").decode()}
    pulse = {"resourceType": "Observation", "status": "final", "code": {"text": "pouls"}, "subject": about}
    pulse["derivedFrom"] = [{"reference": "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0002"}]
    listed = [(content, 1), (document, 2), (pulse, 3)]

    def bundle(*some: tuple[dict, int]) -> dict:
        entries = [
            {
                "fullUrl": f"urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a000{place}",
                "resource": one,
                "request": {"method": "POST", "url": one["resourceType"]},
            }
            for one, place in some
        ]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    (first,) = await importing().run(items([bundle(*listed[:2])]))
    assert [one.status for one in first] == [201, 201]
    (told,) = await importing("two").run(items([bundle(*listed)]))
    assert [one.status for one in told] == [200, 200, 201]
    rows = await rows_of(store)
    assert [one.partition("/")[0] for one in rows].count("Binary") == 1
    assert rows[told[2].location.partition("/_history")[0]]["derivedFrom"] == [{"reference": first[1].location.partition("/_history")[0]}]


async def test_every_entry_of_a_transaction_is_told_of(importing, store):
    """Of a replacement as ITI-65 has it too, where one entry marks the former document as superseded."""
    about = {"reference": f"Patient/{mixed.person(1)['id']}"}
    sent = next(one for one in mixed.dossier(1) if one["resourceType"] == "DocumentReference")
    first = {**sent, "subject": about, "content": [{"attachment": {"contentType": "text/plain", "data": base64.b64encode(b"1").decode()}}]}
    first.pop("context", None)
    assert [result.status for (result,) in await importing().run(items([first]))] == [201]
    newer = {name: part for name, part in first.items() if name != "id"} | {"masterIdentifier": {"value": "urn:oid:1.2.3.4.5.6"}}
    newer["relatesTo"] = [{"code": "replaces", "target": {"reference": f"DocumentReference/{first['id']}"}}]
    patch = base64.b64encode(b'[{"op":"replace","path":"/status","value":"superseded"}]').decode()
    marked = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": patch}
    entries = [
        {"fullUrl": "urn:uuid:1", "resource": newer, "request": {"method": "POST", "url": "DocumentReference"}},
        {"resource": marked, "request": {"method": "PATCH", "url": f"DocumentReference/{first['id']}"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    for _ in range(2):
        (told,) = await importing().run(items([bundle]))
        assert [(one.place.rpartition(" ")[2], one.status) for one in told] == [("entry[0]", 201), ("entry[1]", 200)]
    documents = [one for one in (await rows_of(store)).values() if one["resourceType"] == "DocumentReference"]
    assert sorted(one["status"] for one in documents) == ["current", "superseded"]


async def test_who_is_named_by_his_number_need_not_come_himself(importing, store):
    """A conditional reference, as transactions name professionals and structures that the receiver is to know."""
    sent = whole(1)
    (observed,) = [one["resource"] for one in sent["entry"] if one["resource"]["resourceType"] == "Observation"]
    observed["performer"] = [
        {"reference": f"Practitioner?identifier={RPPS}|10001234567"},
        {"reference": "Organization?identifier=https%3A%2F%2Ffiness.esante.gouv.fr%7C750000001"},
    ]
    (told,) = await importing().run(items([sent]))
    assert {one.status for one in told} == {200, 201}
    body = next(one for one in (await rows_of(store)).values() if one["resourceType"] == "Observation")
    numbers = [("Practitioner", RPPS, "10001234567"), ("Organization", "https://finess.esante.gouv.fr", "750000001")]
    assert [(one["type"], one["identifier"]["system"], one["identifier"]["value"]) for one in body["performer"]] == numbers
    observed["performer"] = [{"reference": "Practitioner?name=SCHRÖDER"}]
    (told,) = await importing().run(items([sent]))
    assert [one.status for one in told] == [400] and "one identifier" in told[0].issues[0].diagnostics


@pytest.mark.parametrize("size", [250, 1])
async def test_versions_keep_their_order_when_the_first_one_waits_for_something(importing, store, data_dir, monkeypatch, size):
    """It refers to what comes later: what was said of it afterwards is what counts, in one run of entries or in several."""
    monkeypatch.setattr(importer, "RUN", size)
    stay, first = visit(1, "1", valueInteger=61)
    second = {name: part for name, part in first.items() if name != "encounter"} | {"meta": {"versionId": "2"}, "valueInteger": 62}
    listed, told = items([first, second, stay, mixed.person(1)]), []
    context = context_of(store, Settings(data=data_dir), RULES, "http://localhost/fhir")
    work = importer.Importer(Here(context, RULES, "job"), told.append, lambda size: None, people_first=True)
    counts = await work.run(lambda: iter(listed))
    assert (counts.accepted, counts.refused) == (4, 0)
    by_place = {one.place: (one.status, one.location.partition("/_history")[0]) for one in told}
    assert by_place["a.ndjson:1"][0] == 201 and by_place["a.ndjson:2"] == (200, by_place["a.ndjson:1"][1])
    assert (await rows_of(store))[by_place["a.ndjson:1"][1]]["valueInteger"] == 62
    # What nothing comes for holds nobody up for ever.
    alone = items([first | {"id": "b", "encounter": {"reference": "Encounter/none"}}, second | {"id": "b"}])
    counts = await importer.Importer(Here(context, RULES, "two"), told.append, lambda size: None, people_first=True).run(
        lambda: iter(alone)
    )
    assert (counts.accepted, counts.refused) == (1, 1)
