"""Two dossiers of one person become one, and are parted again: nothing is weakened, nothing is lost, nothing is silent."""

import base64
import time

import pytest

from fhir_dmp.audit import chain
from tests.access.test_restore import observation
from tests.access.test_review_queue import queued
from tests.access.world import (
    INS,
    LOINC,
    NURSE,
    REPORT,
    VISIBILITY,
    care_team,
    category,
    day,
    document,
    now,
    number,
    patient,
    refused,
    related,
)


@pytest.fixture(scope="module")
def admin(world):
    return world.operator()


def joined(admin, ends, goes_on, operation="$merge", **given):
    """Parameters of the answer, by name."""
    answer = admin.run(f"{goes_on.path}/{operation}", **{"source-patient": {"reference": ends.path}, **given})
    assert answer.status_code == 200, answer.text
    return {one["name"]: one["resource"] for one in answer.json()["parameter"]}


def listed(asker, dossier, type_name="DocumentReference", more=""):
    """Resources that a search in a dossier shows, None where it is refused."""
    answer = asker.get(f"{type_name}?patient={dossier.id}&_count=1000{more}")
    if answer.status_code == 403:
        return None
    return [one["resource"] for one in answer.json().get("entry", []) if one["search"]["mode"] == "match"]


def titles(asker, dossier):
    found = listed(asker, dossier)
    return found if found is None else sorted(one["description"] for one in found)


class Two:
    """One person with two dossiers: old, with its own physician, and new."""

    def __init__(self, world):
        self.world = world
        self.anna, self.bruno, self.carla, self.dora = (world.professional() for _ in range(4))
        self.old, self.new = world.open(traitant=self.anna, people=("MTH",)), world.open(traitant=self.bruno)
        self.holders = world.holder(self.old), world.holder(self.new)
        world.consent(self.old, "access", self.carla)
        world.consent(self.new, "access", self.dora)
        self.first = world.deposit(self.old, self.anna, description="ancien")
        world.deposit(self.old, self.anna, description="masqué", labels=("MASQUE_PS",))
        self.recent = world.deposit(self.new, self.bruno, description="récent")

    def askers(self):
        return (self.anna, self.bruno, self.carla, self.dora, *self.holders, self.world.representative(self.old))

    def seen(self):
        """What everybody sees of both, without what tells of the acts themselves."""
        found = {}
        for place, asker in enumerate(self.askers()):
            for dossier in (self.old, self.new):
                for type_name in ("DocumentReference", "CareTeam", "RelatedPerson", "Consent", "Provenance"):
                    shown = listed(asker, dossier, type_name)
                    found[place, dossier.id, type_name] = shown and sorted(str(one) for one in shown if not closing(one))
        return found


def closing(resource):
    """The opening Consent is closed and opened again, which leaves a version and nothing else."""
    return resource["resourceType"] == "Consent" and resource["category"][1]["coding"][0]["code"] == "opening"


@pytest.fixture
def two(world):
    return Two(world)


def test_what_was_in_both_is_found_in_one_and_restrictions_come_along(world, admin, two):
    world.consent(two.old, "block", two.dora)
    preview = joined(admin, two.old, two.new, preview=True)
    assert "preview" in preview["outcome"]["issue"][-1]["diagnostics"] and titles(two.carla, two.old) == ["ancien"]
    told = joined(admin, two.old, two.new)
    assert told["outcome"]["issue"][0]["code"] == "multiple-matches"
    assert told["result"]["link"] == [{"other": {"reference": two.old.path}, "type": "replaces"}]
    assert "name" not in told["result"] and told["input"]["parameter"][0]["valueReference"] == {"reference": two.old.path}
    # The dossier that ended is closed to everybody, and opens no more.
    assert all(titles(asker, two.old) is None for asker in (two.anna, two.carla, two.bruno))
    assert two.holders[0].run(f"{two.old.path}/$reactivate").status_code == 409
    # The physician of the dossier that goes on sees everything, the mask too; the holder likewise.
    assert titles(two.bruno, two.new) == ["ancien", "masqué", "récent"] == titles(two.holders[1], two.new)
    # Who was let into the old one alone is not let into this one; the author sees what is his own.
    assert titles(two.carla, two.new) is None
    assert titles(two.anna, two.new) == ["ancien", "masqué"]
    # Who was blocked there is blocked here, whatever he had been given here.
    assert titles(two.dora, two.new) is None
    assert world.representative(two.old).get(f"DocumentReference?patient={two.new.id}").status_code == 403


def test_what_is_hidden_in_the_one_that_goes_on_is_read_nowhere_else(world, admin, two):
    """The rows of the dossier that ended are no copy to keep: what is hidden or withdrawn later is not written back there."""
    holder, mother = two.holders[0], world.representative(two.old, two.old.people["MTH"])
    paths = (f"DocumentReference/{two.first['id']}", f"{two.old.path}/$everything", two.first["content"][0]["attachment"]["url"])
    assert all(holder.get(path).status_code == 200 for path in paths)
    joined(admin, two.old, two.new)
    assert {asker.get(path).status_code for asker in (holder, mother) for path in paths} == {403, 404}
    joined(admin, two.old, two.new, "$unmerge")
    assert all(holder.get(path).status_code == 200 for path in paths)


def test_a_mask_holds_for_whoever_has_access_to_the_one_that_goes_on(world, admin, two):
    world.consent(two.old, "mask", code=[{"coding": [{"system": "http://loinc.org", "code": "34133-9"}]}])
    world.deposit(two.old, two.anna, description="par règle", type="34133-9")
    instance = {"meaning": "instance", "reference": {"reference": f"DocumentReference/{two.first['id']}"}}
    world.consent(two.old, "mask", data=[instance])
    assert titles(two.carla, two.old) == []
    joined(admin, two.old, two.new)
    assert titles(two.dora, two.new) == ["récent"]
    assert titles(two.bruno, two.new) == ["ancien", "masqué", "par règle", "récent"]


def test_an_opposition_in_one_is_an_opposition_in_both(world, admin, two):
    world.consent(two.old, "emergency-break-glass", permit=False)
    world.consent(two.old, "emergency-regulation", permit=False)
    world.consent(two.new, "emergency-break-glass", permit=True)
    world.consent(two.new, "reimbursement")
    world.consent(two.old, "reimbursement", permit=False)
    stranger, samu = world.professional(), world.professional(purpose="ETREAT", regulation=True)
    assert samu.get(f"DocumentReference?patient={two.new.id}").status_code == 200
    joined(admin, two.old, two.new)
    assert stranger.run(f"{two.new.path}/$break-glass", justification="urgence").status_code == 403
    assert samu.get(f"DocumentReference?patient={two.new.id}").status_code == 403
    joined(admin, two.old, two.new, "$unmerge")
    assert samu.get(f"DocumentReference?patient={two.new.id}").status_code == 200
    assert samu.get(f"DocumentReference?patient={two.old.id}").status_code == 403


def test_parted_again_each_has_what_it_had(world, admin, two):
    world.write(two.holders[0], care_team(two.old, two.carla))
    world.consent(two.old, "block", two.dora)
    world.consent(two.old, "emergency-masked", permit=True)
    replaced = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{two.first['id']}"}}]}
    world.deposit(two.old, two.anna, description="remplace", **replaced)
    before = two.seen()
    joined(admin, two.old, two.new)
    assert two.seen() != before
    assert joined(admin, two.old, two.new)["result"]["id"] == two.new.id  # asked again: done
    assert "link" not in joined(admin, two.old, two.new, "$unmerge")["result"]
    after = two.seen()
    assert {place: after[place] for place in before if before[place] != after[place]} == {}
    again = admin.run(f"{two.new.path}/$unmerge", **{"source-patient": {"reference": two.old.path}})
    assert again.status_code == 409
    # The same without an address of its own, as in R5.
    both = {"source-patient": {"reference": two.old.path}, "target-patient": {"reference": two.new.path}}
    assert admin.run("Patient/$merge", **both).status_code == 200 == admin.run("Patient/$unmerge", **both).status_code
    assert admin.run("Patient/$merge", **{"source-patient": {"reference": two.old.path}}).status_code == 422


def test_what_became_of_a_document_meanwhile_goes_back_with_it(world, admin, two):
    joined(admin, two.old, two.new)
    (copy,) = [one for one in listed(two.anna, two.new) if one["description"] == "ancien"]
    mask = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
    assert two.holders[1].patch(f"DocumentReference/{copy['id']}", mask).status_code == 200
    related_to = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{copy['id']}"}}]}
    world.deposit(two.new, two.anna, description="nouvelle version", **related_to)
    assert titles(two.anna, two.new) == ["masqué", "nouvelle version"]
    joined(admin, two.old, two.new, "$unmerge")
    assert titles(two.bruno, two.new) == ["récent"]
    assert titles(two.anna, two.old) == ["masqué", "nouvelle version"]
    # It was masked while it was there, and stays so.
    assert titles(two.carla, two.old) == []
    assert [one["id"] for one in listed(two.anna, two.old, more="&status=superseded")] == [two.first["id"]]


def of_category(asker, dossier, name):
    """Consents of a category that are in force."""
    return [one for one in listed(asker, dossier, "Consent", "&status=active") if category(one) == name]


def instances(*documents):
    return [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{one['id']}"}} for one in documents]


def opposes(world, dossier):
    """Who is not let in by an emergency: that of a call, that of whoever breaks the glass."""
    samu, stranger = world.professional(purpose="ETREAT", regulation=True), world.professional()
    asked = samu.get(f"DocumentReference?patient={dossier.id}"), stranger.run(f"{dossier.path}/$break-glass", justification="urgence")
    return [one.status_code == 403 for one in asked]


def test_what_is_forbidden_while_they_are_one_is_forbidden_in_both(world, admin, two):
    thea, nora = world.professional(), world.professional(profession=NURSE)
    holder, holder_there = two.holders
    for dossier, by in ((two.old, holder), (two.new, holder_there)):
        world.write(by, care_team(dossier, thea, nora))
    mother = world.write(holder_there, {**related("MTH"), "patient": {"reference": two.new.path}})
    world.deposit(two.old, two.anna, description="par règle", type="34133-9")
    world.deposit(two.old, two.anna, description="libre")
    world.deposit(two.new, two.bruno, description="libre aussi")
    for dossier in (two.old, two.new):
        for one in ("emergency-regulation", "emergency-break-glass"):
            world.consent(dossier, one)
    assert titles(thea, two.old) == ["ancien", "libre", "par règle"] == titles(nora, two.old)
    joined(admin, two.old, two.new)
    (copy,) = [one for one in listed(holder_there, two.new) if one["description"] == "ancien"]
    world.consent(two.new, "mask", data=instances(copy, two.recent))
    world.consent(two.new, "mask", data=instances(two.recent))
    world.consent(two.new, "mask", code=[{"coding": [{"system": "http://loinc.org", "code": "34133-9"}]}])
    world.consent(two.new, "block", nora, performer={"reference": f"RelatedPerson/{mother['id']}"})
    for one in ("emergency-regulation", "emergency-break-glass"):
        world.consent(two.new, one, permit=False)
    world.consent(two.new, "access", late := world.professional())
    joined(admin, two.old, two.new, "$unmerge")
    # In the dossier that opens again, under its own ids, sealed and traced.
    assert titles(thea, two.old) == ["libre"]
    assert thea.get(f"DocumentReference/{two.first['id']}").status_code == 404
    assert titles(nora, two.old) is None
    assert opposes(world, two.old) == [True, True]
    assert titles(late, two.old) is None
    masks, (block,) = of_category(holder, two.old, "mask"), of_category(holder, two.old, "block")
    assert len(masks) == 2
    assert [one["provision"]["data"] for one in masks if "data" in one["provision"]] == [instances(two.first)]
    assert block["performer"] == [{"display": "of the other dossier"}]
    (said,) = of_category(holder, two.old, "emergency-regulation")
    assert said["provision"]["type"] == "deny"
    told = str(listed(holder, two.old, "AuditEvent"))
    for one in (*masks, block, said):
        assert two.new.id not in str(one) and one["patient"] == {"reference": two.old.path}
        parts = {part["name"]: part.get("valueCode") for part in holder.get(f"Consent/{one['id']}/$verify").json()["parameter"]}
        assert parts["seal"] == "passed"
        assert f"Consent/{one['id']}" in told
    # And in the one that went on, as it was said there.
    assert titles(thea, two.new) == ["libre aussi"]
    assert titles(nora, two.new) is None
    assert opposes(world, two.new) == [True, True]
    assert titles(late, two.new) == ["libre aussi"]
    # Revoked in one, it is revoked there; what it had ended does not speak again, the default does.
    world.revoke(holder, said)
    assert opposes(world, two.old) == [False, True] and opposes(world, two.new) == [True, True]


def test_who_is_medecin_traitant_no_longer_is_so_of_neither(world, admin):
    anna = world.professional()
    old, new = world.open(traitant=anna), world.open(traitant=anna)
    world.deposit(old, anna, description="ancien", labels=("MASQUE_PS",))
    joined(admin, old, new)
    value = world.holder(new).get(new.path).json()
    rest = {name: part for name, part in value.items() if name != "generalPractitioner"}
    assert world.holder(new).put(new.path, rest).status_code == 200
    joined(admin, old, new, "$unmerge")
    assert titles(anna, new) is None and "generalPractitioner" not in world.holder(old).get(old.path).json()
    other = world.open(traitant=anna)
    joined(admin, other, new)
    joined(admin, other, new, "$unmerge")
    assert titles(anna, other) == []


def test_who_took_his_yes_to_emergencies_back_in_one_has_said_no_in_both(world, admin, two):
    holder = two.holders[0]
    for name in ("emergency-regulation", "emergency-break-glass"):
        (said,) = of_category(holder, two.old, name)
        world.revoke(holder, said)
    assert opposes(world, two.old) == [True, True] and opposes(world, two.new) == [False, False]
    joined(admin, two.old, two.new)
    assert opposes(world, two.new) == [True, True]
    joined(admin, two.old, two.new, "$unmerge")
    assert opposes(world, two.old) == [True, True]


def test_a_no_that_was_lifted_in_one_lifts_none_in_the_other(world, admin, two):
    for name in ("emergency-regulation", "emergency-break-glass"):
        (said,) = of_category(two.holders[1], two.new, name)
        world.revoke(two.holders[1], said)
        world.revoke(two.holders[0], world.consent(two.old, name, permit=False))
    assert opposes(world, two.new) == [True, True] and opposes(world, two.old) == [False, False]
    joined(admin, two.old, two.new)
    assert opposes(world, two.new) == [True, True]


def test_who_is_let_in_no_longer_is_so_by_neither(world, admin, two):
    """Access and teams, of the dossier that goes on or of a copy; blocks that were set again in a copy, or lifted there."""
    holder, holder_there = two.holders
    both, copied, member, kept, blocked, freed = (world.professional() for _ in range(6))
    world.consent(two.old, "access", both, kept)
    world.consent(two.old, "access", copied)
    world.write(holder, care_team(two.old, member, kept))
    team = world.write(holder_there, care_team(two.new, member, kept))
    own = world.consent(two.new, "access", both)
    for one in (two.old, two.new):
        world.consent(one, "access", blocked, freed)
    world.revoke(holder, world.consent(two.old, "block", blocked))
    world.consent(two.old, "block", freed)
    joined(admin, two.old, two.new)
    copies = {category(one) + actor["reference"]["identifier"]["value"]: one
              for one in listed(holder_there, two.new, "Consent") for actor in one["provision"].get("actor", ())}  # fmt: skip
    world.revoke(holder_there, own)
    world.revoke(holder_there, copies["access" + copied.rpps])
    assert holder_there.put(f"CareTeam/{team['id']}", {**team, "participant": team["participant"][1:]}).status_code == 200
    again = copies["block" + blocked.rpps]
    assert holder_there.put(f"Consent/{again['id']}", {**again, "status": "active"}).status_code == 200
    world.revoke(holder_there, copies["block" + freed.rpps])
    assert titles(freed, two.new) is not None and titles(blocked, two.new) is None
    joined(admin, two.old, two.new, "$unmerge")
    for one in (both, copied, member, blocked, freed):
        assert titles(one, two.old) is None
    for one in (both, member, blocked):
        assert titles(one, two.new) is None
    assert titles(kept, two.old) == ["ancien"] and titles(kept, two.new) == ["récent"] == titles(freed, two.new)
    # Joined and parted once more, nothing of it is lost.
    joined(admin, two.old, two.new)
    assert titles(blocked, two.new) is None
    joined(admin, two.old, two.new, "$unmerge")
    assert titles(blocked, two.old) is None and titles(blocked, two.new) is None


def test_what_was_closed_while_they_were_one_stays_closed(world, admin, two):
    joined(admin, two.old, two.new)
    for operation in ("$close", "$reactivate"):
        assert two.holders[1].run(f"{two.new.path}/{operation}", reason="holder-request").status_code == 200
    joined(admin, two.old, two.new, "$unmerge")
    assert titles(two.carla, two.old) == ["ancien"] and titles(two.dora, two.new) == ["récent"]
    joined(admin, two.old, two.new)
    assert two.holders[1].run(f"{two.new.path}/$close", reason="holder-request").status_code == 200
    joined(admin, two.old, two.new, "$unmerge")
    assert [titles(one, two.old) for one in (two.anna, two.carla, two.bruno)] == [None] * 3
    assert two.holders[0].run(f"{two.old.path}/$reactivate").status_code == 200
    assert titles(two.carla, two.old) == ["ancien"] and titles(two.dora, two.new) is None


def test_rights_that_were_lost_while_they_were_one_are_lost_in_both(world, admin, two):
    joined(admin, two.old, two.new)
    assert world.host().run(f"{two.new.path}/$close", reason="rights-lost").status_code == 200
    assert two.holders[1].run(f"{two.new.path}/$close", reason="holder-request").status_code == 200
    joined(admin, two.old, two.new, "$unmerge")
    for holder, dossier, traitant in zip(two.holders, (two.old, two.new), (two.anna, two.bruno), strict=True):
        answer = holder.run(f"{dossier.path}/$reactivate", reason="holder-request")
        assert answer.status_code == 200 and answer.json()["active"] is False
        assert titles(traitant, dossier) is None and titles(holder, dossier) is not None


def test_who_died_while_they_were_one_is_dead_in_both(world, admin):
    old, new = (world.open(age=12, people=("MTH",)) for _ in range(2))
    mothers = world.representative(old), world.representative(new)
    joined(admin, old, new)
    assert world.host().run(f"{new.path}/$close", reason="deceased").status_code == 200
    joined(admin, old, new, "$unmerge")
    for mother, dossier in zip(mothers, (old, new), strict=True):
        assert refused(mother.get(dossier.path))
        assert mother.run(f"{dossier.path}/$reactivate", reason="holder-request").status_code == 403
    assert [refused(world.professional().run(f"{one.path}/$break-glass", justification="urgence")) for one in (old, new)] == [True, True]


def test_whose_title_ended_while_they_were_one_is_so_in_both(world, admin):
    dossiers = [world.open(age=12, people=("MTH",)) for _ in range(2)]
    for dossier in dossiers:
        mother = world.representative(dossier)
        for code in ("FTH", "ADOPTF"):
            value = {**related(code, identifier=[{"system": "urn:x-test", "value": code}]), "patient": {"reference": dossier.path}}
            dossier.people[code] = world.write(mother, value)["id"]
    old, new = dossiers
    asked = {code: world.representative(old, id) for code, id in old.people.items()}
    joined(admin, old, new)
    mother = world.representative(new)
    father = mother.get(f"RelatedPerson/{new.people['FTH']}").json()
    assert mother.put(f"RelatedPerson/{father['id']}", {**father, "active": False}).status_code == 200
    joined(admin, old, new, "$unmerge")
    assert {code: asker.get(old.path).status_code for code, asker in asked.items()} == {"MTH": 200, "FTH": 403, "ADOPTF": 200}
    assert refused(world.representative(new, new.people["FTH"]).get(new.path))


def test_what_was_corrected_while_they_were_one_is_judged_by_what_it_says_now(world, admin, two):
    """A mask by period hides it in the dossier that opens again, as it did in the one that went on, and its seals."""
    for dossier in (two.old, two.new):
        world.consent(dossier, "access", two.carla)
    world.consent(two.old, "mask", dataPeriod={"start": "2026-03-01", "end": "2026-03-31"})
    said = {**observation(two.old, two.anna), "effectiveDateTime": "2026-05-05"}
    made = world.write(two.anna, said)
    assert len(listed(two.carla, two.old, "Observation")) == 1
    joined(admin, two.old, two.new)
    (copy,) = listed(two.anna, two.new, "Observation")
    assert two.anna.put(f"Observation/{copy['id']}", {**copy, "effectiveDateTime": "2026-03-05"}).status_code == 200
    assert listed(two.carla, two.new, "Observation") == []
    joined(admin, two.old, two.new, "$unmerge")
    (now,) = listed(two.anna, two.old, "Observation")
    assert now["id"] == made["id"] and now["effectiveDateTime"] == "2026-03-05"
    assert listed(two.carla, two.old, "Observation") == []
    assert two.carla.get(f"Observation/{made['id']}").status_code == 404
    seals = [one for one in listed(two.carla, two.old, "Provenance") if made["id"] in str(one)]
    assert seals == [] != [one for one in listed(two.anna, two.old, "Provenance") if made["id"] in str(one)]


def test_what_is_sent_again_is_found_where_it_is(world, admin, two):
    def sent(value):
        answer = two.anna.post("DocumentReference", value)
        return answer.status_code, two.anna.get(answer.headers["location"].partition("/fhir/")[2]).status_code

    def named(dossier, **more):
        return document(dossier, two.anna, masterIdentifier={"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.25.{number()}"}, **more)

    first = named(two.old, description="envoyé")
    assert sent(first) == (201, 200)
    joined(admin, two.old, two.new)
    assert sent(first) == (200, 200)
    (copy,) = [one for one in listed(two.anna, two.new) if one["description"] == "envoyé"]
    second = named(two.new, relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{copy['id']}"}}])
    assert sent(second) == (201, 200)
    joined(admin, two.old, two.new, "$unmerge")
    assert sent(first) == sent(second) == (200, 200)
    assert len(listed(two.anna, two.old, more="&status=current,superseded")) == 4


def test_a_mask_that_was_over_before_dates_nothing_that_comes_then(world, admin, two):
    """Whoever saw the document in the dossier that ends would learn of the mask."""
    world.consent(two.new, "access", two.carla)
    until = now(seconds=3)
    world.consent(two.new, "mask", code=[{"coding": [{"system": LOINC, "code": REPORT}]}], period={"start": day(days=-1), "end": until})
    (seen,) = [one for one in listed(two.carla, two.old) if one["description"] == "ancien"]
    assert titles(two.dora, two.new) == []
    while titles(two.dora, two.new) == []:
        time.sleep(0.2)
    (late,) = listed(two.dora, two.new)
    assert late["meta"]["lastUpdated"] > two.recent["meta"]["lastUpdated"]
    joined(admin, two.old, two.new)
    shown = {one["description"]: one["meta"]["lastUpdated"] for one in listed(two.carla, two.new)}
    assert shown == {"ancien": seen["meta"]["lastUpdated"], "récent": late["meta"]["lastUpdated"]}
    told = [one for one in listed(two.bruno, two.new, "AuditEvent") if "$merge" in str(one) or one["action"] == "E"]
    assert not any("Consent/" in str(one) for one in told)
    joined(admin, two.old, two.new, "$unmerge")
    (after,) = listed(two.dora, two.new)
    assert after["meta"]["lastUpdated"] == late["meta"]["lastUpdated"]


def test_three_that_were_joined_are_parted_from_the_last_and_restrictions_go_all_the_way(world, admin, two):
    third, dan = world.open(), world.professional()
    for dossier in (two.old, two.new, third):
        world.consent(dossier, "access", dan)
    joined(admin, two.old, two.new)
    joined(admin, two.new, third)
    copies = [one for one in listed(world.holder(third), third) if one["description"] in ("ancien", "récent")]
    assert len(copies) == 2
    world.consent(third, "mask", data=instances(*copies))
    world.consent(third, "emergency-break-glass", permit=False)
    between = {"source-patient": {"reference": two.old.path}}
    assert admin.run(f"{two.new.path}/$unmerge", **between).status_code == 409
    assert admin.run(f"{two.new.path}/$unmerge", **between, preview=True).status_code == 409
    joined(admin, two.new, third, "$unmerge")
    joined(admin, two.old, two.new, "$unmerge")
    for dossier, shown in ((two.old, two.first), (two.new, two.recent), (third, None)):
        assert titles(dan, dossier) == []
        stranger = world.professional()
        assert stranger.run(f"{dossier.path}/$break-glass", justification="urgence").status_code == 403
        masks = of_category(world.holder(dossier), dossier, "mask")
        assert [one["provision"]["data"] for one in masks] == [instances(shown)] if shown else [instances(*copies)]


def proved(asker, trace):
    """$proof of a trace, values by name, the path as a list; it is waited for until a signed head covers the trace."""
    while (answer := asker.get(f"AuditEvent/{trace['id']}/$proof")).status_code == 503:
        time.sleep(0.5)
    assert answer.status_code == 200, answer.text
    told = {"path": []}
    for one in answer.json()["parameter"]:
        if "valueString" in one:
            told[one["name"]] = one["valueString"]
        elif one["name"] == "path":
            told["path"].append(base64.b64decode(one["valueBase64Binary"]))
        else:
            told[one["name"]] = base64.b64decode(one["valueBase64Binary"])
    return told


def included(told, committed):
    leaf = chain.leaf_data(chain.Position(told["chain"], int(told["number"]), told["row"]), committed)
    return chain.is_included(chain.leaf_hash(leaf), int(told["index"]), int(told["size"]), tuple(told["path"]), told["root"])


def test_a_trace_that_goes_back_is_proved_where_it_stands(world, admin, two):
    joined(admin, two.old, two.new)
    (copy,) = [one for one in listed(two.anna, two.new) if one["description"] == "ancien"]
    assert two.anna.get(f"DocumentReference/{copy['id']}").status_code == 200
    there = [one["id"] for one in listed(two.holders[1], two.new, "AuditEvent")]
    joined(admin, two.old, two.new, "$unmerge")
    back, other = {}, []
    for one in listed(two.holders[0], two.old, "AuditEvent"):
        if f"DocumentReference/{two.first['id']}" in str(one):
            told = proved(two.holders[0], one)
            if "id" in told:
                back[told["id"]] = one, told
            else:
                other.append((one, told))
    # What was done here: with its salt, which shows what the trace says.
    assert other
    for one, told in other:
        body = two.holders[0].get(f"AuditEvent/{one['id']}").content
        assert included(told, chain.commitment(told["salt"], body)) and not included(told, chain.commitment(told["salt"], body + b" "))
    # What was done there: its place in the journal, as it stood there, and nothing by which what it said there could be guessed.
    assert back and set(back) <= set(there)
    for one, told in back.values():
        assert "salt" not in told and included(told, told["commitment"])
        assert two.holders[0].get(f"AuditEvent/{told['id']}").status_code in (403, 404)
        assert one["id"] != told["id"]


def test_a_trace_that_went_back_stays_where_it_was_made_however_often_they_are_joined(world, admin, two):
    joined(admin, two.old, two.new)
    (copy,) = [one for one in listed(two.anna, two.new) if one["description"] == "ancien"]
    assert two.anna.get(f"DocumentReference/{copy['id']}").status_code == 200
    told = [one["id"] for one in listed(two.holders[1], two.new, "AuditEvent") if f"DocumentReference/{copy['id']}" in str(one)]
    journal = [one for one in told if "id" not in proved(two.holders[1], {"id": one})]
    assert journal
    for operation in ("$unmerge", "$merge", "$unmerge"):
        joined(admin, two.old, two.new, operation)
        assert {one["id"] for one in listed(two.holders[1], two.new, "AuditEvent")} >= set(journal), operation


def test_contents_and_seals_are_as_good_as_before(world, admin, two):
    large = document(two.old, two.anna, description="volumineux")
    large["content"][0]["attachment"]["data"] = "QUJD" * 100_000
    assert two.anna.post("DocumentReference", large).status_code == 201
    joined(admin, two.old, two.new)
    shown = [one for one in listed(two.bruno, two.new) if one["description"] != "récent"]
    assert len(shown) == 3
    for one in shown:
        url = one["content"][0]["attachment"]["url"]
        assert two.bruno.get(url, accept="text/plain").status_code == 200
        for what in (f"DocumentReference/{one['id']}", url):
            told = {part["name"]: part.get("valueCode") for part in two.bruno.get(f"{what}/$verify").json()["parameter"]}
            assert told["seal"] == "passed", (what, told)
    (big,) = [one for one in shown if one["description"] == "volumineux"]
    assert two.bruno.get(big["content"][0]["attachment"]["url"], accept="text/plain").content == b"ABC" * 100_000


def test_it_is_traced_told_and_in_doubt_looked_at(world, admin, two):
    joined(admin, two.old, two.new)
    # What was done in the old one is in the journal of the one that goes on, with the proof that it is kept.
    traces = listed(two.holders[1], two.new, "AuditEvent")
    acts = [one for one in traces if one["subtype"][0]["code"] == "operation"]
    assert len(acts) == 4 and sum("'operator'" in str(one) for one in acts) == 2  # two openings, the closing of one, the joining
    copied = next(one for one in traces if f"Patient/{two.new.id}" in str(one) and two.anna.rpps in str(one))
    assert {"commitment", "checkpoint", "id"} <= proved(two.holders[1], copied).keys()
    notices = [one["payload"][0]["contentString"] for one in listed(two.holders[1], two.new, "Communication")]
    assert any("a été réuni" in one for one in notices)
    (waiting,) = queued(world.operator("physician", "T1"), two.new)
    assert waiting["code"]["valueCode"] == "merge-in-doubt"
    assert waiting["resource"]["valueReference"]["reference"] == two.old.path
    assert "not certain" in waiting["justification"]["valueString"]


def test_what_a_preview_tells_of_two_people_is_in_the_journals_of_both(world, admin, two):
    def told(place, dossier):
        """Versions of its Patient that staff was told of, where nothing was written."""
        acts = [one for one in listed(two.holders[place], dossier, "AuditEvent") if "'operator'" in str(one) and one["action"] == "E"]
        return sum(f"{dossier.path}/_history" in str(one) for one in acts)

    joined(admin, two.old, two.new, preview=True)
    assert [told(0, two.old), told(1, two.new)] == [1, 1]
    joined(admin, two.old, two.new)
    before = told(1, two.new)
    joined(admin, two.old, two.new, "$unmerge", preview=True)
    assert told(1, two.new) == before + 1


def test_who_asks_for_the_old_number_finds_the_dossier_that_goes_on(world, admin, two):
    joined(admin, two.old, two.new)
    found = world.professional().get(f"Patient?identifier={INS}|{two.old.ins}").json()
    assert [one["resource"]["id"] for one in found["entry"]] == [two.new.id]
    assert world.holder(two.old.ins).get(f"DocumentReference?patient={two.new.id}").status_code == 200
    again = world.professional().run("Patient/$open", patient=patient(two.old.ins), evidence="oral", relatedPerson=[related("MTH")])
    assert again.status_code == 409


def test_whom_nothing_but_what_was_withdrawn_had_let_in_is_not_told_of_by_what_he_has_elsewhere(world, admin, two):
    eve = world.professional()
    gone = [world.deposit(two.old, eve, description="retiré") for _ in range(2)]
    world.deposit(two.new, eve, description="visible")
    assert titles(eve, two.old) == ["retiré"] * 2
    for one in gone:
        assert (
            eve.patch(f"DocumentReference/{one['id']}", [{"op": "replace", "path": "/status", "value": "entered-in-error"}]).status_code
            == 200
        )
    joined(admin, two.old, two.new)

    def told(asker):
        return {one["subtype"][0]["code"] for one in listed(asker, two.new, "AuditEvent") if eve.rpps in str(one)}

    assert told(two.bruno) == {"create"} and "search" in "".join(told(two.holders[1]))


def test_who_opened_one_of_the_two_is_handed_no_sheet_of_both(world, admin):
    """He would log in as the holder of what he did not open."""
    openers = world.structure(), world.professional()
    old, new = (world.open(by=one) for one in openers)
    joined(admin, old, new)
    assert all(refused(one.run(f"{dossier.path}/$access-sheet")) for one in openers for dossier in (old, new))
    joined(admin, old, new, "$unmerge")
    assert [openers[0].run(f"{one.path}/$access-sheet").status_code for one in (old, new)] == [200, 403]
    assert [openers[1].run(f"{one.path}/$access-sheet").status_code for one in (old, new)] == [403, 200]


def test_what_was_joined_leaves_with_the_dossier_that_goes_on(world, admin, two):
    """Labels set there since are not in the one that ended."""
    joined(admin, two.old, two.new)
    asked = {"recipient": {"system": "urn:x-test", "value": "other-host"}}
    for asker in (two.holders[0], world.host()):
        answer = asker.run(f"{two.old.path}/$export-dossier", **asked)
        assert answer.status_code == 409 and answer.json()["issue"][0]["code"] == "conflict"
    assert two.bruno.run(f"{two.old.path}/$export-dossier", **asked).status_code == 403


def test_who_may_and_what_cannot_be_joined(world, admin, two):
    given = {"source-patient": {"reference": two.old.path}}
    for asker in (two.bruno, two.holders[1], world.operator("physician", "T1"), world.host(), world.support()):
        assert asker.run(f"{two.new.path}/$merge", **given).status_code == 403
    assert admin.run(f"{two.new.path}/$merge").status_code == 400
    assert admin.run(f"{two.new.path}/$merge", **{"source-patient": {"reference": two.new.path}}).status_code == 422
    assert admin.run(f"{two.new.path}/$unmerge", **given).status_code == 409
    third = world.open()
    assert world.holder(third).run(f"{third.path}/$close", reason="holder-request").status_code == 200
    # What a holder has closed is not shown again by another dossier.
    assert admin.run(f"{two.new.path}/$merge", **{"source-patient": {"reference": third.path}}).status_code == 409
    joined(admin, two.old, two.new)
    fourth = world.open()
    for ends, goes_on in ((two.old, fourth), (fourth, two.old)):
        assert admin.run(f"{goes_on.path}/$merge", **{"source-patient": {"reference": ends.path}}).status_code == 409
