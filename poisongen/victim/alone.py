"""What is refused under torchrun: work that is not shared among processes. No torch needed to see that."""

from __future__ import annotations

import os

from poisongen.errors import ChoiceError


def launched() -> tuple[int, int]:
    """Return this process's number and how many torchrun has started; (0, 1) without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ and "LOCAL_RANK" not in os.environ:
        return 0, 1
    try:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 0, 1


def require_alone(command: str) -> None:
    """ChoiceError if torchrun has started this process and others beside it."""
    _, size = launched()
    if size > 1:
        several = "; for several GPUs start it once for each, with --device cuda:N" if command == "sweep" else ""
        raise ChoiceError(
            f"{command} is not shared among processes, and torchrun has started {size}: start it without torchrun"
            f"{several}"
        )
