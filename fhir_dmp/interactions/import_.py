"""FHIR operation $import as it is declared; who may ask for it. The work is in fhir_dmp/exchange/import_job.py.

https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-import
"""

from fhir_dmp.consent.access import REFUSED
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions.context import Answer, Context, admit

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-import"
PARAMETERS = (Parameter("source", required=True),)
SENDERS = ("host", "feed")


async def run(context: Context, url: Url, given: Given) -> Answer:
    """As a part of something else an import has no answer."""
    raise FhirError("not-supported", "an import is asked for by itself: POST [base]/$import?source=...")


# What an import does, as letters of scopes on everything, by method.
LETTERS = {"POST": "cu", "DELETE": "u"}


def admit_sender(context: Context, method: str) -> None:
    """Other hosts and the feed of the Assurance Maladie send; in a sandbox its `system` tokens too. Scopes narrow that."""
    for letter in LETTERS.get(method, "s"):
        admit(context, None, letter)
    if context.actor.kind not in SENDERS and not (context.sandbox and context.actor.kind == "system"):
        raise FhirError("forbidden", REFUSED)
