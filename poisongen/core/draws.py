"""Random draws that are the same on every machine and under every version of NumPy.

NumPy guarantees the streams of its bit generators, not those of `Generator`'s methods (NEP 19). Everything
here is therefore built on raw 64-bit words, and each consumer gets a generator of its own, keyed by words.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Generator = np.random.Generator


def keyed_generator(*key: object) -> Generator:
    """Return the generator that belongs to `key` (a seed, a purpose, a sample's name, ...).

    The key's parts are joined and hashed with SHA-256; the first 128 bits seed PCG64. Equal keys give equal
    streams, whatever was drawn elsewhere.
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in key).encode("utf-8", "surrogateescape")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def raw_words(count: int, generator: Generator) -> npt.NDArray[np.uint64]:
    """Return `count` independent 64-bit words, shape (count,)."""
    bits: np.random.PCG64 = generator.bit_generator  # type: ignore[assignment]
    return np.asarray(bits.random_raw(count), dtype=np.uint64).reshape(count)


def draw_below(bounds: npt.NDArray[np.integer], generator: Generator) -> npt.NDArray[np.int64]:
    """Draw one whole number in [0, bound) for every bound (each >= 1); same shape as `bounds`.

    A 64-bit word modulo the bound: the bias is below bound / 2**64.
    """
    words = raw_words(bounds.size, generator).reshape(bounds.shape)
    return (words % bounds.astype(np.uint64)).astype(np.int64)


def draw_order(count: int, generator: Generator) -> npt.NDArray[np.intp]:
    """Return a random permutation of range(count): the order of one random word for each."""
    return np.argsort(raw_words(count, generator), kind="stable")


def draw_distinct(population: int, count: int, generator: Generator) -> npt.NDArray[np.intp]:
    """Draw `count` distinct members of range(population), in ascending order: those with the smallest words."""
    if count >= population:
        return np.arange(population)
    if count <= 0:
        return np.arange(0)
    words = raw_words(population, generator)
    # Only words below a bound that surely leaves enough of them have to be compared with each other.
    share = count / population
    bound = min(share + 8 * (share / population) ** 0.5 + 8 / population, 1.0)
    few = np.flatnonzero(words < np.uint64(min(int(bound * 2.0**64), 2**64 - 1)))
    if few.size < count:
        few = np.arange(population)
    small = words[few]
    chosen = few[small <= np.partition(small, count - 1)[count - 1]]
    if chosen.size == count:
        return np.asarray(chosen)
    return np.sort(few[np.argpartition(small, count - 1)[:count]])  # two words are the same
