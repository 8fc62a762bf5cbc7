"""Whether the extra `train` is installed, asked before anything imports torch."""

from __future__ import annotations

import importlib

from poisongen.errors import ChoiceError

_NEEDED = ("torch", "torchvision", "segmentation_models_pytorch")


def require_torch() -> None:
    """Import torch and its companions; ChoiceError if they are missing or do not fit together."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ChoiceError(
                f"training and prediction need {error.name}, which is not installed: pip install 'poisongen[train]'"
            ) from None
        except (ImportError, RuntimeError, OSError) as error:
            first = str(error).strip().partition("\n")[0]
            raise ChoiceError(
                f"{name} is installed but does not load ({first}); torch and torchvision must come from one "
                "index: pip install --force-reinstall torch torchvision"
            ) from None
