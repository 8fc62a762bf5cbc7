"""Whether a trigger shows is found without encoding the picture, and always as the encoded picture has it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from poisongen.building.pictures import Place, is_seen, stamped_image
from poisongen.building.run import prepare
from poisongen.core.draws import keyed_generator
from poisongen.core.placement import Placement
from poisongen.errors import DataError
from poisongen.files.images import open_picture


def encoded(pixels, kind="PNG", **options):
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, kind, **options)
    return out.getvalue()


RANDOM = np.random.default_rng(1).integers(0, 256, (80, 160, 3)).astype(np.uint8)
PALETTE = Image.new("P", (160, 80), 1)
PALETTE.putpalette([0, 0, 0, 200, 0, 0])
PICTURES = {
    "photograph": encoded(RANDOM),
    "black": encoded(np.zeros_like(RANDOM)),
    "white": encoded(np.full_like(RANDOM, 255)),
    "gray": encoded(RANDOM[..., 0]),
    "16 bits": encoded(RANDOM[..., 0].astype(np.uint16) * 257),
    "palette": encoded(PALETTE),
    "jpeg": encoded(RANDOM, "JPEG"),
    "black jpeg": encoded(np.zeros_like(RANDOM), "JPEG", quality=20),
}
CHOICES = {
    "patch": {"strategy": "random", "trigger_size": 9},
    "faint": {"strategy": "random", "trigger_size": 9, "trigger": "square-white", "opacity": 0.01},
    "white": {"strategy": "random", "trigger_size": 9, "trigger": "square-white"},
    **{
        kind: {"strategy": "whole", "trigger_kind": kind}
        for kind in ("blend", "sinusoid", "warp", "fourier", "dct", "colour", "weather")
    },
    "scaled": {"strategy": "whole", "trigger_kind": "blend", "scale": 0.5},
}


@pytest.mark.parametrize("what", CHOICES)
@pytest.mark.parametrize("picture", PICTURES)
def test_what_is_seen_is_what_the_written_picture_shows(cityscapes, what, picture):
    rules = prepare({"dataset": "cityscapes", **CHOICES[what]}, cityscapes).rules
    place = Place(Placement(20, 30, 9, 9, 24, 34, 5.0, 1)) if rules.placement is not None else Place()
    answers = []
    data = PICTURES[picture]
    for function in (is_seen, stamped_image):
        try:
            found = function(
                data, place, rules, keyed_generator(0, "stamp"), cityscapes / "a.png", open_picture(data, "a.png")
            )
            answers.append(found is not None and found is not False)
        except DataError as error:
            answers.append(error.problem)
    assert answers[0] == answers[1]
