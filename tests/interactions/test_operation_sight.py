"""What the asker may not see joins every operation on a set: hidden answers like absent.

IHE PCF: https://profiles.ihe.net/ITI/PCF/
"""

import json

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.interactions import docref, document, everything, export, export_job, lastn, match, meta, patient_summary, validate
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.search.blind import self_hash
from tests.interactions.making import observation
from tests.search.hosting import context_on, put

P = "Patient/p1"
WHO = {"subject": {"reference": P}}
LETTER = {"type": {"text": "x"}, "date": "2026", "title": "x", "author": [{"reference": "Practitioner/doctor"}]}
SHARED = [
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Vu", "given": ["Zoé"]}], "birthDate": "1980-01-01", "gender": "female"},
    {"resourceType": "Practitioner", "id": "doctor"},
    {**observation(P), "id": "shown", "effectiveDateTime": "2020", "performer": [{"reference": "Practitioner/doctor"}]},
    {"resourceType": "Composition", "id": "letter", "status": "final", **WHO, **LETTER},
    {"resourceType": "DocumentReference", "id": "shown-document", "status": "current", **WHO, "content": [{"attachment": {}}]},
    {"resourceType": "Group", "id": "group", "type": "person", "actual": True, "member": [{"entity": {"reference": P}}]},
]
# Newer, better placed, and not to be seen.
HIDDEN = [
    {**observation(P), "id": "hidden", "effectiveDateTime": "2026", "performer": [{"reference": "Practitioner/secret"}]},
    {**observation(P), "id": "tagged", "effectiveDateTime": "2026", "meta": {"tag": [{"code": "secret"}]}},
    {"resourceType": "Practitioner", "id": "secret"},
    {"resourceType": "DocumentReference", "id": "hidden-document", "status": "current", **WHO, "content": [{"attachment": {}}]},
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Vu", "given": ["Zoé"]}], "birthDate": "1980-01-01", "gender": "female"},
    {"resourceType": "Composition", "id": "secret-letter", "status": "final", **WHO, **LETTER},
]


def address(type_name, id, name):
    return Url(type_name, id, (f"${name}",), (), False)


def asked(type_name, id, name, **given):
    """(run, url, given) of an operation."""
    runs = {
        "summary": patient_summary,
        "everything": everything,
        "document": document,
        "docref": docref,
        "match": match,
        "lastn": lastn,
        "meta": meta,
    }
    resources = {"resource": (SHARED[0], b"")} if name == "match" else {}
    return runs[name].run, address(type_name, id, name), Given(tuple(given.items()), resources)


OPERATIONS = {
    "everything": asked("Patient", "p1", "everything"),
    "summary": asked("Patient", "p1", "summary"),
    "document": asked("Composition", "letter", "document"),
    "docref": asked("DocumentReference", "", "docref", patient="p1"),
    "match": asked("Patient", "", "match"),
    "lastn": asked("Observation", "", "lastn", patient="p1", code="8302-2", max="5"),
    "meta": asked("Observation", "", "meta"),
    "meta of all": asked("", "", "meta"),
}


@pytest.fixture
async def world(sandbox_store):
    """(context, what may be seen) of a store with hidden resources in it."""
    await put(sandbox_store, *SHARED, *HIDDEN)
    vault = sandbox_store.vault
    keys = {vault.locate(each["resourceType"], each["id"]) for each in HIDDEN}
    sight = Sight(lambda type_name: {"s": {"$nin": [hash_of(vault, each) for each in HIDDEN]}}, lambda row: row.key not in keys)
    return context_on(sandbox_store), sight


def hash_of(vault, resource):
    return self_hash(resource["resourceType"], resource["id"], vault.hash64)


def told(answer):
    """The answer without moments and versions."""
    value = json.loads(answer.body)
    ids = [entry["resource"]["id"] for entry in value.get("entry", [])]
    return sorted(ids) if "entry" in value else {name: part for name, part in value.items() if name not in ("timestamp", "identifier")}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_nothing_hidden_is_in_an_answer(world, name):
    context, sight = world
    run, url, given = OPERATIONS[name]
    answer = await run(context, url, given, sight)
    assert b"secret" not in answer.body and b"hidden" not in answer.body and b'"p2"' not in answer.body
    everything_shown = await run(context, url, given)
    assert told(everything_shown) != told(answer) or name == "document"


async def test_totals_count_what_is_shown(world):
    context, sight = world
    totals = {}
    for name in ("everything", "docref", "match", "lastn"):
        run, url, given = OPERATIONS[name]
        totals[name] = json.loads((await run(context, url, given, sight)).body)["total"]
    assert totals == {"everything": 5, "docref": 1, "match": 1, "lastn": 1}


@pytest.mark.parametrize(
    ("run", "url", "given"),
    [
        (everything.run, address("Patient", "p2", "everything"), Given()),
        (document.run, address("Composition", "secret-letter", "document"), Given()),
        (meta.run, address("Observation", "hidden", "meta"), Given()),
    ],
)
async def test_the_hidden_is_as_the_absent(world, run, url, given):
    context, sight = world
    refusals = []
    for each in (url, url._replace(id="nowhere")):
        with pytest.raises(FhirError) as refusal:
            await run(context, each, given, sight)
        refusals.append((refusal.value.status, refusal.value.issues))
    assert refusals[0] == refusals[1] and refusals[0][0] == 404


async def test_a_deletion_of_the_hidden_is_as_that_of_the_absent(world):
    context, sight = world
    given = Given((("mode", "delete"),))
    hidden = await validate.run(context, address("Observation", "hidden", "validate"), given, sight)
    absent = await validate.run(context, address("Observation", "nowhere", "validate"), given, sight)
    assert hidden.body == absent.body and b"not-found" in hidden.body


@pytest.mark.parametrize("url", [address("", "", "export"), address("Patient", "", "export"), address("Group", "group", "export")])
async def test_an_export_holds_what_is_shown(world, url):
    context, sight = world
    id = await export_job.start(context, await export.planned(context, url, Given(), "https://dmp.example", sight))
    for task in list(export_job._running):
        await task
    manifest = json.loads((await export.state_of(context, id)).manifest)
    written = b""
    for number in range(len(manifest["output"])):
        content, _ = await export.output_of(context, id, str(number))
        written += await context.store.contents.read_all(content, 1_000_000)
    assert b'"shown"' in written and b"secret" not in written and b"hidden" not in written and b'"p2"' not in written
