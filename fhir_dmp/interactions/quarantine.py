"""FHIR operations $quarantine and $resolve as they are declared; who may ask. The work is in fhir_dmp/exchange/reviewing.py.

https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-quarantine ; https://hl7.org/fhir/R4/patient-operation-match.html (grades)
"""

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement
from fhir_dmp.interactions.context import Answer, Context, admit

LIST_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-quarantine"
RESOLVE_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-resolve"
LIST = (Parameter("source", required=True), Parameter("kind", "code"), Parameter("after", "string"), Parameter("count", "positiveInt"))
RESOLVE = (
    Parameter("source", required=True),
    Parameter("element", "code"),
    Parameter("local", "token"),
    Parameter("code", "token"),
    Parameter("id", "string"),
    Parameter("patient", "token"),
    Parameter("replay", "boolean"),
)
KINDS = ("code", "content", "identity")


async def run(context: Context, url: Url, given: Given) -> Answer:
    """As a part of something else it has no answer."""
    raise FhirError("not-supported", f"`{url.tail[-1]}` is asked for by itself, not within a Bundle")


def admit_staff(context: Context, letter: str) -> None:
    """Administrators of this host; in a sandbox its `system` tokens too. letter: of scopes on everything, s or u."""
    admit(context, None, letter)
    actor = context.actor
    if not ((actor.kind == "operator" and actor.role == "admin") or (context.sandbox and actor.kind == "system")):
        raise enforcement.refused()
