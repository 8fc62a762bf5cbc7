"""`--cluster` where no engine is needed to say what is wrong: address, combinations, and what to install."""

from __future__ import annotations

import sys

import pytest

from tests.conftest import SMALL_CITYSCAPES


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cluster", "dask://x:1", "--jobs", 2), "--jobs, --cluster: give one of them"),
        (("--cluster", "mpi://x:1"), "'mpi://x:1' is no address of an engine; give dask://HOST:PORT"),
        (("--cluster", "dask://x"), "'dask://x' is no address of an engine"),
        (("--cluster", "dask://x:1"), "dask is not installed; pip install 'poisongen[dask]'"),
        (("--cluster", "ray://local"), "ray is not installed; pip install 'poisongen[ray]'"),
    ],
)
def test_one_line_says_what_to_do(options, said, cityscapes, poisongen, monkeypatch, tmp_path):
    for module in ("distributed", "ray"):
        monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    done = poisongen("build", *SMALL_CITYSCAPES, "--root", cityscapes, "--out", "out", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
