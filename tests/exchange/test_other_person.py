"""A source that says of somebody it has sent before that he is somebody else, or whose documents say less than that he is sure."""

import pytest

from tests.access.world import INS, LOINC, RPPS, number
from tests.exchange.test_sources import CARE, RELIABILITY, Sender, command, issues, load, server, world  # noqa: F401  fixtures
from tests.interactions.making import bundle, entry

TYPE = {"coding": [{"system": LOINC, "code": "11488-4"}]}


def opened(world, family: str):  # noqa: F811
    dossier = world.open(family=family)
    world.consent(dossier, "takeover")
    world.consent(dossier, "feed")
    return dossier


def held(world, dossier) -> list[str]:  # noqa: F811
    found = world.holder(dossier).get(f"DocumentReference?patient={dossier.id}&_count=100").json()
    return sorted(one["resource"].get("description", "") for one in found.get("entry", []))


def provided(sender: Sender, id: str, ins: str) -> dict:
    """A submission of a document of whoever has an INS."""
    subject = {"reference": f"Patient?identifier={INS}|{ins}"}
    document = sender.document(id, type=TYPE, subject=subject, description=id, author=[sender.doctor.reference])
    document["content"][0]["attachment"]["url"] = "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0001"
    binary = entry("POST", "Binary", sender.binary(id), "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0001")
    return bundle("transaction", entry("POST", "DocumentReference", document, "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0002"), binary)


def test_who_is_somebody_else_now_waits_with_all_that_is_about_him(load, command, world):  # noqa: F811
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender = Sender(world, first)
    assert load(sender.patient(), sender.practitioner(), sender.document("a", description="a"), sender.binary("a"))[0] == 0
    other = Sender(world, second).patient(id=sender.patient()["id"])
    code, told, _ = load(other, sender.document("b", description="b"), sender.binary("b"), name="b.ndjson")
    assert code == 3 and [line["status"] for line in told] == [202, 202, 202], told
    # In another import too, until somebody says who it is; what names the other one by his INS is his.
    code, (line,), _ = load(sender.document("c", description="c"), name="c.ndjson")
    assert (code, line["status"]) == (3, 202)
    assert load(provided(sender, "t", second.ins), name="t.json")[0] == 0
    assert (held(world, first), held(world, second)) == (["a"], ["t"])
    listed = command("quarantine", "list", "--source", "pilot-alsace")[1].splitlines()
    key = next(line.split()[0] for line in listed if "than before" in line)
    assert command("quarantine", "link", "--source", "pilot-alsace", key, second.path)[0] == 0
    command("quarantine", "replay", "--source", "pilot-alsace")
    assert (held(world, first), held(world, second)) == (["a"], ["b", "c", "t"])
    # What was decided is so while he has this INS.
    assert load(other | {"active": True}, name="d.ndjson")[0] == 0
    assert load(sender.patient(active=True), name="e.ndjson")[1][0]["status"] == 202


def test_who_takes_his_word_back_is_who_he_was(load, world):  # noqa: F811
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender = Sender(world, first)
    assert load(sender.patient(), sender.practitioner())[0] == 0
    wrong = sender.patient(identifier=second.patient["identifier"])
    assert load(wrong, name="w.ndjson")[1][0]["status"] == 202
    assert load(sender.patient(active=True), sender.document("a", description="a"), sender.binary("a"), name="r.ndjson")[0] == 0
    assert held(world, first) == ["a"]


def test_a_wrong_record_takes_nobody_elses_number(load, world):  # noqa: F811
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender, other = Sender(world, first), Sender(world, second)
    assert load(sender.patient(), sender.practitioner(), other.patient())[0] == 0
    assert load(provided(sender, "1", second.ins), name="1.json")[0] == 0
    assert load(sender.patient(identifier=second.patient["identifier"]), name="w.ndjson")[1][0]["status"] == 202
    assert load(provided(sender, "2", second.ins), name="2.json")[0] == 0
    assert (held(world, first), held(world, second)) == ([], ["1", "2"])


def whole(sender: Sender, title: str, status: str = "QUAL", **changes: object) -> dict:
    """A FHIR document."""
    person, doctor = "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0011", "urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0012"
    about = {"type": TYPE, "subject": {"reference": person}, "author": [{"reference": doctor}], "title": title, "confidentiality": "N"}
    first = {"resourceType": "Composition", "status": "final", "date": "2026-03-01T10:00:00+01:00", **about}
    said = {"url": RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": status}}]}
    patient = {"id": "x", **sender.patient(), "extension": [said] if status else [], **changes}
    author = {"resourceType": "Practitioner", "identifier": [{"system": RPPS, "value": sender.doctor.rpps}], "name": [{"family": "X"}]}
    listed = [("urn:uuid:0b5fe4ac-5b52-4a3b-9c2b-5b2f2a1a0013", first), (person, patient), (doctor, author)]
    identifier = {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.55.{number()}"}
    entries = [{"fullUrl": url, "resource": resource} for url, resource in listed]
    return {"resourceType": "Bundle", "type": "document", "identifier": identifier, "timestamp": first["date"], "entry": entries}


@pytest.mark.parametrize("status", ["PROV", ""])
def test_a_fhir_document_says_whether_an_ins_is_qualified(load, command, world, status):  # noqa: F811
    sender = Sender(world, opened(world, "FAUVEL"))
    code, told, _ = load(whole(sender, "d", status), source=CARE, name="one.json")
    assert code == 3 and "somebody must say who this is" in " ".join(map(issues, told))
    assert "the INS is not qualified" in command("quarantine", "list", "--source", CARE)[1]
    assert load(whole(sender, "q"), source=CARE, name="two.json")[0] == 0
    # Nor is it by what another document says.
    assert load(whole(sender, "e", status), source=CARE, name="three.json")[0] == 3
    assert held(world, sender.dossier) == ["q"]


def test_an_ins_that_is_over_finds_nobody(load, world):  # noqa: F811
    sender = Sender(world, opened(world, "FAUVEL"))
    over = [one | {"use": "old"} for one in sender.dossier.patient["identifier"]]
    assert load(whole(sender, "o", identifier=over), source=CARE, name="old.json")[0] == 3
    assert held(world, sender.dossier) == []


def test_a_document_with_another_ones_traits_waits_whatever_came_before_it(load, command, world):  # noqa: F811
    sender = Sender(world, opened(world, "FAUVEL"))
    other = {"name": [{"family": "ZIMMERMANN", "given": ["Albert"]}], "gender": "male", "birthDate": "1931-05-06"}
    assert load(whole(sender, "w", **other), source=CARE, name="w.json")[0] == 3
    assert load(whole(sender, "r"), source=CARE, name="r.json")[0] == 0
    assert load(whole(sender, "x", **other), source=CARE, name="x.json")[0] == 3
    command("quarantine", "replay", "--source", CARE)
    # It keeps nothing of the right one waiting.
    assert load(whole(sender, "s"), source=CARE, name="s.json")[0] == 0
    assert held(world, sender.dossier) == ["r", "s"]
