"""Table 7: what a classifier that saw complete data makes of the reconstructions."""

from __future__ import annotations

from lfmri_node.recon.evaluate.aggregate import (
    auc,
)
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.lesion_metrics import diagnosis_quality
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.scoring import TRUTH
from lfmri_node.recon.evaluate.simulated import HELD_OUT
from lfmri_node.recon.evaluate.table import (
    NONE,
    Cell,
    Table,
    TableRow,
    summary_cell,
    text_cell,
)
from lfmri_node.recon.evaluate.tables import data_row, missing_row

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
