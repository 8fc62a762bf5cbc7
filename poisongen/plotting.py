"""Figures by matplotlib, as a file's bytes; it is loaded when the first one is drawn, and writes nothing anywhere."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from poisongen.errors import ChoiceError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: tuple[Literal["svg", "pdf", "png"], ...] = ("svg", "pdf", "png")
# Okabe and Ito's colours, which most colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLE: dict[str, Any] = {
    "axes.prop_cycle": "cycler('color', " + repr(list(COLOURS)) + ")",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "font.size": 10,
    "savefig.dpi": 200,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "poisongen",  # the same figure is the same file
    "text.parse_math": False,  # a class may be called `$x`
}
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}


def can_plot() -> bool:
    """Tell whether matplotlib is installed, without loading it."""
    return importlib.util.find_spec("matplotlib") is not None


def require_matplotlib(what: str) -> None:
    """Load matplotlib; ChoiceError if it is missing. `what` is to be drawn.

    On its first import it writes a list of fonts into the user's cache; here that goes to a folder which is removed.
    What it says of fonts and caches is nobody's matter.
    """
    if "matplotlib.figure" in sys.modules:
        return
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    own = "MPLCONFIGDIR" not in os.environ
    try:
        with tempfile.TemporaryDirectory(prefix="poisongen-") as folder:
            if own:
                os.environ["MPLCONFIGDIR"] = folder
            importlib.import_module("matplotlib.figure")
            importlib.import_module("matplotlib.font_manager")
    except ImportError as error:
        name = getattr(error, "name", None) or "matplotlib"
        why = "which is not installed" if name == "matplotlib" else f"which does not load ({name} is missing)"
        raise ChoiceError(f"{what} needs matplotlib, {why}: pip install jinja2 matplotlib") from None
    finally:
        if own:
            os.environ.pop("MPLCONFIGDIR", None)


@contextlib.contextmanager
def _styled(more: Mapping[str, Any]) -> Iterator[None]:
    """Draw in the project's style, whatever the user's settings are, and in silence about letters that a font lacks."""
    import matplotlib

    settings: Any = matplotlib.rcParams

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        settings.update({**_STYLE, **more})
        yield


def draw(
    paint: Callable[[Figure], None],
    size: tuple[float, float],
    form: Literal["svg", "pdf", "png"],
    style: Mapping[str, Any] | None = None,
) -> bytes:
    """Return a figure that `paint` fills, of `size` (width, height) in inches, as a file's bytes.

    `style` are matplotlib's settings over the project's own. ChoiceError if matplotlib is missing.
    """
    require_matplotlib("a figure")
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with _styled(style or {}):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(stream, format=form, metadata=_NO_DATE[form])
    return stream.getvalue()
