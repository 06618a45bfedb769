"""Patient/[id]/$summary: of what the asker may see, valid, traced. https://hl7.org/fhir/uv/ips/"""

from fhir_dmp.fhir.schema import validate
from tests.access.world import VISIBILITY, listed

MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/condition-ver-status"


def condition(dossier, text: str, clinical: str = "active", **fields) -> dict:
    return {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": clinical}]},
        "code": {"text": text},
        "subject": {"reference": dossier.path},
        **fields,
    }


def summary(asker, dossier) -> tuple[dict, dict[str, dict], list[str]]:
    """(the Composition, its sections by code, types of the entries)."""
    answer = asker.get(f"{dossier.path}/$summary")
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert validate(bundle) == [] and bundle["type"] == "document"
    composition = bundle["entry"][0]["resource"]
    there = {entry["fullUrl"].split("/fhir/")[-1] for entry in bundle["entry"]}
    for section in composition["section"]:
        assert {entry["reference"] for entry in section.get("entry", ())} <= there
    assert composition["subject"]["reference"] in there
    return (
        composition,
        {one["code"]["coding"][0]["code"]: one for one in composition["section"]},
        [entry["resource"]["resourceType"] for entry in bundle["entry"]],
    )


def test_sections_hold_what_is_known_and_say_when_they_are_empty(world):
    dossier, anna = world.open(traitant=(traitant := world.professional())), world.professional()
    asthma = world.write(anna, condition(dossier, "Asthme <grave>"))
    over = world.write(anna, condition(dossier, "Rougeole", "resolved"))
    world.write(anna, condition(dossier, "Erreur", verificationStatus={"coding": [{"system": VERIFIED, "code": "entered-in-error"}]}))
    before = world.deposit(dossier, anna, type="60591-5")
    composition, sections, types = summary(traitant, dossier)
    assert composition["type"]["coding"][0]["code"] == "60591-5"
    assert [one["reference"] for one in sections["11450-4"]["entry"]] == [f"Condition/{asthma['id']}"]
    assert [one["reference"] for one in sections["11348-0"]["entry"]] == [f"Condition/{over['id']}"]
    assert [one["reference"] for one in sections["60591-5"]["entry"]] == [f"DocumentReference/{before['id']}"]
    assert "Asthme &lt;grave&gt;" in sections["11450-4"]["text"]["div"]
    for empty in ("48765-2", "10160-0", "11369-6", "47519-4", "30954-2"):
        assert sections[empty]["emptyReason"]["coding"][0]["code"] == "unavailable" and "entry" not in sections[empty]
    assert types == ["Composition", "Patient", "DocumentReference", "Condition", "Condition"]
    assert traitant.post("Bundle/$validate", traitant.get(f"{dossier.path}/$summary").json()).status_code == 200


def test_a_hidden_document_is_in_no_summary_and_an_unrelated_asker_gets_none(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    masked = world.deposit(dossier, anna, type="60591-5")
    holder = world.holder(dossier)
    assert "60591-5" in summary(nora, dossier)[1]
    holder.patch(f"DocumentReference/{masked['id']}", MASK)
    assert "60591-5" not in summary(nora, dossier)[1]
    assert "60591-5" in summary(holder, dossier)[1]
    assert world.professional().get(f"{dossier.path}/$summary").status_code == 403
    assert world.structure().get(f"{dossier.path}/$summary").status_code == 403


def test_the_trace_names_all_of_it(world):
    dossier, anna, nora = world.open(), world.professional(), world.professional()
    world.consent(dossier, "access", nora)
    asthma = world.write(anna, condition(dossier, "Asthme"))
    summary(nora, dossier)
    traces = [
        one for one in listed(world.holder(dossier), dossier, "AuditEvent", entity=f"Condition/{asthma['id']}") if one["action"] == "E"
    ]
    assert len(traces) == 1
