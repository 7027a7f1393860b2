"""Pairs for Net_c: an image with a lesion that can be seen, and one without.

[our reading] Four sources. *Real*: a stroke patient and another without a mask, as they are. *Removed*: a
stroke and the same slice with the other hemisphere's tissue in its place. *Transplanted*: a stroke of one
patient in the slice of another that shows none. *Inserted*: a lesion of `phantom.insert_lesion` in any
anatomy. In all but the first the two images are one anatomy, which `losses.pair_loss` makes use of. What
enters a loss is that an image shows a lesion, never where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lfmri_node.recon.phantom.body import LESION_KINDS, insert_lesion
from lfmri_node.recon.train.data import MIX, STROKES, source_of
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.train.strokes import Stroke, load_strokes
from lfmri_node.recon.train.visibility import VISIBLE, contrast_to_noise, ring_around
from lfmri_node.recon.types import Bool, Real

STROKE_KIND = "bright"
"""A stroke is bright on FLAIR: the kind of inserted lesions that it looks like."""
SHARES = {"real": 0.6, "removed": 0.15, "transplanted": 0.1, "inserted": 0.15}
N_HEALTHY = 300
"""Images that lesions are inserted into; each is varied anew whenever it is shown."""
_SMALLEST = 20
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionPair:
    """Magnitudes f32 (r, p) with a lesion of ``kind`` and without; ``same`` where they are one anatomy."""

    lesioned: Real
    other: Real
    kind: str
    same: bool

    def __post_init__(self) -> None:
        if self.same and self.lesioned.shape != self.other.shape:
            raise ValueError(f"one anatomy of two sizes, {self.lesioned.shape} and {self.other.shape}")


def remove_stroke(image: Real, mask: Bool) -> Real | None:
    """The slice f32 (y, x) with the other hemisphere's tissue in place of its lesion, blended in.

    Left and right are mirrored about the middle column, as the atlas space of SOOP has it. None where the
    other side has a lesion at that place too, or where what was filled in can still be told from its
    surroundings.
    """
    place = ndimage.binary_dilation(mask, iterations=2)
    if (place & mask[:, ::-1]).any():
        return None
    ring = ring_around(mask) & (image > 0)
    mirrored = image[:, ::-1]
    if not ring.any():
        return None
    gain = float(np.median(image[ring]) / max(float(np.median(mirrored[ring])), 1e-3))
    soft = ndimage.gaussian_filter(place.astype(np.float32), 1.0)
    filled = image + soft * (np.clip(gain, 0.8, 1.25) * mirrored - image)
    return None if contrast_to_noise(filled, mask) > VISIBLE else np.asarray(filled, dtype=np.float32)


def transplant(donor: Stroke, image: Real, rng: np.random.Generator) -> Real | None:
    """``image`` f32 (y, x) with one lesion of ``donor``, turned by quarters, at a random place of its tissue.

    Its brightness is kept relative to its surroundings. None where no lesion that can be seen comes of it.
    """
    parts, n = ndimage.label(donor.mask)
    sizes = np.bincount(parts.ravel())[1:]
    chosen = 1 + int(rng.choice(n, p=sizes / sizes.sum()))
    if sizes[chosen - 1] < _SMALLEST:
        return None
    mask = parts == chosen
    ring = ring_around(mask) & (donor.image > 0)
    box = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in ndimage.find_objects(parts)[chosen - 1])
    level = float(np.median(donor.image[ring])) if ring.any() else 0.0
    if level <= 0:
        return None
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    patch, shape = (np.rot90(a[box], turns) for a in (donor.image / level, mask))
    if mirrored:
        patch, shape = patch[:, ::-1], shape[:, ::-1]
    height, width = shape.shape
    rows, columns = image.shape[0] - height, image.shape[1] - width
    if min(rows, columns) <= 0:
        return None
    row, column = int(rng.integers(rows)), int(rng.integers(columns))
    window = (slice(row, row + height), slice(column, column + width))
    under = image[window]
    if (under[shape] > 0.1).mean() < 0.9:
        return None
    soft = ndimage.gaussian_filter(ndimage.binary_dilation(shape).astype(np.float32), 0.7)
    edited = image.copy()
    edited[window] = np.minimum(under + soft * (patch * float(np.median(under[shape])) - under), 1.0)
    place = np.zeros(image.shape, dtype=bool)
    place[window] = shape
    seen = contrast_to_noise(edited, place) > max(VISIBLE, contrast_to_noise(image, place))
    return edited if seen else None


class PairSource:
    """Draws pairs from the four sources by their shares; with no strokes at hand only inserted lesions.

    Parameters
    ----------
    strokes
        Slices of stroke patients: with a visible lesion a positive, without a mask a negative, else left out.
    healthy
        Magnitudes f32 (y, x) of any anatomy without a lesion, the brightest tissue about 1.
    kinds
        Kinds of `phantom.LESION_KINDS` that are inserted, in equal parts.
    """

    def __init__(self, strokes: tuple[Stroke, ...], healthy: Sequence[Real], kinds: tuple[str, ...]) -> None:
        self._healthy, self._kinds = healthy, tuple(kind for kind in LESION_KINDS if kind in kinds)
        self._positive = [s for s in strokes if s.cnr > VISIBLE and s.mask.sum() >= _SMALLEST]
        self._negative = [s for s in strokes if not s.mask.any()]
        twins = [(s.image, remove_stroke(s.image, s.mask)) for s in self._positive]
        self._removed = [(image, twin) for image, twin in twins if twin is not None]
        makers: dict[str, Callable[[np.random.Generator, float], LesionPair | None]] = {
            "real": lambda rng, ease: self._real(rng),
            "removed": lambda rng, ease: self._twins(rng),
            "transplanted": lambda rng, ease: self._transplanted(rng),
            "inserted": self._inserted,
        }
        names = [name for name in SHARES if name == "inserted" or (self._removed and self._negative)]
        self._makers = [makers[name] for name in names]
        shares = np.array([SHARES[name] for name in names])
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator, ease: float = 0.0) -> LesionPair:
        """One pair. ``ease`` in [0, 1] gives inserted lesions up to 2.5 times the contrast, 1.8 the size."""
        make = self._makers[int(rng.choice(len(self._makers), p=self._shares))]
        while (pair := make(rng, ease)) is None:
            continue
        return pair

    def _real(self, rng: np.random.Generator) -> LesionPair:
        lesioned, other = (of[rng.integers(len(of))].image for of in (self._positive, self._negative))
        return LesionPair(lesioned=lesioned, other=other, kind=STROKE_KIND, same=False)

    def _twins(self, rng: np.random.Generator) -> LesionPair:
        image, twin = self._removed[rng.integers(len(self._removed))]
        return LesionPair(lesioned=image, other=twin, kind=STROKE_KIND, same=True)

    def _transplanted(self, rng: np.random.Generator) -> LesionPair | None:
        donor, other = (of[rng.integers(len(of))] for of in (self._positive, self._negative))
        edited = transplant(donor, other.image, rng)
        return (
            edited
            if edited is None
            else LesionPair(lesioned=edited, other=other.image, kind=STROKE_KIND, same=True)
        )

    def _inserted(self, rng: np.random.Generator, ease: float) -> LesionPair | None:
        if self._negative and rng.uniform() < 0.2:
            image = self._negative[rng.integers(len(self._negative))].image
        else:
            image = self._healthy[int(rng.integers(len(self._healthy)))]
        kind = self._kinds[rng.integers(len(self._kinds))]
        for _ in range(_TRIES):
            edited, lesion = insert_lesion(image, kind, rng, contrast=1.0 + 1.5 * ease, size=1.0 + 0.8 * ease)
            if lesion is not None and contrast_to_noise(edited, lesion.mask) > VISIBLE:
                return LesionPair(lesioned=edited, other=image, kind=kind, same=True)
        return None


def healthy_images(data: Path, part: Part, n: int, seed: int) -> list[tuple[str, Real]]:
    """``n`` images f32 (y, x) without a lesion of the patients of ``part`` and phantoms, and whose."""
    source = source_of(data, part, {**MIX, STROKES: 0.0})
    rng = np.random.default_rng((seed, 17))
    found: list[tuple[str, Real]] = []
    while len(found) < n:
        drawn = source.draw(rng)
        if not drawn.has_lesion:
            found.append((drawn.subject, drawn.image))
    return found


def pair_source(data: Path, kinds: tuple[str, ...], seed: int) -> PairSource:
    """All that the data folder holds for the training of Net_c."""
    strokes = load_strokes(data, Part.TRAIN) + load_strokes(data, Part.TRAIN, coronal=True)
    return PairSource(
        strokes, [image for _, image in healthy_images(data, Part.TRAIN, N_HEALTHY, seed)], kinds
    )
