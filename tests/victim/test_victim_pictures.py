"""Reading, the canvas and augmentation: labels are never interpolated, images and labels stay together."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("segmentation_models_pytorch")

from poisongen.errors import ChoiceError  # noqa: E402
from poisongen.victim.augment import MEAN, STD, Augmentation, augment  # noqa: E402
from poisongen.victim.batches import choose_cache, open_batches  # noqa: E402
from poisongen.victim.canvas import Batch, find_source  # noqa: E402
from poisongen.victim.classes import train_classes  # noqa: E402
from poisongen.victim.dataset import open_dataset  # noqa: E402
from poisongen.victim.order import batch_order  # noqa: E402

CPU = torch.device("cpu")
STILL = Augmentation(scale=(1.0, 1.0), flip=0.0)


def blocks(generator, side=8, count=6):
    """A label map of flat blocks, and an image whose red channel is ten times the label."""
    labels = np.repeat(np.repeat(generator.integers(0, 5, (count, count)), side, 0), side, 1).astype(np.uint8)
    image = np.stack([labels * 10] * 3)
    return torch.from_numpy(image), torch.from_numpy(labels)


def batch_of(pairs):
    images, labels = (torch.stack(part) for part in zip(*pairs, strict=True))
    sizes = torch.tensor([labels.shape[1:]] * len(pairs))
    return Batch(images, labels, sizes)


def red(images):
    return images[:, 0] * STD[0] * 255 + MEAN[0] * 255


def test_without_variation_a_crop_is_the_picture_itself():
    batch = batch_of([blocks(np.random.default_rng(0))])
    images, labels = augment(batch, (48, 48), STILL, torch.Generator().manual_seed(0))
    assert torch.equal(labels, batch.labels.long())
    assert torch.allclose(red(images), batch.images[:, 0].float(), atol=1e-3)


def test_crops_are_cut_at_whole_pixels():
    batch = batch_of([blocks(np.random.default_rng(1))] * 4)
    images, labels = augment(batch, (32, 20), STILL, torch.Generator().manual_seed(3))
    assert images.shape == (4, 3, 32, 20)
    assert torch.allclose(red(images), labels.float() * 10, atol=1e-3)
    assert len({tuple(one.flatten().tolist()) for one in labels}) > 1


@pytest.mark.parametrize(
    "plan",
    [
        Augmentation(scale=(0.5, 2.0), flip=0.5),
        Augmentation(scale=(1.0, 1.0), flip=1.0),
        Augmentation(scale=(0.7, 1.5), rotate=30.0, rotate_share=1.0),
    ],
)
def test_images_and_labels_move_together_and_labels_are_not_mixed(plan):
    batch = batch_of([blocks(np.random.default_rng(seed), side=12, count=4) for seed in range(6)])
    images, labels = augment(batch, (40, 40), plan, torch.Generator().manual_seed(5))
    assert set(labels.unique().tolist()) <= {*batch.labels.unique().tolist(), 255}
    known = labels != 255
    # Away from the edges of blocks the image says the label; along them it is interpolated and the label is not.
    agrees = (red(images) - labels * 10).abs() < 0.5
    assert agrees[known].float().mean() > 0.75
    assert (labels == 255).any() or plan.scale == (1.0, 1.0)


def test_outside_the_picture_is_void_and_gray():
    batch = batch_of([blocks(np.random.default_rng(2))])
    images, labels = augment(batch, (64, 64), STILL, torch.Generator().manual_seed(0))
    assert torch.equal(labels[0, 8:56, 8:56], batch.labels[0].long())
    assert (labels[0, :8] == 255).all()
    assert images[0, :, :7].abs().max() < 1e-5


def test_blur_and_colour_leave_labels_alone():
    batch = batch_of([blocks(np.random.default_rng(4))])
    plan = Augmentation(scale=(1.0, 1.0), flip=0.0, blur=1.0, colour=0.4)
    images, labels = augment(batch, (48, 48), plan, torch.Generator().manual_seed(0))
    assert torch.equal(labels, batch.labels.long())
    assert not torch.allclose(red(images), batch.images[:, 0].float(), atol=1.0)


def source_of(root, resize=None):
    folder = open_dataset(root, "folder")
    classes = train_classes(folder.classes)
    return find_source(folder, folder.samples("train", "--train-split"), resize, classes.from_raw, 1)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(("mode", "jobs"), [("ram", 2), ("none", 1), ("none", 2)])
def test_every_cache_gives_the_same_batches(folders, tmp_path, mode, jobs):
    source = source_of(folders.write(tmp_path / "clean", {"train": 7}))
    order = list(batch_order(7, 2, 0, seed=1))
    batches, present = open_batches(source, mode, CPU, jobs, progress=False)
    found = list(batches(order))
    assert len(found) == 3
    for indices, batch in zip(order, found, strict=True):
        for index, image, labels in zip(indices, batch.images, batch.labels, strict=True):
            pixels, ids = source.read(int(index))
            assert np.array_equal(image.numpy().transpose(1, 2, 0), pixels)
            assert np.array_equal(labels.numpy(), ids)
    assert present == (frozenset({0, 1, 2, 255}) if mode == "ram" else frozenset())


def test_pictures_of_several_sizes_share_a_canvas(folders, tmp_path):
    from PIL import Image

    root = folders.write(tmp_path / "clean", {"train": 3})
    for folder in ("images", "masks"):
        path = root / folder / "train" / "001.png"
        with Image.open(path) as picture:
            small = picture.crop((0, 0, 20, 28))
        small.save(path)
    source = source_of(root)
    assert (source.canvas_size, source.sizes[1]) == ((32, 32), (28, 20))
    image, labels = source.read_padded(1)
    assert (labels[28:] == 255).all()
    assert (labels[:, 20:] == 255).all()
    batch = Batch(torch.from_numpy(image)[None], torch.from_numpy(labels)[None], torch.tensor([[28, 20]]))
    _, ids = augment(batch, (28, 20), STILL, torch.Generator().manual_seed(0))
    assert np.array_equal(ids[0].numpy(), labels[:28, :20])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted by Linux's /proc")
def test_the_thread_that_gathers_batches_brings_no_team_of_its_own(tmp_path):
    """More threads at work than cores make every training step slower: up to twice, measured with two cores."""
    code = """
        import os, threading, time
        from pathlib import Path
        import numpy as np, torch
        from poisongen.victim.batches import open_batches
        from poisongen.victim.canvas import Source
        torch.set_num_threads(2)
        class Large(Source):
            def read(self, index):
                return np.full((512, 512, 3), index, np.uint8), np.full((512, 512), index, np.uint8)
        source = Large(Path(), "folder", None, tuple(range(8)), ((512, 512),) * 8, None, None)
        def not_pythons():
            return len(os.listdir("/proc/self/task")) - threading.active_count()
        torch.zeros(10**7).add_(1)  # the main thread's own team
        before = not_pythons()
        batches, _ = open_batches(source, "ram", torch.device("cpu"), 1, False)
        running = batches([np.array([0, 3, 5, 7])] * 3)
        batch = next(running)
        assert batch.images[:, 0, 0, 0].tolist() == [0, 3, 5, 7]
        for _ in range(100):  # threads that have ended may take a moment to go
            if not_pythons() > before:
                time.sleep(0.02)
        print(not_pythons() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"


def test_resizing_keeps_labels_whole(folders, tmp_path):
    source = source_of(folders.write(tmp_path / "clean", {"train": 2}), resize=(21, 50))
    image, labels = source.read(0)
    assert image.shape == (21, 50, 3)
    assert set(np.unique(labels)) <= {0, 1, 2, 255}


def test_orders_are_a_matter_of_seed_and_epoch():
    first = batch_order(10, 3, epoch=0, seed=1)
    assert first.shape == (3, 3)
    assert len(set(first.ravel().tolist())) == 9
    assert np.array_equal(first, batch_order(10, 3, epoch=0, seed=1))
    assert not np.array_equal(first, batch_order(10, 3, epoch=1, seed=1))
    assert not np.array_equal(first, batch_order(10, 3, epoch=0, seed=2))


def test_where_the_decoded_set_lives(monkeypatch):
    from poisongen.victim import batches

    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(batches, "free_memory", lambda device: (10 * 2**30 if device.type == "cuda" else 0, 40 * 2**30))
    assert choose_cache(None, 4 * 2**30, gpu)[0] == "gpu"
    assert choose_cache(None, 6 * 2**30, gpu) == ("ram", "6.00 GiB decoded, kept in memory")
    assert choose_cache(None, 30 * 2**30, gpu)[0] == "none"
    assert choose_cache(None, 4 * 2**30, CPU)[0] == "ram"
    assert choose_cache("none", 1, gpu)[0] == "none"
    with pytest.raises(ChoiceError, match="--cache gpu: there is no GPU"):
        choose_cache("gpu", 1, CPU)
    with pytest.raises(ChoiceError, match=r"--cache gpu: the set takes 20.00 GiB decoded, free are 10.00"):
        choose_cache("gpu", 20 * 2**30, gpu)
    with pytest.raises(ChoiceError, match="--cache ram: the set takes"):
        choose_cache("ram", 50 * 2**30, CPU)


def test_a_source_can_be_given_to_other_processes(folders, tmp_path):
    import pickle

    source = source_of(folders.write(tmp_path / "clean", {"train": 2}))
    image, labels = pickle.loads(pickle.dumps(source)).read(1)
    assert np.array_equal(image, source.read(1)[0])
    assert np.array_equal(labels, source.read(1)[1])
