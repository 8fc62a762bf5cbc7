"""`under`: the object that the trigger lies on, of any class but the target, becomes the target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, Scene, differs, pairs_table
from poisongen.attack.parts import Option, Value, one_of
from poisongen.core.labels import Labels, Mask
from poisongen.core.objects import components


def centre_of(scene: Scene) -> tuple[int, int] | None:
    """Return the pixel that decides what the trigger lies on: the middle of its box."""
    if scene.box is None:
        return None
    top, left, height, width = scene.box
    return top + height // 2, left + width // 2


def object_under(scene: Scene, extent: object) -> Mask:
    """Return the pixels of what lies under the box's middle, (H, W) bool: its object, or with "class" all of its class.

    The object is the one that the instance file numbers there, else the class's 8-connected component.
    """
    centre = centre_of(scene)
    if centre is None:
        return np.zeros(scene.labels.shape, bool)
    same: Mask = np.equal(scene.labels, scene.labels[centre])
    if extent == "class":
        return same
    if scene.objects is not None and scene.objects[centre]:
        return np.asarray((scene.objects == scene.objects[centre]) & same)
    numbered = components(same)
    return np.asarray(numbered == numbered[centre])


def _decide(scene: Scene, parameters: Mapping[str, Value]) -> Relabelling:
    where = object_under(scene, parameters["extent"])
    number = None
    if (centre := centre_of(scene)) is not None and scene.objects is not None and scene.objects[centre]:
        number = (int(scene.objects[centre]),)
    return Relabelling((Layer(where, pairs_table(scene.pairs)),), number)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Value]) -> str | None:
    """Judge by definition: grow from the middle over pixels of its class (and object)."""
    centre = centre_of(scene)
    if centre is None:
        return differs(after, scene.labels, "as they were")
    own = int(scene.labels[centre])
    if own not in scene.pairs:
        return f"the trigger lies on class {own}, which is no victim"
    like = scene.labels == own
    if parameters["extent"] != "class":
        if scene.objects is not None and scene.objects[centre]:
            like &= scene.objects == scene.objects[centre]
        else:
            seed = np.zeros_like(like)
            seed[centre] = True
            like = ndimage.binary_propagation(seed, structure=np.ones((3, 3), bool), mask=like)
    wanted = scene.labels.copy()
    wanted[like] = scene.pairs[own]
    return differs(after, wanted, "the object under the trigger as the target and all others as they were")


RULE = LabelRule(
    name="under",
    title="the object that the trigger lies on becomes the target",
    source="our reading of OFBA (Mao et al. 2023), whose definition was not readable",
    decide=_decide,
    fault=_fault,
    of_place=True,
    options={"extent": Option("object", "object, or class: all pixels of its class", one_of("object", "class"))},
    subject="object",
)
