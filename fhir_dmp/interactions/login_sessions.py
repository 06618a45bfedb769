"""Sessions of logins: a token of /auth goes with the sheet it was obtained with.

https://pages.nist.gov/800-63-4/sp800-63b.html

A token says which credentials it came from and when they were issued; the row of the dossier says which issue is the last. It is looked up
for these tokens alone, by its key, before anything else is done for whoever bears one: a thief of a sheet could answer the new one with
another in the quarter of an hour that his session has left. No other token costs anything.
"""

from fhir_dmp.errors import FhirError
from fhir_dmp.identity import tokens
from fhir_dmp.identity.actor import Actor
from fhir_dmp.store import credentials
from fhir_dmp.store.credentials import Credential
from fhir_dmp.store.resources import Store


def claim(credential: Credential) -> str:
    """`dmp_session` of the token of somebody who logged in with these credentials."""
    return f"{credential.id}.{credentials.issued_ms(credential)}"


async def check(store: Store, actor: Actor) -> None:
    """Refuse (401) the session of a sheet that was replaced."""
    if actor.session is not None and await credentials.replaced(store, actor.patient, actor.session):
        raise over()


def over() -> FhirError:
    """The session has ended before its time."""
    return tokens.refusal("the sheet that its session began with was replaced, log in with the new one")
