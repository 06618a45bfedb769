"""`search`: what a search costs as the store grows, and as pages are turned. One connection.

https://hl7.org/fhir/R4/http.html#paging
"""

import json
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fhir_dmp.bench import data
from fhir_dmp.bench.asking import Asker
from fhir_dmp.bench.driver import Driver, write_requests
from fhir_dmp.bench.measuring import Target, measure, warm
from fhir_dmp.bench.workloads import YEAR, dossier_search, type_and_date
from fhir_dmp.bench.world import Asked, World

# A page far from the first; fewer when there are not so many.
FAR = 25


class Cost(NamedTuple):
    """p50 in ms. documents: in the store. page: number of the far page. wrong: what was wrong with answers."""

    patients: int
    documents: int
    dossier_ms: float
    first_page_ms: float
    far_page_ms: float
    page: int
    wrong: tuple[str, ...]


def measure_cost(driver: Driver, worlds: list[World], folder: Path, seconds: float, repetitions: int) -> list[Cost]:
    """The worlds in turn, again and again."""
    targets = [_targets(world, folder / f"cost{number}") for number, world in enumerate(worlds)]
    found: list[dict[str, list[float]]] = [{} for _ in worlds]
    wrong: list[list[str]] = [[] for _ in worlds]
    for repetition in range(1, repetitions + 1):
        for number, (several, _) in enumerate(targets):
            for target in several:
                if repetition == 1:
                    warm(target, 1, seconds)
                point = measure(driver, target, 1, seconds, repetition)
                found[number].setdefault(target.name, []).append(point.outcome.p50_ms)
                wrong[number] += [what for what in point.errors if what not in wrong[number]]
    return [
        Cost(
            len(world.patients),
            len(world.documents),
            *(median(found[number][name]) for name in ("dossier", "first", "far")),
            targets[number][1],
            tuple(wrong[number]),
        )
        for number, world in enumerate(worlds)
    ]


def _targets(world: World, folder: Path) -> tuple[list[Target], int]:
    """Dossier search, first page and far page of a type in a year; the number of the far page."""
    folder.mkdir()
    first = type_and_date(0, data.FIRST_DAY, YEAR)
    path, page = far_page(world, first)
    several = {"dossier": dossier_search(world), "first": [Asked(world.get(first), is_full)], "far": [Asked(world.get(path), is_full)]}
    groups = {"server": world.host.server, "mongod": world.host.mongod}
    targets = []
    for name, asked in several.items():
        write_requests(folder / name, (one.request for one in asked))
        targets.append(Target(name, world.host.address, folder / name, groups, asked))
    return targets, page


def far_page(world: World, path: str) -> tuple[str, int]:
    """Turn pages up to FAR, or the last full one; its path and number."""
    asker, page = Asker(world.host.address), 1
    while page < FAR:
        found = json.loads(asker.ask(world.get(path)).body)
        following = next((link["url"] for link in found["link"] if link["relation"] == "next"), None)
        if following is None or found["total"] < (page + 1) * len(found["entry"]):
            break
        path, page = following.partition("/fhir/")[2], page + 1
    asker.close()
    return path, page


def is_full(reply, ask) -> str:
    """200, with entries of the type."""
    if reply.status != 200:
        return f"a page answered {reply.status}"
    entries = json.loads(reply.body).get("entry", ())
    code = data.TYPES[0][0]
    return "" if all(entry["resource"]["type"]["coding"][0]["code"] == code for entry in entries) else "a page holds another type"
