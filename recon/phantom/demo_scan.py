"""The demonstration scan: a multi-coil, multi-slice phantom with lesions on some slices, as ISMRMRD."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, write_measurement
from lfmri_node.recon.phantom.body import insert_lesion, phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, noise_factor, object_phase
from lfmri_node.recon.sense.classical import zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import Bool, Real, SequenceInfo

N_SLICES, N_COILS, SIZE = 6, 8, 192
SPACING_MM, THICKNESS_MM = 1.2, 5.0
ACCELERATION, N_CENTRE = 4, 16
NOISE_STD = 0.012
LESION_SLICES = (2, 3)
N_NOISE = 4096


def write_demo_scan(path: Path, *, seed: int = 0, n_slices: int = N_SLICES, size: int = SIZE) -> Path:
    """Write the scan to ``path`` and its truth beside it; returns the truth's path.

    4x undersampled random lines with a fully sampled centre, correlated noise with a noise
    measurement, axial slices 5 mm apart. The truth ``<stem>.truth.npz`` holds ``truth`` f32 (s, y, x):
    the noise-free, fully sampled measurement, whitened and coil-combined as the scan itself is, and
    ``lesions`` bool (s, y, x).
    """
    rng = np.random.default_rng(seed)
    shape = (size, size)
    volume = phantom_volume(n_slices, shape, rng)
    maps = loop_coils(N_COILS, shape, rng)
    phase = object_phase(shape, rng)
    factor = noise_factor(N_COILS, rng)
    sampled = _lines(size, rng)
    everything = np.ones(size, dtype=bool)
    planes, clean, lesions = [], [], np.zeros(volume.shape, dtype=bool)
    for s in range(n_slices):
        image = volume[s]
        if s in LESION_SLICES:
            image, lesion = insert_lesion(image, "bright", rng, contrast=1.3, size=1.2)
            if lesion is not None:
                lesions[s] = lesion.mask
        signal = (image * phase).astype(np.complex64)
        planes.append(measure(signal, maps, sampled, NOISE_STD, rng, factor=factor).data)
        clean.append(measure(signal, maps, everything, 0.0, rng).data)
    layout, noise = _layout(n_slices, size), _noise(factor, rng)
    write_measurement(path, np.stack(planes), sampled, layout, noise=noise)
    truth = path.with_name(f"{path.stem}.truth.npz")
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        complete = Path(folder) / "complete.h5"
        write_measurement(complete, np.stack(clean), everything, layout, noise=noise)
        combined, shown = _combined(complete, lesions)
        np.savez(truth, truth=combined, lesions=shown)
    return truth


def _combined(complete: Path, lesions: Bool) -> tuple[Real, Bool]:
    """Coil-combined magnitude of a fully sampled measurement and the lesions, in display order."""
    with open_measurement(complete) as measurement:
        scan = measurement.scan(0, 0)
        planes = []
        for s in range(scan.n_slices):
            kspace = scan.load(s)
            planes.append(np.abs(zero_filled(kspace, estimate(kspace))).astype(np.float32))
        return apply_display(np.stack(planes), scan.display), apply_display(lesions, scan.display)


def _lines(size: int, rng: np.random.Generator) -> Bool:
    lines = centre_lines(size, N_CENTRE / size)
    outside = np.flatnonzero(~lines)
    lines[rng.choice(outside, size=size // ACCELERATION - N_CENTRE, replace=False)] = True
    return lines


def _noise(factor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A noise measurement c64 (c, n) with the covariance of the imaging lines' noise."""
    white = rng.standard_normal((N_COILS, N_NOISE)) + 1j * rng.standard_normal((N_COILS, N_NOISE))
    return np.asarray((NOISE_STD / np.sqrt(2)) * (factor @ white), dtype=np.complex64)


def _layout(n_slices: int, size: int) -> ScanLayout:
    field = size * SPACING_MM
    offsets = (np.arange(n_slices) - (n_slices - 1) / 2) * THICKNESS_MM
    return ScanLayout(
        matrix=(size, size, 1),
        field_of_view_mm=(field, field, THICKNESS_MM),
        n_coils=N_COILS,
        positions_mm=tuple((0.0, 0.0, float(z)) for z in offsets),
        sequences=(
            SequenceInfo(
                protocol="t2 tse tra phantom",
                system_vendor="lfmri-node project",
                system_model="demonstration phantom",
                field_strength_t=1.5,
                repetition_time_ms=3000.0,
                echo_time_ms=90.0,
                flip_angle_deg=90.0,
            ),
        ),
    )
