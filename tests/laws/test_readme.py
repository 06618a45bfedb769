"""README.md shows what its commands print."""

import importlib.util
from pathlib import Path

from tests.serving import serving

ROOT = Path(__file__).parents[2]


def load(name: str):
    """A script of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tour_prints_what_readme_shows(tmp_path):
    tour = load("readme_tour")
    with serving(tmp_path, sandbox=False) as server:
        blocks = tour.run(server.url, server.data)
    shown = [
        [tour.normal(output) for _, output in tour.commands(found[1])] for found in tour.BLOCK.finditer(tour.README.read_text("utf-8"))
    ]
    assert [[tour.normal(output) for _, output in block] for block in blocks] == shown


def test_the_tour_fails_when_readme_shows_something_else():
    tour = load("readme_tour")
    assert tour.normal('{"id":"mddypjnvthmahqpvd56bngy67q","active":true}') != tour.normal(
        '{"id":"xi2o4grnmmyb6hbxxvm6bzosfi","active":false}'
    )
    assert tour.normal('{"id":"mddypjnvthmahqpvd56bngy67q"}') == tour.normal('{"id":"xi2o4grnmmyb6hbxxvm6bzosfi"}')
