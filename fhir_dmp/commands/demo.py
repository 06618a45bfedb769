"""`fhir-dmp demo`: five invented dossiers, who is who in them, and a token for each.

They are opened, fed, masked, blocked and closed by the same requests as anybody's; telling them again changes nothing.
"""

import asyncio
from dataclasses import replace

import click

from fhir_dmp.commands import Failed, keys_folder, with_settings
from fhir_dmp.commands.serve import mongodb
from fhir_dmp.demo.people import HOLDERS, PROFESSIONALS
from fhir_dmp.demo.telling import Told
from fhir_dmp.settings import Loaded, Settings
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.resources import Store

OTHERS = {
    "MOTHER": "Claire Moreau, mother of Lina",
    "MARC_SECRET": "Dr Delorme in Lina's secret session",
    "SAMU": "Dr Lambert as regulation physician of the SAMU",
    "HOPITAL": "certificate of a hospital: deposits, reads nothing",
    "HOTE": "administrator of this host",
}


@click.command()
@with_settings("database")
def command(loaded: Loaded) -> None:
    """Load the demonstration dossiers; print who is who, and ready tokens for a day."""
    keys_folder(loaded)
    try:
        with mongodb(loaded.settings) as running:
            settings = replace(running, sandbox=asyncio.run(nature(running)), build_guide=False, log_level="warning")
            told = asyncio.run(_told(settings))
    except StoreError as error:
        raise Failed(str(error)) from None
    for line in shown(told):
        click.echo(line)


async def _told(settings: Settings) -> Told:
    from fhir_dmp.demo.caller import calling
    from fhir_dmp.demo.telling import tell
    from fhir_dmp.identity.tokens import Tokens

    async with calling(settings) as caller:
        return await tell(caller, Tokens.open(settings))


def shown(told: Told) -> list[str]:
    """What is printed: people first, then lines for a shell."""
    lines = ['# who is who; every line below is for a shell: copy it, or eval "$(fhir-dmp demo)"']
    lines += [f"#   {one.key:<12}{one.name}, {one.what}" for one in PROFESSIONALS]
    lines += [f"#   {one.key:<12}{one.given} {one.family}: {one.story}" for one in HOLDERS]
    lines += [f"#   {key:<12}{what}" for key, what in OTHERS.items()]
    lines += [f"export {key}_ID={id}" for key, id in told.patients.items()]
    lines += [f"export {name}={id}" for name, id in told.documents.items()]
    return [*lines, *(f"export {key}={token}" for key, token in told.tokens.items())]


async def nature(settings: Settings) -> bool:
    """Whether the store is a sandbox, as it was created; a new one is for real use."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=None if keys(settings) else False)
    try:
        return store.sandbox
    finally:
        await store.close()


def keys(settings: Settings) -> bool:
    """Whether the data folder has belonged to a store before."""
    return (settings.data / "keys" / "host.key").exists()
