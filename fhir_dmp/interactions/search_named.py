"""Which dossier criteria name: by the id of its Patient, or by an identifier that he carries.

A number that nobody has is met as that of a dossier that refuses, in as many steps (access-rules 6). Of several who carry one those count
in whose dossiers the asker may search: whoever opens a dossier under the numbers of others would learn which of them have one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fhir_dmp.consent import companions
from fhir_dmp.consent.asking import author_here
from fhir_dmp.consent.decide import Decision
from fhir_dmp.consent.predicate import hashed
from fhir_dmp.dmp import identity
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Pairs
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import enforcement, merged, search_match, standing_in
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_rows import public_id
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON

NAMING = frozenset({"patient", "subject"})
PREFIXES = tuple(NAMING)
# How a Patient is named by its own criteria.
OF_PATIENT = {"_id": "patient", "identifier": "patient.identifier"}


class Carrier(NamedTuple):
    """A Patient who carries an identifier; of one that was joined to another, that one. in_force: it is his INS now."""

    id: str
    row: Row
    in_force: bool


async def met(context: Context, type_name: str | None, pairs: Pairs, *, traces: bool = True) -> enforcement.Known | None:
    """The dossier that criteria name, as the asker meets it, also one that refuses; that of nobody where they fit no one.

    None where they name no patient. 403 where they name several. traces: as in `enforcement.known`.
    """
    ids, tokens = _said(context, type_name, pairs)
    if not (ids or tokens):
        return None
    if len(set(ids)) > 1 or "" in ids:
        raise enforcement.refused()
    named = ids[0] if ids else None
    for token in tokens:
        named = await _patient(context, type_name, token, named)
    return await enforcement.of_patient(context, named or standing_in.PATIENT, traces=traces)


def refuses(dossier: enforcement.Known, type_name: str | None) -> bool:
    """Whether the rules refuse to search it for a type, or for all."""
    if type_name is None:
        return all(isinstance(dossier.left(name), Decision) for name in (*companions.SEEN_AS, enforcement.DOCUMENTS))
    return type_name not in enforcement.PUBLIC and isinstance(dossier.left(type_name), Decision)


async def holders(context: Context, token: str) -> set[str]:
    """Logical ids of the Patients that carry an identifier, "system|value"; of one that was joined to another, of that one.

    Whose INS in force it is has it alone, whoever else had it once or calls something by the same number.
    """
    return {one.id for one in _own(await _carriers(context, token))}


async def in_force(context: Context, system: str, value: str) -> set[str]:
    """The same of those alone whose INS it is now."""
    return {one.id for one in await _carriers(context, f"{system}|{value}") if one.in_force}


def by_id(pairs: Pairs, patient: str) -> Pairs:
    """Criteria that name a dossier, by the id of its Patient: whom nothing but what he wrote himself lets in does not see his numbers.

    patient: id of the one whom they name.
    """
    chained = [_names(name) and "." in name for name, _ in pairs]
    if not any(chained):
        return pairs
    return [(one[0].split(".")[0].split(":")[0], f"Patient/{patient}") if by else one for one, by in zip(pairs, chained, strict=True)]


def _names(name: str) -> bool:
    """Whether a criterion of something else than a Patient names one, and asks nothing more."""
    if not name.startswith(PREFIXES):
        return False
    base, _, chain = name.partition(".")
    code, _, modifier = base.partition(":")
    return code in NAMING and chain in ("", "identifier") and modifier in ("", "Patient", "identifier")


def _said(context: Context, type_name: str | None, pairs: Pairs) -> tuple[list[str], list[str]]:
    """Ids of the patients that criteria name, "" for each that is none or several; identifiers by which they name them."""
    ids, tokens = [], []
    for name, text in pairs:
        asked = OF_PATIENT.get(name, name) if type_name == "Patient" else name
        if not _names(asked):
            continue
        if "identifier" in asked:
            tokens.append(text)
        else:
            found = {one for part in text.split(",") if (one := _patient_id(context, part))}
            ids.append(found.pop() if len(found) == 1 else "")
    return ids, tokens


def _patient_id(context: Context, text: str) -> str:
    said = parse_reference(text if "/" in text else f"Patient/{text}", (context.base_url,))
    return said.id if said.kind == "local" and said.type == "Patient" else ""


async def _patient(context: Context, type_name: str | None, token: str, named: str | None) -> str:
    """The logical id of the one whom an identifier names to the asker, "" where it is nobody, or none of several. named: who it must be."""
    found = [one for one in await _carriers(context, token) if named in (None, one.id)]
    by_ins = identity.is_ins(*token.split("|", 1)) if "|" in token else False
    found = _own(found) if by_ins else found
    # Nobody brings the INS of somebody else into a dossier of his own. Any other number is judged however many carry it.
    if not by_ins or len(found) > 1:
        searched = await _searchable(context, type_name, found)
        if len(_own(searched)) > 1:
            raise enforcement.refused()
        found = searched or found
    found = _own(found)
    return found[0].id if len(found) == 1 else ""


def _own(found: list[Carrier]) -> list[Carrier]:
    return [one for one in found if one.in_force] or found


async def _searchable(context: Context, type_name: str | None, found: Sequence[Carrier]) -> list[Carrier]:
    """Those in whose dossiers he may search, by as many steps whoever they are and how many. Nothing is noted of any."""
    wrote = await _authored_in(context, [one.row.dossier for one in found])
    searched = []
    for one in found:
        inside = await enforcement.known(enforcement.apart(context), one.row.dossier, row=one.row, authored=False)
        if one.row.dossier in wrote and inside.policy is not None and inside.stance.unrelated:
            inside.request = author_here(inside.request)
        if not refuses(inside, type_name):
            searched.append(one)
    return searched


async def _authored_in(context: Context, numbers: Sequence[int]) -> frozenset[int]:
    """Those of several dossiers in which a professional wrote something; looked for too where there are none."""
    request = context.enforcer.request
    if request.kind != "professional" or not request.person:
        return frozenset()
    author = hashed("author", request.person, context.store.vault.hash64)
    asked = {"types": enforcement.CARRIERS, "dossiers": tuple(numbers) or (COMMON,), "batch": enforcement.AT_ONCE, "bodies": False}
    return frozenset([row.dossier async for row in context.reads.scan({"y.au": author}, **asked)])


async def _carriers(context: Context, token: str) -> list[Carrier]:
    plain = context.but(enforcer=None)
    keys = await search_match.keys_of(plain, "Patient", token)
    # What nobody has is looked for, too.
    rows = await plain.reads.load_many(keys or [plain.store.vault.locate("Patient", standing_in.PATIENT)])
    system, _, number = token.rpartition("|")
    found: dict[str, Carrier] = {}
    for row in rows.values():
        if row.body is None or row.deleted:
            continue
        mine = any(one.value == number and system in ("", one.system) for one in identity.ins_of(json.parse(row.body)))
        id, last = await merged.survivor(plain, public_id(plain, row), row)
        if last is not None:
            found[id] = Carrier(id, last, mine or (id in found and found[id].in_force))
    return list(found.values())
