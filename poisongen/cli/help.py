"""What `--help` prints: a sentence, one worked example as it is written, and the options in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

WIDTH = 100  # columns; examples are written to fit


class Command(click.Command):
    """A command with an `example`, printed line by line, and `sections`: titles with the names of their options.

    Options that no section names stand at the end of the last one.
    """

    def __init__(
        self, *arguments: Any, example: str, sections: Mapping[str, Sequence[str]] | None = None, **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        self.example = [line.strip() for line in example.strip().splitlines()]
        self.sections = dict(sections or {})
        self.context_settings = {"max_content_width": WIDTH, **self.context_settings}

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sentence and the example."""
        super().format_help_text(context, formatter)
        with formatter.section("Example"):
            for line in self.example:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under the titles of their sections."""
        records = {
            option.name: record
            for option in self.get_params(context)
            if isinstance(option, click.Option) and (record := option.get_help_record(context)) is not None
        }
        for title, names in self.sections.items():
            rows = [records.pop(name) for name in names]
            if title == list(self.sections)[-1]:
                rows += [records.pop(name) for name in list(records) if name not in self._named()]
            with formatter.section(title):
                formatter.write_dl(rows)
        if records:
            with formatter.section("Options"):
                formatter.write_dl(list(records.values()))

    def _named(self) -> set[str]:
        return {name for names in self.sections.values() for name in names}
