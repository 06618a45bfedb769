"""Of whom a deposit is, where it says so by the INS alone: the dossier of that INS, as if the Patient had been named.

PDSm and MHD: subject may be a logical reference, https://hl7.org/fhir/R4/references.html#logical

An INS without a dossier meets the same refusal as a dossier that is closed to the depositor.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fhir_dmp.dmp import identity
from fhir_dmp.fhir import bundle, json
from fhir_dmp.interactions import enforcement, search_access
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.prepare import Checked, check

NAMES = ("subject", "patient")


async def named(context: Context, checked: Checked) -> Checked:
    """The resource with a reference to the Patient that its INS means."""
    found = await _meant(context, checked.value)
    if not found:
        return checked
    body = json.set_members(checked.body, {name: json.dump(reference) for name, reference in found.items()})
    return check(context, body, checked.type)


async def named_in(context: Context, plan: bundle.Plan) -> bundle.Plan:
    """The same of every resource that a transaction creates."""
    entries = []
    for entry in plan.entries:
        found = await _meant(context, entry.resource) if entry.creates and entry.resource is not None else {}
        entries.append(replace(entry, resource={**entry.resource, **found}) if found else entry)
    return replace(plan, entries=tuple(entries))


async def _meant(context: Context, value: Mapping[str, Any]) -> dict[str, dict]:
    found = {}
    for name in NAMES:
        told = value.get(name)
        identifier = told.get("identifier") if isinstance(told, dict) and "reference" not in told else None
        if not isinstance(identifier, dict):
            continue
        system, number = identifier.get("system"), identifier.get("value")
        if not (isinstance(system, str) and isinstance(number, str) and system in identity.INS_SYSTEMS):
            continue
        holders = await search_access.holders(context, f"{system}|{number}") if identity.is_ins(system, number) else set()
        if len(holders) != 1:
            raise enforcement.refused()
        found[name] = {"reference": f"Patient/{next(iter(holders))}", **told}
    return found
