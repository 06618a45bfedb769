"""`fhir-dmp ig`: build the implementation guide.

See fhir_dmp/guide/building.py.
"""

import fcntl
import os
import signal
import sys
import threading
from pathlib import Path

import click

from fhir_dmp.commands import Failed, with_settings
from fhir_dmp.settings import Loaded


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="folder to write it to, instead of where `serve` looks for it")
@click.option("--if-missing", is_flag=True, help="do nothing when it is built already")
@click.option("--when-told", is_flag=True, hidden=True, help="begin at a line on standard input; stop when it is closed")
@with_settings()
def command(loaded: Loaded, out: Path | None, if_missing: bool, when_told: bool) -> None:
    """Build the implementation guide: its examples are held with a server of its own, on a temporary folder."""
    if when_told:
        if not sys.stdin.readline():
            return
        threading.Thread(target=until_closed, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # After the wait: the libraries of the guide are not loaded before somebody needs them.
    from fhir_dmp.guide import sources

    place = out or sources.place(loaded.settings.data)
    if out and out.exists() and not sources.is_built(out) and any(out.iterdir()):
        raise Failed(f"{out} holds something else than a guide")
    if if_missing and sources.is_built(place):
        click.echo(place)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("w") as lock:
        # Several servers may start at once: one builds, the others find it built.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (if_missing and sources.is_built(place)):
            made(place, quiet=when_told)
        if not out:
            tidy(place)
    click.echo(place)


def made(place: Path, *, quiet: bool) -> None:
    """Build at this place; what is there goes. quiet: beside a server that serves, only what goes wrong is said."""
    import shutil

    from fhir_dmp.guide.building import build
    from fhir_dmp.guide.conversations import Broken

    def say(said: str) -> None:
        if not quiet:
            click.echo(f"fhir-dmp ig: {said}", err=True)

    try:
        new = build(place.with_name(f"{place.name}.new-{os.getpid()}"), say)
    except (Broken, ValueError) as error:
        raise Failed(f"the guide was not built: {error}") from None
    shutil.rmtree(place, ignore_errors=True)
    new.rename(place)


def tidy(place: Path) -> None:
    """Keep the newest guides beside this one, and nothing half made."""
    import shutil

    from fhir_dmp.guide.sources import KEPT

    others = sorted((each for each in place.parent.iterdir() if each.is_dir() and each != place), key=lambda each: each.stat().st_mtime)
    for each in others[: max(0, len(others) - KEPT + 1)]:
        shutil.rmtree(each, ignore_errors=True)


def until_closed() -> None:
    """End this process when whoever started it is gone."""
    while sys.stdin.readline():
        pass
    os.kill(os.getpid(), signal.SIGTERM)
