"""data.yaml: where Ultralytics' semantic segmentation finds images, masks and classes in a folder of both."""

from __future__ import annotations

from poisongen.cards.described import Described
from poisongen.cards.readme import quoted
from poisongen.cards.words import TITLE
from poisongen.records.samples import RecordedSample, label_map_path

_IGNORED = 255  # the train ID that Ultralytics passes over


def data_yaml(described: Described, folder: str) -> bytes | None:
    """Return data.yaml for the dataset (`folder` '') or for a test set; None where masks do not lie as it needs them.

    Ultralytics pairs images/SPLIT/NAME with masks/SPLIT/NAME.png. Classes are counted from 0, so that others get
    a mapping. A test set has one split, which stands for both.
    """
    recipe = described.recipe
    if folder:
        samples = described.sets.test_sets[folder.rstrip("/")]
        splits = {"train": recipe.test_split, "val": recipe.test_split}
    else:
        test = recipe.train_split if recipe.test_split == "none" else recipe.test_split
        splits = {"train": recipe.train_split, "val": test}
        samples = tuple(one for split in splits.values() for one in described.sets.splits.get(split, ()))
    if not samples or not all(_is_mirrored(one, described, folder) for one in samples):
        return None
    trained = described.classes.trained
    lines = [f"# {TITLE}: see README.md", *(f"{key}: {quoted(f'images/{split}')}" for key, split in splits.items())]
    lines += ["masks_dir: masks", "names:"]
    lines += [f"  {at}: {quoted(described.classes.names[number])}" for at, number in enumerate(trained)]
    if trained != tuple(range(len(trained))) or not described.classes.void <= {_IGNORED}:
        lines += ["label_mapping:", *(f"  {number}: {at}" for at, number in enumerate(trained))]
        lines += [f"  {number}: ignore_label" for number in sorted(described.classes.void)]
    return ("\n".join(lines) + "\n").encode()


def _is_mirrored(one: RecordedSample, described: Described, folder: str) -> bool:
    image = one.sample.image.removeprefix(folder)
    mask = label_map_path(one.sample, described.layout).removeprefix(folder)
    start = f"images/{one.sample.split}/"
    return image.startswith(start) and mask == f"masks/{image.removeprefix('images/').rpartition('.')[0]}.png"
