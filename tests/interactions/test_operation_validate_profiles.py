"""[type]/$validate against the profiles of the DMP. https://hl7.org/fhir/R4/resource-operation-validate.html"""

import os
import time

import pytest

from fhir_dmp.fhir.profiles import url_of
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings
from tests.interactions.making import issues, patient, places, refused
from tests.profiles.reading import BAD, GOOD, bad, good, read

VALID = [("information", "informational")]
FRENCH = {"accept_language": "fr-FR, en;q=0.5"}
CLAIMS = {
    "SubjectNameID": "810009999011",
    "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"],
    "SubjectOrganizationID": "1350000017",
    "auth_mode": "CPS",
    "extensions": {"ihe_iua": {"purpose_of_use": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]}},
}


@pytest.fixture
def physician(server):
    """Header of a professional's token."""
    tokens = Tokens.open(Settings(data=server.data, sandbox=True))
    return {"authorization": f"Bearer {tokens.issue('professional', CLAIMS, now_ms=time.time_ns() // 1_000_000, random=os.urandom)}"}


def said(answer):
    assert answer.status_code == 200, answer.text
    return [(issue["severity"], issue["code"]) for issue in issues(answer)]


def asked(resource, **given):
    parts = [{"name": name, ("valueUri" if name == "profile" else "valueCode"): value} for name, value in given.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": resource}, *parts]}


def test_every_bad_example_is_told_as_the_guide_says(fhir):
    found = {}
    for name, expected in BAD.items():
        resource = bad(name)
        answer = fhir.post(f"{resource['resourceType']}/$validate", asked(resource, mode="profile", profile=expected["profile"]))
        found[name] = [severity for severity, _ in said(answer)], places(answer)
    assert found == {name: ([expected["severity"]], [expected["expression"]]) for name, expected in BAD.items()}


def test_every_good_example_is_valid_by_what_it_claims(fhir):
    examples = {path.stem: read(path) for path in GOOD}
    found = {name: said(fhir.post(f"{one['resourceType']}/$validate", one)) for name, one in examples.items()}
    assert {name: told for name, told in found.items() if told != VALID} == {}


def test_a_good_example_follows_the_profile_it_claims_and_one_more(fhir):
    resource = good("DocumentReference-consultation")
    assert said(fhir.post("DocumentReference/$validate", resource)) == VALID
    core = url_of("dmp-document-reference-core")
    assert said(fhir.post(f"DocumentReference/$validate?profile={core}", resource)) == VALID
    simplified = url_of("dmp-simplified-publish")
    assert places(fhir.post(f"DocumentReference/$validate?profile={simplified}", resource)) == [
        "DocumentReference.content[0].attachment.data",
        "DocumentReference.content[0].attachment.url",
    ]


def test_what_a_resource_claims_is_held_against_it(fhir):
    resource = good("Consent-mandat")
    del resource["provision"]["period"]["end"]
    assert places(fhir.post("Consent/$validate", resource)) == ["Consent.provision.period.end"]
    resource["meta"]["profile"] = ["http://x.example/unknown"]
    assert said(fhir.post("Consent/$validate", resource)) == VALID


def test_faults_of_r4_and_of_the_profile_are_told_together_errors_first(fhir):
    resource = good("DocumentReference-consultation")
    resource["masterIdentifier"]["value"] = "CR-42"
    resource["status"] = "bogus"
    del resource["author"]
    answer = fhir.post("DocumentReference/$validate", resource)
    assert said(answer) == [("error", "code-invalid"), ("error", "required"), ("warning", "invariant")]
    assert places(answer) == ["DocumentReference.status", "DocumentReference.author", "DocumentReference.masterIdentifier"]


def test_in_french_for_those_who_ask(fhir):
    resource = good("DocumentReference-consultation")
    resource["status"] = "bogus"
    del resource["author"]
    words = [issue["diagnostics"] for issue in issues(fhir.post("DocumentReference/$validate", resource, **FRENCH))]
    assert (
        words[0].startswith("`bogus` n'est pas un des codes admis ici") and words[1] == "`author` est exigé ici : Qui a rédigé le document"
    )
    plain = [issue["diagnostics"] for issue in issues(fhir.post("DocumentReference/$validate", resource))]
    assert plain[0].startswith("`bogus` is not one of the codes") and plain[1] == "`author` is required here: Who wrote the document"
    nothing = fhir.post("Patient/$validate", patient(), **FRENCH)
    assert issues(nothing)[0]["diagnostics"] == "aucun défaut trouvé"


def test_a_profile_of_another_type_is_a_fault(fhir):
    answer = fhir.post(f"Patient/$validate?profile={url_of('dmp-care-team')}", patient())
    assert said(answer) == [("error", "structure")] and "CareTeam" in issues(answer)[0]["diagnostics"]


def test_a_stored_resource_is_judged_where_none_is_sent(fhir):
    made = fhir.new(patient())
    profile = url_of("dmp-patient")
    answer = fhir.get(f"{made.path}/$validate?mode=profile&profile={profile}")
    assert places(answer) == places(fhir.post("Patient/$validate", asked(made.value, mode="profile", profile=profile))) != []
    assert refused(fhir.get(f"Patient/nobody/$validate?mode=profile&profile={profile}")) == (404, "not-found")


def test_of_a_professional_a_creation_follows_what_deposits_must_follow(fhir, physician):
    resource = good("DocumentReference-consultation")
    del resource["meta"], resource["content"][0]["format"]
    answer = fhir.post("DocumentReference/$validate?mode=create", resource, **physician)
    told = {place: issue["severity"] for issue in issues(answer) for place in issue.get("expression", ())}
    assert told["DocumentReference.content[0].format"] == "warning"
    wrong = fhir.post("DocumentReference/$validate?mode=create", resource | {"docStatus": "final"}, **physician)
    told = {place: issue["severity"] for issue in issues(wrong) for place in issue.get("expression", ())}
    assert told["DocumentReference.docStatus"] == "error"
    assert "DocumentReference.content[0].format" not in places(fhir.post("DocumentReference/$validate?mode=create", resource))


def test_an_unknown_profile_or_version_is_refused(fhir):
    for profile in ("http://x.example/profile", f"{url_of('dmp-patient')}|9.9"):
        assert refused(fhir.post(f"Patient/$validate?profile={profile}", patient())) == (400, "not-supported")


def test_a_refusal_speaks_french_too(fhir):
    answer = fhir.post("Patient", {"resourceType": "Patient", "gender": "x"}, **FRENCH)
    assert refused(answer) == (422, "code-invalid")
    assert issues(answer)[0]["diagnostics"].startswith("`x` n'est pas un des codes admis ici")
    assert issues(fhir.get("Patient/nobody", **FRENCH))[0]["diagnostics"] == "cette ressource n'existe pas"
