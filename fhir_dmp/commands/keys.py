"""`fhir-dmp keys`: the key the host signs access tokens with, and the keys of dossiers.

See fhir_dmp/identity/issuers.py and fhir_dmp/store/erasing.py.
"""

import asyncio
from collections.abc import Callable

import click

from fhir_dmp.audit.event import Trace
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.commands import Failed, _prepared, keys_folder, with_settings
from fhir_dmp.commands.serve import mongodb
from fhir_dmp.errors import FhirError
from fhir_dmp.identity.issuers import HostIssuer
from fhir_dmp.interactions import retention
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.signing.jws import SIGNS
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.store import revocations
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store


@click.group()
def command() -> None:
    """Create, list and rotate the keys of the host's own token issuer and of its seals; destroy the key of a dossier."""


@command.command("list")
@with_settings()
def listed(loaded: Loaded) -> None:
    """Print the issuer, the audience and the keys that verify tokens; the first one signs."""
    host, seals = HostIssuer(keys_folder(loaded)), SealKeys(keys_folder(loaded))
    click.echo(f"issuer    {host.issuer}\naudience  {host.audience}")
    for number, kid in enumerate(host.keys):
        click.echo(f"key       {kid}  {'verifies' if number else 'signs'}")
    for number, (kid, key) in enumerate(seals.public.items()):
        click.echo(f"seal      {kid}  {key['alg']}  {'verifies' if number else 'seals'}")


@command.command()
@click.option("--forget", is_flag=True, help="tokens signed by former keys stop working at once")
@click.option(
    "--seals", "algorithm", type=click.Choice(list(SIGNS)), help="the key of seals instead, by this algorithm; old seals stay good"
)
@with_settings()
def rotate(loaded: Loaded, forget: bool, algorithm: str | None) -> None:
    """Sign with a new key from now on, and trace that. A running server follows within a second."""
    if algorithm is not None and forget:
        raise click.UsageError("the keys of seals are never forgotten: what they sealed must stay provable")
    said = "keys rotate" + (f" --seals {algorithm}" if algorithm is not None else " --forget" if forget else "")
    keys = keys_folder(loaded)
    if algorithm is not None:
        click.echo(traced(loaded.settings, said, lambda: SealKeys(keys).rotate(algorithm)))
    else:
        click.echo(traced(loaded.settings, said, lambda: HostIssuer(keys).rotate(forget)))


def traced(settings: Settings, said: str, rotate: Callable[[], str]) -> str:
    """Trace an act about keys before it is done, in the store of these settings, where there is one; what the act gives.

    The store keeps which keys were forgotten, so that no backup that holds them brings them back.
    """
    if not settings.mongodb_uri and not (settings.data / "mongodb").exists():
        click.echo(f"not traced: there is no store in {settings.data}; if it is elsewhere, say --mongodb-uri", err=True)
        return rotate()

    async def record(running: Settings) -> str:
        store = await Store.open(running.mongodb_uri, running.database, data_dir=running.data, sandbox=None)
        try:
            trace = Trace(kind="key", at_ms=store.clock(), query=said)
            await Recorder(store, running.base_url or "localhost").record([trace])
            done = rotate()
            if kids := HostIssuer(settings.data).forgotten():
                await revocations.forgotten(store, kids, store.clock())
            return done
        finally:
            await store.close()

    try:
        with mongodb(settings) as running:
            return asyncio.run(record(running))
    except (StoreError, FhirError) as error:
        raise Failed(error) from None


@command.command()
@click.argument("patient")
@click.option("--reason", required=True, help="why, as the trace will say")
@click.option("--yes", is_flag=True, help="do not ask")
@with_settings()
def destroy(loaded: Loaded, patient: str, reason: str, yes: bool) -> None:
    """Destroy the key of the dossier of PATIENT (logical id): nothing in it can be read again, not even from a backup."""
    if not yes:
        click.confirm(f"Destroy the dossier of Patient/{patient} for good?", abort=True)
    try:
        with mongodb(loaded.settings) as running:
            asyncio.run(destroyed(running, patient, reason))
    except (StoreError, FhirError) as error:
        raise Failed(error) from None
    click.echo(f"the dossier of Patient/{patient} is destroyed")


async def destroyed(settings: Settings, patient: str, reason: str) -> None:
    """Destroy one dossier of the store of these settings."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=None)
    try:
        left = await _prepared.joined(store, settings)
        row = await store.load(store.vault.locate("Patient", patient))
        if row is None or row.type != "Patient" or row.erased:
            raise Failed(f"there is no dossier of Patient/{patient} here")
        await _prepared.check(store, row.dossier, left)
        recorder = Recorder(store, settings.base_url or "localhost")
        if not await retention.destroy(store, recorder, row.dossier, reason):
            raise Failed("somebody else destroyed it at the same moment")
    finally:
        await store.close()
