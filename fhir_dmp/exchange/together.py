"""What the units of a run ask the store for, asked for all of them at once: who has these numbers, which documents point to these contents.

https://hl7.org/fhir/R4/search.html#token ; https://hl7.org/fhir/R4/documentreference-definitions.html#DocumentReference.content.attachment.url

Nothing else becomes of it: who is not found so is looked for by himself, and what is not known of a content is asked of it alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import people
from fhir_dmp.exchange.referring import BINARY, DOCUMENT, PATIENT
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_rows import limits_of, matching
from fhir_dmp.interactions.search_sight import UNRESTRICTED
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import AnyOf, Has, TokenIs, UriIs, simplified
from fhir_dmp.store.rows import Row

AT_ONCE = 100
# Documents that are read for contents; more are asked for content by content.
DOCUMENTS = 1000


async def numbered(context: Context, rules: Rules, asked: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Patients who have a number in common with one of these, by which a source may name its people. Nobody where too many have."""
    numbers = dict.fromkeys(number for one in asked for number in people.numbers(one, rules))
    found: list[Row] = []
    for part in _parts(list(numbers)):
        wanted = simplified(AnyOf(tuple(Has("identifier", TokenIs(system, value.casefold())) for system, value in part)))
        try:
            found += [each.row for each in await matching(context, [(PATIENT, wanted)], UNRESTRICTED, limit=limits_of(context).candidates)]
        except FhirError as error:
            if error.kind != "too-costly":
                raise
    return list({row.key: row for row in found}.values())


async def pointing(context: Context, contents: Mapping[str, int]) -> dict[str, list[Row]]:
    """Documents that point to each of these contents in their dossiers, newest first. contents: id -> number of its dossier.

    What is left out is to be asked for alone.
    """
    found: dict[str, list[Row]] = {}
    for part in _parts(list(contents)):
        dossiers = sorted({contents[id] for id in part})
        try:
            rows = await context.store.find(_pointing_to(context, part), types=(DOCUMENT,), dossiers=dossiers, limit=DOCUMENTS)
        except FhirError as error:
            if error.kind != "too-costly":
                raise
            continue
        if len(rows) < DOCUMENTS:
            here: dict[str, list[Row]] = {id: [] for id in part}
            for row in rows:
                for id in here.keys() & _contents(context, row):
                    if contents[id] == row.dossier:
                        here[id].append(row)
            found |= here
    return found


async def pointing_to_one(context: Context, id: str, dossier: int) -> list[Row]:
    """The same of one content, their bodies closed."""
    return await context.store.find(_pointing_to(context, [id]), types=(DOCUMENT,), dossiers=(dossier,), limit=DOCUMENTS, bodies=False)


def _pointing_to(context: Context, ids: Iterable[str]) -> dict[str, Any]:
    vault = context.store.vault
    wanted = (Has("location", UriIs(f"{base}{BINARY}/{id}")) for id in ids for base in ("", f"{context.base_url}/"))
    return narrow.to_mongo(AnyOf(tuple(wanted)), DOCUMENT, vault.hash64, vault.locate).filter


def _contents(context: Context, row: Row) -> set[str]:
    """Ids of the Binaries that a document of this host points to."""
    urls = (content.get("attachment", {}).get("url", "") for content in json.parse(row.body or b"{}").get("content") or ())
    said = (parse_reference(url, (context.base_url,)) for url in urls if url)
    return {one.id for one in said if one.kind == "local" and one.type == BINARY}


def _parts(listed: list) -> Iterable[list]:
    return (listed[start : start + AT_ONCE] for start in range(0, len(listed), AT_ONCE))
