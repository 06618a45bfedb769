"""A real server for tests: `fhir-dmp serve` in a process of its own, on a free port, with a data folder of its own.

with serving(tmp_path) as server:
    httpx.get(server.fhir + "/metadata")
    httpx.get(server.fhir + "/Patient", headers=server.auth)
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from click.testing import CliRunner

from fhir_dmp.cli import cli
from fhir_dmp.commands import Failed
from fhir_dmp.settings import SettingError

START_SECONDS = 60


@dataclass
class Server:
    """A running server. url: "http://127.0.0.1:PORT". data: its folder. token: a `system` token with every scope.

    output: what it wrote to standard output; log: file of what it wrote to standard error.
    """

    process: subprocess.Popen
    url: str
    data: Path
    log: Path
    token: str
    client: httpx.Client
    ready_line: str = field(default="")

    @property
    def fhir(self) -> str:
        return f"{self.url}/fhir"

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def new_token(self, *arguments: str) -> str:
        """A token of the host's own issuer: arguments of `fhir-dmp token`."""
        return issue(self.data, *arguments)

    def logged(self) -> str:
        """Everything written to standard error so far."""
        return self.log.read_text("utf-8")

    def stop(self) -> int:
        """Ask it to stop, as Ctrl-C does; its exit code."""
        self.process.terminate()
        return self.process.wait(40)


def run(*arguments: str, environment: Mapping[str, str] | None = None, **kwargs: object) -> subprocess.CompletedProcess:
    """`fhir-dmp ARGUMENTS`, to its end."""
    command = [sys.executable, "-m", "fhir_dmp", *arguments]
    return subprocess.run(command, env=clean(environment), capture_output=True, text=True, check=False, timeout=120, **kwargs)


def here(*arguments: object, environment: Mapping[str, str] | None = None, stdin: bytes | None = None) -> tuple[int, str]:
    """The same in this process, which need not start: exit code, and what was printed on both streams."""
    kept = {name: None for name in os.environ if name.startswith("FHIR_DMP_")}
    done = CliRunner().invoke(cli, [*map(str, arguments)], input=stdin, env={**kept, **(environment or {})})
    failed = isinstance(done.exception, Failed | SettingError)
    assert failed or done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return 1 if failed else done.exit_code, done.output + (str(done.exception) if failed else "")


def issue(data: Path, *arguments: str) -> str:
    """One token, printed by the command line."""
    code, said = here("token", *arguments, "--data", data)
    assert code == 0, said
    return said.split()[-1]


def start(data: Path, *options: str, environment: Mapping[str, str] | None = None, sandbox: bool = True) -> tuple[subprocess.Popen, Path]:
    """`fhir-dmp serve` on a free port, not waited for; the process and the file of its standard error."""
    data.mkdir(parents=True, exist_ok=True)
    log = data.with_name(data.name + ".log")
    command = [sys.executable, "-m", "fhir_dmp", "serve", "--data", str(data), "--port", "0", *options]
    command += ["--sandbox"] if sandbox else []
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=clean({"FHIR_DMP_MONGOD_CACHE_GB": "0.25", "FHIR_DMP_BUILD_GUIDE": "no", **(environment or {})}),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            cwd=data.parent,
        )
    return process, log


@contextlib.contextmanager
def serving(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None, sandbox: bool = True, name: str = "data"
) -> Iterator[Server]:
    """A server that is ready, stopped at the end. folder/name is its data folder; options go to `serve`."""
    data = folder / name
    process, log = start(data, *options, environment=environment, sandbox=sandbox)
    try:
        line = process.stdout.readline()
        assert line, f"the server did not start: {log.read_text('utf-8')[-3000:]}"
        url = next(word for word in line.split() if word.startswith("http://")).removesuffix("/fhir")
        client = httpx.Client(base_url=url, timeout=60)
        with client:
            wait_ready(client)
            yield Server(process, url, data, log, issue(data, "system"), client, line)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def wait_ready(client: httpx.Client, seconds: float = START_SECONDS) -> None:
    """Wait until GET /health/ready answers 200."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health/ready").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server was not ready within {seconds} s")


def clean(environment: Mapping[str, str] | None) -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_DMP_")}
    return {**kept, **(environment or {})}


def children(pid: int) -> list[int]:
    """Processes below this one, however deep, by /proc."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        for child in below.get(queue.pop(), ()):
            found.append(child)
            queue.append(child)
    return found


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
