"""What this host is called: no right ends, no address in an answer changes, because a request says another name. RFC 9110, 7.2"""

from tests.access.test_consents import reads
from tests.access.world import care_team, parameters, refused

ELSEWHERE = {"host": "dmp.attacker.test"}


def test_a_restriction_holds_by_whatever_name_the_next_request_comes(world):
    dossier, anna, blocked, stranger = world.open(), world.professional(), world.professional(), world.professional()
    holder, base = world.holder(dossier), world.server.fhir
    made = world.deposit(dossier, anna)
    entry = {"resourceType": "Practitioner", "identifier": [blocked.reference["identifier"]], "name": [{"family": "LESTRELIN"}]}
    listed = world.write(world.operator(), entry)
    world.write(holder, care_team(dossier, anna, blocked))
    world.consent(dossier, "block", {"reference": f"{base}/Practitioner/{listed['id']}"})
    instance = {"meaning": "instance", "reference": {"reference": f"{base}/DocumentReference/{made['id']}"}}
    world.consent(dossier, "mask", data=[instance])
    world.consent(dossier, "access", stranger)
    path = f"DocumentReference/{made['id']}"
    assert not reads(blocked, dossier) and stranger.get(path).status_code == 404
    other = world.professional()
    answer = other.post(f"{dossier.path}/$break-glass", parameters(justification="inconscient"), **ELSEWHERE)
    assert answer.status_code == 200
    assert not reads(blocked, dossier) and stranger.get(path).status_code == 404 and refused(blocked.get(dossier.path))


def test_what_was_written_when_this_host_had_another_name_holds(world):
    dossier, anna, blocked, stranger = world.open(), world.professional(), world.professional(), world.professional()
    made = world.deposit(dossier, anna)
    entry = {"resourceType": "Practitioner", "identifier": [blocked.reference["identifier"]], "name": [{"family": "LESTRELIN"}]}
    listed = world.write(world.operator(), entry)
    former = "https://dmp.formerly.test/fhir"
    world.consent(dossier, "access", blocked, stranger)
    world.consent(dossier, "block", {"reference": f"{former}/Practitioner/{listed['id']}"})
    world.consent(dossier, "mask", data=[{"meaning": "instance", "reference": {"reference": f"{former}/DocumentReference/{made['id']}"}}])
    assert not reads(blocked, dossier)
    assert stranger.get(f"DocumentReference/{made['id']}").status_code == 404 and reads(stranger, dossier)


def test_answers_and_sheets_name_this_host_and_not_what_a_request_calls_it(world):
    dossier = world.open()
    holder = world.holder(dossier)
    answer = holder.get(f"DocumentReference?patient={dossier.id}", **ELSEWHERE)
    assert answer.json()["link"][0]["url"].startswith(world.server.fhir)
    sheet = holder.post(f"{dossier.path}/$access-sheet", None, accept="text/plain", **ELSEWHERE)
    assert sheet.status_code == 200 and "attacker" not in sheet.text and world.server.url in sheet.text
