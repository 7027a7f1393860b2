"""What the work costs as it grows: slices, coils, matrix, threads; and jobs in the table.

Whole jobs of the worker (LF-MRI, 4x) on simulated scans, each size once, and `lfmri-node status` with long
job tables. Beside each row of sizes its exponent: seconds, less those of the smallest size as what every job
costs, grow as the size to that power; 1 is linear.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import status
from report import Report
from worker_job import Scan, run_job

from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import Method

SLICES, COILS, SIDES, THREADS = (1, 10, 50, 200), (4, 8, 16, 32, 64), (128, 192, 256, 384, 512), (1, 2, 4)
JOBS = (1, 10, 100, 1000, 10_000)
USUAL_SIDE, USUAL_COILS, USUAL_SLICES = 192, 8, 4
PICTURE = Path("bench") / "scaling.png"


def measure(report: Report) -> None:
    """Seconds for each size, exponents, and `PICTURE` of all of them."""
    found = {
        "slices of 128 x 128 x 8": {n: _job(report, 128, USUAL_COILS, n) for n in SLICES},
        f"coils, {USUAL_SLICES} slices of {USUAL_SIDE} x {USUAL_SIDE}": {
            n: _job(report, USUAL_SIDE, n, USUAL_SLICES) for n in COILS
        },
        f"pixels, {USUAL_SLICES} slices of {USUAL_COILS} coils": {
            side**2: _job(report, side, USUAL_COILS, USUAL_SLICES) for side in SIDES
        },
        f"threads, 10 slices of {USUAL_SIDE} x {USUAL_SIDE} x {USUAL_COILS}": {
            n: _job(report, USUAL_SIDE, USUAL_COILS, 10, n) for n in THREADS
        },
        "jobs in the table, lfmri-node status": _status(report),
    }
    for name, seconds in found.items():
        report.add(f"{name}: exponent", exponent(seconds), "")
    _draw(found)
    _threads_or_processes(report)


def _job(report: Report, side: int, n_coils: int, n_slices: int, threads: int = 0) -> float:
    lines = random_lines(side, 4.0, 0.08, np.random.RandomState(0))
    scan = Scan(shape=(side, side), n_coils=n_coils, n_slices=n_slices, lines=lines)
    answer = run_job(scan, Method.LF_MRI, threads=threads)
    name = f"{n_slices} slices, {side} x {side} x {n_coils}" + (f", {threads} threads" if threads else "")
    taken = sum(answer["seconds"].values())
    report.add(f"{name}: whole job ({answer['verdict']})", taken, "s")
    report.add(f"{name}: peak memory", answer["peak_mb"] / 1e3, "GB")
    return float(taken)


def _threads_or_processes(report: Report) -> None:
    """As many jobs as there are cores: side by side with a thread each, against in turn with all threads."""
    n = os.cpu_count() or 1
    lines = random_lines(USUAL_SIDE, 4.0, 0.08, np.random.RandomState(0))
    scan = Scan(shape=(USUAL_SIDE, USUAL_SIDE), n_coils=USUAL_COILS, n_slices=10, lines=lines)

    def taken(threads: int) -> float:
        return sum(run_job(scan, Method.LF_MRI, threads=threads)["seconds"].values())

    with ThreadPoolExecutor(n) as pool:
        together = max(pool.map(taken, [1] * n))
    in_turn = sum(taken(n) for _ in range(n))
    report.add(f"{n} jobs side by side, a thread each", together, "s", f"in turn, {n} threads", in_turn)


def _status(report: Report) -> dict[int, float]:
    taken = {}
    for n in JOBS:
        with tempfile.TemporaryDirectory() as folder:
            status.prepare(Path(folder), n)
            taken[n] = status.cpu_s(Path(folder), "status")
        report.add(f"lfmri-node status, {n} jobs", taken[n], "s of CPU")
    return taken


def exponent(seconds: Mapping[int, float]) -> float:
    """Slope of log(seconds less the least) over log(size), by least squares, without the smallest."""
    least = min(seconds.values())
    points = [(np.log(size), np.log(taken - least)) for size, taken in seconds.items() if taken > least]
    if len(points) < 2:
        return 0.0
    slope: float = np.polyfit(*zip(*points, strict=True), 1)[0]
    return slope


def _draw(found: Mapping[str, Mapping[int, float]]) -> None:
    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(4 * len(found), 3.5), layout="constrained")
    for axis, (name, seconds) in zip(axes, found.items(), strict=True):
        sizes: Sequence[int] = list(seconds)
        axis.loglog(sizes, list(seconds.values()), "o-")
        what, _, rest = name.partition(",")
        axis.set(xlabel=what, title=rest.strip() or name, ylabel="seconds")
        axis.grid(alpha=0.3, which="both")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=100)
