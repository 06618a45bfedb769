"""Whom a search is about: it names one dossier or asks the directory, and gets the sight that goes with it.

IHE MHD Find Document References [ITI-67]; https://profiles.ihe.net/ITI/PCF/
"""

from dataclasses import replace
from urllib.parse import quote

from msgspec import structs

from fhir_dmp.consent.asking import asking
from fhir_dmp.consent.decide import Decision
from fhir_dmp.dmp import identity
from fhir_dmp.fhir.bundle import Pairs, Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.fhir.references import is_id
from fhir_dmp.interactions import enforcement, read, search_named
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON


async def recognised(context: Context) -> Context:
    """The context of the holder of an INS, whose token names no logical id: with that of his dossier, if he has one.

    His own INS, in force: by a number that was his once, or that a hospital calls him by, somebody else may be known.
    """
    found = await search_named.in_force(context, *context.actor.ins) if identity.is_ins(*context.actor.ins) else set[str]()
    patient = next(iter(found)) if len(found) == 1 else ""
    return replace(context, enforcer=structs.replace(context.enforcer, request=asking(context.actor, patient=patient)))


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
    traces = _may_touch_traces(type_name, pairs)
    if compartment is not None:
        met = await enforcement.of_patient(context, compartment[1], traces=traces)
    else:
        met = await search_named.met(context, type_name, pairs, traces=traces)
    if met is None or search_named.refuses(met, type_name):
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
