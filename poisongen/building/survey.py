"""The one read of every label before any file gets its final name: is the dataset whole, and where are the victims?"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from poisongen.building.early import Early, Workplace, carry_out, likely_tasks
from poisongen.building.pictures import Place, Stamped
from poisongen.building.placing import box_of, check_image, counts_of, place_and_stamp, place_to_be_seen
from poisongen.building.relabelling import check_new_labels
from poisongen.building.remembering import Remembering
from poisongen.building.sample import Seen
from poisongen.building.surveyed import Errand, Surveyed, is_read, random_labels_for
from poisongen.core.labels import joint_counts
from poisongen.datasets.base import Index, Problem, Sample, victim_mask
from poisongen.errors import DataError
from poisongen.files.images import Header, header
from poisongen.files.orientation import AS_STORED, orientation
from poisongen.files.stores import reading_once
from poisongen.parallel import for_each
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import Role
from poisongen.records.roles import has_trigger, prefix_of
from poisongen.source.derived import read_without_odd
from poisongen.source.labels import LabelContents, check_fit
from poisongen.source.listing import read_file
from poisongen.source.picture import Picture


@reading_once
def survey_sample(errand: Errand, root: Path, rules: Rules) -> Surveyed:
    """Read one sample's labels and its image; what is wrong with them is part of the answer.

    With a role (it will be poisoned or triggered, if it can be) the trigger is placed on the same occasion. An image
    that build will read again is decoded; of others the header is enough. With a workplace the sample's likely tasks
    are done, too, from what has been read.
    """
    sample, role = errand.sample, errand.role
    picture = Picture(root, sample.image)
    try:
        reads = role is not None or is_read(sample, rules)
        image = header(root / sample.image, picture.data if reads else None)
        sample, labels, odd = read_without_odd(sample, root, rules)
        height, width = labels.arrays[labels.first].shape[:2]
        check_size(image, sample, root, labels)
        scaled = labels.scaled(rules.recipe.scale)
        victims = int(np.count_nonzero(victim_mask(scaled.maps, rules.victims)))
        needed = rules.recipe.min_victim_pixels if role == "poisoned" else 1
        classes = counts_of(scaled.maps[0])
        turn = role is not None and victims >= needed and rules.holds(classes, None)
        place, stamped = _placed(scaled, sample, role, picture, rules, errand.place) if role and turn else (None, None)
        changed = _roles_of(sample, victims, place, role, rules)
        decoded = bool(changed) or is_read(sample, rules)
        if decoded:
            with_trigger = next((one for one in changed if has_trigger(one)), None)
            check_image(labels, sample, with_trigger, picture, rules)
        tasks = likely_tasks(sample, role, place, rules)
        stays = all(task.prefix for task in tasks)
        records = []
        if errand.place is not None:
            seen = Seen(labels, picture, stamped)
            for task in tasks:
                if task.prefix not in errand.place.done:
                    records.append(carry_out(task, root, rules, errand.place.tree, errand.place.link, seen))
        else:
            for one in changed:
                check_new_labels(labels, sample, one, None if isinstance(place, str) else box_of(place), root, rules)
    except DataError as error:
        path = error.path.removeprefix(f"{root}/")
        return Surveyed(sample, 0, 0, 0, problem=Problem(sample.split, sample.name, path, error.problem))
    image_sha256 = picture.pixels_sha256 if decoded and errand.place is None else None
    facts = Surveyed(sample, height, width, victims, role, place, image_sha256, classes=classes, odd=odd)
    digests = labels.digests(sample) if stays else None
    joint = joint_counts(scaled.maps) if rules.recipe.scale == 1 else None
    return replace(facts, digests=digests, joint=joint, records=tuple(records))


def _placed(
    scaled: LabelContents, sample: Sample, role: Role, picture: Picture, rules: Rules, workplace: Workplace | None
) -> tuple[Place | str, Stamped | None]:
    """Return a trigger's place, or why there is none; with the stamped image where the task is done at once."""
    if workplace is None or prefix_of(role, sample.split, rules) in workplace.done:
        return place_to_be_seen(scaled, sample, role, picture, rules), None
    return place_and_stamp(scaled, sample, role, picture, rules)


def check_size(image: Header, sample: Sample, root: Path, labels: LabelContents) -> None:
    """DataError unless the label map fits the image.

    Where sizes differ, EXIF's orientation is looked for in the whole file: a PNG may tell it last.
    """
    mask = next(label.path for label in sample.labels if label.kind == labels.first)
    size = labels.arrays[labels.first].shape[:2]
    stored, turn = (image.height, image.width), image.orientation
    if turn == AS_STORED and stored != size:
        turn = orientation(read_file(root, sample.image))
    check_fit(root, sample.image, stored, turn, mask, size)


def _roles_of(sample: Sample, victims: int, place: Place | str | None, role: Role | None, rules: Rules) -> list[Role]:
    """Return the roles that a sample will have or, where bad samples are to be skipped, may have."""
    recipe, found = rules.recipe, list[Role]()
    in_training = sample.split == recipe.train_split
    if role is not None and isinstance(place, Place):
        found.append(role)
    elif recipe.skip_bad and in_training and victims >= recipe.min_victim_pixels:
        found.append("poisoned")
    if "poisoned" not in found and random_labels_for(sample, rules):
        found.append("prl")
    return found


def survey(
    index: Index,
    root: Path,
    rules: Rules,
    roles: Mapping[str, Mapping[str, Role]],
    jobs: int,
    progress: bool,
    early: Early | None = None,
    remembering: Remembering | None = None,
) -> tuple[dict[str, Surveyed], list[Problem]]:
    """Read every sample's labels once, every image's header, and the whole image where build will read it again.

    With `early` what will be done to a sample is done at once, where that is all but sure; not where bad samples are
    to be skipped, for then others may take their places. What `remembering` knows of a sample is not read again.

    `roles` names the splits that are built from and, by sample, those whose trigger is to be placed. Returns what was
    found by image path (a sample that stands in several splits is read once), and the problems of the index and of the
    files, sorted; those that matter only in splits that are not used are left out.
    """
    early = None if rules.recipe.skip_bad else early
    by_image: dict[str, Errand] = {}
    for split in (*roles, *sorted(set(index.samples) - set(roles))):
        for sample in index.samples.get(split, ()):
            if sample.image not in by_image:
                workplace = None if early is None else early.workplace(sample)
                by_image[sample.image] = Errand(sample, roles.get(split, {}).get(sample.name), workplace)
    found: dict[str, Surveyed] = {}
    if remembering is not None:
        known = {image: remembering.recalled(errand, rules, early is not None) for image, errand in by_image.items()}
        found = {image: facts for image, facts in known.items() if facts is not None}
    errands = [errand for image, errand in by_image.items() if image not in found]
    work = functools.partial(survey_sample, root=root, rules=rules)
    word = "checking" if early is None else "checking and poisoning"
    try:
        for errand, result in zip(errands, for_each(work, errands, jobs, word if progress else None), strict=True):
            found[result.sample.image] = replace(result, records=())
            if remembering is not None:
                remembering.learn(errand, result, rules, early is not None)
            if early is not None:
                for record in result.records:
                    early.note(result.sample, record)
    finally:
        if remembering is not None:
            remembering.memory.keep()
    found = {image: found[image] for image in by_image}
    problems = [result.problem for result in found.values() if result.problem]
    problems += [problem for problem in index.problems if not problem.only_if_used or problem.split in roles]
    return found, sorted(problems, key=lambda problem: (problem.path, problem.text))
