"""`fhir-dmp token KIND`: one access token of the host's own issuer, alone on its line.

Needs the data folder only: neither the server nor MongoDB.
"""

import os
from collections.abc import Callable

import click

from fhir_dmp.commands import Failed, keys_folder, with_settings
from fhir_dmp.errors import FhirError
from fhir_dmp.http.services import now_ms
from fhir_dmp.identity.actor import AUTH_MODES, ROLES
from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import BY_NAME, Loaded

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
# OIDs that follow a code in the claims of Pro Santé Connect: professions (G15) and sectors. Professions in training (G16) go without.
G15, SECTOR = "1.2.250.1.213.1.1.5.5", "1.2.250.1.71.4.2.4"


@click.group()
def command() -> None:
    """Print one access token of this host's own issuer."""


def kind(name: str, *options: Callable) -> Callable[[Callable], click.Command]:
    """A subcommand for one kind. The function turns its options into claims."""

    def decorate(function: Callable) -> click.Command:
        def run(
            loaded: Loaded, expires: int | None, scope: str | None, client_id: str | None, software: str | None, **given: object
        ) -> None:
            claims = {k: v for k, v in function(**given).items() if v not in (None, (), [], "")}
            claims |= {k: v for k, v in (("scope", scope), ("client_id", client_id), ("software", software)) if v is not None}
            if name == "system":
                claims.setdefault("scope", "system/*.cruds")
            keys_folder(loaded)
            try:
                tokens = Tokens.open(loaded.settings)
                click.echo(tokens.issue(name, claims, now_ms=now_ms(), random=os.urandom, seconds=expires))
            except FhirError as error:
                raise Failed(error.message) from None

        wrapped = with_settings()(run)
        for one in reversed((*options, *COMMON)):
            wrapped = one(wrapped)
        return command.command(name, help=function.__doc__)(wrapped)

    return decorate


COMMON = (
    click.option(
        "--expires",
        type=click.IntRange(max=BY_NAME["token_seconds"].most),
        metavar="SECONDS",
        help="lifetime, default the setting token_seconds; negative: expired already",
    ),
    click.option("--scope", help="SMART scopes; they only narrow"),
    click.option("--client-id", help="client that asks, traced"),
    click.option("--software", help="practice software, traced"),
)


@kind(
    "professional",
    click.option("--rpps", help="RPPS number, eleven digits"),
    click.option("--profession", "professions", multiple=True, required=True, help="code of G15, or of G16 with --category E"),
    click.option("--specialty", "specialties", multiple=True, help="e.g. SM54"),
    click.option("--organization", help="identifier of the structure, e.g. FINESS"),
    click.option("--purpose", "purposes", multiple=True, help="TREAT, ETREAT, BTG, ..."),
    click.option("--sector", help="e.g. SA07"),
    click.option("--auth-mode", type=click.Choice(AUTH_MODES), default="CPS", show_default=True),
    click.option("--regulation", is_flag=True, help="SAMU regulation physician"),
    click.option("--secret-session", is_flag=True, help="a minor's secret connection"),
    click.option("--subject-name-id", help="any IDNPS, instead of --rpps"),
    click.option("--category", help="codeCategorieProfessionnelle, e.g. C, or E for students"),
)
def professional(
    rpps, professions, specialties, organization, purposes, sector, auth_mode, regulation, secret_session, subject_name_id, category
) -> dict:
    """A health professional (3.1)."""
    if bool(rpps) == bool(subject_name_id):
        raise click.UsageError("give --rpps or --subject-name-id")
    if rpps and not (rpps.isascii() and rpps.isdigit() and len(rpps) == 11):
        raise click.UsageError("--rpps has eleven digits")
    name = subject_name_id or f"8{rpps}"
    coded = [{"system": ACT_REASON, "code": one} for one in purposes]
    return {
        "sub": name,
        "SubjectNameID": name,
        "SubjectRole": [one if "^" in one or category == "E" else f"{one}^{G15}" for one in professions],
        "specialty": list(specialties),
        "SubjectOrganizationID": organization,
        "Secteur_Activite": sector and (sector if "^" in sector else f"{sector}^{SECTOR}"),
        "auth_mode": auth_mode,
        "Acces_Regulation_Medicale": "VRAI" if regulation else "FAUX",
        "secret_session": secret_session or None,
        "codeCategorieProfessionnelle": category,
        "extensions": {"ihe_iua": {"purpose_of_use": coded}} if coded else None,
    }


@kind(
    "patient",
    click.option("--patient", help="logical id of the Patient"),
    click.option("--ins", metavar="SYSTEM|VALUE", help="INS of the holder"),
    click.option("--with", "beside", metavar="IDNPS", help="professional beside a minor"),
)
def patient(patient, ins, beside) -> dict:
    """The holder of a dossier (3.2)."""
    if not (patient or ins):
        raise click.UsageError("give --patient or --ins")
    return {"sub": patient or ins, "patient": patient, "ins": ins, "with": beside}


RELATIVE = (
    click.option("--patient", help="logical id of the Patient"),
    click.option("--related-person", help="logical id of the RelatedPerson"),
)


@kind("representative", *RELATIVE)
def representative(patient, related_person) -> dict:
    """A parent or guardian (3.3); without options, before the dossier is open."""
    return relative(patient, related_person)


@kind("mandataire", *RELATIVE)
def mandataire(patient, related_person) -> dict:
    """Who manages access rights for the holder (3.4)."""
    return relative(patient, related_person)


def relative(patient: str | None, related_person: str | None) -> dict:
    """Claims of a representative or mandataire."""
    if bool(patient) != bool(related_person):
        raise click.UsageError("give --patient and --related-person together")
    return {"sub": related_person, "patient": patient, "related_person": related_person}


@kind("structure", click.option("--organization", required=True, help="identifier of the establishment"))
def structure(organization) -> dict:
    """An establishment's certificate alone (3.5): deposit only."""
    return {"sub": organization, "SubjectOrganizationID": organization}


@kind("host", click.option("--host", required=True, help="identifier of the other host"))
def host(host) -> dict:
    """Another host, or an importing system (3.5)."""
    return {"sub": host, "host": host}


@kind("feed")
def feed() -> dict:
    """The feed of the Assurance Maladie (3.5)."""
    return {}


@kind("system")
def system() -> dict:
    """A conformance suite, on a sandbox only (3.6). --scope defaults to system/*.cruds."""
    return {}


@kind(
    "support",
    click.option("--level", type=click.IntRange(1, 2), required=True),
    click.option("--ticket", required=True),
)
def support(level, ticket) -> dict:
    """Support of level 1 or 2 (3.7)."""
    return {"level": level, "ticket": ticket}


@kind(
    "operator",
    click.option("--role", type=click.Choice(ROLES), required=True),
    click.option("--ticket"),
)
def operator(role, ticket) -> dict:
    """This host's own staff (3.8)."""
    return {"role": role, "ticket": ticket}
