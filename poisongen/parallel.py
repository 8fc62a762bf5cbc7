"""Work spread over processes: results come back in order, errors as errors, and Ctrl-C ends it."""

from __future__ import annotations

import contextlib
import multiprocessing
import operator
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import cv2
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm import tqdm

from poisongen.allocation import keep_freed_memory
from poisongen.cluster import current_engine, spread_far
from poisongen.errors import ChoiceError, OutputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAIN_PROCESS = os.getpid()
_begun = threading.Event()  # whether workers were ever started
_under_way: list[Any] = []  # joblib's generators that are not through
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class _Failed:
    """An error in a worker, as a result: raised there, it would make joblib kill workers in the midst of things."""

    error: Exception


def job_count(jobs: int | None) -> int:
    """Return how many workers to use: the number given, else an engine's, else one for each core that this process
    may use. ChoiceError.
    """
    if jobs is not None:
        try:
            number = operator.index(jobs)
        except TypeError:
            number = 0
        if isinstance(jobs, bool) or number < 1:
            raise ChoiceError(f"--jobs: {jobs!r} must be a whole number of at least 1")
        return number
    if (engine := current_engine()) is not None:
        return max(2, engine.workers)  # 1 is for what this process does itself
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quietly(function: Callable[[Item], Result], item: Item, main_process: int) -> Result | _Failed:
    """Run one item in a worker: without OpenCV's own threads, and leaving signals to the main process."""
    if os.getpid() != main_process:
        keep_freed_memory()
        cv2.setNumThreads(1)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        _end_with(main_process)
        warnings.simplefilter("ignore")  # as on the command line
    try:
        return function(item)
    except Exception as error:
        return _Failed(error)


def _end_with(main_process: int) -> None:
    """See to it that this worker ends when the main process was killed: it would hold the caller's pipes open."""
    name = "poisongen-watch"
    if any(thread.name == name for thread in threading.enumerate()):
        return

    def watch() -> None:
        while os.getppid() == main_process:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name=name, daemon=True).start()


def for_each(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int, progress: str | None = None
) -> Iterator[Result]:
    """Yield function(item) for every item, in the items' order, computed by `jobs` processes, or by the engine of
    `on_cluster` if there is one.

    `progress` names a bar on standard error, which is drawn on a terminal only. The first error of the function comes
    out as it is, after the items already begun are done. OutputError if a worker was killed. With one job everything
    runs in this process.
    """
    bar: Any = tqdm(
        total=len(items),
        desc=progress,
        file=sys.stderr,
        disable=None if progress and sys.stderr is not None else True,
        leave=False,
        unit="",
    )
    with bar:
        results = _results(function, items, jobs)
        with contextlib.closing(results):
            for result in results:
                yield result
                bar.update()


def _results(function: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Generator[Result, None, None]:
    if jobs == 1 or len(items) < 2:
        return _here(function, items)
    engine = current_engine()
    return _spread(function, items, jobs) if engine is None else spread_far(engine, function, items)


def _here(function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
    keep_freed_memory()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield from map(function, items)
    finally:
        cv2.setNumThreads(threads)


def _spread(function: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Generator[Result, None, None]:
    """Compute in processes. After an error no new item is begun, and those under way are waited for."""
    failed: _Failed | None = None
    _hush_manager()

    def errands() -> Iterator[Any]:
        for item in items:
            if failed is not None:
                return
            yield delayed(_quietly)(function, item, _MAIN_PROCESS)

    finished, results = False, None
    try:
        pool = Parallel(n_jobs=min(jobs, len(items)), return_as="generator", pre_dispatch="4*n_jobs")
        _begun.set()
        with _signals_held_back(), _some_streams():
            results = pool(errands())
            _under_way.append(results)
        for result in results:
            if isinstance(result, _Failed):
                failed = failed or result
            elif failed is None:
                yield result
        finished = True
    except BrokenProcessPool:
        raise OutputError(
            "a worker was killed, most likely for want of memory; the same command with fewer --jobs goes on"
        ) from None
    finally:
        if not finished:
            with contextlib.suppress(Exception), warnings.catch_warnings():  # what broke it is on its way already
                warnings.simplefilter("ignore")  # joblib's word on tasks that were not done
                _kill_workers()
                if results is not None:
                    results.close()
            end_workers()
        _under_way[:] = [other for other in _under_way if other is not results]
    if failed is not None:
        raise failed.error


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold back the signals that workers ignore while they are started, and let this process have them afterwards.

    Workers inherit what is blocked, and so have it from birth. This process may still get a signal by way of another
    thread; half started workers would then say on the terminal what they miss.
    """
    came: list[int] = []
    usual: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in _IGNORED:
            if callable(signal.getsignal(number)):
                usual[number] = signal.signal(number, lambda number, frame: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    try:
        _start_trackers()  # each start lets two of the signals through
        signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for held, handler in usual.items():
            signal.signal(held, handler)
        if came:
            usual[came[0]](came[0], None)


def _start_trackers() -> None:
    """Start the two processes that clean up after workers, if they do not run yet, and let them do it in silence.

    What a command that was stopped has not cleaned up itself they remove, and would warn of it on the terminal after
    the command's one line. They are started with this process's options for warnings.
    """
    sys.warnoptions.append("ignore")
    try:
        for tracker in (resource_tracker, loky_tracker):
            tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


@contextlib.contextmanager
def _some_streams() -> Iterator[None]:
    """Give loky streams to flush when it starts workers, where this process has none."""
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
        if sys.stdout is None:
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        if sys.stderr is None:
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def _kill_workers() -> None:
    """Kill the workers before anything else is taken down: one that is just starting would miss it, and say so."""
    for child in multiprocessing.active_children():
        if child.name.startswith("LokyProcess") and child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)


def end_workers() -> None:
    """Kill the workers, whatever they are at: files get their names when they are whole, so nothing is torn."""
    if not _begun.is_set():
        return  # asking for them would start loky's helpers
    _kill_workers()
    for results in _under_way:  # whoever was taking them may be kept from it until the process ends
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()
    get_reusable_executor(reuse=True, kill_workers=True).shutdown(wait=True, kill_workers=True)
    _begun.clear()  # what is cleared away when Python itself ends must not start them again


def _hush_manager() -> None:
    """Drop the words of loky's manager thread when it is stopped with work in hand: nobody needs to hear of that."""
    usual = threading.excepthook
    if getattr(usual, "hushes_manager", False):
        return

    def hook(happened: threading.ExceptHookArgs) -> None:
        if happened.thread is None or "ExecutorManager" not in happened.thread.name:
            usual(happened)

    hook.hushes_manager = True  # type: ignore[attr-defined]
    threading.excepthook = hook
