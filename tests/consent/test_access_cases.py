"""Every case of access, three ways: the decision, the residual in memory, the residual on MongoDB.

Code de la santé publique L1111-14 to L1111-19, R1111-40 to R1111-53
"""

import itertools
import runpy
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from fhir_dmp.consent import rules
from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.decide import Decision, decide, residual, view
from fhir_dmp.consent.explain import WORDS, text
from fhir_dmp.consent.predicate import facts_of, matches, row_of, to_mongo
from tests.consent import worlds

CASES = worlds.cases()
FILES = {name: list(group) for name, group in itertools.groupby(CASES, key=lambda case: case["file"])}
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "generate_access_cases.py"


def world(case):
    return worlds.request_of(case), worlds.dossier_of(case), worlds.facts_of(case), worlds.now_of(case)


def on_stored_rows(case) -> bool:
    """A residual is asked of stored rows: reading, searching, acts on a document, companions."""
    if case["document"] is None:
        return False
    return case["action"] in ("read", "search") or ACTS[case["action"]].on in (rules.DOCUMENT, rules.COMPANION)


def test_there_are_enough_cases_and_each_has_its_own_name():
    assert len(CASES) >= 400
    names = [case["description"] for case in CASES]
    assert sorted(names) == sorted(set(names))


def test_the_generated_files_are_what_the_script_writes():
    script = runpy.run_path(str(SCRIPT))
    for name, made in script["FILES"].items():
        assert (worlds.FOLDER / name).read_text(encoding="utf-8") == script["written"](made()), name


@pytest.mark.parametrize("name", FILES)
def test_decision(name):
    assert [fault for case in FILES[name] if (fault := fault_of_decision(case))] == []


def fault_of_decision(case) -> str:
    """What differs from what the case expects, "" for nothing."""
    request, dossier, document, now = world(case)
    decision, expected = decide(request, dossier, document, now), case["expect"]
    warned = sorted(o[5:] for o in decision.obligations if o.startswith("warn:"))
    agrees = (
        decision.effect == expected["effect"]
        and decision.rule == expected.get("rule", decision.rule)
        and warned == sorted(expected.get("warn", warned))
        and set(expected.get("obligations", ())) <= set(decision.obligations)
        and ("labelsShown" not in expected or sorted(view(request, dossier, now).labels(document)) == sorted(expected["labelsShown"]))
        and bool(text(decision, "fr") and text(decision, "en"))
    )
    return "" if agrees else f"{case['description']}: {decision} instead of {expected}"


@pytest.mark.parametrize("name", FILES)
def test_residual_in_memory(name):
    assert [fault for case in FILES[name] if on_stored_rows(case) and (fault := fault_of_residual(case))] == []


def fault_of_residual(case) -> str:
    """As above; also from the hashed row, as a read by id sees it."""
    request, dossier, document, now = world(case)
    left, expected = residual(request, dossier, now), case["expect"]
    if isinstance(left, Decision):
        agrees = expected["effect"] == "refuse" and left.rule == expected.get("rule", left.rule)
    else:
        permitted = expected["effect"] == "permit"
        stored = facts_of(row_of(document, worlds.hash64), worlds.hash64)
        agrees = matches(left, document) == matches(left, stored) == permitted
        # Only an act may refuse because of the document; reading hides.
        agrees &= expected["effect"] != "refuse" or case["action"] not in ("read", "search")
    return "" if agrees else f"{case['description']}: {left} instead of {expected}"


async def test_residual_on_mongodb(mongod, database):
    asked = [case for case in CASES if on_stored_rows(case)]
    wrong, leaks = [], []
    async with AsyncMongoClient(mongod.uri) as client:
        rows = client[database].rows
        await rows.insert_many({"_id": i, "y": row_of(worlds.facts_of(case), worlds.hash64)} for i, case in enumerate(asked))
        await rows.insert_one({"_id": -1})
        for i, case in enumerate(asked):
            request, dossier, _, now = world(case)
            left = residual(request, dossier, now)
            found = []
            if not isinstance(left, Decision):
                query = {"$and": [{"_id": {"$in": [i, -1]}}, to_mongo(left, worlds.hash64)]}
                found = [row["_id"] async for row in rows.find(query, {"_id": 1})]
            if (i in found) != (case["expect"]["effect"] == "permit"):
                wrong.append(case["description"])
            if -1 in found:
                leaks.append(case["description"])
    assert wrong == []
    assert leaks == [], "a row without facts is no document and meets no residual"


def test_every_rule_has_words_and_a_case():
    named = {rule.name for rule in rules.READING} | {rule.name for act in ACTS.values() for rule in act.rules}
    assert named <= set(WORDS)
    tested = {case["expect"].get("rule") for case in CASES}
    assert named - tested == set()
    assert set(WORDS) - named == {"nothing-permits", "rule-cannot-be-evaluated", "no-dossier", "opening"}
