"""What the server itself writes follows the profiles it publishes; what it declares is what there is. https://hl7.org/fhir/R4/profiling.html"""

import json as plain

import pytest

from fhir_dmp import __version__
from fhir_dmp.audit.event import Disclosed, Server, Trace, encode
from fhir_dmp.audit.kinds import KINDS
from fhir_dmp.consent import founding, notices
from fhir_dmp.consent.directives import SHAPES, category_of
from fhir_dmp.fhir.profiles import claimed, definitions, deposit_profiles, faults, known, profiles_for, url_of
from fhir_dmp.fhir.schema import validate
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions.capabilities import DOSSIER_TYPES, statement
from fhir_dmp.interactions.operations import OPERATIONS
from fhir_dmp.search.own import OWN
from tests.profiles.reading import artefacts, good

CANONICAL = "https://fhir-dmp.example.org/fhir/"
HOST = Server("urn:oid:1.2.250.1.999.1.1.8121")


@pytest.mark.parametrize("said", [{}, {"emergency-regulation": False, "emergency-break-glass": False}])
def test_the_consents_of_an_opening_follow_their_profiles(said):
    made = founding.founding(
        patient="p",
        at="2026-11-20T11:00:00.000Z",
        performer={"reference": "Patient/p"},
        organization={"type": "Organization", "display": "DMP"},
        evidence="oral",
        said=said,
    )
    for one in made:
        assert validate(one) == [] == faults(one, url_of(f"dmp-consent-{category_of(one)}"))
    assert {category_of(one) for one in made} == {"opening", "emergency-regulation", "emergency-break-glass", "emergency-masked"}


@pytest.mark.parametrize("code", notices.TEXTS)
def test_notices_follow_their_profile(code):
    said = notices.text(code, at_ms=0, who="ps:810009999037", why="Coma")
    notice = notices.notice(code, patient="p", recipients=[{"reference": "Patient/p"}], said=said, at_ms=0)
    assert validate(notice) == [] == faults(notice, url_of("dmp-notice"))


def trace(kind, outcome):
    patient = Actor(kind="patient", issuer="https://idp.example.org", subject="s", jti="j", client_id="c", expires=0, patient="p")
    return Trace(
        kind=kind,
        at_ms=0,
        actor=patient,
        outcome=outcome,
        reason="" if outcome == "0" else "refused",
        patient="p",
        disclosed=(Disclosed("DocumentReference", "d", "1"),),
        query="DocumentReference?patient=p",
        request_id="r",
        consents=("c",),
        labels=(("N",), ("N", "MASQUE_PS")) if kind in ("mask", "unmask") else None,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_trace_follows_its_profile(kind):
    named = {"vread": "read", "patch": "update", "search-type": "search", "search-system": "search"}.get(kind, kind)
    profile = url_of(f"dmp-audit-{named}")
    for outcome in ("0", "8"):
        if kind == "refusal" and outcome == "0":
            continue
        event = plain.loads(encode(trace(kind, outcome), id="t", version_id="1", server=HOST))
        assert validate(event) == [] == faults(event, profile if known(profile) else url_of("dmp-audit-event"))


def test_the_capability_statement_lists_the_profiles_and_no_other():
    listed = {
        one["type"]: one.get("supportedProfile", []) for one in statement("2026-11-22", sandbox=False, base_url="")["rest"][0]["resource"]
    }
    for type_name, urls in listed.items():
        assert tuple(urls) == profiles_for(type_name)
    every = {url for url, one in definitions().items() if not one["abstract"] and one["type"] != "Extension"}
    assert {url for urls in listed.values() for url in urls} == every
    assert all(known(url) for url in every) and set(DOSSIER_TYPES) >= {definitions()[url]["type"] for url in every}


def test_what_a_deposit_must_follow_is_published():
    for kind in SHAPES:
        consent = {
            "resourceType": "Consent",
            "category": [{"coding": [{"system": f"{CANONICAL}CodeSystem/dmp-consent-category", "code": kind}]}],
        }
        assert deposit_profiles(consent, "patient") == (url_of(f"dmp-consent-{kind}"),)
    for definition in definitions().values():
        assert definition["version"] == __version__


def test_operations_of_this_server_are_defined_as_they_are_served():
    defined = artefacts("OperationDefinition")
    for served in OPERATIONS:
        if not served.url.startswith(CANONICAL):
            continue
        definition = defined[served.url]
        inputs = {one["name"]: one for one in definition["parameter"] if one["use"] == "in"}
        taken = [one for one in served.parameters if one.name[0] != "_"]
        assert set(inputs) == {one.name for one in taken}
        for one in taken:
            # What is defined as required may be asked for by the operation itself, with its own status.
            assert inputs[one.name]["max"] == ("*" if one.many else "1") and inputs[one.name]["min"] >= one.required
        assert definition["code"] == served.name and definition["affectsState"] is served.affects
        assert {level for level in ("system", "type", "instance") if definition[level]} == set(served.levels)
        assert tuple(definition.get("resource", ())) in ((), served.types) or "Resource" in definition["resource"]


def test_operations_of_the_standard_that_are_served_are_described():
    described = {(one["code"], one.get("base", one["url"])) for one in artefacts("OperationDefinition").values()}
    codes = {code for code, _ in described}
    for served in OPERATIONS:
        assert served.name in codes
        if served.url.startswith("http://hl7.org/fhir/OperationDefinition/"):
            assert (served.name, served.url) in described


def test_search_parameters_beside_those_of_r4_are_published():
    assert {one.get("derivedFrom", one["url"]) for one in artefacts("SearchParameter").values()} == {row.url for row in OWN}


def test_an_example_may_be_claimed_with_the_version_of_the_profile():
    entry = good("DocumentReference-consultation")
    entry["meta"]["profile"] = [f"{url_of('dmp-document-reference')}|{__version__}", "http://x.example/other"]
    assert claimed(entry) == (f"{url_of('dmp-document-reference')}|{__version__}",)
