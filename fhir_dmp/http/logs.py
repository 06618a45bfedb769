"""Logs: one JSON object a line on standard error. Never an id, a name, a query, a body, a token.

What was asked of whom is told by the audit trail, which is sealed; logs only say that the machine works.
"""

import asyncio
import hashlib
import json
import logging
import re
import sys
import time
import traceback
from functools import lru_cache

import msgspec

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.ASCII | re.IGNORECASE)
ENCODE = msgspec.json.Encoder().encode


class Lines(logging.Formatter):
    """A log record as one JSON line: time, level, logger, message, and for an exception its type and places, never its text."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": stamp(record.created), "level": record.levelname.lower(), "from": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            line |= fault(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def configuration(level: str) -> dict:
    """A logging.config dictionary, also given to the HTTP server: everything to standard error in one form."""
    handler = {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}
    # The driver and the HTTP server say little of use and may quote commands: warnings only, errors only.
    quiet = {"_granian": "ERROR", "granian.access": "CRITICAL", "pymongo": "ERROR", "asyncio": "ERROR"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": "fhir_dmp.http.logs.Lines"}},
        "handlers": {"lines": handler},
        "root": {"handlers": ["lines"], "level": level.upper()},
        "loggers": {name: {"handlers": ["lines"], "level": least, "propagate": False} for name, least in quiet.items()},
    }


def request_line(method: str, route: str, interaction: str, status: int, seconds: float, request_id: str, actor_kind: str) -> None:
    """Write the line of one request, with those of all that end in the same turn of the loop. route: its template, never the address."""
    line = ENCODE(
        {
            "time": stamp(time.time()),
            "level": "error" if status >= 500 and status != 503 else "info",
            "method": method,
            "route": route,
            "interaction": interaction,
            "status": status,
            "ms": round(seconds * 1000, 2),
            "request": shown(request_id),
            "actor": actor_kind,
        }
    )
    if not _ended:
        asyncio.get_running_loop().call_soon(_write)
    _ended.append(line)


# Lines of requests that have ended in this turn: reads that waited for one batch end together, and one call to the system serves them all.
_ended: list[bytes] = []


def _write() -> None:
    lines = b"\n".join((*_ended, b""))
    _ended.clear()
    sys.stderr.write(lines.decode())


def fault(error: BaseException) -> dict[str, object]:
    """An exception for the log: its type and where it passed. Its text may quote a person, so it is left out."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-12:]]
    return {"fault": type(error).__qualname__, "places": places}


def shown(request_id: str) -> str:
    """A request id as logged: a UUID as it is, anything else a client invented by its digest, because it could be a name or a number.

    >>> shown("0b6d7e6c-3f0a-4c57-9a53-0d4cf2f7a3f1")
    '0b6d7e6c-3f0a-4c57-9a53-0d4cf2f7a3f1'
    >>> shown("279035121518989")
    'sha256:45ed8a68418be5f2'
    """
    return request_id if UUID.fullmatch(request_id) else "sha256:" + hashlib.sha256(request_id.encode()).hexdigest()[:16]


def stamp(seconds: float) -> str:
    """UTC time of a log line."""
    return f"{second(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"


@lru_cache(maxsize=2)
def second(seconds: int) -> str:
    """The text of a second, made once for all lines of it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
