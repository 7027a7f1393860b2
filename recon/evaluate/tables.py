"""Table 1, the weights of the node, ablations (3 to 6, 8), field strength (9); what all such tables share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lfmri_node.recon.evaluate.aggregate import (
    CORRELATION,
    DETAIL,
    LF_PSNR,
    LF_SSIM,
    NMSE,
    POINTED,
    PSNR,
    SSIM,
    Metric,
    auc,
    counted,
    difference,
    is_best,
    summary,
)
from lfmri_node.recon.evaluate.evidence import SHIPPED, SIMULATED, Evidence
from lfmri_node.recon.evaluate.measured import BRAIN, BRAIN_EQUISPACED, LOW_FIELD
from lfmri_node.recon.evaluate.published import FASTMRI, SKM_TEA
from lfmri_node.recon.evaluate.real_lesions import REAL
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import DISTURBED, HELD_OUT
from lfmri_node.recon.evaluate.table import (
    NONE,
    NOT_RUN,
    Cell,
    Table,
    TableRow,
    difference_cell,
    summary_cell,
    text_cell,
)

INTERVALS = (
    "Mean [95 % bootstrap interval, subjects drawn with replacement] ± standard deviation over volumes. "
    "Bold: better than every other row by a paired difference whose interval lies above zero, over "
    "six subjects or more."
)
SINGLE = "A simulated slice is a volume of its own: its data range is the maximum of its own truth."
ABLATIONS = {
    3: "Table 3. Number of stages",
    4: "Table 4. Classification network",
    5: "Table 5. Losses",
    6: "Table 6. Perceptual loss",
    8: "Table 8. Learnable sampling",
}


def quality_table(
    evidence: Evidence,
    name: str,
    title: str,
    methods: Sequence[str],
    metrics: Sequence[Metric],
    *,
    datasets: Sequence[str] = SIMULATED,
    where: Callable[[Row], bool] | None = None,
    compare: Sequence[Metric] = (),
    remark: str = "",
) -> Table:
    """One row a method under each acceleration, one column a metric.

    Parameters
    ----------
    compare
        Adds a column for each: LF-MRI minus the row's method in this metric, on the same slices.
    remark
        A note of this table alone.
    """
    columns = ["method", "trainings", "parameters", *(metric.heading for metric in metrics)]
    columns += [f"{evidence.ours} minus this, {metric.heading}" for metric in compare]
    run = [method for method in methods if evidence.was_run(method)]
    made: list[TableRow] = []
    every: list[Row] = []
    for acceleration in evidence.accelerations:

        def here(method: str, acceleration: float = acceleration) -> list[Row]:
            return evidence.of(method, datasets, acceleration, where)

        for method in methods:
            mine = here(method)
            group = f"{acceleration:g}x"
            if not mine:
                made.append(missing_row(method, len(columns) - 1, group))
                continue
            size = evidence.parameters(method)
            cells = [text_cell(evidence.trainings(mine)), text_cell(NONE if size is None else f"{size:,}")]
            cells += [_metric_cell(method, here, run, metric) for metric in metrics]
            cells += [gain_cell(evidence.ours, method, here, metric) for metric in compare]
            made.append(data_row(method, cells, mine, group))
            every += mine
    notes = (*([remark] if remark else []), INTERVALS, SINGLE, *evidence.origin(every))
    return Table(name=name, title=title, columns=tuple(columns), rows=tuple(made), notes=notes)


def _metric_cell(
    method: str, rows_of: Callable[[str], list[Row]], rivals: Sequence[str], metric: Metric
) -> Cell:
    best = len(rivals) > 1 and is_best(method, rows_of, rivals, metric)
    return summary_cell(summary(rows_of(method), metric), metric.digits, best=best)


def gain_cell(ours: str, theirs: str | None, rows_of: Callable[[str], list[Row]], metric: Metric) -> Cell:
    """``ours`` minus ``theirs`` on the same slices; nothing of a method against itself."""
    if theirs is None or ours == theirs:
        return text_cell(NONE)
    return difference_cell(difference(rows_of(ours), rows_of(theirs), metric), metric.digits)


def missing_row(label: str, n: int, group: str = "") -> TableRow:
    """A row of ``n`` cells that say "not run"."""
    return TableRow(label=label, cells=(text_cell(NOT_RUN),) * n, group=group)


def data_row(label: str, cells: Sequence[Cell], rows: Sequence[Row], group: str = "") -> TableRow:
    """A row with the counts of the rows that it is made of."""
    subjects, slices, boxes = counted(rows)
    return TableRow(
        label=label, cells=tuple(cells), group=group, subjects=subjects, slices=slices, boxes=boxes
    )


def table_1(evidence: Evidence) -> list[Table]:
    """Overall quality on all test slices, by source, then by group (data set, contrast or anatomy)."""
    methods = evidence.titles(1, classical=True)
    metrics = (PSNR, SSIM, NMSE, DETAIL, CORRELATION)
    tables = [
        quality_table(evidence, "table-1", "Table 1. Overall quality", methods, metrics, compare=(PSNR, SSIM))
    ]
    for dataset, words in (
        (HELD_OUT, "simulated without line errors"),
        (DISTURBED, "simulated with the line errors of a measurement"),
        (REAL, "patients with real lesions"),
    ):
        title, datasets = f"Table 1, {words}", (dataset,)
        tables.append(
            quality_table(evidence, f"table-1-{dataset}", title, methods, metrics, datasets=datasets)
        )
    return tables + by_group(evidence, "table-1", "Table 1", methods, metrics)


def by_group(
    evidence: Evidence,
    name: str,
    title: str,
    methods: Sequence[str],
    metrics: Sequence[Metric],
    *,
    where: Callable[[Row], bool] | None = None,
) -> list[Table]:
    """One table a group: simulated anatomies together in `SIMULATED`, PD, PDFS and SKM-TEA apart."""
    everywhere = (*SIMULATED, FASTMRI, SKM_TEA)
    made = []
    for i, group in enumerate(
        sorted({row.group for row in evidence.of(methods[0], everywhere, where=where)})
    ):

        def chosen(row: Row, group: str = group) -> bool:
            return row.group == group and (where is None or where(row))

        made.append(
            quality_table(
                evidence,
                f"{name}-{i + 1}",
                f"{title}, {group}",
                methods,
                metrics,
                datasets=everywhere,
                where=chosen,
            )
        )
    return made


def shipped_table(evidence: Evidence) -> Table:
    """The weights of the node beside the methods of table 1, on test subjects."""
    shipped = [recipe.title for recipe in evidence.recipes if recipe.name == SHIPPED]
    return quality_table(
        evidence,
        "shipped",
        "The weights of the node",
        [*evidence.titles(1, classical=True), *shipped],
        (PSNR, SSIM, DETAIL, LF_PSNR, LF_SSIM),
        remark="Without the gate of the model card, below whose score the node shows no lesion map. Trained "
        "longer than the networks of table 1.",
    )


def ablation_table(evidence: Evidence, number: int) -> Table:
    """Tables 3, 4, 5, 6 and 8: image quality overall and in the lesions, and the activation map."""
    metrics = (PSNR, SSIM, LF_PSNR, LF_SSIM)
    columns = ["method", "trainings", "parameters", *(metric.heading for metric in metrics)]
    columns += ["image AUC", POINTED.heading]
    made: list[TableRow] = []
    every: list[Row] = []
    for acceleration in evidence.accelerations:
        for method in evidence.titles(number):
            mine = evidence.of(method, acceleration=acceleration)
            group = f"{acceleration:g}x"
            if not mine:
                made.append(missing_row(method, len(columns) - 1, group))
                continue
            cells = [
                text_cell(evidence.trainings(mine)),
                text_cell(f"{evidence.parameters(method) or 0:,}"),
                *(summary_cell(summary(mine, metric), metric.digits) for metric in metrics),
            ]
            inserted = [row for row in mine if row.dataset == HELD_OUT]
            cells += [summary_cell(auc(inserted), 3), summary_cell(summary(inserted, POINTED), 3)]
            made.append(data_row(method, cells, mine, group))
            every += mine
    return Table(
        name=f"table-{number}",
        title=ABLATIONS[number],
        columns=tuple(columns),
        rows=tuple(made),
        notes=(INTERVALS, *evidence.origin(every)),
    )


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
