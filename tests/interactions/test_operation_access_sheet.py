"""Patient/[id]/$access-sheet. https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-access-sheet"""

import base64
import re

import msgspec
import pytest
import segno

from fhir_dmp.interactions import access_sheet_form
from fhir_dmp.interactions.access_sheet_form import Sheet
from tests.interactions.making import issue, patient, refused, scoped, unique

CHILD = {"birthDate": "2020-03-15"}
GROWN = {"birthDate": "1979-03-15"}
SAMPLE = Sheet(
    identifier="abcd-efgh-2345",
    password="mnpq-rstu-vwxy-2345",
    codes=tuple(f"{n:08d}" for n in range(1, 21)),
    totp="otpauth://totp/DMP:abcd-efgh-2345?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=DMP",
    address="https://dmp.example.org/",
    issued="18 novembre 2026",
)


def related(person, code, **fields):
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": code}
    return {
        "resourceType": "RelatedPerson",
        "patient": {"reference": person.path},
        "relationship": [{"coding": [coding]}],
        **fields,
    }


@pytest.fixture
def asked(fhir):
    """Ask for a sheet of a Patient."""

    def ask(person, query="", body=None, **headers):
        return fhir.send("POST", f"{person.path}/$access-sheet{query}", body, **headers)

    return ask


def shown(answer):
    """Identifier, password and number of codes of a sheet as text."""
    assert answer.status_code == 200, answer.text
    words = [re.search(rf"\({name}\): (\S+)", answer.text)[1] for name in ("identifier", "password")]
    return *words, len(re.findall(r"\b\d+\. \d{8}\b", answer.text))


@pytest.mark.parametrize(
    "accept, form",
    [
        (None, "text/plain; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("application/pdf", "application/pdf"),
        ("text/plain;q=0.5, application/pdf", "application/pdf"),
        ("text/html, application/pdf;q=0.4, text/*;q=0.1", "application/pdf"),
        ("application/fhir+json", "application/fhir+json; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
    ],
)
def test_the_sheet_comes_as_the_client_wants_it(fhir, asked, accept, form):
    answer = asked(fhir.new(patient(**GROWN)), **({"accept": accept} if accept else {}))
    assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, form, "no-store")
    if "json" in form:
        body = answer.json()
        assert (body["resourceType"], body["contentType"]) == ("Binary", "text/plain; charset=utf-8")
        assert "Identifiant" in base64.b64decode(body["data"]).decode()
    elif form == "application/pdf":
        assert answer.content.startswith(b"%PDF-1.7") and answer.content.rstrip().endswith(b"%%EOF")
        assert answer.headers["content-disposition"] == 'attachment; filename="access-sheet.pdf"'
    else:
        assert shown(answer)[2] == 20


def test_a_form_nobody_offers_is_refused_and_nothing_issued(fhir, asked, rows):
    person = fhir.new(patient(**GROWN))
    before = rows["host.credentials"].count_documents({}, hint="login")
    for accept in ("image/png", "application/fhir+xml", "text/plain;q=0"):
        assert refused(asked(person, accept=accept)) == (406, "not-supported")
    assert refused(asked(person, "?_format=xml")) == (406, "not-supported")
    assert rows["host.credentials"].count_documents({}, hint="login") == before


def test_format_wins_over_accept(fhir, asked):
    person = fhir.new(patient(**GROWN))
    assert asked(person, "?_format=application/pdf", accept="text/plain").headers["content-type"] == "application/pdf"
    assert asked(person, "?_format=json", accept="text/plain").headers["content-type"].startswith("application/fhir+json")


def test_each_issue_is_new_and_names_nobody(fhir, asked):
    family = unique("Quatremere")
    person = fhir.new(patient(family, **GROWN, telecom=[{"system": "email", "value": "solange@example.org"}]))
    first, second = asked(person), asked(person)
    assert shown(first)[:2] != shown(second)[:2]
    assert set(re.findall(r"\d{8}", first.text)).isdisjoint(re.findall(r"\d{8}", second.text))
    for text in (first.text, second.text):
        assert family not in text and "Solange" not in text and person.id not in text and "solange" not in text
    assert re.fullmatch(r"([a-z2-9]{4}-){2}[a-z2-9]{4}", shown(first)[0]) and re.fullmatch(r"([a-z2-9]{4}-){3}[a-z2-9]{4}", shown(first)[1])


def test_of_a_child_the_sheet_is_for_the_one_who_acts(fhir, asked, rows, vault):
    child = fhir.new(patient(**CHILD))
    mother = fhir.new(related(child, "MTH"))
    fhir.new(related(child, "FTH", active=False))
    fhir.new(related(child, "FTH", period={"end": "2021-01-01"}))
    fhir.new(related(child, "NBOR"))
    assert owners(asked(child), rows, vault, child) == {mother.id}


def test_of_several_who_act_one_is_named(fhir, asked, rows, vault):
    child = fhir.new(patient(**CHILD))
    mother, father = fhir.new(related(child, "MTH")), fhir.new(related(child, "FTH"))
    answer = asked(child)
    assert (answer.status_code, issue(answer)) == (422, ("error", "processing"))
    assert answer.json()["issue"][0]["expression"] == ["relatedPerson"]
    body = {"resourceType": "Parameters", "parameter": [{"name": "relatedPerson", "valueReference": {"reference": father.path}}]}
    assert owners(asked(child, body=body), rows, vault, child) == {father.id}
    assert owners(asked(child, f"?relatedPerson={mother.id}"), rows, vault, child) == {father.id, mother.id}


def test_of_an_adult_the_sheet_is_for_himself_unless_a_guardian_acts(fhir, asked, rows, vault):
    person = fhir.new(patient(**GROWN))
    parent = fhir.new(related(person, "MTH"))
    assert owners(asked(person), rows, vault, person) == {""}
    assert refused(asked(person, f"?relatedPerson={parent.id}")) == (422, "processing")
    guardian = fhir.new(related(person, "GUARD"))
    assert owners(asked(person), rows, vault, person) == {"", guardian.id}


def test_whoever_does_not_act_gets_no_sheet(fhir, asked):
    child, other = fhir.new(patient(**CHILD)), fhir.new(patient(**CHILD))
    stranger = fhir.new(related(other, "MTH"))
    for wanted in (stranger.id, stranger.path, "nobody", "../x"):
        assert refused(asked(child, f"?relatedPerson={wanted}")) == (422, "processing")


def owners(answer, rows, vault, person):
    """Who has credentials in a dossier: ids of RelatedPersons, "" for the holder."""
    assert answer.status_code == 200, answer.text
    found = rows["host.credentials"].find({"dossier": vault.dossier_of_patient(person.id)}, hint="dossier")
    opened = [msgspec.msgpack.decode(vault.open_token(one["owner"], "credential owner")) for one in found]
    assert all(patient == person.id for patient, _ in opened)
    return {related for _, related in opened}


def test_only_an_existing_dossier_has_a_sheet(fhir, asked):
    gone = fhir.new(patient(**GROWN))
    fhir.delete(gone.path)
    assert refused(asked(gone))[0] in (404, 410)
    assert refused(fhir.send("POST", "Patient/nobody/$access-sheet")) == (404, "not-found")
    assert refused(fhir.send("POST", "Basic/x/$access-sheet")) == (404, "not-found")
    assert refused(fhir.send("POST", "Patient/$access-sheet")) == (404, "not-found")


def test_issuing_changes_something_so_it_is_posted(fhir):
    person = fhir.new(patient(**GROWN))
    for method in ("GET", "HEAD"):
        answer = fhir.send(method, f"{person.path}/$access-sheet")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_unknown_parameters_are_refused(fhir, asked):
    person = fhir.new(patient(**GROWN))
    assert refused(asked(person, "?password=mine")) == (400, "not-supported")


def test_scopes_narrow(fhir, server):
    person = fhir.new(patient(**GROWN))
    answer = fhir.send("POST", f"{person.path}/$access-sheet", **scoped(server, "system/Observation.rs"))
    assert refused(answer) == (403, "forbidden")


# The forms themselves


def test_the_text_says_everything_once():
    text = access_sheet_form.text(SAMPLE)
    for said in (SAMPLE.identifier, SAMPLE.password, SAMPLE.address, SAMPLE.totp, SAMPLE.issued, *SAMPLE.codes):
        assert said in text
    assert all(text.count(code) == 1 for code in SAMPLE.codes)
    assert max(len(line) for line in text.splitlines() if "otpauth" not in line) <= 100


def test_the_pdf_says_the_same_and_draws_the_code_of_the_application():
    drawn = access_sheet_form.pdf(SAMPLE)
    written = b"".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", drawn)).replace(b"\\", b"").decode("cp1252")
    for said in (SAMPLE.identifier, SAMPLE.password, SAMPLE.address, SAMPLE.totp, SAMPLE.issued, *SAMPLE.codes, "Accès à mon dossier"):
        assert said in written
    dark = sum(sum(row) for row in segno.make(SAMPLE.totp, error="m", micro=False).matrix)
    assert drawn.count(b" re\n") == dark
    assert b"/Count 1" in drawn


def test_the_tables_of_the_pdf_are_where_it_says():
    drawn = access_sheet_form.pdf(SAMPLE)
    start = int(re.search(rb"startxref\s+(\d+)", drawn)[1])
    assert drawn[start : start + 4] == b"xref"
    offsets = [int(one) for one in re.findall(rb"(\d{10}) \d{5} n", drawn[start:])]
    assert offsets and all(re.match(rb"\d+ 0 obj", drawn[at:]) for at in offsets)
    lowest = min(float(y) for y in re.findall(rb"1 0 0 1 56 ([\d.]+) Tm", drawn))
    assert lowest > 20, "everything is on the page"
