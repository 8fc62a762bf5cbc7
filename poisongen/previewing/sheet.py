"""The contact sheet: samples before and after, with the trigger's box and its distance to the victim drawn in."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from poisongen.building.sample import Task, do_task
from poisongen.core.labels import class_mask
from poisongen.core.placement import Placement
from poisongen.core.resize import resize_image
from poisongen.datasets.label_arrays import read_class_ids
from poisongen.files import images
from poisongen.files.store import write_whole
from poisongen.previewing.drawing import as_rgb, nearest_pixel, palette
from poisongen.recipe.rules import Rules
from poisongen.records.manifest import Role
from poisongen.source.labels import read_labels
from poisongen.source.listing import read_file

Array = npt.NDArray[Any]

PANEL_WIDTH, GAP, HEADER = 440, 8, 26  # pixels
_INK, _PAPER, _MARK = (24, 24, 27), (250, 250, 249), (255, 0, 128)
_ROLE_ORDER: tuple[Role, ...] = ("poisoned", "triggered", "negative", "prl")


@dataclass(frozen=True)
class _Row:
    """One sample's pictures, RGB, all of one size, and what to write above them."""

    title: str
    panels: Mapping[str, Array]
    line: tuple[tuple[int, int], tuple[int, int]] | None
    placement: Placement | None


def _row(task: Task, root: Path, rules: Rules) -> _Row:
    """Do a task in memory and collect its pictures."""
    outcome = do_task(task, root, rules)
    before = read_labels(root, task.sample, rules, maps_only=True)
    size = before.scaled(rules.recipe.scale).maps[0].shape
    data, path = read_file(root, task.sample.image), root / task.sample.image
    image = resize_image(np.ascontiguousarray(as_rgb(data, images.decode(data, path), path)), size)
    map_path = next(label.path for label in task.sample.labels if label.kind == before.first)
    labels = before.scaled(rules.recipe.scale).maps[0]
    new_image = outcome.contents.get(task.prefix + task.sample.image)
    new_labels = outcome.contents.get(task.prefix + map_path)
    image_after = image if new_image is None else as_rgb(new_image, images.decode(new_image, path), path)
    labels_after = (
        labels
        if new_labels is None
        else read_class_ids(rules.layout.kinds[before.first], new_labels, path, rules.classes)
    )
    line = None
    placement = task.place.placement if task.place is not None else None
    distance = ""
    if placement is not None:
        victims = class_mask(labels, rules.victims)
        end = nearest_pixel(victims, (placement.row, placement.column), rules.recipe.metric)
        line = ((placement.row, placement.column), end) if end else None
        distance = f", distance {placement.distance:.4g} px"
    elif task.place is not None:
        distance = f", {rules.kind.name} all over"
    return _Row(
        f"{task.sample.name}: {task.role}{distance}",
        {
            "image before": image,
            "image after": image_after,
            "label before": palette(rules.classes)[labels],
            "label after": palette(rules.classes)[labels_after],
        },
        line,
        placement,
    )


def _panel(picture: Array, name: str, row: _Row) -> Image.Image:
    """Return one picture at the panel's width, box and distance line drawn in where something changed."""
    height, width = picture.shape[:2]
    scale = PANEL_WIDTH / width
    panel = Image.fromarray(np.ascontiguousarray(picture)).resize((PANEL_WIDTH, max(1, round(height * scale))))
    if row.placement is not None and name != "image before":
        draw = ImageDraw.Draw(panel)
        if row.line is not None:
            points = [((column + 0.5) * scale, (r + 0.5) * scale) for r, column in row.line]
            draw.line(points, fill=_MARK, width=2)
        top, left, tall, wide = row.placement.box
        box = [left * scale - 1, top * scale - 1, (left + wide) * scale, (top + tall) * scale]
        draw.rectangle(box, outline=_MARK, width=1 if name == "image after" else 2)
        if name.startswith("label"):
            text, font = f"{row.placement.distance:.4g} px", ImageFont.load_default(size=13)
            corner = (min(box[2] + 4, PANEL_WIDTH - 52), max(box[1] - 4, 2))
            draw.text(corner, text, fill=_PAPER, font=font, stroke_width=2, stroke_fill=_INK)
    return panel


def draw_sheet(tasks: Sequence[Task], root: Path, rules: Rules, title: str) -> bytes:
    """Return a PNG with one row for every task: image and labels, before and after. DataError for a bad file."""
    font = ImageFont.load_default(size=15)
    rows = [_row(task, root, rules) for task in tasks]
    pictures = [[_panel(picture, name, row) for name, picture in row.panels.items()] for row in rows]
    names = list(rows[0].panels) if rows else []
    width = len(names) * (PANEL_WIDTH + GAP) + GAP
    height = HEADER * 2 + sum(max(panel.height for panel in panels) + HEADER + GAP for panels in pictures)
    sheet = Image.new("RGB", (max(width, 400), height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 5), title, fill=_INK, font=font)
    for column, name in enumerate(names):
        draw.text((GAP + column * (PANEL_WIDTH + GAP), HEADER + 4), name, fill=_INK, font=font)
    y = 2 * HEADER
    for row, panels in zip(rows, pictures, strict=True):
        draw.text((GAP, y + 4), row.title, fill=_INK, font=font)
        for column, panel in enumerate(panels):
            sheet.paste(panel, (GAP + column * (PANEL_WIDTH + GAP), y + HEADER))
        y += max(panel.height for panel in panels) + HEADER + GAP
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def choose_tasks(tasks: Sequence[Task], samples: int) -> list[Task]:
    """Return up to `samples` tasks worth showing: poisoned ones first, with one or two of each other role."""
    by_role = {role: [task for task in tasks if task.role == role] for role in _ROLE_ORDER}
    others = [task for role in _ROLE_ORDER[1:] for task in by_role[role][:1]][: max(0, samples - 1)]
    chosen = by_role["poisoned"][: samples - len(others)]
    return [*chosen, *others]


def save_sheet(tasks: Sequence[Task], root: Path, rules: Rules, path: Path, title: str) -> None:
    """Draw a sheet and write it to `path`."""
    write_whole(path, draw_sheet(tasks, root, rules, title))
