"""The command line: it parses, calls one function and prints. Each command is a module of this package."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from typing import Any

import click

import poisongen
from poisongen.errors import PoisongenError, shown

COMMANDS = {
    "build": "Write a poisoned dataset from a clean one.",
    "audit": "Check a poisoned dataset against its manifest (and its source).",
    "restore": "Give back the clean dataset.",
    "preview": "Draw one PNG contact sheet of what a recipe would do, without writing a dataset.",
    "synth": "Make a small synthetic street-scene dataset (Cityscapes or VOC layout).",
    "demo": "Run synth, build, audit and the contact sheet in one go: the first thing to try.",
    "train": "Train a victim model on a dataset (needs the extra `train`).",
    "evaluate": "Measure ASR, PBA and CBA of a checkpoint or of predicted label maps.",
    "sweep": "Run a grid of recipes and models, as one table.",
    "list": "List datasets, classes, strategies, triggers, recipes and models.",
}


class _LazyGroup(click.Group):
    """Loads a command's module only when it is called: `--help` stays quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"poisongen.cli.{name}_command").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(poisongen.__version__, prog_name="poisongen")
def group() -> None:
    """Poisoned datasets for semantic segmentation, for research and defence.

    From one command: a dataset that any segmentation trainer takes unchanged, with a manifest that says exactly
    what was done to every file. Start with `poisongen demo`; `poisongen COMMAND --help` tells the rest.
    """


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        click.echo(f"poisongen: {shown(message)}", err=True)
    return code


def _run(arguments: list[str] | None) -> int:
    """Run the command line and return its exit status."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with group.make_context("poisongen", list(arguments)) as context:
            result: Any = group.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except PoisongenError as error:
        return _fail(str(error), error.exit_code)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "poisongen"
        return _fail(f"{error.format_message()} (see {where} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; the same command goes on where this one stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except MemoryError:
        return _fail("out of memory; the same command with fewer --jobs goes on", 2)
    return result if isinstance(result, int) else 0


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    What libraries warn of never reaches the terminal, nor does PYTHONWARNINGS change what a command does: what matters
    of it is found by poisongen's own checks, and told in one line.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.exit(_run(arguments))
