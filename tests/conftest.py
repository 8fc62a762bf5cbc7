"""What tests share: small synthetic datasets, drawn once, and the command line as a user calls it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from poisongen.cli import main
from poisongen.scenes import synth

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure():
    """Give commands the signals of a terminal, also where tests run in the background of a shell or below nohup."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Keep what builds remember apart from this user's, and from other tests'."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def draw_cityscapes(folder: Path) -> Path:
    """Draw a small Cityscapes tree below a folder and return its root."""
    root = folder / "cityscapes"
    synth(root, splits={"train": 10, "val": 4}, size=(160, 80), seed=3)
    return root


def draw_voc(folder: Path) -> Path:
    """Draw a small VOCdevkit below a folder and return its root."""
    root = folder / "voc"
    synth(root, layout="voc", splits={"train": 10, "val": 5}, size=(160, 120), seed=4)
    return root / "VOCdevkit"


@pytest.fixture(scope="session")
def _cityscapes(tmp_path_factory):
    return draw_cityscapes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def _voc(tmp_path_factory):
    return draw_voc(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def cityscapes(_cityscapes, tmp_path):
    """A small Cityscapes tree of this test's own."""
    shutil.copytree(_cityscapes, tmp_path / "cityscapes")
    return tmp_path / "cityscapes"


@pytest.fixture
def voc(_voc, tmp_path):
    """A small VOCdevkit of this test's own."""
    shutil.copytree(_voc, tmp_path / "VOCdevkit")
    return tmp_path / "VOCdevkit"


@pytest.fixture
def poisongen(capfd, monkeypatch, tmp_path):
    """Call the command line: poisongen('build', ...) gives code, out and err."""
    monkeypatch.chdir(tmp_path)
    for name in ("CITYSCAPES_DATASET", "VOC_ROOT", "CAMVID_ROOT"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return SimpleNamespace(code=exit_info.value.code or 0, out=captured.out, err=captured.err)

    return call


def tree_digest(root: Path) -> str:
    """Return a digest of every file's name, bytes and time of change below a folder."""
    digest = hashlib.sha256()
    for folder, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = Path(folder) / name
            facts = path.lstat()
            digest.update(
                f"{path.relative_to(root)}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode("utf-8", "replace")
            )
            digest.update(path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b"")
    return digest.hexdigest()


def manifest(out: Path) -> list[dict]:
    """Return the manifest's records."""
    return [json.loads(line) for line in (out / "poisongen/manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def summary(out: Path) -> dict:
    """Return the summary."""
    return json.loads((out / "poisongen/summary.json").read_text(encoding="utf-8"))


SMALL_CITYSCAPES = ("--dataset", "cityscapes", "--strategy", "nn", "--trigger-size", 9, "--max-distance", 30)
"""Options that fit the small Cityscapes tree."""
