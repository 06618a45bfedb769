"""The `fhir-dmp` command. Each subcommand is a module of `fhir_dmp/commands/` with a `command`; its name is the module's.

A module whose name would be a Python keyword ends with an underscore: `import_` is `fhir-dmp import`.
"""

import importlib
import pkgutil
import sys

import click

import fhir_dmp
from fhir_dmp import commands
from fhir_dmp.settings import SettingError


class Commands(click.Group):
    """Finds commands by name and imports only the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name.rstrip("_") for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        modules = {module.name.rstrip("_"): module.name for module in pkgutil.iter_modules(commands.__path__)}
        return importlib.import_module(f"fhir_dmp.commands.{modules[cmd_name]}").command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(fhir_dmp.__version__, prog_name="fhir-dmp")
def cli() -> None:
    """A FHIR R4 server for the French Dossier Médical Partagé."""


def main() -> None:
    """Run the command line. What goes wrong is said in one line: exit 1 when it failed, 2 for a wrong command, 130 when interrupted."""
    try:
        cli.main(prog_name="fhir-dmp", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (SettingError, commands.Failed) as error:
        click.echo(f"fhir-dmp: {error}", err=True)
        sys.exit(1)
