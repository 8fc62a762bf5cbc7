"""The same build by local processes, by dask's workers (one killed midway, too) and by Ray's: time and fingerprint.

    python benchmarks/engines.py ROOT FOLDER DATASET [KEY=VALUE ...]

Needs the extras `dask` and `ray`. Two workers each; a process that starts and the engine's own start are not counted,
for an engine is there already. Builds go to FOLDER and are removed. Run it on a quiet machine: it compares wall time.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from dask.distributed import LocalCluster

from poisongen import build

WORKERS = 2
ROUNDS = int(os.environ.get("ROUNDS", "2"))


def timed(recipe: dict, root: str, out: Path, **options: object) -> tuple[float, str]:
    """Build, and return how long it took and the fingerprint."""
    start = time.perf_counter()
    fingerprint = build(recipe, root, out, **options).fingerprint
    took = time.perf_counter() - start
    shutil.rmtree(out)
    return took, fingerprint


def kill_later(pid: int, seconds: float) -> None:
    """Kill a worker in the middle of a build."""
    threading.Timer(seconds, os.kill, (pid, signal.SIGKILL)).start()


def main() -> None:
    root, folder, dataset, *pairs = sys.argv[1:]
    recipe = {"dataset": dataset, "strategy": "nn"} | dict(pair.split("=", 1) for pair in pairs)
    recipe = {key: int(value) if str(value).isdecimal() else value for key, value in recipe.items()}
    logging.disable(logging.CRITICAL)
    out, seen, best = Path(folder) / "engines-out", set(), {}

    def note(name: str, took: float, fingerprint: str) -> None:
        seen.add(fingerprint)
        best[name] = min(took, best.get(name, took))
        print(f"{name:24} {took:8.1f} s   {fingerprint[:12]}", flush=True)

    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        url = cluster.scheduler_address.replace("tcp://", "dask://")
        for _ in range(ROUNDS):
            note("local", *timed(recipe, root, out, jobs=WORKERS))
            note("dask", *timed(recipe, root, out, cluster=url))
        kill_later(next(iter(cluster.workers.values())).pid, best["dask"] / 2)
        note("dask, one killed", *timed(recipe, root, out, cluster=url))
    note("ray", *timed(recipe, root, out, cluster="ray://local"))
    print(f"fingerprints: {len(seen)}; dask over local: {best['dask'] / best['local'] - 1:+.1%}")


if __name__ == "__main__":
    main()
