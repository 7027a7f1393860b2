"""What the work costs as it grows: slices, coils, matrix, threads, workers, jobs that are queued.

Whole jobs of the worker (LF-MRI, 4x) on simulated scans, each size once, on all cores; the time from the
first stage to the last of scans that workers share (`workers`); the row of one more job, and
`lfmri-node status`, with long tables of jobs that wait. Beside each row of sizes its exponent: from the last
size but one to the last, where what every job costs matters least, seconds grow as the size to that power.
Writes a page and a picture.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
import status
from report import Report, processor
from timing import fastest
from worker_job import Scan, run_job
from workers import N_SCANS, WAIT_S, is_installed, seconds_of

from lfmri_node.node.jobs.store import Store
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import Method

SIDE, COILS, SLICES = 192, 8, 4
"""Of the scans in which something else grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is tried along each axis; all of it takes some ten minutes on two cores."""

    slices: Sequence[int] = (1, 10, 50, 200)
    coils: Sequence[int] = (4, 8, 16, 32, 64)
    sides: Sequence[int] = (128, 192, 256, 384, 512)
    threads: Sequence[int] = (1, 2)
    workers: Sequence[int] = (1, 2, 4)
    queued: Sequence[int] = (1, 10, 100, 1000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One axis: size -> seconds."""

    axis: str
    what: str
    unit: str
    seconds: Mapping[int, float]

    @property
    def grows(self) -> bool:
        """Whether more of it is more work, and not more hands."""
        return self.axis not in ("threads", "workers")


def measure(report: Report, sizes: Sizes | None = None, folder: Path = Path("deploy") / "docs") -> None:
    """Seconds for each size and exponents, into the report and ``folder``."""
    sizes = sizes or Sizes()
    job = f"whole job of {SLICES} slices"
    rows = [
        _row("slices", f"whole job of 128 x 128 x {COILS}", sizes.slices, lambda n: _job(128, COILS, n)),
        _row("coils", f"{job} of {SIDE} x {SIDE}", sizes.coils, lambda n: _job(SIDE, n, SLICES)),
        _row("side of the matrix", f"{job}, {COILS} coils", sizes.sides, lambda n: _job(n, COILS, SLICES)),
        _row("threads", "whole job of 10 slices", sizes.threads, lambda n: _job(SIDE, COILS, 10, n)),
        *_of_the_queue(sizes.queued),
    ]
    if is_installed():
        what = f"{N_SCANS} scans that wait {WAIT_S:g} s each"
        rows.append(_row("workers", what, sizes.workers, lambda n: seconds_of((n,))[n]))
    else:
        report.skip("scaling with workers", "postgresql is not installed")
    for row in rows:
        for size, taken in row.seconds.items():
            report.add(f"{row.what}, {size} {row.axis}", taken, row.unit)
        if row.grows:
            report.add(f"{row.what}, {row.axis}: exponent", exponent(row.seconds), "")
    folder.mkdir(parents=True, exist_ok=True)
    _draw(rows, folder / "scaling.png")
    (folder / "scaling.md").write_text(page(rows), encoding="utf-8")


def _row(axis: str, what: str, sizes: Sequence[int], taken: Callable[[int], float]) -> Row:
    return Row(axis=axis, what=what, unit="s", seconds={n: taken(n) for n in sizes})


def _job(side: int, n_coils: int, n_slices: int, threads: int = 0) -> float:
    lines = random_lines(side, 4.0, 0.08, np.random.RandomState(0))
    scan = Scan(shape=(side, side), n_coils=n_coils, n_slices=n_slices, lines=lines)
    answer = run_job(scan, Method.LF_MRI, threads=threads or os.cpu_count() or 1)
    return float(sum(answer["seconds"].values()))


def _of_the_queue(sizes: Sequence[int]) -> list[Row]:
    """What reception pays for one more row, and who looks, while so many jobs wait."""
    recorded, shown = {}, {}
    for n in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            status.prepare(folder, 0)
            _queue(status.table_of(folder), n)
            recorded[n] = _recording_s(folder)
            shown[n] = status.cpu_s(folder, "status")
    return [
        Row(axis="jobs queued", what="the row of one more job", unit="s", seconds=recorded),
        Row(axis="jobs queued", what="lfmri-node status", unit="s of CPU", seconds=shown),
    ]


def _queue(table: Path, n_jobs: int) -> None:
    """So many measurements that nobody has begun."""
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    row = {**status.TEXT, "stage": "received", "received_at": at, "updated_at": at}
    with closing(sqlite3.connect(table)) as connection, connection:
        status.insert(connection, "jobs", [{**row, "key": f"{n:08d}".ljust(64, "a")} for n in range(n_jobs)])


def _recording_s(folder: Path) -> float:
    with closing(Store(status.table_of(folder))) as store:
        keys = iter(f"{n:08d}".ljust(64, "c") for n in range(100))

        def record() -> None:
            store.add_measurement(
                key=next(keys),
                source_sha256="0" * 64,
                calling_ae="GATEWAY",
                received_at=datetime.now(UTC),
                recipe={},
                parts=[],
            )

        return fastest({"record": record}, repeats=20)["record"]


def exponent(seconds: Mapping[int, float]) -> float:
    """Slope of log(seconds) over log(size) between the two largest sizes."""
    (smaller, less), (larger, more) = sorted(seconds.items())[-2:]
    return float(np.log(more / less) / np.log(larger / smaller))


def page(rows: Sequence[Row]) -> str:
    """Markdown: a table for each axis."""
    lines = [
        "# What the work costs as it grows",
        "",
        f"Written by `make bench ARGS=scaling` on {processor()}. Exponent: between the two largest",
        "sizes seconds grow as the size to that power; 1 is linear, for the side of the matrix 2.",
        "[How it is measured](../../tests/bench/scaling.py).",
        "",
        "![Seconds over slices, coils, matrix, threads, jobs queued and workers](scaling.png)",
    ]
    for row in rows:
        lines += ["", f"| {row.axis} | " + " | ".join(f"{size:,}" for size in row.seconds) + " | exponent |"]
        lines += ["|---" * (len(row.seconds) + 2) + "|"]
        cells = " | ".join(f"{taken:.3g} {row.unit}" for taken in row.seconds.values())
        lines += [f"| {row.what} | {cells} | {f'{exponent(row.seconds):.2f}' if row.grows else '-'} |"]
    return "\n".join(lines) + "\n"


def _draw(rows: Sequence[Row], picture: Path) -> None:
    mpl.use("agg")
    import matplotlib.pyplot as plt

    n_columns = 4
    n_lines = -(-len(rows) // n_columns)
    size = (4 * n_columns, 3.2 * n_lines)
    figure, axes = plt.subplots(n_lines, n_columns, figsize=size, layout="constrained", squeeze=False)
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, rows, strict=False):
        axis.loglog(list(row.seconds), list(row.seconds.values()), "o-")
        least, most = min(row.seconds.values()), max(row.seconds.values())
        axis.set_ylim(least / 2, max(2 * most, 20 * least))  # so that noise looks like noise
        axis.set_xticks(list(row.seconds), [f"{size:,}" for size in row.seconds])
        axis.set_xticks([], minor=True)
        axis.set(xlabel=row.axis, title=row.what, ylabel=row.unit)
        axis.grid(alpha=0.3)
    figure.savefig(picture, dpi=80)
    plt.close(figure)
