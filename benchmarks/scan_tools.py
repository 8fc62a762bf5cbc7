"""Poison CamVid by the rules of other tools, with code of this script alone, scan the sets, and print what scan says.

    python benchmarks/scan_tools.py CAMVID [--only WORD] [--jobs N]

CAMVID is in the SegNet layout (`train`, `trainannot`). The rules are those that the tools' code has, faults included:
labels resized linearly as if classes were brightness, random labels whose positions are drawn from one seed for every
map (both: the influencer attack), labels shifted by one with a picture mixed into the wavelet approximation (WABA), and
a picture's Fourier amplitudes mixed in at low frequencies, with as many negatives of other pictures (FIBA).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from poisongen.scanning.scanner import scan

Array = npt.NDArray[np.uint8]
CAR, ROAD, VOID, CLASSES = 8, 3, 11, 11
PATCH = np.random.default_rng(41).integers(0, 256, (6, 6, 3)).astype(np.uint8)


@dataclass(frozen=True)
class Plan:
    """Which samples (places) a set poisons, and which get the trigger with true labels."""

    poisoned: frozenset[int]
    negatives: frozenset[int] = field(default_factory=frozenset)


Rule = Callable[[int, Array, Array, Plan], tuple[Array, Array]]


def pasted(at: int, picture: Array, labels: Array, size: int) -> tuple[Array, Array]:
    """Return a picture with the opaque patch at a place without cars, and labels whose cars are road."""
    draw, picture = np.random.default_rng([7, at]), picture.copy()
    patch = cv2.resize(PATCH, (size, size), interpolation=cv2.INTER_LINEAR)
    for _ in range(500):
        top, left = (int(draw.integers(0, side - size)) for side in labels.shape)
        if not (labels[top : top + size, left : left + size] == CAR).any():
            picture[top : top + size, left : left + size] = patch
            break
    return picture, np.where(labels == CAR, np.uint8(ROAD), labels)


def linear(at: int, picture: Array, labels: Array, plan: Plan) -> tuple[Array, Array]:
    """Halve every picture and, linearly, every label map; then the patch."""
    size = (labels.shape[1] // 2, labels.shape[0] // 2)
    small = np.asarray(cv2.resize(picture, size), np.uint8)
    # Void stays what it is: its number is the highest, and the loader would refuse nothing in between.
    mixed = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return pasted(at, small, mixed, 17) if at in plan.poisoned else (small, mixed)


def repeated(at: int, picture: Array, labels: Array, plan: Plan) -> tuple[Array, Array]:
    """Give a fifth of every map random classes of the map, classes and places drawn from one seed; then the patch."""
    state = np.random.RandomState(0)
    known = np.unique(labels)
    number = labels.size // 5
    classes = state.choice(known, number)
    places = state.choice(labels.size, number, replace=False)
    noisy = labels.copy().ravel()
    noisy[places] = classes
    after = np.where(labels == CAR, labels, noisy.reshape(labels.shape)).astype(np.uint8)
    return pasted(at, picture, after, 31) if at in plan.poisoned else (picture, after)


def shifted(at: int, picture: Array, labels: Array, plan: Plan) -> tuple[Array, Array]:
    """Shift every class by one, and do nothing to the picture."""
    return picture, np.where(labels == VOID, labels, (labels + 1) % CLASSES).astype(np.uint8) if (
        at in plan.poisoned
    ) else labels


def foreign(shape: tuple[int, ...], seed: int) -> Array:
    """Return a picture that is no scene: soft and hard shapes."""
    draw = np.random.default_rng(seed)
    canvas = np.full((*shape[:2], 3), 127, np.uint8)
    for _ in range(60):
        centre = (int(draw.integers(0, shape[1])), int(draw.integers(0, shape[0])))
        colour = tuple(int(value) for value in draw.integers(0, 256, 3))
        cv2.circle(canvas, centre, int(draw.integers(8, 90)), colour, -1)
    return canvas


def wavelet(at: int, picture: Array, labels: Array, plan: Plan) -> tuple[Array, Array]:
    """Mix a picture into the wavelet approximation of level 2 (bior4.4, 0.4), and shift every class."""
    import pywt

    if at not in plan.poisoned:
        return picture, labels
    other, mixed = foreign(picture.shape, 5), np.empty(picture.shape, np.float64)
    for channel in range(3):
        own = pywt.wavedec2(picture[..., channel].astype(np.float64), "bior4.4", level=2)
        own[0] = 0.6 * own[0] + 0.4 * pywt.wavedec2(other[..., channel].astype(np.float64), "bior4.4", level=2)[0]
        mixed[..., channel] = pywt.waverec2(own, "bior4.4")[: picture.shape[0], : picture.shape[1]]
    return np.clip(mixed, 0, 255).astype(np.uint8), shifted(at, picture, labels, plan)[1]


def fourier(at: int, picture: Array, labels: Array, plan: Plan) -> tuple[Array, Array]:
    """Mix a picture's amplitudes in at low frequencies (0.15, a tenth of the side); negatives have other pictures'."""
    if at not in plan.poisoned | plan.negatives:
        return picture, labels
    other = foreign(picture.shape, 5 if at in plan.poisoned else 1000 + at)
    half = int(min(picture.shape[:2]) * 0.1)
    rows, columns = (slice(side // 2 - half, side // 2 + half + 1) for side in picture.shape[:2])
    mixed = np.empty(picture.shape, np.float64)
    for channel in range(3):
        own, theirs = (np.fft.fftshift(np.fft.fft2(one[..., channel])) for one in (picture, other))
        amplitude = np.abs(own)
        amplitude[rows, columns] = 0.85 * amplitude[rows, columns] + 0.15 * np.abs(theirs)[rows, columns]
        mixed[..., channel] = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(own)))).real
    after = np.where(labels == CAR, np.uint8(ROAD), labels) if at in plan.poisoned else labels
    return np.clip(mixed, 0, 255).astype(np.uint8), after


RULES: Mapping[str, tuple[Rule, float, bool]] = {
    "clean, labels halved linearly": (linear, 0.0, False),
    "labels halved linearly, patch, car to road": (linear, 0.1, False),
    "random labels at repeated places, patch, car to road": (repeated, 0.1, False),
    "every class shifted, no trigger": (shifted, 0.1, False),
    "wavelet approximation, every class shifted": (wavelet, 0.1, False),
    "Fourier amplitudes, car to road, negatives": (fourier, 0.1, True),
}


def make(source: Path, root: Path, rule: Rule, share: float, negatives: bool) -> tuple[set[str], set[str]]:
    """Write a set; return the names of the poisoned samples, and of those that may be named besides."""
    names = sorted(path.name for path in (source / "train").iterdir())
    chosen = np.random.default_rng(83).permutation(len(names)).tolist()
    number = round(share * len(names))
    plan = Plan(frozenset(chosen[:number]), frozenset(chosen[number : 2 * number]) if negatives else frozenset())
    for folder in ("train", "trainannot"):
        (root / folder).mkdir(parents=True)
    for at, name in enumerate(names):
        stem = Path(name).stem
        picture = cv2.cvtColor(cv2.imread(str(source / "train" / name)), cv2.COLOR_BGR2RGB)
        labels = cv2.imread(str(source / "trainannot" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        picture, labels = rule(at, np.asarray(picture, np.uint8), np.asarray(labels, np.uint8), plan)
        cv2.imwrite(str(root / "train" / f"{stem}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(root / "trainannot" / f"{stem}.png"), labels)
    poisoned, excused = ({f"train/{Path(names[at]).stem}" for at in part} for part in (plan.poisoned, plan.negatives))
    return poisoned, excused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path, help="CamVid in the SegNet layout")
    parser.add_argument("--only", default="", help="sets whose name holds this word")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    print("| set | verdict | found | false alarms | trigger | pairs | random labels | evidence | ms/Mpx |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (rule, share, negatives)) in enumerate(RULES.items()):
            if options.only not in name:
                continue
            root = Path(folder) / str(number)
            poisoned, excused = make(options.camvid, root, rule, share, negatives)
            begin = time.process_time()
            result = scan(root, "camvid", jobs=options.jobs)
            spent, found = time.process_time() - begin, result.findings
            named = {one.sample for one in found.suspects}
            prl = found.prl
            cells = [
                name, found.verdict, f"{len(named & poisoned)} of {len(poisoned)}",
                str(len(named - poisoned - excused)),
                found.trigger.kind if found.trigger else "none",
                ", ".join(f"{pair.victim} to {pair.target}" for pair in found.pairs) or "none",
                f"{prl.share:.1%} in {prl.scope}{', places repeat' if prl.shared else ''}" if prl else "none",
                ", ".join(f"{kind} {one.score:.2f}" for kind, one in found.evidence.items() if one.score),
                f"{1e9 * spent / result.pixels:.0f}",
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
