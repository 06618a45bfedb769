"""Habilitation matrix: evaluation order, requirements, professions with their system.

https://www.legifrance.gouv.fr/jorf/id/JORFTEXT000048368244
"""

import json

import pytest

from fhir_dmp.dmp import habilitation, spaces
from fhir_dmp.dmp.habilitation import READ, WRITE, parse, profession

NONE = frozenset()


def matrix(*rows):
    return parse(json.dumps({"version": "t", "rows": [{"id": f"R{i}", "action": "read", **row} for i, row in enumerate(rows)]}).encode())


def row(effect, target, professions=("G15|10",), **more):
    return {"effect": effect, "target": target, "professions": list(professions), **more}


ALL, CLASS, TYPE = {"all": True}, {"classes": ["10"]}, {"types": ["11488-4"]}
NEEDS = {"requires": {"anyOf": {"specialty": ["SM03"]}}}


@pytest.mark.parametrize(
    ("rows", "traits", "expected"),
    [
        ([row("permit", ALL), row("deny", CLASS)], NONE, (False, "R1")),
        ([row("deny", CLASS), row("permit", TYPE)], NONE, (True, "R1")),
        ([row("deny", TYPE, ("*",)), row("permit", CLASS)], NONE, (False, "R0")),
        ([row("permit", CLASS), row("deny", CLASS)], NONE, (False, "R1")),
        ([row("deny", CLASS), row("permit", CLASS, **NEEDS)], {"SM03"}, (True, "R1")),
        ([row("deny", CLASS), row("permit", CLASS, **NEEDS)], NONE, (False, "R0")),
        ([row("permit", CLASS), row("deny", CLASS, ("G15|*",))], NONE, (True, "R0")),
        ([row("permit", CLASS, ("G15|*",), **NEEDS), row("deny", CLASS)], {"SM03"}, (True, "R0")),
        ([row("permit", CLASS, ("*",)), row("deny", CLASS, ("G15|*",))], NONE, (False, "R1")),
        ([row("permit", CLASS, ("G15|60",))], NONE, (False, "")),
        ([], NONE, (False, "")),
    ],
)
def test_evaluation_order(rows, traits, expected):
    assert matrix(*rows).evaluate("G15|10", frozenset(traits), "11488-4", READ) == expected


def test_none_of_is_met_when_the_requester_has_none_of_them():
    table = matrix(row("deny", TYPE, requires={"noneOf": {"specialty": ["SM03"], "facility": ["SA25"]}}), row("permit", ALL))
    assert table.evaluate("G15|10", NONE, "11488-4", READ) == (False, "R0")
    assert table.evaluate("G15|10", frozenset({"SA25"}), "11488-4", READ) == (True, "R1")


@pytest.mark.parametrize(
    ("who", "traits", "kind", "action", "expected"),
    [
        ("G15|10", (), "11502-2", WRITE, (False, "H006")),
        ("G15|10", ("SM03",), "11502-2", WRITE, (True, "H039")),
        ("G15|10", ("SA25",), "11502-2", WRITE, (True, "H039")),
        ("G15|21", ("G",), "11502-2", WRITE, (True, "H038")),
        ("G15|21", (), "11502-2", WRITE, (False, "H040")),
        ("G15|10", (), "ATTEST-RESID", READ, (False, "H002")),
        ("G15|10", ("SA15",), "ATTEST-RESID", READ, (False, "H002")),
        ("G15|10", (), "60591-5", WRITE, (True, "H008")),
        ("G15|40", (), "83901-9", READ, (False, "H003")),
        ("G15|60", (), "75496-0", READ, (False, "H004")),
        ("G15|60", (), "11502-2", READ, (True, "H005")),
        ("A00|ALIM_AM", (), "REMB", WRITE, (True, "H015")),
        ("G15|10", (), "REMB", WRITE, (False, "H016")),
        ("A00|EXP_PATIENT", (), "EXPPAT_3", WRITE, (True, "H017")),
        ("G15|60", (), "EXPPAT_1", WRITE, (False, "H018")),
        ("G16|10", (), "11488-4", READ, (True, "H001")),
        ("R94|41", (), "11488-4", READ, (False, "H027")),
    ],
)
def test_rows_of_the_matrix(who, traits, kind, action, expected):
    assert habilitation.default().evaluate(who, frozenset(traits), kind, action) == expected


def test_allowed_says_what_evaluate_says():
    table = habilitation.default()
    for who in ("G15|10", "G15|60", "G16|40", "R95|93", "A00|EXP_PATIENT"):
        for action in (READ, WRITE):
            allowed = table.allowed({who}, NONE, action)
            for code in (*spaces.types(), "http://example.org|x"):
                assert (code in allowed) == table.evaluate(who, NONE, code, action)[0], (who, code)


def test_a_profession_is_its_system_and_code():
    assert profession("10^1.2.250.1.71.1.2.7") == "G15|10"
    assert profession("95") == "G15|95"
    assert profession("10", "C") == "G15|10"
    assert profession("10", "E") == "G16|10"
    assert profession("10^1.2.3.4") == ""
    assert profession("nobody") == ""


def test_a_matrix_that_cannot_be_used_is_refused():
    good = {"effect": "permit", "target": ALL}
    for bad in ({**good, "effect": "maybe"}, {**good, "target": {}}, {**good, "professions": []}, {**good, "requires": {"allOf": {}}}):
        with pytest.raises(ValueError, match="R0"):
            matrix({"professions": ["*"], **bad})


def test_every_row_names_known_types_classes_and_a_source():
    table = json.loads((spaces.PROFILES / "habilitations.json").read_bytes())
    for one in table["rows"]:
        target = one.get("target", {})
        assert set(target.get("types", ())) <= set(spaces.types()), one["id"]
        assert set(target.get("classes", ())) <= set(spaces.classes()), one["id"]
        assert one["source"] and one["certainty"] in ("sourced", "inferred")
