"""The server application in this process, on a real MongoDB, with a clock and a source of ids of the test's own.

host = await Host.open(uri, database, data_dir)
host.moment(seed, now_ms); answer = await host.send(Call("GET", "Patient/x", token))
"""

import asyncio
import base64
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import msgspec

from fhir_dmp import app
from fhir_dmp.audit.event import Server
from fhir_dmp.audit.index import Indexer
from fhir_dmp.search.paging import PURPOSE
from fhir_dmp.settings import Settings

BASE = "http://dmp.test/fhir"
# Longer than the longest run: whatever looked at a dossier by the clock of the machine would meet one world before the other.
NEVER = 1_000_000_000
PROGRAM = str(Path(app.__file__).parent)
# A page link names the moment of the database at which its first page was read: a time, like the date of an answer.
CURSOR = re.compile(rb"_cursor=([A-Za-z0-9_-]+)")
# What was asked, in a trace: of a later page with its cursor.
QUERY = re.compile(rb'"query":"([A-Za-z0-9+/]+=*)"')
# A token that a login is answered with is signed anew each time.
SIGNED = re.compile(rb'("access_token":"[\w-]+\.[\w-]+)\.[\w-]+')


@dataclass(frozen=True, slots=True)
class Call:
    """One request. path: below [base], with its query, or with a slash below the server. token: of who asks, "" for none.

    headers: beside Authorization and X-Request-Id.
    """

    method: str
    path: str
    token: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {dict(self.headers) or ''} {self.body[:400].decode(errors='replace')}"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. headers: in order, names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def value(self) -> dict:
        return msgspec.json.decode(self.body)

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")

    def __str__(self) -> str:
        return f"{self.status} {dict(self.headers)}\n{self.body[:6000].decode(errors='replace')}"


class Host:
    """One server in this process. What it does beside answering requests rests: it would go by the clock of the machine."""

    def __init__(self, application) -> None:
        self.application, self.services = application, application.services
        self.now, self.seed = 0, b""
        self.drawn: Counter[str] = Counter()
        self.seals = None
        self._inbox: asyncio.Queue = asyncio.Queue()
        self._outbox: asyncio.Queue = asyncio.Queue()
        self._life: asyncio.Task | None = None
        self.services.clock, self.services.random = self.clock, self.random

    @classmethod
    async def open(cls, uri: str, database: str, data: Path) -> "Host":
        """A host of an empty store. Hosts of one data folder give the same ids for the same seed."""
        settings = Settings(
            data=data,
            mongodb_uri=uri,
            database=database,
            sandbox=False,
            base_url=BASE,
            login_address_attempts=1_000_000,
            journal_seconds=NEVER,
            notice_seconds=NEVER,
            log_level="error",
        )
        host = cls(app.create(settings))
        host.now = host.services.began_ms
        host._life = asyncio.create_task(
            host.application({"type": "lifespan", "asgi": {"version": "3.0"}}, host._inbox.get, host._outbox.put)
        )
        await host._inbox.put({"type": "lifespan.startup"})
        told = await host._outbox.get()
        assert told["type"] == "lifespan.startup.complete", told
        # A store has a name of its own, which its traces tell; here two of them stand for one.
        recorder = host.services.recorder
        recorder.indexer = Indexer(
            host.services.store.vault.hash64, Server("urn:uuid:00000000-0000-4000-8000-000000000000", "fhir-dmp", BASE)
        )
        return host

    async def close(self) -> None:
        await self._inbox.put({"type": "lifespan.shutdown"})
        await self._life

    # ---- time and chance

    def clock(self) -> int:
        return self.now

    def random(self, size: int) -> bytes:
        """Bytes that depend on the seed, on the place in the program that draws, and on how many it drew since the seed was set.

        Other places do not shift it: what one act writes beside, about what is hidden, has no part in the ids of what is shown.
        """
        place, frame = [], sys._getframe(1)
        while frame is not None:
            if PROGRAM in frame.f_code.co_filename:
                place.append(f"{frame.f_code.co_qualname} {frame.f_lineno}")
            frame = frame.f_back
        drawn = "\n".join(place)
        self.drawn[drawn] += 1
        return blake2b(f"{self.drawn[drawn]} {drawn}".encode(), key=self.seed, digest_size=size).digest()

    def moment(self, seed: bytes, now_ms: int) -> None:
        """From now on it is `now_ms`, and ids come from this seed: what one act draws does not shift what another draws."""
        self.seed, self.now = blake2b(seed, digest_size=32).digest(), now_ms
        self.drawn.clear()

    def sealing(self, wanted: bool) -> None:
        """Whether what is written is sealed. The seal of a document is over all it says, also over a reference that is taken out of what
        somebody is shown: where the second world does without such a reference, no seals can be compared.
        """
        self.seals = self.services.seals or self.seals
        self.services.seals = self.seals if wanted else None

    # ---- requests

    async def send(self, call: Call, seen: list[bytes] | None = None) -> Reply:
        """The answer of the application. Every request says an id of its own, which the trace repeats. seen: filled with bodies as sent."""
        path, _, query = call.path.partition("?")
        raw = (path if path.startswith("/") else f"/fhir/{path}".rstrip("/")).encode()
        headers = [(b"host", b"dmp.test"), (b"x-request-id", self.seed.hex()[:32].encode())]
        headers += [(b"authorization", b"Bearer " + call.token.encode())] if call.token else []
        headers += [(name.lower().encode(), text.encode()) for name, text in call.headers.items()]
        if call.body or call.method in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", str(len(call.body)).encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": call.method,
            "scheme": "http",
            "path": raw.decode(),
            "raw_path": raw,
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("dmp.test", 80),
        }
        sent, left = [], [{"type": "http.request", "body": call.body, "more_body": False}]

        async def receive() -> dict:
            if left:
                return left.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict) -> None:
            sent.append(message)
            if seen is not None and message.get("body"):
                seen.append(message["body"])

        await self.application(scope, receive, send)
        start = next(one for one in sent if one["type"] == "http.response.start")
        body = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
        told = tuple((name.decode(), text.decode()) for name, text in start["headers"] if name not in (b"date", b"x-request-id"))
        return Reply(start["status"], told, body)

    def comparable(self, reply: Reply) -> tuple:
        """What must be the same in both worlds: all of it, the moment inside of page links and the signatures of tokens apart."""
        body = CURSOR.sub(self._without_moment, QUERY.sub(self._traced_without_moment, SIGNED.sub(rb"\1", reply.body)))
        headers = tuple(sorted((name, text) for name, text in reply.headers if name != "content-length" or body is reply.body))
        return reply.status, headers, body

    def _traced_without_moment(self, found: re.Match) -> bytes:
        asked = CURSOR.sub(self._without_moment, base64.b64decode(found[1]))
        return b'"query":"' + base64.b64encode(asked) + b'"'

    def _without_moment(self, found: re.Match) -> bytes:
        opened = self.services.store.vault.open_token(found[1].decode(), PURPOSE)
        if opened is None:
            return found[0]
        moment, *rest = msgspec.msgpack.decode(opened[16:])
        assert moment is None or isinstance(moment, int)
        return b"_cursor=" + base64.urlsafe_b64encode(opened[:16] + msgspec.msgpack.encode(rest))
