"""Who has access, and why.

Code de la santé publique L1111-19
"""

from hypothesis import given, settings

from fhir_dmp.consent.access_list import Listed, access_list
from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.decide import decide
from fhir_dmp.consent.dossier import Dossier, Right
from fhir_dmp.dmp.documents import Facts
from tests.consent.strategies import NOW, dossiers

DOCTOR, NURSE, FRIEND, HOSPITAL = "ps:810000000001", "ps:810000000002", "ps:810000000003", "org:1750000010"


def test_everybody_once_with_the_first_reason():
    dossier = Dossier(
        patient="p",
        birth_date="1980-05-17",
        traitant=frozenset({DOCTOR}),
        team=(Right(DOCTOR), Right(NURSE, NOW - 1, NOW + 10), Right(NURSE, NOW - 1, NOW + 20)),
        access=(Right(HOSPITAL), Right(FRIEND, NOW - 10, NOW)),
        blocks=(Right(FRIEND), Right(HOSPITAL)),
    )
    assert access_list(dossier, NOW) == (
        Listed(HOSPITAL, "consent", None, True),
        Listed(DOCTOR, "medecin-traitant", None, False),
        Listed(NURSE, "care-team", NOW + 20, False),
        Listed(FRIEND, "", None, True),
    )


@settings(max_examples=150, deadline=None)
@given(dossiers)
def test_whoever_is_not_listed_or_is_blocked_reads_nothing(dossier):
    listed = {one.who for one in access_list(dossier, NOW) if not one.blocked}
    for person in (DOCTOR, NURSE, FRIEND, "ps:810000000004", "ps:899999999999"):
        request = Request(kind="professional", person=person, professions=frozenset({"G15|10"}), sector="SA07")
        if person not in listed:
            assert decide(request, dossier, Facts(type="11488-4"), NOW).effect == "refuse"
