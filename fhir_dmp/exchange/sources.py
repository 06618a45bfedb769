"""The registry of sources: who may send dossiers, under which rules.

https://hl7.org/fhir/R4/conceptmap.html ; known sources in exchange/data/sources.json
"""

import contextlib

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.store.records import Source
from fhir_dmp.store.resources import Store

SANDBOX = "sandbox"


async def rules_of(store: Store, source: str) -> Rules:
    """The rules of a source. Refused when nobody registered it; a sandbox has one of its own."""
    found = await Source.get(source)
    if found is None:
        if source != SANDBOX or not store.sandbox:
            raise FhirError("not-found", f"source `{source}` is not registered in this store")
        with contextlib.suppress(FhirError):  # another import registers it at the same moment
            await Source(id=SANDBOX, name="files given on the command line").insert()
    return Rules(source=source, name="files given on the command line")
