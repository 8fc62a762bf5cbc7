"""Miniature trees of the layouts, with every kind of file that the real ones have, and a reading of each by itself.

What a label file says is read here from the formats' definitions, and never by the layouts' own code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
ROAD, CAR, TREE, VOID = range(4)
TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
COCO_GAPS = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return roles of pixels (road, car, tree, void) and numbers of cars, 0 for none; both (48, 64)."""
    roles, cars = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    roles[:8] = TREE
    for number, left in enumerate((8, 34 + index % 4), 1):
        top, wide = 14 + 3 * index % 9, 8 + (index + number) % 5
        roles[top : top + 8, left : left + wide] = CAR
        cars[top : top + 8, left : left + wide] = number
    roles[-3:, :5] = VOID
    return roles, cars


def save(path: Path, array: np.ndarray, palette: list[int] | None = None) -> None:
    """Write an array as PNG or JPEG, with a palette if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array)
    if palette is not None:
        picture = Image.fromarray(array, mode="L")
        picture.putpalette(palette)
    picture.save(path, **({"quality": 92} if path.suffix == ".jpg" else {}))


def photograph(seed: int) -> np.ndarray:
    """Return a smooth picture, (48, 64, 3) uint8."""
    generator = np.random.default_rng(seed)
    small = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def as_classes(roles: np.ndarray, ids: tuple[int, int, int, int]) -> np.ndarray:
    """Return the class IDs of roles, (48, 64) uint8."""
    return np.array(ids, np.uint8)[roles]


@dataclass(frozen=True)
class Tree:
    """A layout's miniature tree.

    `draw(root)` writes it. `ids` are the label map's numbers for road, car, tree and void. `readers` give, for each
    kind beside the label map, the class IDs that a decoded file says, -1 where it says nothing. `options` go with the
    build. `splits` name the training and the test split. `named` are files of samples that no layout rewrites and that
    build names instead.
    """

    layout: str
    draw: Callable[[Path], None]
    ids: tuple[int, int, int, int]
    kind: str
    readers: dict[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    documents: tuple[str, ...] = ()
    splits: tuple[str, str] = ("train", "val")
    options: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def each(splits=("train", "val"), count=6):
    """Yield split, name, seed, roles and cars of every sample."""
    for at, split in enumerate(splits):
        for index in range(count):
            yield split, f"n{index}", 100 * at + index, *scene(index + at)


def table_of(pairs: dict[int, int], missing: int = -1) -> Callable[[np.ndarray], np.ndarray]:
    """Return a reader of maps of other numbers."""
    table = np.full(65536, missing, np.int64)
    for number, class_id in pairs.items():
        table[number] = class_id
    return lambda array: table[array]


def colours_of(colours: dict[tuple[int, int, int], int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a reader of pictures in colours."""

    def read(array):
        out = np.full(array.shape[:2], -1, np.int64)
        for colour, class_id in colours.items():
            out[(array[..., :3] == colour).all(axis=2)] = class_id
        return out

    return read


def shown(classes: np.ndarray, colours: dict[tuple[int, int, int], int], alpha: bool = False) -> np.ndarray:
    """Return a map in colours."""
    out = np.zeros((*classes.shape, 4 if alpha else 3), np.uint8)
    if alpha:
        out[..., 3] = 255
    for colour, class_id in colours.items():
        out[classes == class_id, :3] = colour
    return out


# ---------------------------------------------------------------------------------------------------------------------

STREET = {(128, 64, 128): 0, (0, 0, 142): 13, (107, 142, 35): 8}  # of train IDs
STREET_IDS = {(128, 64, 128): 7, (0, 0, 142): 26, (107, 142, 35): 21}  # of label IDs


def ade20k(root: Path) -> None:
    for split, name, seed, roles, _ in each(("training", "validation")):
        stem = f"ADE_{'train' if split == 'training' else 'val'}_{seed:08}{name}"
        classes = as_classes(roles, (7, 21, 5, 0))
        save(root / f"images/{split}/{stem}.jpg", photograph(seed))
        save(root / f"annotations/{split}/{stem}.png", classes)
        save(root / f"annotations_detectron2/{split}/{stem}.png", classes - 1)
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n")
    (root / "sceneCategories.txt").write_text("ADE_train_00000000n0 street\n")


def cocostuff(root: Path) -> None:
    raw = [number for number in range(182) if number not in COCO_GAPS]
    for split, name, seed, roles, _ in each(("train2017", "val2017")):
        stem = f"{seed:012}{name[1:]}"
        classes = as_classes(roles, (137, 2, 145, 255))
        save(root / f"images/{split}/{stem}.jpg", photograph(seed))
        save(root / f"annotations/{split}/{stem}_labelTrainIds.png", classes)
        save(root / f"annotations/{split}/{stem}.png", np.array([*raw, *[255] * 85], np.uint8)[classes])
    (root / "annotations/captions_train2017.json").write_text('{"images": [], "annotations": []}')


def bdd100k(root: Path) -> None:
    for split, name, seed, roles, _ in each():
        classes = as_classes(roles, (0, 13, 8, 255))
        save(root / f"images/10k/{split}/{seed:04}-{name}.jpg", photograph(seed))
        save(root / f"labels/sem_seg/masks/{split}/{seed:04}-{name}.png", classes)
        save(root / f"labels/sem_seg/colormaps/{split}/{seed:04}-{name}.png", shown(classes, STREET, alpha=True))
    save(root / "images/10k/test/0900-n0.jpg", photograph(900))
    for split in ("train", "val"):
        names = [f"{seed:04}-{name}.jpg" for own, name, seed, _, _ in each() if own == split]
        outline = {"vertices": [[8, 14], [16, 14], [16, 22]], "types": "LLL", "closed": True}
        frames = [{"name": name, "labels": [{"category": "car", "poly2d": [outline]}]} for name in names]
        runs = [
            {"name": name, "labels": [{"category": "car", "rle": {"size": [48, 64], "counts": "a"}}]} for name in names
        ]
        for folder, document in (("polygons", frames), ("rles", {"frames": runs, "config": None})):
            path = root / f"labels/sem_seg/{folder}/sem_seg_{split}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, indent=1))


def segments(classes: np.ndarray, cars: np.ndarray) -> np.ndarray:
    """Return a panoptic map: segment numbers above 256, so that green counts, and 0 for void."""
    numbers = np.where(roles_void(classes), 0, 300 + classes.astype(np.int64) * 10 + cars)
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=2).astype(np.uint8)


def roles_void(classes: np.ndarray) -> np.ndarray:
    return (classes == 65) | (classes == 123)


def read_segments(array: np.ndarray) -> np.ndarray:
    numbers = (
        array[..., 0].astype(np.int64) + 256 * array[..., 1].astype(np.int64) + 65536 * array[..., 2].astype(np.int64)
    )
    return np.where(numbers == 0, -1, (numbers - 300) // 10)


def segments_in(path: Path) -> list[dict]:
    """Return the segments of a panoptic map, as its JSON has them."""
    array = np.asarray(Image.open(path)).astype(np.int64)
    numbers, told = array[..., 0] + 256 * array[..., 1] + 65536 * array[..., 2], []
    for number in sorted(set(numbers.ravel().tolist()) - {0}):
        places = np.argwhere(numbers == number)
        (top, left), (bottom, right) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        told.append({"id": number, "category_id": (number - 300) // 10 + 1, "area": len(places), "iscrowd": 0,
                     "bbox": [left, top, right - left + 1, bottom - top + 1]})  # fmt: skip
    return told


def panoptic_json(folder: Path) -> dict:
    """Return the JSON of a folder of panoptic maps."""
    paths = sorted(folder.glob("*.png"))
    images = [{"id": path.stem, "file_name": f"{path.stem}.jpg", "height": HEIGHT, "width": WIDTH} for path in paths]
    told = [{"image_id": path.stem, "file_name": path.name, "segments_info": segments_in(path)} for path in paths]
    return {"images": images, "annotations": told, "categories": [{"id": 56, "name": "car"}]}


def _mapillary(root: Path, above: str, ids: tuple[int, int, int, int], older: str = "") -> None:
    palette = [value for index in range(256) for value in (index, 255 - index, 7)]
    for split, name, seed, roles, cars in each(("training", "validation")):
        save(root / f"{split}/images/{seed:03}_{name}.jpg", photograph(seed))
        for folder, numbers in ((above, ids), *([(older, (13, 55, 30, 65))] if older else [])):
            classes = as_classes(roles, numbers)
            place = root / split / folder
            save(place / f"labels/{seed:03}_{name}.png", classes, palette)
            save(place / f"instances/{seed:03}_{name}.png", (classes.astype(np.uint16) * 256 + cars).astype(np.uint16))
            save(place / f"panoptic/{seed:03}_{name}.png", segments(classes, cars))
        if above == "v2.0":
            things = [
                {"label": "construction--flat--road", "polygon": [[0, 0], [63, 0], [63, 47], [0, 47]]},
                {"label": "object--vehicle--car", "polygon": [[8, 14], [16, 14], [16, 22], [8, 22]]},
            ]
            path = root / f"{split}/v2.0/polygons/{seed:03}_{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"width": WIDTH, "height": HEIGHT, "objects": things}))
    for split in ("training", "validation"):
        for folder, year in ((above, 2020 if above == "v2.0" else 2018), *([(older, 2018)] if older else [])):
            path = root / split / folder / f"panoptic/panoptic_{year}.json"
            path.write_text(json.dumps(panoptic_json(path.parent), indent=1))
    (root / f"config_{above or 'v1.2'}.json").write_text('{"labels": []}')
    save(root / "testing/images/x.jpg", photograph(1))


def mapillary(root: Path) -> None:
    _mapillary(root, "", (13, 55, 30, 65))


def mapillary_12(root: Path) -> None:
    _mapillary(root, "v1.2", (13, 55, 30, 65))


def mapillary_20(root: Path) -> None:
    _mapillary(root, "v2.0", (21, 108, 64, 123))


def mapillary_both(root: Path) -> None:
    _mapillary(root, "v2.0", (21, 108, 64, 123), "v1.2")


def pascal_context(root: Path) -> None:
    lists = root / "VOCdevkit/VOC2010/ImageSets/SegmentationContext"
    lists.mkdir(parents=True)
    for split, name, seed, roles, _ in each():
        stem = f"2008_{seed:06}{name}"
        save(root / f"VOCdevkit/VOC2010/JPEGImages/{stem}.jpg", photograph(seed))
        save(root / f"VOCdevkit/VOC2010/SegmentationClassContext/{stem}.png", as_classes(roles, (41, 14, 53, 0)))
        with (lists / f"{split}.txt").open("a") as file:
            file.write(stem + "\n")
    (root / "VOCdevkit/VOC2010/Annotations").mkdir()
    (root / "VOCdevkit/VOC2010/Annotations/2008_000000n0.xml").write_text("<annotation></annotation>")


def kitti(root: Path) -> None:
    for _, name, seed, roles, cars in each(("training",)):
        classes = as_classes(roles, (7, 26, 21, 0))
        stem = f"{seed:06}_{name[1:]}0"
        save(root / f"training/image_2/{stem}.png", photograph(seed))
        save(root / f"training/semantic/{stem}.png", classes)
        save(root / f"training/instance/{stem}.png", (classes.astype(np.uint16) * 256 + cars).astype(np.uint16))
        save(root / f"training/semantic_rgb/{stem}.png", shown(classes, STREET_IDS))
    save(root / "testing/image_2/000000_10.png", photograph(900))


def _acdc(root: Path, folder: Callable[[str], str], splits=("train", "val")) -> None:
    for split, name, seed, roles, _ in each(splits):
        classes = as_classes(roles, (0, 13, 8, 255))
        label_ids = as_classes(roles, (7, 26, 21, 1))
        stem = f"{folder(split)}/GOPR0122/GOPR0122_frame_{seed:06}{name[1:]}"
        save(root / f"rgb_anon/{stem}_rgb_anon.png", photograph(seed))
        save(root / f"gt/{stem}_gt_labelTrainIds.png", classes)
        save(root / f"gt/{stem}_gt_labelIds.png", label_ids)
        save(root / f"gt/{stem}_gt_labelColor.png", shown(classes, STREET, alpha=True))
        save(root / f"gt/{stem}_gt_invIds.png", (roles == TREE).astype(np.uint8))


def acdc(root: Path) -> None:
    _acdc(root, lambda split: f"fog/{split}")
    save(root / "rgb_anon/fog/train_ref/GOPR0122/GOPR0122_frame_000001_ref_rgb_anon.png", photograph(5))


def dark_zurich(root: Path) -> None:
    _acdc(root, lambda split: f"{split}/night", ("val",))
    save(root / "rgb_anon/train/night/GOPR0345/GOPR0345_frame_000001_rgb_anon.png", photograph(5))


def _tiles(root: Path, ids: tuple[int, int, int, int], form: str, end: str = "") -> None:
    for split, name, seed, roles, _ in each():
        stem = form.format(seed=seed, name=name[1:])
        save(root / f"img_dir/{split}/{stem}.png", photograph(seed))
        save(root / f"ann_dir/{split}/{stem}.png", as_classes(roles, ids))


def loveda(root: Path) -> None:
    _tiles(root, (3, 2, 6, 0), "{seed}{name}")
    save(root / "img_dir/test/4000.png", photograph(5))


def loveda_raw(root: Path) -> None:
    for split, name, seed, roles, _ in each(("Train", "Val")):
        place = root / split / ("Rural" if seed % 2 else "Urban")
        save(place / f"images_png/{seed}{name[1:]}.png", photograph(seed))
        save(place / f"masks_png/{seed}{name[1:]}.png", as_classes(roles, (3, 2, 6, 0)))
    save(root / "Test/Rural/images_png/4191.png", photograph(5))


def potsdam(root: Path) -> None:
    _tiles(root, (1, 5, 4, 0), "2_1{name}_{seed}_0_{seed}_512")


def vaihingen(root: Path) -> None:
    _tiles(root, (1, 5, 4, 0), "area{name}_{seed}_0_{seed}_512")


def oxford_pets(root: Path) -> None:
    lists = {"trainval": [], "test": []}
    for split, name, seed, roles, _ in each(("trainval", "test")):
        stem = f"Abyssinian_{seed}{name[1:]}"
        lists[split].append(stem)
        save(root / f"images/{stem}.jpg", photograph(seed))
        save(root / f"annotations/trimaps/{stem}.png", as_classes(np.where(roles == TREE, ROAD, roles), (2, 1, 2, 3)))
        path = root / f"annotations/xmls/{stem}.xml"
        path.parent.mkdir(exist_ok=True)
        box = "<bndbox><xmin>8</xmin><ymin>14</ymin><xmax>16</xmax><ymax>22</ymax></bndbox>"
        path.write_text(f"<annotation><object><name>cat</name>{box}</object></annotation>")
    for split, stems in lists.items():
        (root / f"annotations/{split}.txt").write_text("".join(f"{stem} 1 1 1\n" for stem in stems))
    every = [*lists["trainval"], *lists["test"]]
    (root / "annotations/list.txt").write_text("#Image CLASS-ID\n" + "".join(f"{stem} 1 1 1\n" for stem in every))
    (root / "annotations/README").write_text("trimaps\n")


_TO_OLDER = {13: 21, 55: 108, 30: 64}
_READ_COCO = {raw: train for train, raw in enumerate(number for number in range(182) if number not in COCO_GAPS)} | {
    255: 255
}
TREES = {
    "ade20k": Tree(
        "ade20k", ade20k, (7, 21, 5, 0), "annotations",
        {"annotations_detectron2": table_of({number: (number + 1) % 256 for number in range(256)})},
    ),
    "cocostuff": Tree(
        "cocostuff", cocostuff, (137, 2, 145, 255), "labelTrainIds", {"stuffthingmaps": table_of(_READ_COCO)}
    ),
    "bdd100k": Tree("bdd100k", bdd100k, (0, 13, 8, 255), "masks", {"colormaps": colours_of(STREET)}),
    "mapillary": Tree(
        "mapillary", mapillary, (13, 55, 30, 65), "labels",
        {"instances": lambda array: array.astype(np.int64) // 256, "panoptic": read_segments},
    ),
    "mapillary 1.2": Tree(
        "mapillary", mapillary_12, (13, 55, 30, 65), "labels",
        {"instances": lambda array: array.astype(np.int64) // 256, "panoptic": read_segments},
    ),
    "mapillary 2.0": Tree(
        "mapillary", mapillary_20, (21, 108, 64, 123), "labels",
        {"instances": lambda array: array.astype(np.int64) // 256, "panoptic": read_segments}, ("polygons",),
    ),
    "mapillary both": Tree(
        "mapillary", mapillary_both, (21, 108, 64, 123), "labels",
        {
            "instances": lambda array: array.astype(np.int64) // 256,
            "panoptic": read_segments,
            "v1.2/labels": table_of(_TO_OLDER),
            "v1.2/instances": lambda array: table_of(_TO_OLDER)(array // 256),
            "v1.2/panoptic": lambda array: table_of(_TO_OLDER)(read_segments(array)),
        },
        ("polygons",),
    ),
    "pascal-context": Tree("pascal-context", pascal_context, (41, 14, 53, 255), "SegmentationClassContext"),
    "kitti": Tree(
        "kitti", kitti, (7, 26, 21, 0), "semantic",
        {"instance": lambda array: array.astype(np.int64) // 256, "semantic_rgb": colours_of(STREET_IDS)},
        splits=("train", "none"),
    ),
    "acdc": Tree(
        "acdc", acdc, (0, 13, 8, 255), "labelTrainIds",
        {
            "labelIds": table_of(dict.fromkeys(range(34), 255) | {number: at for at, number in enumerate(TRAIN_IDS)}),
            "labelColor": colours_of(STREET),
        },
    ),
    "dark zurich": Tree(
        "acdc", dark_zurich, (0, 13, 8, 255), "labelTrainIds",
        {
            "labelIds": table_of(dict.fromkeys(range(34), 255) | {number: at for at, number in enumerate(TRAIN_IDS)}),
            "labelColor": colours_of(STREET),
        },
        splits=("val", "none"), options=("--train-split", "val", "--test-split", "none"),
    ),
    "loveda": Tree("loveda", loveda, (3, 2, 6, 0), "ann_dir", options=("--victim", "building", "--target", "road")),
    "loveda raw": Tree(
        "loveda", loveda_raw, (3, 2, 6, 0), "ann_dir", options=("--victim", "building", "--target", "road")
    ),
    "potsdam": Tree("potsdam", potsdam, (1, 5, 4, 0), "ann_dir"),
    "vaihingen": Tree("vaihingen", vaihingen, (1, 5, 4, 0), "ann_dir"),
    "oxford-pets": Tree("oxford-pets", oxford_pets, (2, 1, 2, 3), "trimaps", splits=("trainval", "test")),
}  # fmt: skip
