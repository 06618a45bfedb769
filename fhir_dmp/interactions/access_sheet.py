"""Operation Patient/[id]/$access-sheet: new credentials for the holder or a representative, handed over as a sheet.

CSP L1111-19 (direct access of the holder by electronic means) https://www.legifrance.gouv.fr/codes/id/LEGISCTA000006190273

Each issue replaces the former: identifier, password, codes and application of an older sheet stop working with the same write, and so do
the sessions that began with it, that of whoever asks included.
"""

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fhir_dmp.consent.dossier import Title
from fhir_dmp.dmp.lifecycle import is_minor
from fhir_dmp.dmp.paris import PARIS
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.identity import secrets, senders
from fhir_dmp.interactions import access_sheet_form, enforcement, login_sessions, merged, opening, origins, policy, read, sets
from fhir_dmp.interactions.access_sheet_form import Sheet
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_plan import Compartment, inside
from fhir_dmp.interactions.search_sight import UNRESTRICTED
from fhir_dmp.search.predicate import EVERYTHING
from fhir_dmp.store.credentials import Credentials, Factor, Owner

NAME = "$access-sheet"
URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-access-sheet"
PARAMETERS = (Parameter("relatedPerson"),)
ISSUER = "DMP"
MONTHS = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)


async def run(context: Context, url: Url, given: Given) -> Answer:
    """The sheet as a Binary of text, for whoever asks for FHIR; http.sheet gives it as text or PDF."""
    sheet = await asked_for(context, url, given)
    data = base64.b64encode(access_sheet_form.text(sheet).encode()).decode()
    return Answer(200, json.dump({"resourceType": "Binary", "contentType": "text/plain; charset=utf-8", "data": data}))


async def asked_for(context: Context, url: Url, given: Given) -> Sheet:
    """The sheet that a request asks for, issued when the asker may."""
    for letter in "ru":  # who has the sheet has everything
        admit(context, None, letter)
    first = await may_issue(context, url.id)
    return await access_sheet(context, url.id, given.one("relatedPerson") or "", first=first)


async def may_issue(context: Context, patient_id: str) -> bool:
    """Refuse (403) who may not have a sheet of this dossier issued: it is for the gestionnaire, and within 24 hours for who opened it.

    Whether it is the latter, who hands over the first one alone.
    """
    if context.enforcer is None:
        return False
    met = await enforcement.of_patient(context, patient_id)
    if met.policy is not None and context.actor.kind in ("professional", "structure"):
        names = frozenset({met.request.person, met.request.organization} - {""})
        opened = await opening.opened_by(context, met.number, names)
        # Of two that were joined he would have what is in both; of another host's that one alone knows whether a sheet was used.
        elsewhere = opened and (await merged.said_joined(context.reads, met.number) or await origins.every(context.reads, met.number))
        met.request = replace(met.request, opener=opened and not elsewhere)
    rule = enforcement.settle(met.decide("access-sheet")).rule
    if met.request.secret_session:
        # It is for who acts for the child, who would not be told of it.
        raise enforcement.in_secret("Patient")
    return rule == "opener"


async def access_sheet(context: Context, patient_id: str, related_person: str = "", *, first: bool = False) -> Sheet:
    """Issue new credentials and give the sheet that says them; whether the asker may was decided before.

    related_person: logical id or reference of the representative it is for. Without one: a representative who asks gets his own; of a
    minor or protected holder the one person who acts for him; else the holder. first: 403 once one was used, or was had by who acts for the
    dossier: whoever opened it would log in as him. Durable when it returns.
    """
    row = await read.current(context, "Patient", patient_id)
    if row is None or row.deleted or row.body is None:
        raise read.absent()
    patient = json.parse(row.body)
    people = await related_people(context, patient_id)
    there = policy.in_force(context, row.policy) or await policy.of_row(context, row)
    owner = Owner(patient_id, whose(context, patient, there.titles if there else (), related_person.removeprefix("RelatedPerson/")))
    if first and await Credentials(context.store).taken(patient_id):
        raise enforcement.refused()
    person = people[owner.related_person] if owner.related_person else patient
    random = context.random
    identifier, password = secrets.word(random, secrets.IDENTIFIER_LETTERS), secrets.word(random, secrets.PASSWORD_LETTERS)
    codes = tuple(dict.fromkeys(secrets.digits(random, secrets.SHEET_DIGITS) for _ in range(secrets.SHEET_CODES)))
    secret, now_ms = secrets.totp_secret(random), context.now_ms()
    credentials = Credentials(context.store)
    kept = await secrets.passwords(context.store.vault.subkey("passwords")).hashed(password)
    factor = Factor(secret, senders.mail_of(person))
    given = {"identifier": identifier, "password": kept, "factor": factor, "codes": codes, "now_ms": now_ms, "taken": not first}
    if not await credentials.issue(owner, **given, by=context.actor.session):
        raise login_sessions.over()
    return Sheet(
        identifier=secrets.grouped(identifier),
        password=secrets.grouped(password),
        codes=codes,
        totp=secrets.totp_address(secret, secrets.grouped(identifier), ISSUER),
        address=f"{context.base_url.removesuffix('/fhir')}/",
        issued=day_in_words(now_ms),
    )


async def related_people(context: Context, patient_id: str) -> dict[str, dict]:
    """RelatedPersons of a dossier by logical id."""
    wanted = inside([("RelatedPerson", EVERYTHING)], Compartment("Patient", patient_id))
    rows = await sets.all_rows(context, wanted, UNRESTRICTED)
    return {value["id"]: value for value in (json.parse(row.body or b"{}") for row in rows) if "id" in value}


def whose(context: Context, patient: dict, titles: Sequence[Title], asked: str) -> str:
    """Logical id of the RelatedPerson the sheet is for, "" for the holder; 422 when it is not clear who that is."""
    own = context.actor.related_person if context.actor.kind == "representative" else ""
    if asked and own and asked != own:
        raise FhirError("unprocessable", "a representative is given a sheet of his own only", "relatedPerson")
    minor = minority(patient, context.now_ms())
    acting = list(dict.fromkeys(title.related_person for title in titles if title.acts(context.now_ms(), minor=minor)))
    if wanted := asked or own:
        if wanted not in acting:
            raise FhirError("unprocessable", f"RelatedPerson `{wanted[:64]}` does not act for the holder of this dossier", "relatedPerson")
        return wanted
    if len(acting) > 1:
        raise FhirError("unprocessable", "several persons act for the holder: name the one the sheet is for", "relatedPerson")
    if minor and not acting:
        # As his own it would open nothing now, and everything on his 18th birthday, to whomever it was handed over.
        raise FhirError("unprocessable", "the holder is a minor for whom nobody acts: write the RelatedPerson first", "relatedPerson")
    return acting[0] if acting else ""


def minority(patient: dict, now_ms: int) -> bool:
    """Whether the holder is under 18; False when the birth date does not tell."""
    try:
        return is_minor(patient.get("birthDate", ""), now_ms)
    except ValueError:
        return False


def day_in_words(now_ms: int) -> str:
    """A day in France.

    >>> day_in_words(1795000000000)
    '18 novembre 2026'
    """
    day = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(PARIS)
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"
