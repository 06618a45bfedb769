"""What every act leaves in the journal, over real HTTP with real tokens: what, who, for whom, why, by which token, in which request.

R1111-43 CSP; IHE BALP https://profiles.ihe.net/ITI/BALP/ ; one event for each patient, each version that left.
"""

import asyncio
import base64
import itertools
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from fhir_dmp.store.resources import Store
from tests.access.conftest import DATABASE
from tests.access.test_deposits import submission
from tests.access.world import FINESS, VISIBILITY, Asker, Dossier, World, care_team, consent, document, listed
from tests.serving import run

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
MASK = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
REFERENCE = re.compile(r"^(\w+)/([A-Za-z0-9.-]+)(/_history/[A-Za-z0-9.-]+)?$")
_requests = itertools.count(1)


class Scene(NamedTuple):
    """A dossier with two documents of its médecin traitant, one of them with a list; bob has the holder's Consent; none of all others."""

    world: World
    dossier: Dossier
    anna: Asker
    bob: Asker
    stranger: Asker
    holder: Asker
    first: dict
    other: Dossier
    stored: Callable[[str], list[dict]]

    @property
    def one(self) -> str:
        return f"DocumentReference/{self.first['id']}"


@pytest.fixture(scope="module")
def stored(mongod, access_server):
    """All traces of a dossier, by its number, as they are stored."""
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(mongod.uri, DATABASE, data_dir=access_server.data))

        async def read(patient: str) -> list[dict]:
            number = store.vault.dossier_of_patient(patient) if patient else 0
            return [json.loads(row.body) async for row in store.scan(types=["AuditEvent"], dossiers=[number])]

        yield lambda patient: runner.run(read(patient))
        runner.run(store.close())


@pytest.fixture(scope="module")
def scene(world, stored) -> Scene:
    anna, bob = world.professional(purpose="TREAT", specialty="SM54"), world.professional(purpose="TREAT")
    dossier, other = world.open(traitant=anna, by=anna), world.open(traitant=anna, by=anna)
    world.consent(dossier, "access", bob)
    first = world.deposit(dossier, anna)
    assert anna.post("", submission(dossier, anna, document(dossier, anna))).status_code == 200
    world.deposit(other, anna)
    return Scene(world, dossier, anna, bob, world.professional(), world.holder(dossier), first, other, stored)


def asked(asker: Asker, call: Callable[[Asker], httpx.Response]) -> tuple[httpx.Response, str]:
    """The answer to one call, and the id its request carried."""
    name = f"trace-{os.getpid()}-{next(_requests)}"
    asker.extra = {"x-request-id": name}
    try:
        return call(asker), name
    finally:
        asker.extra = {}


def told(scene: Scene, name: str, dossier: Dossier | None = None) -> list[dict]:
    """Traces of a request in a dossier, as stored; its médecin traitant finds as many by the id of the request."""
    dossier = dossier or scene.dossier
    found = [one for one in scene.stored(dossier.id) if f'"{name}"' in json.dumps(one)]
    assert len(listed(scene.anna, dossier, "AuditEvent", **{"entity:identifier": name})) == len(found)
    return found


def codes(event: dict) -> list[str]:
    return [one["code"] for one in event["subtype"]]


def named(event: dict) -> set[str]:
    """References of an event's entities, but for the patient's own."""
    found = {(one.get("what") or {}).get("reference") for one in event["entity"] if one.get("role", {}).get("code") == "4"}
    return found - {None}


def words(event: dict) -> list[str]:
    return [base64.b64decode(one["query"]).decode() for one in event["entity"] if "query" in one]


def well_told(scene: Scene, event: dict, asker: Asker, name: str) -> None:
    """Client, server, user, organisation, token, request and patient stand in every trace."""
    machines = [one for one in event["agent"] if "network" in one]
    assert len(machines) == 2 and all(one["network"]["address"] for one in machines)
    (user,) = [one for one in event["agent"] if one.get("role")]
    assert user["requestor"] is True and [one["requestor"] for one in event["agent"]].count(True) == 1
    claims = json.loads(base64.urlsafe_b64decode(asker.token.split(".")[1] + "=="))
    assert user["policy"] == [f"urn:ietf:params:oauth:jti:{claims['jti']}"]
    if asker.rpps:
        assert user["who"]["identifier"] == {"system": IDNPS, "value": asker.idnps}
        (structure,) = [one for one in event["agent"] if one["who"].get("type") == "Organization"]
        assert structure["who"]["identifier"]["value"] == f"1{asker.organization}" and FINESS
    if asker in (scene.anna, scene.bob):
        assert [one["coding"][0]["code"] for one in user["purposeOfUse"]] == ["TREAT"]
    assert [one["what"]["identifier"]["value"] for one in event["entity"] if one["type"]["code"] == "XrequestId"] == [name]
    assert f"Patient/{scene.dossier.id}" in str(event["entity"])


# Reading: (who, path, kind). `{p}` dossier, `{d}` document, `{v}` its version, `{l}` list, `{b}` content.
READS = {
    "read": ("bob", "{d}", "read"),
    "head": ("bob", "HEAD {d}", "read"),
    "vread": ("bob", "{d}/_history/{v}", "vread"),
    "history": ("bob", "{d}/_history", "history-instance"),
    "patient": ("bob", "Patient/{p}", "read"),
    "content": ("bob", "{b}", "read"),
    "list": ("bob", "List?patient={p}&_include=List:item", "search"),
    "search": ("bob", "DocumentReference?patient={p}", "search"),
    "count": ("bob", "DocumentReference?patient={p}&_summary=count", "search"),
    "nothing found": ("bob", "DocumentReference?patient={p}&date=1900", "search"),
    "compartment": ("bob", "Patient/{p}/DocumentReference", "search"),
    "everything": ("bob", "Patient/{p}/$everything", "operation"),
    "summary": ("bob", "Patient/{p}/$summary", "operation"),
    "docref": ("bob", "DocumentReference/$docref?patient={p}", "operation"),
    "meta": ("bob", "{d}/$meta", "operation"),
    "verify": ("bob", "{d}/$verify", "operation"),
    "explained": ("bob", "Patient/{p}/$explain-access?document={d}", "operation"),
    "access journal": ("holder", "Patient/{p}/$access-journal", "operation"),
    "access list": ("holder", "Patient/{p}/$access-list", "operation"),
    "own traces": ("bob", "AuditEvent?patient={p}&_count=5", "search"),
    "the holder reads": ("holder", "{d}", "read"),
    "the button": ("stranger", "Patient?identifier={i}", "search"),
    "physician under a ticket": ("physician", "{d}", "read"),
}


def filled(scene: Scene, path: str) -> str:
    attachment = scene.first["content"][0]["attachment"]["url"]
    given = {"p": scene.dossier.id, "d": scene.one, "v": scene.first["meta"]["versionId"], "b": attachment}
    return path.format(**given, i=f"urn:oid:1.2.250.1.213.1.4.10|{scene.dossier.ins}")


@pytest.mark.parametrize("name", READS)
def test_what_is_read_is_told_with_each_version(scene, name):
    who, path, kind = READS[name]
    asker = scene.world.operator("physician", "T 7/é") if who == "physician" else getattr(scene, who)
    method, _, address = filled(scene, path).rpartition(" ")
    answer, request = asked(asker, lambda one: one.send(method or "GET", address))
    assert answer.status_code == 200, answer.text
    (event,) = told(scene, request)
    assert (codes(event), event["outcome"]) == ([kind], "0")
    if who == "physician":
        (user,) = [one for one in event["agent"] if one.get("role")]
        assert user["policy"].pop() == "urn:fhir-dmp:ticket:T%207%2F%C3%A9"
    well_told(scene, event, asker, request)
    assert bool(words(event)) == (kind not in ("read", "vread", "history-instance"))
    # A journal is told as the query that asked for it, else each look at it would be as long as itself.
    left = {one for one in shown_in(answer) if not one.startswith("AuditEvent/")}
    assert left <= {one.rpartition("/_history/")[0] or one for one in named(event)}
    assert all("/_history/" in one for one in named(event)), named(event)


def shown_in(answer: httpx.Response) -> set[str]:
    """Every resource of this server in an answer, "Type/id"."""
    if "json" not in answer.headers.get("content-type", "") or not answer.content:
        return set()
    value = answer.json()
    found = [value, *(one.get("resource") or {} for one in value.get("entry") or ())]
    own = ("Bundle", "OperationOutcome", "Parameters", "Composition")
    return {f"{one['resourceType']}/{one['id']}" for one in found if one.get("id") and one["resourceType"] not in own}


def test_a_bundle_of_reads_is_told_for_each_patient_with_what_was_asked_of_him(scene):
    """What was asked about one patient is not told in the dossier of another."""
    paths = [f"DocumentReference?patient={one.id}" for one in (scene.dossier, scene.other)] + [scene.one]
    entries = [{"request": {"method": "GET", "url": path}} for path in (*paths, f"DocumentReference/{'a' * 26}")]
    answer, request = asked(scene.anna, lambda one: one.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}))
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["200", "200", "200", "404"]
    for dossier, kinds, path in ((scene.dossier, ["batch", "read"], paths[0]), (scene.other, ["batch"], paths[1])):
        events = sorted(told(scene, request, dossier), key=codes)
        assert [codes(one) for one in events] == [[kind] for kind in kinds] and {one["outcome"] for one in events} == {"0"}
        assert words(events[0]) == [f"GET {path}"]
        assert all(named(one) and (scene.other.id not in str(one) or dossier is scene.other) for one in events)


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("beside", ["write", "read"])
def test_what_a_bundle_counts_is_told_to_whom_it_counts(scene, kind, beside):
    """Beside what it writes or reads of another patient, and though nothing of it leaves but a number."""
    path = f"DocumentReference?patient={scene.other.id}&_summary=count"
    first = {"request": {"method": "GET", "url": scene.one}}
    if beside == "write":
        first = {"request": {"method": "POST", "url": "DocumentReference"}, "resource": document(scene.dossier, scene.anna)}
    entries = [first, {"request": {"method": "GET", "url": path}}]
    answer, request = asked(scene.anna, lambda one: one.post("", {"resourceType": "Bundle", "type": kind, "entry": entries}))
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["201" if beside == "write" else "200", "200"], answer.text
    (event,) = told(scene, request, scene.other)
    assert (codes(event), words(event), named(event)) == ([kind], [f"GET {path}"], set())
    assert len(told(scene, request)) == 1


def test_of_those_who_send_the_same_at_once_each_is_traced(scene):
    value = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.7.{os.getpid()}"}
    sent = {**document(scene.dossier, scene.anna), "masterIdentifier": value}
    entry = {"fullUrl": f"urn:uuid:{uuid4()}", "request": {"method": "POST", "url": "DocumentReference"}, "resource": sent}

    def at_once(one: Asker) -> list[httpx.Response]:
        with ThreadPoolExecutor(6) as crowd:
            return list(crowd.map(lambda _: one.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}), range(6)))

    answers, request = asked(scene.anna, at_once)
    statuses = sorted(answer.json()["entry"][0]["response"]["status"][:3] for answer in answers)
    assert statuses == ["200"] * 5 + ["201"]
    assert len(told(scene, request)) >= 6


# Writing: what is done, by whom, the codes of its trace; how often the answer must be a success.
def labelled(scene: Scene, op: str) -> Callable[[Asker], httpx.Response]:
    def call(asker: Asker) -> httpx.Response:
        places = asker.get(scene.one).json()["securityLabel"]
        at = next((number for number, one in enumerate(places) if "MASQUE_PS" in str(one)), "-")
        operation = {"op": op, "path": f"/securityLabel/{at}", **({"value": MASK} if op == "add" else {})}
        return asker.patch(scene.one, [operation])

    return call


def withdrawn(scene: Scene) -> Callable[[Asker], httpx.Response]:
    """Another document of the asker's own is withdrawn."""

    def call(asker: Asker) -> httpx.Response:
        extra, asker.extra = asker.extra, {}
        made = scene.world.deposit(scene.dossier, asker)
        asker.extra = extra
        return asker.patch(f"DocumentReference/{made['id']}", [{"op": "replace", "path": "/status", "value": "entered-in-error"}])

    return call


WRITES: dict[str, tuple[str, Callable[[Scene], Callable[[Asker], httpx.Response]], list[str]]] = {
    "deposit": ("anna", lambda s: lambda one: one.post("DocumentReference", document(s.dossier, one)), ["create"]),
    "submission": ("anna", lambda s: lambda one: one.post("", submission(s.dossier, one, document(s.dossier, one))), ["create"]),
    "withdrawal": ("anna", withdrawn, ["patch"]),
    "mask": ("holder", lambda s: labelled(s, "add"), ["patch", "mask"]),
    "unmask": ("holder", lambda s: labelled(s, "remove"), ["patch", "unmask"]),
    "block": ("holder", lambda s: lambda one: one.post("Consent", consent(s.dossier, "block", s.stranger)), ["update", "consent"]),
    "care team": ("holder", lambda s: lambda one: one.post("CareTeam", care_team(s.dossier, s.bob)), ["create"]),
    "identity": ("holder", lambda s: lambda one: one.put(s.dossier.path, one.get(s.dossier.path).json()), ["update"]),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_is_told_with_it(scene, name):
    who, call, expected = WRITES[name]
    asker = getattr(scene, who)
    answer, request = asked(asker, call(scene))
    assert answer.status_code in (200, 201), answer.text
    events = [one for one in told(scene, request) if codes(one) == expected]
    assert events, [codes(one) for one in told(scene, request)]
    for event in events:
        assert event["outcome"] == "0" and named(event)
        well_told(scene, event, asker, request)
    if name in ("mask", "unmask"):
        (entity,) = [one for one in events[0]["entity"] if "detail" in one]
        labels = {one["type"]: one["valueString"] for one in entity["detail"]}
        hidden, plain = ("label-after", "label-before") if name == "mask" else ("label-before", "label-after")
        assert "MASQUE_PS" in labels[hidden] and "MASQUE_PS" not in labels[plain]


REFUSALS = {
    "a dossier that is not his": ("stranger", "Patient/{p}", 403),
    "a search there": ("stranger", "DocumentReference?patient={p}", 403),
    "a document there": ("stranger", "{d}", 404),
    "an operation there": ("bob", "Patient/{p}/$access-list", 403),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_told_as_a_security_alert(scene, name):
    who, path, status = REFUSALS[name]
    asker = getattr(scene, who)
    answer, request = asked(asker, lambda one: one.get(filled(scene, path)))
    assert answer.status_code == status
    (event,) = told(scene, request)
    assert (event["type"]["code"], codes(event), event["outcome"]) == ("110113", ["AuthZ-Consent"], "8")
    assert event["outcomeDesc"].startswith(str(status)) and words(event)
    well_told(scene, event, asker, request)


def test_of_a_long_request_that_is_refused_the_beginning_is_told(scene):
    answer, request = asked(scene.stranger, lambda one: one.get(f"{scene.one}?x={'y' * 12_000}"))
    assert answer.status_code == 404
    (event,) = told(scene, request)
    assert scene.one in words(event)[0] and len(json.dumps(event)) < 10_000


def test_a_fault_of_the_request_is_told_as_its_own(scene):
    answer, request = asked(scene.bob, lambda one: one.get(f"DocumentReference?patient={scene.dossier.id}&nosuch=1"))
    assert answer.status_code == 400
    events = told(scene, request)
    assert [(codes(one), one["outcome"]) for one in events] in ([], [(["search"], "4")])


def test_a_broken_glass_is_told_and_all_that_is_read_through_it(scene):
    emergency = scene.world.professional(purpose="TREAT")
    answer, request = asked(emergency, lambda one: one.run(f"{scene.dossier.path}/$break-glass", justification="patient inconscient"))
    assert answer.status_code == 200
    events = [one for one in told(scene, request) if codes(one) == ["110127", "AuthZ-Consent"]]
    assert [one["outcome"] for one in events] == ["0"] and "justification=patient inconscient" in words(events[0])[0]
    answer, request = asked(emergency, lambda one: one.get(scene.one))
    assert answer.status_code == 200
    (event,) = told(scene, request)
    (user,) = [one for one in event["agent"] if one.get("role")]
    assert [one["coding"][0]["code"] for one in user["purposeOfUse"]] == ["BTG"]


def test_acts_of_the_host_are_told_outside_of_all_dossiers(mongod, access_server, world, stored, tmp_path):
    """Keys, backups, exports in bulk: what names no patient."""
    options = ("--data", str(access_server.data), "--mongodb-uri", mongod.uri)
    environment = {"FHIR_DMP_DATABASE": DATABASE}
    for command in (("keys", "rotate", "--seals", "ES256"), ("backup", str(tmp_path / "copy"))):
        done = run(*command, *options, environment=environment)
        assert done.returncode == 0, done.stderr
    answer, request = asked(world.operator(), lambda one: one.get("$export?_type=Organization", prefer="respond-async"))
    assert answer.status_code == 202, answer.text
    events = stored("")
    assert ["keys rotate --seals ES256"] in [words(one) for one in events if codes(one) == ["key"]]
    assert [one for one in events if codes(one) == ["backup"]]
    (export,) = [one for one in events if codes(one) == ["disclose"] and request in str(one)]
    assert words(export) == ["$export?_type=Organization"]
