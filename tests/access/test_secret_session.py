"""A minor's secret session: what a professional is given in it, he has; the representatives are told of nothing.

Code de la santé publique L1111-5, R1111-53
"""

import re

import pytest

from fhir_dmp.dmp.visibility import concept, labels_of
from tests.access.world import INS, RPPS, birth_date, care_team, day, refused, related

JUSTIFICATION = "inconscient"
HIDE = [{"op": "add", "path": "/securityLabel/-", "value": concept("INVISIBLE_REPRESENTANTS_LEGAUX")}]


def test_what_was_given_in_a_secret_session_is_told_to_no_representative(world):
    traitant = world.professional()
    dossier = world.open(age=15, traitant=traitant, people=("MTH",))
    mother, child = world.representative(dossier, dossier.people["MTH"]), world.holder(dossier, beside=traitant)
    given, broken, author = (world.professional(secret_session=True) for _ in range(3))
    plain = world.professional()
    world.deposit(dossier, author)

    def told(asker) -> list:
        paths = [f"{dossier.path}/$access-list", f"Consent?patient={dossier.id}", f"{dossier.path}/$everything?_type=Consent"]
        paths += [f"Consent?patient={dossier.id}&_summary=count", f"Patient?_id={dossier.id}&_revinclude=Consent:patient&_summary=true"]
        found = [asker.get(path).json() for path in paths]
        for one in found:
            for name in ("id", "meta", "link"):  # of the Bundle that is answered
                one.pop(name, None)
        return found

    def why(asker, who) -> dict:
        return asker.run(f"{dossier.path}/$explain-access", professional=f"{RPPS}|{who.rpps}").json()

    before = told(mother)
    consent = world.consent(dossier, "access", given, by=given, evidence="oral", period={"start": day(days=-1), "end": day(days=30)})
    assert broken.run(f"{dossier.path}/$break-glass", justification=JUSTIFICATION).status_code == 200
    assert told(mother) == before and mother.get(f"Consent/{consent['id']}").status_code == 404
    assert why(mother, given) == why(mother, broken) == why(mother, author) == why(mother, plain)
    for one in (given, broken):
        assert one.get(f"DocumentReference?patient={dossier.id}").status_code == 200
    assert consent["id"] in child.get(f"Consent?patient={dossier.id}").text
    # He ends it, and it is told of no more than before.
    world.revoke(given, given.get(f"Consent/{consent['id']}").json())
    assert told(mother) == before and given.get(f"DocumentReference?patient={dossier.id}").status_code == 403


@pytest.fixture
def minor(world):
    """A dossier of somebody of 15, the médecin traitant, and the mother."""
    traitant = world.professional()
    dossier = world.open(age=15, traitant=traitant, people=("MTH", "NOK"))
    return dossier, traitant, world.representative(dossier, dossier.people["MTH"])


def secretly(world, asker):
    """The same professional in a secret session."""
    return world.again(asker, secret_session=True)


def told(dossier, asker) -> dict[str, object]:
    """What tells her, or whom she appointed, whom the minor meets, except traces of their own acts."""
    asker.get(f"AuditEvent?patient={dossier.id}")  # from here on there are such traces
    paths = [f"{name}?patient={dossier.id}&_count=500" for name in ("AuditEvent", "CareTeam", "Communication", "Consent", "Provenance")]
    paths += [f"{name}?patient={dossier.id}&_summary=count" for name in ("CareTeam", "Consent", "Communication")]
    paths += [f"Patient?_id={dossier.id}&_has:CareTeam:patient:status=active", f"Patient?_id={dossier.id}&_revinclude=CareTeam:patient"]
    paths += [f"{dossier.path}/{name}" for name in ("$everything?_count=500", "$access-list", "$access-journal", "CareTeam")]
    return {path: seen(asker.get(path)) for path in paths}


def seen(answer) -> tuple:
    """Status, what it shows, how many it says there are, and the parts of Parameters."""
    body = answer.json()
    entries = [one["resource"] for one in body.get("entry", [])]
    others = [one for one in entries if not re.search("representative|mandataire", repr(one.get("agent")))]
    found = sorted(f"{one['resourceType']}/{one['id']}" for one in others)
    parts = [one for one in body.get("parameter", ()) if not re.search("Représentant|Mandataire", repr(one))]
    return answer.status_code, found, None if len(others) < len(entries) else body.get("total"), parts


def test_a_care_team_of_a_secret_session_is_told_to_no_representative(world, minor):
    dossier, traitant, mother = minor
    met, plain = world.professional(), world.professional()
    ordinary = world.write(traitant, care_team(dossier, world.professional()))
    related = {"reference": f"RelatedPerson/{dossier.people['NOK']}"}
    world.consent(dossier, "mandate", related, by=mother, period={"start": day(days=-1), "end": day(days=30)})
    mandataire = world.mandataire(dossier, dossier.people["NOK"])
    before, managed = told(dossier, mother), told(dossier, mandataire)
    documents = f"DocumentReference?patient={dossier.id}"
    team = world.write(secretly(world, traitant), care_team(dossier, met))
    path = f"CareTeam/{team['id']}"
    # What is marked may be changed, and stays marked, in an ordinary session too.
    changed = traitant.put(path, {**team, "name": "adolescence"})
    assert changed.status_code == 200 and traitant.get(path).json()["name"] == "adolescence"
    assert secretly(world, traitant).put(path, {**changed.json(), "name": "ados"}).status_code == 200
    assert told(dossier, mother) == before and mother.get(path).status_code == mother.get(f"{path}/_history").status_code == 404
    assert mother.get(f"CareTeam/{ordinary['id']}").status_code == 200
    # Nor to whom they appoint.
    assert told(dossier, mandataire) == managed and mandataire.get(path).status_code == 404
    assert mandataire.get(f"CareTeam/{ordinary['id']}").status_code == 200

    def why(who) -> dict:
        return mother.run(f"{dossier.path}/$explain-access", professional=f"{RPPS}|{who.rpps}").json()

    assert why(met) == why(plain) and plain.get(documents).status_code == 403
    assert met.get(documents).status_code == 200 and path.partition("/")[2] in met.get(f"CareTeam?patient={dossier.id}").text
    child = world.holder(dossier, beside=traitant)
    assert child.get(path).status_code == 200


def test_in_a_secret_session_nothing_is_changed_of_what_everybody_sees(world, minor):
    dossier, traitant, mother = minor
    given = world.professional()
    period = {"start": day(days=-1), "end": day(days=30)}
    consent = world.consent(dossier, "access", given, by=given, evidence="oral", period=period)
    hers = world.consent(dossier, "access", given, by=mother)
    team = world.write(traitant, care_team(dossier, given))
    before = told(dossier, mother)
    rename = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "CareTeam"},
        {"name": "name", "valueString": "name"}, {"name": "value", "valueString": "x"},
    ]}]}  # fmt: skip
    secret = secretly(world, traitant)
    answers = [
        secretly(world, given).put(f"Consent/{consent['id']}", {**consent, "status": "inactive"}),
        secret.put(f"CareTeam/{team['id']}", {**team, "status": "inactive"}),
        secret.patch(f"CareTeam/{team['id']}", rename),
        secret.post("", transaction("PUT", f"CareTeam/{team['id']}", {**team, "name": "x"})),
    ]
    for answer in answers:
        issue = answer.json()["issue"][0]
        assert (answer.status_code, issue["code"]) == (422, "business-rule") and "secret session" in issue["diagnostics"]
    # Whoever may not is refused as ever, whatever there is.
    own = secret.get(dossier.path).json()
    assert refused(secret.put(dossier.path, {**own, "gender": "male"}))
    assert refused(secretly(world, given).put(f"Consent/{hers['id']}", {**hers, "status": "inactive"}))
    assert told(dossier, mother) == before
    assert traitant.put(f"CareTeam/{team['id']}", {**team, "name": "x"}).status_code == 200


def of_age(world, dossier) -> None:
    """The holder is no minor any more: the feed brings another birth date."""
    answer = world.feed().put(dossier.path, {**dossier.patient, "birthDate": birth_date(20)})
    assert answer.status_code == 200, answer.text


def test_of_an_adult_it_is_told_neither_to_a_guardian_nor_to_whom_he_appoints(world):
    traitant, given = world.professional(), world.professional(secret_session=True)
    dossier = world.open(age=15, traitant=traitant, people=("MTH", "NOK"))
    period = {"start": day(days=-1), "end": day(days=30)}
    consent = world.consent(dossier, "access", given, by=given, evidence="oral", period=period)
    of_age(world, dossier)
    person = {**related("GUARD", period={"end": day(days=20)}), "patient": {"reference": dossier.path}}
    guardian = world.representative(dossier, world.write(world.holder(dossier), person)["id"])
    friend = {"reference": f"RelatedPerson/{dossier.people['NOK']}"}
    world.consent(dossier, "mandate", friend, by=guardian, period={"start": day(days=-1), "end": day(days=10)})
    for asker in (guardian, world.mandataire(dossier, dossier.people["NOK"])):
        assert asker.get(f"Consent/{consent['id']}").status_code == 404
        assert consent["id"] not in asker.get(f"Consent?patient={dossier.id}").text
        assert given.idnps not in asker.get(f"{dossier.path}/$access-list").text
    assert given.get(f"DocumentReference?patient={dossier.id}").status_code == 200
    assert world.holder(dossier).get(f"Consent/{consent['id']}").status_code == 200


def test_a_session_with_an_adult_is_none(world):
    """His guardian is told of it; what was given and done while the holder was a minor stays as it is."""
    traitant, given, met, plain = (world.professional() for _ in range(4))
    dossier = world.open(age=15, traitant=traitant, people=("MTH",))
    document, session = world.deposit(dossier, plain), secretly(world, traitant)
    hidden, team = world.deposit(dossier, session), world.write(session, care_team(dossier, met))
    of_age(world, dossier)
    person = {**related("GUARD"), "patient": {"reference": dossier.path}}
    guardian = world.representative(dossier, world.write(world.holder(dossier), person)["id"])

    def journal() -> list[dict]:
        found = [one["resource"] for one in guardian.get(f"AuditEvent?patient={dossier.id}&_count=500").json()["entry"]]
        return [one for one in found if traitant.idnps in repr(one["agent"]) or given.idnps in repr(one["agent"])]

    assert journal() == [] and hidden["id"] not in guardian.get(f"{dossier.path}/$everything?_count=500").text
    assert guardian.get(f"DocumentReference/{hidden['id']}").status_code == guardian.get(f"CareTeam/{team['id']}").status_code == 404
    # The session runs on: what is done in it now is told, and what is written in it shown.
    assert session.get(f"DocumentReference/{document['id']}").status_code == 200
    bundle = {"resourceType": "Bundle", "type": "batch"}
    session.post("", {**bundle, "entry": [{"request": {"method": "GET", "url": f"DocumentReference?patient={dossier.id}"}}]})
    made, other = world.deposit(dossier, session), world.write(session, care_team(dossier, plain))
    assert labels_of(made["securityLabel"]) == {"N"}
    own = {"evidence": "oral", "period": {"start": day(days=-1), "end": day(days=30)}}
    consent = world.consent(dossier, "access", given, by=secretly(world, given), **own)
    broken = secretly(world, world.professional())
    assert broken.run(f"{dossier.path}/$break-glass", justification=JUSTIFICATION).status_code == 200
    for path in (f"DocumentReference/{made['id']}", f"CareTeam/{other['id']}", f"Consent/{consent['id']}"):
        assert guardian.get(path).status_code == 200, path
    kinds = sorted(one["subtype"][0]["code"] for one in journal())
    assert kinds == ["batch", "create", "create", "read", "update"]
    assert broken.idnps in guardian.get(f"{dossier.path}/$access-list").text
    told = guardian.get(f"Communication?patient={dossier.id}").text
    assert broken.idnps in told and given.idnps in told
    assert session.patch(f"DocumentReference/{made['id']}", HIDE).status_code == 403
    # What was told to nobody then is told to nobody now.
    assert hidden["id"] not in guardian.get(f"AuditEvent?patient={dossier.id}&_count=500").text
    assert guardian.get(f"DocumentReference/{hidden['id']}").status_code == guardian.get(f"CareTeam/{team['id']}").status_code == 404


def test_the_opening_for_an_adult_is_told_to_his_guardian(world):
    opener = world.professional(secret_session=True)
    dossier = world.open(by=opener, people=("GUARD",))
    assert opener.idnps in world.representative(dossier).get(f"AuditEvent?patient={dossier.id}").text


def transaction(method: str, url: str, resource: dict) -> dict:
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": resource, "request": {"method": method, "url": url}}]}


@pytest.mark.parametrize("by", ["consent", "team", "grant"])
def test_what_nothing_but_a_secret_right_lets_do_is_told_to_no_representative(world, minor, by):
    dossier, traitant, mother = minor
    given, author = world.professional(), world.professional()
    document, plain = world.deposit(dossier, author), world.write(traitant, care_team(dossier, author))
    before, path = told(dossier, mother), f"DocumentReference/{document['id']}"
    period = {"start": day(days=-1), "end": day(days=30)}
    own = {"by": secretly(world, given), "evidence": "oral", "period": period}
    if by == "consent":
        consent = world.consent(dossier, "access", given, **own)
    elif by == "team":
        world.write(secretly(world, traitant), care_team(dossier, given))
    else:
        assert secretly(world, given).run(f"{dossier.path}/$break-glass", justification=JUSTIFICATION).status_code == 200

    # What he does by it, in his ordinary sessions.
    paths = [dossier.path, path, f"DocumentReference?patient={dossier.id}", f"{dossier.path}/$everything", f"{path}/_history"]
    assert [given.get(one).status_code for one in paths] == [200] * len(paths)
    entries = [{"request": {"method": "GET", "url": one}} for one in paths[1:3]]
    for kind in ("batch", "transaction"):
        answer = given.post("", {"resourceType": "Bundle", "type": kind, "entry": entries})
        assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["200", "200"]
    if by == "consent":  # ended and given again
        world.revoke(given, given.get(f"Consent/{consent['id']}").json())
        world.consent(dossier, "access", given, **own)
    if by == "team":
        # Such a member writes a team that is told no more than his own, and changes no other.
        other = world.write(given, care_team(dossier, world.professional()))
        assert mother.get(f"CareTeam/{other['id']}").status_code == 404
        assert given.put(f"CareTeam/{plain['id']}", {**plain, "name": "x"}).status_code == 422
    assert told(dossier, mother) == before
    assert all(given.idnps not in mother.get(one).text for one in before)
    assert given.idnps in traitant.get(f"AuditEvent?patient={dossier.id}&_count=500").text
    # What he deposits needs no right: it is told, and so is what he does with it.
    own = world.deposit(dossier, given)
    assert given.get(f"DocumentReference/{own['id']}").status_code == 200
    journal = mother.get(f"AuditEvent?patient={dossier.id}&_count=500").json()["entry"]
    kinds = [one["resource"]["subtype"][0]["code"] for one in journal if given.idnps in repr(one["resource"]["agent"])]
    assert sorted(kinds) == ["create", "read"] and mother.get(f"DocumentReference/{own['id']}").status_code == 200
    # Once something else lets him in too, what he does is told as of anybody, without a word about the glass.
    world.consent(dossier, "access", given, by=mother)
    given.get(path)
    journal = mother.get(f"AuditEvent?patient={dossier.id}&_count=500").json()["entry"]
    own = [one["resource"] for one in journal if given.idnps in repr(one["resource"]["agent"])]
    assert len(own) == 3 and "BTG" not in repr(own)


def test_with_an_adult_no_session_is_secret_and_whoever_acts_for_him_is_told_who_asked_whether_there_is_a_dossier(world):
    anna, counts = world.professional(), {}
    for age, code in ((76, "GUARD"), (15, "MTH")):
        dossier = world.open(age=age, people=(code,))
        told = counts[age] = []
        for asker in (anna, secretly(world, anna)):
            assert asker.get(f"Patient?identifier={INS}|{dossier.ins}").json()["total"] == 1
            journal = world.representative(dossier).get(f"AuditEvent?patient={dossier.id}&_count=500").json()["entry"]
            told.append(sum(anna.idnps in repr(one["resource"]["agent"]) for one in journal))
    assert counts == {76: [1, 2], 15: [1, 1]}
