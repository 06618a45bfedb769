"""The page at `/`: what this is, with links.

No script, no external address, no cookie.
"""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_dmp import __version__
from fhir_dmp.http.services import Services

ASSETS = Path(__file__).parent / "assets"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
SANDBOX = """<p class="note" lang="fr">Ceci est un bac à sable : rien ici ne concerne une vraie personne.
<span lang="en">This is a sandbox: nothing here is about a real person.</span></p>"""


def routes(services: Services) -> list[Route]:
    """/"""
    text = (ASSETS / "portal.html").read_text("utf-8")
    page = text.replace("{version}", __version__).replace("{sandbox}", SANDBOX if services.settings.sandbox else "").encode()

    async def portal(request: Request) -> Response:
        return Response(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}, media_type="text/html")

    return [Route("/", portal, name="portal")]
