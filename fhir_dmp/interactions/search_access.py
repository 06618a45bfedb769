"""Whom a search is about: it names one dossier or asks the directory, and gets the sight that goes with it.

IHE MHD Find Document References [ITI-67]; https://profiles.ihe.net/ITI/PCF/
"""

from dataclasses import replace
from urllib.parse import quote

from fhir_dmp.consent import companions
from fhir_dmp.consent.asking import asking
from fhir_dmp.consent.decide import Decision
from fhir_dmp.dmp import identity
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Pairs, Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.fhir.references import is_id, parse_reference
from fhir_dmp.interactions import enforcement, merged, read, search_match
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON

NAMING = frozenset({"patient", "subject"})
PREFIXES = tuple(NAMING)
# Patients with one identifier that are looked at to find whose it is.
MOST = 20


async def recognised(context: Context) -> Context:
    """The context of the holder of an INS, whose token names no logical id: with that of his dossier, if he has one."""
    found = await holders(context, "|".join(context.actor.ins))
    patient = next(iter(found)) if len(found) == 1 else ""
    return replace(context, enforcer=replace(context.enforcer, request=asking(context.actor, patient=patient)))


def completed(context: Context, type_name: str | None, pairs: Pairs) -> Pairs:
    """Criteria as PDSm reads them: of documents and lists an absent `status` means current."""
    if context.enforcer is None or type_name not in ("DocumentReference", "List"):
        return pairs
    return pairs if [1 for name, _ in pairs if name.partition(":")[0] == "status"] else (*pairs, ("status", "current"))


async def sight(context: Context, type_name: str | None, pairs: Pairs, compartment: tuple[str, str] | None) -> Sight:
    """What a search may show. It names one dossier, or asks the directory; anything else is refused."""
    if context.enforcer is None:
        return UNRESTRICTED
    if compartment is not None and compartment[0] != "Patient":
        raise enforcement.refused()
    if compartment is None and type_name in enforcement.PUBLIC:
        return public_sight()
    named = {compartment[1]} if compartment is not None else await patients_named(context, type_name, pairs)
    if len(named) != 1:
        raise enforcement.refused()
    met = await enforcement.of_patient(context, named.pop(), traces=_may_touch_traces(type_name, pairs))
    if type_name is None:
        if all(isinstance(met.left(name), Decision) for name in (*companions.SEEN_AS, enforcement.DOCUMENTS)):
            raise enforcement.refused()
    elif type_name not in enforcement.PUBLIC and isinstance(met.left(type_name), Decision):
        raise enforcement.refused()
    return met.sight


def _may_touch_traces(type_name: str | None, pairs: Pairs) -> bool:
    """Whether a search may show traces or be decided by them: of their type or of all, naming them, or including whatever there is."""
    if type_name in (None, enforcement.TRACE):
        return True
    for name, text in pairs:  # noqa: SIM110  (without a generator: this runs for every search)
        if enforcement.TRACE in name or enforcement.TRACE in text or "*" in text:
            return True
    return False


def _public(type_name: str | None) -> dict:
    if type_name is None:
        return {"$and": [{"d": COMMON}, {"t": {"$in": sorted(enforcement.PUBLIC)}}]}
    return {"$and": [{"d": COMMON}]} if type_name in enforcement.PUBLIC else enforcement.NOTHING


async def patients_named(context: Context, type_name: str | None, pairs: Pairs) -> set[str]:
    """Logical ids of the patients that criteria name, each in its own words; more than one, or none, names no dossier."""
    found: list[set[str]] = []
    for name, text in pairs:
        if type_name != "Patient" and not name.startswith(PREFIXES):
            continue
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
    return set.intersection(*found) if found and all([len(one) == 1 for one in found]) else set()


def _patient_id(context: Context, text: str) -> str:
    said = parse_reference(text if "/" in text else f"Patient/{text}", (context.base_url,))
    return said.id if said.kind == "local" and said.type == "Patient" else ""


async def holders(context: Context, token: str) -> set[str]:
    """Logical ids of the Patients that carry an identifier, "system|value"; of one that was joined to another, of that one.

    Whose INS in force it is has it alone, whoever else had it once or calls something by the same number.
    """
    plain = replace(context, enforcer=None)
    found = [id for id, _ in await search_match.run(plain, "Patient", (("identifier", token),), MOST)]
    if len(found) > 1:
        system, _, number = token.rpartition("|")
        rows = await context.reads.load_many(context.store.vault.locate("Patient", id) for id in found)
        own = {key: identity.ins_of(json.parse(row.body)) for key, row in rows.items() if row.body is not None}
        found = [
            id
            for id in found
            if any(one.value == number and system in ("", one.system) for one in own.get(context.store.vault.locate("Patient", id), ()))
        ] or found
    return {(await merged.survivor(plain, id))[0] for id in found}


def address_of(context: Context, type_name: str, pairs: Pairs) -> str:
    """Absolute address of a search as it was asked."""
    return f"{context.base_url}/{type_name}?" + "&".join(f"{quote(name)}={quote(text, safe=':._-,|/')}" for name, text in pairs)


# ---- operations


async def of_patient(context: Context, url: Url, given: Given) -> Sight:
    """Of an operation on Patient/[id]."""
    if context.enforcer is None:
        return UNRESTRICTED
    return _of(await enforcement.of_patient(context, url.id))


def _of(met: enforcement.Known) -> Sight:
    if any(isinstance(met.left(name), Decision) for name in (enforcement.DOCUMENTS, "Patient")):
        raise enforcement.refused()
    return met.sight


async def of_copy(context: Context, url: Url, given: Given) -> Sight:
    """The same of an operation that copies the whole dossier: its holder keeps that when it is closed."""
    if context.enforcer is None:
        return UNRESTRICTED
    met = await enforcement.of_patient(context, url.id)
    met.copying()
    return _of(met)


async def of_instance(context: Context, url: Url, given: Given) -> Sight:
    """Of an operation on one resource, or on one that a parameter `id` names: what may not be read is not there."""
    id = url.id or (given.one("id") or "").rpartition("/")[2]
    if context.enforcer is None:
        return UNRESTRICTED
    if not is_id(id):
        return _nothing()
    ledger = context.enforcer.ledger
    before = ledger.patient, dict(ledger.addressed), ledger.kept
    row, met = await read.seen(context, url.type, id)
    if row is None and url.tail[-1:] == ("$validate",):
        # It answers 200 also where there is nothing: its trace would tell the asker that there is something.
        ledger.patient, ledger.addressed, ledger.kept = before
    if row is None or met is None:
        return _nothing() if row is None else public_sight()
    # What was withdrawn is read by its id, and found by no search.
    return Sight(met.filter, lambda one: one.key == row.key or met.sees(one), met)


async def of_search(context: Context, url: Url, given: Given) -> Sight:
    """Of an operation that names its patient as a search does."""
    return await sight(context, url.type, given.pairs, None)


async def of_staff(context: Context, url: Url, given: Given) -> Sight:
    """Of an operation over all patients: for this host's administrators and for systems that import."""
    asked = context.enforcer.request if context.enforcer is not None else None
    if asked is not None and not (asked.kind in ("host", "feed") or (asked.kind == "operator" and asked.role == "admin")):
        raise enforcement.refused()
    return UNRESTRICTED


async def of_nobody(context: Context, url: Url, given: Given) -> Sight:
    """Of an operation that tells nothing of any patient, or asks the rules by itself."""
    return UNRESTRICTED


def _nothing() -> Sight:
    return Sight(lambda type_name: enforcement.NOTHING, lambda row: False)


def public_sight() -> Sight:
    """The directory and terminology, for whoever has a token."""
    return Sight(_public, _is_public)


def _is_public(row: Row) -> bool:
    return row.dossier == COMMON and row.type in enforcement.PUBLIC
