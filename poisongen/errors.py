"""The errors that poisongen raises for its users: each one is a clear line and an exit status."""

from __future__ import annotations

import os
import signal


def shown(text: object) -> str:
    """Return `text` in a form that fits on one line: unprintable characters become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fsdecode(str(text)))


class PoisongenError(Exception):
    """Something that the user can put right. The message says what, where and what to do.

    `exit_code` is what the command line ends with.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class ChoiceError(PoisongenError):
    """An option, a recipe or a combination of them is not possible."""


class DataError(PoisongenError):
    """A file of the clean dataset is missing, broken or not what its layout asks for.

    `path` is the file (as text), `problem` the message without it.
    """

    def __init__(self, path: object, problem: str) -> None:
        self.path = str(path)
        self.problem = problem
        super().__init__(f"{path}: {problem}")

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str]]:
        return (type(self), (self.path, self.problem))


class Stopped(KeyboardInterrupt):
    """A signal has told the process to end. Whoever cleans up after Ctrl-C does so after this as well."""

    def __init__(self, number: int) -> None:
        self.name = signal.Signals(number).name
        self.exit_code = 128 + number
        super().__init__(self.name)


class OutputError(PoisongenError):
    """The output folder cannot be used as it is, or cannot be written."""
