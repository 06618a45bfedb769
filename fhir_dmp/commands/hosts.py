"""`fhir-dmp hosts`: other hosts that dossiers come from and go to, known by the cards they hand over.

See fhir_dmp/exchange/hosts.py.
"""

import json
from pathlib import Path

import click
import msgspec

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.commands.sources import on_store
from fhir_dmp.exchange import hosts
from fhir_dmp.exchange.rules import HOST
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded
from fhir_dmp.store.records import Source

FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)


@click.group()
def command() -> None:
    """Show the card of this host; register the cards of others."""


@command.command()
@click.option("--name", default="", help="of this host, for people")
@with_settings("sandbox")
def card(loaded: Loaded, name: str) -> None:
    """Print the card of this host: its public keys, for another host to register."""

    async def made(context: Context) -> bytes:
        return msgspec.json.format(msgspec.json.encode(hosts.own(context.store, loaded.settings.data, name)), indent=1)

    click.echo(on_store(loaded, "", made).decode())


@command.command()
@click.argument("id")
@click.argument("file", type=FILE)
@with_settings("sandbox")
def register(loaded: Loaded, id: str, file: Path) -> None:
    """Register another host under ID by its card, or take its new keys. Compare the card with who gave it, by another way than it came."""
    try:
        told = json.loads(click.open_file(str(file), "rb").read())
    except (OSError, ValueError) as error:
        raise Failed(f"{file}: {error}") from None

    async def registered(context: Context) -> str:
        await hosts.register(context.store, id, told)
        return id

    click.echo(on_store(loaded, "", registered))


@command.command("list")
@with_settings("sandbox")
def listed(loaded: Loaded) -> None:
    """Registered hosts, one a line."""

    async def told(context: Context) -> list[str]:
        found = [one for one in await Source.objects.order_by("pk").to_list() if one.kind == HOST]
        return [f"{one.id:<32} {(one.rules.get('card') or {}).get('host', '(no card)')}  {one.name}" for one in found]

    for line in on_store(loaded, "", told):
        click.echo(line)
