"""The activation map: area under the curve, pointing game and overlap, by kind of lesion."""

from __future__ import annotations

import numpy as np

from lfmri_node.recon.evaluate.aggregate import (
    CHANCE,
    ENERGY,
    INSIDE,
    POINTED,
    auc,
    best_iou,
    summary,
)
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.real_lesions import REAL, STROKES
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import HELD_OUT, UNSEEN
from lfmri_node.recon.evaluate.table import (
    NONE,
    Table,
    TableRow,
    summary_cell,
    text_cell,
)
from lfmri_node.recon.evaluate.tables import INTERVALS, data_row, missing_row
from lfmri_node.recon.phantom.body import LESION_KINDS, UNSEEN_KIND


def map_table(evidence: Evidence) -> Table:
    """The activation map on each network's own reconstruction: all kinds, each kind, unseen kind, real."""
    scored = list(dict.fromkeys(row.method for row in evidence.rows if row.score is not None))
    wanted = [title for title in [*evidence.titles(1), *evidence.shipped()] if title in scored]
    made, every = [], []
    for method in wanted or [evidence.ours]:
        for acceleration in evidence.accelerations:
            for what, mine in _map_groups(evidence, method, acceleration):
                made.append(_map_row(what, mine, f"{method}, {acceleration:g}x"))
                every += mine
    return Table(
        name="activation-map",
        title="Activation map from image-level labels alone",
        columns=("lesions", "image AUC", *_MAP_HEADINGS),
        rows=tuple(made),
        notes=(
            INTERVALS,
            "On the network's own reconstructions of test subjects. A row of one kind sets its positives "
            "against all negatives; of strokes (SOOP, contrast above 1) against slices without an acute "
            "stroke, which need not be healthy. The chance of the pointing game: the share of the body "
            "within 4 px of a lesion. "
            "Intersection over union: at the one threshold that is best for the row.",
            *evidence.origin(every),
        ),
    )


_MAP_HEADINGS = (POINTED.heading, CHANCE.heading, INSIDE.heading, "IoU", "threshold", ENERGY.heading)


def _map_groups(evidence: Evidence, method: str, acceleration: float) -> list[tuple[str, list[Row]]]:
    seen = evidence.of(method, (HELD_OUT,), acceleration)
    negatives = [row for row in seen if row.label is False]
    groups = [("all trained kinds", seen)]
    for kind in LESION_KINDS:
        groups.append((kind, negatives + [row for row in seen if row.lesion_kind == kind]))
    groups.append((f"{UNSEEN_KIND} (never trained on)", evidence.of(method, (UNSEEN,), acceleration)))
    real = evidence.of(method, (REAL,), acceleration)
    strokes = [row for row in real if row.group == STROKES]
    without = [row for row in strokes if row.label is False]
    groups.append(("strokes", strokes))
    for name, low, high in (("strokes, 30 to 200 px", 30, 200), ("strokes, from 200 px", 200, np.inf)):
        sized = [row for row in strokes if row.boxes > 0 and low <= (row.lesion_px or 0) < high]
        groups.append((name, without + sized if sized else []))
    groups.append(("other real lesions", [row for row in real if row.group != STROKES and row.boxes > 0]))
    return groups


def _map_row(label: str, rows: list[Row], group: str) -> TableRow:
    if not rows:
        return missing_row(label, 1 + len(_MAP_HEADINGS), group)
    found = best_iou(rows)
    threshold = NONE if found is None else f"{found[1]:g}"
    cells = (
        summary_cell(auc(rows), 3),
        summary_cell(summary(rows, POINTED), 3),
        summary_cell(summary(rows, CHANCE), 3),
        summary_cell(summary(rows, INSIDE), 3),
        summary_cell(None if found is None else found[0], 3),
        text_cell(threshold),
        summary_cell(summary(rows, ENERGY), 3),
    )
    return data_row(label, cells, rows, group)
