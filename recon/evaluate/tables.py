"""Tables 1, 2 and 9 of the paper's kind, the lesion term's ablation, and the other ablations (3 to 6, 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lfmri_node.recon.evaluate.aggregate import (
    LF_PSNR,
    LF_PSNR_CROP,
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
from lfmri_node.recon.evaluate.published import FASTMRI, SKM_TEA
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import HELD_OUT
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
from lfmri_node.recon.types import LesionWeighting

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
    columns = ["method", "folds", "parameters", *(metric.heading for metric in metrics)]
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
            cells = [text_cell(evidence.folds_of(mine)), text_cell(NONE if size is None else f"{size:,}")]
            cells += [_metric_cell(method, here, run, metric) for metric in metrics]
            cells += [_gain_cell(evidence, method, here, metric) for metric in compare]
            made.append(data_row(method, cells, mine, group))
            every += mine
    notes = (*([remark] if remark else []), INTERVALS, SINGLE, *evidence.origin(every))
    return Table(name=name, title=title, columns=tuple(columns), rows=tuple(made), notes=notes)


def _metric_cell(
    method: str, rows_of: Callable[[str], list[Row]], rivals: Sequence[str], metric: Metric
) -> Cell:
    best = len(rivals) > 1 and is_best(method, rows_of, rivals, metric)
    return summary_cell(summary(rows_of(method), metric), metric.digits, best=best)


def _gain_cell(evidence: Evidence, method: str, rows_of: Callable[[str], list[Row]], metric: Metric) -> Cell:
    if method == evidence.ours:
        return text_cell(NONE)
    return difference_cell(difference(rows_of(evidence.ours), rows_of(method), metric), metric.digits)


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
    """Overall quality on all held-out slices, then by group (data set, contrast or simulated anatomy)."""
    methods = evidence.titles(1, classical=True)
    tables = [
        quality_table(
            evidence, "table-1", "Table 1. Overall quality", methods, (PSNR, SSIM, NMSE), compare=(PSNR,)
        )
    ]
    return tables + _by_group(evidence, "table-1", "Table 1", methods, (PSNR, SSIM, NMSE))


def _by_group(
    evidence: Evidence, name: str, title: str, methods: Sequence[str], metrics: Sequence[Metric]
) -> list[Table]:
    """One table a group: simulated anatomies together in `SIMULATED`, PD, PDFS and SKM-TEA apart."""
    everywhere = (*SIMULATED, FASTMRI, SKM_TEA)
    made = []
    for i, group in enumerate(sorted({row.group for row in evidence.of(methods[0], everywhere)})):

        def chosen(row: Row, group: str = group) -> bool:
            return row.group == group

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


def table_2(evidence: Evidence) -> list[Table]:
    """Quality inside the boxes: all, then inserted lesions and real ones apart."""
    methods = evidence.titles(2, classical=True)
    metrics = (LF_PSNR, LF_SSIM, LF_PSNR_CROP)
    return [
        quality_table(
            evidence,
            "table-2",
            "Table 2. Lesion-focused quality",
            methods,
            metrics,
            where=lambda row: row.boxes > 0,
            compare=(LF_PSNR,),
        ),
        quality_table(
            evidence,
            "table-2-inserted",
            "Table 2, inserted lesions",
            methods,
            metrics,
            where=lambda row: row.boxes > 0 and row.lesion_kind != "real",
        ),
        quality_table(
            evidence,
            "table-2-real",
            "Table 2, real lesions",
            methods,
            metrics,
            where=lambda row: row.boxes > 0 and row.lesion_kind == "real",
        ),
        *_by_group(evidence, "table-2", "Table 2", methods, metrics),
    ]


def lesion_term_table(evidence: Evidence) -> Table:
    """LF-MRI against itself, retrained with the lesion term uniform and off, at equal parameters."""
    wanted = (LesionWeighting.FOCUSED, LesionWeighting.UNIFORM, LesionWeighting.OFF)
    return quality_table(
        evidence,
        "lesion-term",
        "The lesion term: on, uniform, off (each retrained)",
        [title for title in map(evidence.title_of, wanted) if title is not None],
        (PSNR, SSIM, LF_PSNR, LF_SSIM),
        compare=(PSNR, LF_PSNR),
        remark="On and uniform: with the lesion-weighted loss of Net_c's map. Off: there is no map. The "
        "losses alone are compared in table 5.",
    )


def shipped_table(evidence: Evidence) -> Table:
    """The weights of the node beside the methods of table 1, on subjects held out."""
    shipped = [recipe for recipe in evidence.recipes if recipe.name == SHIPPED]
    folds = {recipe.fold for recipe in shipped}
    return quality_table(
        evidence,
        "shipped",
        "The weights of the node",
        [*evidence.titles(1, classical=True), *(recipe.title for recipe in shipped)],
        (PSNR, SSIM, LF_PSNR, LF_SSIM),
        where=lambda row: row.fold in folds,
        remark="Without the gate of the model card, below whose score the node shows no lesion map.",
    )


def ablation_table(evidence: Evidence, number: int) -> Table:
    """Tables 3, 4, 5, 6 and 8: image quality overall and in the lesions, and the activation map."""
    metrics = (PSNR, SSIM, LF_PSNR, LF_SSIM)
    columns = ["method", "folds", "parameters", *(metric.heading for metric in metrics)]
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
                text_cell(evidence.folds_of(mine)),
                text_cell(f"{evidence.parameters(method) or 0:,}"),
                *(summary_cell(summary(mine, metric), metric.digits) for metric in metrics),
            ]
            inserted = [row for row in mine if row.dataset == HELD_OUT]
            cells += [summary_cell(auc(inserted), 3), summary_cell(summary(inserted, POINTED), 3)]
            made.append(data_row(method, cells, mine, group))
            every += mine
    notes = [INTERVALS, *evidence.origin(every)]
    folds = {row.cells[0].text for row in made} - {NOT_RUN}
    if len(folds) > 1:
        notes.append("Rows of different folds have seen different subjects and must not be compared.")
    return Table(
        name=f"table-{number}",
        title=ABLATIONS[number],
        columns=tuple(columns),
        rows=tuple(made),
        notes=tuple(notes),
    )
