"""Writers: a scene as the files that Cityscapes or VOC would hold for it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from poisongen.datasets.cityscapes_classes import LABELS, TRAIN_IDS
from poisongen.datasets.voc import NAMES, PALETTE, VOID
from poisongen.files.store import write_whole
from poisongen.scenes.scene import Scene

# Invented towns; scenes go round them.
_TOWNS: dict[str, tuple[str, ...]] = {
    "train": ("lindhafen", "morsbrueck", "altenfurth"),
    "val": ("seewinkel", "osterkamp"),
}
_OTHER_TOWNS = ("neuhagen", "tannrode")

_COLOURS = np.zeros((256, 4), np.uint8)
for _label in LABELS:
    if _label.id >= 0:
        _COLOURS[_label.id] = (*_label.colour, 255)

# VOC splits and the year that starts their picture's names, so that no name occurs twice.
VOC_YEARS: Mapping[str, int] = {"train": 2007, "val": 2008, "test": 2009}
_VOC_OF = {24: "person", 25: "person", 26: "car", 28: "bus", 33: "bicycle"}  # all else is background
_VOC_CLASS = np.zeros(256, np.uint8)
for _id, _name in _VOC_OF.items():
    _VOC_CLASS[_id] = NAMES.index(_name)
_VOC_SMALLEST = 0.0004  # of the picture; smaller objects are void, as VOC's annotators left out what is hard to see


def cityscapes_stem(split: str, number: int) -> str:
    """Return what the names of a scene's files begin with: TOWN/TOWN_000000_NUMBER."""
    towns = _TOWNS.get(split, _OTHER_TOWNS)
    town = towns[number % len(towns)]
    return f"{town}/{town}_000000_{number:06d}"


def voc_id(split: str, number: int) -> str:
    """Return the name of a VOC picture, such as 2007_000032; names are unique over all splits."""
    return f"{VOC_YEARS[split]}_{number:06d}"


def write_cityscapes(out: Path, split: str, number: int, scene: Scene, *, train_ids: bool = True) -> Path:
    """Write one scene's leftImg8bit and gtFine files below `out`; return the picture's path."""
    stem = cityscapes_stem(split, number)
    picture = out / "leftImg8bit" / split / f"{stem}_leftImg8bit.png"
    start = f"{out / 'gtFine' / split / stem}_gtFine_"
    _write_png(picture, scene.image)
    _write_png(Path(f"{start}labelIds.png"), scene.label_ids)
    if train_ids:
        _write_png(Path(f"{start}labelTrainIds.png"), TRAIN_IDS[scene.label_ids])
    _write_png(Path(f"{start}instanceIds.png"), scene.instance_ids)
    _write_png(Path(f"{start}color.png"), _COLOURS[scene.label_ids])
    height, width = scene.label_ids.shape
    document = {"imgHeight": height, "imgWidth": width, "objects": scene.polygons}
    write_whole(Path(f"{start}polygons.json"), (json.dumps(document) + "\n").encode())
    return picture


def write_voc(out: Path, split: str, number: int, scene: Scene) -> Path:
    """Write one scene's JPEG and its two masks below `out`; return the JPEG's path. The lists come last."""
    name = voc_id(split, number)
    root = out / "VOCdevkit" / "VOC2012"
    classes, objects = voc_masks(scene)
    picture = root / "JPEGImages" / f"{name}.jpg"
    _save(Image.fromarray(scene.image), picture, "JPEG", quality=90, subsampling="4:2:0")
    for folder, mask in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        image = Image.fromarray(mask)
        image.putpalette([channel for colour in PALETTE for channel in colour], "RGB")
        _save(image, root / folder / f"{name}.png", "PNG")
    return picture


def _save(image: Image.Image, path: Path, form: str, **options: Any) -> None:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    write_whole(path, stream.getvalue())


def write_voc_lists(out: Path, splits: Mapping[str, int]) -> None:
    """Write ImageSets/Segmentation/{train,val,trainval}.txt, and those of further splits."""
    folder = out / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    names = {split: [voc_id(split, number) for number in range(splits.get(split, 0))] for split in VOC_YEARS}
    lists = {"train": names["train"], "val": names["val"], "trainval": names["train"] + names["val"]}
    if names["test"]:
        lists["test"] = names["test"]
    for name, entries in lists.items():
        write_whole(folder / f"{name}.txt", "".join(f"{entry}\n" for entry in entries).encode("ascii"))


def voc_masks(scene: Scene) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return VOC's class mask and object mask of a scene, both (H, W) uint8.

    0 is background; objects are numbered from 1 in the order of Cityscapes' instance IDs; 255 is void: three
    pixels along every object's border, the own car's bonnet, and objects too small to be annotated. A rider and
    the bicycle are two objects.
    """
    numbers = np.where(_VOC_CLASS[scene.label_ids] > 0, scene.instance_ids, 0)
    values, first = np.unique(numbers, return_inverse=True)
    areas = np.bincount(first.ravel(), minlength=len(values))
    small = areas < _VOC_SMALLEST * numbers.size
    table, count = np.zeros(len(values), np.uint8), 0
    for k, value in enumerate(values.tolist()):
        if value == 0:
            continue
        count += not small[k]
        table[k] = VOID if small[k] or count >= VOID else count
    objects = table[first].reshape(numbers.shape)
    changes = np.zeros(numbers.shape, np.uint8)
    changes[:, :-1] |= numbers[:, :-1] != numbers[:, 1:]
    changes[:-1, :] |= numbers[:-1, :] != numbers[1:, :]
    void = cv2.dilate(changes, np.ones((3, 3), np.uint8)).astype(bool)
    void |= (objects == VOID) | (scene.label_ids == 1)
    classes = np.where(void, VOID, _VOC_CLASS[scene.label_ids])
    return classes.astype(np.uint8), np.where(void, VOID, objects).astype(np.uint8)


def _write_png(path: Path, pixels: npt.NDArray[np.unsignedinteger]) -> None:
    """Write (H, W) uint8 or uint16, RGB or RGBA pixels as PNG."""
    if pixels.ndim == 3:
        # OpenCV wants blue first, and alpha last.
        pixels = np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise OSError(f"{path}: the PNG encoder failed")
    write_whole(path, data.tobytes())
