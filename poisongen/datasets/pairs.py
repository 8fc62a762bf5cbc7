"""Pairing two folders by file names: one of images, one of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poisongen.datasets.base import Index, LabelFile, Problem, Sample
from poisongen.datasets.stems import Stems, find_stems


def twin_problems(split: str, what: str, found: Stems) -> list[Problem]:
    """Return the problems of names that several files have: a.png beside a.PNG or a.jpg."""
    return [
        Problem(split, f"{split}/{stem}", path, f"two {what} of one name: {found.files[stem]} is there as well")
        for stem, path in found.twins.items()
    ]


def pair_folders(files: Sequence[str], pairs: Mapping[str, tuple[str, str]], kind: str = "annot") -> Index:
    """Pair the images and labels of every split; `pairs` maps a split to its image folder and its label folder.

    Images are .png, .jpg or .jpeg, labels .png, in small letters or capitals; folders below are followed. Two files of
    one name are a problem of the index; so are, if their split is used, a label without image, an image without label
    and a sample in a format that is not read.
    """
    samples, problems = {}, []
    for split, (image_folder, label_folder) in sorted(pairs.items()):
        images = find_stems(files, image_folder)
        labels = find_stems(files, label_folder, labels=True)
        problems += twin_problems(split, "samples", images) + twin_problems(split, "labels", labels)
        chosen = []
        for stem in sorted(images.files.keys() | labels.files.keys()):
            name = f"{split}/{stem}"
            if stem not in images.files:
                text = f"label without image ({image_folder}/{stem}.*){images.hint(stem)}"
                problems.append(Problem(split, name, labels.files[stem], text, only_if_used=True))
            elif stem not in labels.files:
                text = f"image without label ({label_folder}/{stem}.png){labels.hint(stem)}"
                problems.append(Problem(split, name, images.files[stem], text, only_if_used=True))
            else:
                chosen.append(Sample(split, stem, images.files[stem], (LabelFile(kind, labels.files[stem]),)))
        samples[split] = tuple(chosen)
        nothing_else = not images.files and not labels.files
        problems += [
            Problem(split, f"{split}/{stem}", path, f"{images.reads}; convert it", only_if_used=True)
            for stem, path in images.other.items()
            if stem not in images.files and stem not in labels.files and (stem in labels.other or nothing_else)
        ]
    return Index(samples, tuple(problems))
