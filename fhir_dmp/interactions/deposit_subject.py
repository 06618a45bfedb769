"""Of whom a deposit is, where it says so by the INS alone: the dossier of that INS, as if the Patient had been named.

PDSm and MHD: subject may be a logical reference, https://hl7.org/fhir/R4/references.html#logical, or a search by the INS
(`Patient?identifier=SYSTEM|VALUE`), as the existence test asks it: to feed a dossier nobody needs to read it.

An INS without a dossier meets the same refusal as a dossier that is closed to the depositor.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fhir_dmp.dmp import identity
from fhir_dmp.fhir import bundle, json
from fhir_dmp.fhir.references import parse_reference, rewrite
from fhir_dmp.interactions import enforcement, search_named, standing_in
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.prepare import Checked, check

NAMES = ("subject", "patient")


async def named(context: Context, checked: Checked) -> Checked:
    """The resource with a reference to the Patient that its INS means."""
    found, links = await _meant(context, checked.value)
    if not (found or links):
        return checked
    body = json.dump(rewrite(json.parse_exact(checked.body), links)) if links else checked.body
    return check(context, json.set_members(body, {name: json.dump(reference) for name, reference in found.items()}), checked.type)


async def named_in(context: Context, plan: bundle.Plan) -> bundle.Plan:
    """The same of every resource that a transaction creates."""
    entries = []
    for entry in plan.entries:
        creates = entry.creates and entry.resource is not None
        found, links = await _meant(context, entry.resource) if creates else ({}, {})
        entries.append(replace(entry, resource={**rewrite(entry.resource, links), **found}) if found or links else entry)
    return replace(plan, entries=tuple(entries))


async def _meant(context: Context, value: Mapping[str, Any]) -> tuple[dict[str, dict], dict[str, str]]:
    """Members with the reference that their INS means; searches, as written -> the same reference."""
    found, links = {}, {}
    for name in NAMES:
        told = value.get(name)
        if not isinstance(told, dict):
            continue
        asked = told.get("reference")
        token = _sought(asked) if isinstance(asked, str) else _told(told.get("identifier"))
        if token is None:
            continue
        holders = await search_named.holders(context, token) if identity.is_ins(*token.split("|", 1)) else set()
        if len(holders) > 1:
            raise enforcement.refused()
        # Nobody's is looked for, and refused, as that of somebody else.
        reference = f"Patient/{next(iter(holders), standing_in.PATIENT)}"
        if isinstance(asked, str):
            links[asked] = reference
        else:
            found[name] = {"reference": reference, **told}
    return found, links


def _told(identifier: object) -> str | None:
    """SYSTEM|VALUE of a logical reference by an INS."""
    if not isinstance(identifier, dict):
        return None
    system, number = identifier.get("system"), identifier.get("value")
    known = isinstance(system, str) and isinstance(number, str) and system in identity.INS_SYSTEMS
    return f"{system}|{number}" if known else None


def _sought(text: str) -> str | None:
    """The same of a reference that is a search by an INS and nothing else."""
    if "?" not in text:
        return None
    reference = parse_reference(text)
    if reference.kind != "conditional" or reference.type != "Patient":
        return None
    pairs = bundle.parse_query(reference.query)
    token = pairs[0][1] if len(pairs) == 1 and pairs[0][0] == "identifier" else ""
    system, bar, _ = token.partition("|")
    return token if bar and system in identity.INS_SYSTEMS else None
