"""The order of training samples, a matter of seed and epoch alone: what makes a run resumable."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from poisongen.core.draws import draw_order, keyed_generator


def keyed_number(*key: object) -> int:
    """Return a 63-bit number that belongs to a key."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def batch_order(count: int, batch: int, epoch: int, seed: int) -> npt.NDArray[np.intp]:
    """Return an epoch's batches as indices, (batches, batch): an order drawn from seed and epoch, the rest dropped."""
    order = draw_order(count, keyed_generator(seed, "order", epoch))
    batches = count // batch
    return order[: batches * batch].reshape(batches, batch)
