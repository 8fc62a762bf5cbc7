"""Names of models and what they stand for. No torch, so that it can be listed everywhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from poisongen.errors import ChoiceError

PAPER_MODELS = {
    "deeplabv3": "DeepLabV3 as in the official code: stride 8, rates 6, 12 and 18, auxiliary head (resnet50)",
    "pspnet": "PSPNet as in the official code: stride 8, 3x3 fusing convolution, auxiliary head (resnet50)",
    "segformer": "SegFormer: the library's, its logits enlarged once as in SegFormer's own code (mit_b0)",
}
OFFICIAL = ("deeplabv3", "pspnet")  # of the official code
OWN = (*OFFICIAL, "segformer")  # built otherwise than the library's of that name, which is smp-NAME
PAPER_ENCODERS = {"deeplabv3": "resnet50", "pspnet": "resnet50", "segformer": "mit_b0"}


def library_name(name: str, architectures: Sequence[str]) -> str:
    """Return the one spelling of a model's name: `pspnet`, `deeplabv3`, or `unet`, `smp-pspnet`, ... of the library.

    Case, `-` and `_` do not matter: `Unet`, `DeepLabV3Plus` and `smp-fpn` are understood. ChoiceError if there is
    no such model.
    """
    plain = name.casefold().replace("_", "").replace("-", "")
    own = plain.removeprefix("smp")
    if plain != own and own in OWN:
        return f"smp-{own}"
    own = own.replace("+", "plus")
    if own in architectures:
        return own
    known = sorted({*architectures, *(f"smp-{model}" for model in OWN)})
    raise ChoiceError(f"--model: no model '{name}'; there are {', '.join(known)}")


def model_list() -> dict[str, str]:
    """Return the models that can be trained, by name, with a word on each; those of the library if it is installed."""
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        return PAPER_MODELS | {"...": "and all of segmentation-models-pytorch: pip install 'poisongen[train]'"}
    import segmentation_models_pytorch as smp

    others = dict.fromkeys(smp.MODEL_ARCHITECTURES_MAPPING, "of segmentation-models-pytorch")
    encoders = ", ".join(smp.encoders.get_encoder_names())
    return {
        **others,
        **PAPER_MODELS,
        "smp-deeplabv3": "DeepLabV3 as the library has it (rates 12, 24 and 36, no auxiliary head)",
        "smp-pspnet": "PSPNet as the library has it (encoder of depth 3, 1x1 fusing convolution, no auxiliary head)",
        "smp-segformer": "SegFormer as the library has it (logits enlarged corner to corner)",
        "(encoders)": f"{encoders}, and tu-NAME for any encoder of timm",
    }
