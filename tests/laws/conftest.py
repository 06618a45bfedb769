"""A server that is attacked."""

import os

import httpx
import pytest
from pymongo import MongoClient

from tests.interactions.making import Fhir
from tests.serving import children, serving


@pytest.fixture(scope="session")
def server(mongod, tmp_path_factory):
    """A sandbox that is attacked."""
    database = f"attacked_{os.getpid()}"
    folder = tmp_path_factory.mktemp("attacked")
    with serving(folder, "--mongodb-uri", mongod.uri, environment={"FHIR_DMP_DATABASE": database}) as running:
        yield running
        assert "unforeseen fault" not in running.logged()
    with MongoClient(mongod.uri) as client:
        client.drop_database(database)


@pytest.fixture(scope="session")
def fhir(server):
    with httpx.Client(timeout=120, headers=server.auth) as http:
        yield Fhir(server, http)


@pytest.fixture
def survives(server, fhir):
    """After each attack the same processes answer."""
    before = children(server.process.pid)
    yield
    assert fhir.alive() and children(server.process.pid) == before
