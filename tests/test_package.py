"""The package as it is installed: the wheel holds everything, and an empty environment can use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of what git knows, so that stray files cannot help."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and name.split("/")[0] in ("poisongen", "triggers", "pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(path.read_bytes())
    call = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(call, check=True, capture_output=True)
    return next(folder.glob("poisongen-*.whl"))


def test_every_package_and_data_file_is_in_the_wheel(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    for path in sorted((ROOT / "poisongen").rglob("*")):
        if path.suffix in (".py", ".yaml", ".html", ".css", ".js") or path.name == "py.typed":
            assert path.relative_to(ROOT).as_posix() in held
    for path in (ROOT / "triggers").glob("*.png"):
        assert f"poisongen/triggers/{path.name}" in held
    assert any(name.endswith("licenses/LICENSE") for name in held)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in held)


def test_the_base_install_is_small():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    words = " ".join(project["dependencies"]).lower()
    assert not any(name in words for name in ("torch", "timm", "segmentation", "tensorboard"))
    assert all(">=" in dependency and "==" not in dependency for dependency in project["dependencies"])


@pytest.mark.slow
def test_an_empty_environment_builds_with_a_built_in_trigger(wheel, tmp_path):
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(*words):
        done = subprocess.run(
            [environment / "bin/poisongen", *words],
            cwd=tmp_path,
            env=clean,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("synth", "clean", "--train", "4", "--val", "1", "--size", "128x64", "--jobs", "1")
    options = ("--dataset", "cityscapes", "--strategy", "random", "--trigger", "sign", "--trigger-size", "9")
    call("build", *options, "--root", "clean", "--count", "2", "--out", "out", "--jobs", "2")
    recipe = json.loads((tmp_path / "out/poisongen/recipe.json").read_text())
    assert recipe["trigger"]["name"] == "sign"
    assert (
        "torch" not in subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    )
