"""What a conditional interaction finds by an identifier alone depends on what the asker may read, whatever others have it too.

access-rules 6; https://hl7.org/fhir/R4/http.html#cond-update
"""

import pytest
from pymongo import MongoClient

from fhir_dmp.interactions import search_match
from tests.access.world import consent, document, number
from tests.interactions.making import issue
from tests.worlds.asking import PATCH

SAME = [{"op": "test", "path": "/status", "value": "current"}]


def alike(value: str) -> dict:
    return {"identifier": [{"system": "urn:x-department", "value": value}]}


@pytest.fixture(scope="module")
def crowded(world):
    """A document, and after it more of others with its identifier than are judged at once; nobody sees both."""
    holder_of, elsewhere = world.open(), world.open()
    author, other = world.professional(), world.professional()
    value = f"r-{number()}"
    own = world.deposit(holder_of, author, **alike(value))
    for _ in range(search_match.AT_ONCE + 1):
        world.deposit(elsewhere, other, labels=("MASQUE_PS",), **alike(value))
    return holder_of, author, own, f"identifier=urn:x-department|{value}"


def test_who_may_read_one_of_many_finds_it(world, crowded):
    dossier, author, own, criteria = crowded
    for asker in (author, world.holder(dossier)):
        answer = asker.patch(f"DocumentReference?{criteria}", SAME, **PATCH)
        assert answer.status_code == 200 and answer.json()["id"] == own["id"], answer.text
    answer = author.post("DocumentReference", document(dossier, author), if_none_exist=criteria)
    assert answer.status_code == 200 and answer.json()["id"] == own["id"], answer.text


def test_who_may_read_none_of_many_finds_none(world, crowded):
    *_, criteria = crowded
    answer = world.professional().patch(f"DocumentReference?{criteria}", SAME, **PATCH)
    nobody = world.professional().patch("DocumentReference?identifier=urn:x-department|nobody", SAME, **PATCH)
    assert answer.status_code == 404 and answer.content == nobody.content


@pytest.mark.parametrize(
    "criteria",
    [
        "identifier=urn:x-department|",
        "identifier=r-1",
        "identifier=|r-1",
        "identifier=urn:x|1,urn:x-department|",
        "_id=urn:x-department|r-1",
    ],
)
def test_what_names_neither_a_dossier_nor_a_resource_is_refused(world, crowded, criteria):
    """It would be looked for among all documents of the host."""
    dossier, author, *_ = crowded
    answer = author.patch(f"DocumentReference?{criteria}", SAME, **PATCH)
    assert answer.status_code == 403 and issue(answer)[1] == "forbidden"
    assert author.patch(f"DocumentReference?patient={dossier.id}&{criteria}", SAME, **PATCH).status_code in (200, 404)


def test_a_dossier_is_met_once_however_much_of_it_is_judged(world, mongod):
    """Of rights each meeting costs a query."""
    dossier, asker = world.open(), world.professional()
    with MongoClient(mongod.uri) as client:

        def queries() -> int:
            return client.admin.command("serverStatus")["metrics"]["commands"]["find"]["total"]

        def steps(rights: int) -> int:
            """To find none of so many; what the server does meanwhile is counted too."""
            fields, counts = alike(f"r-{number()}"), []
            for _ in range(rights):
                value = {**consent(dossier, "access", world.professional()), **fields}
                assert world.holder(dossier).post("Consent", value).status_code == 201
            for _ in range(6):
                before = queries()
                answer = asker.patch(f"Consent?identifier=urn:x-department|{fields['identifier'][0]['value']}", SAME, **PATCH)
                assert answer.status_code == 404
                counts.append(queries() - before)
            return min(counts)

        assert steps(1) == steps(5)
