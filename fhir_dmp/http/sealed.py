"""The seal of a message received over HTTP: verified before anything of the body is parsed.

https://www.rfc-editor.org/rfc/rfc7515#appendix-F ; see signing.message
"""

from dataclasses import replace

from starlette.requests import Request

from fhir_dmp.http.services import Services
from fhir_dmp.interactions.context import Context
from fhir_dmp.signing import message


async def received(request: Request, services: Services, context: Context, body: bytes, *, is_bundle: bool = False) -> Context:
    """With what is known of the message. 422 when its seal is wrong, or absent where it must be there."""
    if context.enforcer is None:
        return context
    headers = request.headers.getlist(message.HEADER)
    if len(headers) > 1:
        raise message.wrong("the request carries several")
    actor = context.actor
    speaks_for = tuple(one for one in (actor.organization, actor.host) if one)
    sealed = {"kind": actor.kind, "speaks_for": speaks_for, "now_ms": context.now_ms()}
    found = await services.signers.check("".join(headers), body, is_bundle, **sealed)
    return replace(context, message=found.sender if is_bundle else found)
