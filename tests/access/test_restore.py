"""I9: a backup, then acts that protect, the loss of the database, a restore: everything that was protected is protected."""

import base64
import shutil

from tests.access.world import LOINC, VISIBILITY, World, listed, refused
from tests.interactions.making import bundle, dumped, entry
from tests.serving import here, serving

SMALL = {"FHIR_DMP_MONGOD_CACHE_GB": "0.25"}
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]

WITHDRAW = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]


def ids(by, dossier) -> set[str]:
    return {one["id"] for one in listed(by, dossier, "DocumentReference") if one["resourceType"] == "DocumentReference"}


def patching(document: dict, operations: list) -> dict:
    """An entry of a transaction."""
    data = base64.b64encode(dumped(operations)).decode()
    value = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    return entry("PATCH", f"DocumentReference/{document['id']}", value)


def observation(dossier, by) -> dict:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    said = {"category": [{"coding": [kind]}], "code": {"coding": [{"system": LOINC, "code": "8302-2"}]}}
    return {"resourceType": "Observation", "status": "final", **said, "subject": {"reference": dossier.path}, "performer": [by.reference]}


def allergy(dossier, by) -> dict:
    return {
        "resourceType": "AllergyIntolerance",
        "patient": {"reference": dossier.path},
        "recorder": by.reference,
        "code": {"text": "Pénicilline"},
    }


def working_list(dossier, by, *documents: dict) -> dict:
    entries = [{"item": {"reference": f"DocumentReference/{one['id']}"}} for one in documents]
    said = {"status": "current", "mode": "working", "title": "Courriers", "source": by.reference}
    return {"resourceType": "List", **said, "subject": {"reference": dossier.path}, "entry": entries}


def entered_in_error(resource: dict) -> dict:
    if resource["resourceType"] in ("Observation", "List"):
        return {**resource, "status": "entered-in-error"}
    system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
    return {**resource, "verificationStatus": {"coding": [{"system": system, "code": "entered-in-error"}]}}


def reads_none(by, dossier, resources: list[dict]) -> bool:
    """Whether somebody neither reads nor finds any of them, nor what tells of them."""
    addresses = [f"{one['resourceType']}/{one['id']}" for one in resources]
    found = [listed(by, dossier, type_name) for type_name in ("Observation", "AllergyIntolerance", "List")]
    found += [listed(by, dossier, "Provenance", target=address) for address in addresses]
    return not any(found) and all(by.get(address).status_code == 404 for address in addresses)


def labels(by, document: dict) -> set[str]:
    found = by.get(f"DocumentReference/{document['id']}").json()
    return {coding["code"] for concept in found["securityLabel"] for coding in concept["coding"]}


def test_what_was_masked_blocked_and_opposed_after_the_backup_stays_so(tmp_path):
    with serving(tmp_path, environment=SMALL, sandbox=False) as server:
        world = World(server)
        anna = world.professional()
        # Of other establishments than the author: colleagues of his see what is masked.
        bob, carl = world.professional(organization="750000002"), world.professional(organization="750000003")
        samu = world.professional(purpose="ETREAT", regulation=True)
        dossier = world.open(traitant=anna)
        holder = world.holder(dossier)
        for one in (bob, carl):
            world.consent(dossier, "access", one)
        masked, second, third, plain, wrong = (world.deposit(dossier, anna) for _ in range(5))
        together = {second["id"], third["id"]}
        both = {masked["id"], plain["id"], *together}
        assert ids(bob, dossier) == ids(carl, dossier) == ids(samu, dossier) == {*both, wrong["id"]}
        said_alone = [world.write(anna, one) for one in (observation(dossier, anna), observation(dossier, anna), allergy(dossier, anna))]
        said_alone.append(world.write(anna, working_list(dossier, anna, plain)))
        assert not reads_none(bob, dossier, said_alone)

        code, said = here("backup", tmp_path / "backup", "--data", server.data, environment=SMALL)
        assert code == 0 and said.splitlines()[-1] == str(tmp_path / "backup"), said

        assert holder.patch(f"DocumentReference/{masked['id']}", MASK).status_code == 200
        assert holder.post("", bundle("transaction", *(patching(one, MASK) for one in (second, third)))).status_code == 200
        assert anna.patch(f"DocumentReference/{wrong['id']}", WITHDRAW).status_code == 200
        first, *others = [(f"{one['resourceType']}/{one['id']}", entered_in_error(one)) for one in said_alone]
        assert anna.put(*first).status_code == 200
        assert anna.patch(others.pop()[0], WITHDRAW).status_code == 200
        assert anna.post("", bundle("transaction", *(entry("PUT", *one) for one in others))).status_code == 200
        assert reads_none(bob, dossier, said_alone)
        world.consent(dossier, "block", carl)
        world.consent(dossier, "emergency-regulation", permit=False)
        late = world.deposit(dossier, anna)
        assert ids(bob, dossier) == {plain["id"], late["id"]}

    # The disk of the database is lost; keys and journal are on another one.
    shutil.rmtree(server.data / "mongodb")
    code, said = here("restore", tmp_path / "backup", "--data", server.data, environment=SMALL)
    assert code == 0, said
    assert "0 not here" in said

    with serving(tmp_path, environment=SMALL, sandbox=False) as again:
        world.server = again
        for asker in (anna, bob, carl, samu, holder):
            asker.server, asker.base = again, again.fhir
        assert ids(bob, dossier) == {plain["id"]}
        for id in (masked["id"], *together):
            assert bob.get(f"DocumentReference/{id}").status_code == 404
        assert bob.get(f"DocumentReference/{wrong['id']}").status_code == 404
        assert bob.get(wrong["content"][0]["attachment"]["url"]).status_code == 404
        assert reads_none(bob, dossier, said_alone)
        for asker in (carl, samu):
            assert refused(asker.get(f"DocumentReference?patient={dossier.id}"))
        assert ids(anna, dossier) == ids(holder, dossier) == both
        assert "MASQUE_PS" in labels(holder, masked)
    code, said = here("verify", "--data", server.data, environment=SMALL)
    assert code == 0, said
