"""What is hidden is taken out of contained resources as out of any other, and takes with it those that it alone led to.

Access rules, section 6; https://hl7.org/fhir/R4/domainresource.html#invs dom-3
"""

from tests.access.test_masks import ADD
from tests.access.test_written_back import content, observed, scene, to  # noqa: F401  a fixture
from tests.access.world import listed

EXTENSION = "https://example.org/about"


def within(dossier, secret, plain):
    """Contained resources that name the secret document and say something beside it, as they are shown to whom it is hidden from."""
    text = {"text": "SECRET"}
    kept = {"item": to(plain), "flag": {"text": "plain"}}
    subject = to(dossier.path)
    order = {"resourceType": "List", "id": "l", "status": "current", "mode": "working", "subject": subject}
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "content": [{"attachment": {"url": "https://example.org/x"}}],
    }
    made = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [to(plain)],
        "recorded": "2026-11-20T10:00:00Z",
        "agent": [{"who": {"display": "x"}}],
    }
    whole = [
        {**order, "entry": [{"flag": text, "date": "2026-01-01", "item": to(secret)}, kept]},
        {**document, "relatesTo": [{"code": "appends", "target": to(secret)}]},
        {**made, "entity": [{"role": "source", "what": to(secret)}]},
    ]
    return whole, [{**order, "entry": [kept]}, document, made]


def test_what_stands_beside_a_hidden_reference_in_a_contained_resource_goes_with_it(world, scene):  # noqa: F811
    dossier, holder, bruno, secret, plain, anna = scene
    whole, left = within(dossier, secret, plain)
    where = observed(world, dossier, bruno, contained=whole, focus=[to("#l"), to("#d"), to("#p")], valueString="one")
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert seen["contained"] == left and len(seen["focus"]) == 3
    for path in (f"Observation?patient={dossier.id}", f"{where}/_history", f"{dossier.path}/$everything"):
        assert "SECRET" not in bruno.get(path).text
    assert bruno.post("Observation/$validate", seen).status_code == 200
    answer = bruno.put(where, {**seen, "valueString": "two"}, prefer="return=representation")
    assert answer.status_code == 200 and answer.json()["contained"] == left, answer.text
    assert [one["id"] for one in anna.get(where).json()["contained"]] == ["l", "d", "p"]
    assert sorted(map(str, anna.get(where).json()["contained"][1:])) == sorted(map(str, whole[1:]))
    assert secret in str(anna.get(where).json()["contained"][0])


def test_a_contained_resource_goes_with_the_last_reference_that_led_to_it(world, scene):  # noqa: F811
    dossier, holder, bruno, secret, plain, anna = scene
    author = {"resourceType": "Practitioner", "id": "a", "name": [{"family": "SECRETAUTHOR"}]}
    house = {"resourceType": "Organization", "id": "h", "name": "SECRETHOUSE"}
    other = {"resourceType": "Organization", "id": "o", "name": "plain"}
    role = {"resourceType": "PractitionerRole", "id": "r", "practitioner": to("#a"), "organization": to("#h")}
    said = {"extension": [{"url": EXTENSION, "valueReference": to("#r")}]}
    fields = {"contained": [author, other, role, house], "derivedFrom": [to(secret, **said), to(plain)], "performer": [to("#o")]}
    where = observed(world, dossier, bruno, **fields)
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert (seen["contained"], seen["derivedFrom"]) == ([other], [to(plain)])
    for word in ("SECRETAUTHOR", "SECRETHOUSE"):
        assert listed(bruno, dossier, "Observation", _content=word) == []
        assert len(listed(anna, dossier, "Observation", _content=word)) == 1
    answer = bruno.put(where, {**seen, "note": [{"text": "corrected"}]}, prefer="return=representation")
    assert answer.status_code == 200 and answer.json()["contained"] == [other], answer.text
    after = content(anna.get(where).json())
    assert {one["id"]: one for one in after["contained"]} == {one["id"]: one for one in fields["contained"]}
    assert after["derivedFrom"] == [to(secret, **said), to(plain)] and after["note"]
    # What he leads to himself by the same id is his own, and stays so.
    mine = {**other, "id": "a", "name": "mine"}
    assert bruno.put(where, {**seen, "contained": [other, mine], "performer": [to("#o"), to("#a")]}).status_code == 200
    assert bruno.get(where).json()["contained"] == [other, mine] or bruno.get(where).json()["contained"] == [mine, other]


def test_an_extension_goes_with_all_that_stands_in_it(world, scene):  # noqa: F811
    """Left without a value it could not have been written: whoever sees it would know, and the holder could mask no such document."""
    dossier, holder, bruno, secret, plain, anna = scene
    inner = {"url": "inner", "valueReference": to(secret)}
    deep = {"url": EXTENSION, "extension": [{"url": "middle", "extension": [inner]}]}
    half = {"url": EXTENSION, "extension": [inner, {"url": "other", "valueString": "x"}]}
    where = observed(world, dossier, bruno, extension=[deep, half])
    assert holder.patch(secret, ADD).status_code == 200
    seen = bruno.get(where).json()
    assert seen["extension"] == [{"url": EXTENSION, "extension": half["extension"][1:]}]
    assert bruno.put(where, {**seen, "note": [{"text": "corrected"}]}).status_code == 200
    assert anna.get(where).json()["extension"] in ([deep, half], [half, deep])
