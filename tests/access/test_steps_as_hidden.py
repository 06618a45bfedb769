"""Whoever is told less takes as many steps: how often the database is asked for an answer tells nobody that something is hidden from him.

access-rules 6: "no extra message or timing path"
"""

import pytest

from tests.access.test_named_by_number import steps  # noqa: F401  a fixture
from tests.access.world import listed

GONE = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
# Who is told of all that others do -> how something comes that he is not told of.
READERS = {"holder": "INVISIBLE_PATIENT", "parent": "INVISIBLE_REPRESENTANTS_LEGAUX", "traitant": ""}
ASKED = (
    "AuditEvent/{trace}",
    "AuditEvent?patient={id}",
    "AuditEvent?patient={id}&_count=1",
    "Patient/{id}/$everything",
    "Patient/{id}/$summary",
    "Patient/{id}/$access-journal",
    "Patient/{id}/$access-list",
    "Patient/{id}/$explain-access",
    "Patient/{id}/*",
    "DocumentReference?patient={id}&_include=*",
)


@pytest.fixture(scope="module", params=READERS)
def alike(request, world):
    """Two dossiers that look alike to somebody, with what he may ask of each; in the first one something is hidden from him."""
    found = []
    for hidden in (True, False):
        doctor, anna, author = world.professional(), world.professional(), world.professional()
        dossier = world.open(age=9 if request.param == "parent" else 50, traitant=doctor, people=("MTH",))
        by = {"holder": world.holder, "parent": world.representative, "traitant": lambda _, doctor=doctor: doctor}[request.param](dossier)
        world.deposit(dossier, anna)
        label = READERS[request.param]
        if hidden and label:
            author = world.again(author, secret_session=True) if request.param == "parent" else author
            world.deposit(dossier, author, labels=(label,))
        elif hidden:
            id = world.deposit(dossier, author)["id"]
            assert author.patch(f"DocumentReference/{id}", GONE).status_code == 200
        assert len(listed(by, dossier, "DocumentReference")) == 1
        traces = listed(by, dossier, "AuditEvent")
        assert not any(author.rpps in str(one) for one in traces)
        found.append((by, {"id": dossier.id, "trace": traces[-1]["id"]}))
    return found


@pytest.mark.parametrize("path", ASKED)
def test_the_journal_is_read_in_as_many_steps_whatever_it_does_not_tell(alike, steps, path):  # noqa: F811
    there, none = (steps(lambda by=by, names=names: by.get(path.format(**names))) for by, names in alike)
    assert there == none
