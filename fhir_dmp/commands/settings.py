"""`fhir-dmp settings`: the table of settings, what each is now, and where that came from.

See fhir_dmp/settings.py.
"""

import os
import sys

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fhir_dmp.commands import with_settings
from fhir_dmp.settings import PREFIX, SETTINGS, Loaded, shown


@click.command()
@with_settings()
def command(loaded: Loaded) -> None:
    """Print every setting, its value and where the value came from."""
    if sys.stdout.isatty():
        Console().print(table(loaded), highlight=False)
    else:
        click.echo(plain(loaded))
    known = {PREFIX + setting.name.upper() for setting in SETTINGS}
    for name in sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known):
        click.echo(f"{name} is in the environment, but there is no such setting", err=True)
    click.echo(f"Set them as --name, {PREFIX}NAME or in fhir-dmp.toml.")


def table(loaded: Loaded) -> Table:
    """The settings for a terminal."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("setting", "value", "from", "what it is"):
        made.add_column(title, overflow="fold")
    for setting in SETTINGS:
        value = shown(setting, getattr(loaded.settings, setting.name))
        made.add_row(setting.name, escape(value), loaded.origins[setting.name], escape(setting.help))
    return made


def plain(loaded: Loaded) -> str:
    """One setting a line, tabs between, for other programs."""
    rows = ((s.name, shown(s, getattr(loaded.settings, s.name)), loaded.origins[s.name], s.help) for s in SETTINGS)
    return "\n".join("\t".join(row) for row in rows)
