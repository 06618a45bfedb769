"""The built-in load driver: `python -m fhir_dmp.bench.sockets HOST:PORT FILE CONNECTIONS SECONDS OFFSET`, a process of its own.

https://www.rfc-editor.org/rfc/rfc9112 ; prints one line of JSON, see driver.Outcome.
"""

import asyncio
import json
import sys
import time
from array import array
from collections import Counter
from pathlib import Path

import uvloop

from fhir_dmp.bench import driver
from fhir_dmp.bench.driver import read_requests

FRESH = driver.FRESH.encode()
DRAIN_SECONDS = 60


class Answers:
    """Cuts a stream of bytes into answers: by `Content-Length`, by chunks, or with no body at all. heads: all are answers to HEAD."""

    def __init__(self, *, heads: bool = False) -> None:
        self._held, self._heads = bytearray(), heads

    def take(self, data: bytes) -> tuple[int, bytes, bytes] | None:
        """Add received bytes; (status, head, body) once one answer is complete."""
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._held[:end])
        status, lower, start = int(head[9:12]), head.lower(), end + 4
        if self._heads:
            body, stop = b"", start
        elif b"\r\ntransfer-encoding: chunked" in lower:
            found = self._chunks(start)
            if found is None:
                return None
            body, stop = found
        else:
            at = lower.find(b"\r\ncontent-length:")
            length = int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 and status not in (204, 304) else 0
            stop = start + length
            if len(self._held) < stop:
                return None
            body = bytes(self._held[start:stop])
        del self._held[:stop]
        return status, head, body

    def _chunks(self, at: int) -> tuple[bytes, int] | None:
        parts = []
        while (end := self._held.find(b"\r\n", at)) >= 0:
            size = int(self._held[at:end].split(b";")[0], 16)
            if len(self._held) < end + 2 + size + 2:
                return None
            if not size:
                return b"".join(parts), end + 4
            parts.append(bytes(self._held[end + 2 : end + 2 + size]))
            at = end + 2 + size + 2
        return None


class Run:
    """What all connections of one run share."""

    def __init__(self, requests: list[bytes], offset: int, until: float) -> None:
        self.requests, self.next, self.until = requests, offset % len(requests), until
        self.began, self.sent = int(time.time()) % (1 << 24), 0
        self.times_ms = array("d")
        self.errors: Counter[str] = Counter()

    def request(self) -> bytes:
        self.next = (self.next + 1) % len(self.requests)
        asked = self.requests[self.next]
        if FRESH not in asked:
            return asked
        self.sent += 1
        return asked.replace(FRESH, b"%06x%06x" % (self.began, self.sent))


class Connection(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self, run: Run, over: asyncio.Future) -> None:
        self.run, self.over, self.answers, self.sent_at = run, over, Answers(), 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.sent_at = time.perf_counter()
        if self.sent_at >= self.run.until:
            self.stop()
            return
        self.transport.write(self.run.request())

    def data_received(self, data: bytes) -> None:
        answer = self.answers.take(data)
        if answer is None:
            return
        now = time.perf_counter()
        if now <= self.run.until:
            self.run.times_ms.append((now - self.sent_at) * 1000)
            if answer[0] > 399:
                self.run.errors[str(answer[0])] += 1
        self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.run.errors["read"] += 1
            self.over.set_result(None)

    def stop(self) -> None:
        """The end of this connection."""
        if not self.over.done():
            self.over.set_result(None)
        self.transport.close()


async def measure(host: str, port: int, requests: list[bytes], connections: int, seconds: float, offset: int) -> dict:
    """One run, as the fields of driver.Outcome."""
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    run = Run(requests, offset, begun + seconds)
    opened = []
    for _ in range(connections):
        over = loop.create_future()
        try:
            _, connection = await loop.create_connection(lambda over=over: Connection(run, over), host, port)
        except OSError:
            run.errors["connect"] += 1
            continue
        opened.append((connection, over))
    # Answers that are still under way when the time is over are waited for, so that the server is at rest afterwards, but not counted.
    await asyncio.wait([over for _, over in opened], timeout=seconds + DRAIN_SECONDS) if opened else None
    for connection, _ in opened:
        connection.stop()
    times = sorted(run.times_ms)

    def percentile(part: float) -> float:
        return times[min(len(times) - 1, int(len(times) * part))] if times else 0.0

    return {
        "requests": len(times),
        "seconds": seconds,
        "p50_ms": percentile(0.5),
        "p95_ms": percentile(0.95),
        "p99_ms": percentile(0.99),
        "errors": dict(run.errors),
    }


def main() -> None:
    """One run of the command line."""
    address, file, connections, seconds, offset = sys.argv[1:]
    host, _, port = address.rpartition(":")
    requests = read_requests(Path(file))
    print(json.dumps(uvloop.run(measure(host, int(port), requests, int(connections), float(seconds), int(offset)))))


if __name__ == "__main__":
    main()
