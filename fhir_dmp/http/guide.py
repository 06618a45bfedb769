"""The implementation guide at /ig/: files of a folder that was built beforehand, and nothing else of the disk.

https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests ; built by fhir_dmp/guide/building.py
"""

import asyncio
import mimetypes
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fhir_dmp.guide import sources
from fhir_dmp.http.services import Services

# Scripts and styles of the guide itself; nothing from elsewhere, nothing inline, no form, no frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHED = "public, max-age=300"
WAIT_SECONDS, LOOK_SECONDS = 25, 0.25
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".http": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".tgz": "application/gzip",
}
COMING = """<!doctype html><html lang="fr"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>fhir_dmp</title><h1>Le guide arrive</h1><p>Il est en cours de construction ; cette page se recharge d'elle-même.</p>
<p lang="en">The guide is being built; this page will reload by itself.</p></html>"""


def routes(services: Services) -> list[Route]:
    """/ig/ and everything below."""
    shelf = Shelf(services.settings.data)

    async def guide(request: Request) -> Response:
        return await shelf.answer(request.path_params["name"], request.headers.get("if-none-match", ""))

    async def home(request: Request) -> Response:
        return RedirectResponse("/ig/", 308)

    return [Route("/ig", home, name="guide-home"), Route("/ig/{name:path}", guide, name="guide")]


class Shelf:
    """The files of the guide by name, listed once it is built. A name that is not in the list is no file, whatever dots it has."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.files: dict[str, Path] = {}

    async def answer(self, name: str, known: str) -> Response:
        """The file of this name. known: the ETags the client has."""
        if not self.files and not await self.found():
            return Response(COMING, 503, {"Retry-After": "5", "Refresh": "5", "Content-Security-Policy": POLICY}, "text/html")
        path = self.files.get(name) or self.files.get(f"{name}.html") or self.files.get(f"{name}index.html")
        if path is None and f"{name}/index.html" in self.files:
            return RedirectResponse(f"/ig/{name}/", 308)
        status = 200
        if path is None:
            status, path = 404, self.files["en/404.html" if name.startswith("en/") else "404.html"]
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": CACHED if status == 200 else "no-store"}
        if status == 200:
            headers["ETag"] = etag = f'"{sources.digest()}"'
            if etag in (each.strip().removeprefix("W/") for each in known.split(",")) or known.strip() == "*":
                return Response(status_code=304, headers=headers)
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(path.read_bytes(), status, headers | {"Content-Type": kind})

    async def found(self) -> bool:
        """Wait a little for a guide that is being built; list it when it is there."""
        folder = sources.place(self.data)
        end = time.monotonic() + WAIT_SECONDS
        while not sources.is_built(folder):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        self.files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return True
