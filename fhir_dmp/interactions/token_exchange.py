"""The token endpoint: a token of this host for an assertion of an issuer it trusts, each assertion once.

https://www.rfc-editor.org/rfc/rfc7523 ; https://www.rfc-editor.org/rfc/rfc6749#section-5
"""

from typing import NamedTuple

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import actor as actors
from fhir_dmp.identity import assertions
from fhir_dmp.interactions import login
from fhir_dmp.interactions.login import Caller, Desk


class Exchanged(NamedTuple):
    """token, its lifetime in seconds, and the scopes it carries, "" for none."""

    token: str
    seconds: int
    scope: str


async def run(desk: Desk, assertion: str, *, scope: str, client_id: str, audiences: frozenset[str], caller: Caller) -> Exchanged:
    """Exchange an assertion; 401 when it is not usable, or was used; 429 when too many from one address were not.

    client_id: as the client names itself, believed where the assertion names none. audiences: names of the token endpoint.
    """
    # Counted before anything is tried. What is usable is taken back: all of a hospital may come from one address.
    refusals = desk.credentials.hashed("refused from", login.network(caller.address))
    await login.at_most(desk, (refusals, desk.settings.login_address_attempts))
    try:
        asserted = await assertions.verify(desk.tokens, assertion, desk.now_ms(), audiences, scope)
    except FhirError as error:
        if error.kind == "login":
            error = unusable(error.message.partition(": ")[2])
            if assertions.is_one(assertion):
                await desk.trace(caller, None, error.message)
        else:
            await desk.credentials.take_back(refusals)
        raise error from None
    name = desk.credentials.hashed("assertion", *asserted.once)
    life_ms = max(asserted.until_ms - desk.now_ms(), 0) + 1000
    used = (await desk.credentials.count(name, desk.now_ms(), life_ms)).times > 1
    # What was counted before a restore may have been lost with the database.
    if used or asserted.since_ms <= (await desk.credentials.restored()).at_ms:
        error = unusable("it was used before")
        await desk.trace(caller, None, error.message)
        raise error
    await desk.credentials.take_back(refusals)
    claims = {**({"client_id": client_id} if client_id else {}), **asserted.claims}
    token, actor = await desk.issued(assertions.KIND, claims)
    await desk.trace(caller, None, "", actor)
    return Exchanged(token, desk.settings.session_seconds, str(claims.get("scope", "")))


def unusable(reason: str) -> FhirError:
    """The error that OAuth calls invalid_grant, in the words and with the status of a token that cannot be used."""
    return FhirError("login", f"invalid_grant: assertion: {reason}", headers=actors.CHALLENGE)
