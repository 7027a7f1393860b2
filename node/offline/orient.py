"""``lfmri-node orient``: which convention of a scanner's k-space is right, decided once by its own images."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from lfmri_node.dicom_io.scanner_images import on_grid, read_scanner_images
from lfmri_node.node.config import Config
from lfmri_node.node.errors import Undecided
from lfmri_node.node.offline.conventions_sheet import write_sheet
from lfmri_node.recon.likeness import Likeness, compare
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.orientation import distinguishable, same_image, turned
from lfmri_node.recon.sense.classical import cg_sense
from lfmri_node.recon.sense.coilmaps import calibrate, interpolate
from lfmri_node.recon.sense.fourier import ifft_axis
from lfmri_node.recon.types import Convention, Geometry, KSpace, RawScan, Real

MAX_SLICES = 9
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_CG_ITERATIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What came of the comparison.

    Parameters
    ----------
    calling_ae
        Gateway whose lines are meant.
    conventions
        The candidates, each standing for all settings with the same image.
    configured
        What the configuration says for the gateway today.
    likeness
        None where no images were given to compare with.
    picture
        None where no folder was named for it.
    """

    calling_ae: str
    three_dimensional: bool
    conventions: tuple[Convention, ...]
    configured: Convention
    likeness: Likeness | None
    picture: Path | None

    @property
    def right(self) -> Convention | None:
        """The convention that the scanner's images prove; None where they do not."""
        if self.likeness is None or not self.likeness.decided:
            return None
        return self.conventions[self.likeness.best]

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        likeness, right = self.likeness, self.right
        rivals = {} if likeness is None else {rival.candidate: rival for rival in likeness.rivals}
        return {
            "calling_ae": self.calling_ae,
            "candidates": [
                {
                    "keys": keys_of(one),
                    "correlation": None if likeness is None else likeness.scores[i],
                    "evidence_against": rivals[i].evidence if i in rivals else None,
                    "standard_errors": rivals[i].standard_errors if i in rivals else None,
                }
                for i, one in enumerate(self.conventions)
            ],
            "best": None if likeness is None else likeness.best,
            "margin": None if likeness is None else likeness.margin,
            "decided": right is not None,
            "displacement_mm": None if likeness is None else likeness.displacement_mm,
            "configured": keys_of(self.configured),
            "configured_is_right": None if right is None else self.agrees(right),
            "config": None if right is None else config_lines(right, self.calling_ae, date.today()),
            "picture": None if self.picture is None else str(self.picture),
        }

    def agrees(self, convention: Convention) -> bool:
        """Whether the configuration gives the same image as ``convention``."""
        return same_image(self.configured, convention, three_dimensional=self.three_dimensional)

    def refusal(self) -> Undecided | None:
        """Why nothing was decided although there were images to compare with; None where it was."""
        likeness = self.likeness
        if likeness is None or likeness.decided:
            return None
        if not likeness.alike:
            return Undecided(
                "LF-ORI-003",
                f"no convention looks like the scanner's images (correlation {max(likeness.scores):.2f})",
                "check that both are of the same scan; if so, the header's positions or directions are wrong",
                found=self.to_json(),
            )
        return Undecided(
            "LF-ORI-004",
            f"the scanner's images do not decide: the two best correlate {likeness.margin:.3f} apart",
            "take a scan whose sides differ, or look at --out: is it turned by a quarter?",
            found=self.to_json(),
        )


def keys_of(convention: Convention) -> dict[str, object]:
    """The keys of ``[gateways.NAME]`` that differ from their defaults."""
    sign: dict[str, object] = {} if convention.fft_sign == -1 else {"fft_sign": convention.fft_sign}
    return sign | dict.fromkeys(convention.flips, True)


def config_lines(convention: Convention, calling_ae: str, verified: date) -> str:
    """The section of ``config.toml`` that makes the node read a gateway's scans so."""
    name = calling_ae if _BARE_KEY.fullmatch(calling_ae) else json.dumps(calling_ae)
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys_of(convention).items()]
    return "\n".join([f"[gateways.{name}]", *lines, f"orientation_verified = {verified.isoformat()}"])


def orient_file(
    source: Path, like: Path | None, out: Path | None, config: Config, calling_ae: str
) -> Findings:
    """Show every convention of a scan, and find the one that the scanner's own images show.

    Parameters
    ----------
    source
        ISMRMRD file; its first contrast and repetition are used.
    like
        DICOM file or folder of the scanner's magnitude images of the same scan.
    out
        Folder for ``conventions.png``.

    Raises
    ------
    Undecided
        LF-ORI-001 the header names no usable directions; LF-ORI-002 the images show too little of the scan.
    ReconError, DicomIoError
        A file cannot be read.
    """
    gateway = config.gateway(calling_ae)
    configured = ReaderSettings(**gateway.reader()).convention()
    planes = None if like is None else read_scanner_images(like)
    with open_measurement(source, settings=ReaderSettings(prewhiten=gateway.prewhiten)) as measurement:
        scan = measurement.scan(*measurement.scans[0])
        if not scan.geometry.known:
            raise Undecided(
                "LF-ORI-001",
                "the slice directions in the ISMRMRD header are zero or not orthonormal",
                "let the converter write position, read_dir, phase_dir and slice_dir",
            )
        every = range(scan.geometry.matrix[0])
        if planes is None:
            reference, slices = None, _spread(every)
        else:
            covered = on_grid(planes, scan.geometry, every)
            slices = _spread([s for s in every if np.isfinite(covered[s]).any()])
            if not slices:
                raise _too_little()
            reference = covered[slices]
        volume = _magnitudes(scan, slices)
    three_dimensional = scan.sequence.three_dimensional
    conventions = distinguishable(three_dimensional=three_dimensional)
    images = [_displayed(scan, volume, one, slices) for one in conventions]
    likeness = None if reference is None else _likeness(images, reference, scan.geometry)
    picture = None
    if out is not None:
        picture = write_sheet(
            out / "conventions.png",
            [
                (_heading(i, one, likeness), image)
                for i, (one, image) in enumerate(zip(conventions, images, strict=True))
            ],
            reference,
            slices,
            scan.geometry,
        )
    return Findings(
        calling_ae=calling_ae,
        three_dimensional=three_dimensional,
        conventions=conventions,
        configured=configured,
        likeness=likeness,
        picture=picture,
    )


def _spread(slices: Sequence[int]) -> list[int]:
    """At most `MAX_SLICES` of them, evenly, those at the ends last."""
    if len(slices) <= MAX_SLICES:
        return list(slices)
    places = np.linspace(0, len(slices) - 1, MAX_SLICES + 2)[1:-1]
    return [slices[round(place)] for place in places]


def _likeness(images: Sequence[Real], reference: Real, geometry: Geometry) -> Likeness:
    try:
        return compare(images, reference, geometry.spacing_mm[1:])
    except ValueError:
        raise _too_little() from None


def _too_little() -> Undecided:
    return Undecided(
        "LF-ORI-002",
        "the scanner's images show too little of the slices of this scan",
        "name the images of the same scan, in the orientation in which it was acquired",
    )


def _magnitudes(scan: RawScan, slices: Sequence[int]) -> Real:
    """Magnitudes (s, r, p) as the default convention shows them: the slices asked for, all of a 3-D scan."""
    if scan.sequence.three_dimensional:
        chosen = list(range(scan.n_slices))
    else:
        last = scan.n_slices - 1
        chosen = sorted(last - s if scan.display.flip[0] else s for s in slices)
    return np.stack([_magnitude(scan.load(s)) for s in chosen])


def _magnitude(kspace: KSpace) -> Real:
    if kspace.sampled.all():
        coils = ifft_axis(ifft_axis(kspace.data, 1), 2)
        return np.asarray(np.sqrt((np.abs(coils) ** 2).sum(axis=0)), dtype=np.float32)
    maps = interpolate(calibrate(kspace), (kspace.data.shape[1], kspace.data.shape[2]))
    return np.abs(cg_sense(kspace, maps, n_iterations=_CG_ITERATIONS))


def _displayed(scan: RawScan, volume: Real, convention: Convention, slices: Sequence[int]) -> Real:
    """The slices asked for, (s, y, x) in display order, as a convention shows them."""
    readout, phase, partition = convention.reversed_axes
    if scan.sequence.three_dimensional:
        return apply_display(turned(volume, (readout, phase, partition)), scan.display)[list(slices)]
    return apply_display(turned(volume, (False, readout, phase)), scan.display)


def _heading(index: int, convention: Convention, likeness: Likeness | None) -> str:
    keys = ", ".join(f"{name} = {json.dumps(value)}" for name, value in keys_of(convention).items())
    words = [f"{index + 1}: {keys or 'fft_sign = -1 (default)'}"]
    if likeness is not None:
        words.append(f"correlation {likeness.scores[index]:.2f}")
        if index == likeness.best:
            words.append("RIGHT" if likeness.decided else "best, not decided")
    return "; ".join(words)
