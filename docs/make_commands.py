"""Write docs/commands.md, the reference of commands and options, from the command line's own code.

    python docs/make_commands.py            write it
    python docs/make_commands.py --check    say whether it is current (exit status 1 if not)

Nothing is taken from what click prints, which differs between its versions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from poisongen.cli import COMMANDS, group
from poisongen.cli.help import Command
from poisongen.cli.options import Named

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands and options

*Written by `python docs/make_commands.py`; edit the code instead.* `poisongen COMMAND --help` prints the same, and
names parts that other packages bring. `python -m poisongen` is the same program. Results go to standard output,
progress and errors to standard error. Exit status: 0 done, 1 the command worked and found a fault or poison, 2 the
call, a file or the data is bad (one line says what, where and what to do), 130 interrupted.

| command | what it does |
|---|---|
"""
OTHER = "Options"
_WORDS = {
    "integer": "N",
    "integer range": "N",
    "float": "NUMBER",
    "float range": "NUMBER",
    "path": "PATH",
    "text": "TEXT",
}


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def form(option: click.Option) -> str:
    """Return an option as it is written: its names, and what it takes."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return f"`{names}`"
    choices = getattr(option.type, "choices", None)
    takes = option.metavar or ("|".join(choices) if choices else _WORDS.get(option.type.name, option.type.name.upper()))
    return f"`{names} {takes}`".replace("|", "\\|")


def words(option: click.Option) -> str:
    """Return what an option means."""
    text = option.with_names(option.help or "") if isinstance(option, Named) else option.help or ""
    return cell(text)


def argument(parameter: click.Argument) -> str:
    """Return an argument as a usage line shows it."""
    name = (parameter.metavar or parameter.name or "").upper()
    return name if parameter.required else f"[{name}]"


def section(name: str, command: click.Command) -> list[str]:
    """Return a command's part of the page."""
    arguments = [argument(parameter) for parameter in command.params if isinstance(parameter, click.Argument)]
    options = {parameter.name: parameter for parameter in command.params if isinstance(parameter, click.Option)}
    lines = [f"## poisongen {name}", "", f"    poisongen {' '.join([name, '[OPTIONS]', *arguments])}", ""]
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    lines += [line for paragraph in paragraphs for line in (paragraph, "")]
    if isinstance(command, Command):
        lines += ["For example:", "", *(f"    {line}" for line in command.example), ""]
    groups = dict(command.sections) if isinstance(command, Command) else {}
    named = {key for keys in groups.values() for key in keys}
    rest = [key for key in options if key not in named]
    groups = {**groups, OTHER: rest} if rest else groups
    for title, keys in groups.items():
        lines += [
            f"| {title} | |",
            "|---|---|",
            *(f"| {form(options[key])} | {words(options[key])} |" for key in keys),
            "",
        ]
    return lines


def page() -> str:
    """Return the whole page."""
    context = click.Context(group)
    lines = [f"| [`{name}`](#poisongen-{name}) | {cell(title)} |" for name, title in COMMANDS.items()]
    lines.append("")
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None  # noqa: S101  it is listed
        lines += section(name, command)
    return HEAD + "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is not current")
    PAGE.write_text(page(), encoding="utf-8")
