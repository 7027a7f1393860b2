"""Tables 7 and 9, the activation map, and the speed of training."""

from __future__ import annotations

import math

import numpy as np

from lfmri_node.recon.evaluate.aggregate import (
    CHANCE,
    ENERGY,
    INSIDE,
    LF_PSNR,
    LF_SSIM,
    POINTED,
    PSNR,
    SSIM,
    auc,
    best_iou,
    summary,
)
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.lesion_metrics import diagnosis_quality
from lfmri_node.recon.evaluate.measured import (
    BRAIN,
    BRAIN_EQUISPACED,
    LOW_FIELD,
)
from lfmri_node.recon.evaluate.published import FASTMRI, SKM_TEA
from lfmri_node.recon.evaluate.real_lesions import REAL, STROKES
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.scoring import TRUTH
from lfmri_node.recon.evaluate.simulated import DISTURBED, HELD_OUT, UNSEEN
from lfmri_node.recon.evaluate.table import (
    NONE,
    Cell,
    Table,
    TableRow,
    summary_cell,
    text_cell,
)
from lfmri_node.recon.evaluate.tables import INTERVALS, data_row, missing_row
from lfmri_node.recon.phantom.body import LESION_KINDS, UNSEEN_KIND

DIAGNOSIS = ("AUC", "accuracy", "F1", "sensitivity", "specificity")


def table_7(evidence: Evidence) -> Table:
    """A classifier trained on fully sampled images, applied to what each method reconstructs."""
    made: list[TableRow] = []
    every: list[Row] = []
    for acceleration in evidence.accelerations:
        group = f"{acceleration:g}x"
        for method in [TRUTH, *evidence.titles(7, classical=True)]:
            mine = evidence.of(method, (HELD_OUT,), acceleration, lambda row: row.diagnosis_score is not None)
            if not mine:
                made.append(missing_row(method, len(DIAGNOSIS), group))
                continue
            made.append(data_row(method, _diagnosis_cells(mine), mine, group))
            every += mine
    return Table(
        name="table-7",
        title="Table 7. Diagnosis from the reconstructions",
        columns=("method", *DIAGNOSIS),
        rows=tuple(made),
        notes=(
            "A classifier trained on fully sampled images of training subjects alone; decision at 0.5, not "
            "tuned on any reconstruction. AUC: mean over trainings. Inserted lesions against slices without; "
            "slices with real lesions are left out.",
            *evidence.origin(every),
        ),
    )


def _diagnosis_cells(rows: list[Row]) -> list[Cell]:
    scores = [float(row.diagnosis_score or 0.0) for row in rows]
    found = diagnosis_quality(scores, [bool(row.label) for row in rows]) if rows else None
    if found is None:
        return [text_cell(NONE)] * len(DIAGNOSIS)
    values = (found.accuracy, found.f1, found.sensitivity, found.specificity)
    return [
        summary_cell(auc(rows, "diagnosis_score"), 3),
        *(Cell(text=f"{value:.3f}", value=value) for value in values),
    ]


def table_9(evidence: Evidence) -> Table:
    """Every method by the field strength that the source of the data states."""
    datasets = (HELD_OUT, DISTURBED, REAL, LOW_FIELD, BRAIN, BRAIN_EQUISPACED, FASTMRI, SKM_TEA)
    methods = evidence.titles(9, classical=True)
    groups = sorted(
        {(r.field_strength_t, r.acceleration) for r in evidence.rows if r.dataset in datasets},
        key=lambda group: (group[0] is None, group[0] or 0.0, group[1]),
    )
    metrics = (PSNR, SSIM, LF_PSNR, LF_SSIM)
    made: list[TableRow] = []
    every: list[Row] = []
    for strength, acceleration in groups:
        name = "field strength not stated" if strength is None else f"{strength:g} T"
        group = f"{name}, {acceleration:g}x"

        def chosen(row: Row, strength: float | None = strength) -> bool:
            return row.field_strength_t == strength

        for method in methods:
            mine = evidence.of(method, datasets, acceleration, chosen)
            if not mine:
                made.append(missing_row(method, len(metrics), group))
                continue
            cells = [summary_cell(summary(mine, metric), metric.digits) for metric in metrics]
            made.append(data_row(method, cells, mine, group))
            every += mine
    return Table(
        name="table-9",
        title="Table 9. Field strength",
        columns=("method", *(metric.heading for metric in metrics)),
        rows=tuple(made),
        notes=(
            INTERVALS,
            "The 3 T rows are simulated measurements of 3 T magnitude images; 0.055 T is measured with one "
            "coil.",
            *evidence.origin(every),
        ),
    )


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


def speed_table(evidence: Evidence) -> Table:
    """Samples a second of every finished training, and where its time went."""
    made = []
    timed = [run for run in evidence.runs if math.isfinite(run.seconds)]
    for run in sorted(timed, key=lambda run: run.recipe.name):
        recipe = run.recipe
        rate, share = run.samples_a_second, run.wait_s / max(run.seconds, 1e-9)
        made.append(
            TableRow(
                label=f"{recipe.title} ({recipe.name})",
                cells=(
                    Cell(text=f"{run.n_trained:,}", value=float(run.n_trained)),
                    Cell(text=f"{recipe.steps:,} x {recipe.batch}", value=float(recipe.steps * recipe.batch)),
                    Cell(text=f"{run.seconds / 60:.1f}", value=run.seconds / 60),
                    Cell(text=f"{share:.1%}", value=share),
                    Cell(text=f"{rate:.2f}", value=rate),
                    Cell(text=f"{rate * run.n_trained / 1e6:.2f}", value=rate * run.n_trained / 1e6),
                ),
            )
        )
    return Table(
        name="speed",
        title="Training speed",
        columns=(
            "training",
            "parameters that learnt",
            "steps x batch",
            "minutes",
            "waiting for data",
            "samples / s",
            "samples / s x million parameters",
        ),
        rows=tuple(made),
        notes=(
            "Of the trainings that the tables are made of, as they ran: other work on the same machine "
            "slows some of them. Samples a second: of the steps alone, without the wait for data, which in "
            "the first training of a folder is the simulation of its samples. The last column is the speed "
            "per parameter.",
            evidence.machine,
        ),
    )
