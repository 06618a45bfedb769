"""One connection that asks and looks closely at the answer, beside the load: samples, preparations, counters.

https://www.rfc-editor.org/rfc/rfc9112
"""

import os
import re
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

from fhir_dmp.bench.sockets import FRESH, Answers

# Routes for supervision: they are no part of the work.
APART = ("live", "ready", "metrics")
COUNTED = re.compile(rb'^fhir_dmp_request_seconds_count\{interaction="([^"]*)",status="(\d+)"\} (\S+)$', re.M)
SECONDS, IDLE_SECONDS = 120, 3


class Reply(NamedTuple):
    """One answer. head: with the status line. body: chunks joined."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """Value of a header, empty when there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.strip().lower() == name.lower().encode():
                return value.strip().decode("latin-1")
        return ""


class Asker:
    """Sends complete requests one after the other. address: host:port."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = (host, int(port))
        self._socket: socket.socket | None = None
        self._last = 0.0

    def ask(self, request: bytes) -> Reply:
        """The answer to one complete request, with a number of its own for FRESH; OSError when the connection breaks on the way."""
        request = request.replace(FRESH, os.urandom(6).hex().encode())
        # A server closes what stays silent; a request that meets that moment would be lost.
        if time.monotonic() - self._last > IDLE_SECONDS:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._place, SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answers = Answers(heads=request.startswith(b"HEAD "))
        try:
            self._socket.sendall(request)
            while True:
                data = self._socket.recv(1 << 20)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                if answer := answers.take(data):
                    break
        except OSError:
            self.close()
            raise
        reply, self._last = Reply(*answer), time.monotonic()
        if reply.header("connection").lower() == "close":
            self.close()
        return reply

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def counted(asker: Asker) -> Mapping[str, int]:
    """Answers the server says it has given, by status."""
    text = asker.ask(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n").body
    by_status: dict[str, int] = {}
    for interaction, status, value in COUNTED.findall(text):
        if interaction.decode() not in APART:
            by_status[status.decode()] = by_status.get(status.decode(), 0) + int(float(value))
    return by_status
