"""From rows to cells: volumes as fastMRI averages them, summaries by subject, paired differences.

Entries of two methods are paired where data set, acceleration and volume agree. A recipe that was trained
with several seeds counts with the mean of its runs on each volume; the AUC is taken within each run and
averaged, since scores of different networks have no common scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lfmri_node.recon.evaluate.lesion_metrics import THRESHOLDS
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.statistics import (
    Difference,
    ScoredPairs,
    Summary,
    area_with_interval,
    paired_difference,
    summarise,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the tables: field of `Row`, heading, sign of better, digits shown, weighted by boxes."""

    field: str
    heading: str
    higher_is_better: bool = True
    digits: int = 2
    by_box: bool = False


PSNR = Metric(field="psnr", heading="PSNR, dB")
SSIM = Metric(field="ssim", heading="SSIM", digits=4)
NMSE = Metric(field="nmse", heading="NMSE", digits=4, higher_is_better=False)
LF_PSNR = Metric(field="lf_psnr", heading="LF-PSNR, dB", by_box=True)
LF_SSIM = Metric(field="lf_ssim", heading="LF-SSIM", digits=4, by_box=True)
LF_PSNR_CROP = Metric(field="lf_psnr_crop", heading="LF-PSNR of the crop's own range, dB", by_box=True)
DETAIL = Metric(field="detail_kept", heading="detail kept", digits=3)
CORRELATION = Metric(field="detail_correlation", heading="correlation of the detail", digits=3)
OUTLINE = Metric(field="lf_psnr_outline", heading="LF-PSNR of the outline, dB")
CONTRAST = Metric(field="contrast_kept", heading="contrast kept", digits=3)
SECONDS = Metric(field="seconds", heading="seconds a slice", higher_is_better=False)
CHANCE = Metric(field="pointing_chance", heading="its chance", digits=3)
POINTED = Metric(field="pointed", heading="pointing game, within 4 px", digits=3)
INSIDE = Metric(field="pointed_inside", heading="peak inside box", digits=3)
ENERGY = Metric(field="energy_inside", heading="energy inside boxes", digits=3)
RESIDUAL = Metric(field="data_residual", heading="data residual", digits=4, higher_is_better=False)


Place = tuple[str, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Value of one volume; ``weight`` is its number of boxes for the lesion-focused metrics."""

    place: Place
    subject: str
    value: float
    weight: float


def entries(rows: Iterable[Row], metric: Metric) -> list[Entry]:
    """One entry a volume, of the rows that have the metric.

    PSNR and NMSE of a volume follow from those of its slices, which share its data range: the mean
    squared errors are averaged, not the decibels. SSIM is the mean over slices, as in fastMRI.
    """
    volumes: dict[Place, dict[str, list[Row]]] = {}
    for row in rows:
        if getattr(row, metric.field) is not None:
            of_runs = volumes.setdefault((row.dataset, row.acceleration, row.volume), {})
            of_runs.setdefault(row.run, []).append(row)
    made = []
    for place, of_runs in volumes.items():
        first = next(iter(of_runs.values()))
        value = float(np.mean([_of_volume(slices, metric) for slices in of_runs.values()]))
        weight = float(sum(row.boxes for row in first)) if metric.by_box else 1.0
        made.append(Entry(place=place, subject=first[0].subject, value=value, weight=weight))
    return made


def _of_volume(slices: list[Row], metric: Metric) -> float:
    values = np.array([float(getattr(row, metric.field)) for row in slices])
    if len(slices) == 1:
        return float(values[0])
    if metric.by_box:
        return float(np.average(values, weights=[row.boxes for row in slices]))
    if metric.field not in ("psnr", "nmse"):
        return float(values.mean())
    error = np.array([10 ** (-float(row.psnr or 0.0) / 10) for row in slices])
    if metric.field == "psnr":
        return float(-10 * np.log10(error.mean()))
    energy = error / np.array([float(row.nmse or 1.0) for row in slices])
    return float(error.sum() / energy.sum())


def summary(rows: Iterable[Row], metric: Metric, *, seed: int = 0) -> Summary | None:
    """Mean over volumes (over boxes for the lesion-focused metrics) with its interval by subject."""
    found = entries(rows, metric)
    return summarise(
        [e.value for e in found], [e.subject for e in found], [e.weight for e in found], seed=seed
    )


def difference(
    ours: Iterable[Row], theirs: Iterable[Row], metric: Metric, *, seed: int = 0
) -> Difference | None:
    """Ours minus theirs on the volumes that both have, in the sense of better: positive favours ours."""
    other = {entry.place: entry for entry in entries(theirs, metric)}
    pairs = [(entry, other[entry.place]) for entry in entries(ours, metric) if entry.place in other]
    sign = 1.0 if metric.higher_is_better else -1.0
    return paired_difference(
        [sign * a.value for a, _ in pairs],
        [sign * b.value for _, b in pairs],
        [a.subject for a, _ in pairs],
        [a.weight for a, _ in pairs],
        seed=seed,
    )


def counted(rows: Iterable[Row]) -> tuple[int, int, int]:
    """Subjects, slices and boxes of the rows; a slice counts once, however many methods saw it."""
    places = {(row.dataset, row.acceleration, row.sample): row for row in rows}
    return len({row.subject for row in places.values()}), len(places), sum(r.boxes for r in places.values())


def runs_of(rows: Iterable[Row]) -> list[str]:
    """Names of the trainings behind the rows of one method."""
    return sorted({row.run for row in rows if row.run})


def spread(rows: Sequence[Row], metric: Metric) -> float | None:
    """Standard deviation over seeds of the mean of each training; None below two trainings."""
    means = [
        float(np.mean([entry.value for entry in found]))
        for run in runs_of(rows)
        if (found := entries((row for row in rows if row.run == run), metric))
    ]
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def auc(rows: Sequence[Row], field: str = "score", *, seed: int = 0) -> Summary | None:
    """Mean over runs of the area under the curve of a score; None where no run has both classes.

    Rows without score or label are left out. The interval draws subjects with replacement.
    """
    usable = [row for row in rows if getattr(row, field) is not None and row.label is not None]
    names = sorted({row.subject for row in usable})
    of_runs = [[row for row in usable if row.run == run] for run in sorted({row.run for row in usable})]
    networks = [
        ScoredPairs(
            [float(getattr(row, field)) for row in mine],
            [bool(row.label) for row in mine],
            [row.subject for row in mine],
            names,
        )
        for mine in of_runs
    ]
    return area_with_interval(networks, seed=seed)


def best_iou(rows: Iterable[Row]) -> tuple[Summary, float] | None:
    """Mean intersection over union at the one threshold that is best for all rows, and that threshold."""
    found = [row for row in rows if row.iou is not None]
    if not found:
        return None
    curves = np.array([row.iou for row in found])
    best = int(curves.mean(0).argmax())
    done = summarise(curves[:, best], [row.subject for row in found])
    assert done is not None  # there are rows
    return done, THRESHOLDS[best]


def is_best(method: str, rows_of: Callable[[str], list[Row]], rivals: Iterable[str], metric: Metric) -> bool:
    """Whether ``method`` beats every rival: each paired difference `Difference.is_sure` above zero."""
    ours = rows_of(method)
    others = {rival: rows_of(rival) for rival in rivals if rival != method}
    sign = 1.0 if metric.higher_is_better else -1.0
    if any(sign * _plain_mean(ours, metric) <= sign * _plain_mean(rows, metric) for rows in others.values()):
        return False
    return all(
        (gap := difference(ours, rows, metric)) is not None and gap.is_sure for rows in others.values()
    )


def _plain_mean(rows: list[Row], metric: Metric) -> float:
    """Mean over slices; nan without any."""
    values = [float(v) for row in rows if (v := getattr(row, metric.field)) is not None]
    return float(np.mean(values)) if values else float("nan")
