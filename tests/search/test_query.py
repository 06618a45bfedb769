"""What a search may say, and what is refused by name. https://hl7.org/fhir/R4/search.html"""

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.search.limits import Limits
from fhir_dmp.search.narrow import to_mongo
from fhir_dmp.search.predicate import Chain, Has, Listed, Not, Present, ReverseChain, TokenIs
from fhir_dmp.search.query import Include, SortKey, needs_resolving, parse


def asked(type_name, *pairs, **more):
    return parse(type_name, pairs, now_ms=0, **more)


def predicate(type_name, *pairs):
    ((_, found),) = asked(type_name, *pairs).alternatives
    return found


def test_repetition_is_and_comma_is_or_backslash_escapes():
    assert predicate("Patient", ("gender", "male"), ("gender:not", "a\\,b")) == predicate(
        "Patient", ("gender", "male"), ("gender:not", "a\\,b")
    )
    both = predicate("Patient", ("phone", "1,2"), ("phone", "3\\,4\\|5\\$6\\\\7"))
    assert [part.test.code for part in both.parts[0].parts] == ["1", "2"]
    assert both.parts[1] == Has("phone", TokenIs(None, "3,4|5$6\\7"))


def test_missing_is_presence():
    assert predicate("Patient", ("birthdate:missing", "true")) == Not(Present("birthdate"))
    assert predicate("Patient", ("birthdate:missing", "false")) == Present("birthdate")


def test_chains_name_their_types_or_take_those_that_have_the_parameter():
    typed = predicate("Observation", ("subject:Patient.name", "x"))
    assert isinstance(typed, Chain) and [target for target, _ in typed.targets] == ["Patient"]
    untyped = predicate("Observation", ("subject.name", "x"))
    assert [target for target, _ in untyped.targets] == ["Location", "Patient"]
    deep = predicate("Observation", ("encounter.diagnosis:Condition.asserter:Practitioner.family", "x"))
    assert deep.targets[0][1].targets[0][1].targets[0][0] == "Practitioner"


def test_has_goes_backwards_nests_and_takes_chains():
    found = predicate("Patient", ("_has:Observation:patient:_has:AuditEvent:entity:agent-name", "x"))
    assert isinstance(found, ReverseChain) and isinstance(found.part, ReverseChain)
    chained = predicate("Patient", ("_has:Observation:patient:performer:Practitioner.family", "x"))
    assert isinstance(chained.part, Chain)
    through = predicate("Observation", ("subject:Patient._has:Group:member:_id", "g1"))
    assert isinstance(through.targets[0][1], ReverseChain)
    assert needs_resolving(through) and not needs_resolving(predicate("Patient", ("name", "x")))


def test_controls_are_read():
    query = asked(
        "Observation", ("_sort", "-date,code"), ("_count", "5"), ("_total", "none"), ("_elements", "code,status"), ("_list", "42"),
        ("_include", "Observation:subject:Patient"), ("_include:iterate", "Patient:general-practitioner"), ("_revinclude", "Provenance:*"),
        ("_format", "json"), ("_pretty", "true"),
    )  # fmt: skip
    assert query.sort == (SortKey("date", True), SortKey("code", False))
    assert (query.count, query.total, query.elements, query.summary) == (5, "none", ("code", "status"), "")
    assert query.includes == (Include("Observation", "subject", "Patient"), Include("Patient", "general-practitioner", "", True))
    assert query.revincludes == (Include("Provenance", "*"),)
    assert query.alternatives == (("Observation", Listed("42")),)
    assert query.self_link() == (
        "_sort=-date,code&_count=5&_total=none&_elements=code,status&_list=42&_include=Observation:subject:Patient"
        "&_include:iterate=Patient:general-practitioner&_revinclude=Provenance:%2A"
    )


def test_a_page_has_fifty_entries_and_never_more_than_a_thousand():
    assert (asked("Patient").count, asked("Patient", ("_count", "1000000000")).count) == (50, 1000)
    assert asked("Patient", ("_count", "0")).only_count and asked("Patient", ("_summary", "count")).only_count


def test_a_search_over_types_asks_each_type_by_its_own_parameters():
    query = asked(None, ("_type", "Patient,Observation"), ("identifier", "1"))
    assert [type_name for type_name, _ in query.alternatives] == ["Patient", "Observation"]
    assert [type_name for type_name, _ in asked(None, ("_tag", "x")).alternatives] == [None]


def test_the_digest_knows_the_search_and_not_its_page():
    one = asked("Patient", ("name", "x"), ("gender", "male"))
    assert one.digest() == asked("Patient", ("gender", "male"), ("name", "x"), ("_cursor", "c")).digest()
    assert one.digest() != asked("Patient", ("name", "y"), ("gender", "male")).digest()
    assert one.digest() != one.digest("Patient/1")


REFUSED = [
    ("Patient", "foo", "bar", "invalid", "`foo`"),
    ("Patient", "name.foo", "bar", "invalid", "name"),
    ("Patient", "name", "", "invalid", "`name`"),
    ("Patient", "name:above", "x", "invalid", "`:above`"),
    ("Patient", "name", "a,,b", "invalid", "`a,,b`"),
    ("Patient", "gender:missing", "maybe", "invalid", "`maybe`"),
    ("Patient", "active", "maybe", "invalid", "`maybe`"),
    ("Patient", "birthdate", "1980-02-31", "invalid", "`1980-02-31`"),
    ("Patient", "birthdate", "xx1980", "invalid", "`xx1980`"),
    ("Patient", "identifier", "a|b|c", "invalid", "`a|b|c`"),
    ("Patient", "identifier", "|", "invalid", "`|`"),
    ("Patient", "identifier:of-type", "a|b", "invalid", "`a|b`"),
    ("Patient", "general-practitioner", "not an id", "invalid", "`not an id`"),
    ("Patient", "general-practitioner:Foo", "x", "invalid", "`:Foo`"),
    ("Patient", "general-practitioner:Foo.name", "x", "invalid", "`Foo`"),
    ("Patient", "general-practitioner.foo", "x", "invalid", "`foo`"),
    ("Observation", "value-quantity", "abc", "invalid", "`abc`"),
    ("Observation", "value-quantity", "1|2", "invalid", "`1|2`"),
    ("Observation", "value-quantity", "1e9999", "invalid", "`1e9999`"),
    ("Observation", "code-value-quantity", "a", "invalid", "`a`"),
    ("Observation", "code:in", "http://unknown", "not-supported", "`http://unknown`"),
    ("Observation", "code:below", "http://loinc.org|x", "not-supported", "`http://loinc.org`"),
    ("Location", "near", "1", "invalid", "`1`"),
    ("Location", "near", "x|2", "invalid", "`x|2`"),
    ("Location", "near", "91|2", "invalid", "`91|2`"),
    ("Location", "near", "1|2|3|parsec", "invalid", "`parsec`"),
    ("Location", "near:exact", "1|2", "invalid", "`:exact`"),
    ("Patient", "_has:Observation:code:status", "x", "invalid", "`code`"),
    ("Patient", "_has:Observation", "x", "invalid", "`_has:Observation`"),
    ("Patient", "_has:Foo:patient:code", "x", "invalid", "`Foo`"),
    ("Patient", "_count", "1e9", "invalid", "`1e9`"),
    ("Patient", "_count", "-1", "invalid", "`-1`"),
    ("Patient", "_count", "٣", "invalid", "`_count`"),
    ("Patient", "_sort", "foo", "invalid", "`foo`"),
    ("Patient", "_sort", "name,name,name,name,name,name", "too-costly", "`_sort`"),
    ("Patient", "_total", "some", "invalid", "`some`"),
    ("Patient", "_summary", "maybe", "invalid", "`maybe`"),
    ("Patient", "_elements", "a.b.c$", "invalid", "`a.b.c$`"),
    ("Patient", "_include", "Patient:name", "invalid", "`name`"),
    ("Patient", "_include", "Foo:name", "invalid", "`Foo:name`"),
    ("Patient", "_include:foo", "Patient:link", "invalid", "`_include:foo`"),
    ("Patient", "_elements", "foo", "invalid", "`foo`"),
    ("Patient", "_elements", "name,status", "invalid", "`status`"),
    ("Patient", "_elements", "Observation.name", "invalid", "`Observation.name`"),
    ("Patient", "_elements", "Foo.name", "invalid", "`Foo.name`"),
    (None, "_elements", "foo", "invalid", "`foo`"),
    ("Patient", "_revinclude", "*:*", "invalid", "`*:*`"),
    ("Patient", "_contained", "yes", "invalid", "`_contained`"),
    ("Patient", "_query", "x", "not-supported", "`_query`"),
    ("Patient", "_type", "Patient", "invalid", "`_type`"),
    ("Patient", "_list", "$current-anything", "not-supported", "`_list`"),
    ("Patient", "_list", "a/b", "invalid", "`_list`"),
    ("Observation", "_filter", "subject[gender eq male] eq x", "invalid", "`_filter`"),
    ("Observation", "_filter", "subject[gender eq male.name eq x", "invalid", "`]`"),
    ("DocumentReference", "_filter", "relationship[author eq y].relatesto pr true", "invalid", "`author`"),
    ("Patient", "_filter", "name zz x", "invalid", "`zz`"),
    ("Patient", "_filter", "name eq", "invalid", "`_filter`"),
    ("Patient", "_filter", "(" * 30 + 'name eq "x"' + ")" * 30, "too-costly", "`_filter`"),
    ("Patient", "_filter", " or ".join(["gender eq male"] * 51), "too-costly", "`_filter`"),
    ("Patient", "_filter", "$where eq 1", "invalid", "`_filter`"),
    ("Patient", "$where", "1", "invalid", "`$where`"),
    ("Patient", "name", "x" * 20_001, "too-costly", "`name`"),
    ("Patient", "gender", ",".join("m" * 500), "too-costly", "`gender`"),
    ("Patient", "link." * 20 + "name", "x", "too-costly", "chain"),
    ("Patient", "_has:Patient:link:" * 20 + "name", "x", "too-costly", "chain"),
]


@pytest.mark.parametrize(("type_name", "name", "value", "kind", "said"), REFUSED, ids=lambda v: str(v)[:30])
def test_what_is_refused_names_the_parameter(type_name, name, value, kind, said):
    with pytest.raises(FhirError) as refused:
        asked(type_name, (name, value))
    assert (refused.value.kind, refused.value.status) == (kind, 501 if kind == "not-implemented" else 400)
    assert said in refused.value.message and len(refused.value.message) < 400


def test_every_fault_is_told_in_one_pass():
    with pytest.raises(FhirError) as refused:
        asked("Patient", ("foo", "1"), ("birthdate", "x"), ("_count", "y"))
    assert [issue.code for issue in refused.value.issues] == ["invalid", "invalid", "invalid"]


def test_too_many_parameters_and_includes_are_refused():
    with pytest.raises(FhirError, match="at most 60 parameters"):
        asked("Patient", *[("gender", "male")] * 61)
    with pytest.raises(FhirError, match="at most 20 `_include`"):
        asked("Patient", *[("_include", "Patient:link")] * 21)
    assert asked("Patient", *[("gender", "male")] * 3, limits=Limits(parameters=3)).understood


def test_a_lenient_search_leaves_out_what_nobody_knows_and_says_so():
    query = asked("Patient", ("foo", "1"), ("gender", "male"), lenient=True)
    assert (query.ignored, query.self_link()) == (("foo",), "gender=male")
    with pytest.raises(FhirError):
        asked("Patient", ("birthdate", "x"), lenient=True)
    query = asked("Patient", ("_elements", "foo,name"), ("_elements", "bar"), lenient=True)
    assert (query.elements, query.ignored, query.self_link()) == (("name",), ("_elements=foo", "_elements=bar"), "_elements=name")


def test_elements_are_those_of_the_top_of_a_type():
    named = ("id", "meta", "valueQuantity", "value", "value[x]", "Observation.status", "Patient.name", "modifierExtension")
    assert asked("Observation", ("_elements", ",".join(named))).elements == named
    assert asked(None, ("_type", "Patient,Observation"), ("_elements", "birthDate,status")).elements == ("birthDate", "status")
    assert asked(None, ("_elements", "birthDate,status")).elements == ("birthDate", "status")


@pytest.mark.parametrize("value", ["$ne", '{"$gt": ""}', ".*", "^a", "a\x00b", "$where"])
def test_nothing_of_the_request_reaches_the_database(value):
    """A filter holds our operators, hashes, intervals and times only."""

    def words(part):
        if isinstance(part, dict):
            for name, inner in part.items():
                yield name
                yield from words(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from words(inner)
        elif not isinstance(part, int):
            yield part

    pairs = [("name", value), ("name:contains", value), ("identifier", value.replace("|", "")), ("_tag", value), ("_profile", value)]
    allowed = {"$and", "$or", "$nor", "$in", "$elemMatch", "$gte", "$gt", "$lt", "$lte", "x", "n", "s", "l", "p", "a", "b", "_id"}
    for pair in pairs:
        try:
            found = predicate("Patient", pair)
        except FhirError:
            continue
        assert set(words(to_mongo(found, "Patient", hash).filter)) <= allowed
