"""Fixtures for all rooms: one real mongod a session, one empty store a test."""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.resources import Store
from tests.exchange.loading import imported  # noqa: F401  a fixture

_numbers = itertools.count(1)


def pytest_addoption(parser):
    parser.addoption("--laws", action="store_true", help="prove the laws of access at length: thousands of histories instead of a hundred")


def pytest_sessionstart(session):
    """When the whole suite runs in several processes, the guide is built once, beside the first tests: who needs it waits for that."""
    if getattr(session.config.option, "numprocesses", None):
        command = [sys.executable, "-m", "fhir_dmp", "ig", "--if-missing"]
        session.config.guide_builder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pytest_sessionfinish(session):
    if builder := getattr(session.config, "guide_builder", None):
        builder.terminate()
        builder.wait()


def pytest_collection_modifyitems(config, items):
    """What is marked `at_length` takes long and proves little that another test does not: it runs with --laws."""
    if not config.getoption("--laws"):
        left_out = [item for item in items if item.get_closest_marker("at_length")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def histories(request):
    """How many examples a law is tried on: histories(in the ordinary run, with --laws)."""
    return lambda ordinary, at_length: at_length if request.config.getoption("--laws") else ordinary


@pytest.fixture(scope="session")
def mongod():
    """A running mongod on which every collection scan is an error (`.uri`)."""
    folder = Path(tempfile.mkdtemp(prefix="fhir-dmp-"))
    # Clocks of tests stand elsewhere than that by which MongoDB forgets what is over.
    embedded = Embedded.start(folder, extra_parameters=("notablescan=true", "ttlMonitorEnabled=false"), cache_gb=0.25)
    yield embedded
    embedded.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def data_dir(mongod):
    """A data folder whose host key serves all stores of the session."""
    return mongod.folder.parent


@pytest.fixture(scope="module")
def runner():
    """Where what is asked of `host` is waited for."""
    with asyncio.Runner() as found:
        yield found


@pytest.fixture(scope="module")
def host(request, runner, mongod, data_dir):
    """The real application of a store for real use in this process, with a database of this module's own; see tests/worlds/hosting.py."""
    from pymongo import MongoClient

    from tests.worlds.hosting import Host

    name = f"{request.module.__name__.rpartition('.')[2]}_{os.getpid()}"
    found = runner.run(Host.open(mongod.uri, name, data_dir))
    yield found
    runner.run(found.close())
    with MongoClient(mongod.uri) as client:
        client.drop_database(name)


@pytest.fixture
async def database(mongod, data_dir):
    """Name of a database of this test's own; dropped afterwards."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield name
    from pymongo import AsyncMongoClient

    async with AsyncMongoClient(mongod.uri) as client:
        await client.drop_database(name)


@pytest.fixture
async def store(mongod, data_dir, database):
    """An empty store for real use."""
    store = await Store.open(mongod.uri, database, data_dir=data_dir)
    yield store
    await store.close()


@pytest.fixture
async def sandbox_store(mongod, data_dir, database):
    """An empty sandbox store."""
    store = await Store.open(mongod.uri, database, data_dir=data_dir, sandbox=True)
    yield store
    await store.close()


@pytest.fixture
def gather():
    """asyncio.gather that gives exceptions as values."""

    async def gathered(*calls):
        return await asyncio.gather(*calls, return_exceptions=True)

    return gathered
