"""Roots and outputs on object stores: the same bytes as on disk, through a connection that fails on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

import pytest

from poisongen import audit, build, restore
from poisongen.errors import ChoiceError, DataError, OutputError
from poisongen.files import stores
from poisongen.files.stores import StorePath, place
from poisongen.parallel import end_workers
from poisongen.scenes import synth
from tests.conftest import SMALL_CITYSCAPES
from tests.remote.shaky import Proxy, serving
from tests.remote.test_cluster import need

pytestmark = pytest.mark.filterwarnings("ignore")
RECIPE = {"dataset": "cityscapes", "strategy": "nn", "trigger_size": 9, "max_distance": 30}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "cityscapes"
    synth(root, splits={"train": 6, "val": 3}, size=(160, 80), seed=5)
    return root


@pytest.fixture(scope="module")
def local(scenes, tmp_path_factory):
    return build(RECIPE, scenes, tmp_path_factory.mktemp("local") / "out", jobs=1, undo=True)


@pytest.fixture(scope="module")
def behind():
    """The port of a real S3 server."""
    need("s3fs")
    server = need("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def proxy(behind, monkeypatch):
    """The way to the server; whole until a test says otherwise."""
    with serving(Proxy(behind)) as proxy:
        _go_to(proxy, monkeypatch)
        yield proxy
    end_workers()
    _forget()


def _go_to(proxy, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",  # this module's own retries are what is tested
    }.items():
        monkeypatch.setenv(name, value)
    end_workers()
    _forget()


def _forget():
    import s3fs

    stores._system.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


def _upload(root, url):
    for path in root.rglob("*"):
        if path.is_file():
            (place(url) / path.relative_to(root).as_posix()).write(path.read_bytes())


def _on_disk(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _far(url):
    return {name: (place(url) / name).read_bytes() for name in place(url).files()}


@pytest.fixture
def bucket(proxy):
    name = f"b{uuid.uuid4().hex}"
    stores._system("s3").mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def memory():
    need("fsspec")
    return f"memory://b{uuid.uuid4().hex}"


def _everything(url, scenes, local, jobs):
    _upload(scenes, f"{url}/clean")
    built = build(RECIPE, f"{url}/clean", f"{url}/out", jobs=jobs, undo=True)
    assert built.fingerprint == local.fingerprint
    assert _far(f"{url}/out") == _on_disk(local.out)
    assert build(RECIPE, f"{url}/clean", f"{url}/out", jobs=jobs).already_built
    assert audit(f"{url}/out", f"{url}/clean", jobs=jobs).clean
    assert audit(f"{url}/out", scenes, jobs=jobs).clean
    assert audit(f"{url}/out", jobs=jobs).clean
    restore(f"{url}/out", f"{url}/by-source", f"{url}/clean", jobs=jobs)
    restore(f"{url}/out", f"{url}/by-undo", jobs=jobs)
    assert _far(f"{url}/by-source") == _far(f"{url}/by-undo") == _on_disk(scenes)


def test_memory(memory, scenes, local):
    _everything(memory, scenes, local, 2)


def test_s3_with_one_request_in_a_hundred_failing(bucket, proxy, scenes, local):
    proxy.every = 100
    _everything(bucket, scenes, local, 1)
    assert proxy.hurts >= 5


def test_s3_with_every_seventh_request_failing(bucket, proxy, scenes, local):
    _upload(scenes, f"{bucket}/clean")
    proxy.every = 7
    built = build(RECIPE, f"{bucket}/clean", f"{bucket}/out", jobs=2, undo=True)
    proxy.every = 0
    assert _far(f"{bucket}/out") == _on_disk(local.out)
    assert built.fingerprint == local.fingerprint
    assert proxy.hurts > 10


def test_each_file_is_read_once_by_a_survey(bucket, proxy, scenes):
    from poisongen import plan_build

    _upload(scenes, f"{bucket}/clean")
    proxy.asked.clear()
    plan_build(RECIPE, place(f"{bucket}/clean"), jobs=1)
    read = [
        path.partition("?")[0]
        for verb, path in proxy.asked
        if verb == "GET" and path.partition("?")[0].endswith("labelIds.png")
    ]
    assert len(read) == len(set(read)) == 9


def test_unchanged_files_are_copied_by_the_server(bucket, proxy, scenes):
    _upload(scenes, f"{bucket}/clean")
    proxy.asked.clear()
    build(RECIPE, f"{bucket}/clean", f"{bucket}/out", jobs=1)
    out = place(f"{bucket}/out").files()
    puts = [path.partition("?")[0] for verb, path in proxy.asked if verb == "PUT"]
    assert {f"/{bucket.removeprefix('s3://')}/out/{name}" for name in out} <= set(puts)
    assert not [path for verb, path in proxy.asked if verb == "POST" and "uploads" in path]


def test_from_a_store_to_disk_and_back(bucket, scenes, local, tmp_path):
    _upload(scenes, f"{bucket}/clean")
    assert build(RECIPE, f"{bucket}/clean", tmp_path / "out", jobs=1).fingerprint == local.fingerprint
    assert build(RECIPE, scenes, f"{bucket}/out", jobs=1).fingerprint == local.fingerprint
    assert audit(tmp_path / "out", f"{bucket}/clean", jobs=1).clean


def test_a_killed_build_goes_on(bucket, proxy, scenes, local):
    _upload(scenes, f"{bucket}/clean")
    proxy.every = 100
    command = [sys.executable, "-m", "poisongen", "build", *map(str, SMALL_CITYSCAPES), "--undo", "--jobs", "1"]
    command += ["--root", f"{bucket}/clean", "--out", f"{bucket}/out"]
    before = f"/{bucket.removeprefix('s3://')}/out/leftImg8bit/"
    for wanted in (2, 6):
        proxy.asked.clear()
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        while process.poll() is None and sum(v == "PUT" and p.startswith(before) for v, p in proxy.asked) < wanted:
            time.sleep(0.005)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(OutputError, match="unfinished build"):
            audit(f"{bucket}/out", jobs=1)
    assert build(RECIPE, f"{bucket}/clean", f"{bucket}/out", jobs=1, undo=True).fingerprint == local.fingerprint
    assert _far(f"{bucket}/out") == _on_disk(local.out)


def test_what_the_journal_knows_is_not_done_again(memory, scenes, monkeypatch):
    _upload(scenes, f"{memory}/clean")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("poisongen.building.fill.write_records", stop)
        with pytest.raises(KeyboardInterrupt):
            build(RECIPE, f"{memory}/clean", f"{memory}/out")
    with monkeypatch.context() as patch:
        patch.setattr("poisongen.building.fill.carry_out", stop)
        patch.setattr("poisongen.building.survey.carry_out", stop)
        assert build(RECIPE, f"{memory}/clean", f"{memory}/out").counts["poisoned"]


def test_a_failing_build_leaves_nothing(memory, scenes):
    _upload(scenes, f"{memory}/clean")
    bad = next(name for name in place(f"{memory}/clean").files() if name.endswith("labelIds.png"))
    (place(f"{memory}/clean") / bad).write(b"no picture")
    with pytest.raises(DataError, match=bad):
        build(RECIPE, f"{memory}/clean", f"{memory}/out")
    assert not place(f"{memory}/out").files()


def test_tampering_is_found(memory, scenes):
    out = build(RECIPE, scenes, f"{memory}/out").out
    name = next(name for name in out.files() if name.endswith("labelIds.png"))
    data = (out / name).read_bytes()
    (out / name).write(data[:-20] + bytes(20))
    (out / "stranger.txt").write(b"x")
    faults = audit(f"{memory}/out").faults
    assert {name, "stranger.txt"} <= {fault.file for fault in faults}


def test_wrong_credentials_are_one_line(bucket, proxy, poisongen):
    proxy.denied = True
    done = poisongen("build", *SMALL_CITYSCAPES, "--root", f"{bucket}/clean", "--out", "out")
    assert done.code == 2
    assert "access denied" in done.err
    assert "credentials" in done.err
    assert done.err.count("\n") == 1


def test_a_store_that_does_not_answer(monkeypatch, proxy, poisongen):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(stores, "_TRIES", 2)
    _forget()
    done = poisongen("build", *SMALL_CITYSCAPES, "--root", "s3://nowhere/clean", "--out", "out")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "does not answer" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"link": "symlink"}, "--link symlink: an object store has no links"),
        ({"link": "hardlink"}, "--link hardlink: an object store has no links"),
        ({"cluster": "dask://127.0.0.1:1"}, "--cluster: no other process sees memory://"),
    ],
)
def test_combinations_that_cannot_be(options, said, memory, scenes):
    with pytest.raises((ChoiceError, OutputError), match=said):
        build(RECIPE, scenes, f"{memory}/out", **options)
    assert not place(f"{memory}/out").files()


def test_force_replaces_nothing_on_a_store(memory, scenes):
    build(RECIPE, scenes, f"{memory}/out")
    with pytest.raises(OutputError, match="on an object store nothing is replaced"):
        build(RECIPE | {"seed": 1}, scenes, f"{memory}/out", force=True)
    with pytest.raises(OutputError, match="another recipe"):
        build(RECIPE | {"seed": 1}, scenes, f"{memory}/out")


def test_out_inside_the_root(memory, scenes):
    _upload(scenes, f"{memory}/clean")
    with pytest.raises(ChoiceError, match="inside the clean dataset"):
        build(RECIPE, f"{memory}/clean", f"{memory}/clean/out")


def test_places():
    need("fsspec")
    assert str(place("file:///tmp/x")) == "/tmp/x"
    assert not isinstance(place("file:///tmp/x"), StorePath)
    assert not isinstance(place("plain/folder"), StorePath)
    for wrong in ("nosuch://b/f", "s3://"):
        with pytest.raises(ChoiceError):
            place(wrong)
    assert os.fspath(place("a")) == "a"
