"""What the subcommands share: options taken from the table of settings, and one way to fail.

Every command takes `--data` or `--mongodb-uri`.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from fhir_dmp.settings import BY_NAME, Loaded, Setting, load

STORE = ("data", "mongodb_uri")


class Failed(Exception):
    """The command could not do its work; the message is for people."""


def with_settings(*names: str) -> Callable[[Callable], Callable]:
    """Give a command the options of these settings and of `STORE`; it receives `loaded`, a Loaded, instead of them."""

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def run(**given: object) -> object:
            chosen = {name: given.pop(name) for name in (*STORE, *names)}
            return function(loaded=load({**chosen}), **given)

        for name in reversed((*STORE, *names)):
            run = option(BY_NAME[name])(run)
        return run

    return decorate


def keys_folder(loaded: Loaded) -> Path:
    """The data folder. When nobody named one and there is none here, its keys would be known to no server: refused."""
    if loaded.origins["data"] == "default" and not loaded.settings.data.is_dir():
        raise Failed(f"there is no data folder {loaded.settings.data}: start a server first, or name its folder with --data")
    return loaded.settings.data


def option(setting: Setting) -> Callable:
    """The command line option of a setting. Absent means: look further, in the environment and the file."""
    flag = "--" + setting.name.replace("_", "-")
    if setting.type is bool:
        return click.option(flag, setting.name, is_flag=True, default=None, flag_value=True, help=setting.help)
    kind = {int: int, float: float, Path: click.Path(path_type=Path)}.get(setting.type, str)
    return click.option(flag, setting.name, type=kind, default=None, help=setting.help)


__all__ = ["STORE", "Failed", "Loaded", "keys_folder", "option", "with_settings"]
