"""The server under measurement: a copy of a loaded data folder, the embedded MongoDB, `fhir-dmp serve`; and the server of the floors.

Everything is stopped, and the copy removed, at the end.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fhir_dmp.bench.data import COLLEAGUE, DOCTOR
from fhir_dmp.bench.loading import Loaded
from fhir_dmp.commands import Failed
from fhir_dmp.store import bare
from fhir_dmp.store.embedded import Embedded

STOP_SECONDS = 40


class Mode(NamedTuple):
    """How the server is run and who asks. sandbox: nature of the store. serve: options of `serve`. token: arguments of `token`.

    colleague: those of the one from whom documents are masked. module: what is run.
    """

    sandbox: bool
    serve: tuple[str, ...]
    token: tuple[str, ...]
    colleague: tuple[str, ...] = ()
    module: str = "fhir_dmp"


def professional(person: str, organization: str = "1750000001") -> tuple[str, ...]:
    """Arguments of `token` for a physician who treats."""
    return ("professional", "--rpps", person[1:], "--profession", "10", "--organization", organization, "--purpose", "TREAT")


# In `rules` nothing is traced, which only a benchmark can have: see untraced.
MODES = {
    "sandbox": Mode(True, ("--sandbox",), ("system",)),
    "rules": Mode(False, (), professional(DOCTOR), professional(COLLEAGUE), "fhir_dmp.bench.untraced"),
    "production": Mode(False, (), professional(DOCTOR), professional(COLLEAGUE)),
}


class Host(NamedTuple):
    """A running server. address: host:port. uri: of its MongoDB. server, mongod: process ids. token: of who asks. colleague: of the one
    from whom documents are masked, "" where nobody is.
    """

    address: str
    uri: str
    token: str
    server: int
    mongod: int
    data: Path
    loaded: Loaded
    mode: Mode
    colleague: str = ""


@contextlib.contextmanager
def serving(loaded: Loaded, folder: Path, mode: Mode, workers: int) -> Iterator[Host]:
    """A server on a copy of `loaded` made in `folder`."""
    folder.mkdir(mode=0o700, parents=True)
    try:
        data = folder / "data"
        shutil.copytree(loaded.data, data, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        mongod = Embedded.start(data)
        try:
            command = [sys.executable, "-m", mode.module, "serve", "--data", str(data), "--port", "0", "--workers", str(workers)]
            command += mode.serve
            with (folder / "server.log").open("wb") as log, started(command, folder, log) as server:
                line = server.stdout.readline()
                if not line:
                    raise Failed(f"the server did not start: {(folder / 'server.log').read_text('utf-8')[-1000:]}")
                address = next(word for word in line.split() if word.startswith("http://")).removeprefix("http://").partition("/")[0]
                token, colleague = issued(data, mode.token), issued(data, mode.colleague) if mode.colleague else ""
                yield Host(address, mongod.uri, token, server.pid, mongod.process.pid, data, loaded, mode, colleague)
        finally:
            mongod.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def floor_server(host: Host, folder: Path, workers: int, body: bytes) -> Iterator[tuple[str, int]]:
    """The server of the floors S, F and I on the MongoDB of a host: its address and process id. body: what a resource looks like."""
    bare.seed(host.uri, body)
    command = [sys.executable, "-m", "fhir_dmp.bench.floors", host.uri, str(workers)]
    with (folder / "floors.log").open("wb") as log, started(command, folder, log, body.decode("utf-8")) as server:
        address = server.stdout.readline().strip()
        if not address:
            raise Failed(f"the server of the floors did not start: {(folder / 'floors.log').read_text('utf-8')[-1000:]}")
        wait_for(address)
        yield address, server.pid


def wait_for(address: str) -> None:
    """Until something listens there."""
    host, _, port = address.rpartition(":")
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.02)
    raise Failed(f"nothing listens on {address}")


@contextlib.contextmanager
def started(command: list[str], folder: Path, log, given: str = "") -> Iterator[subprocess.Popen]:
    """A process of ours, with none of the caller's settings; terminated at the end."""
    process = subprocess.Popen(command, env=plain(), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        process.stdin.write(given)
        process.stdin.close()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def issued(data: Path, who: tuple[str, ...]) -> str:
    """A token that lives as long as any benchmark. who: arguments of `token`."""
    command = [sys.executable, "-m", "fhir_dmp", "token", *who, "--data", str(data), "--expires", "86400"]
    done = subprocess.run(command, env=plain(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"no token: {done.stderr.strip()}")
    return done.stdout.strip()


def plain() -> dict[str, str]:
    """The environment without settings: what is measured runs with the defaults, but builds no guide beside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_DMP_") and name != "PROMETHEUS_MULTIPROC_DIR"}
    return {**kept, "FHIR_DMP_BUILD_GUIDE": "no"}
