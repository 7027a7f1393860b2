"""The fallback against BART's wavelets on the measured brain: image quality and time, the same coil maps.

Lambda of both is searched on other masks than those that are reported; ours is also run as the node runs it.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import bart
import numpy as np
import torch
from report import Report
from timing import fastest

from lfmri_node.recon.evaluate.fallback_study import Scan, measured, psnr
from lfmri_node.recon.sense.classical import WAVELET_LAMBDA, cg_sense, wavelet
from lfmri_node.recon.trust.fallback import Solver
from lfmri_node.recon.types import CoilMaps, Complex, KSpace

DATA = Path(__file__).parents[3] / "shared" / "data"
NAME = "fallback, measured brain"
SEARCH_SEEDS, SEEDS = range(1000, 1002), range(4)
OUR_GRID = (0.001, 0.0015, 0.002, 0.003, 0.004)
BART_GRID = (0.002, 0.003, 0.005, 0.007, 0.01)
N_TIMED = 3


def measure(report: Report) -> None:
    """Mean PSNR by kind of mask over both flip angles, and the time of one slice."""
    if not bart.is_installed() or not (DATA / "raw_brain_13ch.npz").is_file():
        report.skip(NAME, "needs BART and raw_brain_13ch.npz beside the repository")
        return
    searched, reported = list(measured(DATA, SEARCH_SEEDS)), list(measured(DATA, SEEDS))
    for group in dict.fromkeys(scan.group for scan in reported):
        ours = _best(wavelet, OUR_GRID, [scan for scan in searched if scan.group == group])
        theirs = _best(_bart, BART_GRID, [scan for scan in searched if scan.group == group])
        scans = [scan for scan in reported if scan.group == group]
        rival, value = f"BART pics -R W:3:0:{theirs:g}", _mean(partial(_bart, lamda=theirs), scans)
        title = f"fallback, {group}: PSNR, mean of {len(scans)}"
        report.add(
            f"{title}, lambda {ours:g}", _mean(partial(wavelet, lamda=ours), scans), "dB", rival, value
        )
        report.add(f"{title}, as delivered, {WAVELET_LAMBDA:g}", _mean(wavelet, scans), "dB", rival, value)
        report.add(f"{title}, CG-SENSE", _mean(cg_sense, scans), "dB", rival, value)
    _times(report, reported[0])


def _times(report: Report, scan: Scan) -> None:
    """Of the calls alone: BART's holds reading and writing its files, ours the conversions from numpy."""
    with tempfile.TemporaryDirectory() as name:
        files = _files(scan.kspace, scan.maps, Path(name))
        taken = fastest(
            {
                "ours": lambda: wavelet(scan.kspace, scan.maps),
                "theirs": lambda: bart.bart(*_arguments(0.005), *files),
            },
            repeats=N_TIMED,
        )
    shape = " x ".join(map(str, (*scan.truth.shape, scan.maps.maps.shape[0])))
    title = f"fallback, one slice {shape}, 60 iterations, {torch.get_num_threads()} threads"
    report.add(title, taken["ours"], "s", "BART pics -R W:3:0:0.005 -i 60", taken["theirs"])


def _best(solver: Solver, grid: tuple[float, ...], scans: list[Scan]) -> float:
    return max(grid, key=lambda lamda: _mean(partial(solver, lamda=lamda), scans))


def _mean(solver: Solver, scans: list[Scan]) -> float:
    return float(np.mean([psnr(solver(scan.kspace, scan.maps), scan.truth) for scan in scans]))


def _bart(kspace: KSpace, maps: CoilMaps, lamda: float) -> Complex:
    """Times the support of the maps, as ours."""
    with tempfile.TemporaryDirectory() as name:
        files = _files(kspace, maps, Path(name))
        bart.bart(*_arguments(lamda), *files)
        image = np.fromfile(files[-1].with_suffix(".cfl"), dtype=np.complex64)
    return np.where(maps.support, image.reshape(maps.support.shape, order="F"), np.complex64(0))


def _arguments(lamda: float) -> tuple[str, ...]:
    return ("pics", "-S", "-i", "60", "-R", f"W:3:0:{lamda:g}")


def _files(kspace: KSpace, maps: CoilMaps, folder: Path) -> tuple[Path, Path, Path]:
    return (
        bart.write(folder / "kspace", kspace.data),
        bart.write(folder / "maps", maps.maps),
        folder / "image",
    )
