"""Pairing files by where they lie: a template for a dataset's images and one for each kind of its label files."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from poisongen.datasets.base import Index, LabelFile, Problem, Sample
from poisongen.datasets.pairs import twin_problems
from poisongen.datasets.stems import LABEL_ENDS, Stems, kept_ends, new_stems
from poisongen.errors import DataError

IMAGE = "image"
_FIELD = re.compile(r"\{(\w+)\}")
_USUAL = {"split": r"[^/]+", "name": r".+"}


@dataclass(frozen=True)
class Place:
    """Where a kind of file lies: a path without ending, such as `gt/{split}/{name}_labels`.

    `{split}` is one folder or word, `{name}` the rest of a sample's path, folders below included. Other fields stand
    for what `fields` (regular expressions) says, and are part of the sample's name, in the order of the template.
    `ends` are the file's endings, with a dot and in small letters; none: those that images or label maps may have.
    """

    template: str
    fields: Mapping[str, str] = field(default_factory=dict)
    ends: tuple[str, ...] = ()

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """What matches a path without ending; a field that stands there twice must be the same."""
        parts, seen = [], set[str]()
        for at, part in enumerate(_FIELD.split(self.template)):
            if at % 2 == 0:
                parts.append(re.escape(part))
            elif part in seen:
                parts.append(f"(?P={part})")
            else:
                parts.append(f"(?P<{part}>{self.fields.get(part) or _USUAL[part]})")
                seen.add(part)
        return re.compile("".join(parts))

    @property
    def begin(self) -> str:
        """What every path begins with."""
        return self.template.partition("{")[0]

    @property
    def literal(self) -> int:
        """How many characters of a path the template says itself: of two that match, the longer one is meant."""
        return len(_FIELD.sub("", self.template))

    @property
    def words(self) -> list[str]:
        """The fields that make up a sample's name, in order."""
        return [word for word in dict.fromkeys(_FIELD.findall(self.template)) if word != "split"]

    def fill(self, split: str, stem: str) -> str:
        """Return the path, without ending, of a sample's file."""
        parts = stem.split("/", len(self.words) - 1)
        values = dict(zip(self.words, parts, strict=False)) | {"split": split}
        return _FIELD.sub(lambda match: values.get(match[1], "*"), self.template)


Found = Mapping[str, Mapping[str, Stems]]
"""What was found of each kind of file: by kind, then by the word that stands for the split ('' where there is none)."""


def sort_files(files: Sequence[str], places: Mapping[str, Place]) -> Found:
    """Tell of every file which kind it is: of several templates that match, the one that says most of the path."""
    order = sorted(places, key=lambda kind: (-places[kind].literal, kind == IMAGE))
    found: dict[str, dict[str, Stems]] = {kind: {} for kind in places}
    looked = []  # at hundreds of thousands of paths
    for kind in order:
        place = places[kind]
        ends, others = kept_ends(kind != IMAGE)
        looked.append(
            (kind, place.begin, place.pattern.fullmatch, place.ends or ends, (*ends, *others), not place.ends)
        )
    for path in files:
        start, _, end = path.rpartition(".")
        end = f".{end.lower()}"
        by_another_end = None
        for kind, begin, matches, read, known, any_end in looked:
            if end not in (known if end not in read else read) or not start.startswith(begin):
                continue
            if (match := matches(start)) is None:
                continue
            if end in read or any_end:
                _add(found[kind], match, path, places[kind], kind, end in read)
                by_another_end = None
                break
            by_another_end = by_another_end or (kind, match)
        if by_another_end is not None:
            kind, match = by_another_end
            _add(found[kind], match, path, places[kind], kind, False)
    return found


def _add(of_kind: dict[str, Stems], match: re.Match[str], path: str, place: Place, kind: str, read: bool) -> None:
    words = match.groupdict()
    split = words.pop("split", "")
    if split not in of_kind:
        of_kind[split] = new_stems(kind != IMAGE, place.ends)
    of_kind[split].add("/".join(words.values()), path, read=read)


def pair_tree(found: Found, places: Mapping[str, Place], needed: str, names: Mapping[str, str] | None = None) -> Index:
    """Pair what `sort_files` found into samples: an image, a label map of the kind `needed`, and what else there is.

    `names` maps the words that stand for splits to the splits' names where they differ (`training` to `train`). Two
    files of one name are a problem of the index; a sample without image or label map is one if its split is used.
    """
    samples: dict[str, tuple[Sample, ...]] = {}
    problems: list[Problem] = []
    kinds = [needed, *(kind for kind in places if kind not in (IMAGE, needed))]
    for word in sorted({*found[IMAGE], *found[needed]}):
        split = (names or {}).get(word, word)
        images = found[IMAGE].get(word) or new_stems(labels=False)
        maps = found[needed].get(word) or new_stems(labels=True)
        problems += twin_problems(split, "samples", images)
        for kind in kinds:
            twins = found[kind].get(word)
            problems += [] if twins is None else twin_problems(split, "labels", twins)
        chosen = []
        for stem in sorted(images.files.keys() | maps.files.keys()):
            name = f"{split}/{stem}"
            if stem not in images.files:
                text = f"label without image ({places[IMAGE].fill(word, stem)}.*){images.hint(stem)}"
                problems.append(Problem(split, name, maps.files[stem], text, only_if_used=True))
            elif stem not in maps.files:
                text = f"image without label ({places[needed].fill(word, stem)}{LABEL_ENDS[0]}){maps.hint(stem)}"
                problems.append(Problem(split, name, images.files[stem], text, only_if_used=True))
            else:
                labels = (
                    LabelFile(kind, found[kind][word].files[stem])
                    for kind in kinds
                    if word in found[kind] and stem in found[kind][word].files
                )
                chosen.append(Sample(split, stem, images.files[stem], tuple(labels)))
        samples[split] = tuple(chosen)
        nothing_else = not images.files and not maps.files
        problems += [
            Problem(split, f"{split}/{stem}", path, f"{images.reads}; convert it", only_if_used=True)
            for stem, path in images.other.items()
            if stem not in images.files and stem not in maps.files and (stem in maps.other or nothing_else)
        ]
    return Index(samples, tuple(problems))


def scan_tree(
    root: Path,
    files: Sequence[str],
    trees: Mapping[str, Place] | Sequence[Mapping[str, Place]],
    needed: str,
    names: Mapping[str, str],
    what: str,
) -> Index:
    """Pair the files of a layout whose whole tree is told by templates: the first of `trees` that is there.

    DataError where there is none.
    """
    several = [trees] if isinstance(trees, Mapping) else trees
    for places in several:
        found = sort_files(files, places)
        if found[IMAGE] and found[needed]:
            return pair_tree(found, places, needed, names)
    places = several[0]
    lacking = needed if sort_files(files, places)[IMAGE] else IMAGE
    pattern = places[lacking].fill("SPLIT", "/".join(["NAME"] * len(places[lacking].words)))
    raise DataError(root, f"no {what} here: there is no {pattern}{'.*' if lacking == IMAGE else LABEL_ENDS[0]}")
