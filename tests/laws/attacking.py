"""Means to attack a server, and to see that it stands."""

import contextlib
import socket
from pathlib import Path

import httpx

from tests.interactions.making import (
    issues,
)
from tests.serving import children

MEGABYTE = 1_000_000


def clear(answer: httpx.Response, *statuses: int) -> list[str]:
    """A refusal with one of these statuses and an OperationOutcome; what it says."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    return [issue["diagnostics"] for issue in issues(answer)]


def resident(server) -> int:
    """Bytes of memory of the server's processes."""
    pids = [server.process.pid, *children(server.process.pid)]
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * 4096


def raw(server, request: bytes, *, timeout: float = 60) -> bytes:
    """The head of the answer to bytes sent as they are; empty when the connection was closed without one."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout) as connection:
        with contextlib.suppress(ConnectionError):  # refused while it is being sent
            connection.sendall(request)
        with contextlib.suppress(ConnectionError):
            return connection.recv(65536)
    return b""


def asked(server, method: str, target: str, *headers: str) -> int:
    """Status of a request whose target is sent as it is, dots and all."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {server.token}", "Connection: close", *headers]
    answer = raw(server, "\r\n".join([*lines, "", ""]).encode("utf-8"))
    return int(answer.split()[1])
