"""`fhir-dmp settings`: the table of settings, what each is now, and where that came from.

See fhir_dmp/settings.py.
"""

import click
from rich import box
from rich.console import Console
from rich.table import Table

from fhir_dmp.commands import with_settings
from fhir_dmp.settings import PREFIX, SETTINGS, Loaded, shown


@click.command()
@with_settings()
def command(loaded: Loaded) -> None:
    """Print every setting, its value and where the value came from."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("setting", "value", "from", "what it is"):
        table.add_column(title, overflow="fold")
    for setting in SETTINGS:
        value = shown(setting, getattr(loaded.settings, setting.name))
        table.add_row(setting.name, value, loaded.origins[setting.name], setting.help)
    console = Console()
    console.print(table if console.is_terminal else plain(loaded), markup=False, highlight=False, soft_wrap=not console.is_terminal)
    click.echo(f"Set them as --name, {PREFIX}NAME or in fhir-dmp.toml.")


def plain(loaded: Loaded) -> str:
    """One setting a line, tabs between, for other programs."""
    rows = ((s.name, shown(s, getattr(loaded.settings, s.name)), loaded.origins[s.name], s.help) for s in SETTINGS)
    return "\n".join("\t".join(row) for row in rows)
