"""`fhir-dmp feed`: which dossiers the Assurance Maladie is asked to feed, one a line, for whoever carries files instead of calling $feed.

See fhir_dmp/interactions/feeding.py.
"""

from dataclasses import replace

import click

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.commands import with_settings
from fhir_dmp.commands.sources import on_store
from fhir_dmp.dmp.paris import span
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.opening import context_of, judged
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import feeding, tracing
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Loaded


@click.command()
@click.option("--source", default="assurance-maladie", show_default=True, help="registered source that feeds")
@click.option("--since", metavar="DATE", help="when it was last asked; default the first day of the month before")
@with_settings("sandbox")
def command(loaded: Loaded, source: str, since: str | None) -> None:
    """Print as NDJSON the INS of each open dossier and the period it is to be fed for. To be run each month; again does no harm.

    A dossier opened since then is asked for the whole history, 24 months; any other for what is new. What comes back is imported with
    `fhir-dmp import ... --source` or $import.
    """

    async def work(plain: Context) -> int:
        rules = await sources.rules_of(plain.store, source)
        context = context_of(plain.store, loaded.settings, rules)
        context = replace(context, enforcer=judged(context), recorder=context.recorder or Recorder(plain.store, context.base_url))
        since_ms = span(since)[0] if since else feeding.last_month_ms(context.now_ms())
        count, after = 0, ""
        while True:
            page = await feeding.page(context, since_ms, after, feeding.MOST)
            asked = f"$feed?since={to_instant(since_ms)}"
            traces = [tracing.trace(context, "operation", patient=one.patient, query=asked) for one in page.wanted]
            if traces:
                await context.recorder.record(traces)
            for one in page.wanted:
                told = {
                    "system": one.ins.system,
                    "value": one.ins.value,
                    "start": to_instant(one.start_ms),
                    "end": to_instant(context.now_ms()),
                }
                click.echo(json.dump(told).decode())
            count, after = count + len(page.wanted), page.after
            if not after:
                return count

    click.echo(f"{on_store(loaded, source, work)} dossiers", err=True)
