"""Triggers as files: the built-in pictures and the user's own PNGs."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from poisongen.errors import ChoiceError

DEFAULT_TRIGGER = "cat"
LARGEST_SIDE = 4096  # pixels
LARGEST_FILE = 16 * 2**20  # bytes


class KeptPicture(BaseModel):
    """A picture as a recipe keeps it: its name, the PNG's bytes in base64 and their SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(max_length=255)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    png: str


def builtin_triggers() -> list[str]:
    """Return the names of the built-in triggers, sorted."""
    folder = resources.files("poisongen.triggers")
    return sorted(item.name.removesuffix(".png") for item in folder.iterdir() if item.name.endswith(".png"))


def load_trigger(name: str, folder: Path | None = None) -> KeptPicture:
    """Load a built-in trigger by name, or a PNG file.

    With `folder` (where a recipe file lies) a file must be in that folder: a recipe from somebody else cannot
    make poisongen read other places. ChoiceError if there is no such trigger or the file is not usable.
    """
    if name in builtin_triggers():
        data = (resources.files("poisongen.triggers") / f"{name}.png").read_bytes()
    else:
        data = read_png_file(name, folder, "--trigger", ", ".join(builtin_triggers()))
    _decode(data, name)
    return kept_picture(name, data)


def read_png_file(name: str, folder: Path | None, flag: str, built_in: str = "") -> bytes:
    """Return a PNG file's bytes; with `folder` it must lie there. ChoiceError names the `flag` that it came from.

    `built_in` are the names that would have done as well.
    """
    path = Path(name)
    if folder is not None:
        if path.name != name or (folder / path).resolve().parent != folder.resolve():
            other = "a built-in name or " if built_in else ""
            raise ChoiceError(f"{flag.removeprefix('--')}: '{name}' must be {other}a PNG file beside the recipe")
        path = folder / path
    if not path.exists():
        what = f"is neither a file nor built in ({built_in})" if built_in else "is no file"
        raise ChoiceError(f"{flag}: '{name}' {what}")
    if not path.is_file():
        raise ChoiceError(f"{flag}: '{name}' is not a file; give a PNG")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ChoiceError(f"{flag}: '{name}' is larger than {LARGEST_FILE >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ChoiceError(f"{flag}: '{name}' cannot be read ({error.strerror})") from None


def trigger_pixels(picture: KeptPicture) -> npt.NDArray[np.uint8]:
    """Return the trigger's pixels, (h, w, 4) uint8 RGBA; ChoiceError if the bytes are no usable PNG."""
    return _decode(kept_bytes(picture, "trigger"), picture.name)


def kept_bytes(picture: KeptPicture, what: str) -> bytes:
    """Return the PNG's bytes; ChoiceError, which names `what` it is, if they do not have their digest."""
    try:
        data = base64.b64decode(picture.png, validate=True)
    except ValueError:
        raise ChoiceError(f"{what}: its bytes are not base64") from None
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise ChoiceError(f"{what}: the bytes of '{picture.name}' do not have the digest that the recipe names")
    return data


def kept_picture(name: str, data: bytes) -> KeptPicture:
    """Return a PNG file's bytes as a recipe keeps them, under the file's name without folder and ending."""
    return KeptPicture(
        name=Path(name).stem or name,
        sha256=hashlib.sha256(data).hexdigest(),
        png=base64.b64encode(data).decode("ascii"),
    )


def _decode(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG",))
        if max(image.size) > LARGEST_SIDE:
            size = f"{image.width}x{image.height}"
            raise ChoiceError(f"--trigger: '{name}' is {size} px; the largest side allowed is {LARGEST_SIDE}")
        if image.mode.startswith("I"):  # 16-bit gray: the high byte
            return np.asarray(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGBA"))
        return np.asarray(image.convert("RGBA"), dtype=np.uint8)
    except UnidentifiedImageError:
        raise ChoiceError(f"--trigger: '{name}' is not a PNG file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ChoiceError(f"--trigger: '{name}' is damaged ({error})") from None
