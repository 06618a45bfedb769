"""Who is named by an entry of the directory stays who he is: to keep it moves no right and lifts no block. access-rules 3"""

import pytest

from tests.access.test_consents import reads
from tests.access.world import FINESS, RPPS, care_team, patient, refused
from tests.interactions.making import places

PATCH_NUMBER = [{"op": "replace", "path": "/identifier/0/value", "value": "10009998887"}]


def entry(world, asker) -> dict:
    """The entry of a professional, written by an administrator."""
    named = {"resourceType": "Practitioner", "identifier": [asker.reference["identifier"]], "name": [{"family": "Lenoir"}]}
    return world.write(world.operator(), named)


def address(resource: dict) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def leading(resource: dict) -> dict:
    return {"reference": address(resource)}


def role(world, practitioner: dict) -> dict:
    return world.write(world.operator(), {"resourceType": "PractitionerRole", "practitioner": leading(practitioner)})


def test_an_entry_never_names_somebody_else(world):
    """422, by PUT, PATCH and with criteria, whoever is named; what else it says may change."""
    admin, anna, carl = world.operator(), world.professional(), world.professional()
    dossier = world.open()
    one = entry(world, anna)
    world.consent(dossier, "access", leading(one))
    assert reads(anna, dossier)
    for identifiers in ([carl.reference["identifier"]], [*one["identifier"], carl.reference["identifier"]], []):
        changed = {name: part for name, part in {**one, "identifier": identifiers}.items() if part}
        for answer in (admin.put(address(one), changed), admin.put(f"Practitioner?identifier={RPPS}|{anna.rpps}", changed)):
            assert answer.status_code == 422 and places(answer) == ["Practitioner.identifier"]
    assert admin.patch(address(one), PATCH_NUMBER).status_code == 422
    bundle = {"resourceType": "Bundle", "type": "batch"}
    sent = {"resource": {**one, "identifier": [carl.reference["identifier"]]}, "request": {"method": "PUT", "url": address(one)}}
    assert admin.post("", {**bundle, "entry": [sent]}).json()["entry"][0]["response"]["status"].startswith("422")
    more = {"system": "urn:x-test:badge", "value": "7"}
    kept = {**one, "name": [{"family": "Lenoir-Duval"}], "active": False, "identifier": [*one["identifier"], more]}
    assert admin.put(address(one), kept).status_code == 200
    world.consent(dossier, "access", world.professional())
    assert reads(anna, dossier) and not reads(carl, dossier)


def test_a_role_stays_that_of_its_practitioner(world):
    admin, anna, carl = world.operator(), world.professional(), world.professional()
    one, other = entry(world, anna), entry(world, carl)
    made = role(world, one)
    answer = admin.put(address(made), {**made, "practitioner": leading(other)})
    assert answer.status_code == 422 and places(answer) == ["PractitionerRole.practitioner"]
    clinic = world.write(admin, {"resourceType": "Organization", "identifier": [world.structure().reference["identifier"]]})
    answer = admin.put(address(made), {**made, "organization": leading(clinic)})
    assert answer.status_code == 422 and places(answer) == ["PractitionerRole.organization"]
    answer = admin.put(address(clinic), {**clinic, "identifier": [{"system": FINESS, "value": "750000099"}]})
    assert answer.status_code == 422 and places(answer) == ["Organization.identifier"]
    assert admin.put(address(made), {**made, "practitioner": {**leading(one), "display": "Dr Lenoir"}}).status_code == 200


def blocked(world, dossier, one):
    return world.consent(dossier, "block", leading(one))


def masked(world, dossier, one):
    return world.consent(dossier, "mask", data=[{"meaning": "authoredby", "reference": leading(one)}])


def in_the_team(world, dossier, one):
    return world.write(world.holder(dossier), {**care_team(dossier), "participant": [{"member": leading(one)}]})


def in_the_team_by_role(world, dossier, one):
    contained = {"resourceType": "PractitionerRole", "id": "r", "practitioner": leading(one)}
    return world.write(
        world.holder(dossier), {**care_team(dossier), "contained": [contained], "participant": [{"member": {"reference": "#r"}}]}
    )


def declared(world, dossier, one):
    holder = world.holder(dossier)
    answer = holder.put(dossier.path, {**holder.get(dossier.path).json(), "generalPractitioner": [leading(one)]})
    assert answer.status_code == 200, answer.text


def with_a_role(world, dossier, one):
    world.consent(dossier, "access", leading(role(world, one)))


@pytest.mark.parametrize("right", [blocked, masked, in_the_team, in_the_team_by_role, declared, with_a_role])
def test_an_entry_that_a_right_refers_to_is_not_deleted(world, right):
    admin, anna, dossier = world.operator(), world.professional(), world.open()
    one = entry(world, anna)
    right(world, dossier, one)
    for path in (address(one), f"Practitioner?identifier={RPPS}|{anna.rpps}"):
        answer = admin.delete(path)
        assert answer.status_code == 409 and answer.json()["issue"][0]["code"] == "conflict"
    assert admin.get(address(one)).status_code == 200


def test_a_block_outlives_the_tidying_of_the_directory(world):
    """Also one that was taken back: its reference stands."""
    admin, nurse, holder_of = world.operator(), world.professional(), world.holder
    dossier = world.open()
    world.write(holder_of(dossier), care_team(dossier, nurse))
    one = entry(world, nurse)
    block = blocked(world, dossier, one)
    assert not reads(nurse, dossier) and admin.delete(address(one)).status_code == 409
    world.consent(dossier, "access", world.professional())
    assert not reads(nurse, dossier)
    world.revoke(holder_of(dossier), block)
    assert admin.delete(address(one)).status_code == 409 and reads(nurse, dossier)


def test_an_entry_that_nothing_refers_to_is_deleted_by_who_keeps_the_directory(world):
    admin, anna = world.operator(), world.professional()
    one, other = entry(world, anna), entry(world, world.professional())
    made = role(world, one)
    assert refused(anna.delete(address(other))) and admin.delete(address(one)).status_code == 409
    assert admin.delete(address(made)).status_code == 204 and admin.delete(address(one)).status_code == 204
    assert admin.delete(f"Practitioner?identifier={RPPS}|{anna.rpps}").status_code == 204  # nobody
    assert admin.delete(address(other)).status_code == 204 and admin.get(address(other)).status_code == 410


def test_a_dossier_may_be_opened_with_an_entry_which_then_stays(world):
    admin, anna = world.operator(), world.professional()
    one = entry(world, anna)
    value = patient(f"2{anna.rpps}01989"[:15], generalPractitioner=[leading(one)])
    assert anna.run("Patient/$open", patient=value, evidence="oral").status_code == 201
    assert admin.delete(address(one)).status_code == 409
