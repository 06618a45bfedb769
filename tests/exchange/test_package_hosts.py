"""A dossier goes from one host to another and back: every byte, label, seal, trace and decision stays what it was."""

import json
import os
import time
from dataclasses import replace

import pytest
from pymongo import MongoClient

from tests.access.world import INS, VISIBILITY, World, consent, document
from tests.serving import here, serving
from tests.signing.test_host_seals import statement

PACKAGE = "application/vnd.fhir-dmp.package"
STAMP = f"hosts_{os.getpid()}"


class Hosting:
    """One host: a running server, and its commands."""

    def __init__(self, name, running, uri):
        self.name, self.world, self.uri, self.database = name, World(running), uri, f"{STAMP}_{name}"

    def command(self, *words, code=0):
        """What a command on this host prints."""
        environment = {"FHIR_DMP_DATABASE": self.database, "FHIR_DMP_BASE_URL": self.world.server.fhir}
        found, said = here(*words, "--data", self.world.server.data, "--mongodb-uri", self.uri, environment=environment)
        assert found == code, said
        return said


@pytest.fixture(scope="module")
def hosts(mongod, tmp_path_factory):
    """Two hosts that know each other."""
    folders = {name: tmp_path_factory.mktemp(name) for name in "ab"}
    options = ("--mongodb-uri", mongod.uri, "--workers", "1")

    def environment(name):
        return {"FHIR_DMP_DATABASE": f"{STAMP}_{name}", "FHIR_DMP_JOURNAL_SECONDS": "1"}

    with (
        serving(folders["a"], *options, environment=environment("a"), sandbox=False) as a,
        serving(folders["b"], *options, environment=environment("b"), sandbox=False) as b,
    ):
        made = Hosting("a", a, mongod.uri), Hosting("b", b, mongod.uri)
        for one, other in (made, made[::-1]):
            card = folders["a"] / f"{other.name}.card"
            card.write_text(other.command("hosts", "card", "--name", f"host {other.name}"))
            one.command("hosts", "register", other.name, card)
        yield made
    with MongoClient(mongod.uri) as client:
        for name in "ab":
            client.drop_database(f"{STAMP}_{name}")


def moved(giver, taker, patient, folder):
    """Take a dossier from one host to the other, close it at the first; its id at the second."""
    giver.command("export", patient, "--to", taker.name, "--out", folder)
    told = taker.command("import", folder / f"{patient}.dmp", "--source", giver.name)
    giver.command("export", "--to", taker.name, "--acknowledged", folder / f"{patient}.receipt")
    return told.partition("Patient/")[2].split()[0]


def ready(asker, answer, seconds=60, **headers):
    """What is at Content-Location once it is there."""
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = asker.get(answer.headers["content-location"], **headers)
        if found.status_code != 202 and b"in-progress" not in found.content:
            return found
        time.sleep(0.2)
    raise AssertionError("it was not ready in time")


def told(answer):
    """Parameters as name -> value."""
    assert answer.status_code == 200, answer.text
    return {one["name"]: next(value for name, value in one.items() if name != "name") for one in answer.json()["parameter"]}


def moved_over_http(giver, taker, patient):
    """The same with nothing but tokens: the taker's at the giver, the giver's at the taker."""
    asking, giving = giver.world.host(taker.name), taker.world.host(giver.name)
    answer = asking.run(f"Patient/{patient}/$export-dossier", recipient={"value": taker.name})
    package = ready(asking, answer, accept="application/octet-stream").content
    address = f"$import?source={giver.name}"
    for wrong in (taker.world.host("somebody"), taker.world.professional()):
        assert wrong.post(address, package, content_type=PACKAGE).status_code == 403
    # What was changed on the way is not taken, and not shown.
    changed = package[:-40] + bytes([package[-40] ^ 1]) + package[-39:]
    state = ready(giving, giving.post(address, changed, content_type=PACKAGE))
    assert state.status_code == 422 and "cannot be taken" in state.text
    done = told(ready(giving, giving.post(address, package, content_type=PACKAGE)))
    assert done["versions"] > 0
    assert told(ready(giving, giving.post(address, package, content_type=PACKAGE)))["versions"] == 0
    # The giver closes by the receipt of the taker, brought by the taker, and by nothing else.
    for asker, receipt in ((asking, done["receipt"][:-8] + "AAAAAAAA"), (giver.world.host("somebody"), done["receipt"])):
        assert asker.post("$export-dossier", receipt.encode(), content_type="application/jose").status_code in (403, 422)
    closed = asking.post("$export-dossier", done["receipt"].encode(), content_type="application/jose")
    assert told(closed)["patient"] == {"reference": f"Patient/{patient}"}
    assert asking.post("$export-dossier", done["receipt"].encode(), content_type="application/jose").status_code == 409


def test_a_package_is_given_to_whoever_may_export_and_its_size_tells_nothing_of_a_small_one(hosts):
    giver, taker = hosts
    world = giver.world
    sizes = []
    for labels in ((), ("INVISIBLE_REPRESENTANTS_LEGAUX",)):
        doctor = world.professional()
        dossier = world.open(age=12, traitant=doctor, people=("MTH", "FTH"))
        mother, father = (world.representative(dossier, dossier.people[code]) for code in ("MTH", "FTH"))
        if labels:
            made = world.professional(secret_session=True)
            world.deposit(dossier, made)
        answer = mother.run(f"{dossier.path}/$export-dossier", recipient={"value": taker.name})
        package = ready(mother, answer)
        assert package.status_code == 200, package.text
        sizes.append(len(package.content))
        own = father.get(f"RelatedPerson/{dossier.people['MTH']}").json()
        assert father.put(f"RelatedPerson/{own['id']}", {**own, "active": False}).status_code == 200
        assert mother.get(answer.headers["content-location"]).status_code == 403
    assert sizes[0] == sizes[1]


def at(host, asker, dossier_id):
    """The same person at another host."""
    claims = dict(asker.claims)
    if "patient" in claims:
        claims["patient"] = dossier_id
    return type(asker)(host.world, asker.kind, claims, asker.rpps, asker.organization)


def seen(host, asker, dossier_id):
    """Everything one asker gets of a dossier by search: status, and resource by resource the octets' meaning."""
    who = at(host, asker, dossier_id)
    found = {}
    for type_name in ("DocumentReference", "Provenance", "CareTeam"):
        answer = who.get(f"{type_name}?patient={dossier_id}&_count=1000" + ("&status=current" if type_name == "DocumentReference" else ""))
        found[type_name] = (
            answer.status_code,
            sorted(json.dumps(one["resource"]) for one in answer.json().get("entry", []) if one["search"]["mode"] == "match"),
        )
    return found


def test_a_dossier_moves_with_all_that_belongs_to_it(hosts, tmp_path):
    a, b = hosts
    anna, bruno, carla = a.world.professional(), a.world.professional(), a.world.professional()
    dossier = a.world.open(traitant=anna)
    holder = a.world.holder(dossier)
    a.world.consent(dossier, "access", bruno)
    a.world.consent(dossier, "block", carla)
    first = a.world.deposit(dossier, anna, text="premier")
    a.world.deposit(dossier, anna, labels=("MASQUE_PS",))
    value = document(dossier, bruno)
    value["content"][0]["attachment"]["data"] = "QUJD" * 300_000
    assert bruno.post("DocumentReference", value).status_code == 201
    replacing = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{first['id']}"}}]}
    a.world.deposit(dossier, anna, **replacing)
    askers = (anna, bruno, carla, holder)
    before = [seen(a, one, dossier.id) for one in askers]
    there = moved(a, b, dossier.id, tmp_path)
    # at the first host it is closed, at the second it is open
    assert bruno.get(dossier.path).status_code == 403
    assert at(b, bruno, there).get(f"Patient/{there}").status_code == 200
    assert at(b, carla, there).get(f"Patient/{there}").status_code == 403
    listed = at(b, anna, there).get(f"DocumentReference?patient={there}&status=current").json()
    assert listed["total"] == 3
    assert at(b, bruno, there).get(f"DocumentReference?patient={there}").json()["total"] == 2
    reports = [one["resource"] for one in listed["entry"] if one["resource"]["resourceType"] == "DocumentReference"]
    contents = [one["content"][0]["attachment"]["url"] for one in reports]
    octets = {at(b, anna, there).get(one, accept="text/plain").content for one in contents}
    assert len(octets) == 3 and b"ABC" * 300_000 in octets
    # what the first host sealed is proved at the second
    for one in reports:
        answer = at(b, anna, there).get(f"DocumentReference/{one['id']}/$verify")
        assert answer.status_code == 200, answer.text
        told = {each["name"]: each.get("valueCode") for each in answer.json()["parameter"]}
        assert told["seal"] == "passed", answer.text
    # and shown by the second, to whoever is shown the whole as to who is not: no seal tells that it was made anew
    for asker in (anna, bruno, holder):
        shown = at(b, asker, there).get(f"Provenance?patient={there}&_count=1000").json()["entry"]
        said = [statement(b.world, one["resource"]) for one in shown]
        assert said and len({one.host for one in said}) == 1 and {one.patient for one in said} == {f"Patient/{there}"}
    journal = at(b, holder, there).get(f"AuditEvent?patient={there}&_count=1000").json()
    assert journal["total"] >= 10
    # its export is told by the first host, its import by the second
    acts = [(one["type"]["code"], one["subtype"][0]["code"], one["outcome"]) for one in (each["resource"] for each in journal["entry"])]
    assert ("110106", "disclose", "0") in acts and ("110107", "receive", "0") in acts
    proof = at(b, holder, there).get(f"AuditEvent/{journal['entry'][-1]['resource']['id']}/$proof")
    assert proof.status_code == 200, proof.text
    named = {one["name"] for one in proof.json()["parameter"]}
    assert {"host", "checkpoint", "path"} <= named and named & {"salt", "commitment"}
    b.command("verify")
    # and back again
    assert at(b, bruno, there).get(f"Patient/{there}").status_code == 200
    moved_over_http(b, a, there)
    assert at(b, bruno, there).get(f"Patient/{there}").status_code == 403
    assert [seen(a, one, dossier.id) for one in askers] == [
        {**one, "Provenance": seen(a, asker, dossier.id)["Provenance"]} for one, asker in zip(before, askers, strict=True)
    ]
    a.command("verify")


def test_a_package_that_comes_again_takes_nothing_back_that_was_done_here_since(hosts):
    """What is new comes, as hidden as its lineage is here; and a dossier that its holder closed stays closed."""
    giver, taker = hosts
    anna, bruno, carla, stranger = (giver.world.professional() for _ in range(4))
    dossier = giver.world.open(traitant=anna)
    giver.world.consent(dossier, "access", bruno)
    for name in ("un", "deux", "trois"):
        original = giver.world.deposit(dossier, carla, description=name)
    asking, giving = giver.world.host(taker.name), taker.world.host(giver.name)

    def package():
        return ready(asking, asking.run(f"{dossier.path}/$export-dossier", recipient={"value": taker.name})).content

    def taken(content):
        return told(ready(giving, giving.post(f"$import?source={giver.name}", content, content_type=PACKAGE)))

    first = package()
    assert taken(first)["versions"] > 0
    found = at(taker, bruno, "").get(f"Patient?identifier={INS}|{dossier.ins}").json()
    there = found["entry"][0]["resource"]["id"]
    at_home = replace(dossier, world=taker.world, patient={**dossier.patient, "id": there})
    team, author, glass, holder = (at(taker, one, there) for one in (bruno, carla, stranger, giver.world.holder(dossier)))
    listed = holder.get(f"DocumentReference?patient={there}").json()["entry"]
    named = {one["resource"]["description"]: one["resource"]["id"] for one in listed if one["search"]["mode"] == "match"}
    hidden, withdrawn, masked = named["un"], named["deux"], named["trois"]
    assert holder.patch(f"DocumentReference/{masked}", labelled("MASQUE_PS")).status_code == 200
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert author.patch(f"DocumentReference/{withdrawn}", gone).status_code == 200
    assert author.patch(f"DocumentReference/{hidden}", labelled("INVISIBLE_PATIENT")).status_code == 200
    assert glass.run(f"Patient/{there}/$break-glass", justification="inconscient").status_code == 200

    def shown():
        found = {}
        for name, asker in (("team", team), ("holder", holder), ("glass", glass)):
            found[name] = [asker.get(f"DocumentReference/{one}").status_code for one in (masked, withdrawn, hidden)]
            found[name].append(asker.get(f"DocumentReference?patient={there}&status=current,superseded").json()["total"])
        return found

    before = shown()
    assert before["team"] == [404, 404, 200, 1] and before["holder"][2] == 404 and before["glass"][2] == 200
    assert taken(first)["versions"] == 0 and shown() == before
    # The giver still has it, and somebody replaces there what is masked here.
    after = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{original['id']}"}}]}
    giver.world.deposit(dossier, carla, **after)
    second = taken(package())
    assert second["versions"] > 0 and shown() == before | {"holder": [200, 200, 404, 2]}
    assert holder.get(f"DocumentReference?patient={there}").json()["total"] == 1
    assert team.get(f"DocumentReference?patient={there}").json()["total"] == 1
    closed = asking.post("$export-dossier", second["receipt"].encode(), content_type="application/jose")
    assert closed.status_code == 200, closed.text

    # The former host sends its closed copy, opens it again and sends that, or closes what lives here first: nothing of it counts.
    def refused():
        return ready(giving, giving.post(f"$import?source={giver.name}", package(), content_type=PACKAGE)).status_code == 409

    assert refused()
    assert giver.world.host(taker.name).run(f"{dossier.path}/$reactivate", reason="transfer").status_code == 200
    stranger = giver.world.professional()
    giver.world.consent(dossier, "access", stranger)
    assert refused()
    taker.world.write(holder, consent(at_home, "access", taker.world.professional()))
    assert refused() and at(taker, stranger, there).get(f"Patient/{there}").status_code == 403
    assert giving.run(f"Patient/{there}/$close", reason="transfer").status_code == 200
    assert refused()
    assert holder.run(f"Patient/{there}/$reactivate").status_code == 200
    assert holder.get(f"Patient/{there}").json()["active"] is True and team.get(f"DocumentReference/{masked}").status_code == 404
    # Its holder closes it: no package that was made for this host opens it again.
    assert holder.run(f"Patient/{there}/$close", reason="holder-request").status_code == 200
    assert taken(first)["versions"] == 0
    assert team.get(f"DocumentReference/{hidden}").status_code == 404 and holder.get(f"Patient/{there}").json()["active"] is False


def labelled(code):
    """A patch that adds a label."""
    return [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": code}]}}]


def test_a_joined_dossier_is_verified_and_moves_like_any_other(hosts, tmp_path):
    a, b = hosts
    anna, bruno = a.world.professional(), a.world.professional()
    ends, goes_on = a.world.open(traitant=anna), a.world.open(traitant=bruno)
    a.world.deposit(ends, anna, text="ancien")
    a.world.deposit(goes_on, bruno, text="récent")
    joined = {"source-patient": {"reference": ends.path}}
    assert a.world.operator().run(f"{goes_on.path}/$merge", **joined).status_code == 200
    a.command("verify")
    there = moved(a, b, goes_on.id, tmp_path)
    listed = at(b, bruno, there).get(f"DocumentReference?patient={there}").json()
    assert listed["total"] == 2
    for one in listed["entry"]:
        answer = at(b, bruno, there).get(f"DocumentReference/{one['resource']['id']}/$verify")
        assert told(answer)["seal"] == "passed", answer.text


def test_a_dossier_that_was_moved_and_joined_goes_on_with_all_its_proofs(hosts, tmp_path):
    """From the first host to the second, joined to another one there, and back: its traces stand in the journals of both."""
    a, b = hosts
    anna, bruno = a.world.professional(), b.world.professional()
    ends, goes_on = a.world.open(traitant=anna), b.world.open(traitant=bruno)
    a.world.deposit(ends, anna, text="ancien")
    there = moved(a, b, ends.id, tmp_path)
    joined = {"source-patient": {"reference": f"Patient/{there}"}}
    assert b.world.operator().run(f"{goes_on.path}/$merge", **joined).status_code == 200
    here = moved(b, a, goes_on.id, tmp_path)
    holder = at(a, b.world.holder(goes_on), here)
    assert at(a, bruno, here).get(f"DocumentReference?patient={here}").json()["total"] == 1
    traces = holder.get(f"AuditEvent?patient={here}&_count=1000").json()["entry"]
    names = dict.fromkeys(hosts, 0)
    origins = {host: json.loads(host.command("hosts", "card"))["journal"]["origin"] for host in hosts}
    for one in traces:
        proof = holder.get(f"AuditEvent/{one['resource']['id']}/$proof")
        if proof.status_code == 503:
            continue  # of this host, and not in its journal yet
        named = told(proof)
        for host in hosts:
            # Those that came along say whose journal they stand in.
            names[host] += "host" in named and named["checkpoint"].startswith(origins[host])
    assert min(names.values()) >= 3


def test_who_gave_a_dossier_away_keeps_no_copy_of_it(hosts, tmp_path):
    giver, taker = hosts
    dossier = giver.world.open(traitant=giver.world.professional())
    giver.command("export", dossier.id, "--out", tmp_path)  # by now it knows itself
    moved(giver, taker, dossier.id, tmp_path)
    assert giver.world.holder(dossier).run(f"{dossier.path}/$export-dossier", recipient={"value": "this-host"}).status_code == 409
    giver.command("export", dossier.id, "--out", tmp_path, code=1)


def test_who_opened_a_dossier_is_handed_no_sheet_by_the_next_host(hosts, tmp_path):
    """Its holder may have used his at the host that gave it: with another one whoever opened it would log in as him."""
    a, b = hosts
    opener = a.world.professional()
    dossier = a.world.open(by=opener)
    assert opener.run(f"{dossier.path}/$access-sheet").status_code == 200
    there = moved(a, b, dossier.id, tmp_path)
    assert at(b, opener, there).run(f"Patient/{there}/$access-sheet").status_code == 403
    assert at(b, a.world.holder(dossier), there).run(f"Patient/{there}/$access-sheet").status_code == 200
