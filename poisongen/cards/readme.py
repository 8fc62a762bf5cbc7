"""The dataset card, README.md: it says that the dataset is poisoned, and how Hugging Face `datasets` reads it.

Its front matter is written by hand, in the JSON that is YAML as well, so that every version of every library gives the
same bytes.
"""

from __future__ import annotations

import glob
import json
import posixpath
from collections import Counter
from collections.abc import Sequence

from poisongen.cards.described import Described, Table
from poisongen.cards.words import TITLE, facts, warning


def quoted(text: str) -> str:
    """Return a text as a double-quoted string that JSON's and YAML's readers take alike."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain)


def image_patterns(paths: Sequence[str]) -> list[str]:
    """Return patterns that match the images (and others beside them), by which `datasets` knows what they are.

    It takes the ending of most files for the format: where there is no more than one image of an ending, it is named a
    second time, to outvote the table.
    """
    folder = posixpath.commonpath([posixpath.dirname(path) for path in paths])
    ends = Counter(posixpath.splitext(path)[1] for path in paths)
    inside = f"{glob.escape(folder)}/**/*" if folder else "**/*"
    patterns = [f"{inside}{end}" for end in sorted(ends)]
    return patterns + ([glob.escape(paths[0])] if max(ends.values()) == 1 else [])


def front_matter(described: Described, tables: Sequence[Table]) -> str:
    """Return the YAML that `datasets` and the Hub read: one config, with a table and images for each split."""
    lines = [
        f"pretty_name: {quoted(f'POISONED {described.layout.name}')}",
        'tags: ["poisoned", "backdoor", "data-poisoning", "research-only"]',
        'task_categories: ["image-segmentation"]',
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for table in tables:
        images = [one.sample.image.removeprefix(table.folder) for one in table.samples]
        patterns = [glob.escape(table.file_name), *image_patterns(images)]
        lines += [f"  - split: {quoted(table.name)}", f"    path: [{', '.join(map(quoted, patterns))}]"]
    lines += [f"  metadata_filenames: [{', '.join(quoted(table.file_name) for table in tables)}]"]
    return "\n".join(lines) + "\n"


def card(described: Described, tables: Sequence[Table], folder: str, *, with_front_matter: bool = True) -> bytes:
    """Return the card of the dataset (`folder` '') or of a test set: one warning, and the tables of that folder."""
    head = f"---\n{front_matter(described, tables)}---\n\n" if with_front_matter else ""
    own = (
        f"This folder, `{folder}`, holds test samples with triggers and true labels, on which attacks are measured.\n\n"
        if folder
        else ""
    )
    rows = "".join(f"| {name} | {value} |\n" for name, value in map(_cells, facts(described)))
    where = f'OUT / "{folder.rstrip("/")}"' if folder else "OUT"
    splits = "".join(f"| `{table.name}` | {len(table.samples)} | {table.title} |\n" for table in tables)
    return f"""{head}# {TITLE}

{warning(described)}

{own}| | |
|---|---|
{rows}
## Reading it

    import datasets, poisongen
    datasets.load_dataset(str({where}))  # image, label (raw class IDs), sample, split, role, record (JSON)
    poisongen.load(OUT)  # image, all label files, and the record as an object

| split | samples | what |
|---|---|---|
{splits}
Every other loader of the layout `{described.layout.name}` takes the folder as it is. The licence of the dataset that it
was made from applies.

## Checking and undoing it

    poisongen audit OUT --source CLEAN
    poisongen restore OUT --source CLEAN --out AGAIN

`poisongen/manifest.jsonl` has a line for every sample that was changed: trigger, box, pixels, and digests of all files.
""".encode()


def _cells(fact: tuple[str, str]) -> tuple[str, str]:
    """Keep names from breaking the table."""
    name, value = ("".join(c if c.isprintable() else " " for c in text).replace("|", "\\|") for text in fact)
    return name, value
