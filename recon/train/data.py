"""Magnitude images for training, by subject; samples for the classifier and for the cascade.

Sources are the vendor-processed magnitude images of ``shared/data`` (see its README for licences) and
the phantom family of `recon.phantom`. Vendor images are filtered and interpolated, which flatters a
reconstruction trained on them; every image is therefore resampled below its acquired resolution.
Subjects, not slices, are held out. Images that hold a real lesion are positives, never negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lfmri_node.recon.phantom import LESION_KINDS, Lesion, insert_lesion, phantom_volume, smooth_field
from lfmri_node.recon.types import Real

SIZE = 160
"""Rows and columns of a training image."""

SUBJECTS = ("knee", "legs", "head_t1", "F6B", "brain_stroke", "F6A", "F7A", "S6A")
REAL_LESIONS = ("brain_stroke", "F6A", "F7A", "S6A")
PHANTOM = "phantom"


CLASSES = {"bright lesion": ("bright", "oedema"), "dark lesion": ("dark",), "line-like lesion": ("tear",)}
"""Classes of Net_c by what a lesion looks like; the kinds of `phantom.LESION_KINDS` that each takes in."""


def class_labels(kind: str) -> list[float]:
    """Image-level labels of an image with a lesion of ``kind``, one for each of `CLASSES`; "" for none."""
    return [float(kind in kinds) for kinds in CLASSES.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One rotation of the subjects; what is not held out is trained on."""

    index: int
    held_out: tuple[str, ...]

    @property
    def trained(self) -> tuple[str, ...]:
        return tuple(name for name in SUBJECTS if name not in self.held_out)


FOLDS = (
    Fold(index=0, held_out=("legs", "F6B", "F7A")),
    Fold(index=1, held_out=("knee", "F6A")),
    Fold(index=2, held_out=("head_t1", "S6A", "brain_stroke")),
)
"""Each subject is held out once. The shipped weights are trained as fold 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All images of one subject.

    Parameters
    ----------
    images
        Magnitudes f32 (y, x), sizes may differ.
    has_lesion
        The images hold a real lesion: positives for the classifier.
    """

    name: str
    images: tuple[Real, ...]
    has_lesion: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """Image f32 (SIZE, SIZE) of ``subject``, its image-level label, the inserted lesion (for evaluation)."""

    image: Real
    label: bool
    lesion: Lesion | None
    subject: str = PHANTOM

    @property
    def classes(self) -> list[float]:
        """Label of each of `CLASSES`."""
        return class_labels("" if self.lesion is None else self.lesion.kind)


def load_subjects(data: Path, names: tuple[str, ...]) -> tuple[Subject, ...]:
    """Read the named subjects from the folder ``data``; slices that are almost empty are left out."""
    return tuple(_load(data, name) for name in names)


def _load(data: Path, name: str) -> Subject:
    if name == "knee":
        volumes = list(np.load(data / "knee_mese.npz")["images"])
    elif name == "legs":
        legs = np.load(data / "legs.npz")
        volumes = [legs["thigh"], legs["calf"]]
    elif name == "head_t1":
        volumes = [np.load(data / "head_t1.npz")["images"]]
    elif name == "brain_stroke":
        stroke = np.load(data / "brain_stroke.npz")
        volumes = [stroke[key] for key in stroke.files]
    else:
        brains = np.load(data / "brain_3T_lesions.npz")
        volumes = [brains[key] for key in brains.files if key.startswith(name)]
    images = []
    for volume in volumes:
        volume = np.asarray(volume, dtype=np.float32)
        volume = volume - volume.min()  # some volumes are stored with an offset
        for image in volume / max(float(np.percentile(volume, 99.5)), 1e-6):
            if (image > 0.1).mean() > 0.04:
                images.append(image)
    return Subject(name=name, images=tuple(images), has_lesion=name in REAL_LESIONS)


def augment(image: Real, rng: np.random.Generator, size: int = SIZE) -> Real:
    """Random flip, turn, zoom, shift, tone and shading; f32 (size, size), brightest tissue about 1.

    The zoom keeps the object inside the field of view and the resampling below the acquired
    resolution (a factor of at most 0.8).
    """
    rows, columns = (np.flatnonzero((image > 0.08).any(axis=axis)) for axis in (1, 0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    zoom = min(0.8, rng.uniform(0.72, 0.98) * size / extent)
    angle = rng.uniform(-0.35, 0.35) + rng.integers(4) * np.pi / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    if rng.uniform() < 0.5:
        turn[:, 1] *= -1
    centre = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    offset = centre - turn @ (np.full(2, size / 2) + rng.uniform(-4, 4, 2))
    smooth = ndimage.gaussian_filter(image, rng.uniform(0.15, 0.4) / zoom)
    warped = np.clip(
        ndimage.affine_transform(smooth, turn, offset, output_shape=(size, size), order=3), 0, None
    )
    warped = retone(warped / max(float(np.percentile(warped, 99.5)), 1e-3), rng)
    warped = warped * np.exp(rng.uniform(0, 0.3) * smooth_field((size, size), 3, rng))
    bright = float(np.percentile(warped, 99.5))
    return np.asarray(warped / max(bright, 1e-3), dtype=np.float32)


def retone(image: Real, rng: np.random.Generator) -> Real:
    """Another contrast of the same anatomy: mostly a power law, in three of ten any curve through zero.

    The curves stand for the contrasts of other sequences, which few subjects cannot show.
    """
    if rng.uniform() < 0.7:
        return np.asarray(image ** rng.uniform(0.6, 1.5))
    levels = np.concatenate(([0.0], rng.uniform(0.15, 1.0, 4)))
    return np.asarray(np.interp(image, [0.0, 0.25, 0.5, 0.75, 1.0], levels), dtype=np.float32)


class ImageSource:
    """Draws augmented images: a fraction of phantoms, the rest from the subjects' images.

    ``real_lesions=False`` leaves out the subjects with real lesions: few as they are, a classifier
    learns to recognise the subject instead of the lesion.
    """

    def __init__(
        self, subjects: tuple[Subject, ...], phantom_fraction: float, *, real_lesions: bool = True
    ) -> None:
        subjects = tuple(s for s in subjects if real_lesions or not s.has_lesion)
        self._clean = [s for s in subjects if not s.has_lesion]
        self._lesioned = [s for s in subjects if s.has_lesion]
        self._phantom_fraction = phantom_fraction

    def draw(self, rng: np.random.Generator) -> tuple[Real, Subject | None]:
        """One image f32 (SIZE, SIZE) and its subject, None for a phantom.

        A subject is drawn first, then one of its images, so that no subject outweighs the others.
        """
        if rng.uniform() < self._phantom_fraction or not (self._clean or self._lesioned):
            return phantom_volume(1, (SIZE, SIZE), rng)[0], None
        lesioned = self._lesioned and (not self._clean or rng.uniform() < 0.3)
        subjects = self._lesioned if lesioned else self._clean
        subject = subjects[rng.integers(len(subjects))]
        return augment(subject.images[rng.integers(len(subject.images))], rng), subject

    def draw_labelled(
        self, rng: np.random.Generator, ease: float = 0.0, kinds: tuple[str, ...] = LESION_KINDS
    ) -> LabelledImage:
        """One image with its label, positives and negatives in equal parts.

        ``ease`` in [0, 1] is the curriculum: 1 gives lesions of 2.5 times the contrast and 1.8 times
        the size, 0 the real ones. Half of the negatives carry a sham insertion, the same edit without
        contrast: it leaves the image as it was to the bit, so there is no trace of the edit to learn.
        """
        image, subject = self.draw(rng)
        name = PHANTOM if subject is None else subject.name
        kind = kinds[rng.integers(len(kinds))]
        wanted = rng.uniform() < 0.5
        if subject is not None and subject.has_lesion:
            return LabelledImage(image=image, label=True, lesion=None, subject=name)
        if wanted:
            contrast, size = 1.0 + 1.5 * ease, 1.0 + 0.8 * ease
            edited, lesion = insert_lesion(image, kind, rng, contrast=contrast, size=size)
            return LabelledImage(image=edited, label=lesion is not None, lesion=lesion, subject=name)
        if rng.uniform() < 0.5:
            image, _ = insert_lesion(image, kind, rng, contrast=0.0)
        return LabelledImage(image=image, label=False, lesion=None, subject=name)

    def draw_pair(
        self, rng: np.random.Generator, ease: float = 0.0, kinds: tuple[str, ...] = LESION_KINDS
    ) -> tuple[LabelledImage, LabelledImage]:
        """One image with a lesion, and the same image without, which a sham insertion leaves as it is.

        All that tells the two apart is the lesion, so few subjects suffice to learn from their labels.
        Subjects with real lesions must not be in the source.
        """
        image, subject = self.draw(rng)
        name = PHANTOM if subject is None else subject.name
        kind = kinds[rng.integers(len(kinds))]
        contrast, size = 1.0 + 1.5 * ease, 1.0 + 0.8 * ease
        edited, lesion = insert_lesion(image, kind, rng, contrast=contrast, size=size)
        if rng.uniform() < 0.5:
            image, _ = insert_lesion(image, kind, rng, contrast=0.0, size=size)
        return (
            LabelledImage(image=edited, label=lesion is not None, lesion=lesion, subject=name),
            LabelledImage(image=image, label=False, lesion=None, subject=name),
        )
