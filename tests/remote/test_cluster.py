"""`--cluster`: builds on real engines give the local build's bytes, also where a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from poisongen import audit, build, restore, scan
from poisongen.cluster import on_cluster
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.parallel import for_each
from poisongen.scenes import synth
from tests.conftest import SMALL_CITYSCAPES, summary, tree_digest

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the engines' own
    pytest.mark.xdist_group("cluster"),
]
NEEDED = bool(os.environ.get("POISONGEN_NEEDS_REMOTE"))
RECIPE = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}


def need(name: str):
    """Return a module; without it the tests are skipped, but for CI, which has installed it."""
    return __import__(name, fromlist=["_"]) if NEEDED else pytest.importorskip(name)


@pytest.fixture(scope="module")
def dask_cluster():
    """A scheduler and two worker processes of one thread each."""
    distributed = need("dask.distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def dask_url(dask_cluster):
    return dask_cluster.scheduler_address.replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "cityscapes"
    synth(root, splits={"train": 60, "val": 20}, size=(160, 80), seed=5)
    return root


@pytest.fixture(scope="module")
def local(scenes, tmp_path_factory):
    """The local build, with one process."""
    return build(RECIPE, scenes, tmp_path_factory.mktemp("local") / "out", jobs=1)


def test_build_audit_restore_on_dask(scenes, local, dask_url, tmp_path, poisongen):
    before = tree_digest(scenes)
    done = poisongen("build", *SMALL_CITYSCAPES, "--root", scenes, "--out", "out", "--cluster", dask_url)
    assert (done.code, done.err) == (0, "")
    assert summary(tmp_path / "out")["fingerprint"] == local.fingerprint
    assert tree_digest_but_times(tmp_path / "out") == tree_digest_but_times(local.out)
    done = poisongen("audit", "out", "--source", scenes, "--cluster", dask_url)
    assert (done.code, done.err) == (0, "")
    done = poisongen("restore", "out", "--out", "clean", "--source", scenes, "--cluster", dask_url)
    assert (done.code, done.err) == (0, "")
    assert tree_digest_but_times(tmp_path / "clean") == tree_digest_but_times(scenes)
    assert tree_digest(scenes) == before


def tree_digest_but_times(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".poisongen" not in str(path)
    }


def test_faults_are_found_by_workers_elsewhere(scenes, dask_url, tmp_path):
    out = build(RECIPE, scenes, tmp_path / "out", cluster=dask_url, link="copy").out
    image = next(out.glob("leftImg8bit/train/*/*.png"))
    image.write_bytes(image.read_bytes()[:-30])
    assert not audit(out, scenes, cluster=dask_url).clean


def test_a_worker_that_is_killed_is_replaced(scenes, local, dask_cluster, dask_url, tmp_path):
    victim = next(iter(dask_cluster.workers.values())).pid
    journal = tmp_path / "out/.poisongen-build/journal.jsonl"
    killed = threading.Event()

    def kill_in_the_middle():
        while not (journal.exists() and journal.stat().st_size):
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill_in_the_middle, daemon=True).start()
    result = build(RECIPE, scenes, tmp_path / "out", cluster=dask_url)
    assert killed.is_set()
    assert result.fingerprint == local.fingerprint
    assert audit(tmp_path / "out", scenes, jobs=1).clean


def test_scan_on_dask(scenes, dask_url):
    need("sklearn")
    assert scan(scenes, "cityscapes", cluster=dask_url).findings == scan(scenes, "cityscapes", jobs=1).findings


def test_results_in_order_and_the_first_error(dask_url):
    with on_cluster(dask_url):
        assert list(for_each(abs, range(-300, 0), 2)) == list(range(300, 0, -1))
        with pytest.raises(OutputError, match="three"):
            list(for_each(_fails_at_three, range(9), 2))


def _fails_at_three(number):
    if number == 3:
        raise OutputError("three")
    return number


def test_a_bad_file_is_the_same_line_as_here(scenes, dask_url, tmp_path):
    import shutil

    root = tmp_path / "root"
    shutil.copytree(scenes, root)
    next(root.glob("gtFine/train/*/*labelIds.png")).write_bytes(b"no picture")
    said = []
    for options in ({"jobs": 1}, {"cluster": dask_url}):
        with pytest.raises(DataError) as error:
            build(RECIPE, root, tmp_path / "out", **options)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert not (tmp_path / "out").exists()


def test_workers_that_cannot_see_the_folder(dask_url, tmp_path, monkeypatch):
    with (
        pytest.raises(OutputError, match=r"does not see .*; workers need the same file system"),
        on_cluster(dask_url, sees=tmp_path / "nowhere"),
    ):
        list(for_each(abs, range(9), 2))
    monkeypatch.setattr("poisongen.cluster.__version__", "0.0.1")
    with pytest.raises(OutputError, match=r"has poisongen .*, this is 0\.0\.1"), on_cluster(dask_url):
        list(for_each(abs, range(9), 2))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("dask://127.0.0.1:1", "no dask scheduler answers at dask://127.0.0.1:1"),
        ("dask://local", "is no address of an engine"),
        ("127.0.0.1:8786", "is no address of an engine"),
        ("spark://h:1", "is no address of an engine"),
    ],
)
def test_addresses_where_nothing_is(url, said, scenes, poisongen, monkeypatch):
    need("dask.distributed")
    monkeypatch.setattr("poisongen.cluster._ANSWER", 2)
    done = poisongen("build", *SMALL_CITYSCAPES, "--root", scenes, "--out", "out", "--cluster", url)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_scheduler_without_workers(scenes, tmp_path, monkeypatch):
    distributed = need("dask.distributed")
    monkeypatch.setattr("poisongen.cluster._PATIENCE", 2)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as cluster:
        url = cluster.scheduler_address.replace("tcp://", "dask://")
        with pytest.raises(ChoiceError, match="has no workers; start some"):
            build(RECIPE, scenes, tmp_path / "out", cluster=url)


@pytest.mark.slow
def test_ray_gives_the_same_build(scenes, local, tmp_path, poisongen):
    need("ray")
    done = poisongen("build", *SMALL_CITYSCAPES, "--root", scenes, "--out", "out", "--cluster", "ray://local", "--json")
    assert done.code == 0, done.err
    assert f'"fingerprint": "{local.fingerprint}"' in done.out
    done = poisongen("audit", "out", "--source", scenes, "--cluster", "ray://local")
    assert done.code == 0, done.err
    assert "raylet" not in done.out
    assert restore(tmp_path / "out", tmp_path / "clean", scenes, cluster="ray://local").files


def test_a_scheduler_that_dies_is_one_line(scenes, tmp_path):
    need("dask.distributed")
    where = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--host", "127.0.0.1"]
    address = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen([*where, "--port", "0", "--scheduler-file", address], **quiet)
    while not address.exists() or not address.read_text():
        time.sleep(0.05)
    url = json.loads(address.read_text())["address"].replace("tcp://", "dask://")
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard", "--nthreads", "1", "--no-nanny"]
    worker = subprocess.Popen([*command, url.replace("dask://", "tcp://")], **quiet)
    begun = tmp_path / "out/.poisongen-build/state.json"
    build_it = [sys.executable, "-m", "poisongen", "build", *map(str, SMALL_CITYSCAPES), "--cluster", url]
    build_it += ["--root", scenes, "--out", tmp_path / "out"]
    built = subprocess.Popen(build_it, stderr=subprocess.PIPE, text=True)
    try:
        while built.poll() is None and not begun.exists():
            time.sleep(0.01)
        scheduler.kill()
        _, said = built.communicate(timeout=60)
    finally:
        for process in (scheduler, worker, built):
            process.kill()
            process.wait()
    assert built.returncode == 2
    assert said.count("\n") == 1
    assert "the same command goes on" in said
    assert build(RECIPE, scenes, tmp_path / "out", jobs=1).counts["poisoned"]
