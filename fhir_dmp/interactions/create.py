"""FHIR create interaction.

https://hl7.org/fhir/R4/http.html#create
"""

from fhir_dmp.interactions import octets, ruled, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.facts import carried_on
from fhir_dmp.interactions.prepare import Checked, check, stamp, written


async def run(context: Context, type_name: str, body: bytes) -> Answer:
    """A new resource; the server chooses its id, whatever the body says."""
    admit(context, type_name, "c")
    return await store(context, check(context, body, type_name))


async def store(context: Context, checked: Checked) -> Answer:
    """A new resource that is already checked."""
    if context.enforcer is not None:
        return await ruled.create_checked(context, checked)
    content = None
    if checked.type == "Binary":
        checked, content = await octets.set_apart(context, checked, None)
    stamped = stamp(context, checked, method="POST", content=content, origin=await carried_on(context, checked.value))
    await writing.write(context, [(stamped.change, stamped.id)])
    return written(stamped, 201)
