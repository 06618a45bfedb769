"""FHIR delete. https://hl7.org/fhir/R4/http.html#delete"""

from tests.interactions.making import basic, patient, refused, stored, unique


def test_deletion_answers_its_version_and_no_body(fhir):
    made = fhir.new(basic())
    answer = fhir.delete(made.path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["etag"] not in ("", made.etag) and "content-type" not in answer.headers
    assert refused(fhir.get(made.path)) == (410, "deleted")


def test_deleting_again_changes_nothing(fhir):
    made = fhir.new(basic())
    first, second = fhir.delete(made.path), fhir.delete(made.path)
    assert (second.status_code, second.headers["etag"]) == (204, first.headers["etag"])
    assert fhir.get(f"{made.path}/_history").json()["total"] == 2


def test_deleting_what_never_was_is_done_already(fhir):
    assert fhir.delete("Basic/absent").status_code == 204
    assert refused(fhir.delete("Basic/absent", if_match='W/"1"')) == (412, "conflict")
    made = fhir.new(basic())
    assert fhir.delete(f"Patient/{made.id}").status_code == 204
    assert fhir.get(made.path).status_code == 200


def test_only_the_version_named_by_if_match_is_deleted(fhir):
    made = fhir.new(basic())
    fhir.put(made.path, basic(id=made.id))
    assert refused(fhir.delete(made.path, if_match=made.etag)) == (412, "conflict")
    assert fhir.delete(made.path, if_match=fhir.get(made.path).headers["etag"]).status_code == 204


def test_created_again_after_deletion(fhir):
    id = unique()
    first = stored(fhir.put(f"Patient/{id}", patient(id=id)))
    fhir.delete(f"Patient/{id}")
    again = fhir.put(f"Patient/{id}", patient(id=id, active=True))
    assert again.status_code == 201
    assert fhir.get(f"Patient/{id}").json()["active"] is True
    entries = fhir.get(f"Patient/{id}/_history").json()["entry"]
    assert [entry["request"]["method"] for entry in entries] == ["PUT", "DELETE", "PUT"]
    assert fhir.get(f"Patient/{id}/_history/{first.version}").status_code == 200
    assert fhir.delete(f"Patient/{id}").status_code == 204 and fhir.get(f"Patient/{id}").status_code == 410


def test_a_deletion_has_no_body_even_when_one_is_preferred(fhir):
    for prefer in ("return=representation", "return=minimal", "return=OperationOutcome"):
        answer = fhir.delete(fhir.new(basic()).path, prefer=prefer)
        assert (answer.status_code, answer.content) == (204, b"")


def test_deleting_a_type_or_everything_is_no_interaction(fhir):
    assert fhir.delete("Basic").status_code in (405, 412)
    assert fhir.delete("").status_code == 405
    made = fhir.new(basic())
    assert refused(fhir.delete(f"{made.path}/_history")) == (405, "not-supported")
