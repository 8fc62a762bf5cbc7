"""`instance`: only the victim object nearest to the trigger becomes the target; others of its class stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from poisongen.attack.label_rules.base import LabelRule, Layer, Relabelling, Scene, box_mask, differs, pairs_table
from poisongen.attack.label_rules.objects import nearest_objects, victim_objects
from poisongen.attack.parts import Option, Value, whole_number
from poisongen.core.labels import Labels


def _decide(scene: Scene, parameters: Mapping[str, Value]) -> Relabelling:
    objects = victim_objects(scene, parameters.get("least"))
    chosen = nearest_objects(objects, scene.box, int(parameters["instances"])) if scene.box is not None else ()
    return Relabelling((Layer(np.isin(objects, chosen), pairs_table(scene.pairs)),), chosen)


def _fault(scene: Scene, after: Labels, parameters: Mapping[str, Value]) -> str | None:
    """Judge by definition: whole objects, their pixels as the target, none left out that is nearer."""
    objects = victim_objects(scene, parameters.get("least"))
    far = ndimage.distance_transform_cdt(~box_mask(scene.labels.shape, scene.box), metric="chessboard")
    numbers = [number for number in np.unique(objects).tolist() if number]
    by_distance = sorted(numbers, key=lambda number: (int(far[objects == number].min()), number))
    wanted = scene.labels.copy()
    for number in by_distance[: int(parameters["instances"])]:
        for victim, target in scene.pairs.items():
            wanted[(objects == number) & (scene.labels == victim)] = target
    return differs(after, wanted, "the nearest victim object as its target and all others as they were")


RULE = LabelRule(
    name="instance",
    title="only the victim object nearest to the trigger becomes the target",
    source="our reading of the instance-level attack of BADSEG (arXiv 2603.16405)",
    decide=_decide,
    fault=_fault,
    options={
        "instances": Option(1, "how many objects, the nearest first", whole_number(1, 1000)),
        "least": Option(None, "pixels of a connected component that counts as an object", whole_number(1, 2**27)),
    },
    needs_place=True,
)
