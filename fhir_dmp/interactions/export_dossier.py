"""FHIR operation Patient/[id]/$export-dossier as it is declared; who may ask for it. The work is in fhir_dmp/exchange/package_job.py.

https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-export-dossier ; R1111-40 CSP
"""

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.enforcement import settle

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-export-dossier"
JOINED = "this dossier was joined to another one: that one is exported"
PARAMETERS = (Parameter("recipient", "token", required=True), Parameter("reason"))


async def run(context: Context, url: Url, given: Given) -> Answer:
    """As a part of something else it has no answer."""
    raise FhirError("not-supported", "the package of a dossier is asked for by itself: POST [base]/Patient/[id]/$export-dossier")


async def permitted(context: Context, id: str) -> int:
    """The number of a dossier that the asker may have exported: its gestionnaire, or a host. 403 for anybody else.

    409 for one that was joined to another: what was hidden since is told by that one alone.
    """
    admit(context, None, "r")
    if context.enforcer is None:
        raise FhirError("not-supported", "who meets no rule has no dossier to give away")
    met = await enforcement.of_patient(context, id)
    settle(met.decide("export"))
    if met.policy.joined:
        raise FhirError("conflict", JOINED)
    return met.number
