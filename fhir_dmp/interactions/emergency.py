"""Operation Patient/[id]/$break-glass: an emergency access of an hour, traced before it is given, told to holder and médecin traitant.

Code de la santé publique L1111-17 I, R1111-48; IHE BALP; https://hl7.org/fhir/R4/security.html#break-the-glass
"""

from fhir_dmp.consent import break_glass
from fhir_dmp.consent.notices import EMERGENCY
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement, keeping, notices, policy, reviewing, rights, tracing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.enforcement import settle
from fhir_dmp.interactions.request_ledger import BROKEN_GLASS
from fhir_dmp.store.vault import dossier_row

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-break-glass"
PARAMETERS = (Parameter("justification", "text"),)


async def run(context: Context, url: Url, given: Given) -> Answer:
    """Parameters `expires` and `grant`. 422 without justification, 403 for who may not or is opposed, 409 for who has access already."""
    admit(context, "Patient", "u")
    if context.enforcer is None:
        raise FhirError("not-supported", "who meets no rule breaks no glass")
    justification = (given.one("justification") or "").strip()
    met = await enforcement.of_patient(context, url.id)
    settle(met.decide("break-glass", justification=justification))
    context.enforcer.ledger.purposes = BROKEN_GLASS
    asked = f"Patient/{url.id}/$break-glass?justification={justification}"
    if context.recorder is not None:
        await context.recorder.record([tracing.trace(context, "break-glass", patient=met.patient, query=asked)])
    context.enforcer.ledger.written = True

    async def work(inside: Context) -> Answer:
        now = await enforcement.of_patient(inside, url.id)
        decision = settle(now.decide("break-glass", justification=justification))
        grant = break_glass.granted(now.request, inside.random(16).hex(), now.now_ms, now.law)
        await policy.recompute(inside, now.number, grants=(*now.policy.grants, grant), at_ms=now.now_ms)
        await notices.of_act(inside, now, decision, code=EMERGENCY, why=justification)
        reviewing.noted(inside, now, decision, why=justification)
        await reviewing.store(inside, reviewing.taken(inside))
        await keeping.acted(inside, "emergency", {dossier_row(now.number)})
        found = [{"name": "expires", "valueInstant": to_instant(grant.until_ms)}, {"name": "grant", "valueId": grant.id}]
        return Answer(200, json.dump({"resourceType": "Parameters", "parameter": found}))

    return await rights.together(context, met.number, work)
