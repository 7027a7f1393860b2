"""The measured sets: real noise and real phase, nothing trained or chosen on them."""

from __future__ import annotations

from collections.abc import Callable

from lfmri_node.recon.evaluate.aggregate import (
    CORRELATION,
    DETAIL,
    PSNR,
    RESIDUAL,
    SSIM,
    Metric,
    counted,
    summary,
)
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.measured import BRAIN, BRAIN_EQUISPACED, LOW_FIELD, PATTERNS, PROSPECTIVE
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.table import (
    NOT_APPLICABLE,
    NOT_RUN,
    Table,
    TableRow,
    summary_cell,
    text_cell,
)
from lfmri_node.recon.evaluate.tables import data_row, missing_row


def brain_table(evidence: Evidence) -> Table:
    """The measured 13-coil brain: a column each for random 4x, equispaced 4x and random 8x."""
    metrics = (PSNR, SSIM, DETAIL, CORRELATION)
    names = {BRAIN: "random", BRAIN_EQUISPACED: "equispaced"}
    rows = [row for row in evidence.rows if row.dataset in names]
    flips = sorted({row.sample.split("/")[0] for row in rows})
    groups: list[tuple[str, Callable[[Row], bool]]] = [("all flip angles", lambda row: True)]
    groups += [(flip, _of_flip(flip)) for flip in flips]
    made = []
    for group, chosen in groups:
        for method in [*evidence.titles(1, classical=True), *evidence.shipped()]:
            parts = [evidence.of(method, (dataset,), a, chosen) for dataset, a in PATTERNS]
            if not any(parts):
                made.append(missing_row(method, len(metrics) * len(PATTERNS), group))
                continue
            cells = [summary_cell(summary(part, m), m.digits) for m in metrics for part in parts]
            made.append(data_row(method, cells, [row for part in parts for row in part], group))
    columns = [f"{m.heading}, {names[dataset]} {a:g}x" for m in metrics for dataset, a in PATTERNS]
    masks = [len({r.sample for r in rows if (r.dataset, r.acceleration) == pattern}) for pattern in PATTERNS]
    return Table(
        name="measured-brain",
        title="Measured brain, 13 coils, never trained or tuned on",
        columns=("method", *columns),
        rows=tuple(made),
        notes=(
            "Real noise and real phase, one volunteer, so no interval. Truth: all lines, combined with "
            "ESPIRiT maps of all data; it holds the noise of the sampled lines, which rewards whoever keeps "
            "it. Mean ± standard deviation over flip angles and masks; equispaced lines have few masks. The "
            "classical rivals' regularisation was searched on the same object under another mask, which "
            "favours them.",
            f"Slices in the three columns: {', '.join(map(str, masks))}; seed {evidence.seed}, commit "
            f"{evidence.commit}.",
        ),
    )


def _of_flip(flip: str) -> Callable[[Row], bool]:
    return lambda row: row.sample.startswith(f"{flip}/")


def measured_table(evidence: Evidence) -> Table:
    """The other measured sets, one group each."""
    metrics: tuple[Metric, ...] = (PSNR, SSIM, DETAIL, RESIDUAL)
    made: list[TableRow] = []
    every: list[Row] = []
    for group, dataset in _measured_parts(evidence):
        for method in [*evidence.titles(1, classical=True), *evidence.shipped()]:
            mine = evidence.of(method, (dataset,))
            if not mine:
                text = NOT_APPLICABLE if evidence.was_run(method) else NOT_RUN
                made.append(TableRow(label=method, cells=(text_cell(text),) * len(metrics), group=group))
                continue
            cells = [summary_cell(summary(mine, m), m.digits, missing=NOT_APPLICABLE) for m in metrics]
            made.append(data_row(method, cells, mine, group))
            every += mine
    subjects, slices, _ = counted(every)
    return Table(
        name="measured-other",
        title="Other measured data, never trained or tuned on",
        columns=("method", *(metric.heading for metric in metrics)),
        rows=tuple(made),
        notes=(
            "Mean ± standard deviation over slices; at 0.055 T the regularisation of the classical rivals "
            "was searched on the same patients under another mask.",
            "The prospectively undersampled set has no truth: only norm(A x - y) / norm(y) can be stated, "
            "and a small one is not a good image.",
            f"{subjects} subjects, {slices} slices; seed {evidence.seed}, commit {evidence.commit}.",
        ),
    )


def _measured_parts(evidence: Evidence) -> list[tuple[str, str]]:
    found = {row.dataset: row.acceleration for row in evidence.rows}
    parts = [("0.055 T, 1 coil, 2x", LOW_FIELD)] if LOW_FIELD in found else []
    if PROSPECTIVE in found:
        parts.append((f"{PROSPECTIVE}, {found[PROSPECTIVE]:g}x (points): no truth", PROSPECTIVE))
    return parts
