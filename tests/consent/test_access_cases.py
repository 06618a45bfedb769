"""Every case of access, three ways: the decision, the residual in memory, the residual on MongoDB.

Code de la santé publique L1111-14 to L1111-19, R1111-40 to R1111-53
"""

import runpy
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.decide import Decision, decide, labels_shown, residual
from fhir_dmp.consent.explain import text
from fhir_dmp.consent.predicate import facts_of, matches, row_of, to_mongo
from tests.consent import worlds

CASES = worlds.cases()
NAMES = [f"{case['file']}: {case['description']}" for case in CASES]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "generate_access_cases.py"


def world(case):
    return worlds.request_of(case), worlds.dossier_of(case), worlds.facts_of(case), worlds.now_of(case)


def test_there_are_enough_cases_and_each_has_its_own_name():
    assert len(CASES) >= 400
    assert len(set(NAMES)) == len(NAMES)


def test_the_generated_files_are_what_the_script_writes():
    script = runpy.run_path(str(SCRIPT))
    for name, made in script["FILES"].items():
        assert (worlds.FOLDER / name).read_text(encoding="utf-8") == script["written"](made()), name


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_decision(case):
    request, dossier, document, now = world(case)
    decision = decide(request, dossier, document, now)
    expected = case["expect"]
    assert decision.effect == expected["effect"], decision
    if "rule" in expected:
        assert decision.rule == expected["rule"]
    if "warn" in expected:
        assert sorted(o[5:] for o in decision.obligations if o.startswith("warn:")) == sorted(expected["warn"])
    if "obligations" in expected:
        assert set(expected["obligations"]) <= set(decision.obligations)
    if "labelsShown" in expected:
        assert sorted(labels_shown(request, dossier, document, now)) == sorted(expected["labelsShown"])
    assert text(decision, "fr") and text(decision, "en")


def on_stored_documents(case) -> bool:
    """A residual is asked of stored documents: reading, searching, and acts on a document."""
    return case["document"] is not None and (case["action"] in ("read", "search") or ACTS[case["action"]].on == "document")


@pytest.mark.parametrize("case", [c for c in CASES if on_stored_documents(c)], ids=lambda c: f"{c['file']}: {c['description']}")
def test_residual_in_memory(case):
    request, dossier, document, now = world(case)
    left = residual(request, dossier, now)
    permitted = not isinstance(left, Decision) and matches(left, document)
    assert permitted == (case["expect"]["effect"] == "permit")
    if case["action"] in ("read", "search"):
        assert isinstance(left, Decision) == (case["expect"]["effect"] == "refuse")
        if isinstance(left, Decision) and "rule" in case["expect"]:
            assert left.rule == case["expect"]["rule"]
    # The same from the hashed row, as a read by id sees it.
    if not isinstance(left, Decision):
        assert matches(left, facts_of(row_of(document, worlds.hash64), worlds.hash64)) == permitted


async def test_residual_on_mongodb(mongod, database):
    asked = [case for case in CASES if on_stored_documents(case)]
    wrong = []
    async with AsyncMongoClient(mongod.uri) as client:
        rows = client[database].rows
        await rows.insert_many({"_id": i, "y": row_of(worlds.facts_of(case), worlds.hash64)} for i, case in enumerate(asked))
        for i, case in enumerate(asked):
            request, dossier, _, now = world(case)
            left = residual(request, dossier, now)
            if isinstance(left, Decision):
                permitted = False
            else:
                permitted = await rows.find_one({"$and": [{"_id": i}, to_mongo(left, worlds.hash64)]}) is not None
            if permitted != (case["expect"]["effect"] == "permit"):
                wrong.append(case["description"])
    assert not wrong


async def test_a_row_without_facts_meets_no_residual(mongod, database):
    async with AsyncMongoClient(mongod.uri) as client:
        rows = client[database].rows
        await rows.insert_one({"_id": 1})
        for case in CASES:
            request, dossier, _, now = world(case)
            left = residual(request, dossier, now)
            if not isinstance(left, Decision) and case["action"] == "read":
                assert await rows.find_one({"$and": [{"_id": 1}, to_mongo(left, worlds.hash64)]}) is None, case["description"]
