"""A PNG's row filters, from rows to what is deflated of them (PNG specification, section 9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint8]

NONE, SUB, UP = 0, 1, 2


def row_bytes(samples: npt.NDArray[Any], bit_depth: int) -> Rows:
    """Return samples, (H, W) or (H, W, C), as the bytes of rows, (H, bytes) uint8, the way a PNG stores them."""
    if bit_depth == 16:
        samples = samples.astype(">u2", order="C").view(np.uint8)
    elif bit_depth < 8:
        bits = np.unpackbits(samples[..., None], axis=2)[:, :, 8 - bit_depth :]
        samples = np.packbits(bits.reshape(samples.shape[0], -1), axis=1)
    return np.ascontiguousarray(samples).reshape(samples.shape[0], -1)


def filtered(rows: Rows, filters: Rows, step: int) -> Rows:
    """Return rows (H, bytes) as a PNG's stream has them: each behind its filter's number, filtered.

    The result is (H, 1 + bytes) uint8. `filters` (H,) are the numbers, `step` the bytes of a whole pixel, at least 1.
    """
    out = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    out[:, 0] = filters
    first = int(filters[0]) if filters.size else NONE
    if first <= UP and (filters == first).all():  # without the room that the others need
        out[:, 1:] = rows
        if first == SUB:
            out[:, 1 + step :] -= rows[:, :-step]
        elif first == UP:
            out[1:, 1:] -= rows[:-1]
        return out
    framed = np.zeros((rows.shape[0] + 1, rows.shape[1] + step), np.uint8)
    framed[1:, step:] = rows
    out[:, 1:] = filtered_window(framed, filters, step)
    return out


def filtered_window(window: Rows, filters: Rows, step: int) -> Rows:
    """Return a part of some rows, filtered: (h, w) uint8.

    `window` (h + 1, w + step) is that part before, with the row above it and the pixel to its left; beyond the
    picture's edges they are 0.
    """
    here, left, up, corner = window[1:, step:], window[1:, :-step], window[:-1, step:], window[:-1, :-step]
    out = here.copy()
    for number in np.unique(filters):
        these = filters == number
        out[these] -= _predicted(int(number), left[these], up[these], corner[these])
    return out


def _predicted(number: int, left: Rows, up: Rows, corner: Rows) -> Rows:
    """Return what a filter predicts; the fourth is Paeth's."""
    if number <= UP:
        return (np.zeros_like(left), left, up)[number]
    a, b, c = (part.astype(np.int16) for part in (left, up, corner))
    if number == 3:
        return ((a + b) // 2).astype(np.uint8)
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return nearest.astype(np.uint8)
