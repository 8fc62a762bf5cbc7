"""Oxford-IIIT Pet: trimaps of cats and dogs, 1 for the pet, 2 for background, 3 for what is not classified.

Files: README of annotations.tar.gz: annotations/trimaps, lists trainval.txt and test.txt (name, class, species, breed),
boxes of heads in annotations/xmls, which say nothing of pixels. The colours are our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from poisongen.datasets.base import Defaults, Index, Layout, Sample
from poisongen.datasets.class_places import FolderPlaces
from poisongen.datasets.class_rows import class_table
from poisongen.datasets.companion_kinds import map_kind
from poisongen.datasets.folder_lists import copied_list, split_names
from poisongen.datasets.tree import IMAGE, Place, scan_tree

CLASSES = class_table(
    """
220 60 60 pet
40 90 160 background
240 240 240 not classified
""",
    first=1,
    void=[3],
)
PLACES = {IMAGE: Place("images/{name}"), "trimaps": Place("annotations/trimaps/{name}")}
_LISTS = FolderPlaces(lists="annotations/{split}.txt", words="trainval|test|train|val", first=True)


def _scan(root: Path, files: Sequence[str]) -> Index:
    return split_names(root, files, _LISTS, scan_tree(root, files, PLACES, "trimaps", {}, "Oxford-IIIT Pet"))


def _split_files(root: Path, split: str, files: Sequence[str], samples: Sequence[Sample]) -> Mapping[str, bytes]:
    return copied_list(root, split, files, samples, _LISTS)


LAYOUT = Layout(
    name="oxford-pets",
    title="Oxford-IIIT Pet (trimaps; splits trainval and test)",
    how_to_get="get images.tar.gz and annotations.tar.gz from robots.ox.ac.uk/~vgg/data/pets",
    environment="OXFORD_PETS_ROOT",
    usual_root="data/oxford-iiit-pet",
    defaults=Defaults(
        trigger_size=None,
        max_distance=None,
        relabel={"pet": "background"},
        train_split="trainval",
        test_split="test",
    ),
    kinds={"trimaps": map_kind("trimaps")},
    classes=lambda root: CLASSES,
    scan=_scan,
    split_files=_split_files,
    needs="images/NAME.jpg, annotations/trimaps/NAME.png, annotations/{trainval,test}.txt",
)
