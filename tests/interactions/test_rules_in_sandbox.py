"""In a sandbox `system` writes past the rules, under ids that it chooses; all others are shown what the rules leave, there too."""

import pytest

from tests.access.world import VISIBILITY, World, document
from tests.interactions.making import bundle, entry, unique


@pytest.fixture(scope="module")
def world(server):
    return World(server)


def sent(dossier, author, *labels, **more):
    """A document whose content is elsewhere."""
    attachment = {"contentType": "text/plain", "url": "https://elsewhere.example/x"}
    return {**document(dossier, author, labels=labels), "content": [{"attachment": attachment}], **more}


class Chosen:
    """What `system` wrote about a person: a masked document, and what refers to it. ids: chosen by it, else given by the server."""

    def __init__(self, world, fhir, chosen):
        self.fhir, self.chosen, self.tag = fhir, chosen, unique().rpartition(":")[2]
        self.anna, self.bob = world.professional(), world.professional()
        self.dossier = world.open(traitant=self.anna)
        self.holder = world.holder(self.dossier)
        world.consent(self.dossier, "access", self.bob)
        subject = {"subject": {"reference": self.dossier.path}}
        self.hidden = self.made("hidden", sent(self.dossier, self.anna, "MASQUE_PS"))
        to = {"reference": self.hidden}
        related = {"relatesTo": [{"code": "transforms", "target": to}], "context": {"related": [to]}}
        self.seen = self.made("seen", sent(self.dossier, self.anna, **related))
        entries = [{"item": to}, {"item": {"reference": self.seen}}]
        listed = {"resourceType": "List", "status": "current", "mode": "working", **subject, "entry": entries}
        measured = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **subject, "derivedFrom": [to]}
        told = {"resourceType": "Provenance", "target": [to, {"reference": self.dossier.path}], "agent": [{"who": {"display": "x"}}]}
        self.told = [
            self.made("list", listed),
            self.made("observation", measured),
            self.made("provenance", {**told, "recorded": "2026-01-01T00:00:00Z"}),
        ]

    def made(self, name, value):
        """Its address."""
        type_name = value["resourceType"]
        id = f"{name}-{self.tag}"
        answer = self.fhir.put(f"{type_name}/{id}", {**value, "id": id}) if self.chosen else self.fhir.post(type_name, value)
        assert answer.status_code == 201, answer.text
        return f"{type_name}/{answer.json()['id']}"

    def search(self, asker, query):
        type_name, _, rest = query.partition("?")
        answer = asker.get(f"{type_name}?patient={self.dossier.id}&{rest}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module", params=[True, False], ids=["ids of the client", "ids of the server"])
def chosen(request, world, fhir):
    return Chosen(world, fhir, request.param)


def test_references_to_what_is_hidden_are_shown_to_nobody(chosen):
    hidden = chosen.hidden.partition("/")[2]
    assert chosen.bob.get(chosen.hidden).status_code == 404
    for address in (chosen.seen, *chosen.told):
        told = chosen.bob.get(address)
        assert hidden not in told.text and (told.status_code == 200 or address.startswith("Provenance")), address
        assert hidden in chosen.holder.get(address).text
    for operation in ("$everything?_count=500", "$summary"):
        assert hidden not in chosen.bob.get(f"{chosen.dossier.path}/{operation}").text, operation


QUERIES = ("DocumentReference?relatesto=", "DocumentReference?related=", "List?item=", "Observation?derived-from=", "Provenance?target=")


@pytest.mark.parametrize("query", QUERIES)
def test_nothing_is_found_by_a_reference_to_what_is_hidden(chosen, query):
    found = [chosen.search(asker, query + chosen.hidden)["total"] for asker in (chosen.bob, chosen.holder)]
    assert found[0] == 0 and found[1] >= 1


def test_nothing_refers_to_what_is_hidden_or_replaces_it(chosen):
    """And what is hidden looks as what is not there."""
    nowhere = f"DocumentReference/{'b' * 26}"
    for code in ("replaces", "appends"):
        told = []
        for target in (chosen.hidden, nowhere):
            related = [{"code": code, "target": {"reference": target}}]
            answer = chosen.bob.post("DocumentReference", {**document(chosen.dossier, chosen.bob), "relatesTo": related})
            told.append((answer.status_code, answer.text.replace(target, "x")))
        assert told[0] == told[1] and told[0][0] == 422


def test_why_is_told_of_documents_whatever_their_ids(chosen):
    """And of what is hidden nothing."""
    who = {"system": chosen.bob.reference["identifier"]["system"], "value": chosen.bob.rpps}
    told = [
        asker.run(f"{chosen.dossier.path}/$explain-access", document={"reference": document}, professional=who)
        for asker, document in ((chosen.holder, chosen.hidden), (chosen.holder, chosen.seen), (chosen.bob, chosen.hidden))
    ]
    assert [answer.status_code for answer in told] == [200, 200, 404]
    assert [answer.json()["parameter"][0]["valueCode"] for answer in told[:2]] == ["hide", "permit"]


def test_what_is_elsewhere_stays_named(world, fhir, chosen):
    """Who is in the directory, whether he is there or not, and what belongs to another dossier, which tells nothing of this one."""
    other = world.open(traitant=chosen.anna)
    foreign = chosen.made("foreign", sent(other, chosen.anna, "MASQUE_PS"))
    names = [f"Practitioner/dr-{chosen.tag}", f"Location/here-{chosen.tag}", foreign]
    value = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": chosen.dossier.path}}
    value |= {"performer": [{"reference": names[0]}], "derivedFrom": [{"reference": foreign}]}
    value["extension"] = [{"url": "https://example.org/place", "valueReference": {"reference": names[1]}}]
    seen = chosen.bob.get(chosen.made("elsewhere", value)).text
    assert [name in seen for name in names] == [True, True, True]


MASK = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}


@pytest.fixture
def opened(world):
    """A dossier, its médecin traitant, and a professional with access."""
    anna, bob = world.professional(), world.professional()
    dossier = world.open(traitant=anna)
    world.consent(dossier, "access", bob)
    return dossier, anna, bob


@pytest.mark.parametrize("method", ["PUT", "PATCH", "transaction"])
def test_a_label_that_is_written_to_what_was_there_hides_it_until_it_is_taken_off(world, fhir, opened, method):
    dossier, anna, bob = opened
    holder = world.holder(dossier)
    value = fhir.post("DocumentReference", sent(dossier, anna)).json()
    address = f"DocumentReference/{value['id']}"

    def written(labels, patch):
        changed = {**fhir.get(address).json(), "securityLabel": labels}
        if method == "PUT":
            return fhir.put(address, changed)
        if method == "PATCH":
            return fhir.patch(address, [patch])
        return fhir.post("", bundle("transaction", entry("PUT", address, changed)))

    plain = value["securityLabel"]
    assert bob.get(address).status_code == 200
    answer = written([*plain, MASK], {"op": "add", "path": "/securityLabel/-", "value": MASK})
    assert answer.status_code == 200, answer.text
    assert bob.get(address).status_code == 404 and "MASQUE_PS" in holder.get(address).text
    # What says nothing of labels leaves them.
    assert fhir.patch(address, [{"op": "add", "path": "/description", "value": "x"}]).status_code == 200
    assert bob.get(address).status_code == 404
    assert written(plain, {"op": "remove", "path": f"/securityLabel/{len(plain)}"}).status_code == 200
    assert bob.get(address).status_code == 200 and "MASQUE_PS" not in holder.get(address).text


def test_what_the_holder_hid_stays_so_whatever_else_is_written(world, fhir, opened):
    """And what he shows again is not hidden by what somebody was shown before."""
    dossier, anna, bob = opened
    holder = world.holder(dossier)
    plain = fhir.post("DocumentReference", sent(dossier, anna)).json()
    labelled = fhir.post("DocumentReference", sent(dossier, anna, "MASQUE_PS")).json()
    for value, hides in ((plain, True), (labelled, False)):
        address = f"DocumentReference/{value['id']}"
        place = len(value["securityLabel"]) - 1
        act = {"op": "add", "path": "/securityLabel/-", "value": MASK} if hides else {"op": "remove", "path": f"/securityLabel/{place}"}
        assert holder.patch(address, [act]).status_code == 200
        assert fhir.put(address, {**fhir.get(address).json(), "description": "x"}).status_code == 200
        assert bob.get(address).status_code == (404 if hides else 200)


def test_what_replaces_something_hidden_is_hidden_with_it(world, fhir, opened):
    dossier, anna, bob = opened
    former = fhir.post("DocumentReference", sent(dossier, anna, "MASQUE_PS")).json()
    related = {"relatesTo": [{"code": "replaces", "target": {"reference": f"DocumentReference/{former['id']}"}}]}
    newer = [fhir.post("DocumentReference", sent(dossier, anna, **related)).json()["id"], f"newer-{unique()}", f"again-{unique()}"]
    assert fhir.put(f"DocumentReference/{newer[1]}", {**sent(dossier, anna, **related), "id": newer[1]}).status_code == 201
    whole = entry("PUT", f"DocumentReference/{newer[2]}", {**sent(dossier, anna, **related), "id": newer[2]})
    assert fhir.post("", bundle("transaction", whole)).status_code == 200
    assert [bob.get(f"DocumentReference/{id}").status_code for id in newer] == [404] * 3
    # It is one lineage: the holder shows all of it.
    place = len(former["securityLabel"]) - 1
    act = [{"op": "remove", "path": f"/securityLabel/{place}"}]
    assert world.holder(dossier).patch(f"DocumentReference/{former['id']}", act).status_code == 200
    assert [bob.get(f"DocumentReference/{id}").status_code for id in newer] == [200] * 3


def test_how_a_search_was_done_is_told_to_nobody_who_obeys_the_rules(world, fhir, opened):
    """It counts what was left out."""
    dossier, anna, bob = opened
    search = f"DocumentReference?patient={dossier.id}"
    told = [asker.send("GET", search, x_explain="true").headers for asker in (bob, world.holder(dossier), fhir)]
    assert ["x-explain" in headers for headers in told] == [False, False, True]
