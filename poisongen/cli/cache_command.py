"""`poisongen cache`."""

from __future__ import annotations

import click

from poisongen.cli.help import Command
from poisongen.errors import OutputError
from poisongen.printing import number_of, show
from poisongen.source.memory import cache_folder, cache_size, clear_cache


@click.command("cache", cls=Command, example="poisongen cache clear")
@click.argument("action", type=click.Choice(["show", "clear"]), default="show")
def command(action: str) -> None:
    """Show or clear what builds remember of labels that they have read.

    It lies in the platform's cache folder and holds no label, only what was counted in each.
    """
    if action == "show":
        show([f"{cache_folder()}: {number_of(cache_size(), 'byte')}"])
        return
    try:
        freed = clear_cache()
    except OSError as error:
        raise OutputError(f"{error.filename or cache_folder()} cannot be removed ({error.strerror})") from None
    show([f"{cache_folder()}: {number_of(freed, 'byte')} removed"])
