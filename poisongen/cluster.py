"""Work on an engine that exists, `--cluster`: dask or Ray, through joblib's own backends.

Workers see the same file system and write there themselves; journal, links and records stay with the process that
started it. What a lost worker had in hand is given to another, and gives the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import logging
import os
import pickle
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import wrap_non_picklable_objects

from poisongen.errors import ChoiceError, OutputError, PoisongenError
from poisongen.version import __version__

Item = TypeVar("Item")
Result = TypeVar("Result")

FORMS = "dask://HOST:PORT, ray://HOST:PORT or ray://local"
_ANSWER, _PATIENCE = 15, 60  # seconds until an engine must have answered, and until it must have a worker
_LIVES = 3  # how often a worker of Ray's is started again; dask counts the losses of a piece of work itself
_PIECE = 8  # items of each worker whose results are handed out together at first; more when they take less than
_SECONDS = 5.0
_one_at_a_time = threading.Lock()  # a worker may have several threads; OpenCV, libjpeg and standard error are shared


@dataclass(frozen=True)
class Engine:
    """An engine that was reached: how many workers it has, how joblib is told of it, and what they must see.

    `streams`: its backend hands out results as they come, where others only do so for a whole list.
    """

    url: str
    workers: int
    backend: Callable[[], Any]
    streams: bool
    sees: str | None


@dataclass(frozen=True)
class _Failed:
    """An error of the work itself; any other error that comes back is the engine's."""

    error: Exception


_current: ContextVar[Engine | None] = ContextVar("engine", default=None)


def current_engine() -> Engine | None:
    """Return the engine that work goes to, None for this machine's processes."""
    return _current.get()


@contextlib.contextmanager
def on_cluster(url: str | None, jobs: int | None = None, sees: Path | str | None = None) -> Iterator[None]:
    """Let `for_each` give its work to the engine at `url`; with None nothing changes.

    `sees` is a folder that every worker must see. ChoiceError for another form of address, for `jobs` beside it, where
    the engine's package is missing or nothing answers.
    """
    if url is None:
        yield
        return
    if jobs is not None:
        raise ChoiceError("--jobs, --cluster: give one of them; an engine has as many workers as were started")
    kind, place = _parsed(url)
    with (_dask if kind == "dask" else _ray)(url, place) as (workers, backend):
        token = _current.set(
            Engine(url, workers, backend, kind == "dask", None if sees is None else str(Path(sees).absolute()))
        )
        try:
            yield
        finally:
            _current.reset(token)


def _parsed(url: str) -> tuple[str, str]:
    """Return the engine and its HOST:PORT, or `local`. ChoiceError."""
    match = re.fullmatch(r"(dask|ray)://([^/\s]+:\d+)/?", url)
    if match:
        return match[1], match[2]
    if url == "ray://local":
        return "ray", "local"
    raise ChoiceError(f"--cluster: '{url}' is no address of an engine; give {FORMS}")


def _load(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ChoiceError(f"--cluster: {extra} is not installed; pip install 'poisongen[{extra}]'") from None


Reached = tuple[int, Callable[[], Any]]


@contextlib.contextmanager
def _dask(url: str, place: str) -> Iterator[Reached]:
    distributed = _load("distributed", "dask")
    for name in ("asyncio", *(name for name in logging.root.manager.loggerDict if name.startswith("distributed"))):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what matters of it is told in one line
    try:
        client = distributed.Client(f"tcp://{place}", timeout=_ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ChoiceError(f"--cluster: no dask scheduler answers at {url} ({_first_line(error)})") from None
    try:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise ChoiceError(f"--cluster: the scheduler at {url} has no workers; start some") from None
        workers = sum(client.ncores().values())
        yield workers, functools.partial(parallel_config, backend="dask", client=client)
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=5)


@contextlib.contextmanager
def _ray(url: str, place: str) -> Iterator[Reached]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = _load("ray", "ray")
    ray_joblib = _load("ray.util.joblib", "ray")
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    where: dict[str, Any] = {"address": "local", "include_dashboard": False} if place == "local" else {"address": url}
    if ray.is_initialized():
        raise ChoiceError("--cluster: this process has a Ray session already; end it first (ray.shutdown())")
    with _unprinted():
        try:
            ray.init(**where, **quiet)
        except Exception as error:
            raise ChoiceError(f"--cluster: no Ray answers at {url} ({_first_line(error)})") from None
        yield from _ray_session(ray, ray_joblib, url)


def _ray_session(ray: Any, ray_joblib: Any, url: str) -> Generator[Reached, None, None]:
    try:
        workers = int(ray.cluster_resources().get("CPU", 0))
        if workers < 1:
            raise ChoiceError(f"--cluster: the Ray cluster at {url} has no processors; start some nodes")
        ray_joblib.register_ray()
        again = {"max_restarts": _LIVES, "max_task_retries": _LIVES}
        yield workers, functools.partial(parallel_config, backend="ray", ray_remote_args=again)
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _unprinted() -> Iterator[None]:
    """Keep Ray's own words, of a worker that was lost, say, out of standard output, which is for results."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _packed(thing: Any) -> bytes:
    """Return something pickled as joblib's own workers get it, functions without a name included."""
    return pickle.dumps(wrap_non_picklable_objects(thing, keep_wrapper=False))


@functools.lru_cache(maxsize=4)
def _unpacked(packed: bytes) -> Any:
    return pickle.loads(packed)  # noqa: S301  from the process that started the work, by way of the engine


def _remotely(function: bytes, item: bytes, version: str, sees: str | None) -> Any:
    """Do one item in an engine's worker. Bytes, so that no engine keeps parts of them in places that may be lost."""
    with _one_at_a_time:
        cv2.setNumThreads(1)
        warnings.simplefilter("ignore")
        where = f"--cluster: the worker on {socket.gethostname()}"
        if version != __version__:
            return _Failed(OutputError(f"{where} has poisongen {__version__}, this is {version}; install the same"))
        if sees is not None and not os.path.isdir(sees):  # noqa: PTH112
            return _Failed(OutputError(f"{where} does not see {sees}; workers need the same file system"))
        try:
            return _unpacked(function)(pickle.loads(item))  # noqa: S301
        except Exception as error:
            return _Failed(error)


def spread_far(
    engine: Engine, function: Callable[[Item], Result], items: Sequence[Item]
) -> Generator[Result, None, None]:
    """Yield function(item) in the items' order, computed by the engine's workers.

    The first error of the function comes out as it is, after what was begun is done. OutputError where the engine
    fails, or where no worker survives a piece of work.
    """
    failed: _Failed | None = None
    packed = _packed(function)

    def errands() -> Iterator[Any]:
        for item in items:
            if failed is not None:
                return
            yield delayed(_remotely)(packed, _packed(item), __version__, engine.sees)

    results = (_streamed if engine.streams else _in_pieces)(engine, errands(), min(engine.workers, len(items)))
    try:
        for result in results:
            if isinstance(result, _Failed):
                failed = failed or result
            elif failed is None:
                yield result
    except PoisongenError:
        raise
    except ModuleNotFoundError as error:
        raise OutputError(f"--cluster: a worker lacks {error.name}; install this poisongen there") from None
    except Exception as error:
        what = f"{type(error).__name__}: {_first_line(error)}"
        raise OutputError(f"--cluster: {engine.url}: {what}; the same command goes on") from None
    finally:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib's word on tasks that were not done
            results.close()
    if failed is not None:
        raise failed.error


def _streamed(engine: Engine, errands: Iterator[Any], workers: int) -> Generator[Any, None, None]:
    with engine.backend():
        pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch="4*n_jobs")
    yield from pool(errands)


def _in_pieces(engine: Engine, errands: Iterator[Any], workers: int) -> Generator[Any, None, None]:
    """Hand out results whenever a piece of the list is done; its workers stay for the next one."""
    size = _PIECE * workers
    with engine.backend():  # not longer: between results, this process has work of its own
        pool = Parallel(n_jobs=workers, max_nbytes=None)
    with pool:
        while piece := list(itertools.islice(errands, size)):
            start = time.monotonic()
            yield from pool(piece)
            if time.monotonic() - start < _SECONDS:
                size *= 2
