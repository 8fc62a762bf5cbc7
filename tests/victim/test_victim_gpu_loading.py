"""How pictures reach a GPU, proved on the CPU: what is pinned, who decodes, which workers stay."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.errors import ChoiceError  # noqa: E402
from poisongen.victim.batches import WORKERS, HeldInMemory, HeldOnDevice, Streamed, worker_count  # noqa: E402
from poisongen.victim.canvas import find_source  # noqa: E402
from poisongen.victim.classes import train_classes  # noqa: E402
from poisongen.victim.dataset import open_dataset  # noqa: E402
from poisongen.victim.distributed import Crew  # noqa: E402
from poisongen.victim.order import batch_order  # noqa: E402
from poisongen.victim.shared import shared_arrays  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def few(folders, tmp_path):
    """A clean dataset of eight samples."""
    return folders.write(tmp_path / "few", {"train": 8, "val": 2})


def source_of(root):
    folder = open_dataset(root, "folder")
    classes = train_classes(folder.classes)
    return find_source(folder, folder.samples("train", "--train-split"), None, classes.from_raw, 1)


def test_what_is_held_on_the_device_can_be_let_go(few):
    pixels, maps = np.zeros((3, 3, 4, 4), np.uint8), np.ones((3, 4, 4), np.uint8)
    held = HeldOnDevice(pixels, maps, torch.tensor([[4, 4]] * 3), CPU)
    batch = next(held([np.array([0, 2])]))
    assert batch.labels.sum() == 32
    assert held.release()
    assert held.images.numel() == 0
    assert not HeldInMemory(pixels, maps, torch.tensor([[4, 4]] * 3), CPU).release()
    assert not Streamed(source_of(few), CPU, 1).release()


def test_only_batches_on_their_way_are_pinned(monkeypatch):
    """The set lies in plain memory: pinned, it would be rounded up to a power of two, and pinned once more."""
    sizes, empty = [], torch.empty

    def noted(*arguments, pin_memory=False, **options):
        if pin_memory:
            sizes.append(arguments[0])
        return empty(*arguments, **options)

    monkeypatch.setattr(torch, "empty", noted)
    pixels, maps = np.zeros((9, 3, 4, 4), np.uint8), np.zeros((9, 4, 4), np.uint8)
    held = HeldInMemory(pixels, maps, torch.tensor([[4, 4]] * 9), torch.device("cuda", 0))
    held._gather(np.array([0, 2]))
    assert sizes == [(2, 3, 4, 4), (2, 4, 4)]


def test_workers_are_few_and_shared_out():
    assert worker_count(2, Crew()) == 2
    assert worker_count(96, Crew()) == WORKERS == 16
    assert worker_count(96, Crew(size=16, local_size=8)) == 12
    assert worker_count(4, Crew(size=8, local_size=8)) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_stay_from_epoch_to_epoch(few):
    source = source_of(few)
    batches = Streamed(source, CPU, 2)
    processes, seen = set(), []
    for epoch in range(3):
        order = list(batch_order(8, 2, epoch, seed=1))[epoch:]
        found = list(batches(order))
        assert len(found) == len(order)
        for indices, batch in zip(order, found, strict=True):
            seen.append(indices.tolist())
            for index, image in zip(indices, batch.images, strict=True):
                assert np.array_equal(image.numpy(), source.read_padded(int(index))[0])
        processes |= {worker.pid for worker in batches.loader._iterator._workers}
    assert len(processes) == 2
    assert len({tuple(one) for one in seen}) > 4


def test_one_process_has_plain_memory():
    one, other = shared_arrays([(2, 3), (4,)], Crew())
    assert (one.shape, other.shape, one.dtype) == ((2, 3), (4,), np.uint8)


def test_no_room_for_the_shared_set_is_one_line(tmp_path, monkeypatch):
    import os

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ChoiceError, match=r"no room for the decoded set, .* choose --cache none"):
        shared_arrays([(5,)], Crew(rank=0, local_rank=0, size=2, local_size=2), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_processes_of_one_machine_decode_a_share_each(few, tmp_path):
    """Two processes by torchrun: each reads half of the files, both see all pictures, and no file is left."""
    code = f"""
        import json, os, sys
        import numpy as np, torch
        from pathlib import Path
        from poisongen.victim import batches as module
        from poisongen.victim.canvas import Source, find_source
        from poisongen.victim.classes import train_classes
        from poisongen.victim.dataset import open_dataset
        from poisongen.victim.distributed import find_crew, joined
        torch.set_num_threads(1)
        reads = []
        real = Source.read
        Source.read = lambda self, index: (reads.append(index), real(self, index))[1]
        folder = open_dataset(Path({str(few)!r}), "folder")
        classes = train_classes(folder.classes)
        source = find_source(folder, folder.samples("train", "x"), None, classes.from_raw, 1)
        crew, cpu = find_crew(), torch.device("cpu")
        with joined(crew, cpu):
            mode, _ = module.choose_cache(None, source.bytes, cpu, crew)
            held, present = module.open_batches(source, mode, cpu, 2, False, crew)
            done = sorted(reads)
            batch = next(held([np.arange(8)]))
            alike = all(np.array_equal(batch.images[index].numpy(), source.read_padded(index)[0]) for index in range(8))
        Path({str(tmp_path)!r}, f"{{crew.rank}}.json").write_text(json.dumps([mode, done, alike, sorted(present)]))
    """
    script = tmp_path / "go.py"
    script.write_text(textwrap.dedent(code))
    before = set(memory_files())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [one[1] for one in found] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert [one[0] for one in found] == ["ram", "ram"]
    assert all(one[2] for one in found)
    assert [one[3] for one in found] == [[0, 1, 2, 255]] * 2
    assert set(memory_files()) <= before


def memory_files():
    from poisongen.victim.shared import MEMORY

    return [path.name for path in MEMORY.glob("poisongen-*")] if MEMORY.is_dir() else []
