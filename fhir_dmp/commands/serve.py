"""`fhir-dmp serve`: MongoDB first, then the workers; stopped in the opposite order.

Decision and figures: ig/decisions/0001-asgi-server.md
"""

import asyncio
import contextlib
import ctypes
import gc
import logging.config
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.errors import FhirError
from fhir_dmp.settings import Loaded, Settings

PR_SET_PDEATHSIG = 1
# When a worker looks for garbage: what a request leaves in cycles is little, what it allocates meanwhile is much.
GARBAGE = (10_000, 20, 50)
QUEUE = 2048
GUIDE_LOG = "guide.log"


@click.command()
@click.option("--demo", is_flag=True, help="load the demonstration dossiers once it serves, and print their tokens")
@with_settings("host", "port", "workers", "sandbox")
def command(loaded: Loaded, demo: bool) -> None:
    """Serve. Starts the embedded MongoDB of the data folder unless --mongodb-uri names another one."""
    settings = loaded.settings
    settings = replace(settings, port=free_port(settings), workers=settings.workers or max(1, (os.cpu_count() or 1) // 2))
    settings = replace(settings, base_url=settings.base_url or own_address(settings))
    private_folder(settings.data)
    counters(settings.data / "tmp" / "metrics")
    allow_many_files()
    # Before this line nothing may import the counters or the application: they look at the environment when they are imported.
    from fhir_dmp.http import logs
    from fhir_dmp.store.failures import StoreError

    logging.config.dictConfig(logs.configuration(settings.log_level))
    try:
        with mongodb(settings) as running:
            asyncio.run(prepare(running))
            serve(running, demo)
    except (StoreError, FhirError) as error:
        raise Failed(error) from None


def own_address(settings: Settings) -> str:
    """Address of [base] where none is set; "" in a sandbox, where each request says it.

    Whoever asks must not say by a `Host` header what this host is called: what is written refers to it, and mails lead there.
    """
    if settings.sandbox:
        return ""
    everywhere = settings.host in ("", "0.0.0.0", "::")
    host = "localhost" if everywhere else f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port}/fhir"
    if everywhere:
        click.echo(f"fhir-dmp: `base_url` is not set, so answers and mails name this server {address}", err=True)
    return address


@contextlib.contextmanager
def mongodb(settings: Settings) -> Iterator[Settings]:
    """The settings with the address of a running MongoDB: the one given, or the embedded one, stopped at the end."""
    if settings.mongodb_uri:
        yield settings
        return
    from fhir_dmp.store.embedded import Embedded

    # A request to stop while MongoDB comes up must still stop it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    embedded = Embedded.start(settings.data, cache_gb=settings.mongod_cache_gb)
    try:
        yield replace(settings, mongodb_uri=embedded.uri)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        embedded.stop()


async def prepare(settings: Settings) -> None:
    """Open everything once before the workers do: what is wrong is said in clear words, migrations and indexes are done once."""
    from fhir_dmp.exchange import restoring
    from fhir_dmp.identity.tokens import Tokens
    from fhir_dmp.interactions import reindex
    from fhir_dmp.store.resources import Store

    Tokens.open(settings)

    def progress(what: str, done: int, total: int) -> None:
        click.echo(f"\rfhir-dmp: {what}, {done} of {total}", nl=done >= total, err=True)

    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=settings.sandbox, progress=progress)
    try:
        replayed = await restoring.prepared(store, settings)
        if replayed.rows or replayed.lost:
            click.echo(
                f"fhir-dmp: protective acts applied again: {replayed.rows}; of dossiers that are not here: {replayed.lost}", err=True
            )
        if await reindex.is_stale(store):
            await reindex.run(store, (settings.base_url,) if settings.base_url else (), partial(progress, "indexing"))
    finally:
        await store.close()


def serve(settings: Settings, demo: bool = False) -> None:
    """Run the workers until told to stop; back when they have finished what they were doing."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    import fhir_dmp.app  # noqa: F401  imported once here, shared by the workers that are forked
    from fhir_dmp.http import logs

    ready, begun = os.pipe()
    server = Granian(
        target="fhir_dmp.app:create",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        runtime_mode=RuntimeModes.st,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=settings.header_seconds * 1000, max_buffer_size=2 * settings.max_header_bytes),
        backlog=QUEUE,
        backpressure=settings.max_connections,
        respawn_failed_workers=True,
        workers_kill_timeout=settings.stop_seconds,
        log_level=LogLevels.error,
        log_dictconfig=logs.configuration(settings.log_level),
    )
    with builder_of_guide(settings) as builder:
        threading.Thread(target=announce, args=(settings, ready, builder, demo), daemon=True).start()
        server.serve(target_loader=partial(worker, settings, os.getpid(), begun), wrap_loader=False)


@contextlib.contextmanager
def builder_of_guide(settings: Settings) -> Iterator[subprocess.Popen | None]:
    """A process that builds the guide when it is told to, behind everything else; None when the guide stands or nobody wants it."""
    from fhir_dmp.guide import sources

    if not settings.build_guide or sources.is_built(sources.place(settings.data)):
        yield None
        return

    def behind() -> None:
        # Of this process alone: the signal comes when the main thread, which forks here, is gone.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.nice(19)

    command = [sys.executable, "-m", "fhir_dmp", "ig", "--if-missing", "--when-told", "--data", str(settings.data)]
    quiet = {"stdout": subprocess.DEVNULL, "stdin": subprocess.PIPE, "start_new_session": True}
    with (settings.data / GUIDE_LOG).open("wb") as log:
        builder = subprocess.Popen(command, preexec_fn=behind, text=True, stderr=log, **quiet)
    try:
        yield builder
    finally:
        builder.terminate()
        builder.wait()


def worker(settings: Settings, parent: int, begun: int) -> object:
    """The application, in the process of one worker."""
    # The signal comes when the thread that forked this process dies: the main thread of the parent. SIGKILL, because nobody is left to wait
    # for a graceful end and whatever was acknowledged is durable.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    # Ctrl-C reaches the parent alone, which stops the workers.
    os.setpgid(0, 0)
    from fhir_dmp.app import create

    def started() -> None:
        # Tables of the standard live as long as the worker: looked through again and again for garbage, they cost more than requests leave.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        os.write(begun, b".")

    return create(settings, started=started)


def announce(settings: Settings, ready: int, builder: subprocess.Popen | None, demo: bool) -> None:
    """When the first worker answers, print one line, tell the demonstration where that is wanted, and let the guide be built."""
    os.read(ready, 1)
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else "::1" if settings.host == "::" else settings.host
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection((host, settings.port), 1):
            break
        time.sleep(0.01)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    nature = "sandbox" if settings.sandbox else "not a sandbox"
    kind = "system" if settings.sandbox else "KIND"
    command = "fhir-dmp" if shutil.which("fhir-dmp") else os.path.relpath(Path(sys.executable).with_name("fhir-dmp"))
    line = f"fhir-dmp serves http://{shown}:{settings.port}/fhir from {settings.data} ({nature}); tokens: {command} token {kind}"
    print(line if settings.data == Path("data").absolute() else f"{line} --data {shlex.quote(str(settings.data))}", flush=True)
    if demo:
        subprocess.run(
            [sys.executable, "-m", "fhir_dmp", "demo", "--data", str(settings.data), "--mongodb-uri", settings.mongodb_uri], check=False
        )
    if builder:
        with contextlib.suppress(OSError):
            builder.stdin.write("build\n")
            builder.stdin.flush()
        # A signal is the end of this server, told by nobody else.
        if builder.wait() == 1:
            click.echo(f"fhir-dmp: the guide was not built, {settings.data / GUIDE_LOG} says why", err=True)


def free_port(settings: Settings) -> int:
    """The port to use: the one of the settings if nobody listens there, or a free one for 0.

    Workers share the port (SO_REUSEPORT), so a second server would start on it without a word: this asks without sharing.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except socket.gaierror:
        raise Failed(f"`{settings.host}` is not an address of this machine") from None
    except PermissionError:
        raise Failed(f"port {settings.port} needs more rights than this user has; choose one above 1023 with --port") from None
    except OSError as error:
        if error.errno == 98:
            raise Failed(f"port {settings.port} of {settings.host} is taken by another program; choose another one with --port") from None
        raise Failed(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from None


def private_folder(data: Path) -> None:
    """The data folder, for its owner alone, as whatever this process and its children write from now on."""
    os.umask(0o077)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.chmod(0o700)
    except OSError as error:
        raise Failed(f"data folder {data}: {error.strerror}") from None


def counters(folder: Path) -> None:
    """A folder where the workers of this server share their counters, named to the library that keeps them; those of dead servers go."""
    own = folder / str(os.getpid())
    for left in folder.glob("[0-9]*"):
        if left == own or not Path("/proc", left.name).exists():
            shutil.rmtree(left, ignore_errors=True)
    for path in (folder.parent, folder, own):
        path.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(own)


def allow_many_files() -> None:
    """As many open connections as the machine lets this user have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
