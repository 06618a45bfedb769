"""$break-glass. Code de la santé publique L1111-17 I, R1111-48"""

import pytest

from fhir_dmp.fhir.instants import from_instant
from tests.access.test_consents import reads
from tests.access.world import FINESS, NURSE, category, consent, day, listed, refused
from tests.interactions.making import issue


def breaks(asker, dossier, justification="patient inconscient"):
    return asker.run(f"{dossier.path}/$break-glass", justification=justification)


def test_a_physician_breaks_the_glass_for_an_hour(world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    document = world.deposit(dossier, traitant)
    assert not reads(anna, dossier)
    answer = breaks(anna, dossier)
    assert answer.status_code == 200
    said = {one["name"]: one for one in answer.json()["parameter"]}
    began = from_instant(listed(traitant, dossier, "Communication")[0]["sent"])
    assert abs(from_instant(said["expires"]["valueInstant"]) - began - 3_600_000) < 1000 and said["grant"]["valueId"]
    assert reads(anna, dossier)
    assert anna.get(f"DocumentReference/{document['id']}").status_code == 200


def test_holder_and_medecin_traitant_are_told(world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    breaks(anna, dossier, "douleur thoracique")
    for asker in (world.holder(dossier), traitant):
        (told,) = listed(asker, dossier, "Communication")
        assert told["category"][0]["coding"][0]["code"] == "emergency-access"
        assert anna.idnps in told["payload"][0]["contentString"] and "douleur thoracique" in told["payload"][0]["contentString"]
    assert listed(anna, dossier, "Communication") == []


def test_the_trace_comes_first_and_later_ones_say_btg(world):
    anna, dossier = world.professional(), world.open()
    breaks(anna, dossier, "choc")
    assert reads(anna, dossier)
    traces = listed(world.holder(dossier), dossier, "AuditEvent")
    own = [one for one in traces if any(agent.get("who", {}).get("identifier", {}).get("value") == anna.idnps for agent in one["agent"])]
    codes = [[coding["code"] for coding in one.get("subtype", [])] for one in sorted(own, key=lambda one: one["recorded"])]
    assert "110127" in [code for each in codes for code in each]
    after = codes.index(next(each for each in codes if "110127" in each))
    later = sorted(own, key=lambda one: one["recorded"])[after + 1 :]
    assert later
    for one in later:
        said = [c["code"] for agent in one["agent"] for concept in agent.get("purposeOfUse", []) for c in concept["coding"]]
        said += [c["code"] for concept in one.get("purposeOfEvent", []) for c in concept["coding"]]
        assert "BTG" in said and "TREAT" not in said


@pytest.mark.parametrize("words", ["", "   ", None])
def test_a_justification_is_needed(world, words):
    anna, dossier = world.professional(), world.open()
    answer = anna.run(f"{dossier.path}/$break-glass", **({} if words is None else {"justification": words}))
    assert answer.status_code == 422 and not reads(anna, dossier)
    assert listed(world.holder(dossier), dossier, "Communication") == []


def test_only_a_physician(world):
    dossier = world.open()
    for asker in (world.professional(profession=NURSE), world.structure(), world.holder(dossier), world.feed(), world.operator()):
        assert refused(breaks(asker, dossier)), asker.kind


def test_nobody_is_told_of_an_access_that_a_purpose_forbids(world):
    traitant, anna = world.professional(), world.professional(purpose="HOPERAT")
    dossier = world.open(traitant=traitant)
    period = {"start": day(), "end": day(days=30)}
    assert refused(breaks(anna, dossier))
    assert refused(anna.post("Consent", consent(dossier, "access", anna, evidence="oral", period=period)))
    for told in (traitant, world.holder(dossier)):
        assert listed(told, dossier, "Communication") == []
    assert breaks(world.again(anna, extensions=None), dossier).status_code == 200


def test_an_opposition_refuses_in_the_words_of_an_unknown_dossier(world):
    anna, dossier = world.professional(), world.open(emergencyBreakGlass=False)
    opposed = breaks(anna, dossier)
    unknown = anna.run("Patient/unknown/$break-glass", justification="choc")
    assert refused(opposed) and opposed.content == unknown.content


def test_who_has_access_already_is_told(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    assert (breaks(anna, dossier).status_code, issue(breaks(anna, dossier))[1]) == (409, "conflict")
    carl = world.professional()
    assert breaks(carl, dossier).status_code == 200 and breaks(carl, dossier).status_code == 409


def test_a_blocked_professional_is_refused(world):
    anna, dossier = world.professional(), world.open()
    world.consent(dossier, "block", anna)
    assert refused(breaks(anna, dossier))


@pytest.mark.parametrize("what", ["block", "opposition"])
def test_a_block_or_opposition_ends_it_at_once_and_for_good(world, what):
    anna, dossier = world.professional(), world.open()
    breaks(anna, dossier)
    assert reads(anna, dossier)
    if what == "block":
        ending = world.consent(dossier, "block", anna)
        assert not reads(anna, dossier)
        world.revoke(world.holder(dossier), ending)
    else:
        world.consent(dossier, "emergency-break-glass", permit=False)
        assert not reads(anna, dossier)
        world.consent(dossier, "emergency-break-glass", permit=True)
    assert not reads(anna, dossier)


def test_masked_documents_need_the_holders_word(world):
    traitant, anna, carl = world.professional(), world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    masked = world.deposit(dossier, traitant, labels=("MASQUE_PS",))
    breaks(anna, dossier)
    assert anna.get(f"DocumentReference/{masked['id']}").status_code == 404
    world.consent(dossier, "emergency-masked", permit=True)
    assert anna.get(f"DocumentReference/{masked['id']}").status_code == 200
    assert refused(carl.get(dossier.path))


def test_to_claim_btg_alone_gives_nothing(world):
    dossier = world.open()
    assert not reads(world.professional(purpose="BTG"), dossier)


def test_regulation_and_break_glass_are_opposed_apart(world):
    samu, anna = world.professional(regulation=True, purpose="ETREAT"), world.professional()
    dossier = world.open(emergencyRegulation=False)
    assert not reads(samu, dossier) and breaks(anna, dossier).status_code == 200
    other = world.open(emergencyBreakGlass=False)
    assert reads(samu, other) and refused(breaks(world.professional(), other))


def test_a_regulation_physician_breaks_the_glass_where_regulation_alone_is_opposed(world):
    """While it is broken his requests count as that, whatever the token."""
    samu, dossier = world.professional(regulation=True, purpose="ETREAT"), world.open(emergencyRegulation=False)
    assert not reads(samu, dossier)
    assert breaks(samu, dossier).status_code == 200 and reads(samu, dossier)


def test_a_grant_that_a_block_of_the_structure_ended_stays_ended(world):
    anna, dossier = world.professional(), world.open()
    assert breaks(anna, dossier).status_code == 200 and reads(anna, dossier)
    structure = {"identifier": {"system": FINESS, "value": anna.organization}}
    block = world.consent(dossier, "block", structure)
    assert not reads(anna, dossier)
    world.revoke(world.holder(dossier), block)
    assert not reads(anna, dossier)


def test_of_an_access_by_regulation_holder_and_medecin_traitant_are_told_once_an_hour(world):
    samu, traitant = world.professional(regulation=True, purpose="ETREAT"), world.professional()
    dossier = world.open(traitant=traitant)
    made = world.deposit(dossier, traitant)
    # Of one document alone nothing is told: it may be hidden from the holder.
    assert samu.get(f"DocumentReference/{made['id']}").status_code == 200
    assert listed(traitant, dossier, "Communication") == []
    for _ in range(2):
        assert samu.get(f"DocumentReference?patient={dossier.id}&_summary=count").json()["total"] == 1
    for asker in (world.holder(dossier), traitant):
        told = [one["payload"][0]["contentString"] for one in listed(asker, dossier, "Communication")]
        # Twice where the hour ends in between.
        assert len(told) in (1, 2) and all("SAMU" in one and samu.idnps in one for one in told)


def test_who_takes_his_yes_to_emergencies_back_says_no(world):
    """And who takes his no back says what he had said by default."""
    dossier, stranger = world.open(), world.professional()
    samu = world.professional(regulation=True, purpose="ETREAT")
    holder = world.holder(dossier)
    said = {category(one): one for one in listed(holder, dossier, "Consent")}
    assert reads(samu, dossier)
    for name in ("emergency-break-glass", "emergency-regulation"):
        assert holder.put(f"Consent/{said[name]['id']}", {**said[name], "status": "inactive"}).status_code == 200
    assert refused(stranger.run(f"{dossier.path}/$break-glass", justification="inconscient")) and not reads(samu, dossier)
    no = world.write(holder, consent(dossier, "emergency-break-glass", permit=False))
    assert refused(stranger.run(f"{dossier.path}/$break-glass", justification="inconscient"))
    assert holder.put(f"Consent/{no['id']}", {**no, "status": "inactive"}).status_code == 200
    assert stranger.run(f"{dossier.path}/$break-glass", justification="inconscient").status_code == 200
