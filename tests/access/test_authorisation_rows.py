"""The attack classes B07 to B24, one test a row, over real HTTP. access-rules 3 and 4; https://www.rfc-editor.org/rfc/rfc9700

B22 and B24 are asked of a host in this process, whose clock the test sets. B01 to B06 and B10 are with the tests of tokens.
"""

import os
import socket
import time
from datetime import date, datetime

import pytest
from pymongo import MongoClient

from fhir_dmp.consent.law import LAW
from fhir_dmp.dmp.paris import midnight_ms
from fhir_dmp.fhir.instants import MINUTE, to_instant
from tests.access import world as making
from tests.access.world import NURSE, VISIBILITY, listed, refused
from tests.worlds import people
from tests.worlds.hosting import Call

JSON_PATCH = "application/json-patch+json"
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


def labels(by, document) -> list[str]:
    found = by.get(f"DocumentReference/{document['id']}").json()
    return sorted(coding["code"] for concept in found["securityLabel"] for coding in concept["coding"])


@pytest.fixture
def opened(world):
    """(dossier, médecin traitant, holder, an author without other rights)"""
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    return dossier, traitant, world.holder(dossier), world.professional()


def test_b07_what_a_body_says_of_the_server_is_not_believed(world, opened):
    dossier, _, _, author = opened
    meta = {"versionId": "1", "lastUpdated": "2001-01-01T00:00:00Z"}
    labelled = {**meta, "security": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
    assert author.post("DocumentReference", {**making.document(dossier, author), "meta": labelled}).status_code == 422
    found = world.deposit(dossier, author, meta=meta, id="mine")
    assert found["id"] != "mine" and found["meta"]["versionId"] != "1" and found["meta"]["lastUpdated"] > "2026"
    another = world.professional()
    answer = author.post("DocumentReference", {**making.document(dossier, author), "author": [another.reference]})
    assert answer.status_code == 422
    mine = {**making.document(dossier, author), "author": [author.reference], "authenticator": another.reference}
    assert author.post("DocumentReference", mine).status_code in (201, 422)
    assert refused(another.get(f"DocumentReference?patient={dossier.id}"))


def test_b08_labels_are_a_set(world, opened):
    dossier, traitant, holder, author = opened
    document = world.deposit(dossier, author, labels=("INVISIBLE_PATIENT",))
    path = f"DocumentReference/{document['id']}"
    assert labels(traitant, document) == ["INVISIBLE_PATIENT", "N"]
    for patch in (
        [{"op": "remove", "path": "/securityLabel/0"}],
        [{"op": "replace", "path": "/securityLabel/0", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}],
        [{"op": "replace", "path": "/securityLabel", "value": []}],
    ):
        assert traitant.patch(path, patch).status_code in (200, 400, 403, 422)
        assert "N" in labels(author, document)
        assert "MASQUE_PS" not in labels(traitant, document)
    visible = world.deposit(dossier, author)
    assert holder.patch(f"DocumentReference/{visible['id']}", MASK).status_code == 200
    pdsm = [{"op": "replace", "path": "/securityLabel/0", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
    holder.patch(f"DocumentReference/{visible['id']}", pdsm)
    assert {"MASQUE_PS", "N"} <= set(labels(holder, visible))


def test_b09_nobody_else_unmasks_or_reads(world):
    traitant, author, secret = world.professional(), world.professional(), world.professional(secret_session=True)
    dossier = world.open(age=15, traitant=traitant, people=("MTH", "NOK"))
    parent = world.representative(dossier, dossier.people["MTH"])
    document = world.deposit(dossier, author)
    path = f"DocumentReference/{document['id']}"
    assert parent.patch(path, MASK).status_code == 200
    where = "DocumentReference.securityLabel.where(coding.code = 'MASQUE_PS')"
    parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": where}]
    unmask = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    assert refused(traitant.patch(path, unmask))
    # Of a mask that he does not see the author removes nothing, as if there were none.
    assert author.patch(path, unmask).status_code == 200
    assert "MASQUE_PS" in labels(traitant, document)
    hidden = world.deposit(dossier, secret)
    assert parent.get(f"DocumentReference/{hidden['id']}").status_code == 404
    mandate = making.consent(
        dossier,
        "mandate",
        {"reference": f"RelatedPerson/{dossier.people['NOK']}"},
        period={"start": making.day(), "end": making.day(days=90)},
    )
    world.write(parent, mandate)
    mandataire = world.mandataire(dossier, dossier.people["NOK"])
    assert mandataire.get(path).status_code == 404 and refused(mandataire.get(f"DocumentReference?patient={dossier.id}"))
    assert mandataire.patch(path, unmask).status_code == 404


@pytest.mark.parametrize(("samu", "glass"), [(True, False), (False, True)])
def test_b11_the_two_oppositions_are_independent(world, samu, glass):
    dossier = world.open(traitant=world.professional(), emergencyRegulation=samu, emergencyBreakGlass=glass)
    regulator = world.professional(purpose="ETREAT", regulation=True)
    breaker = world.professional()
    assert (regulator.get(f"DocumentReference?patient={dossier.id}").status_code == 200) == samu
    answer = breaker.run(f"{dossier.path}/$break-glass", justification="coma")
    assert answer.status_code == (200 if glass else 403)


def test_b12_the_glass_is_not_broken_by_anybody_for_nothing(world, opened):
    dossier, traitant, _, author = opened
    breaks = f"{dossier.path}/$break-glass"
    assert author.run(breaks, justification="  ").status_code == 422
    assert world.professional(profession=NURSE).run(breaks, justification="coma").status_code == 403
    assert traitant.run(breaks, justification="coma").status_code == 409


def test_b13_a_certificate_alone_deposits_and_reads_nothing(world, opened):
    dossier, _, _, author = opened
    structure = world.structure()
    document = {**making.document(dossier, structure), "author": [structure.reference]}
    stored = structure.post("DocumentReference", document)
    assert stored.status_code == 201
    for path in (
        f"DocumentReference?patient={dossier.id}",
        dossier.path,
        f"{dossier.path}/$everything",
        f"AuditEvent?patient={dossier.id}",
    ):
        assert refused(structure.get(path)), path
    assert structure.get(f"DocumentReference/{stored.json()['id']}").status_code == 404
    assert structure.get(f"DocumentReference/{world.deposit(dossier, author)['id']}").status_code == 404


def test_b14_staff_reads_nothing(world, opened, mongod):
    dossier, _, _, author = opened
    words = f"phrase {making.number()}"
    document = world.deposit(dossier, author, text=words, description=words)
    for staff in (
        world.operator("admin"),
        world.operator("physician"),
        world.support(1),
        world.support(2),
        world.host(),
        world.feed(),
    ):
        assert staff.get(f"DocumentReference/{document['id']}").status_code == 404
        assert refused(staff.get(f"DocumentReference?patient={dossier.id}"))
    with MongoClient(mongod.uri) as client:
        database = client[os.environ.get("FHIR_DMP_DATABASE", f"access_{os.getpid()}")]
        assert database["resources"].estimated_document_count() > 0
        for name in database.list_collection_names():
            for raw in database[name].find().limit(3000):
                assert words not in str(raw) and dossier.ins not in str(raw)


@pytest.mark.parametrize("sector", sorted(LAW.never_served_sectors))
def test_b15_insurers_and_employers_never(world, opened, sector):
    dossier, _, _, _ = opened
    insurer = world.professional(sector=sector)
    answer = world.holder(dossier).post("Consent", making.consent(dossier, "access", insurer))
    assert answer.status_code in (201, 403, 422)
    assert refused(insurer.get(f"DocumentReference?patient={dossier.id}"))
    assert insurer.run(f"{dossier.path}/$break-glass", justification="coma").status_code == 403


class Trap:
    """A port on which nobody must call."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.5)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        return self

    def __exit__(self, *exception) -> None:
        self.socket.close()

    def called(self) -> bool:
        try:
            self.socket.accept()[0].close()
        except TimeoutError:
            return False
        return True


def test_b16_no_channel_leads_out(world, opened):
    dossier, traitant, holder, _ = opened
    with Trap() as trap:
        channel = {"type": "rest-hook", "endpoint": trap.url, "payload": "application/fhir+json"}
        criteria = f"DocumentReference?patient={dossier.id}"
        subscription = {"resourceType": "Subscription", "status": "requested", "reason": "x", "criteria": criteria, "channel": channel}
        for asker in (traitant, holder, world.operator("admin")):
            assert 400 <= asker.post("Subscription", subscription).status_code < 500
        world.deposit(dossier, traitant)
        assert not trap.called()


def test_b17_no_address_is_fetched(world, opened):
    dossier, _, _, author = opened
    with Trap() as trap:
        value = making.document(dossier, author)
        value["content"][0]["attachment"] = {"contentType": "text/plain", "url": f"{trap.url}/x"}
        value["meta"] = {"profile": [f"{trap.url}/StructureDefinition/x"]}
        value["context"] = {"related": [{"reference": f"{trap.url}/fhir/DocumentReference/x"}]}
        assert author.post("DocumentReference", value).status_code in (201, 422)
        author.get(f"DocumentReference?patient={dossier.id}&type:in={trap.url}/ValueSet/x")
        author.post("DocumentReference/$validate", value)
        assert not trap.called()


@pytest.mark.parametrize(
    "id",
    ["..%2f..", "..", "%00", "a" * 65, "1/../2", "%EF%BC%91", "%D9%A1", "a%0Ab", "$ne", "%7B%22$gt%22:%22%22%7D", "a;b", "a%20b", "*"],
)
@pytest.mark.parametrize("type_name", ["DocumentReference", "Binary", "Patient"])
def test_b18_ids_of_another_alphabet(world, opened, type_name, id):
    for method in ("GET", "DELETE"):
        answer = opened[1].send(method, f"{type_name}/{id}")
        assert answer.status_code in (400, 403, 404, 405), answer.text


@pytest.mark.parametrize(
    "query",
    [
        "patient[$ne]=x",
        "patient={here}&description[$regex]=^a",
        "patient={here}&description=%7B%22$gt%22:%22%22%7D",
        "patient={here}&$where=1",
        "patient={here}&type=$ne",
        "patient={here}&_id[$in]=x",
        "patient[$gt]=",
    ],
)
def test_b19_operators_never_reach_the_database(world, opened, query):
    dossier, traitant, _, author = opened
    world.deposit(dossier, author)
    answer = traitant.get(f"DocumentReference?{query.format(here=dossier.id)}")
    assert answer.status_code in (400, 403) or answer.json()["total"] == 0


def test_b19_names_of_elements_are_no_operators(world, opened):
    dossier, traitant, _, author = opened
    extension = [{"url": "$where", "valueString": "this.a.b\x09$ne"}, {"url": "a.b.$set", "valueString": "x"}]
    answer = author.post("DocumentReference", {**making.document(dossier, author), "extension": extension})
    assert answer.status_code in (201, 422)
    if answer.status_code == 201:
        assert traitant.get(f"DocumentReference/{answer.json()['id']}").json()["extension"] == extension
    body = {**making.document(dossier, author), "$where": "sleep(1000)"}
    assert author.post("DocumentReference", body).status_code in (400, 422)


def test_b20_what_is_looked_for_is_no_pattern(world, opened):
    dossier, traitant, _, author = opened
    world.deposit(dossier, author, description="a" * 60 + "!")
    for text in ("(a%2B)%2B$", ".*", "a{60}", "(a|a)*b"):
        begun = time.monotonic()
        answer = traitant.get(f"DocumentReference?patient={dossier.id}&description:contains={text}")
        assert answer.status_code == 200 and answer.json()["total"] == 0
        assert time.monotonic() - begun < 5
    assert traitant.get(f"DocumentReference?patient={dossier.id}&description:contains=aaa").json()["total"] == 1


def test_b21_a_minors_secret_in_no_channel(world):
    traitant, secret = world.professional(), world.professional(secret_session=True)
    dossier = world.open(age=15, traitant=traitant, people=("MTH",))
    parent = world.representative(dossier, dossier.people["MTH"])
    known = world.deposit(dossier, traitant)
    hidden = world.deposit(dossier, secret, description="secret")
    secret.get(f"DocumentReference/{hidden['id']}")
    secret.get(f"DocumentReference?patient={dossier.id}")
    citing = world.deposit(dossier, traitant, context={"related": [{"reference": f"DocumentReference/{hidden['id']}"}]})
    paths = [f"{dossier.path}/$everything?_count=1000", f"{dossier.path}/$access-journal", f"DocumentReference/{citing['id']}"]
    paths += [f"{name}?patient={dossier.id}&_count=1000" for name in ("AuditEvent", "DocumentReference", "Communication", "List")]
    for path in paths:
        text = parent.get(path).text
        assert known["id"] in text or "AuditEvent" not in path
        assert hidden["id"] not in text and "secret" not in text, path
        assert secret.idnps not in text and secret.rpps not in text, path
    assert hidden["id"] in traitant.get(paths[0]).text


# ---- titles, by the clock of a host in this process


class Family:
    """A dossier and those around the holder, by the host's clock. related: codes of RelatedPersons, or whole ones."""

    def __init__(self, runner, host, birth: date, *related: object) -> None:
        self.runner, self.host, self.number = runner, host, making.number()
        self.cast = people.professionals(host)
        value = {
            **making.patient(making.new_ins()),
            "birthDate": birth.isoformat(),
            "generalPractitioner": [self.cast["traitant"].reference],
        }
        persons = [making.related(one) if isinstance(one, str) else one for one in related]
        body = making.parameters(patient=value, evidence="signed-form", relatedPerson=persons)
        answer = self.send("traitant", "POST", "Patient/$open", body)
        assert answer.status == 201, answer
        self.id = answer.value()["id"]
        self.path = f"Patient/{self.id}"
        found = self.send("traitant", "GET", f"RelatedPerson?patient={self.id}").value().get("entry", ())
        self.related = {one["resource"]["relationship"][0]["coding"][0]["code"]: one["resource"]["id"] for one in found}

    def send(self, by: str, method: str, path: str, body: object = None):
        self.number += 1
        self.host.moment(f"family {self.number} {making.number()}".encode(), self.host.now)
        headers = {} if body is None else {"content-type": "application/fhir+json"}
        call = Call(method, path, self.cast[by].token, people.dumped(body) if body is not None else b"", headers)
        return self.runner.run(self.host.send(call))

    def person(self, name: str, kind: str, code: str) -> None:
        token = people.token(self.host, kind, sub=name, patient=self.id, related_person=self.related[code])
        self.cast[name] = people.Person(name, kind, token)

    def reads(self, by: str) -> int:
        return self.send(by, "GET", f"DocumentReference?patient={self.id}").status


@pytest.mark.parametrize("born", [date(2011, 7, 14), date(2012, 2, 29), date(2012, 3, 25), date(2011, 10, 30)], ids=str)
def test_b22_a_parent_until_midnight_of_the_eighteenth_birthday(runner, host, born):
    family = Family(runner, host, born, "MTH")
    family.person("parent", "representative", "MTH")
    assert family.reads("parent") == 200
    now = host.now
    try:
        day = 28 if (born.month, born.day) == (2, 29) else born.day
        of_age = midnight_ms(date(born.year + 18, born.month, day))
        host.now = of_age - 1
        assert family.reads("parent") == 200
        host.now = of_age
        assert family.reads("parent") == 403
    finally:
        host.now = now


def test_b23_a_mandataire_serves_nobody_he_is(world):
    traitant, clerk = world.professional(), world.professional()
    own = {"identifier": [{"system": making.RPPS, "value": clerk.rpps}]}
    dossier = world.open(traitant=traitant)
    holder = world.holder(dossier)
    written = world.write(holder, {**making.related("NOK", **own), "patient": {"reference": dossier.path}})
    period = {"start": making.day(), "end": making.day(days=90)}
    world.write(holder, making.consent(dossier, "mandate", {"reference": f"RelatedPerson/{written['id']}"}, period=period))
    mandataire = world.mandataire(dossier, written["id"])
    assert refused(mandataire.post("Consent", making.consent(dossier, "access", clerk)))
    assert refused(mandataire.post("Consent", making.consent(dossier, "administrator", clerk)))
    assert clerk.get(f"DocumentReference?patient={dossier.id}").status_code == 403
    before = len(listed(holder, dossier, "Communication"))
    world.consent(dossier, "emergency-break-glass", by=mandataire, permit=False)
    world.consent(dossier, "emergency-break-glass", by=mandataire, permit=True)
    assert len(listed(holder, dossier, "Communication")) > before
    assert clerk.run(f"{dossier.path}/$break-glass", justification="coma").status_code == 200
    assert len(listed(holder, dossier, "Communication")) > before + 2


def test_b24_a_title_is_checked_when_it_is_used(runner, host):
    begins = datetime.fromtimestamp(host.now / 1000).date()
    until = date(begins.year + 1, 1, 1)
    guardian = making.related("GUARD", period={"start": "2020-01-01", "end": until.isoformat()})
    family = Family(runner, host, date(1950, 1, 1), guardian, "NOK")
    family.person("guardian", "representative", "GUARD")
    family.person("mandataire", "mandataire", "NOK")
    assert family.reads("guardian") == 200
    period = {"start": "2026-01-01", "end": until.isoformat()}
    mandate = making.consent(family, "mandate", {"reference": f"RelatedPerson/{family.related['NOK']}"}, period=period)
    stored = family.send("guardian", "POST", "Consent", mandate)
    assert stored.status == 201, stored
    allowed = family.send("mandataire", "GET", f"{family.path}/$access-list").status
    assert allowed == 200
    ended = family.send("guardian", "PUT", f"Consent/{stored.value()['id']}", {**stored.value(), "status": "inactive"})
    assert ended.status == 200, ended
    assert family.send("mandataire", "GET", f"{family.path}/$access-list").status == 403
    now = host.now
    try:
        host.now = midnight_ms(until) + 86_400_000
        assert family.reads("guardian") == 403
        assert family.send("guardian", "POST", "Consent", making.consent(family, "access", family.cast["team"])).status == 403
    finally:
        host.now = now


@pytest.mark.parametrize(("way", "open_again"), [("over", False), ("revoked", False), ("moved", False), ("revoked before it began", True)])
def test_b12_a_block_that_begins_later_ends_a_grant_for_good(runner, host, way, open_again):
    family, by = Family(runner, host, date(1950, 1, 1)), "unrelated"
    family.cast["holder"] = people.Person("holder", "patient", people.token(host, "patient", sub="holder", patient=family.id))
    began = host.now

    def block(minutes: tuple[int, int], before: dict | None = None, **more: str) -> dict:
        start, end = (to_instant(began + one * MINUTE) for one in minutes)
        value = {**making.consent(family, "block", family.cast[by], period={"start": start, "end": end}), **more}
        if before is None:
            answer = family.send("holder", "POST", "Consent", value)
        else:
            answer = family.send("holder", "PUT", f"Consent/{before['id']}", {**value, "id": before["id"]})
        assert answer.status in (200, 201), answer
        return answer.value()

    def statuses(*minutes: int) -> set[int]:
        found = set()
        for one in minutes:
            host.now = began + one * MINUTE
            listed = family.send("holder", "GET", f"{family.path}/$access-list").value()
            assert ("break-glass" in str(listed)) == (family.reads(by) == 200)
            found.add(family.reads(by))
        return found

    try:
        broken = family.send(by, "POST", f"{family.path}/$break-glass", making.parameters(justification="coma"))
        assert broken.status == 200, broken
        written = block((5, 10))
        assert statuses(0, 4) == {200}
        if way == "revoked before it began":
            block((5, 10), written, status="inactive")
        else:
            assert statuses(5, 9) == {403}
            if way == "revoked":
                block((5, 10), written, status="inactive")
            elif way == "moved":
                block((100, 110), written)
        assert statuses(10, 59) == {200 if open_again else 403} and statuses(60) == {403}
        again = family.send(by, "POST", f"{family.path}/$break-glass", making.parameters(justification="coma"))
        assert (again.status, statuses(61)) == (200, {200})  # what ended leaves him no less than anybody else
    finally:
        host.now = began


def test_b24_a_title_for_somebody_else(world):
    one, other = (world.open(age=12, traitant=world.professional(), people=("MTH",)) for _ in range(2))
    stranger = world.representative(one, other.people["MTH"])
    assert refused(stranger.get(f"DocumentReference?patient={one.id}")) and refused(stranger.get(f"DocumentReference?patient={other.id}"))
