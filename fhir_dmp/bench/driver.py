"""Load drivers: connections that ask, wait for the answer and ask again, until the time is over.

wrk (https://github.com/wg/wrk) where it is installed, else a driver of our own, fhir_dmp/bench/sockets.py. Both replay the same file of
complete HTTP/1.1 requests, each after a line with its length in bytes. Where a request holds FRESH, each time it is sent it holds a number
of its own there: what is created twice under one identifier is created once.
"""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fhir_dmp.commands import Failed

NAMES = ("wrk", "sockets")
PATIENCE_SECONDS = 120
# Twelve hexadecimal digits, the last group of a UUID.
FRESH = "ba5eba11f00d"


class Outcome(NamedTuple):
    """What one run measured. requests: answered in time. errors: what -> how many; what is a status, or a fault of the connection."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: dict[str, int]

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Driver(NamedTuple):
    """name: as the report says it. command(address, file, connections, seconds, offset) is a process that prints an Outcome as JSON."""

    name: str
    command: Callable[[str, Path, int, float, int], list[str]]

    def start(self, address: str, file: Path, connections: int, seconds: float, offset: int) -> subprocess.Popen:
        """Begin a run. address: host:port. offset: the request of the file to begin with."""
        command = self.command(address, file, connections, seconds, offset)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen, seconds: float) -> Outcome:
        """Wait for a run; what it measured."""
        try:
            printed, said = process.communicate(timeout=seconds + PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"the load driver {self.name} did not end") from None
        found = next((line for line in printed.splitlines() if line.startswith("{")), None)
        if process.returncode or found is None:
            raise Failed(f"the load driver {self.name} failed: {(said or printed).strip()[-400:]}")
        return Outcome(**json.loads(found))


def choose(wanted: str | None = None) -> Driver:
    """The driver of that name; None takes wrk when it is installed."""
    wrk = shutil.which("wrk")
    if wanted == "wrk" and wrk is None:
        raise Failed("wrk is not installed")
    return _wrk(wrk) if wrk and wanted != "sockets" else SOCKETS


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """The file that a driver replays."""
    with path.open("wb") as file:
        for request in requests:
            file.write(b"%d\n" % len(request) + request)


def read_requests(path: Path) -> list[bytes]:
    """What write_requests wrote."""
    requests = []
    with path.open("rb") as file:
        while line := file.readline():
            requests.append(file.read(int(line)))
    return requests


def _sockets(address: str, file: Path, connections: int, seconds: float, offset: int) -> list[str]:
    return [sys.executable, "-m", "fhir_dmp.bench.sockets", address, str(file), str(connections), str(seconds), str(offset)]


SOCKETS = Driver("sockets (built in)", _sockets)

# One thread: the client shares the machine with what it measures.
_LUA = """
local requests, n, i, sent = {}, 0, 0, 0
local began = os.time() % 16777216
function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local size = file:read("*l")
    if not size then break end
    n = n + 1
    local text, parts, from = file:read(tonumber(size)), {}, 1
    while true do
      local first, last = text:find("FRESH", from, true)
      parts[#parts + 1] = text:sub(from, first and first - 1)
      if not first then break end
      from = last + 1
    end
    requests[n] = #parts > 1 and parts or text
  end
  file:close()
  i = tonumber(args[2]) % n
end
function request()
  i = i % n + 1
  local asked = requests[i]
  if type(asked) == "string" then return asked end
  sent = sent + 1
  return table.concat(asked, string.format("%06x%06x", began, sent))
end
function done(summary, latency)
  local e = summary.errors
  local errors = {}
  for name, count in pairs({["status over 399"]=e.status, connect=e.connect, read=e.read, write=e.write, timeout=e.timeout}) do
    if count > 0 then errors[#errors + 1] = string.format('"%s": %d', name, count) end
  end
  print(string.format('{"requests": %d, "seconds": %f, "p50_ms": %f, "p95_ms": %f, "p99_ms": %f, "errors": {%s}}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    table.concat(errors, ", ")))
end
""".replace("FRESH", FRESH)


def _wrk(binary: str) -> Driver:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = said[1].rpartition("/")[2] if len(said) > 1 else ""

    def command(address: str, file: Path, connections: int, seconds: float, offset: int) -> list[str]:
        script = file.with_name("replay.lua")
        script.write_text(_LUA, "ascii")
        whole = max(1, math.ceil(seconds))
        options = ["-t1", f"-c{connections}", f"-d{whole}s", "--timeout", f"{PATIENCE_SECONDS}s", "-s", str(script)]
        return [binary, *options, f"http://{address}/", "--", str(file), str(offset)]

    return Driver(f"wrk {version}".strip(), command)
