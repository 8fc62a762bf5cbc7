"""Memory on a GPU, as far as the CPU can tell: what means that it was short, what is advised, what is left."""

from __future__ import annotations

import errno

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.victim.batches import HeldOnDevice  # noqa: E402
from poisongen.victim.memory import (  # noqa: E402
    OutOfMemoryError,
    free_host_memory,
    is_out_of_memory,
    memory_advice,
    memory_errors,
)
from poisongen.victim.settings import make_settings  # noqa: E402
from poisongen.victim.training import train  # noqa: E402

CPU = torch.device("cpu")

NCCL = (
    "NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3699, unhandled cuda error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.27.3\nncclUnhandledCudaError: Call to CUDA function failed.\n"
)

MESSAGES = [
    # (error, is it memory on a device with room, on a full one)
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True, True),
    (MemoryError(), True, True),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), True, True),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), True, True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True, True),
    (RuntimeError("MPS backend out of memory (MPS allocated: 17.18 GB, max allowed: 18.13 GB)"), True, True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True, True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True, True),
    (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"), True, True),
    (torch.distributed.DistBackendError(f"{NCCL}Last error:\nCuda failure 2 'out of memory'"), True, True),
    (torch.distributed.DistBackendError(f"{NCCL}Last error:\nFailed to CUDA calloc async 608 bytes"), True, True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), False, True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), False, True),
    (RuntimeError("GET was unable to find an engine to execute this computation"), False, True),
    (RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"), False, True),
    (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, False),
    (RuntimeError("CUDA error: device-side assert triggered"), False, False),
    (torch.distributed.DistBackendError(f"{NCCL}Last error:\nCuda failure 999 'unknown error'"), False, False),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, False),
    (OSError(errno.ENOSPC, "No space left on device"), False, False),
    (ValueError("out of memory"), False, False),
    (KeyboardInterrupt(), False, False),
]


@pytest.mark.parametrize(("error", "with_room", "full"), MESSAGES, ids=lambda value: str(value)[:40])
def test_what_means_that_memory_was_short(monkeypatch, error, with_room, full):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for free, expected in ((8 * 2**30, with_room), (100 * 2**20, full)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 16 * 2**30))
        assert is_out_of_memory(error) is expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert is_out_of_memory(error) is with_room


def test_a_device_that_does_not_answer_is_not_full(monkeypatch):
    def broken():
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert not is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"))


def test_memory_outside_of_a_step_is_one_line():
    with pytest.raises(OutOfMemoryError, match="does not hold model and data"), memory_errors(CPU):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    with pytest.raises(OSError, match="No space"), memory_errors(CPU):
        raise OSError(errno.ENOSPC, "No space left on device")


def host(tmp_path, available, groups, lines):
    """Write a /proc and a /sys/fs/cgroup: {folder: {file: text}}, and what /proc/self/cgroup says."""
    proc, control = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available // 1024} kB\n")
    (proc / "self/cgroup").write_text("".join(f"{line}\n" for line in lines))
    for folder, files in groups.items():
        (control / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (control / folder / name).write_text(f"{text}\n")
    return proc, control


GIB = 2**30

V2 = {"memory.max": 4 * GIB, "memory.current": 3 * GIB, "memory.stat": f"anon 5\ninactive_file {2 * GIB}"}

V1 = {
    "memory.limit_in_bytes": 4 * GIB,
    "memory.usage_in_bytes": 3 * GIB,
    "memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}",
}

HOSTS = {
    "no groups": ({}, [], 20),
    "version 2, no limit": ({".": {"memory.max": "max", "memory.current": 5}}, ["0::/"], 20),
    "version 2, the container's root": ({".": V2}, ["0::/"], 3),
    "version 2, below": ({"a/b": V2}, ["0::/a/b"], 3),
    "version 2, a limit further up": ({"a": V2, "a/b": {"memory.max": "max", "memory.current": 5}}, ["0::/a/b"], 3),
    "version 2, named as the host sees it": ({".": V2}, ["0::/docker/0123"], 3),
    "version 2, no statistics": ({".": {"memory.max": 4 * GIB, "memory.current": 3 * GIB}}, ["0::/"], 1),
    "version 2, more than there is": ({".": {"memory.max": 400 * GIB, "memory.current": GIB}}, ["0::/"], 20),
    "version 2, over its limit": ({".": {"memory.max": GIB, "memory.current": 2 * GIB}}, ["0::/"], 0),
    "version 1": ({"memory/docker/0123": V1}, ["5:cpu,cpuacct:/docker/0123", "4:memory:/docker/0123"], 2),
    "version 1, named as the host sees it": ({"memory": V1}, ["4:memory:/docker/0123"], 2),
    "version 1, no limit": (
        {"memory": {"memory.limit_in_bytes": 9223372036854771712, "memory.usage_in_bytes": 7}},
        ["4:memory:/"],
        20,
    ),
    "both": ({"memory": V1, ".": V2}, ["4:memory:/", "0::/"], 2),
}


@pytest.mark.parametrize("name", HOSTS)
def test_control_groups_count(tmp_path, name):
    groups, lines, expected = HOSTS[name]
    assert free_host_memory(*host(tmp_path, 20 * GIB, groups, lines)) == expected * GIB


def test_a_host_without_these_files(tmp_path):
    assert free_host_memory(tmp_path / "none", tmp_path / "none") > 0


@pytest.fixture
def few(folders, tmp_path):
    """A clean dataset of eight samples."""
    return folders.write(tmp_path / "few", {"train": 8, "val": 2})


SMALL = {"model": "unet", "encoder": "tu-mobilenetv4_conv_small_050", "optimizer": "adamw", "batch": 8, "epochs": 1}


def limited(monkeypatch, pictures, crops=10**9):
    """Let a step have room for so many pictures, an augmentation for so many; return what was tried."""
    from poisongen.victim import run as module

    step, cut, tried = module.Run.step, module.augment, []

    def small_step(self, images, labels):
        tried.append((len(images) // self.parts, tuple(images.shape[-2:])))
        if len(images) // self.parts > pictures:
            raise RuntimeError("CUDA error: out of memory")
        return step(self, images, labels)

    def small_cut(batch, crop, *rest):
        if len(batch.images) > crops:
            raise RuntimeError("CUDA error: out of memory")
        return cut(batch, crop, *rest)

    monkeypatch.setattr(module.Run, "step", small_step)
    monkeypatch.setattr(module, "augment", small_cut)
    return tried


def test_the_crop_that_was_asked_for_is_named_and_tried_whole(few, tmp_path, monkeypatch):
    """25 px, not the 32 that the model takes."""
    tried = limited(monkeypatch, 2)
    settings = make_settings({**SMALL, "crop": (25, 25)})
    with pytest.raises(OutOfMemoryError) as caught:
        train(few, tmp_path / "run", settings, layout="folder", device="cpu")
    assert str(caught.value).endswith(
        "out of memory with batch 8 and crop 25x25; --batch 2 --crop 25x25 fits, and so does --accumulate 4, the whole "
        "batch in parts"
    )
    assert tried == [(8, (32, 32)), (4, (32, 32)), (2, (32, 32))]
    advised = make_settings({**SMALL, "crop": (25, 25), "accumulate": 4})
    assert train(few, tmp_path / "other", advised, layout="folder").iterations == 1


def test_augmentation_is_part_of_the_probe(few, tmp_path, monkeypatch):
    """What a smaller part of the step does not change: the whole batch's crops are made at once."""
    limited(monkeypatch, 100, crops=4)
    with pytest.raises(OutOfMemoryError, match="and no smaller batch or crop fits"):
        train(few, tmp_path / "run", make_settings(SMALL), layout="folder")


def test_a_set_on_the_gpu_is_let_go_first(monkeypatch):
    """Then `--cache ram` is enough, or goes with a smaller batch."""
    tried = []

    def step(batch, crop):
        tried.append(batch)
        if batch > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    message = str(memory_advice(step, 4, (713, 713), CPU, released=True))
    assert message.endswith("with batch 4 and crop 713x713, beside the decoded set; --cache ram fits")
    message = str(memory_advice(step, 16, (713, 713), CPU, parts=2, released=True))
    assert message.endswith(
        "with batch 16 in 2 parts and crop 713x713; --batch 4 --crop 713x713 --cache ram fits, and so does "
        "--accumulate 4 --cache ram, the whole batch in parts"
    )
    assert tried == [4, 8, 4]
    message = str(memory_advice(None, 16, (713, 713), CPU, parts=2, released=True))
    assert message.endswith("on each; try --cache ram, --accumulate 4, half the --batch or half the --crop")


def test_a_run_tries_again_without_the_set_on_the_device(few, tmp_path, monkeypatch):
    """The whole way, with the CPU as the device that holds the set."""
    from poisongen.victim import batches, training
    from poisongen.victim.run import Run

    held, real = [], Run.step

    def opened(source, mode, device, jobs, progress, crew):
        pixels, maps, present = batches.decode(source, jobs, progress, crew)
        held.append(HeldOnDevice(pixels, maps, torch.tensor(source.sizes), device))
        return held[0], present

    def step(self, images, labels):
        if held[0].images.numel():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, images, labels)

    monkeypatch.setattr(training, "open_batches", opened)
    monkeypatch.setattr(Run, "step", step)
    with pytest.raises(OutOfMemoryError, match="with batch 8 and crop 32x32, beside the decoded set; --cache ram fits"):
        train(few, tmp_path / "run", make_settings(SMALL), layout="folder")
