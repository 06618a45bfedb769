"""Requests to the application within this process: the demonstration goes through every rule, without a port.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fhir_dmp.app import create
from fhir_dmp.commands import Failed
from fhir_dmp.settings import Settings


@dataclass(frozen=True, slots=True)
class Caller:
    """One application that is up."""

    app: Any

    async def ask(self, method: str, path: str, token: str, body: object = None, kind: str = "application/fhir+json") -> tuple[int, Any]:
        """Status and resource of the answer, None where it has none. path: below [base], with its query. body: None for none."""
        address, _, query = f"/fhir/{path}".partition("?")
        sent = b"" if body is None else json.dumps(body).encode()
        headers = [(b"host", b"demo.invalid"), (b"authorization", b"Bearer " + token.encode()), (b"content-length", b"%d" % len(sent))]
        if sent:
            headers.append((b"content-type", kind.encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": address,
            "raw_path": address.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 0),
            "server": ("demo.invalid", 80),
        }
        messages: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: dict) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in messages[1:])
        return messages[0]["status"], json.loads(content) if content else None

    async def done(self, method: str, path: str, token: str, body: object = None, kind: str = "application/fhir+json") -> Any:
        """The same, when it must succeed."""
        status, value = await self.ask(method, path, token, body, kind)
        if status >= 300:
            raise Failed(
                f"the demonstration cannot be told: {method} {path.partition('?')[0]} was answered {status} {json.dumps(value)[:400]}"
            )
        return value


@asynccontextmanager
async def calling(settings: Settings) -> AsyncIterator[Caller]:
    """The application of these settings, up for as long as it is called. mongodb_uri must be set."""
    app = create(settings)
    come: asyncio.Queue[dict] = asyncio.Queue()
    gone: asyncio.Queue[dict] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, come.get, gone.put))
    come.put_nowait({"type": "lifespan.startup"})
    if (answer := await gone.get())["type"] != "lifespan.startup.complete":
        raise Failed(f"the store cannot be opened: {answer.get('message', '')}")
    try:
        yield Caller(app)
    finally:
        come.put_nowait({"type": "lifespan.shutdown"})
        await life
