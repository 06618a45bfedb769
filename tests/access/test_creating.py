"""Every creation asks for letter `c` of the scopes, whatever the request that makes it. CONTRACT 3, http://hl7.org/fhir/smart-app-launch/"""

import pytest

from tests.access.test_consents import reads
from tests.access.world import RPPS, care_team, consent, document
from tests.interactions.making import issue


def bundle(kind: str, url: str, resource: dict) -> dict:
    sent = {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001", "resource": resource, "request": {"method": "PUT", "url": url}}
    return {"resourceType": "Bundle", "type": kind, "entry": [sent]}


def put(asker, how: str, url: str, resource: dict) -> int:
    """Status of a conditional update, by itself or as the entry of a Bundle."""
    if how == "alone":
        return asker.put(url, resource).status_code
    answer = asker.post("", bundle(how, url, resource))
    if how == "transaction" and answer.status_code != 200:
        assert issue(answer)[1] == "forbidden"
        return answer.status_code
    return int(answer.json()["entry"][0]["response"]["status"][:3])


@pytest.mark.parametrize("how", ["alone", "batch", "transaction"])
def test_an_update_that_finds_nothing_creates_for_who_may_create(world, how):
    dossier, anna = world.open(), world.professional()
    holder = world.holder(dossier)
    narrow, wide = (world.again(holder, scope=f"patient/Consent.{letters}") for letters in ("us", "cus"))
    url, value = f"Consent?patient={dossier.id}&actor:identifier={RPPS}|{anna.rpps}", consent(dossier, "access", anna)
    assert narrow.post("Consent", value).status_code == put(narrow, how, url, value) == 403
    assert not reads(anna, dossier)
    assert put(wide, how, url, value) == 201 and reads(anna, dossier)
    assert put(narrow, how, url, {**value, "status": "inactive"}) == 200 and not reads(anna, dossier)


def test_so_does_one_of_the_directory_and_of_a_care_team(world):
    admin, anna, dossier = world.again(world.operator(), scope="system/*.us"), world.professional(), world.open()
    entry = {"resourceType": "Practitioner", "identifier": [anna.reference["identifier"]]}
    assert admin.put(f"Practitioner?identifier={RPPS}|{anna.rpps}", entry).status_code == 403
    holder = world.again(world.holder(dossier), scope="patient/CareTeam.us")
    assert holder.put(f"CareTeam?patient={dossier.id}", care_team(dossier, anna)).status_code == 403
    assert not reads(anna, dossier)


def test_so_do_the_contents_of_a_document(world):
    """ITI-105 carries them within it, ITI-65 beside it: either makes a Binary."""
    dossier, anna = world.open(), world.professional()
    for letters, status in (("user/DocumentReference.c", 403), ("user/DocumentReference.c user/Binary.c", 201)):
        answer = world.again(anna, scope=letters).post("DocumentReference", document(dossier, anna))
        assert answer.status_code == status, answer.text
