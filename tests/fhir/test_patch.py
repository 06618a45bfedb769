"""JSON Patch. https://hl7.org/fhir/R4/http.html#patch"""

import copy
import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import patch as module
from fhir_dmp.fhir.json import dump, parse_exact
from fhir_dmp.fhir.patch import json_patch


def op(name, path, *value, source=None):
    made = {"op": name, "path": path}
    if source is not None:
        made["from"] = source
    if value:
        made["value"] = value[0]
    return made


def patched(document: bytes, *operations) -> bytes:
    return dump(json_patch(parse_exact(document), parse_exact(dump(list(operations)), object_only=False)))


def test_the_examples_of_the_documentation_hold():
    assert doctest.testmod(module).failed == 0


APPLIED = [
    (b'{"a":1}', [], b'{"a":1}'),
    (b'{"a":null}', [op("add", "/a", 1)], b'{"a":1}'),
    (b'{"a":1}', [op("add", "/b", [1, 2])], b'{"a":1,"b":[1,2]}'),
    (b'{"a":1}', [op("add", "/0", "x")], b'{"a":1,"0":"x"}'),
    (b'{"a":1}', [op("add", "/", "x")], b'{"a":1,"":"x"}'),
    (b'{"a":1}', [op("add", "", {"b": 2})], b'{"b":2}'),
    (b'{"a":[1,2]}', [op("add", "/a/1", [9])], b'{"a":[1,[9],2]}'),
    (b'{"a":[1,2]}', [op("add", "/a/2", 3), op("add", "/a/-", 4)], b'{"a":[1,2,3,4]}'),
    (b'{"a":[{"b":1}]}', [op("add", "/a/0/c", 2)], b'{"a":[{"b":1,"c":2}]}'),
    (b'{"a":1,"b":2}', [op("remove", "/a")], b'{"b":2}'),
    (b'{"a":[1,2,3,4]}', [op("remove", "/a/1"), op("remove", "/a/2")], b'{"a":[1,3]}'),
    (b'{"a":[{"b":1}]}', [op("remove", "/a/0/b")], b'{"a":[{}]}'),
    (b'{"a":1,"b":2}', [op("replace", "/a", {"c": None})], b'{"a":{"c":null},"b":2}'),
    (b'{"a":[1,2]}', [op("replace", "/a/1", "x")], b'{"a":[1,"x"]}'),
    (b'{"a":1}', [op("replace", "", {"b": 1})], b'{"b":1}'),
    (b'{"a":1,"b":2}', [op("move", "/c", source="/a")], b'{"b":2,"c":1}'),
    (b'{"a":1}', [op("move", "/a", source="/a")], b'{"a":1}'),
    (b'{"a":[1,2,3]}', [op("move", "/a/0", source="/a/2")], b'{"a":[3,1,2]}'),
    (b'{"a":[1,2,3]}', [op("move", "/a/2", source="/a/0")], b'{"a":[2,3,1]}'),
    (b'{"a":{"b":1},"ab":2}', [op("move", "/ab2", source="/ab")], b'{"a":{"b":1},"ab2":2}'),
    (b'{"a":{"b":1}}', [op("copy", "/c", source="/a"), op("replace", "/c/b", 2)], b'{"a":{"b":1},"c":{"b":2}}'),
    (b'{"a/b":1,"m~n":2}', [op("replace", "/a~1b", 3), op("replace", "/m~0n", 4)], b'{"a/b":3,"m~n":4}'),
    (b'{"~1":1}', [op("replace", "/~01", 2)], b'{"~1":2}'),
    (b'{"a":1}', [op("test", "/a", 1.0), op("test", "", {"a": 1})], b'{"a":1}'),
    (b'{"a":{"x":1,"y":[1,2]}}', [op("test", "/a", {"y": [1, 2], "x": 1})], b'{"a":{"x":1,"y":[1,2]}}'),
    # an absent list is the empty list, and there are no empty lists
    (b'{"a":1}', [op("add", "/securityLabel/-", {"x": 1})], b'{"a":1,"securityLabel":[{"x":1}]}'),
    (b'{"a":{}}', [op("add", "/a/l/0", 1), op("add", "/a/l/-", 2)], b'{"a":{"l":[1,2]}}'),
    (b'{"a":1,"securityLabel":[{"x":1}]}', [op("remove", "/securityLabel/0")], b'{"a":1}'),
    (b'{"l":[1],"m":[2]}', [op("move", "/m/-", source="/l/0")], b'{"m":[2,1]}'),
    (b'{"l":[1]}', [op("move", "/l/0", source="/l/0")], b'{"l":[1]}'),
]


@pytest.mark.parametrize(("document", "operations", "result"), APPLIED, ids=range(len(APPLIED)))
def test_operations_do_what_the_rfc_says(document, operations, result):
    assert patched(document, *operations) == result


REFUSED = [
    (op("add", "/a/8", 1), "no place 8"),
    (op("add", "/a/-1", 1), "not a place in a list"),
    (op("add", "/a/01", 1), "not a place in a list"),
    (op("add", "/a/1e0", 1), "not a place in a list"),
    (op("add", "/a/１", 1), "not a place in a list"),
    (op("add", "/x/y", 1), "there is no `x`"),
    (op("add", "/x/1", 1), "there is no `x`"),
    (op("add", "/s/x", 1), "nothing inside"),
    (op("remove", "/x"), "there is no `x`"),
    (op("remove", "/a/2"), "no place 2"),
    (op("remove", "/a/-"), "not a place in a list"),
    (op("remove", ""), "whole resource cannot be removed"),
    (op("replace", "/x", 1), "there is no `x`"),
    (op("replace", "/a/-", 1), "not a place in a list"),
    (op("replace", "/s/x", 1), "nothing inside"),
    (op("move", "/y", source="/x"), "there is no `x`"),
    (op("move", "/x", source="/x"), "there is no `x`"),
    (op("move", "/o/p", source="/o"), "moved into itself"),
    (op("copy", "/y", source="/x"), "there is no `x`"),
    (op("test", "/a", [1]), "the value there is another"),
    (op("test", "/t", 1), "the value there is another"),
    (op("test", "/x", None), "there is no `x`"),
]


@pytest.mark.parametrize(("operation", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_unprocessable_and_names_its_operation(operation, words):
    with pytest.raises(FhirError, match=words) as caught:
        json_patch({"a": [1, 2], "s": "text", "t": True, "o": {"p": 1}}, [op("test", "/s", "text"), operation])
    assert caught.value.status == 422 and caught.value.message.startswith("operation 1 (")


@pytest.mark.parametrize(
    "patch",
    [
        {}, None, "x", [1], [{}], [{"op": "spam", "path": ""}], [{"op": ["add"], "path": ""}], [{"op": "add", "path": "/a"}],
        [{"op": "replace", "path": "/a"}], [{"op": "test", "path": "/a"}], [{"op": "add", "value": 1}],
        [{"op": "add", "path": 1, "value": 1}],
        [{"op": "copy", "path": "/a"}], [{"op": "move", "path": "/a", "from": None}], [op("remove", "a")],
        [op("remove", "DocumentReference.status")],
        [op("remove", "/~")], [op("remove", "/~2")],
    ],
)  # fmt: skip
def test_malformed_patches_are_invalid(patch):
    with pytest.raises(FhirError) as caught:
        json_patch({"a": 1}, patch)
    assert caught.value.status == 400


@pytest.mark.parametrize("value", [1, "x", None, [], True])
def test_a_patch_leaves_an_object(value):
    with pytest.raises(FhirError, match="no JSON object"):
        json_patch({"a": 1}, [op("replace", "", value)])


def test_numbers_and_untouched_parts_stay_as_they_are():
    document = parse_exact(b'{"a":{"n":1.00},"b":[-0,1E2],"c":{"d":1}}')
    result = json_patch(document, parse_exact(b'[{"op":"replace","path":"/c/d","value":0.010}]', object_only=False))
    assert dump(result) == b'{"a":{"n":1.00},"b":[-0,1E2],"c":{"d":0.010}}'
    assert result["a"] is document["a"] and result["b"] is document["b"]
    assert dump(document) == b'{"a":{"n":1.00},"b":[-0,1E2],"c":{"d":1}}'


def test_tests_compare_numbers_by_value():
    assert patched(b'{"a":1.00}', op("test", "/a", 1)) == b'{"a":1.00}'


def test_copies_cannot_grow_without_end():
    doubling = [op("copy", f"/{i}", source="") for i in range(40)]
    with pytest.raises(FhirError, match="copies add more than") as caught:
        json_patch({"a": "x" * 1000}, doubling)
    assert caught.value.status == 422


def test_a_patch_cannot_nest_without_end():
    deep = "/a" * 32
    with pytest.raises(FhirError, match="nested more than 64 levels"):
        json_patch({"a": 1}, [op("add", "/a", {})] + [op("copy", "/a" * n, source="") for n in range(1, 65)])
    with pytest.raises(FhirError, match="nested more than 64 levels"):
        json_patch({"a": 1}, [op("remove", deep * 3)])
    value = parse_exact(b'{"a":' * 60 + b"1" + b"}" * 60)
    with pytest.raises(FhirError, match="nested more than 64 levels"):
        json_patch({"a": {"b": {"c": {"d": {"e": {}}}}}}, [op("add", "/a/b/c/d/e/f", value)])


def test_too_many_operations_are_refused():
    with pytest.raises(FhirError) as caught:
        json_patch({"a": 1}, [op("test", "/a", 1)] * 1001)
    assert caught.value.kind == "too-costly"


PATHS = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "~0", ""]), max_size=3).map(lambda tokens: "".join("/" + t for t in tokens))
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "0", "~"]), inner, max_size=3)),
    max_leaves=8,
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": PATHS, "from": PATHS, "value": TREES}
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), TREES), st.lists(OPERATIONS, max_size=5))
def test_a_patch_applies_or_is_refused_and_never_changes_its_input(document, operations):
    before = copy.deepcopy((document, operations))
    try:
        json.dumps(json_patch(document, operations))
    except FhirError as error:
        assert error.status in (400, 422)
    assert (document, operations) == before


@given(st.dictionaries(st.sampled_from(["a", "b"]), TREES), TREES)
def test_what_was_added_is_found_and_can_be_removed_again(document, value):
    added = json_patch(document, [op("add", "/new", value), op("test", "/new", value)])
    assert json_patch(added, [op("remove", "/new")]) == document
