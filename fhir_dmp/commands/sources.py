"""`fhir-dmp sources`: who may send dossiers to this host.

See fhir_dmp/exchange/sources.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from fhir_dmp.commands import Failed, _prepared, with_settings
from fhir_dmp.commands.serve import mongodb, private_folder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.opening import opened
from fhir_dmp.exchange.rules import KINDS, Rules
from fhir_dmp.fhir import json
from fhir_dmp.fhir.schema import validate
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded
from fhir_dmp.store.failures import StoreError
from fhir_dmp.store.records import Source


def on_store(loaded: Loaded, source: str, work: Callable[[Context], Awaitable[Any]]) -> Any:
    """Do something with the store of these settings, as a command does it."""

    async def run(settings) -> Any:
        async with opened(settings, Rules(source=source)) as context:
            await _prepared.replayed(context.store, settings)
            return await work(context)

    private_folder(loaded.settings.data)
    try:
        with mongodb(loaded.settings) as running:
            return asyncio.run(run(running))
    except (StoreError, FhirError) as error:
        raise Failed(str(error)) from None


@click.group()
def command() -> None:
    """List, register, disable and enable the sources of imports; learn what their codes mean."""


@command.command("list")
@click.option("--known", is_flag=True, help="those that come with the program, registered or not")
@with_settings("sandbox")
def list_(loaded: Loaded, known: bool) -> None:
    """Registered sources, one a line."""
    if known:
        for one in sources.known().values():
            click.echo(sources.shown(one))
        return

    async def listed(context: Context) -> list[str]:
        return [sources.shown(one) for one in await Source.objects.order_by("pk").to_list()]

    for line in on_store(loaded, "", listed):
        click.echo(line)


@command.command("map")
@click.argument("id")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_settings("sandbox")
def map_(loaded: Loaded, id: str, files: tuple[Path, ...]) -> None:
    """Learn what codes of a source mean from its ConceptMaps: types of documents, specialities, kinds of structure."""
    read = []
    for path in files:
        try:
            value = json.parse(path.read_bytes())
            issues = validate(value)
        except FhirError as error:
            raise Failed(f"{path}: {error}") from None
        if value.get("resourceType") != "ConceptMap" or issues:
            said = f"{issues[0].expression}: {issues[0].diagnostics}" if issues else "it is no ConceptMap"
            raise Failed(f"{path}: {said}")
        read.append(value)

    async def learned(context: Context) -> int:
        source = await sources.registered(context.store, id)
        return sum([await sources.learn(source, value) for value in read])

    click.echo(f"{on_store(loaded, id, learned)} codes of {id} are known; `fhir-dmp quarantine replay` takes what waited for them")


@command.command("register")
@click.argument("id")
@click.option("--name", help="of the source, for people; known sources have one")
@click.option("--kind", type=click.Choice(KINDS), help="default: that of a known source, else care-record")
@click.option("--host", help="who runs it")
@click.option("--organization", help="FINESS or other identifier of the depositing structure")
@click.option("--base-url", "base_urls", multiple=True, help="address by which its resources name one another")
@click.option(
    "--system", "systems", multiple=True, metavar="NAME=SYSTEM", help="system of the numbers it gives people, e.g. IPP=urn:oid:1.2"
)
@click.option("--label", "labels", multiple=True, help="put on each of its documents, e.g. R or MASQUE_PS")
@with_settings("sandbox")
def register(
    loaded: Loaded,
    id: str,
    name: str | None,
    kind: str | None,
    host: str | None,
    organization: str | None,
    base_urls: tuple[str, ...],
    systems: tuple[str, ...],
    labels: tuple[str, ...],
) -> None:
    """Register a source: one that is known by its id alone, another one with a name."""
    named = dict(one.partition("=")[::2] for one in systems)
    if not all(named.values()):
        raise click.BadParameter("NAME=SYSTEM, e.g. IPP=urn:oid:1.2.250.1.999", param_hint="--system")
    told = {"name": name, "kind": kind, "host": host, "organization": organization, "labels": list(labels), "base_urls": list(base_urls)}
    own = {**sources.known().get(id, {}).get("systems", {}), **named} if named else None

    async def registered(context: Context) -> str:
        return sources.shown(await sources.register(context.store, id, systems=own, **told))

    click.echo(on_store(loaded, id, registered))


@command.command("disable")
@click.argument("id")
@click.option("--reason", default="", help="kept with the record, for people of this host")
@with_settings("sandbox")
def disable(loaded: Loaded, id: str, reason: str) -> None:
    """Take nothing more from a source. What it brought stays, what waits in quarantine may still be imported again."""
    _switched(loaded, id, False, reason)


@command.command("enable")
@click.argument("id")
@click.option("--reason", default="", help="kept with the record, for people of this host")
@with_settings("sandbox")
def enable(loaded: Loaded, id: str, reason: str) -> None:
    """Let a source that was disabled send again."""
    _switched(loaded, id, True, reason)


def _switched(loaded: Loaded, id: str, enabled: bool, reason: str) -> None:
    async def switched(context: Context) -> str:
        return sources.shown(await sources.switch(context.store, id, enabled, context.now_ms(), reason))

    click.echo(on_store(loaded, id, switched))
