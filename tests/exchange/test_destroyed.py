"""A dossier is destroyed: what came into it is known no longer, what waited for it is gone, and a new one of the same person takes it."""

import pytest

from tests.access.world import INS, LOINC, REPORT, Dossier, World, document, number, patient
from tests.exchange.test_sources import CARE, Sender, command, issues, load, server, world  # noqa: F401  fixtures

TYPE = {"coding": [{"system": LOINC, "code": REPORT}]}


@pytest.fixture
def destroy(command, world):  # noqa: F811
    """Close a dossier and destroy it by hand."""

    def destroyed(dossier: Dossier) -> None:
        assert world.holder(dossier).run(f"{dossier.path}/$close", reason="holder-request").status_code == 200
        code, said = command("keys", "destroy", dossier.id, "--reason", "a court ordered it", "--yes")
        assert code == 0, said

    return destroyed


def opened_again(world: World, dossier: Dossier, traitant) -> Dossier:  # noqa: F811
    """A new dossier of the same person."""
    answer = traitant.run("Patient/$open", patient=patient(dossier.ins, name=dossier.patient["name"]), evidence="oral")
    assert answer.status_code == 201, answer.text
    found = Dossier(world, answer.json(), dossier.ins)
    world.consent(found, "feed")
    world.declare(found, traitant)
    return found


def total(world: World, dossier: Dossier) -> int:  # noqa: F811
    return world.holder(dossier).get(f"DocumentReference?patient={dossier.id}").json()["total"]


def test_what_was_imported_into_it_is_new_to_the_next_dossier_of_the_person(load, world, destroy):  # noqa: F811
    anna = world.professional()
    first = world.open(traitant=anna, family="".join(chr(ord("A") + int(digit)) for digit in str(number())))
    world.consent(first, "feed")
    sender = Sender(world, first)
    sent = (sender.patient(), sender.practitioner(), sender.document("a", type=TYPE), sender.binary("a"))
    code, told, said = load(*sent, source=CARE)
    assert code == 0, (told, said)
    destroy(first)

    code, told, said = load(*sent, source=CARE)
    assert code == 3 and [line["status"] for line in told] == [202, 200, 202, 202], told
    assert first.id not in str(told)

    second = opened_again(world, first, anna)
    code, told, said = load(*sent, source=CARE)
    assert code == 0 and [line["status"] for line in told] == [200, 200, 201, 201], (told, said)
    assert told[0]["location"].startswith(second.path) and total(world, second) == 1
    # Another version of the person, and what comes with it.
    code, told, said = load(sender.patient(active=True), sender.document("b", type=TYPE), sender.binary("b"), source=CARE)
    assert code == 0, (told, said)
    assert total(world, second) == 2
    assert "5 of them imported before" in load(*sent, sender.patient(active=True), source=CARE)[2]


def test_a_person_who_was_imported_is_looked_for_again(load, world, destroy):  # noqa: F811
    anna = world.professional()
    first = world.open(traitant=anna, family="".join(chr(ord("A") + int(digit)) for digit in str(number())))
    sender = Sender(world, first)
    assert load(sender.patient(), source=CARE)[0] == 0
    destroy(first)
    second = opened_again(world, first, anna)
    code, told, said = load(sender.patient(active=True), source=CARE)
    assert code == 0 and told[0]["location"].startswith(second.path), (told, said)


def test_what_a_professional_deposited_in_it_is_new_too(world, destroy):  # noqa: F811
    anna = world.professional()
    first = world.open(traitant=anna)
    own = document(first, anna) | {"masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.{number()}"}}
    named = {**own, "subject": {"identifier": {"system": INS, "value": first.ins}}}
    assert anna.post("DocumentReference", own).status_code == 201
    destroy(first)
    again, new = anna.post("DocumentReference", own), anna.post("DocumentReference", document(first, anna))
    assert (again.status_code, again.content) == (new.status_code, new.content) and new.status_code == 403
    second = opened_again(world, first, anna)
    assert anna.post("DocumentReference", named).status_code == 201
    again = anna.post("DocumentReference", named)
    assert again.status_code == 200 and total(world, second) == 1


def waits(world: World) -> str:  # noqa: F811
    """What an administrator is told of the quarantine."""
    answer = world.operator().get(f"$quarantine?source={CARE}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_what_waited_for_it_waits_no_longer(load, world, destroy):  # noqa: F811
    """Whether the content came before its document, with it or after it; what waits for somebody else does."""
    anna = world.professional()
    tag = f"zz{number()}"
    first, other = (world.open(traitant=anna, family="".join(chr(ord("A") + int(digit)) for digit in str(number()))) for _ in range(2))
    world.consent(first, "feed")
    world.consent(other, "feed")
    gone, kept = Sender(world, first), Sender(world, other)
    local = {"coding": [{"system": f"urn:x-{tag}", "code": tag, "display": f"Sérologie positive {gone.tag}"}]}
    other_code = {"coding": [{"system": f"urn:x-{tag}", "code": tag, "display": f"Sérologie négative {kept.tag}"}]}
    assert load(gone.binary("e"), source=CARE)[0] == 3
    sent = [gone.patient(), gone.practitioner(), gone.document("e", type=local), gone.document("f", type=local), gone.binary("f")]
    code, told, said = load(*sent, kept.patient(), kept.practitioner(), kept.document("g", type=other_code), kept.binary("g"), source=CARE)
    assert code == 3 and [line["status"] for line in told].count(202) == 5, (told, said)
    assert load(gone.document("h", type=local), source=CARE)[0] == 3 and load(gone.binary("h"), source=CARE)[0] == 3
    before = waits(world)
    assert gone.tag in before and kept.tag in before
    destroy(first)
    after = waits(world)
    assert gone.tag not in after and kept.tag in after
    # The six of it, its contents among them, and nothing else.
    assert before.count('"waiting"') - after.count('"waiting"') == 6
    second = opened_again(world, first, anna)
    answer = world.operator().run("$resolve", source=CARE, local=f"urn:x-{tag}|{tag}", code=REPORT, replay=True)
    assert answer.status_code == 200, answer.text
    assert total(world, other) == 1 and total(world, second) == 0
