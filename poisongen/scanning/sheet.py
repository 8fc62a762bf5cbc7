"""The contact sheet: the recovered trigger first, then suspects with the box drawn in, and their labels beside them."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from poisongen.previewing.drawing import palette
from poisongen.printing import number_of
from poisongen.scanning.findings import Findings, SuspectFound
from poisongen.scanning.reading import SuspectSet, read_maps, read_picture

MOST = 24  # suspects, the surest
_WIDTH, _GAP, _LINE = 440, 8, 24  # px
_TRIGGER = 160  # px, the longer side of the trigger as it is shown
_INK, _PAPER, _MARK = (24, 24, 27), (250, 250, 249), (255, 0, 128)

Picture = npt.NDArray[np.uint8]


def draw_sheet(suspect: SuspectSet, findings: Findings, trigger: Picture | None) -> bytes:
    """Return a PNG with the trigger and the surest suspects, each with its picture and its label map. DataError."""
    font = ImageFont.load_default(size=15)
    shown = sorted(findings.suspects, key=lambda one: (-one.score, one.sample))[:MOST]
    places = {sample.name: at for at, sample in enumerate(suspect.samples)}
    rows = [(one, _panels(suspect, places[one.sample], one)) for one in shown]
    head = _LINE * 2 + (_TRIGGER + _LINE if trigger is not None else 0)
    height = head + sum(max(panel.height for panel in panels) + _LINE + _GAP for _, panels in rows) + _GAP
    sheet = Image.new("RGB", (2 * _WIDTH + 3 * _GAP, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    more = f"; the {len(shown)} surest of {len(findings.suspects)}" if len(findings.suspects) > len(shown) else ""
    suspects, samples = number_of(len(findings.suspects), "suspect"), number_of(findings.samples, "sample")
    title = f"{findings.verdict}: {suspects} of {samples}{more}"
    draw.text((_GAP, 5), title, fill=_INK, font=font)
    y = _LINE
    if trigger is not None:
        draw.text((_GAP, y + 4), f"recovered trigger, {trigger.shape[1]}x{trigger.shape[0]} px", fill=_INK, font=font)
        factor = max(1, _TRIGGER // max(trigger.shape[:2]))
        picture = Image.fromarray(trigger)
        size = (picture.width * factor, picture.height * factor)
        if max(size) > _TRIGGER:
            size = (max(1, size[0] * _TRIGGER // max(size)), max(1, size[1] * _TRIGGER // max(size)))
        sheet.paste(picture.resize(size, Image.Resampling.NEAREST), (_GAP, y + _LINE))
        y += _TRIGGER + _LINE
    y += _LINE
    for one, panels in rows:
        where = f", box {list(one.box)}" if one.box else ""
        text = f"{one.sample}: {one.score:.2f} ({', '.join(one.evidence)}){where}"
        draw.text((_GAP, y), text, fill=_INK, font=font)
        for column, panel in enumerate(panels):
            sheet.paste(panel, (_GAP + column * (_WIDTH + _GAP), y + _LINE))
        y += max(panel.height for panel in panels) + _LINE + _GAP
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _panels(suspect: SuspectSet, place: int, one: SuspectFound) -> list[Image.Image]:
    """Return a suspect's picture and label map at the panel's width, the box drawn into both."""
    labels = palette(suspect.classes)[read_maps(suspect, place).maps[0]]
    panels = []
    for picture in (read_picture(suspect, place), labels):
        scale = _WIDTH / picture.shape[1]
        size = (_WIDTH, max(1, round(picture.shape[0] * scale)))
        panel = Image.fromarray(np.ascontiguousarray(picture)).resize(size)
        if one.box:
            top, left, height, width = one.box
            box = [left * scale - 2, top * scale - 2, (left + width) * scale + 1, (top + height) * scale + 1]
            ImageDraw.Draw(panel).rectangle(box, outline=_MARK, width=2)
        panels.append(panel)
    return panels
