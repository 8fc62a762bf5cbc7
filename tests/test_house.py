"""What keeps house: lowest versions, the workflow, hooks, the site, and what pages promise about them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.documented import PAGES

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


def lowest(*extras):
    call = [sys.executable, ROOT / ".ci/lowest.py", *extras]
    return subprocess.run(call, check=False, capture_output=True, text=True)


def test_lowest_versions_are_the_bounds_of_pyproject():
    done = lowest()
    wanted = sorted(word.partition(";")[0].replace(">=", "==").lower() for word in PROJECT["dependencies"])
    assert done.stdout.split() == wanted
    extras = PROJECT["optional-dependencies"]
    for extra in extras:
        pins = lowest(extra).stdout.split()
        assert set(wanted) <= set(pins)
        added = {re.sub(r"\[.*\]", "", word).replace(">=", "==").lower() for word in extras[extra]}
        assert set(pins) == set(wanted) | added


def test_a_dependency_without_a_lower_bound_alone_is_refused():
    spec = importlib.util.spec_from_file_location("lowest", ROOT / ".ci/lowest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for word in ("numpy", "numpy==2", "numpy>=2,<3", "numpy~=2.0", "numpy>2"):
        with pytest.raises(ValueError, match="name>=version"):
            module.lowest({"dependencies": [word]}, [])
    assert module.lowest({"dependencies": ["b>=2", "A[x]>=1.0"]}, []) == ["a==1.0", "b==2"]
    done = lowest("nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("pyproject.toml: no extra 'nothing'")


def steps(job):
    return "\n".join(step.get("run", "") for step in WORKFLOW["jobs"][job]["steps"])


def test_the_workflow_covers_versions_and_systems():
    versions = WORKFLOW["jobs"]["quick"]["strategy"]["matrix"]["python-version"]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert WORKFLOW["jobs"]["macos"]["runs-on"].startswith("macos")
    assert "pip install .\npoisongen demo" in steps("macos")
    assert ".ci/lowest.py" in steps("lowest")
    assert "-c lowest.txt" in steps("lowest")
    assert "--cov" in steps("coverage")
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)


def test_the_workflow_installs_only_extras_that_there_are():
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    named = {word for part in re.findall(r"\.\[([\w,]+)\]", text) for word in part.split(",")}
    assert named <= set(PROJECT["optional-dependencies"])
    for script in re.findall(r"python ((?:docs|\.ci)/\w+\.py)", text):
        assert (ROOT / script).is_file()
    for test in re.findall(r"tests/\w+(?:\.py)?", text):
        assert (ROOT / test).exists()


def test_hooks_check_what_make_check_does():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    names = {hook["id"] for repository in hooks["repos"] for hook in repository["hooks"]}
    assert {"ruff-check", "ruff-format", "mypy", "commands"} == names


def test_coverage_has_a_floor():
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert coverage["report"]["fail_under"] >= 78
    assert coverage["run"]["branch"]


def test_nobody_is_told_to_install_what_no_registry_has():
    for page in PAGES:
        if page.name != "releasing.md":
            assert not re.search(r"pip install '?\"?poisongen", page.read_text(encoding="utf-8")), page


def test_every_page_is_in_the_site():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    told = set(re.findall(r"[\w./-]+\.md", str(site["nav"])))
    there = {page.relative_to(ROOT).as_posix() for page in PAGES} | {"docs/commands.md", "docs/api.md"}
    assert told == there


def test_links_between_pages_lead_somewhere():
    for page in [*PAGES, ROOT / "docs/commands.md"]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_tests_named_in_the_security_policy_are_there():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    names = re.findall(r"`(?:tests/)?(test_\w+\.py)`", text)
    assert len(names) >= 4
    for name in names:
        assert (ROOT / "tests" / name).is_file()


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocs", "mkdocstrings", "material")),
    reason="needs the extra `docs`",
)
def test_the_site_builds_without_a_warning(tmp_path):
    call = [sys.executable, ROOT / "docs/make_site.py", "--out", tmp_path / "site"]
    done = subprocess.run(call, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING -" not in done.stderr
    start = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "Poisoned datasets for semantic segmentation" in start
    functions = (tmp_path / "site/docs/api.html").read_text(encoding="utf-8")
    for name in ("build", "audit", "stats", "DatasetStats", "PlacementRules"):
        assert re.search(rf'id="poisongen\.[\w.]+\.{name}"', functions), name
    loaded = re.findall(r'<(?:script|link|img)\b[^>]*(?:src|href)="(?:https?:)?//', start + functions)
    assert not loaded  # nothing is fetched from other hosts
