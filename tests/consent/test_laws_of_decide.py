"""What holds of every decision, on random worlds.

https://profiles.ihe.net/ITI/PCF/ (decision and residual come from one set of rules)
"""

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient

from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.decide import Decision, decide, residual, view
from fhir_dmp.consent.dossier import Right, pack, unpack
from fhir_dmp.consent.explain import text
from fhir_dmp.consent.predicate import facts_of, judge, matches, row_of, simplified, to_mongo
from fhir_dmp.dmp.visibility import MASKED, VISIBILITY
from tests.consent.strategies import acting, askers, documents, dossiers, now, restrictions
from tests.consent.worlds import hash64

many = settings(max_examples=300, deadline=None)
some = settings(max_examples=120, deadline=None)


def permitted(request, dossier, now_ms, document) -> bool:
    left = residual(request, dossier, now_ms)
    return not isinstance(left, Decision) and matches(left, document)


@many
@given(askers, dossiers, documents, now)
def test_search_finds_what_read_permits(request, dossier, document, now_ms):
    decision = decide(request, dossier, document, now_ms)
    assert permitted(request, dossier, now_ms, document) == (decision.effect == "permit")
    stored = facts_of(row_of(document, hash64), hash64)
    assert permitted(request, dossier, now_ms, stored) == (decision.effect == "permit")
    assert decide(request, dossier, stored, now_ms) == decision


@many
@given(askers, dossiers, st.lists(documents, min_size=2, max_size=4), now)
def test_rows_that_are_alike_are_judged_once_and_alike(request, dossier, found, now_ms):
    left = residual(request, dossier, now_ms)
    rows = [row_of(document, hash64) for document in found]
    rows += [{name: value for name, value in rows[0].items() if name != left_out} for left_out in rows[0]]
    if not isinstance(left, Decision):
        assert [judge(left, hash64)(row) for row in rows] == [matches(left, facts_of(row, hash64)) for row in rows]


@some
@given(acting, dossiers, documents, now)
def test_an_act_on_documents_leaves_the_same_residual(request, dossier, document, now_ms):
    assert permitted(request, dossier, now_ms, document) == (decide(request, dossier, document, now_ms).effect == "permit")


@many
@given(askers, dossiers, documents, documents, now)
def test_a_refusal_depends_on_the_dossier_alone(request, dossier, one, other, now_ms):
    first, second = decide(request, dossier, one, now_ms), decide(request, dossier, other, now_ms)
    left = residual(request, dossier, now_ms)
    if first.effect == "refuse":
        assert second == first == left
    else:
        assert not isinstance(left, Decision)


@many
@given(askers, dossiers, documents, now, restrictions)
def test_one_more_restriction_never_opens_anything(request, dossier, document, now_ms, restrict):
    narrower, hidden = restrict(dossier, document)
    if decide(request, narrower, hidden, now_ms).permits:
        assert decide(request, dossier, document, now_ms).permits


@some
@given(acting, st.sampled_from(["professional", "structure"]), dossiers, documents, now)
def test_whoever_is_blocked_is_permitted_no_act(request, kind, dossier, document, now_ms):
    """Neither by his name nor by that of his structure, its certificate included."""
    asker = replace(request, kind=kind, person=request.person if kind == "professional" else "", opener=True)
    for who in {asker.person, asker.organization} - {""}:
        narrower = replace(dossier, blocks=(*dossier.blocks, Right(who)))
        permitted = [name for name in ACTS if decide(asker.doing(name), narrower, document, now_ms).permits]
        assert permitted == []


@many
@given(acting, dossiers, st.none() | documents, now)
def test_decide_is_total_deterministic_and_every_decision_has_words(request, dossier, document, now_ms):
    decision = decide(request, dossier, document, now_ms)
    assert decision == decide(request, unpack(pack(dossier)), document, now_ms)
    assert text(decision, "fr") and text(decision, "en")
    assert decide(request, None, document, now_ms).effect in ("permit", "refuse")


@some
@given(askers, dossiers, documents, now)
def test_a_mask_is_never_shown_to_its_author_and_a_view_says_what_decide_says(request, dossier, document, now_ms):
    seen = view(request, dossier, now_ms)
    shown = seen.labels(document)
    assert shown <= document.labels
    assert {label for label in VISIBILITY if matches(seen.searched(label), document)} == shown
    if request.kind == "professional" and request.person in document.authors and request.person not in dossier.traitant:
        assert MASKED not in shown or any(right.who == request.person for right in dossier.assimilated)
    decision = decide(request, dossier, document, now_ms)
    if decision.permits:
        assert {o[5:] for o in decision.obligations if o.startswith("warn:")} == seen.warnings(document)
        assert {o for o in decision.obligations if not o.startswith("warn:")} == set(seen.duties)


@some
@given(askers, dossiers, documents, now)
def test_simplifying_changes_nothing(request, dossier, document, now_ms):
    left = residual(request, dossier, now_ms)
    if not isinstance(left, Decision):
        assert matches(simplified(left), document) == matches(left, document)


async def test_mongodb_finds_what_decide_permits(mongod, database):
    papers, askings, policies = [], [], []

    @settings(max_examples=80, deadline=None, database=None, derandomize=True)
    @given(documents, askers, dossiers)
    def collect(document, request, dossier):
        papers.append(document)
        askings.append(request)
        policies.append(dossier)

    collect()
    moments = itertools.cycle([now_ms for now_ms in (1795338000000, 1795251600000)])
    async with AsyncMongoClient(mongod.uri) as client:
        rows = client[database].rows
        await rows.create_index("d")
        await rows.insert_many({"_id": i, "d": 1, "y": row_of(paper, hash64)} for i, paper in enumerate(papers))
        for request, dossier, now_ms in zip(askings, policies, moments, strict=False):
            left = residual(request, dossier, now_ms)
            expected = {i for i, paper in enumerate(papers) if decide(request, dossier, paper, now_ms).permits}
            if isinstance(left, Decision):
                assert not expected
                continue
            found = {row["_id"] async for row in rows.find({"$and": [{"d": 1}, to_mongo(left, hash64)]}, {"_id": 1})}
            assert found == expected
