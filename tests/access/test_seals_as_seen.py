"""The seal of something from which a reference is taken out is over what its reader is shown: another digest would tell of it."""

import base64
from time import sleep

import pytest

from fhir_dmp.signing import jws, seal
from fhir_dmp.signing.keys import LOOK_MS, SealKeys
from tests.access.test_deposits import posted, stored, submission
from tests.access.world import LOINC, NURSE, REPORT, VISIBILITY, document, listed
from tests.signing.test_host_seals import seals, statement
from tests.signing.test_verify import verified

MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


def proof(by, dossier, address: str) -> dict:
    """The seal of something, which is read as it is found."""
    (found,) = seals(by, dossier, target=address)
    for path in (f"Provenance/{found['id']}", f"Provenance/{found['id']}/_history/{found['meta']['versionId']}"):
        assert by.get(path).json() == found
    return found


def holds(world, by, dossier, address: str) -> bool:
    """Whether the seal that somebody is shown is over what he is shown."""
    body = by.get(address).content
    return seal.digest(body) == statement(world, proof(by, dossier, address)).what[0].sha256


@pytest.mark.parametrize("late", [False, True])
def test_a_document_that_names_a_hidden_one_is_sealed_as_it_is_seen(world, late):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    world.consent(dossier, "access", bruno)
    hidden = world.deposit(dossier, anna)
    related = {"related": [{"reference": f"DocumentReference/{hidden['id']}"}]}
    where = f"DocumentReference/{world.deposit(dossier, anna, context=related)['id']}"
    before = proof(anna, dossier, where)
    assert proof(bruno, dossier, where) == before and holds(world, bruno, dossier, where)
    assert holder.patch(f"DocumentReference/{hidden['id']}", MASK).status_code == 200
    if late:
        assert holder.patch(where, MASK).status_code == 200
        place = [one["coding"][0]["code"] for one in holder.get(where).json()["securityLabel"]].index("MASQUE_PS")
        assert holder.patch(where, [{"op": "remove", "path": f"/securityLabel/{place}"}]).status_code == 200
    assert "related" not in bruno.get(where).text and holds(world, bruno, dossier, where)
    seen = proof(bruno, dossier, where)
    assert seen != before and seen["signature"][0]["when"] == seen["recorded"] == statement(world, seen).at
    assert (seen["recorded"] != before["recorded"]) == late
    assert proof(anna, dossier, where) == proof(holder, dossier, where) == before
    assert [verified(by, where)[0]["seal"] for by in (anna, bruno)] == ["passed"] * 2


def test_a_list_of_which_somebody_sees_a_part_is_sealed_as_he_sees_it(world):
    anna = world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    sent = [document(dossier, anna, labels=labels) for labels in ((), ("INVISIBLE_PATIENT",))]
    assert anna.post("", submission(dossier, anna, *sent)).status_code == 200
    for by, entries in ((anna, 2), (holder, 1)):
        (found,) = listed(by, dossier, "List")
        assert len(found["entry"]) == entries and holds(world, by, dossier, f"List/{found['id']}")


def observed(dossier, **fields) -> dict:
    coded = {"coding": [{"system": LOINC, "code": "8867-4"}]}
    return {"resourceType": "Observation", "status": "final", "code": coded, "subject": {"reference": dossier.path}, **fields}


def together(by, dossier, *others: dict) -> tuple[str, ...]:
    """Addresses of a document and of what comes with it."""
    more = tuple(posted(one, f"urn:uuid:00000000-0000-4000-8000-00000000c{place:03d}") for place, one in enumerate(others))
    answer = by.post("", submission(dossier, by, document(dossier, by), more=more))
    named = ("DocumentReference", *dict.fromkeys(one["resourceType"] for one in others))
    return tuple(f"{kind}/{id}" for kind in named for id in stored(answer, kind))


def naming(world, by, dossier, address: str) -> list[str]:
    """The seals in which somebody is told of a resource: in what is written, or in what is signed."""
    found = []
    for path in (
        f"Provenance?patient={dossier.id}",
        f"{dossier.path}/$everything",
        f"DocumentReference?patient={dossier.id}&_revinclude=*",
    ):
        for one in (entry["resource"] for entry in by.get(path).json().get("entry", ())):
            if one["resourceType"] == "Provenance":
                said = [each.reference for each in statement(world, one).what]
                assert said == [each["reference"] for each in one["target"] if "/_history/" in each["reference"]]
                found += [one["id"]] if any(text.startswith(f"{address}/") for text in said) else []
    return sorted(set(found))


@pytest.fixture
def period(world):
    """(anna, who writes, bruno, from whom what is of March 2026 is hidden, their dossier)."""
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    world.consent(dossier, "mask", dataPeriod={"start": "2026-03-01", "end": "2026-03-31"})
    return anna, bruno, dossier


def test_the_seal_of_a_deposit_does_not_name_what_was_withdrawn_from_it(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    world.consent(dossier, "access", bruno)
    where, gone = together(anna, dossier, observed(dossier))
    before = proof(anna, dossier, where)
    assert proof(bruno, dossier, where) == before and naming(world, bruno, dossier, gone) == [before["id"]]
    value = anna.get(gone).json()
    assert anna.put(gone, {**value, "status": "entered-in-error"}).status_code == 200
    seen = proof(bruno, dossier, where)
    assert gone not in str(seen) and seen["recorded"] == before["recorded"] and holds(world, bruno, dossier, where)
    assert naming(world, bruno, dossier, gone) == [] and proof(holder, dossier, where) == before
    assert seals(bruno, dossier, target=gone) == [] and verified(bruno, where)[0]["seal"] == "passed"
    assert anna.put(gone, value).status_code == 200
    assert proof(bruno, dossier, where) == before


def test_the_seal_of_a_deposit_does_not_name_what_is_hidden_by_its_own_date(world, period):
    anna, bruno, dossier = period
    where, gone = together(anna, dossier, observed(dossier, effectiveDateTime="2026-03-05"))
    assert bruno.get(where).status_code == 200 and bruno.get(gone).status_code == 404
    assert naming(world, bruno, dossier, gone) == [] and len(naming(world, anna, dossier, gone)) == 1
    # Its date is corrected: what it said before stays hidden.
    assert anna.put(gone, {**anna.get(gone).json(), "effectiveDateTime": "2026-05-05"}).status_code == 200
    (now,) = naming(world, bruno, dossier, gone)
    assert proof(bruno, dossier, where)["id"] != now and len(naming(world, anna, dossier, gone)) == 2
    assert seal.digest(bruno.get(gone).content) == statement(world, bruno.get(f"Provenance/{now}").json()).what[0].sha256


def test_a_seal_is_hidden_when_what_it_seals_is_moved_into_a_masked_period(world, period):
    anna, bruno, dossier = period
    written = world.write(anna, observed(dossier, effectiveDateTime="2026-05-05"))
    where = f"Observation/{written['id']}"
    (first,) = naming(world, bruno, dossier, where)

    def dated(day: str) -> list[str]:
        assert anna.put(where, {**written, "effectiveDateTime": day}).status_code == 200
        return naming(world, bruno, dossier, where)

    assert dated("2026-03-05") == [] and {bruno.get(path).status_code for path in (where, f"Provenance/{first}")} == {404}
    assert len(naming(world, anna, dossier, where)) == 2
    # Of the versions that he sees again he sees the seals.
    for seen, day in ((2, "2026-06-05"), (3, "2026-05-05"), (0, "2026-03-07"), (4, "2026-04-07")):
        assert len(dated(day)) == seen == bruno.get(f"{where}/_history").json().get("total", 0), day
    assert len(naming(world, anna, dossier, where)) == 6


def test_a_seal_is_hidden_when_what_it_seals_becomes_of_a_type_that_is_not_his(world):
    author, nurse = world.professional(), world.professional(profession=NURSE)
    dossier = world.open(traitant=author)
    world.consent(dossier, "access", nurse)

    def report(code: str) -> dict:
        coded = {"coding": [{"system": LOINC, "code": code}]}
        return {"resourceType": "DiagnosticReport", "status": "final", "code": coded, "subject": {"reference": dossier.path}}

    id = world.write(author, report(REPORT))["id"]
    where = f"DiagnosticReport/{id}"
    assert len(naming(world, nurse, dossier, where)) == 1
    for code, seen in (("75496-0", 0), (REPORT, 2), (REPORT, 3)):
        assert author.put(where, {**report(code), "id": id}).status_code == 200
        assert len(naming(world, nurse, dossier, where)) == seen
    versions = nurse.get(f"{where}/_history").json()
    assert versions["total"] == 3 and {nurse.get(path).status_code for path in (where, f"{where}/$verify")} == {200}


@pytest.mark.parametrize("corrected", [False, True])
def test_what_is_withdrawn_takes_the_seals_of_all_its_versions_along(world, corrected):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    written = world.write(anna, observed(dossier))
    where = f"Observation/{written['id']}"
    if corrected:
        assert anna.put(where, {**written, "code": {"text": "corrected"}}).status_code == 200
    found = naming(world, bruno, dossier, where)
    assert len(found) == 1 + corrected
    assert anna.put(where, {**written, "status": "entered-in-error"}).status_code == 200
    assert naming(world, bruno, dossier, where) == [] and {bruno.get(f"Provenance/{id}").status_code for id in found} == {404}
    assert bruno.get(f"Provenance?patient={dossier.id}&_summary=count").json()["total"] == 0


def test_the_seal_of_a_former_version_is_over_what_is_seen_of_that(world):
    """Also where the version of now names nothing that is hidden."""
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bruno)
    hidden = f"DocumentReference/{world.deposit(dossier, anna)['id']}"
    _, where = together(anna, dossier, observed(dossier, derivedFrom=[{"reference": hidden}]))
    written = anna.get(where).json()
    assert anna.put(where, {name: part for name, part in written.items() if name != "derivedFrom"}).status_code == 200
    assert world.holder(dossier).patch(hidden, MASK).status_code == 200
    said = {one.reference: one.sha256 for found in seals(bruno, dossier, target=where) for one in statement(world, found).what}
    assert len([address for address in said if address.startswith(where)]) == 2
    for address, digest in said.items():
        if not address.startswith("Binary/"):
            assert seal.digest(bruno.get(address).content) == digest


def kid(found: dict) -> str:
    return jws.header_of(base64.b64decode(found["signature"][0]["data"]).decode()).kid


def test_after_a_rotation_no_key_tells_that_something_is_taken_out(world):
    anna, bruno = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    holder = world.holder(dossier)
    world.consent(dossier, "access", bruno)
    hidden, plain, late = (world.deposit(dossier, anna) for _ in range(3))
    named = [{"context": {"related": [{"reference": f"DocumentReference/{one['id']}"}]}} for one in (hidden, plain)]
    places = [f"DocumentReference/{world.deposit(dossier, anna, **fields)['id']}" for fields in (*named, {})]
    places.append(f"DocumentReference/{late['id']}")
    assert holder.patch(f"DocumentReference/{hidden['id']}", MASK).status_code == 200
    assert holder.patch(places[-1], MASK).status_code == 200
    assert holder.patch(places[-1], [{"op": "remove", "path": "/securityLabel/1"}]).status_code == 200
    before = [proof(bruno, dossier, where) for where in places]
    assert len({kid(one) for one in before}) == 1
    new = SealKeys(world.server.data).rotate("ES256")
    sleep(LOOK_MS / 1000)
    for by in (bruno, anna, holder):
        after = [proof(by, dossier, where) for where in places]
        assert {kid(one) for one in after} == {new}
        for where, one in zip(places, after, strict=True):
            reasons = verified(by, where)[1]
            assert any(f"on {one['recorded']} with key {new} (ES256)" in reason for reason in reasons), reasons
            assert holds(world, by, dossier, where)
    # Nothing else changes, of what he is shown whole and of what not.
    for then, now in zip(before, [proof(bruno, dossier, where) for where in places], strict=True):
        assert statement(world, now) == statement(world, then)
        assert {**now, "signature": [{**now["signature"][0], "data": ""}]} == {**then, "signature": [{**then["signature"][0], "data": ""}]}
