"""`fhir-dmp keys`: the key the host signs access tokens with.

See fhir_dmp/identity/issuers.py.
"""

import click

from fhir_dmp.commands import keys_folder, with_settings
from fhir_dmp.identity.issuers import HostIssuer
from fhir_dmp.settings import Loaded


@click.group()
def command() -> None:
    """Create, list and rotate the key of the host's own token issuer."""


@command.command("list")
@with_settings()
def listed(loaded: Loaded) -> None:
    """Print the issuer, the audience and the keys that verify tokens; the first one signs."""
    host = HostIssuer(keys_folder(loaded))
    click.echo(f"issuer    {host.issuer}\naudience  {host.audience}")
    for number, kid in enumerate(host.keys):
        click.echo(f"key       {kid}  {'verifies' if number else 'signs'}")


@command.command()
@click.option("--forget", is_flag=True, help="tokens signed by former keys stop working at once")
@with_settings()
def rotate(loaded: Loaded, forget: bool) -> None:
    """Sign with a new key from now on. A running server follows within a second."""
    click.echo(HostIssuer(keys_folder(loaded)).rotate(forget))
