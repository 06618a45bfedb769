"""What is shown is written as if what is taken out had never been there, however its sender spaced and escaped it. Access-rules 6"""

import json
import re

import pytest

from tests.access.test_restore import MASK, working_list

# As clients write JSON.
FORMS = {
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "escaped": {"separators": (",", ":")},
    "spaced": {"ensure_ascii": False},
    "indented": {"indent": 2},
}
OWN = re.compile(rb'("(?:id|versionId|lastUpdated)"):"[^"]*"')
TITLE = "été, \\ / [ 1 ]"


@pytest.mark.parametrize("form", FORMS)
def test_a_body_from_which_a_reference_was_taken_out_is_written_as_one_that_had_none(world, form):
    anna, nora, dossier = world.professional(), world.professional(), world.open()
    world.consent(dossier, "access", nora)
    seen, hidden, also = (world.deposit(dossier, anna) for _ in range(3))
    assert world.holder(dossier).patch(f"DocumentReference/{hidden['id']}", MASK).status_code == 200
    bodies = []
    for named in ((seen, hidden, also), (seen, also)):
        value = {**working_list(dossier, anna, *named), "title": TITLE}
        answer = anna.post("List", json.dumps(value, **FORMS[form]).encode())
        assert answer.status_code == 201, answer.text
        shown = nora.get(f"List/{answer.json()['id']}")
        assert len(shown.json()["entry"]) == 2 and shown.json()["title"] == TITLE
        bodies.append(OWN.sub(rb"\1", shown.content))
    assert bodies[0] == bodies[1]
