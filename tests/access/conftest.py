"""One server for real use, shared by the tests of this room: each has dossiers of its own."""

import os

import pytest
from pymongo import MongoClient

from tests.access.world import World
from tests.serving import serving

DATABASE = f"access_{os.getpid()}"


@pytest.fixture(scope="session")
def access_server(mongod, tmp_path_factory):
    """A server that obeys every rule, on a MongoDB that refuses every collection scan."""
    folder = tmp_path_factory.mktemp("access")
    environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_JOURNAL_SECONDS": "1"}
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "2", environment=environment, sandbox=False) as running:
        yield running
    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)


@pytest.fixture(scope="session")
def world(access_server):
    """Whom the server meets."""
    return World(access_server)
