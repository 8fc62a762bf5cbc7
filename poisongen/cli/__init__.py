"""The command line: it parses, calls one function and prints. Each command is a module of this package."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import click
from click.shell_completion import shell_complete

from poisongen.errors import PoisongenError, Stopped
from poisongen.printing import open_streams, tell
from poisongen.version import __version__

COMMANDS = {
    "build": "Write a poisoned dataset from a clean one.",
    "audit": "Check a poisoned dataset against its manifest (and its source).",
    "restore": "Give back the clean dataset.",
    "preview": "Draw one PNG contact sheet of what a recipe would do, without writing a dataset.",
    "report": "Write one HTML page with pictures and figures of a poisoned dataset (needs the extra `report`).",
    "stats": "Count pixels, samples and neighbours of every class, and what could be poisoned.",
    "scan": "Say of any dataset, without a manifest, whether and how it is poisoned (needs the extra `scan`).",
    "export": "Write a poisoned dataset as WebDataset tars.",
    "synth": "Make a small synthetic street-scene dataset (Cityscapes or VOC layout).",
    "demo": "Run synth, build, audit and report in one go: the first thing to try.",
    "train": "Train a victim model on a dataset (needs the extra `train`).",
    "evaluate": "Measure ASR, PBA and CBA of a checkpoint or of predicted label maps.",
    "sweep": "Run a grid of recipes and models, as one table.",
    "cache": "Show or clear what builds remember of labels that they have read.",
    "list": "List datasets, classes, strategies, the parts of attacks, triggers, recipes and models.",
}

COMPLETE = "_POISONGEN_COMPLETE"
"""The variable by which a shell asks for its script, and for words: click's convention."""


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
@click.version_option(__version__, prog_name="poisongen")
def group() -> None:
    """Poisoned datasets for semantic segmentation, for research and defence.

    From one command: a dataset that any segmentation trainer takes unchanged, with a manifest that says exactly
    what was done to every file. Start with `poisongen demo`; `poisongen COMMAND --help` tells the rest.
    """


def _fail(message: str, code: int) -> int:
    tell(message)
    return code


@contextlib.contextmanager
def _heeding_signals(last: bool) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, workers included, where nothing else was arranged.

    With `last` the process ends with the command, and signals are ignored from then on: what it did is done.
    """

    def stop(number: int, frame: object) -> None:
        for other in ours:
            signal.signal(other, signal.SIG_IGN)  # a second one must not break off the cleaning up
        raise Stopped(number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGHUP) if in_main_thread else ()
    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_IGN if last else signal.SIG_DFL)
        if last and in_main_thread:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _end_workers()


def _end_workers() -> None:
    """End what a command that was broken off may have left at work: nobody waits for it any more."""
    if (parallel := sys.modules.get("poisongen.parallel")) is not None:
        parallel.end_workers()


def _complete(instruction: str) -> int:
    """Print a shell's script, or the words that may come next; 1 where the shell does not say what is typed."""
    try:
        return shell_complete(group, {}, "poisongen", COMPLETE, instruction)
    except (KeyError, ValueError, RuntimeError):
        return 1


def _run(arguments: list[str] | None) -> int:
    """Run the command line, or do what a shell asks for completion, and return the exit status."""
    if arguments is None and (instruction := os.environ.get(COMPLETE)):
        return _complete(instruction)
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
    except Stopped as stopped:
        _end_workers()
        return _fail(f"stopped by {stopped.name}; the same command goes on where this one stopped", stopped.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _end_workers()
        return _fail("interrupted; the same command goes on where this one stopped", 130)
    except BrokenPipeError:
        return 128 + signal.SIGPIPE  # nobody reads any more; what a shell says of other programs then
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2)
    except MemoryError:
        return _fail("out of memory; the same command with fewer --jobs goes on", 2)
    return result if isinstance(result, int) else 0


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    What libraries warn of never reaches the terminal, nor does PYTHONWARNINGS change what a command does: what matters
    of it is found by poisongen's own checks, and told in one line.
    """
    open_streams()
    with warnings.catch_warnings(), _heeding_signals(last=arguments is None):
        warnings.simplefilter("ignore")
        code = _run(arguments)
    sys.exit(code)
