"""Build, audit and restore on an S3 server of this machine, with one request in a hundred failing: time and requests.

    python benchmarks/stores.py ROOT FOLDER DATASET [KEY=VALUE ...]

Needs the extra `s3` and moto[server]. The server keeps everything in memory; what a network adds is not in the times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from poisongen import audit, build, restore
from poisongen.files import stores
from poisongen.files.stores import place
from tests.remote.shaky import Proxy, serving

PORT = 20555


def main() -> None:
    root, folder, dataset, *pairs = sys.argv[1:]
    recipe = {"dataset": dataset, "strategy": "nn"} | dict(pair.split("=", 1) for pair in pairs)
    recipe = {key: int(value) if str(value).isdecimal() else value for key, value in recipe.items()}
    server = subprocess.Popen(["moto_server", "-p", str(PORT)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(5)
        with serving(Proxy(PORT, every=100)) as proxy:
            os.environ |= {"AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
            os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
            measure(recipe, Path(root), Path(folder), proxy)
    finally:
        server.terminate()


def measure(recipe: dict, root: Path, folder: Path, proxy: Proxy) -> None:
    stores._system("s3").mkdir("bench")
    url = "s3://bench"
    for path in sorted(root.rglob("*")):
        if path.is_file():
            (place(f"{url}/clean") / path.relative_to(root).as_posix()).write(path.read_bytes())

    def timed(name: str, work: Callable[[], object]) -> object:
        proxy.asked.clear()
        hurts, start = proxy.hurts, time.perf_counter()
        result = work()
        verbs = dict(Counter(verb for verb, _ in proxy.asked))
        print(f"{name:12} {time.perf_counter() - start:7.1f} s  {verbs}  failed {proxy.hurts - hurts}", flush=True)
        return result

    local = timed("disk", lambda: build(recipe, root, folder / "stores-out", jobs=2))
    far = timed("s3 build", lambda: build(recipe, f"{url}/clean", f"{url}/out", jobs=2))
    print("same fingerprint:", local.fingerprint == far.fingerprint)
    print("audit clean:", timed("s3 audit", lambda: audit(f"{url}/out", f"{url}/clean", jobs=2)).clean)
    print("restored:", timed("s3 restore", lambda: restore(f"{url}/out", f"{url}/back", f"{url}/clean", jobs=2)).files)


if __name__ == "__main__":
    main()
