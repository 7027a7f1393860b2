"""Images for training by source: subjects, strokes, painted label maps and phantoms in a stated mix.

Vendor images are filtered and interpolated, which flatters a reconstruction trained on them; every image is
therefore resampled below its acquired resolution. Patients, not slices, are held out (`split`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lfmri_node.recon.phantom.body import LESION_KINDS, Lesion, insert_lesion, phantom_volume, smooth_field
from lfmri_node.recon.train.anatomies import LabelMap, load_label_maps, paint
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.train.strokes import Stroke, load_strokes
from lfmri_node.recon.train.subjects import Subject, load_subjects
from lfmri_node.recon.types import Bool, Real

SIZE = 160
"""Rows and columns of an image where nothing else is asked for."""
PHANTOM, LABELS, STROKES = "phantom", "labels", "strokes"
MIX = {"head": 0.36, "knee": 0.10, "body": 0.12, LABELS: 0.20, STROKES: 0.12, PHANTOM: 0.10}
"""Share of each source in the training of a reconstruction."""
BELOW_RESOLUTION = 0.8
_SHARP = 1.25
"""Painted label maps have no resolution of their own: they may be enlarged."""
REAL = "real"

CLASSES = {"lesion": (*LESION_KINDS, REAL)}
"""Classes of Net_c; the kinds that each takes in, those of `phantom.LESION_KINDS` and the real ones."""


def class_labels(kind: str) -> list[float]:
    """Image-level labels of an image with a lesion of ``kind``, one for each of `CLASSES`; "" for none."""
    return [float(kind in kinds) for kinds in CLASSES.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """Image f32 (size, size) of ``subject``, its image-level label, and a lesion whose place is known.

    The lesion is an inserted one, or the masked real one of a stroke (kind ``real``).
    """

    image: Real
    label: bool
    lesion: Lesion | None
    subject: str = PHANTOM

    @property
    def classes(self) -> list[float]:
        """Label of each of `CLASSES`."""
        return class_labels("" if self.lesion is None else self.lesion.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """An image f32 (size, size), whose it is, whether it holds a real lesion and where, if that is known."""

    image: Real
    subject: str
    has_lesion: bool = False
    lesion: Bool | None = None


def augment(
    image: Real,
    rng: np.random.Generator,
    size: int = SIZE,
    mask: Bool | None = None,
    *,
    finest: float = BELOW_RESOLUTION,
    retoned: bool = True,
) -> tuple[Real, Bool | None]:
    """Random flip, turn, zoom, shift, tone and shading; f32 (size, size), brightest tissue about 1.

    Without ``retoned`` the contrast stays as it was measured.

    The zoom keeps the object inside the field of view and the resampling below the acquired resolution
    (a factor of at most ``finest``): in a large matrix the object is small. ``mask`` bool moves along.
    """
    rows, columns = (np.flatnonzero((image > 0.08).any(axis=axis)) for axis in (1, 0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    zoom = min(finest, rng.uniform(0.72, 0.98) * size / extent)
    angle = rng.uniform(-0.35, 0.35) + rng.integers(4) * np.pi / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    if rng.uniform() < 0.5:
        turn[:, 1] *= -1
    centre = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    offset = centre - turn @ (np.full(2, size / 2) + rng.uniform(-4, 4, 2))
    smooth = ndimage.gaussian_filter(image, rng.uniform(0.15, 0.4) / zoom) if finest <= 1 else image
    moved = None
    if mask is not None:
        moved = (
            ndimage.affine_transform(mask.astype(np.float32), turn, offset, output_shape=(size, size)) > 0.5
        )
    warped = np.clip(
        ndimage.affine_transform(smooth, turn, offset, output_shape=(size, size), order=3), 0, None
    )
    warped = warped / max(float(np.percentile(warped, 99.5)), 1e-3)
    if retoned:
        warped = retone(warped, rng)
    warped = warped * np.exp(rng.uniform(0, 0.3) * smooth_field((size, size), 3, rng))
    bright = float(np.percentile(warped, 99.5))
    return np.asarray(warped / max(bright, 1e-3), dtype=np.float32), moved


def retone(image: Real, rng: np.random.Generator) -> Real:
    """Another contrast of the same anatomy: mostly a power law, in three of ten any curve through zero.

    The curves stand for the contrasts of other sequences, which few subjects cannot show.
    """
    if rng.uniform() < 0.7:
        return np.asarray(image ** rng.uniform(0.6, 1.5))
    levels = np.concatenate(([0.0], rng.uniform(0.15, 1.0, 4)))
    return np.asarray(np.interp(image, [0.0, 0.25, 0.5, 0.75, 1.0], levels), dtype=np.float32)


class ImageSource:
    """Draws augmented images of the sources given, each by its share of ``mix`` if it has any images.

    A subject is drawn first, then one of its images, so that no subject outweighs the others.
    """

    def __init__(
        self,
        subjects: tuple[Subject, ...] = (),
        label_maps: tuple[LabelMap, ...] = (),
        strokes: tuple[Stroke, ...] = (),
        mix: dict[str, float] = MIX,
    ) -> None:
        self._subjects: dict[str, list[Subject]] = {}
        for subject in subjects:
            self._subjects.setdefault(subject.kind, []).append(subject)
        self._label_maps, self._strokes = label_maps, strokes
        there = {*self._subjects, PHANTOM}
        there |= {name for name, images in ((LABELS, label_maps), (STROKES, strokes)) if images}
        shares = {name: share for name, share in mix.items() if name in there and share > 0}
        self._names = list(shares)
        self._shares = np.array(list(shares.values())) / sum(shares.values())

    def draw(self, rng: np.random.Generator, size: int = SIZE) -> Drawn:
        """One image f32 (size, size)."""
        source = self._names[rng.choice(len(self._names), p=self._shares)]
        if source == PHANTOM:
            return Drawn(image=phantom_volume(1, (size, size), rng)[0], subject=PHANTOM)
        if source == LABELS:
            maps = self._label_maps[rng.integers(len(self._label_maps))]
            painted = paint(maps.slices[rng.integers(len(maps.slices))], rng, bare=maps.bare)
            return Drawn(image=augment(painted, rng, size, finest=_SHARP)[0], subject=maps.name)
        if source == STROKES:
            stroke = self._strokes[rng.integers(len(self._strokes))]
            image, mask = augment(stroke.image, rng, size, stroke.mask)
            found = bool(stroke.mask.any())
            return Drawn(
                image=image, subject=stroke.subject, has_lesion=found, lesion=mask if found else None
            )
        subjects = self._subjects[source]
        subject = subjects[rng.integers(len(subjects))]
        image, _ = augment(subject.images[rng.integers(len(subject.images))], rng, size)
        return Drawn(image=image, subject=subject.name, has_lesion=subject.has_lesion)

    def draw_labelled(
        self,
        rng: np.random.Generator,
        ease: float = 0.0,
        kinds: tuple[str, ...] = LESION_KINDS,
        *,
        size: int = SIZE,
    ) -> LabelledImage:
        """One image with its label; a lesion is inserted into half of those without a real one.

        ``ease`` in [0, 1]: 1 gives lesions of 2.5 times the contrast and 1.8 times the size, 0 usual ones.
        """
        drawn = self.draw(rng, size)
        kind = kinds[rng.integers(len(kinds))]
        wanted = rng.uniform() < 0.5
        if drawn.has_lesion:
            lesion = None if drawn.lesion is None or not drawn.lesion.any() else real_lesion(drawn.lesion)
            return LabelledImage(image=drawn.image, label=True, lesion=lesion, subject=drawn.subject)
        if not wanted:
            return LabelledImage(image=drawn.image, label=False, lesion=None, subject=drawn.subject)
        contrast, larger = 1.0 + 1.5 * ease, 1.0 + 0.8 * ease
        edited, inserted = insert_lesion(drawn.image, kind, rng, contrast=contrast, size=larger)
        return LabelledImage(image=edited, label=inserted is not None, lesion=inserted, subject=drawn.subject)


class GivenImage(ImageSource):
    """Always the same labelled image, as it is."""

    def __init__(self, entry: LabelledImage) -> None:
        super().__init__()
        self._entry = entry

    def draw_labelled(
        self,
        rng: np.random.Generator,
        ease: float = 0.0,
        kinds: tuple[str, ...] = (),
        *,
        size: int = SIZE,
    ) -> LabelledImage:
        """The image given; ``size`` is its own."""
        return self._entry


def real_lesion(mask: Bool) -> Lesion:
    """The lesion of a mask bool (r, p) that holds one: centre of mass, radius of a disc of its area."""
    places = np.argwhere(mask)
    row, column = (int(v) for v in np.round(places.mean(axis=0)))
    radius = float(np.sqrt(len(places) / np.pi))
    return Lesion(kind=REAL, centre=(row, column), radii=(radius, radius), mask=mask)


def source_of(data: Path, part: Part, mix: dict[str, float] = MIX) -> ImageSource:
    """All that the data folder holds of one part of the patients."""
    return ImageSource(load_subjects(data, part), load_label_maps(data, part), load_strokes(data, part), mix)
