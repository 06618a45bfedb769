"""Revocation is immediate: once a mask, a block, a closing or the end of a right is acknowledged, no answer begun later discloses. I7

access-rules 7; readers of two workers ask without pause while the act happens: by id, by search, by pages, by contents and ranges.
"""

import os
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from pymongo import MongoClient

from tests.access import world as making
from tests.access.world import VISIBILITY, World
from tests.serving import serving

AFTER_SECONDS = 1.0
MASK = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]


@pytest.fixture(scope="module")
def crowded(mongod, tmp_path_factory):
    """Two workers, so that what one has just read is no news to the other."""
    database = f"races_{os.getpid()}"
    environment = {"FHIR_DMP_DATABASE": database}
    folder = tmp_path_factory.mktemp("races")
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "2", environment=environment, sandbox=False) as running:
        yield World(running)
    with MongoClient(mongod.uri) as client:
        client.drop_database(database)


class Reader(threading.Thread):
    """Asks again and again. asked: (when it began, whether the answer disclosed)."""

    def __init__(self, asker, path: str, discloses: Callable[[httpx.Response], bool], **headers: str) -> None:
        super().__init__(daemon=True)
        self.asker, self.path, self.discloses, self.headers = asker, path, discloses, headers
        self.asked: list[tuple[float, bool]] = []
        self.stopping = threading.Event()
        self.failure = ""

    def run(self) -> None:
        with httpx.Client(timeout=60) as http:
            while not self.stopping.is_set():
                begun = time.monotonic()
                headers = {"authorization": f"Bearer {self.asker.token}", **self.headers}
                answer = http.get(self.asker.url(self.path), headers=headers)
                if answer.status_code >= 500:
                    self.failure = answer.text
                self.asked.append((begun, answer.status_code < 300 and self.discloses(answer)))


def race(readers: list[Reader], act: Callable[[], httpx.Response]) -> None:
    """Let the readers ask, act, let them go on; nothing that began after the acknowledgement discloses."""
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 120
    while not all(len(reader.asked) > 3 for reader in readers) and time.monotonic() < deadline:
        time.sleep(0.02)
    answer = act()
    acknowledged = time.monotonic()
    assert answer.status_code < 300, answer.text
    time.sleep(AFTER_SECONDS)
    wanted = time.monotonic() + 120
    while not all(reader.asked[-1][0] > acknowledged for reader in readers) and time.monotonic() < wanted:
        time.sleep(0.02)
    for reader in readers:
        reader.stopping.set()
    for reader in readers:
        reader.join(60)
        assert not reader.failure, reader.failure
        before = [disclosed for begun, disclosed in reader.asked if begun < acknowledged]
        after = [disclosed for begun, disclosed in reader.asked if begun > acknowledged]
        assert any(before), f"{reader.path} never disclosed anything, so nothing was shown"
        assert after and not any(after), f"{reader.path} disclosed after the acknowledgement: {after.index(True)} of {len(after)}"


class Scene:
    """A dossier with a large and a small document by one author, and somebody who reads it by a Consent of the holder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.traitant, self.author, self.reader = world.professional(), world.professional(), world.professional()
        self.dossier = world.open(traitant=self.traitant)
        self.holder = world.holder(self.dossier)
        self.consent = world.consent(self.dossier, "access", self.reader)
        self.document = world.deposit(self.dossier, self.author, text="phrase")
        for number in range(3):
            world.deposit(self.dossier, self.traitant, text=f"autre {number}")
        found = self.reader.get(f"DocumentReference/{self.document['id']}").json()
        self.content = found["content"][0]["attachment"]["url"].rpartition("Binary/")[2]

    def pages(self) -> str:
        """Address of a later page, on which the document is: its cursor was opened while it was visible."""
        path = f"DocumentReference?patient={self.dossier.id}&_count=1&_sort=-_lastUpdated"
        answer = self.reader.get(path).json()
        for _ in range(10):
            following = next(link["url"] for link in answer["link"] if link["relation"] == "next")
            answer = self.reader.get(following).json()
            if answer["entry"][0]["resource"]["id"] == self.document["id"]:
                return following
        raise AssertionError("the document is on no page")

    def readers(self, asker=None) -> list[Reader]:
        asker, id, here = asker or self.reader, self.document["id"], f"patient={self.dossier.id}"

        def named(answer: httpx.Response) -> bool:
            return f'"id":"{id}"' in answer.text

        def any_octets(answer: httpx.Response) -> bool:
            return bool(answer.content)

        return [
            Reader(asker, f"DocumentReference/{id}", named),
            Reader(asker, f"DocumentReference?{here}&_count=50", named),
            Reader(asker, f"Patient/{self.dossier.id}/$everything", named),
            Reader(asker, f"Binary/{self.content}", any_octets, accept="text/plain"),
            Reader(asker, f"Binary/{self.content}", any_octets, accept="text/plain", range="bytes=0-3"),
            Reader(asker, self.pages(), named),
        ]


@pytest.fixture
def scene(crowded):
    return Scene(crowded)


def test_a_mask(scene):
    race(scene.readers(), lambda: scene.holder.patch(f"DocumentReference/{scene.document['id']}", MASK))


def test_a_mask_by_rule(scene):
    data = [{"meaning": "instance", "reference": {"reference": f"DocumentReference/{scene.document['id']}"}}]
    race(scene.readers(), lambda: scene.holder.post("Consent", making.consent(scene.dossier, "mask", data=data)))


def test_a_block(scene):
    race(scene.readers(), lambda: scene.holder.post("Consent", making.consent(scene.dossier, "block", scene.reader)))


def test_a_consent_that_is_withdrawn(scene):
    ended = {**scene.consent, "status": "inactive"}
    race(scene.readers(), lambda: scene.holder.put(f"Consent/{scene.consent['id']}", ended))


def test_a_closing(scene):
    race(scene.readers(), lambda: scene.holder.run(f"{scene.dossier.path}/$close", reason="holder-request"))


def test_an_opposition_while_the_glass_is_broken(scene):
    breaker = scene.world.professional()
    assert breaker.run(f"{scene.dossier.path}/$break-glass", justification="coma").status_code == 200
    opposed = making.consent(scene.dossier, "emergency-break-glass", permit=False)
    race(scene.readers(breaker)[:5], lambda: scene.holder.post("Consent", opposed))


def test_a_team_that_is_left(scene):
    member = scene.world.professional()
    team = scene.world.write(scene.holder, making.care_team(scene.dossier, member))
    without = {**team, "status": "inactive"}
    race(scene.readers(member)[:5], lambda: scene.holder.put(f"CareTeam/{team['id']}", without))


def test_a_mandate_that_ends(crowded):
    dossier = crowded.open(traitant=crowded.professional(), people=("NOK",))
    holder, who = crowded.holder(dossier), dossier.people["NOK"]
    period = {"start": making.day(), "end": making.day(days=30)}
    mandate = crowded.write(holder, making.consent(dossier, "mandate", {"reference": f"RelatedPerson/{who}"}, period=period))
    mandataire = crowded.mandataire(dossier, who)
    readers = [
        Reader(mandataire, f"{dossier.path}/$access-list", lambda answer: True),
        Reader(mandataire, f"Consent?patient={dossier.id}", lambda answer: "entry" in answer.json()),
    ]
    race(readers, lambda: holder.put(f"Consent/{mandate['id']}", {**mandate, "status": "inactive"}))
