"""`fhir-dmp quarantine`: what sources sent and nobody understood yet.

See fhir_dmp/exchange/reviewing.py.
"""

from datetime import UTC, datetime

import click

from fhir_dmp.commands import _prepared, with_settings
from fhir_dmp.commands.sources import on_store
from fhir_dmp.exchange import reviewing, sources
from fhir_dmp.exchange.results import Counts
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded

SOURCE = click.option("--source", required=True, help="the source it came from")


@click.group()
def command() -> None:
    """Look at what waits, say what it means, import it again, or give it up."""


@command.command("list")
@SOURCE
@with_settings("sandbox")
def list_(loaded: Loaded, source: str) -> None:
    """What waits: key, kind, place, reason, and the nearest codes or dossiers."""

    async def listed(context: Context) -> list[str]:
        lines = []
        rules = await sources.rules_of(context.store, source, sends=False)
        await reviewing.traced(reviewing.by_command(context), f"{reviewing.LIST}?source={source}")
        async for key, kind, held in reviewing.waiting_things(context, rules):
            lines.append(f"{key} {kind:<8} {held.place}: {held.why}")
            for element, local, text, near in held.codes:
                lines.append(f"    {element} {local} `{text}`")
                lines += [f"        {code} {display}" for _, code, display in near]
            lines += [f"    {patient} {grade} {score} by {by}" for patient, score, grade, by in held.people]
        return lines

    for line in on_store(loaded, source, listed):
        click.echo(line)


@command.command("map")
@SOURCE
@click.option("--element", type=click.Choice(sources.ELEMENTS), default="type", show_default=True)
@click.argument("local", metavar="SYSTEM|CODE")
@click.argument("code")
@with_settings("sandbox")
def map_(loaded: Loaded, source: str, element: str, local: str, code: str) -> None:
    """Say which CODE of this host a code of the source means."""

    async def mapped(context: Context) -> str:
        target = await reviewing.map_code(reviewing.by_command(context), source, element, local, code)
        return f"{local} means {target.code} {target.display}"

    click.echo(on_store(loaded, source, mapped))


@command.command("link")
@SOURCE
@click.argument("key")
@click.argument("patient")
@with_settings("sandbox")
def link(loaded: Loaded, source: str, key: str, patient: str) -> None:
    """Say that the Patient that waits under KEY is PATIENT of this host."""

    async def linked(context: Context) -> None:
        await _prepared.joined(context.store, context.settings)
        rules = await sources.rules_of(context.store, source, sends=False)
        await reviewing.link(reviewing.by_command(context), rules, key, patient)

    on_store(loaded, source, linked)


@command.command("drop")
@SOURCE
@click.argument("key")
@with_settings("sandbox")
def drop(loaded: Loaded, source: str, key: str) -> None:
    """Give up what waits under KEY, with the contents of a document: nothing keeps it but its source."""

    async def dropped(context: Context) -> str:
        rules = await sources.rules_of(context.store, source, sends=False)
        return await reviewing.drop(reviewing.by_command(context), rules, key)

    click.echo(f"{on_store(loaded, source, dropped)} is dropped")


@command.command("replay")
@SOURCE
@with_settings("sandbox")
def replay(loaded: Loaded, source: str) -> None:
    """Import again everything that waits."""

    async def replayed(context: Context) -> Counts:
        await _prepared.joined(context.store, context.settings)
        counts, job = Counts(), f"replay-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        rules = await sources.rules_of(context.store, source, sends=False)
        sources.by_itself(rules)  # what waits since other hosts could send it may be given up
        await reviewing.traced(reviewing.by_command(context), f"{reviewing.RESOLVE}?source={source}&replay=true")
        async for result in reviewing.replay(context, rules, job):
            counts.add(result)
            if not result.accepted:
                click.echo(f"  {result.place}: {result.status} {result.issues[0].diagnostics}", err=True)
        return counts

    counts = on_store(loaded, source, replayed)
    click.echo(f"{counts.accepted} accepted, {counts.refused} refused, {counts.quarantined} still waiting")
