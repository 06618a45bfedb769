"""One server for real use, shared by the tests of this room: each has dossiers of its own."""

import os

import pytest
from pymongo import MongoClient

from tests.access.world import World
from tests.serving import serving

DATABASE = f"signing_room_{os.getpid()}"


@pytest.fixture(scope="session")
def world(mongod, tmp_path_factory):
    """Whom a server that obeys every rule meets."""
    options = ("--mongodb-uri", mongod.uri, "--workers", "1")
    environment = {"FHIR_DMP_DATABASE": DATABASE}
    with serving(tmp_path_factory.mktemp("signing"), *options, environment=environment, sandbox=False) as running:
        yield World(running)
    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)
