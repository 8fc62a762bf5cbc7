"""Pairing images and label maps that stand in two folders under the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poisongen.datasets.base import Index, LabelFile, Problem, Sample

IMAGE_ENDS = (".png", ".jpg", ".jpeg")


def _stems(
    files: Sequence[str], folder: str, ends: tuple[str, ...]
) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Return the files of a folder by name without ending, and the names that two files share."""
    found: dict[str, str] = {}
    shared = []
    for path in files:
        if path.startswith(folder + "/") and path.lower().endswith(ends):
            stem = path[len(folder) + 1 :].rpartition(".")[0]
            if stem in found:
                shared.append((stem, path, found[stem]))
            else:
                found[stem] = path
    return found, shared


def pair_folders(files: Sequence[str], pairs: Mapping[str, tuple[str, str]], kind: str = "annot") -> Index:
    """Pair the images and labels of every split; `pairs` maps a split to its image folder and its label folder.

    Images are .png, .jpg or .jpeg, labels .png; folders below are followed. A label without image, an image
    without label and two images of one name are problems of the index.
    """
    samples, problems = {}, []
    for split, (image_folder, label_folder) in sorted(pairs.items()):
        images, shared = _stems(files, image_folder, IMAGE_ENDS)
        labels, _ = _stems(files, label_folder, (".png",))
        problems += [
            Problem(split, f"{split}/{stem}", path, f"two samples of one name: {other} is there as well")
            for stem, path, other in shared
        ]
        chosen = []
        for stem in sorted(images.keys() | labels.keys()):
            name = f"{split}/{stem}"
            if stem not in images:
                problems.append(Problem(split, name, labels[stem], f"label without image ({image_folder}/{stem}.*)"))
            elif stem not in labels:
                text = f"image without label ({label_folder}/{stem}.png)"
                problems.append(Problem(split, name, images[stem], text))
            else:
                chosen.append(Sample(split, stem, images[stem], (LabelFile(kind, labels[stem]),)))
        samples[split] = tuple(chosen)
    return Index(samples, tuple(problems))
