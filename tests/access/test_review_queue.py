"""$review-queue and $review: what waits for the host's physician. Code de la santé publique L1111-17"""

from tests.access.test_break_glass import breaks
from tests.access.test_deposits import submission
from tests.access.world import day, document, listed, refused
from tests.interactions.making import issue


def queued(asker, dossier, **criteria) -> list[dict]:
    """Reviews of a dossier in the queue, over all pages, parts by name."""
    found, after = [], ""
    while True:
        more = "".join(f"&{name}={text}" for name, text in {**criteria, **({"after": after} if after else {})}.items())
        answer = asker.get(f"$review-queue?count=50{more}")
        assert answer.status_code == 200, answer.text
        page = [{part["name"]: part for part in one["part"]} for one in answer.json().get("parameter", ())]
        found += page
        if len(page) < 50:
            return [one for one in found if one["patient"]["valueReference"]["reference"] == dossier.path]
        after = page[-1]["id"]["valueId"]


def test_an_emergency_access_waits_for_the_physician_who_closes_it(world):
    anna, dossier = world.professional(), world.open()
    assert breaks(anna, dossier, "choc anaphylactique").status_code == 200
    physician, ticketed = world.operator("physician"), world.operator("physician", "T7")
    (one,) = queued(physician, dossier)
    assert one["code"]["valueCode"] == "emergency-access" and one["professional"]["valueIdentifier"]["value"] == anna.idnps
    assert "justification" not in one
    assert queued(ticketed, dossier)[0]["justification"]["valueString"] == "choc anaphylactique"
    id = one["id"]["valueId"]
    given = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueString": id}, {"name": "outcome", "valueCode": "justified"}]}
    assert physician.post("$review", given).status_code == 200
    assert queued(physician, dossier) == []
    (closed,) = queued(physician, dossier, status="completed")
    assert closed["outcome"]["valueCode"] == "justified" and closed["status"]["valueCode"] == "completed"
    again = physician.post("$review", given)
    assert again.status_code == 409 and issue(again)
    traces = [one for one in listed(world.holder(dossier), dossier, "AuditEvent") if "operator" in str(one["agent"])]
    assert len(traces) >= 3


def test_a_deposit_after_the_death_waits_with_what_was_deposited(world):
    dossier, anna = world.open(), world.professional()
    assert world.host().run(f"{dossier.path}/$close", reason="deceased", date=day(days=-1)).status_code == 200
    made = anna.post("DocumentReference", document(dossier, anna))
    assert made.status_code == 201, made.text
    assert anna.post("", submission(dossier, anna, document(dossier, anna))).status_code == 200
    physician, ticketed = world.operator("physician"), world.operator("physician", "T7")
    assert [one["code"]["valueCode"] for one in queued(physician, dossier)] == ["late-deposit", "late-deposit"]
    assert all("resource" not in one for one in queued(physician, dossier))
    address = queued(ticketed, dossier)[0]["resource"]["valueReference"]["reference"]
    assert address == f"DocumentReference/{made.json()['id']}"
    assert ticketed.get(address).status_code == 200
    assert physician.get(address).status_code == 404


def test_an_ordinary_deposit_and_a_refused_one_leave_nothing(world):
    dossier, anna = world.open(), world.professional()
    world.deposit(dossier, anna)
    breaks(world.professional(), dossier, " ")
    assert queued(world.operator("physician"), dossier) == []


def test_the_queue_is_for_the_physician_alone(world):
    dossier = world.open()
    for asker in (world.operator(), world.support(), world.professional(), world.holder(dossier), world.host(), world.structure()):
        assert refused(asker.get("$review-queue"))
        assert refused(asker.run("$review", id="0" * 32, outcome="noted"))
    assert world.operator("physician").run("$review", id="0" * 32, outcome="noted").status_code in (400, 404)


def test_what_is_read_in_the_regulation_of_emergency_calls_waits_too_once_an_hour(world):
    dossier, anna = world.open(), world.professional()
    document = world.deposit(dossier, anna)
    samu, physician = world.professional(purpose="ETREAT", regulation=True), world.operator("physician", "T7")
    assert refused(world.professional(purpose="ETREAT").get(dossier.path))
    assert queued(physician, dossier) == []
    for path in (f"DocumentReference/{document['id']}", f"DocumentReference?patient={dossier.id}", dossier.path):
        assert samu.get(path).status_code == 200
    # Twice where the hour ends in between.
    entries = queued(physician, dossier)
    assert 1 <= len(entries) <= 2
    for one in entries:
        assert one["code"]["valueCode"] == "emergency-access" and one["professional"]["valueIdentifier"]["value"] == samu.idnps
        assert one["justification"]["valueString"] == "accès de régulation médicale"
    # Who has another right reads by that one.
    other = world.professional(purpose="ETREAT", regulation=True)
    world.consent(dossier, "access", other)
    assert other.get(dossier.path).status_code == 200
    assert len(queued(physician, dossier)) == len(entries)
