"""The images of a job that lie on disk: its reconstruction while it is there, else its DICOM objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from lfmri_node.dicom_io.objects.intensity import Stored, Window, common_scaling, tissue_window
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.errors import NodeError
from lfmri_node.recon.archive import load_reconstruction
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.types import Real, Reconstruction, Verdict

KINDS = ("fallback", "reference", "lf-mri", "map", "difference")


class NoPicture(NodeError):
    """A picture that was asked for is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What is there of one job, slices in the order of Instance Number.

    Parameters
    ----------
    stored
        Kind -> u16 (s, y, x), all with one scale.
    window
        From stored value to grey, for all of them.
    activation
        f32 (s, y, x) in [0, 1]; None where there is none.
    difference
        LF-MRI less its reference, f32 (s, y, x), 1 is the window's upper end; None where there is none.
    """

    stored: dict[str, Stored]
    window: Window
    activation: Real | None
    difference: Real | None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those of `KINDS` that can be shown."""
        there = {*self.stored}
        there |= {"map"} if self.activation is not None else set()
        there |= {"difference"} if self.difference is not None else set()
        return tuple(kind for kind in KINDS if kind in there)

    @property
    def n_slices(self) -> int:
        return int(next(iter(self.stored.values())).shape[0])

    @property
    def largest_difference(self) -> float:
        """The largest magnitude of `difference`; 0 where there is none."""
        return 0.0 if self.difference is None else float(np.abs(self.difference).max())

    def slice_to_begin_with(self) -> int:
        """From 0: the one with the strongest activation, else the middle one."""
        if self.activation is None or not self.activation.any():
            return self.n_slices // 2
        return int(np.argmax(self.activation.max(axis=(1, 2))))


def load_images(reconstruction: Path, objects: Sequence[EncodedObject]) -> Images:
    """Read what is there; ``reconstruction`` is the folder that `save_reconstruction` filled, or missing.

    Raises
    ------
    NoPicture
        LF-CON-004 nothing is there; LF-CON-005 what is there cannot be read.
    """
    try:
        if reconstruction.is_dir():
            return _of_reconstruction(load_reconstruction(reconstruction))
        if all(item.path.exists() for item in objects) and objects:
            return _of_objects(objects)
    except (OSError, InvalidDicomError, ReconError) as error:
        raise NoPicture(
            "LF-CON-005",
            f"the images of this job cannot be read ({type(error).__name__})",
            "retry the job where it is not finished: what is damaged is made again",
        ) from error
    raise NoPicture("LF-CON-004", "no images of this job are on disk", "the page of the job says why")


def _of_reconstruction(made: Reconstruction) -> Images:
    trusted = made.quality.verdict is Verdict.TRUSTED
    volumes = {"lf-mri" if trusted else "fallback": made.image}
    if trusted and made.reference is not None:
        volumes["reference"] = made.reference
    scaling = common_scaling(list(volumes.values()))
    window = tissue_window(scaling.store(made.image))
    difference = None
    if "reference" in volumes:
        white = (window.center + window.width / 2) * scaling.slope
        difference = ((np.abs(made.image) - np.abs(volumes["reference"])) / white).astype(np.float32)
    if made.fallback is not None:
        volumes["fallback"] = made.fallback
    top = np.iinfo(np.uint16).max
    return Images(
        stored={
            kind: np.rint(np.minimum(np.abs(volume) / scaling.slope, top)).astype(np.uint16)
            for kind, volume in volumes.items()
        },
        window=window,
        activation=None if made.lesion is None else made.lesion.activation,
        difference=difference,
    )


def _of_objects(objects: Sequence[EncodedObject]) -> Images:
    of_role: dict[str, list[Dataset]] = defaultdict(list)
    for item in objects:
        if item.role in KINDS:
            of_role[item.role].append(dcmread(item.path))
    delivered = of_role["lf-mri"] or of_role["fallback"]
    first = delivered[0]
    window = Window(center=float(first.WindowCenter), width=float(first.WindowWidth))
    slope = float(first.RealWorldValueMappingSequence[0].RealWorldValueSlope)
    white = (window.center + window.width / 2) * slope
    maps = {kind: _frames(of_role[kind][0], delivered) for kind in ("map", "difference") if of_role[kind]}
    return Images(
        stored={
            kind: np.stack([image.pixel_array for image in of_role[kind]])
            for kind in ("fallback", "reference", "lf-mri")
            if of_role[kind]
        },
        window=window,
        activation=maps.get("map"),
        difference=maps["difference"] / np.float32(white) if "difference" in maps else None,
    )


def _frames(parametric_map: Dataset, images: Sequence[Dataset]) -> Real:
    """f32 (s, y, x) of a parametric map in the order of ``images``: frames are told by where they lie."""
    places = [
        group.PlanePositionSequence[0].ImagePositionPatient
        for group in parametric_map.PerFrameFunctionalGroupsSequence
    ]
    shape = (len(places), parametric_map.Rows, parametric_map.Columns)
    values = np.frombuffer(parametric_map.FloatPixelData, dtype="<f4").reshape(shape)
    wanted = np.array([image.ImagePositionPatient for image in images], dtype=float)
    apart = np.linalg.norm(wanted[:, None] - np.array(places, dtype=float)[None], axis=-1)
    return np.asarray(values[apart.argmin(axis=1)], dtype=np.float32)
