"""Search and decision agree: {what a search finds} == {x : decide(r, x) is PERMIT}, on the real server, over invented histories.

access-rules 1. So do reads by id, histories and totals; everybody who took part in the history asks.
"""

import itertools
import os

from hypothesis import HealthCheck, Phase, given, settings

from fhir_dmp.consent import companions
from fhir_dmp.consent.asking import READ, SEARCH
from fhir_dmp.consent.decide import Decision
from fhir_dmp.fhir import json
from fhir_dmp.interactions import enforcement, facts
from tests.worlds import people
from tests.worlds.histories import MINUTE, Play, asks, stories
from tests.worlds.hosting import Call, Host

TYPES = ("DocumentReference", "List", "AuditEvent", "Consent", "CareTeam", "RelatedPerson", "Communication")
EVERY_STATUS = "&status=current,superseded,entered-in-error,retired"
_numbers = itertools.count(1)


def test_a_search_finds_what_is_permitted_and_nothing_else(runner, host, histories):
    found = {"permitted": 0, "not": 0, "refused": 0}
    host.professionals = people.professionals(host)

    @settings(
        max_examples=histories(5, 300), deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(stories())
    def agree(story):
        runner.run(everybody(host, story, found))

    agree()
    assert min(found.values()) > 5, found


async def everybody(host: Host, story, found: dict[str, int]) -> None:
    play = Play(host, host.professionals, story, f"{os.getpid()} {next(_numbers)}")
    await play.run()
    # Six of those who take part, others in other histories.
    people_ = sorted(play.cast.values(), key=lambda one: ((len(one.name) * 7 + len(story.deeds) * 3 + len(story.asker)) % 11, one.name))
    for number, person in enumerate(people_[:6]):
        host.moment(f"{play.name} asks {number}".encode(), play.now + MINUTE + number)
        met, by_id = [await enforcement.of_patient(await asks(host, person), play.patient) for _ in range(2)]
        # Of a closed dossier its holder keeps a copy, which he reads and does not search.
        by_id.copying()
        for type_name in TYPES:
            await agrees(host, play, person, met, by_id, type_name, found)


async def agrees(
    host: Host, play: Play, person, met: enforcement.Known, by_id: enforcement.Known, type_name: str, found: dict[str, int]
) -> None:
    """One type: the search, its total, and the reads of everything there is."""
    rows = [row async for row in host.services.store.scan(types=(type_name,), dossiers=(met.number,), batch=500)]
    action = companions.SEEN_AS.get(type_name)
    permitted, readable, there = set(), set(), set()
    for row in rows:
        id = json.parse(row.body)["id"]
        there.add(id)
        if type_name == enforcement.TRACE and met._of_untold(row):
            # Whom the law gives all traces is told nothing of what was withdrawn from him, see enforcement.known.
            continue
        opened = facts.opened(met.context, row)
        if any(met.decide(action or SEARCH, one).permits for one in opened):
            permitted.add(id)
        if any(by_id.decide(action or READ, one).permits for one in opened):
            readable.add(id)
    status = EVERY_STATUS if type_name in ("DocumentReference", "List") else ""
    said = f"{person.name} {type_name} {play.story}"
    answer = await host.send(Call("GET", f"{type_name}?patient={play.patient}&_count=1000&_total=accurate{status}", person.token))
    if isinstance(met.left(type_name), Decision):
        assert answer.status == 403 and not permitted, (said, answer)
        found["refused"] += 1
    else:
        assert answer.status == 200, (said, answer)
        value = answer.value()
        matches = [entry["resource"]["id"] for entry in value.get("entry", []) if entry["search"]["mode"] == "match"]
        # What the search itself left behind is no part of what it found.
        assert set(matches) == permitted, (said, set(matches) - permitted, permitted - set(matches))
        assert value["total"] == len(matches) == len(set(matches)), said
    for id in sorted(there)[:2]:
        answer = await host.send(Call("GET", f"{type_name}/{id}", person.token))
        assert (answer.status == 200) == (id in readable), (said, id, answer)
    found["permitted"] += len(permitted)
    found["not"] += len(there - permitted)
