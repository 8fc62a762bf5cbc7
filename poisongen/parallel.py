"""Work spread over processes: results come back in order, errors as errors, and Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import cv2
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm import tqdm

from poisongen.errors import OutputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAIN_PROCESS = os.getpid()


def job_count(jobs: int | None) -> int:
    """Return how many workers to use: the number given, else one for each core this process may use."""
    if jobs is not None:
        return max(1, jobs)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quietly(function: Callable[[Item], Result], item: Item, main_process: int) -> Result:
    """Run one item in a worker: without OpenCV's own threads, and leaving Ctrl-C to the main process."""
    if os.getpid() != main_process:
        cv2.setNumThreads(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return function(item)


def for_each(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, progress: str | None = None
) -> Iterator[Result]:
    """Yield function(item) for every item, in the items' order, computed by `jobs` processes.

    `progress` names a bar on standard error, which is drawn on a terminal only. Errors of the function come out as
    they are. OutputError if a worker was killed. With one job everything runs in this process.
    """
    bar: Any = tqdm(
        total=len(items), desc=progress, file=sys.stderr, disable=None if progress else True, leave=False, unit=""
    )
    with bar:
        if jobs == 1 or len(items) < 2:
            threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
            try:
                for item in items:
                    yield function(item)
                    bar.update()
            finally:
                cv2.setNumThreads(threads)
            return
        finished = False
        try:
            pool = Parallel(n_jobs=min(jobs, len(items)), return_as="generator", pre_dispatch="4*n_jobs")
            for result in pool(delayed(_quietly)(function, item, _MAIN_PROCESS) for item in items):
                yield result
                bar.update()
            finished = True
        except BrokenProcessPool:
            raise OutputError(
                "a worker was killed, most likely for want of memory; the same command with fewer --jobs goes on"
            ) from None
        finally:
            if not finished:
                get_reusable_executor().shutdown(wait=True, kill_workers=True)
