"""The package as it is installed: the wheel holds everything, and an empty environment can use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import poisongen

ROOT = Path(__file__).resolve().parents[1]
KEPT = (
    "poisongen",
    "triggers",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "SECURITY.md",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what git knows, so that stray files cannot help."""
    source = tmp_path_factory.mktemp("package") / "source"
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
        if path.is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(path.read_bytes())
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel, built in an environment of its own as pip does."""
    folder = tmp_path_factory.mktemp("wheel")
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


def test_the_version_stands_in_one_place_and_pages_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "poisongen.version.__version__"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == poisongen.__version__
    newest = re.search(r"^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest[1] == poisongen.__version__


def test_every_package_of_the_tree_is_named():
    named = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in (ROOT / "poisongen").rglob("*.py")}
    assert named == there | {"poisongen.triggers", "poisongen.recipes"}


@pytest.mark.slow
def test_a_release_holds_what_the_repository_does(source, tmp_path):
    """`python -m build`, as docs/releasing.md says: the archive of sources, and the wheel that is made from it."""
    call = [sys.executable, "-m", "build", "--outdir", tmp_path, source]
    subprocess.run(call, check=True, capture_output=True)
    (archive,), (wheel,) = tmp_path.glob("*.tar.gz"), tmp_path.glob("*.whl")
    assert archive.name == f"poisongen-{poisongen.__version__}.tar.gz"
    with tarfile.open(archive) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    kept = [path for path in source.rglob("*") if path.is_file() and path.relative_to(source).parts[0] in KEPT]
    assert len(kept) > 200
    assert {path.relative_to(source).as_posix() for path in kept} <= inside
    assert not any(name.startswith(("tests", "benchmarks", "docs", ".ci", ".github")) for name in inside)
    in_wheel = {name.replace("poisongen/triggers/", "triggers/") for name in zipfile.ZipFile(wheel).namelist()}
    data = [path for path in kept if path.relative_to(source).parts[0] in ("poisongen", "triggers")]
    assert {path.relative_to(source).as_posix() for path in data if path.suffix != ".md"} <= in_wheel


@pytest.mark.slow
def test_an_empty_environment_demonstrates_itself_without_the_source_tree(wheel, tmp_path):
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def call(*words):
        done = subprocess.run(words, cwd=tmp_path, env=clean, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    program = environment / "bin/poisongen"
    assert str(environment) in call(python, "-c", "import poisongen; print(poisongen.__file__)")
    assert call(program, "--version").split()[-1] == poisongen.__version__
    told = call(program, "demo", "--out", "demo", "--jobs", "2")
    assert "no faults" in told
    assert "fingerprint " in told
    assert json.loads(call(program, "list", "recipes", "--json"))["recipes"].keys() == {
        path.stem for path in (ROOT / "poisongen/recipes").glob("*.yaml")
    }
    # What the program advises where an extra is missing works without a registry's package: pip takes what is there.
    call(python, "-m", "pip", "install", "--quiet", "poisongen[wavelet]")
    assert "PyWavelets" in call(python, "-m", "pip", "list")


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
