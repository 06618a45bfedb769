"""Whom a search is about: it names one dossier or asks the directory, and gets the sight that goes with it.

IHE MHD Find Document References [ITI-67]; https://profiles.ihe.net/ITI/PCF/
"""

from dataclasses import replace

from fhir_dmp.consent import companions
from fhir_dmp.consent.decide import Decision
from fhir_dmp.fhir.bundle import Pairs
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import enforcement, search_match
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.store.vault import COMMON

NAMING = frozenset({"patient", "subject"})


async def sight(context: Context, type_name: str | None, pairs: Pairs, compartment: tuple[str, str] | None) -> Sight:
    """What a search may show. It names one dossier, or asks the directory; anything else is refused."""
    if context.enforcer is None:
        return UNRESTRICTED
    if compartment is not None and compartment[0] != "Patient":
        raise enforcement.refused()
    if compartment is None and type_name in enforcement.PUBLIC:
        return Sight(_public, lambda row: row.dossier == COMMON and row.type in enforcement.PUBLIC)
    named = {compartment[1]} if compartment is not None else await patients_named(context, type_name, pairs)
    if len(named) != 1:
        raise enforcement.refused()
    met = await enforcement.of_patient(context, named.pop())
    if type_name is None:
        if all(isinstance(met.left(name), Decision) for name in (*companions.SEEN_AS, enforcement.DOCUMENTS)):
            raise enforcement.refused()
    elif type_name not in enforcement.PUBLIC and isinstance(met.left(type_name), Decision):
        raise enforcement.refused()
    return met.sight


def _public(type_name: str | None) -> dict:
    if type_name is None:
        return {"$and": [{"d": COMMON}, {"t": {"$in": sorted(enforcement.PUBLIC)}}]}
    return {"$and": [{"d": COMMON}]} if type_name in enforcement.PUBLIC else enforcement.NOTHING


async def patients_named(context: Context, type_name: str | None, pairs: Pairs) -> set[str]:
    """Logical ids of the patients that criteria name, each in its own words; more than one, or none, names no dossier."""
    found: list[set[str]] = []
    for name, text in pairs:
        base, _, chain = name.partition(".")
        code, _, modifier = base.partition(":")
        if type_name == "Patient" and name in ("_id", "identifier"):
            base, code, modifier, chain = "patient", "patient", "", "identifier" if name == "identifier" else ""
        if code not in NAMING or chain not in ("", "identifier") or modifier not in ("", "Patient", "identifier"):
            continue
        if chain or modifier == "identifier":
            found.append(await holders(context, text))
        else:
            found.append({one for part in text.split(",") if (one := _patient_id(context, part))})
    return set.intersection(*found) if found and all(len(one) == 1 for one in found) else set()


def _patient_id(context: Context, text: str) -> str:
    said = parse_reference(text if "/" in text else f"Patient/{text}", (context.base_url,))
    return said.id if said.kind == "local" and said.type == "Patient" else ""


async def holders(context: Context, token: str) -> set[str]:
    """Logical ids of the Patients that carry an identifier, "system|value"."""
    plain = replace(context, enforcer=None)
    return {id for id, _ in await search_match.run(plain, "Patient", (("identifier", token),), 2)}
