"""Table 2, quality by contrast and size of a lesion, and what the lesion term is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lfmri_node.recon.evaluate.aggregate import (
    CONTRAST,
    LF_PSNR,
    LF_PSNR_CROP,
    LF_SSIM,
    OUTLINE,
    PSNR,
    SECONDS,
    SSIM,
    Metric,
    counted,
    summary,
)
from lfmri_node.recon.evaluate.evidence import SIMULATED, Evidence
from lfmri_node.recon.evaluate.learned import LOWERED, ORACLE, RANDOM
from lfmri_node.recon.evaluate.net_c import CONTRASTS, SIZES_PX
from lfmri_node.recon.evaluate.real_lesions import REAL
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import HELD_OUT
from lfmri_node.recon.evaluate.table import NONE, Table, TableRow, summary_cell, text_cell
from lfmri_node.recon.evaluate.tables import by_group, data_row, gain_cell, missing_row, quality_table
from lfmri_node.recon.train.visibility import VISIBLE

Chosen = Callable[[Row], bool]


def table_2(evidence: Evidence) -> list[Table]:
    """Quality inside the lesions: all, then real ones and inserted ones apart, then by group."""
    methods = evidence.titles(2, classical=True)
    metrics = (LF_PSNR, LF_SSIM, OUTLINE, CONTRAST, LF_PSNR_CROP)
    remark = (
        "Inside boxes with the volume's data range; of the outline: inside it and 2 px around it. Contrast "
        "kept: lesion minus its ring, after over before."
    )
    parts: tuple[tuple[str, str, Chosen, Sequence[Metric]], ...] = (
        ("table-2", "Table 2. Lesion-focused quality", lambda row: row.boxes > 0, (LF_PSNR,)),
        ("table-2-real", "Table 2, real lesions", lambda row: _real(row), (LF_PSNR,)),
        ("table-2-inserted", "Table 2, inserted lesions", lambda row: row.boxes > 0 and not _real(row), ()),
    )
    made = [
        quality_table(evidence, name, title, methods, metrics, where=where, compare=compare, remark=remark)
        for name, title, where, compare in parts
    ]
    return made + by_group(evidence, "table-2", "Table 2", methods, metrics, where=lambda row: row.boxes > 0)


def _real(row: Row) -> bool:
    return row.boxes > 0 and row.lesion_kind == "real"


def _bins() -> dict[str, Chosen]:
    """Contrast and size of the outline in the reconstructed matrix; what nobody can see is in none."""

    def sized(low: float, high: float) -> Chosen:
        return lambda row: (row.lesion_cnr or 0.0) > VISIBLE and low <= (row.lesion_px or 0) < high

    def contrasted(low: float, high: float) -> Chosen:
        return lambda row: low < (row.lesion_cnr or 0.0) <= high

    return {name: contrasted(*span) for name, span in CONTRASTS.items()} | {
        name: sized(*span) for name, span in SIZES_PX.items()
    }


def lesion_bins(evidence: Evidence) -> list[Table]:
    """LF-PSNR and contrast kept by contrast and size: real lesions with an outline, then inserted ones."""
    bins = _bins()
    made = []
    for dataset, what in ((REAL, "real"), (HELD_OUT, "inserted")):
        for metric, name in ((OUTLINE, "psnr"), (CONTRAST, "contrast")):
            rows: list[TableRow] = []
            every: list[Row] = []
            for acceleration in evidence.accelerations:
                for method in evidence.titles(2, classical=True):
                    group = f"{acceleration:g}x"
                    mine = evidence.of(
                        method, (dataset,), acceleration, lambda row: row.lesion_px is not None
                    )
                    if not mine:
                        rows.append(missing_row(method, len(bins), group))
                        continue
                    every += mine
                    chosen = [[row for row in mine if where(row)] for where in bins.values()]
                    cells = [summary_cell(summary(some, metric), metric.digits) for some in chosen]
                    rows.append(data_row(method, cells, mine, group))
            title = f"{metric.heading.removesuffix(', dB')} by contrast and size, {what} lesions"
            columns = ("method", *_counted_headings(every, bins))
            made.append(
                Table(
                    name=f"lesions-{what}-{name}",
                    title=title[:1].upper() + title[1:],
                    columns=columns,
                    rows=tuple(rows),
                    notes=(
                        BINS,
                        *evidence.origin(every),
                    ),
                )
            )
    return made


BINS = (
    "Contrast: of the lesion against its ring, over the ring's spread, in the truth. Size: of the outline in "
    "the matrix that is reconstructed, of lesions with a contrast above 1."
)


def _counted_headings(rows: Sequence[Row], bins: dict[str, Chosen]) -> list[str]:
    """Each bin with the number of its slices."""
    return [f"{name} (n = {counted(filter(where, rows))[1]})" for name, where in bins.items()]


def lesion_term_table(evidence: Evidence) -> list[Table]:
    """LF-MRI against itself: retrained with the lesion term off and uniform, and with another C."""
    titles = evidence.terms()
    return [
        _term_part(evidence, "lesion-term", "The lesion term, all lesions", titles, lambda row: True),
        _term_part(
            evidence,
            "lesion-term-real",
            "The lesion term, real lesions",
            titles,
            lambda row: row.dataset == REAL,
        ),
    ]


def _term_part(evidence: Evidence, name: str, title: str, titles: Sequence[str], where: Chosen) -> Table:
    metrics = (SECONDS, PSNR, SSIM, LF_PSNR, LF_SSIM, OUTLINE, CONTRAST)
    off = next(iter(titles), None)
    columns = ("method", "trainings", "parameters", "minutes of training", *(m.heading for m in metrics))
    compared = (PSNR, LF_PSNR)
    columns += tuple(f"this minus off, {metric.heading}" for metric in compared)
    made: list[TableRow] = []
    every: list[Row] = []
    for acceleration in evidence.accelerations:

        def here(method: str, acceleration: float = acceleration) -> list[Row]:
            return evidence.of(method, SIMULATED, acceleration, where)

        for method in [*titles, ORACLE, RANDOM, LOWERED]:
            mine, group = here(method), f"{acceleration:g}x"
            if not mine:
                made.append(missing_row(method, len(columns) - 1, group))
                continue
            source = method if method in titles else titles[-1]
            size, minutes = evidence.parameters(source), evidence.minutes(source)
            cells = [
                text_cell(evidence.trainings(mine)),
                text_cell(NONE if size is None else f"{size:,}"),
                text_cell(NONE if minutes is None else f"{minutes:.0f}"),
                *(summary_cell(summary(mine, metric), metric.digits) for metric in metrics),
                *(gain_cell(method, off, here, metric) for metric in compared),
            ]
            made.append(data_row(method, cells, mine, group))
            every += mine
    return Table(
        name=name,
        title=title,
        columns=columns,
        rows=tuple(made),
        notes=(
            "Off, uniform and LF-MRI are each trained, at equal updates and, to within a tenth, equal "
            "parameters; minutes and seconds say what that costs on this machine. Of the weights of the node "
            "off is the same D_w, which learned nothing more when G_u did. The last three rows are "
            "LF-MRI itself, given another C: the blurred true outline, the same outline elsewhere in the "
            "body, and Net_c's map with a quarter of mu in the place of G_u. Without those rows a gain may "
            "be only the extra body. Outlines are given for inserted and real lesions; elsewhere C is zero.",
            *evidence.origin(every),
        ),
    )
