"""Hosts: the rows of a real server, and stores in this process that take them."""

import os
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.access.world import World
from tests.exchange.moving import Two
from tests.serving import serving

DATABASE = f"giving_{os.getpid()}"


@pytest.fixture(scope="module")
def two(mongod, tmp_path_factory):
    """Both of them, knowing each other."""
    options = ("--mongodb-uri", mongod.uri, "--workers", "1")
    environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_JOURNAL_SECONDS": "1"}
    with serving(tmp_path_factory.mktemp("giving"), *options, environment=environment, sandbox=False) as running:
        opened = Two(World(running), DATABASE, mongod.uri, Path(tmp_path_factory.mktemp("taking")))
        yield opened
        opened.close()
    with MongoClient(mongod.uri) as client:
        for name in [one.database for one in opened.settings]:
            client.drop_database(name)
