"""Two choices of the worker, measured: processes or threads, and the network compiled or not.

36 slices of 320 x 320 with 8 coils, 4x, LF-MRI and its reference: by one worker whose threads have a slice
each, and by as many workers of one thread with a share of the slices each. Then one slice with the bodies of
D_w and G_u compiled (`torch.compile`, which needs a C++ compiler), what compiling takes before the first
image, and how many slices, one after the other, must come before it has paid.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from one_slice import one_pass
from report import Report
from scans import slices
from timing import fastest, seconds
from worker_job import Scan, run_job

from lfmri_node.recon.method.denoiser import Denoiser
from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.precision import choose
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.settings import Precision
from lfmri_node.recon.types import Method

SIDE, N_COILS, N_SLICES = 320, 8, 36
NAME = f"{N_SLICES} slices, {SIDE} x {SIDE} x {N_COILS}, reconstruction"


def measure(report: Report, n_slices: int = N_SLICES) -> None:
    """Wall times; compiled and not compiled take turns, in one thread, as a slice has in the worker."""
    if not shipped_weights().is_file():
        report.skip("choices", "no weights")
        return
    _processes(report, n_slices)
    torch.set_num_threads(1)
    if shutil.which("c++") or shutil.which("g++"):
        _compiled(report)
    else:
        report.skip("torch.compile", "no C++ compiler")


def _processes(report: Report, n_slices: int) -> None:
    n = os.cpu_count() or 1
    threads = _reconstruction_s(n_slices, n)
    with ThreadPoolExecutor(n) as pool:
        processes = max(pool.map(lambda _: _reconstruction_s(-(-n_slices // n), 1), range(n)))
    report.add(f"{NAME}: one worker, {n} threads", threads, "s", f"{n} workers, a thread each", processes)


def _reconstruction_s(n_slices: int, threads: int) -> float:
    lines = random_lines(SIDE, 4.0, 0.08, np.random.RandomState(0))
    scan = Scan(shape=(SIDE, SIDE), n_coils=N_COILS, n_slices=n_slices, lines=lines)
    return float(run_job(scan, Method.LF_MRI, threads=threads)["seconds"]["reconstruct"])


def _compiled(report: Report) -> None:
    eager, compiled = (choose(load_model(), Precision.AUTO).model for _ in range(2))
    for module in compiled.network.modules():
        if isinstance(module, Denoiser):
            module.body.compile()
    ((kspace, _),) = slices((SIDE, SIDE), N_COILS)
    maps = estimate(kspace)
    one_pass(eager, kspace, maps)
    first = seconds(lambda: one_pass(compiled, kspace, maps))
    taken = fastest(
        {
            "eager": lambda: one_pass(eager, kspace, maps),
            "compiled": lambda: one_pass(compiled, kspace, maps),
        }
    )
    name = f"one slice, {SIDE} x {SIDE} x {N_COILS}, LF-MRI alone, one thread"
    report.add(f"{name}: compiled", taken["compiled"], "s", "not compiled", taken["eager"])
    report.add(f"{name}: compiling", first - taken["compiled"], "s")
    gain = taken["eager"] - taken["compiled"]
    if gain > 0:
        report.add(f"{name}: compiling has paid after", (first - taken["compiled"]) / gain, "slices")
    images = [one_pass(each, kspace, maps)[maps.support] for each in (eager, compiled)]
    error = 100 * float(np.linalg.norm(images[1] - images[0]) / np.linalg.norm(images[0]))
    report.add(f"{name}: compiled, difference of the image", error, "%")
