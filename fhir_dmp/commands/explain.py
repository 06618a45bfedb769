"""`fhir-dmp explain`: why somebody may or may not, in plain words, for the host's own questions; nothing of the dossier is shown.

See fhir_dmp/consent/explain.py and fhir_dmp/interactions/listing.py.
"""

import asyncio
import os

import click

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.serve import mongodb
from fhir_dmp.consent import acts, explain
from fhir_dmp.consent.asking import ACT_REASON, READ, asking
from fhir_dmp.consent.decide import Decision, decide
from fhir_dmp.errors import FhirError
from fhir_dmp.http.services import now_ms
from fhir_dmp.identity import actor as actors
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import choices, enforcement, facts
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store

G15 = "1.2.250.1.213.1.1.5.5"


@click.command()
@click.argument("patient")
@click.option("--document", help="logical id of a DocumentReference; without one: the dossier as a whole")
@click.option("--action", default=READ, show_default=True, help=f"read, or one of: {', '.join(sorted(acts.ACTS))}")
@click.option("--rpps", help="RPPS of a professional, eleven digits")
@click.option("--subject-name-id", help="any IDNPS, instead of --rpps")
@click.option("--profession", "professions", multiple=True, help="code of G15, e.g. 10")
@click.option("--specialty", "specialties", multiple=True, help="e.g. SM54")
@click.option("--organization", help="identifier of the structure, e.g. FINESS")
@click.option("--purpose", "purposes", multiple=True, help="TREAT, ETREAT, BTG, ...")
@click.option("--regulation", is_flag=True, help="SAMU regulation physician")
@click.option("--holder", is_flag=True, help="the holder asks")
@click.option("--related-person", help="a representative asks, by the logical id of his RelatedPerson")
@with_settings()
def command(loaded: Loaded, patient: str, document: str | None, action: str, **who: object) -> None:
    """Say why somebody may or may not read the dossier of PATIENT (logical id), or one of its documents."""
    if action != READ and action not in acts.ACTS:
        raise click.UsageError(f"there is no action `{action}`")
    try:
        asker = actors.parse(claims_of(patient, **who))
    except FhirError as error:
        raise click.UsageError(f"who asks? Give --rpps and --profession, --holder or --related-person ({error.message})") from None
    try:
        with mongodb(loaded.settings) as running:
            found = asyncio.run(explained(running, asker, patient, document, action))
    except (StoreError, FhirError) as error:
        raise Failed(error) from None
    click.echo(f"{found.effect}\n{found.rule}")
    for language in ("fr", "en"):
        click.echo(explain.text(found, language))


def claims_of(
    patient: str,
    *,
    rpps: str | None,
    subject_name_id: str | None,
    professions: tuple[str, ...],
    specialties: tuple[str, ...],
    organization: str | None,
    purposes: tuple[str, ...],
    regulation: bool,
    holder: bool,
    related_person: str | None,
) -> dict[str, object]:
    """The claims a token of the one in question would have."""
    base: dict[str, object] = {"iss": "", "sub": "explain", "exp": 0}
    if holder:
        return {**base, "dmp_kind": "patient", "patient": patient}
    if related_person:
        return {**base, "dmp_kind": "representative", "patient": patient, "related_person": related_person}
    name = subject_name_id or (f"8{rpps}" if rpps else "")
    coded = [{"system": ACT_REASON, "code": one} for one in purposes]
    return {
        **base,
        "dmp_kind": "professional",
        "SubjectNameID": name,
        "SubjectRole": [one if "^" in one else f"{one}^{G15}" for one in professions],
        "specialty": list(specialties),
        "SubjectOrganizationID": organization or "",
        "Acces_Regulation_Medicale": "VRAI" if regulation else "FAUX",
        "extensions": {"ihe_iua": {"purpose_of_use": coded}},
    }


async def explained(settings: Settings, asker: Actor, patient: str, document: str | None, action: str) -> Decision:
    """The decision on one who would ask now."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=None)
    try:
        enforcer = enforcement.Enforcer(asking(asker), choices.law(settings))
        context = Context(store, asker, settings, settings.base_url, now_ms, os.urandom, enforcer=enforcer)
        met = await enforcement.of_patient(context, patient)
        if met.policy is None:
            raise Failed(f"there is no dossier of Patient/{patient} here")
        if document is None:
            on = "see-patient" if action == READ else action
            return decide(met.request.doing(on), met.policy, None, met.now_ms, met.law)
        key = store.vault.locate("DocumentReference", document)
        row = await store.load(key) if facts.perhaps_in(context, key, met.number) else None
        if row is None or row.deleted or row.dossier != met.number or row.type != "DocumentReference":
            raise Failed(f"there is no DocumentReference/{document} in this dossier")
        (own,) = facts.opened(context, row)
        return met.decide(action, own)
    finally:
        await store.close()
