"""One real server for all interactions, on a MongoDB that refuses every collection scan."""

import os

import httpx
import pytest
from pymongo import MongoClient

from fhir_dmp.store.vault import Vault
from tests.interactions.making import Fhir
from tests.serving import serving

DATABASE = f"interactions_{os.getpid()}"
ENVIRONMENT = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_MAX_BINARY_BYTES": "67000000"}


@pytest.fixture(scope="session")
def server(mongod, tmp_path_factory):
    """A sandbox, shared: each test has resources of its own."""
    folder = tmp_path_factory.mktemp("interactions")
    with serving(folder, "--mongodb-uri", mongod.uri, environment=ENVIRONMENT) as running:
        yield running
    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)


@pytest.fixture(scope="session")
def fhir(server):
    """A client with every scope."""
    with httpx.Client(timeout=120, headers=server.auth) as http:
        yield Fhir(server, http)


@pytest.fixture(scope="session")
def vault(server):
    """The keys of the server, to look at its rows from behind."""
    return Vault.load(server.data)


@pytest.fixture(scope="session")
def rows(mongod, server):
    """The database of the server, seen from behind."""
    with MongoClient(mongod.uri) as client:
        yield client[DATABASE]


@pytest.fixture
async def crowd(server):
    """An asynchronous client for many requests at the same moment."""
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(timeout=120, headers=server.auth, limits=limits, base_url=server.fhir + "/") as client:
        yield client
