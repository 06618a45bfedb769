"""What a request shows of one document is told to whoever sees that one, also where nothing but documents of his own let its sender in."""

import pytest

from tests.access.test_double_entry import identified
from tests.access.test_rights_together import posted_document
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


# Who reads the journal, what becomes of the first document, how the other one is labelled.
REST = [("traitant", "withdrawn", ()), ("traitant", "withdrawn", ("INVISIBLE_PATIENT",)), ("holder", "hidden", ())]


@pytest.mark.parametrize("case", REST, ids=lambda case: " ".join(map(str, case)))
@pytest.mark.parametrize("alone", [True, False])
def test_another_content_is_told_as_what_was_deposited_before(world, case, alone):
    """Whoever does not see the one that was deposited is not told that another one came under its identifier."""
    who, becomes, labels = case
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    reader = {"traitant": traitant, "holder": world.holder(dossier)}[who]
    if not alone:
        world.consent(dossier, "access", anna)
    assert told(reader, dossier, clash(world, dossier, anna))
    assert not told(reader, dossier, clash(world, dossier, anna, becomes, labels))


def test_another_content_of_the_holder_is_told_to_nobody_who_does_not_see_the_first(world):
    traitant = world.professional()
    dossier = world.open(traitant=traitant)
    holder = world.holder(dossier)
    for becomes in ("seen", "withdrawn"):
        name = clash(world, dossier, holder, becomes, type=posted_document(dossier, holder)[0]["type"])
        assert bool(told(traitant, dossier, name)) == (becomes == "seen") and told(holder, dossier, name)


def clash(world, dossier, by, becomes: str = "seen", labels: tuple[str, ...] = (), **fields) -> str:
    """A document, and another content under its identifier, of which the dossier is told by criteria; the id of the latter's request."""
    value = identified(world, dossier, by, labels=("INVISIBLE_PATIENT",) if becomes == "hidden" else ()) | fields
    made = world.write(by, value)
    if becomes == "withdrawn":
        assert by.patch(address(made), [{"op": "replace", "path": "/status", "value": "entered-in-error"}]).status_code == 200
    other = {**document(dossier, by, labels=labels), "masterIdentifier": value["masterIdentifier"]} | fields
    nowhere = f"{criteria(dossier, value)}&description=ailleurs"
    answer, name = asked(by, lambda asker: asker.post("DocumentReference", other, if_none_exist=nowhere))
    assert answer.status_code == 409, answer.text
    return name


def test_what_was_withdrawn_is_told_to_nobody_but_the_holder_and_its_author(world):
    """A document, and what is deposited by itself; in the journal of a representative as in that of the médecin traitant."""
    doctor, author = world.professional(), world.professional()
    dossier = world.open(age=9, traitant=doctor, people=("MTH",))
    mother = world.representative(dossier)

    def journals() -> list[int]:
        """How much is told of what the author did."""
        listed = [by.get(f"AuditEvent?patient={dossier.id}&_count=1000").json()["entry"] for by in (mother, doctor)]
        return [sum(author.rpps in str(one) for one in each) for each in listed]

    note = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "note"},
        "subject": {"reference": dossier.path},
        "performer": [author.reference],
    }
    assert journals() == [0, 0]
    made = author.post("Observation", note)
    assert made.status_code == 201 and min(journals()) > 0
    value = {**made.json(), "status": "entered-in-error"}
    assert author.put(f"Observation/{value['id']}", value).status_code == 200
    assert journals() == [0, 0]
    report = world.deposit(dossier, author)
    assert min(journals()) > 0
    gone = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
    assert author.patch(f"DocumentReference/{report['id']}", gone).status_code == 200
    assert journals() == [0, 0]
