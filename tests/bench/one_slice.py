"""One slice of 320 x 320 with 15 coils, 4x: LF-MRI with the shipped weights, SigPy and BART."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import bart
import numpy as np
import torch
from report import Report
from scans import slices
from sigpy.mri.app import L1WaveletRecon, SenseRecon
from timing import fastest

from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.method.weights import Model, load_model
from lfmri_node.recon.passes import run_network, scale_of
from lfmri_node.recon.precision import choose
from lfmri_node.recon.sense.classical import operator
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.settings import Precision
from lfmri_node.recon.types import CoilMaps, Complex, KSpace

NAME = "one slice, 320 x 320 x 15"
_OURS = {
    "two": f"{NAME}: LF-MRI and its reference",
    "one": f"{NAME}: LF-MRI alone",
}


def measure(report: Report) -> None:
    """Times with the coil maps given; BART's include reading and writing its files (12 MB)."""
    if not shipped_weights().is_file():
        report.skip(NAME, "no weights")
        return
    model = load_model()
    as_delivered = choose(model, Precision.AUTO)
    narrowed = model.narrowed()
    ((kspace, _),) = slices((320, 320), 15)
    maps = estimate(kspace)
    with tempfile.TemporaryDirectory() as name:
        rivals = _rivals(kspace, maps, Path(name))
        ours: dict[str, Callable[[], object]] = {
            "two": lambda: run_network(as_delivered.model, kspace, maps),
            "one": lambda: one_pass(as_delivered.model, kspace, maps),
            "float32": lambda: one_pass(model, kspace, maps),
            "bfloat16": lambda: one_pass(narrowed, kspace, maps),
        }
        taken = fastest({**ours, **rivals})
    for key, title in _OURS.items():
        for rival in rivals:
            report.add(f"{title}, {as_delivered.precision}", taken[key], "s", rival, taken[rival])
    report.add(f"{NAME}: LF-MRI alone, bfloat16", taken["bfloat16"], "s", "float32", taken["float32"])
    exact, coarse = (one_pass(each, kspace, maps)[maps.support] for each in (model, narrowed))
    error = 100 * float(np.linalg.norm(coarse - exact) / np.linalg.norm(exact))
    report.add(f"{NAME}: bfloat16, difference of the image from float32", error, "%")
    if not bart.is_installed():
        report.skip("BART pics", "bart is not installed")


def one_pass(model: Model, kspace: KSpace, maps: CoilMaps) -> Complex:
    """The image with the lesion term, without the reference."""
    encoding = operator(kspace, maps)
    with torch.inference_mode():
        adjoint = encoding.adjoint(torch.from_numpy(kspace.data)[None])
        scale = scale_of([kspace], model.network.least_squares(adjoint, encoding))
        last = model.network(adjoint, encoding, scale)[-1]
    return np.asarray(last.image[0].numpy())


def _rivals(kspace: KSpace, maps: CoilMaps, folder: Path) -> dict[str, Callable[[], object]]:
    samples = kspace.data / np.abs(kspace.data).max()
    weights = np.broadcast_to(kspace.sampled, samples.shape).astype(np.float32)
    given = {"weights": weights, "show_pbar": False}
    rivals: dict[str, Callable[[], object]] = {  # an app of SigPy runs once: each call makes its own
        "SigPy CG-SENSE, 30 iterations": lambda: SenseRecon(
            samples, maps.maps, 0.01, max_iter=30, **given
        ).run(),
        "SigPy L1-wavelet, 80 iterations": lambda: L1WaveletRecon(
            samples, maps.maps, 1e-4, max_iter=80, **given
        ).run(),
    }
    if not bart.is_installed():
        return rivals
    files = bart.write(folder / "kspace", samples), bart.write(folder / "maps", maps.maps), folder / "image"
    l1_wavelet = ("-R", "W:3:0:0.01", "-i", "60")
    return rivals | {
        "BART pics -l1": lambda: bart.bart("pics", "-l1", "-r0.01", *files),
        "BART pics -R W:3:0:0.01 -i 60": lambda: bart.bart("pics", *l1_wavelet, *files),
    }
