"""Ctrl-C and the signals that end a job: a training run saves what it has and says how it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from poisongen.victim.run_log import CHECKPOINT

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class TrainingInterrupted(KeyboardInterrupt):
    """A run was stopped by a signal; the text says what was saved and how to go on."""


def what_is_left(out: Path, resume: bool) -> str:
    """Say what an interruption outside of the training steps, or a second one within, has left in the run's folder."""
    if (out / CHECKPOINT).exists():
        command = f"the same command{'' if resume else ' with --resume'}"
        return f"interrupted; the last checkpoint is {out / CHECKPOINT}: {command} goes on from there"
    return "interrupted; nothing was saved yet, and the same command begins anew"


@dataclass
class Interruption:
    """Whether a signal has `come`, and whether it asks for an end after the step in hand (`asked`).

    While `waiting`, the first one is only noted, or, if `ignoring`, none of them.
    """

    come: bool = False
    asked: bool = False
    waiting: bool = False
    ignoring: bool = False

    def stopping(self) -> bool:
        """Tell whether to stop after this step."""
        return self.asked

    @contextlib.contextmanager
    def noted(self, say: Callable[[str], None]) -> Iterator[None]:
        """Only note the first signal that comes inside."""
        self.waiting, self._say = True, say
        try:
            yield
        finally:
            self.waiting = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, or end what is going on at once."""
        self.come = True
        if self.waiting and self.ignoring:
            return
        if self.waiting and not self.asked:
            self.asked = True
            self._say("interrupted; this step is finished and saved, which may take a moment (again: stop at once)")
            return
        raise KeyboardInterrupt


@contextlib.contextmanager
def watching(ignoring: bool = False) -> Iterator[Interruption]:
    """Take the signals that end a program, where this is the main thread; they are as they were afterwards.

    With `ignoring` nothing happens within the steps: of torchrun's processes the first one saves, and the others step
    with it so long.
    A signal that the program was started to ignore (nohup) is left alone. Loading workers are forks of this process:
    Ctrl-C, which the terminal sends to all, is none of theirs, and any other signal ends them.
    """
    interruption = Interruption(ignoring=ignoring)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    process = os.getpid()

    def handler(number: int, frame: FrameType | None) -> None:
        if os.getpid() == process:
            interruption.handle(number, frame)
        elif number != signal.SIGINT:
            os._exit(128 + number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    taken = [number for number, usual in before.items() if usual not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield interruption
    finally:
        for number in taken:
            signal.signal(number, before[number])
