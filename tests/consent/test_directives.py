"""Consents read and validated, and the policy compiled from them.

https://profiles.ihe.net/ITI/PCF/ ; https://hl7.org/fhir/R4/consent.html
"""

from copy import deepcopy

import pytest

from fhir_dmp.consent import break_glass
from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.compiling import compiled
from fhir_dmp.consent.directives import CATEGORY, EVIDENCE, SHAPES, read, validate
from fhir_dmp.consent.dossier import Right, pack, unpack
from fhir_dmp.dmp.identity import FINESS, IDNPS, RPPS
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.dmp.paris import window
from fhir_dmp.fhir.instants import MINUTE, from_instant

NOW = from_instant("2026-11-22T09:00:00Z")
STORED = {"Practitioner/who": frozenset({"ps:810000000009"}), "Organization/org": frozenset({"org:1750000001"})}
IRCP = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
PURPOSES = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def resolve(reference):
    return STORED.get(reference, frozenset())


def actor(rpps="10000000006", system=RPPS):
    return {"role": IRCP, "reference": {"identifier": {"system": system, "value": rpps}}}


def consent(category, kind="permit", id="c", status="active", **provision):
    purposes = SHAPES[category].purposes if category in SHAPES else ()
    purpose = {"purpose": [{"system": PURPOSES, "code": code} for code in sorted(purposes)]} if purposes else {}
    return {
        "resourceType": "Consent",
        "id": id,
        "status": status,
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [
            {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]},
            {"coding": [{"system": CATEGORY, "code": category}]},
        ],
        "patient": {"reference": "Patient/p"},
        "dateTime": "2026-11-22",
        "performer": [{"reference": "Patient/p"}],
        "organization": [{"display": "DMP"}],
        "policy": [{"uri": "https://fhir-dmp.example.org/fhir/policy"}],
        "provision": {"type": kind, **purpose, **provision},
    }


GOOD = {
    "access": consent("access", actor=[actor()], period={"start": "2026-11-22"}),
    "access to a structure": consent("access", actor=[actor("750000001", FINESS)], period={"end": "2027-11-22"}),
    "access, revoked": consent("access", status="inactive", actor=[actor()]),
    "administrator": consent("administrator", actor=[actor("810000000006", IDNPS)]),
    "block": consent("block", "deny", actor=[{"role": IRCP, "reference": {"reference": "Practitioner/who"}}]),
    "emergency-regulation": consent("emergency-regulation", "deny"),
    "emergency-break-glass": consent("emergency-break-glass", "deny"),
    "emergency-masked": consent("emergency-masked"),
    "mask": consent("mask", "deny", code=[{"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}]),
    "mandate": consent("mandate", actor=[{"role": IRCP, "reference": {"reference": "RelatedPerson/r"}}], period={"end": "2027-01-01"}),
    "reimbursement": consent("reimbursement"),
    "takeover": consent("takeover"),
    "feed": consent("feed", "deny"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_consent_of_each_category_is_accepted(name):
    assert validate(GOOD[name], resolve) == []
    directive = read(GOOD[name], resolve)
    assert directive is not None and directive.category in SHAPES and directive.active is ("revoked" not in name)


def test_opening_is_written_by_open_alone():
    assert [i.expression for i in validate(consent("opening"), resolve)] == ["Consent.category"]
    assert validate(consent("opening"), resolve, by_operation=True) == []


def spoilt(name, *path, value=None):
    found = deepcopy(GOOD[name])
    here = found
    for step in path[:-1]:
        here = here[step]
    if value is None:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (spoilt("access", "category", 1, "coding", 0, "code", value="friendship"), "Consent.category"),
        (spoilt("access", "category", 1), "Consent.category"),
        (spoilt("access", "category", value=GOOD["access"]["category"] + [GOOD["block"]["category"][1]]), "Consent.category"),
        (spoilt("access", "category", 0), "Consent.category"),
        (spoilt("access", "status", value="draft"), "Consent.status"),
        (spoilt("access", "scope"), "Consent.scope"),
        (spoilt("access", "patient"), "Consent.patient"),
        (spoilt("access", "dateTime"), "Consent.dateTime"),
        (spoilt("access", "performer"), "Consent.performer"),
        (spoilt("access", "policy"), "Consent.policy"),
        (spoilt("access", "provision", "type", value="deny"), "Consent.provision.type"),
        (spoilt("access", "provision", "actor"), "Consent.provision.actor"),
        (spoilt("access", "provision", "actor", 0, "role"), "Consent.provision.actor[0].role"),
        (spoilt("access", "provision", "actor", 0, "reference", value={"display": "Dr Who"}), "Consent.provision.actor[0]"),
        (spoilt("access", "provision", "purpose"), "Consent.provision.purpose"),
        (spoilt("access", "provision", "provision", value=[{"type": "deny"}]), "Consent.provision.provision"),
        (spoilt("access", "provision", "securityLabel", value=[{"code": "R"}]), "Consent.provision.securityLabel"),
        (spoilt("access", "provision", "data", value=[{"meaning": "instance"}]), "Consent.provision.data"),
        (spoilt("access", "provision", "period"), "Consent.provision.period"),
        (spoilt("access", "provision", "period", value={"start": "2026-11-22", "end": "2026-11-21"}), "Consent.provision.period"),
        (spoilt("administrator", "provision", "actor", value=[actor("750000001", FINESS)]), "Consent.provision.actor[0]"),
        (spoilt("block", "provision", "type", value="permit"), "Consent.provision.type"),
        (spoilt("emergency-regulation", "provision", "period", value={"end": "2027"}), "Consent.provision.period"),
        (spoilt("emergency-regulation", "provision", "actor", value=[actor()]), "Consent.provision.actor"),
        (spoilt("emergency-masked", "provision", "purpose", 0), "Consent.provision.purpose"),
        (spoilt("mandate", "provision", "period"), "Consent.provision.period"),
        (spoilt("mandate", "provision", "actor", value=[actor()]), "Consent.provision.actor[0]"),
        (spoilt("mask", "provision", "code"), "Consent.provision"),
        (spoilt("mask", "provision", "data", value=[{"meaning": "related", "reference": {}}]), "Consent.provision.data[0].meaning"),
        (spoilt("mask", "provision", "class", value=[{"code": "11"}]), "Consent.provision.class[0]"),
    ],
)
def test_a_consent_that_says_something_else_is_refused_with_its_place(bad, where):
    assert where in [issue.expression for issue in validate(bad, resolve)]
    assert {issue.code for issue in validate(bad, resolve)} == {"business-rule"}


def test_a_professional_for_himself_attests_and_at_most_for_a_year():
    himself = "ps:810000000006"
    evidence = {"extension": [{"url": EVIDENCE, "valueCode": "oral"}]}
    year = {**consent("access", actor=[actor()], period={"start": "2026-11-22", "end": "2027-11-21"}), **evidence}
    assert validate(year, resolve, himself=himself) == []
    longer = {**consent("access", actor=[actor()], period={"start": "2026-11-22", "end": "2027-11-24"}), **evidence}
    endless = {**consent("access", actor=[actor()], period={"start": "2026-11-22"}), **evidence}
    for one in (longer, endless):
        assert [i.expression for i in validate(one, resolve, himself=himself)] == ["Consent.provision.period"]
    unattested = {**year, "extension": []}
    assert [i.expression for i in validate(unattested, resolve, himself=himself)] == ["Consent.extension"]
    another = {**consent("access", actor=[actor("10000000007")], period=year["provision"]["period"]), **evidence}
    assert [i.expression for i in validate(another, resolve, himself=himself)] == ["Consent.provision.actor"]


PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "birthDate": "2012-03-04",
    "generalPractitioner": [{"identifier": {"system": RPPS, "value": "10000000001"}}, {"reference": "Organization/org"}],
}
OPENING = consent("opening", id="o")


def policy(*consents, patient=PATIENT, teams=(), people=(), **more):
    return compiled(patient, [OPENING, *consents], teams, people, resolve, **more)


def test_policy_of_rights():
    days = {"start": "2026-11-01", "end": "2026-11-30"}
    made = policy(
        consent("access", id="a", actor=[actor("10000000006"), actor("750000001", FINESS)], period=days),
        GOOD["administrator"],
        GOOD["block"],
        consent("access", id="old", status="inactive", actor=[actor("10000000008")]),
    )
    period = window("2026-11-01", "2026-11-30")
    assert set(made.access) == {Right("org:1750000001", *period, "a"), Right("ps:810000000006", *period, "a")}
    assert [r.who for r in made.assimilated] == ["ps:810000000006"]
    assert [r.who for r in made.blocks] == ["ps:810000000009"]
    assert made.traitant == {"ps:810000000001"}
    assert unpack(pack(made)) == made


def test_emergencies_default_to_permit_permit_deny_and_the_latest_supersedes():
    assert (policy().regulation, policy().break_glass, policy().emergency_masked) == (True, True, False)
    deny, permit = consent("emergency-regulation", "deny", id="1"), consent("emergency-regulation", id="2")
    assert policy(deny).regulation is False
    assert policy(deny, permit).regulation is True
    assert policy(permit, deny).regulation is False
    both = policy(GOOD["emergency-regulation"], GOOD["emergency-break-glass"], GOOD["emergency-masked"])
    assert both.emergency_masked and not both.masked_in_emergency


def test_status_of_the_dossier():
    assert policy().status is Status.OPEN
    assert compiled(PATIENT, [{**OPENING, "status": "inactive"}], (), (), resolve).status is Status.CLOSED
    assert compiled(PATIENT, [], (), (), resolve).status is Status.CLOSED
    assert policy(patient={**PATIENT, "active": False}).status is Status.RIGHTS_LOST
    dead = policy(patient={**PATIENT, "deceasedDateTime": "2026-11-20T10:00:00+01:00"})
    assert dead.deceased_ms == from_instant("2026-11-20T09:00:00Z")
    assert policy(patient={**PATIENT, "deceasedBoolean": True}).deceased_ms is not None


def test_a_care_team_adds_people_never_organisations_and_only_while_active():
    members = [
        {"member": {"identifier": {"system": RPPS, "value": "10000000005"}}, "period": {"end": "2026-11-30"}},
        {"member": {"reference": "Practitioner/who"}},
        {"member": {"reference": "Organization/org"}},
        {"member": {"reference": "Patient/p"}},
    ]
    team = {"resourceType": "CareTeam", "id": "t", "status": "active", "period": {"start": "2026-11-01"}, "participant": members}
    made = policy(teams=[team, {**team, "status": "inactive"}])
    assert [right.who for right in made.team] == ["ps:810000000005", "ps:810000000009"]
    assert (made.team[0].since_ms, made.team[0].until_ms) == window("2026-11-01", "2026-11-30")


def test_what_was_written_in_a_secret_session_gives_secret_rights_and_leaves_them_out_of_what_is_told():
    def team(id, rpps):
        member = {"member": {"identifier": {"system": RPPS, "value": rpps}}}
        return {"resourceType": "CareTeam", "id": id, "status": "active", "participant": [member]}

    consents = [consent("access", id=id, actor=[actor(rpps)]) for id, rpps in (("x", "10000000006"), ("y", "10000000008"))]
    teams = [team("x", "10000000005"), team("y", "10000000009")]
    asks = Request(kind="professional", person="ps:810000000012", secret_session=True)
    grant = break_glass.granted(asks, "g", NOW)
    made = policy(*consents, teams=teams, secret={"Consent/x", "CareTeam/y"}, grants=(grant,))
    assert [(right.who, right.secret) for right in (*made.access, *made.team, *made.grants)] == [
        ("ps:810000000006", True),
        ("ps:810000000008", False),
        ("ps:810000000005", False),
        ("ps:810000000009", True),
        ("ps:810000000012", True),
    ]
    told = made.without_secrets()
    assert made.secrets and not told.secrets and unpack(pack(made)) == made
    assert [right.who for right in (*told.access, *told.team, *told.grants)] == ["ps:810000000008", "ps:810000000005"]


def test_titles():
    def person(id, code, **more):
        return {"resourceType": "RelatedPerson", "id": id, "relationship": [{"coding": [{"code": code}]}], **more}

    made = policy(
        GOOD["mandate"],
        people=[
            person("m", "MTH"),
            person("g", "TUTEUR", period={"end": "2026-12-31"}),
            person("c", "CURATEUR"),
            person("x", "FTH", active=False),
            person("r", "FRND", identifier=[{"system": RPPS, "value": "10000000012"}]),
        ],
    )
    assert [(t.related_person, t.kind) for t in made.titles] == [("m", "parent"), ("g", "guardian"), ("r", "mandataire")]
    assert made.titles[2].who == {"ps:810000000012"}
    assert made.titles[2].until_ms == window(None, "2027-01-01")[1]


def test_masks_name_the_first_document_of_the_lineage():
    mask = consent("mask", "deny", data=[{"meaning": "instance", "reference": {"reference": "DocumentReference/v2"}}])
    made = policy(mask, roots={"DocumentReference/v2": "DocumentReference/v1"})
    assert made.masks[0].roots == {"DocumentReference/v1"}
    by_class = consent("mask", "deny", **{"class": [{"system": "urn:oid:1.2.250.1.213.1.1.4.1", "code": "60"}]})
    assert policy(by_class).masks[0].types == {"REMB"}


def test_uses_are_permitted_only_by_an_active_yes():
    assert policy(GOOD["reimbursement"]).permitted("reimbursement", NOW)
    assert not policy().permitted("reimbursement", NOW)
    assert not policy(GOOD["reimbursement"], consent("reimbursement", "deny")).permitted("reimbursement", NOW)


def test_a_grant_lasts_an_hour_and_never_survives_a_block_an_opposition_or_the_closing():
    asks = Request(kind="professional", person="ps:810000000009", organization="org:1750000001")
    grant = break_glass.granted(asks, "g", NOW)
    assert (grant.since_ms, grant.until_ms) == (NOW, NOW + 60 * MINUTE)
    assert break_glass.surviving(policy(grants=(grant,)), NOW) == (grant,)
    assert break_glass.surviving(policy(grants=(grant,)), NOW + 60 * MINUTE) == ()
    assert break_glass.surviving(policy(GOOD["block"], grants=(grant,)), NOW) == ()
    assert break_glass.surviving(policy(GOOD["emergency-break-glass"], grants=(grant,)), NOW) == ()
    structure = consent("block", "deny", actor=[actor("750000001", FINESS)])
    assert break_glass.surviving(policy(structure, grants=(grant,)), NOW) == ()
    closed = compiled(PATIENT, [], (), (), resolve, grants=(grant,))
    assert break_glass.surviving(closed, NOW) == ()
