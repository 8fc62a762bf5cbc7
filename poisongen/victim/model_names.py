"""Names of models and what they stand for. No torch, so that it can be listed everywhere."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from poisongen.errors import ChoiceError

PAPER_MODELS = {
    "deeplabv3": "DeepLabV3, encoder at stride 8 (the paper's; resnet50)",
    "pspnet": "PSPNet, encoder of depth 5 at stride 8, auxiliary head (the paper's; resnet50)",
    "segformer": "SegFormer (the paper's; mit_b0)",
}
PAPER_ENCODERS = {"deeplabv3": "resnet50", "pspnet": "resnet50", "segformer": "mit_b0"}


def library_name(name: str, architectures: Sequence[str]) -> str:
    """Return the one spelling of a model's name: `pspnet`, or `deeplabv3`, `unet`, `smp-pspnet`, ... of the library.

    Case, `-` and `_` do not matter: `Unet`, `DeepLabV3Plus` and `smp-fpn` are understood. ChoiceError if there is
    no such model.
    """
    plain = name.casefold().replace("_", "").replace("-", "")
    if plain == "smppspnet":
        return "smp-pspnet"
    plain = plain.removeprefix("smp").replace("+", "plus")
    if plain in architectures:
        return plain
    raise ChoiceError(f"--model: no model '{name}'; there are {', '.join(sorted({*architectures, 'smp-pspnet'}))}")


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
        "smp-pspnet": "PSPNet as the library has it (encoder of depth 3, no auxiliary head)",
        "(encoders)": f"{encoders}, and tu-NAME for any encoder of timm",
    }
