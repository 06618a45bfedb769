"""Names of professionals, structures and relatives, as the directory of this host and the dossier know them.

https://interop.esante.gouv.fr/ig/fhir/annuaire
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fhir_dmp.dmp.identity import FINESS, IDNPS, IDNST, RPPS, known_as
from fhir_dmp.fhir import json
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import Sight
from fhir_dmp.interactions.search_type import search

AT_ONCE = 40


async def names(context: Context, wanted: Iterable[str], sight: Sight) -> dict[str, str]:
    """Names of whom the directory knows among these "ps:IDNPS", "org:IDNST" and "RelatedPerson/id". sight: on the dossier."""
    found: dict[str, str] = {}
    listed = sorted(set(wanted))
    for mark, type_name in (("ps:", "Practitioner"), ("org:", "Organization")):
        known = [one for one in listed if one.startswith(mark)]
        for start in range(0, len(known), AT_ONCE):
            part = known[start : start + AT_ONCE]
            for resource in await _identified(context, type_name, part):
                name = name_of(resource)
                if name:
                    found |= {one: name for one in known_as(resource.get("identifier") or ()) if one in part}
    vault = context.store.vault
    related = {vault.locate("RelatedPerson", one.partition("/")[2]): one for one in listed if one.startswith("RelatedPerson/")}
    for key, row in (await context.reads.load_many(related)).items() if related else ():
        if row.type == "RelatedPerson" and row.body is not None and not row.deleted and sight.sees(row):
            found[related[key]] = name_of(json.parse(row.body))
    return {one: name for one, name in found.items() if name}


async def _identified(context: Context, type_name: str, wanted: list[str]) -> list[dict[str, Any]]:
    # The directory is open to whoever has a token, so it is searched without asking who that is.
    plain = replace(context, enforcer=None, actor=replace(context.actor, scopes=None))
    tokens = ",".join(token for one in wanted for token in spellings(one))
    result = await search(plain, type_name, (("identifier", tokens), ("_count", str(2 * AT_ONCE)), ("_total", "none")))
    return [json.parse(entry.body) for entry in result.entries if entry.mode == "match"]


def spellings(name: str) -> tuple[str, ...]:
    """Identifiers under which a directory may list somebody.

    >>> spellings("ps:810001234567")
    ('urn:oid:1.2.250.1.71.4.2.1|810001234567', 'https://rpps.esante.gouv.fr|10001234567')
    """
    mark, _, value = name.partition(":")
    system, older, digit = (IDNPS, RPPS, "8") if mark == "ps" else (IDNST, FINESS, "1")
    return (f"{system}|{value}", *((f"{older}|{value[1:]}",) if value.startswith(digit) else ()))


def name_of(resource: Mapping[str, Any]) -> str:
    """How people call a person or an organisation; "" when it does not say.

    >>> name_of({"name": [{"family": "Martin", "given": ["Jeanne", "Marie"], "prefix": ["Dr"]}]}), name_of({"name": "Clinique"})
    ('Dr Jeanne Martin', 'Clinique')
    """
    said = resource.get("name")
    if isinstance(said, str):
        return said
    listed = sorted(said or (), key=lambda one: (one.get("use") in ("old", "maiden"), one.get("use") not in ("usual", "official")))
    for one in listed:
        parts = (*(one.get("prefix") or ())[:1], *(one.get("given") or ())[:1], one.get("family", ""))
        name = one.get("text") or " ".join(part for part in parts if part)
        if name:
            return name
    return ""
