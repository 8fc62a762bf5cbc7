"""Print constraints that hold every dependency of poisongen at the lowest version that pyproject.toml allows.

    python .ci/lowest.py [EXTRA ...] > lowest.txt && pip install -c lowest.txt '.[EXTRA]'

So the lower bounds are ones that somebody has installed and tested: the job `lowest` of the workflow does.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[A-Za-z0-9._,-]+\])?>=([0-9][0-9a-z.]*)")


def lowest(project: dict, extras: list[str]) -> list[str]:
    """Return one `name==version` for each dependency, sorted. ValueError for one without a lower bound alone."""
    words = list(project["dependencies"])
    for extra in extras:
        if extra not in project["optional-dependencies"]:
            raise ValueError(f"no extra '{extra}'; there are {', '.join(project['optional-dependencies'])}")
        words += project["optional-dependencies"][extra]
    found: dict[str, str] = {}
    for word in words:
        match = _BOUND.fullmatch(word.partition(";")[0].replace(" ", ""))  # a marker says where, not which
        if match is None:
            raise ValueError(f"'{word}' has not the form name>=version")
        found[match[1].lower()] = match[2]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    try:
        print("\n".join(lowest(project, sys.argv[1:])))
    except ValueError as error:
        sys.exit(f"{PYPROJECT.name}: {error}")
