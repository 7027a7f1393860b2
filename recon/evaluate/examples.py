"""Which slices the figures show: chosen by rule from the rows, failures first, never by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.real_lesions import REAL
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import HELD_OUT, UNSEEN

Place = tuple[str, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row of LF-MRI, and the rule that chose it."""

    row: Row
    rule: str

    @property
    def place(self) -> Place:
        return place_of(self.row)


def place_of(row: Row) -> Place:
    """Data set, acceleration, sample: the slice, whatever the method."""
    return row.dataset, row.acceleration, row.sample


def reconstruction_examples(evidence: Evidence, acceleration: float) -> list[Example]:
    """Slices with a box: the median gain in the lesion over the learned rivals, the worst, a real one.

    The gain of a slice is LF-PSNR of LF-MRI minus the mean LF-PSNR of the learned rivals on it.
    """
    gains = _gains(evidence, acceleration)
    inserted = [(gain, row) for gain, row in gains if row.dataset == HELD_OUT]
    real = [(gain, row) for gain, row in gains if row.dataset == REAL]
    found = []
    if inserted:
        found.append(Example(row=_median(inserted), rule="median gain in the lesion over the learned rivals"))
        found.append(Example(row=inserted[0][1], rule="worst gain in the lesion over the learned rivals"))
    if real:
        found.append(Example(row=_median(real), rule="real lesion, median gain over the learned rivals"))
        found.append(Example(row=real[0][1], rule="real lesion, worst gain over the learned rivals"))
    return _distinct(found)


def _gains(evidence: Evidence, acceleration: float) -> list[tuple[float, Row]]:
    """Gain and row of LF-MRI for each slice with a box, lowest gain first."""
    rivals: dict[Place, list[float]] = {}
    for title in filter(evidence.was_run, evidence.rivals()):
        for row in evidence.of(title, acceleration=acceleration):
            if row.lf_psnr is not None:
                rivals.setdefault(place_of(row), []).append(row.lf_psnr)
    gains = [
        (row.lf_psnr - float(np.mean(rivals.get(place_of(row), [0.0]))), row)
        for row in evidence.of(evidence.ours, acceleration=acceleration)
        if row.lf_psnr is not None
    ]
    return sorted(gains, key=lambda pair: pair[0])


def _median(gains: Sequence[tuple[float, Row]]) -> Row:
    return gains[len(gains) // 2][1]


def map_examples(evidence: Evidence, acceleration: float) -> list[Example]:
    """Slices for the activation map: typical, missed, false alarm, unseen kind, real ones."""
    ours = evidence.with_map
    seen = evidence.of(ours, (HELD_OUT,), acceleration, lambda row: row.score is not None)
    positives = [row for row in seen if row.boxes > 0]
    negatives = [row for row in seen if row.label is False]
    unseen = evidence.of(ours, (UNSEEN,), acceleration, lambda row: row.boxes > 0)
    real = evidence.of(ours, (REAL,), acceleration, lambda row: row.boxes > 0)
    wanted: tuple[tuple[str, list[Row], Callable[[list[Row]], Row]], ...] = (
        ("positive of median score", positives, lambda rows: _by_score(rows)[len(rows) // 2]),
        ("missed: the positive of lowest score", positives, lambda rows: _by_score(rows)[0]),
        (
            "points elsewhere: highest score with the peak off the lesion",
            [row for row in positives if row.pointed is False],
            lambda rows: _by_score(rows)[-1],
        ),
        ("false alarm: the negative of highest score", negatives, lambda rows: _by_score(rows)[-1]),
        ("kind never trained on, median score", unseen, lambda rows: _by_score(rows)[len(rows) // 2]),
        ("real lesion of median score", real, lambda rows: _by_score(rows)[len(rows) // 2]),
        ("real lesion of lowest score", real, lambda rows: _by_score(rows)[0]),
    )
    return _distinct([Example(row=choose(rows), rule=rule) for rule, rows, choose in wanted if rows])


def _by_score(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.score or 0.0)


def _distinct(examples: list[Example]) -> list[Example]:
    return list({example.place: example for example in reversed(examples)}.values())[::-1]
