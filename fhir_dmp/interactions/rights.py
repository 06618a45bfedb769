"""Writes of what rights are made of: Patient, Consent, CareTeam, RelatedPerson, and the notices about them.

https://profiles.ihe.net/ITI/PCF/ ; Code de la santé publique L1111-14 to L1111-19

Who may is decided before what he wrote is judged, in the transaction that stores it: with it the policy is compiled anew, former Consents
are superseded, and those who must be told are told.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from fhir_dmp.consent import directives
from fhir_dmp.consent.directives import EMERGENCIES, INACTIVE, ONE_SPEAKS, WILLS, Directive
from fhir_dmp.consent.predicate import SECRET_SESSION, hashed
from fhir_dmp.dmp import identification
from fhir_dmp.dmp.documents import JUDGED_AS
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import DAY
from fhir_dmp.interactions import (
    depositing,
    directory_entries,
    enforcement,
    facts,
    keeping,
    notices,
    rights_people,
    shown,
    writing,
    written_back,
)
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import Known, settle
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.prepare import Checked, Place, check, place_of, stamp, written
from fhir_dmp.store.joining import rights_of
from fhir_dmp.store.rows import Change, Row
from fhir_dmp.store.vault import COMMON

TYPES = frozenset({"Patient", "Consent", "CareTeam", "RelatedPerson", "Communication"})

# category of a Consent -> the act that writing it is
ACTS = {
    "access": "authorise",
    "administrator": "give-traitant-rights",
    "block": "block",
    "mask": "mask-by-rule",
    "mandate": "appoint-mandataire",
    **dict.fromkeys(EMERGENCIES, "emergency-consents"),
    **dict.fromkeys(("reimbursement", "takeover", "feed"), "permit-use"),
    WILLS: "wills",
}
KIND = "consent"
DOCUMENT = "DocumentReference"
# What a mask by rule may name.
MASKABLE = frozenset({DOCUMENT, *JUDGED_AS})


async def on_create(context: Context, checked: Checked, id: str | None = None) -> Answer:
    """POST of one of these types. id: the one it gets, None to draw it."""
    never(checked.type, "POST")
    place = place_of(context, checked, None)
    if place.dossier == COMMON:
        raise FhirError("business-rule", "the patient it is about is not named", f"{checked.type}.patient")

    async def work(inside: Context) -> Answer:
        await directory_entries.claimed(inside, checked.references)
        met = await enforcement.known(inside, place.dossier, patient=holder_of(place))
        if met.policy is None:
            raise enforcement.refused()
        if checked.type != "Consent":
            return await rights_people.create(inside, met, checked, id)
        return await consent(inside, met, checked, id)

    return await together(context, place.dossier, work)


async def on_update(context: Context, checked: Checked, id: str, row: Row, method: str) -> Answer:
    """PUT or PATCH of one of these types. row: the version it replaces, which the asker sees. method: PUT or PATCH.

    Conflict when that version is no longer the current one.
    """
    never(checked.type, method)
    place = place_of(context, checked, id)
    holder = holder_of(place) if place.dossier == row.dossier else ""

    async def work(inside: Context) -> Answer:
        await directory_entries.claimed(inside, checked.references)
        met = await enforcement.known(inside, row.dossier, patient=holder)
        if met.policy is None:
            raise enforcement.refused()
        whole, _ = await written_back.by(met, checked, row)
        if checked.type != "Consent":
            answer = await rights_people.update(inside, met, whole, id, row, method)
        else:
            answer = await consent(inside, met, whole, id, row, method, sent=checked)
        if answer.body is None or not (gone := await shown.hidden(inside, met, [answer.body])):
            return answer
        return msgspec.structs.replace(answer, body=shown.without(inside, answer.body, gone))

    return await together(context, row.dossier, work)


def holder_of(place: Place) -> str:
    """Logical id of the Patient that a resource names as its own, "" for a Patient itself."""
    return (place.patient or "").removeprefix("Patient/")


async def together(context: Context, dossier: int, work: Callable[[Context], Awaitable[Answer]]) -> Answer:
    """Run `work` in a transaction, that of the request where there is one; its protective acts are kept once it is committed.

    Acts on the rights of one dossier go one after the other: each is decided by what the former left.
    """
    if context.transaction is not None:
        return await work(context)

    async def attempt(transaction) -> Answer:
        answer = await work(context.inside(transaction))
        context.store.still(context.election)
        return answer

    answer = await context.store.transact(attempt, claims=[claim(context, dossier)])
    await keeping.keep(context)
    return answer


def claim(context: Context, dossier: int) -> bytes:
    """What two acts on the rights of one dossier have in common."""
    return rights_of(context.store.vault, dossier)


def never(type_name: str, method: str) -> None:
    """405 of what the server alone writes, whatever is stored."""
    if type_name == "Communication":
        raise FhirError("method", "notices are written by the server alone", headers={"Allow": "GET, HEAD"})
    if type_name == "Patient" and method == "POST":
        raise FhirError("method", "a dossier is opened by the operation Patient/$open", headers={"Allow": "GET, HEAD"})


# ---- Consents


async def consent(
    inside: Context,
    met: Known,
    checked: Checked,
    id: str | None = None,
    row: Row | None = None,
    method: str = "POST",
    *,
    sent: Checked | None = None,
) -> Answer:
    """A Consent, new or changed; it supersedes, and whoever must know is told. sent: as its writer sees it."""
    value = checked.value
    before = json.parse(row.body) if row is not None and row.body is not None else None
    named = await facts.names(inside, [value, *([before] if before else [])])

    def resolve(text: str) -> frozenset[str]:
        return named.get(text, frozenset())

    old = directives.read(before, resolve) if before else None
    new = directives.read(value, resolve)
    decision = _decided(met, before, old, value, new, resolve)
    if row is not None:
        enforcement.keep_from_all(met, row)
    himself = met.request.person if met.request.kind == "professional" else ""
    faults = directives.validate(value, resolve, himself=himself, days=met.law.self_authorisation_days)
    if old is not None and new is not None and (old.category != new.category or old.mask is not None and new.mask is None):
        faults.append(Issue("error", "business-rule", "the category of a Consent does not change", "Consent.category"))
    faults += identification.unread(before or {}, value)
    if new is not None and new.active and himself and new.until_ms > met.now_ms + (met.law.self_authorisation_days + 1) * DAY:
        said = f"such a Consent ends {met.law.self_authorisation_days} days from now at the latest"
        faults.append(Issue("error", "business-rule", said, "Consent.provision.period"))
    if new is not None and new.active and new.category == "mandate" and new.until_ms > rights_people.longest_ms(met):
        said = "a mandate given by a representative ends with his own title, of a minor with the majority"
        faults.append(Issue("error", "business-rule", said, "Consent.provision.period"))
    faults += await _related_faults(inside, met, new)
    if faults:
        raise FhirError.many("business-rule", faults)
    await depositing.refers(inside, met, sent or checked, id)
    if new is not None and new.mask is not None:
        await _maskable(inside, met, (sent or checked).value)
    names = new.names if new is not None else frozenset()
    labels = frozenset({SECRET_SESSION} if met.request.secret_session else ())
    labels |= rights_people.given_by(met) if new is not None and new.category == "mandate" else frozenset()
    stamped = stamp(inside, checked, method=method, id=id, current=row, origin=Origin(authors=names, labels=labels))
    changes = [(stamped.change, stamped.id), *await _superseded(inside, met, new, stamped.id)]
    await writing.write(inside, changes, kind=KIND)
    if (new is not None and new.active) or not himself:  # who gives his own up has authorised nobody
        await notices.of_act(inside, met, decision, secret=facts.secret(stamped.row))
    return written(stamped, 201 if row is None else 200)


def _decided(
    met: Known,
    before: Mapping[str, Any] | None,
    old: Directive | None,
    value: Mapping[str, Any],
    new: Directive | None,
    resolve: Callable[[str], frozenset[str]],
):
    """Whether he may; a change is judged as the act it was and as the act it becomes, each about those whom it names then."""
    professional = met.request.kind == "professional"
    if professional and old is not None and not old.evidence:
        raise enforcement.refused()  # written by the holder, who alone changes it
    found = None
    for directive in (old, new) if before is not None else (new,):
        category = directive.category if directive is not None else ""
        act = "self-authorise" if professional and category == "access" else ACTS.get(category, "authorise")
        if act == "block" and (directive is old or not directive.active):
            act = "lift-block"  # also of who is the médecin traitant by now: else nobody could take it back
        about = directive.names if directive is not None else frozenset()
        found = settle(met.decide(act, about=about, evidence=directives.evidence_of(value)))
    return found


async def _related_faults(inside: Context, met: Known, new: Directive | None) -> list[Issue]:
    """A mandate is given to a RelatedPerson of this dossier."""
    faults = []
    for related in sorted(new.related) if new is not None and new.category == "mandate" else ():
        row = await inside.reads.load(inside.store.vault.locate("RelatedPerson", related))
        if row is None or row.deleted or row.type != "RelatedPerson" or row.dossier != met.number:
            said = "the actor of a mandate is a RelatedPerson of this dossier"
            faults.append(Issue("error", "business-rule", said, "Consent.provision.actor"))
    return faults


async def _maskable(inside: Context, met: Known, value: Mapping[str, Any]) -> None:
    """422 where a mask names what it would not hide: something of another dossier, or what is hidden with a document and not by itself."""
    for place, data in enumerate(value["provision"].get("data") or ()):
        text = (data.get("reference") or {}).get("reference") or ""
        if data.get("meaning") != "instance" or not text:
            continue
        said, where = facts.here(inside, text), f"Consent.provision.data[{place}].reference"
        key = inside.store.vault.locate(said.type, said.id) if said.kind == "local" else None
        row = await inside.reads.load(key) if key is not None and said.type in MASKABLE else None
        if row is None or row.dossier != met.number or not met.reading(row).permits:
            raise FhirError("business-rule", "a mask names a document of this dossier, by its address", where)
        own = hashed("root", said.relative, inside.store.vault.hash64)
        if said.type != DOCUMENT and any(one["rt"] != own for one in facts.listed(row)):
            raise FhirError("business-rule", f"this {said.type} belongs to a document: what masks that masks it", where)


async def _superseded(inside: Context, met: Known, new: Directive | None, id: str) -> list[tuple[Change, str]]:
    """Former Consents of the category, no longer active."""
    found: list[tuple[Change, str]] = []
    if new is None or not new.active or new.category not in ONE_SPEAKS:
        return found
    async for row in inside.reads.scan(types=("Consent",), dossiers=(met.number,), batch=500):
        if row.body is None or row.deleted:
            continue
        value = json.parse(row.body)
        former = directives.read(value, facts.nobody)
        if former is not None and former.active and former.category == new.category and former.id != id:
            body = json.set_members(row.body, {"status": json.dump(INACTIVE)})
            stamped = stamp(inside, check(inside, body, "Consent"), method="PUT", id=former.id, current=row)
            found.append((stamped.change, former.id))
    return found
