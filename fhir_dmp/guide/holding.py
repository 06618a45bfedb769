"""Holding the conversations: a real server on a folder of its own for as long as they last, every answer examined.

https://hl7.org/fhir/R4/http.html ; an answer that is not the expected one stops the build of the guide.
"""

import contextlib
import ctypes
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from urllib.parse import quote

from fhir_dmp.guide.conversations import Answer, Broken, Exchange, examine, kept, read

BASE = "https://dmp.example.org/fhir"
START_SECONDS, ANSWER_SECONDS = 90, 60
PR_SET_PDEATHSIG = 1
SHOWN_HEADERS = ("content-type", "location", "content-location", "etag", "last-modified", "retry-after", "allow", "warning", "accept-patch")
# What stays as it is in an address; the rest is sent in percent signs, as every client does.
SAFE = "/?&=$:,;@!*'()~%+-._"


# `fhir-dmp token` for each line of its input: one process for all of them.
ISSUER = """
import json, sys
from fhir_dmp.cli import cli
for line in sys.stdin:
    cli.main(["token", *json.loads(line)], "fhir-dmp", standalone_mode=False)
    sys.stdout.flush()
"""


@dataclass(frozen=True, slots=True)
class Held:
    """One exchange that took place. person: of people.json, or None."""

    asked: Exchange
    answer: Answer
    person: dict | None

    def as_json(self) -> dict:
        return {"asked": asdict(self.asked), "answer": asdict(self.answer), "person": self.person}


class Server:
    """A server that is running. url: "http://127.0.0.1:PORT". data: its folder."""

    def __init__(self, url: str, data: Path) -> None:
        self.data = data
        self.connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/fhir"), timeout=ANSWER_SECONDS)
        self.tokens: dict[tuple[str, ...], str] = {}
        self.issuer = subprocess.Popen(
            [sys.executable, "-c", ISSUER], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, preexec_fn=dies_with_parent
        )

    def close(self) -> None:
        """End what was begun beside the server."""
        self.connection.close()
        self.issuer.communicate()

    def token(self, arguments: tuple[str, ...]) -> str:
        """A token of this server's own issuer, for the arguments of `fhir-dmp token`."""
        if arguments not in self.tokens:
            self.issuer.stdin.write(json.dumps([*arguments, "--data", str(self.data)]) + "\n")
            self.issuer.stdin.flush()
            if not (said := self.issuer.stdout.readline().strip()):
                raise Broken(f"no token for {' '.join(arguments)}: {self.issuer.communicate()[1].strip()[-600:]}")
            self.tokens[arguments] = said
        return self.tokens[arguments]

    def command(self, line: str) -> None:
        """Run `fhir-dmp LINE` on the data of this server, in the folder above it; `> FILE` keeps there what it prints."""
        words, _, file = line.partition(" > ")
        command = [sys.executable, "-m", "fhir_dmp", *shlex.split(words), "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_SECONDS, cwd=self.data.parent)
        # The server may have closed the connection meanwhile.
        self.connection.close()
        if done.returncode:
            raise Broken(f"`fhir-dmp {line}` failed: {done.stderr.strip()}")
        if file:
            (self.data.parent / file).write_text(done.stdout, "utf-8")

    def ask(self, asked: Exchange, arguments: tuple[str, ...] | None) -> Answer:
        """Send one exchange whose slots are filled."""
        headers = dict(asked.headers) | ({"Authorization": f"Bearer {self.token(arguments)}"} if arguments else {})
        target = asked.path if asked.outside else "/fhir" + asked.path
        self.connection.request(asked.method, quote(target, safe=SAFE), asked.body.encode() or None, headers)
        response = self.connection.getresponse()
        body = response.read()
        shown = {name.lower(): value for name, value in response.getheaders() if name.lower() in SHOWN_HEADERS}
        try:
            text = body.decode()
        except UnicodeDecodeError:
            text = f"({len(body)} bytes)"
        return Answer(response.status, response.reason, shown, text)


@contextlib.contextmanager
def server(folder: Path | None = None) -> Iterator[Server]:
    """A server for real use on a temporary folder, gone afterwards; it dies with this process, whatever happens to it."""
    with tempfile.TemporaryDirectory(prefix="fhir-dmp-guide-") as made:
        data = (folder or Path(made)) / "data"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_DMP_")}
        environment |= {
            "FHIR_DMP_MONGOD_CACHE_GB": "0.25",
            "FHIR_DMP_BASE_URL": BASE,
            "FHIR_DMP_BUILD_GUIDE": "no",
            "FHIR_DMP_LOG_LEVEL": "error",
        }
        command = [sys.executable, "-m", "fhir_dmp", "serve", "--data", str(data), "--port", "0", "--workers", "1"]
        with open(Path(made) / "log", "wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, cwd=made, preexec_fn=dies_with_parent
            )
        try:
            line = process.stdout.readline()
            if "http://" not in line:
                raise Broken(f"the server of the guide did not start: {(Path(made) / 'log').read_text('utf-8')[-2000:]}")
            running = Server(next(word for word in line.split() if word.startswith("http://")), data)
            try:
                wait_ready(running)
                yield running
            finally:
                running.close()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def dies_with_parent() -> None:
    """Between fork and exec: be told to stop when the builder is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def wait_ready(running: Server) -> None:
    """Wait until GET /health/ready answers 200."""
    ready = Exchange("ready", "", "GET", "/health/ready")
    end = time.monotonic() + START_SECONDS
    while running.ask(ready, None).status != 200:
        if time.monotonic() > end:
            raise Broken(f"the server of the guide was not ready within {START_SECONDS} s")
        time.sleep(0.05)


def people(folder: Path) -> dict[str, dict]:
    """Who speaks: name -> {"token": arguments of `fhir-dmp token`, "fr", "en": who this is}."""
    return json.loads((folder / "people.json").read_text("utf-8"))


def hold(running: Server, folder: Path) -> dict[str, Held]:
    """Every exchange of every file of a folder, in order, by name. Raises Broken at the first that goes otherwise than it says."""
    known = people(folder)
    values: dict[str, str] = known.pop("values", {}) | clock(datetime.now(UTC))
    held: dict[str, Held] = {}
    for path in sorted(folder.glob("*.http")):
        for exchange in read(path):
            if exchange.name in held:
                raise Broken(f"{path.name}: there is another exchange named {exchange.name}")
            if exchange.who and exchange.who not in known:
                raise Broken(f"{path.name}, {exchange.name}: nobody is called {exchange.who}")
            asked = exchange.filled(values)
            person = known.get(exchange.who)
            arguments = tuple(fill_all(person["token"], values)) if person else None
            for line in asked.run:
                running.command(line)
            answer = expected(running, asked, arguments)
            values |= kept(asked, answer)
            held[exchange.name] = Held(asked, answer, person and {**person, "token": arguments})
    return held


def expected(running: Server, asked: Exchange, arguments: tuple[str, ...] | None) -> Answer:
    """The answer that an exchange expects, asked for again as long as it is patient. Raises Broken when none comes."""
    end = time.monotonic() + asked.patience
    while True:
        answer = running.ask(asked, arguments)
        try:
            examine(asked, answer)
        except Broken:
            if time.monotonic() >= end:
                raise
            time.sleep(0.2)
        else:
            return answer


def clock(now: datetime) -> dict[str, str]:
    """Times that a conversation may name: periods of rights must hold when it takes place."""
    return {
        "now": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "today": now.strftime("%Y-%m-%d"),
        "in_a_month": (now + timedelta(30)).strftime("%Y-%m-%d"),
        # Born in February: sixteen or nearly so on every day of the year, and never a 29th.
        "born_minor": f"{now.year - 16}-02-14",
    }


def fill_all(arguments: list[str], values: dict[str, str]) -> list[str]:
    """Arguments of a token with the values that are known by now."""
    for name, value in values.items():
        arguments = [each.replace("{{" + name + "}}", value) for each in arguments]
    return arguments
