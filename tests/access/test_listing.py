"""$access-list and $explain-access. Code de la santé publique L1111-19"""

import pytest

from tests.access.test_consents import mandated
from tests.access.world import IDNPS, care_team, day, refused


def entries(answer):
    assert answer.status_code == 200, answer.text
    found = {}
    for one in answer.json().get("parameter", []):
        parts = {part["name"]: next(value for name, value in part.items() if name.startswith("value")) for part in one["part"]}
        found[parts.pop("identifier")["value"]] = parts
    return found


def said(answer):
    assert answer.status_code == 200, answer.text
    return {one["name"]: next(value for name, value in one.items() if name.startswith("value")) for one in answer.json()["parameter"]}


def identifier(asker):
    return {"system": IDNPS, "value": asker.idnps}


def test_the_list_names_everybody_and_why(world):
    traitant, member, given, blocked, broke = (world.professional() for _ in range(5))
    dossier = world.open(traitant=traitant)
    holder = world.holder(dossier)
    world.write(holder, care_team(dossier, member))
    world.consent(dossier, "access", given, period={"end": day(days=30)})
    world.consent(dossier, "block", blocked)
    broke.run(f"{dossier.path}/$break-glass", justification="choc")
    found = entries(holder.run(f"{dossier.path}/$access-list"))
    assert {who: (one.get("reason"), one["blocked"]) for who, one in found.items()} == {
        traitant.idnps: ("medecin-traitant", False),
        member.idnps: ("care-team", False),
        given.idnps: ("consent", False),
        blocked.idnps: (None, True),
        broke.idnps: ("break-glass", False),
    }
    assert "until" in found[given.idnps] and "until" not in found[traitant.idnps]


def test_the_list_has_the_names_of_the_directory(world):
    traitant = world.professional()
    name = {"family": "LEFORT", "given": ["Anne"], "prefix": ["Dr"]}
    world.write(world.operator(), {"resourceType": "Practitioner", "identifier": [traitant.reference["identifier"]], "name": [name]})
    dossier = world.open(traitant=traitant)
    found = entries(world.holder(dossier).get(f"{dossier.path}/$access-list"))
    assert found[traitant.idnps]["name"] == "Dr Anne LEFORT"


def test_the_list_is_for_gestionnaire_and_mandataire(world):
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    mandataire, _ = mandated(world, dossier)
    assert traitant.idnps in entries(mandataire.run(f"{dossier.path}/$access-list"))
    for asker in (traitant, world.professional(), world.operator(), world.feed(), world.structure()):
        assert refused(asker.run(f"{dossier.path}/$access-list")), asker.kind


def test_an_empty_list(world):
    dossier = world.open()
    assert world.holder(dossier).run(f"{dossier.path}/$access-list").json() == {"resourceType": "Parameters"}


def test_the_holder_asks_why(world):
    traitant, stranger, blocked = world.professional(), world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    holder = world.holder(dossier)
    world.consent(dossier, "block", blocked)
    for asker, expected in (
        (traitant, ("permit", "medecin-traitant")),
        (stranger, ("refuse", "unrelated")),
        (blocked, ("refuse", "blocked")),
    ):
        found = said(holder.run(f"{dossier.path}/$explain-access", professional=identifier(asker)))
        assert (found["effect"], found["rule"]) == expected and len(found["text"]) > 10


def test_the_holder_asks_why_of_a_document(world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    holder = world.holder(dossier)
    world.consent(dossier, "access", anna)
    masked = world.deposit(dossier, traitant, labels=("MASQUE_PS",))
    reference = {"reference": f"DocumentReference/{masked['id']}"}
    found = said(holder.run(f"{dossier.path}/$explain-access", professional=identifier(anna), document=reference))
    assert (found["effect"], found["rule"]) == ("hide", "masked")
    found = said(holder.run(f"{dossier.path}/$explain-access", professional=identifier(traitant), document=reference))
    assert (found["effect"], found["rule"]) == ("permit", "author")
    assert said(holder.run(f"{dossier.path}/$explain-access", document=reference))["rule"] == "holder"


def test_a_professional_asks_about_himself_alone(world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    assert said(traitant.run(f"{dossier.path}/$explain-access"))["rule"] == "medecin-traitant"
    assert said(traitant.run(f"{dossier.path}/$explain-access", professional=identifier(traitant)))["rule"] == "medecin-traitant"
    assert refused(traitant.run(f"{dossier.path}/$explain-access", professional=identifier(anna)))
    assert refused(anna.run(f"{dossier.path}/$explain-access"))


def test_a_document_hidden_from_the_asker_is_absent(world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.consent(dossier, "access", anna)
    masked = world.deposit(dossier, traitant, labels=("MASQUE_PS",))
    hidden = anna.run(f"{dossier.path}/$explain-access", document={"reference": f"DocumentReference/{masked['id']}"})
    absent = anna.run(f"{dossier.path}/$explain-access", document={"reference": f"DocumentReference/{masked['id'][:-2]}AA"})
    assert hidden.status_code == 404 and hidden.content == absent.content
    waiting = world.deposit(dossier, traitant, labels=("INVISIBLE_PATIENT",))
    asked = {"document": {"reference": f"DocumentReference/{waiting['id']}"}, "professional": identifier(traitant)}
    assert world.holder(dossier).run(f"{dossier.path}/$explain-access", **asked).status_code == 404


@pytest.mark.parametrize("value", ["nobody", ""])
def test_the_professional_is_one(world, value):
    dossier = world.open()
    answer = world.holder(dossier).run(f"{dossier.path}/$explain-access", professional={"system": IDNPS, "value": value or "-"})
    assert answer.status_code == 422


def test_scopes_narrow_what_gives_rights_or_everything_away(world):
    """A token that may read the Patient alone gets no new credentials, no package, no list of who has access, and breaks no glass."""
    dossier, anna = world.open(), world.professional(scope="user/Patient.r")
    holder = world.again(world.holder(dossier), scope="patient/Patient.r")
    assert holder.get(dossier.path).status_code == 200
    assert holder.run(f"{dossier.path}/$access-sheet").status_code == 403
    assert holder.run(f"{dossier.path}/$export-dossier", recipient={"value": "nobody"}).status_code == 403
    for operation in ("$access-list", "$explain-access"):
        assert holder.get(f"{dossier.path}/{operation}").status_code == 403
    assert anna.run(f"{dossier.path}/$break-glass", justification="inconscient").status_code == 403
    # Nor is a package forgotten by a token that could not ask for it.
    assert holder.delete("$export-dossier/none").status_code == 403
    assert world.holder(dossier).delete("$export-dossier/none").status_code == 404


def test_scopes_narrow_what_is_explained_of_a_document(world):
    dossier, anna = world.open(), world.professional()
    made = world.deposit(dossier, anna)
    holder, asked = world.holder(dossier), {"document": {"reference": f"DocumentReference/{made['id']}"}}
    narrow = world.again(holder, scope="patient/Patient.r patient/Consent.r")
    assert narrow.run(f"{dossier.path}/$explain-access").status_code == 200
    assert refused(narrow.run(f"{dossier.path}/$explain-access", **asked))
    assert holder.run(f"{dossier.path}/$explain-access", **asked).status_code == 200


@pytest.mark.parametrize("scope", ["none/none", "system/Patient.r", "user/*.r"])
def test_scopes_narrow_what_staff_and_senders_do(world, scope):
    """What is about everybody's dossiers needs a scope for everything; the feed's list, one to search Patients."""
    feed, host = (world.again(one, scope=scope) for one in (world.feed(), world.host()))
    admin, physician = (world.again(world.operator(role, "T1"), scope=scope) for role in ("admin", "physician"))
    for asker, address in (
        (feed, "$feed"),
        (admin, "$feed"),
        (admin, "$statistics"),
        (admin, "$quarantine?source=x"),
        (physician, "$review-queue"),
    ):
        assert refused(asker.get(address)), address
    assert refused(physician.run("$review", id="0" * 32, outcome="noted"))
    assert refused(admin.run("$resolve", source="x"))
    assert refused(host.post("$import?source=x", {"resourceType": "Bundle", "type": "batch"}))
    assert refused(host.get("$import/import-20260101000000-x"))
    for asker in (host, admin):
        assert refused(asker.post("$export-dossier", b"x.y.z", content_type="application/jose"))
