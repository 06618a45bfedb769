"""What was hidden from somebody and is so no more looks to him like a late deposit, and to nobody else. access-rules 6"""

import time
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest

from fhir_dmp.consent.asking import Request
from fhir_dmp.consent.dossier import Dossier, Right, Title
from fhir_dmp.consent.law import LAW
from fhir_dmp.interactions.enforcement import Known
from fhir_dmp.store.rows import Row
from tests.access.test_findings import ARCHIVED
from tests.access.world import VISIBILITY, care_team, consent, now

PATCH = "application/json-patch+json"


class Scene:
    """A dossier with a holder, a médecin traitant, an author and a member of the care team; a document, and one after it."""

    def __init__(self, world, label: str = "") -> None:
        self.world, self.traitant, self.author, self.team = world, world.professional(), world.professional(), world.professional()
        self.dossier = world.open(traitant=self.traitant)
        self.holder = world.holder(self.dossier)
        world.write(self.holder, care_team(self.dossier, self.team))
        self.id = world.deposit(self.dossier, self.author, labels=(label,) if label else ())["id"]
        self.other = world.deposit(self.dossier, self.author)["id"]

    def patched(self, by, operation: dict) -> None:
        answer = by.patch(f"DocumentReference/{self.id}", [operation], content_type=PATCH)
        assert answer.status_code == 200, answer.text

    def mask(self) -> None:
        concept = {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}
        self.patched(self.holder, {"op": "add", "path": "/securityLabel/-", "value": concept})

    def unlabel(self, by, label: str) -> str:
        """Take a label away; an instant just before that."""
        shown = by.get(f"DocumentReference/{self.id}").json()["securityLabel"]
        place = next(number for number, one in enumerate(shown) if one["coding"][0]["code"] == label)
        before = now()
        time.sleep(0.002)
        self.patched(by, {"op": "remove", "path": f"/securityLabel/{place}"})
        return before

    def updated(self, by, id: str = "") -> str:
        answer = by.get(f"DocumentReference/{id or self.id}")
        found = answer.json()["meta"]["lastUpdated"]
        assert int(parsedate_to_datetime(answer.headers["last-modified"]).timestamp()) == int(stamp(found))
        return found

    def found(self, by, criteria: str = "") -> list[str]:
        """Ids in the order of the answer, all pages."""
        path, ids = f"DocumentReference?patient={self.dossier.id}{criteria}", []
        while path:
            bundle = by.get(path).json()
            ids += [entry["resource"]["id"] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]
            assert bundle["total"] == 2 or "_lastUpdated" in criteria
            path = next((link["url"].partition("/fhir/")[2] for link in bundle["link"] if link["relation"] == "next"), None)
        return ids

    def seen_late(self, by, before: str) -> None:
        """He sees it as what came since."""
        assert self.updated(by) > before > self.updated(by, self.other)
        for count in ("", "&_count=1"):
            assert self.found(by, count) == [self.id, self.other]
            assert self.found(by, f"{count}&_sort=_lastUpdated") == [self.other, self.id]
        for criteria in ("", "&_sort=date", f"&_id={self.id}", "&_summary=true", "&_elements=date"):
            entries = by.get(f"DocumentReference?patient={self.dossier.id}{criteria}").json()["entry"]
            assert self.updated(by) in [one["resource"]["meta"]["lastUpdated"] for one in entries], criteria
        assert self.found(by, f"&_lastUpdated=gt{before}") == [self.id] and self.found(by, f"&_lastUpdated=lt{before}") == [self.other]
        entries = by.get(f"DocumentReference/{self.id}/_history?_since={before}").json()["entry"]
        assert [one["resource"]["meta"]["lastUpdated"] for one in entries] == [self.updated(by)]
        assert by.get(f"DocumentReference/{self.id}/_history/{version(entries)}").json()["meta"]["lastUpdated"] == self.updated(by)
        for moment, there in ((before, []), (self.updated(by), entries), (self.updated(by)[:4], entries)):
            told = by.get(f"DocumentReference/{self.id}/_history?_at={moment}").json()
            assert (told.get("entry", []), told["total"]) == (there, len(there)), moment
        everything = by.get(f"Patient/{self.dossier.id}/$everything?_type=DocumentReference&_since={before}").json()
        assert [entry["resource"]["id"] for entry in everything["entry"]] == [self.id]

    def seen_in_time(self, by, before: str) -> None:
        """Nothing happened to it, to him."""
        assert self.updated(by) < self.updated(by, self.other) < before
        assert self.found(by) == [self.other, self.id] and self.found(by, f"&_lastUpdated=gt{before}") == []
        history = by.get(f"DocumentReference/{self.id}/_history?_since={before}").json()
        assert history["total"] == 0


def stamp(instant: str) -> float:
    return datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp()


def version(entries: list[dict]) -> str:
    return entries[0]["resource"]["meta"]["versionId"]


def test_what_was_masked_comes_late_to_those_it_was_masked_from(world):
    scene = Scene(world)
    scene.mask()
    assert scene.team.get(f"DocumentReference/{scene.id}").status_code == 404
    before = scene.unlabel(scene.holder, "MASQUE_PS")
    scene.seen_late(scene.team, before)
    for by in (scene.author, scene.traitant, scene.holder):
        scene.seen_in_time(by, before)


def test_an_announced_document_comes_late_to_the_holder(world):
    scene = Scene(world, "INVISIBLE_PATIENT")
    assert scene.holder.get(f"DocumentReference/{scene.id}").status_code == 404
    before = scene.unlabel(scene.author, "INVISIBLE_PATIENT")
    scene.seen_late(scene.holder, before)
    for by in (scene.author, scene.team):
        scene.seen_in_time(by, before)


@pytest.mark.parametrize("way", ["revoked", "changed"])
def test_what_a_rule_masked_comes_late_when_the_rule_ends(world, way):
    scene = Scene(world)
    fields = {"data": [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{scene.id}"}}]}
    rule = scene.world.write(scene.holder, consent(scene.dossier, "mask", **fields))
    assert scene.team.get(f"DocumentReference/{scene.id}").status_code == 404
    before = now()
    time.sleep(0.002)
    if way == "revoked":
        world.revoke(scene.holder, rule)
    else:
        other = {"data": [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{scene.other}"}}]}
        changed = {**rule, "provision": {**rule["provision"], **other}}
        assert scene.holder.put(f"Consent/{rule['id']}", changed).status_code == 200
    if way == "revoked":
        scene.seen_late(scene.team, before)
        for by in (scene.author, scene.traitant, scene.holder):
            scene.seen_in_time(by, before)
    else:
        assert scene.updated(scene.team) > before and scene.team.get(f"DocumentReference/{scene.other}").status_code == 404


@pytest.mark.parametrize("way", ["rule", "label"])
def test_what_is_unmasked_between_two_pages_is_in_no_later_one(world, way):
    scene = Scene(world)
    last = world.deposit(scene.dossier, scene.author)["id"]
    if way == "rule":
        fields = {"data": [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{scene.id}"}}]}
        rule = world.write(scene.holder, consent(scene.dossier, "mask", **fields))
    else:
        scene.mask()
    firsts = {}
    for criteria in ("", "&_sort=-date", "&relatesto:missing=true"):
        firsts[criteria] = scene.team.get(f"DocumentReference?patient={scene.dossier.id}&_count=1{criteria}").json()
    if way == "rule":
        world.revoke(scene.holder, rule)
    else:
        scene.unlabel(scene.holder, "MASQUE_PS")
    for criteria, first in firsts.items():
        found, bundle = [], first
        while True:
            found += [entry["resource"]["id"] for entry in bundle["entry"]]
            assert bundle["total"] == 2
            link = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), None)
            if link is None:
                break
            bundle = scene.team.get(link.partition("/fhir/")[2]).json()
        assert sorted(found) == sorted((scene.other, last)), criteria
    assert len(scene.team.get(f"DocumentReference?patient={scene.dossier.id}").json()["entry"]) == 3


def test_a_mask_that_is_still_there_moves_nothing(world):
    """Neither for those who see through it nor, once something else was shown late, for those who do not."""
    scene = Scene(world)
    scene.mask()
    before = now()
    for by in (scene.author, scene.traitant, scene.holder):
        assert scene.updated(by) < scene.updated(by, scene.other) < before
    assert [one["resource"]["id"] for one in scene.team.get(f"DocumentReference?patient={scene.dossier.id}").json()["entry"]] == [
        scene.other
    ]


def test_the_month_over_by_itself_is_when_it_came_to_the_holder():
    """No act takes the label away: the clock does."""
    deposited, over = 1_000, 5_000
    row = Row(bytes(16), 1, "DocumentReference", 1, deposited, "POST", False, None, visible={**ROW, "lb": 2, "rl": over})
    seen = {at_ms: known(at_ms).appeared(row) for at_ms in (over, over + 1_000)}
    assert seen == {over: over, over + 1_000: over}
    assert known(over + 1_000, "representative").appeared(row) == over
    assert known(over + 1_000, "professional").appeared(row) == deposited


ROW = {"lb": 0, "ty": 0, "au": [], "og": 0, "fd": 0, "rl": 0, "st": 0, "rt": 1, "pa": 0, "pb": 1}
TITLE = Title("r", "parent")


def known(now_ms: int, kind: str = "patient") -> Known:
    """The holder's side, or a member of the care team, at a moment in a dossier of a grown up or a child."""
    born = "2026-01-01" if kind == "representative" else "1950-01-01"
    policy = Dossier(patient="p", birth_date=born, titles=(TITLE,), team=(Right("ps:1"),))
    request = Request(kind=kind, patient="p", related_person="r", person="ps:1" if kind == "professional" else "")
    return Known(Context(), 1, request, policy, now_ms, LAW)


class Context:
    """What is asked of one here."""

    class store:
        class vault:
            hash64 = staticmethod(lambda data: hash(data))


def test_the_versions_of_a_document_are_told_by_time(world):
    scene = Scene(world)
    first = scene.author.get(f"DocumentReference/{scene.id}").json()["meta"]
    time.sleep(0.002)
    archived = {"url": ARCHIVED, "valueBoolean": True}
    scene.patched(scene.author, {"op": "add", "path": "/extension", "value": [archived]})
    second = scene.author.get(f"DocumentReference/{scene.id}").json()["meta"]
    for by in (scene.author, scene.team, scene.holder):
        for asked, there in (
            (f"_since={first['lastUpdated']}", [second, first]),
            (f"_since={second['lastUpdated']}", [second]),
            (f"_at={first['lastUpdated']}", [first]),
            (f"_at={second['lastUpdated']}", [second]),
        ):
            told = by.get(f"DocumentReference/{scene.id}/_history?{asked}").json()
            assert [entry["resource"]["meta"]["versionId"] for entry in told["entry"]] == [one["versionId"] for one in there], asked


def test_what_was_replaced_while_it_was_hidden_was_current_to_nobody_it_was_hidden_from(world):
    scene = Scene(world)
    scene.mask()
    time.sleep(0.002)
    scene.patched(scene.author, {"op": "add", "path": "/extension", "value": [{"url": ARCHIVED, "valueBoolean": True}]})
    meanwhile = now()
    time.sleep(0.002)
    scene.unlabel(scene.holder, "MASQUE_PS")
    current = scene.team.get(f"DocumentReference/{scene.id}").json()["meta"]
    for moment, there in ((meanwhile, []), (current["lastUpdated"], [current["versionId"]]), (meanwhile[:4], [current["versionId"]])):
        told = scene.team.get(f"DocumentReference/{scene.id}/_history?_at={moment}").json()
        assert [entry["resource"]["meta"]["versionId"] for entry in told.get("entry", ())] == there, moment
    assert scene.author.get(f"DocumentReference/{scene.id}/_history?_at={meanwhile[:4]}").json()["total"] == 2
