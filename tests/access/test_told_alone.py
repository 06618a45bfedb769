"""What a request shows of one document is told to whoever sees that one, also where nothing but documents of his own let its sender in."""

import pytest

from tests.access.test_double_entry import identified
from tests.access.test_told_together import SAME, address, changing, told
from tests.access.test_traces import asked, named
from tests.access.world import document, listed
from tests.interactions.making import bundle, entry


def criteria(dossier, value: dict) -> str:
    return f"patient={dossier.id}&identifier={value['masterIdentifier']['system']}|{value['masterIdentifier']['value']}"


# (who asks, his dossier, criteria that the document meets, the trace of its deposit) -> answer
WAYS = {
    "changed by criteria": lambda by, dossier, found, trace: by.patch(f"DocumentReference?{found}", SAME),
    "changed in a batch": lambda by, dossier, found, trace: by.post("", bundle("batch", changing(1, f"DocumentReference?{found}", SAME))),
    "not created": lambda by, dossier, found, trace: by.post("DocumentReference", document(dossier, by), if_none_exist=found),
    "not created in a batch": lambda by, dossier, found, trace: by.post(
        "", bundle("batch", entry("POST", "DocumentReference", document(dossier, by), ifNoneExist=found))
    ),
    "its trace is read": lambda by, dossier, found, trace: by.get(f"AuditEvent/{trace['id']}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_whom_his_own_documents_let_in_is_told_of_with_the_one_that_he_is_shown(world, way):
    dossier, anna = world.open(), world.professional()
    holder, found = world.holder(dossier), []
    for _ in range(2):
        world.deposit(dossier, anna)
    for labels in (("INVISIBLE_PATIENT",), ()):
        value = identified(world, dossier, anna, labels=labels)
        made = world.write(anna, value)
        about = criteria(dossier, value), listed(anna, dossier, "AuditEvent", entity=address(made))[-1]
        answer, name = asked(anna, lambda by, about=about: WAYS[way](by, dossier, *about))
        assert answer.status_code == 200, answer.text
        found.append(told(holder, dossier, name))
    assert [bool(one) for one in found] == [False, True], found


def test_whom_his_own_documents_let_in_is_told_of_a_search_by_what_lets_him_in(world):
    dossier, anna = world.open(), world.professional()
    for labels in ((), (), ("INVISIBLE_PATIENT",)):
        world.deposit(dossier, anna, labels=labels)
    answer, name = asked(anna, lambda by: by.get(f"DocumentReference?patient={dossier.id}"))
    assert answer.json()["total"] == 3
    (one,) = told(world.holder(dossier), dossier, name)
    assert len(named(one)) == 2
