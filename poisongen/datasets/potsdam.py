"""ISPRS Potsdam: 6 classes from 1 on, and 0 for boundaries.

Files: mmsegmentation, tools/dataset_converters/potsdam.py, which cuts the TIFFs into tiles and numbers
their colours. Classes and colours: mmsegmentation's `PotsdamDataset`.
"""

from __future__ import annotations

from poisongen.datasets.isprs_tiles import isprs_layout

LAYOUT = isprs_layout("potsdam")
