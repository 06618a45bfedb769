"""What a server for real use answers follows the profiles it publishes. https://hl7.org/fhir/R4/profiling.html"""

import pytest

from fhir_dmp.consent.directives import SHAPES
from fhir_dmp.fhir.profiles import deposit_issues, faults, url_of
from fhir_dmp.fhir.schema import validate
from tests.access.test_break_glass import breaks
from tests.access.world import care_team, document, listed
from tests.interactions.making import bundle, entry, issues, places

TRE_A05 = "https://mos.esante.gouv.fr/NOS/TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire"
LEVELS = {"seal", "message", "author"}


def profile_of(resource):
    """Id of the profile a stored resource must follow."""
    match resource["resourceType"]:
        case "Consent":
            codes = [coding["code"] for concept in resource["category"] for coding in concept["coding"]]
            return f"dmp-consent-{next(code for code in codes if code in SHAPES)}"
        case "Provenance":
            return f"dmp-provenance-{resource['activity']['coding'][0]['code']}"
        case kind:
            names = {"AuditEvent": "audit-event", "Communication": "notice", "CareTeam": "care-team", "Patient": "patient"}
            return f"dmp-{names.get(kind, 'document-reference-core')}"


@pytest.fixture(scope="module")
def dossier(world):
    """One in which something of everything happened."""
    traitant, anna = world.professional(), world.professional()
    made = world.open(traitant=traitant)
    holder = world.holder(made)
    world.write(holder, care_team(made, traitant))
    world.deposit(made, traitant)
    world.write(holder, document(made, holder) | {"type": {"coding": [{"system": TRE_A05, "code": "EXPPAT_3"}]}})
    for category in ("access", "block"):
        world.consent(made, category, world.professional())
    assert breaks(anna, made).status_code == 200
    made.traitant = traitant
    return made


@pytest.mark.parametrize("kind", ["Patient", "Consent", "CareTeam", "DocumentReference", "AuditEvent", "Communication", "Provenance"])
def test_what_is_served_follows_the_profile_of_its_kind(world, dossier, kind):
    # Traces whole: the words of queries are not for the holder.
    holder = dossier.traitant if kind == "AuditEvent" else world.holder(dossier)
    found = [holder.get(dossier.path).json()] if kind == "Patient" else listed(holder, dossier, kind)
    assert found
    for resource in found:
        assert validate(resource) == []
        errors = [fault for fault in faults(resource, url_of(profile_of(resource))) if fault.severity == "error"]
        assert errors == [], resource
        if kind == "Provenance":
            assert resource["activity"]["coding"][0]["code"] in LEVELS


def test_what_is_answered_to_a_search_and_to_the_existence_test_follows_its_profile(world, dossier):
    holder = world.holder(dossier)
    searchset = holder.get(f"DocumentReference?patient={dossier.id}").json()
    assert validate(searchset) == [] == faults(searchset, url_of("dmp-document-searchset"))
    (entry,) = world.professional().get(f"Patient?identifier=urn:oid:1.2.250.1.213.1.4.10|{dossier.ins}").json()["entry"]
    assert faults(entry["resource"], url_of("dmp-patient-existence")) == []


def test_what_the_server_keeps_could_be_deposited_again(world, dossier):
    for kind in ("Consent", "DocumentReference", "CareTeam"):
        for resource in listed(world.holder(dossier), dossier, kind):
            assert [issue for issue in deposit_issues(resource, "patient") if issue.severity == "error"] == []


def test_a_document_that_says_something_wrong_is_refused_with_every_fault(world, dossier):
    anna = world.professional()
    wrong = document(dossier, anna) | {"docStatus": "final", "modifierExtension": [{"url": "http://x.example/not", "valueBoolean": True}]}
    answer = anna.post("DocumentReference", wrong)
    assert answer.status_code == 422
    assert places(answer) == ["DocumentReference.modifierExtension", "DocumentReference.docStatus"]
    french = anna.post("DocumentReference", wrong, accept_language="fr")
    assert issues(french)[1]["diagnostics"].startswith("`docStatus` n'est pas admis ici")


def test_metadata_that_is_left_out_is_no_reason_to_refuse(world, dossier):
    anna = world.professional()
    little = document(dossier, anna)
    assert "masterIdentifier" not in little
    assert anna.post("DocumentReference", little).status_code == 201


def test_a_bad_example_is_refused_in_a_transaction_and_nothing_is_stored(world, dossier):
    anna = world.professional()
    wrong = document(dossier, anna) | {"docStatus": "final"}
    before = world.holder(dossier).get(f"DocumentReference?patient={dossier.id}&_summary=count").json()["total"]
    entries = [entry("POST", "DocumentReference", one) for one in (document(dossier, anna), wrong)]
    answer = anna.post("", bundle("transaction", *entries))
    assert answer.status_code == 422 and places(answer)[0].endswith("docStatus")
    assert world.holder(dossier).get(f"DocumentReference?patient={dossier.id}&_summary=count").json()["total"] == before
