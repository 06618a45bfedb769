"""Labels in requests.

CSP R1111-49, R1111-50, R1111-53
"""

from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.labelling import ADDING, REMOVING, acts_of, deposited, faults_of_deposit
from fhir_dmp.consent.law import Law
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.visibility import VISIBILITY, Change

DOCTOR = Request(kind="professional", person="ps:810000000001", auth_mode="CPS")


def test_every_label_is_added_and_removed_by_an_act_that_exists():
    assert set(ADDING) == set(REMOVING) == set(VISIBILITY)
    assert {*ADDING.values(), *REMOVING.values()} <= set(ACTS)
    assert acts_of(Change(frozenset({"N"}), frozenset())) == ("classify",)
    assert "classify" in ACTS and acts_of(Change(frozenset(), frozenset())) == ()


def test_a_depositor_by_card_is_among_the_authors():
    others = Facts(type="11488-4", authors=frozenset({"ps:810000000002"}))
    assert [i.expression for i in faults_of_deposit(DOCTOR, others)] == ["DocumentReference.author"]
    assert faults_of_deposit(Request(kind="professional", person=DOCTOR.person, auth_mode="AIR"), others) == []
    assert faults_of_deposit(Request(kind="structure", organization="org:1"), others) == []


def test_masked_and_invisible_together_is_a_setting():
    both = Facts(authors=frozenset({DOCTOR.person}), labels=frozenset({"MASQUE_PS", "INVISIBLE_PATIENT"}))
    assert [i.expression for i in faults_of_deposit(DOCTOR, both)] == ["DocumentReference.securityLabel"]
    assert faults_of_deposit(DOCTOR, both, Law(masked_and_invisible=True)) == []


def test_a_secret_session_always_hides_from_the_representatives():
    secret = Request(kind="professional", person=DOCTOR.person, secret_session=True)
    assert deposited(secret, frozenset()) == {"INVISIBLE_REPRESENTANTS_LEGAUX"}
    assert deposited(DOCTOR, frozenset({"MASQUE_PS"})) == {"MASQUE_PS"}
