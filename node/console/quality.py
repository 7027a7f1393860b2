"""The figures that the verdict of a job was made from, beside the ranges of the model card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lfmri_node.node.jobs.job import Job
from lfmri_node.recon.types import Figure


def figures_of(job: Job) -> list[Figure]:
    """The figures of a job, then the residual of what is delivered; an earlier version stored that alone."""
    summary: Mapping[str, Any] = job.summary
    figures = [Figure(**entry) for entry in summary.get("figures", [])]
    if isinstance(summary.get("data_residual"), int | float):
        figures.append(Figure(name="data residual of the delivered image", value=summary["data_residual"]))
    return figures


def place(figure: Figure) -> float:
    """Where the value stands on a scale of 0 to 100; its range, from 0 without a low end, is 20 to 80."""
    low, high = figure.low or 0.0, figure.high
    if high is None:  # as much as low is enough
        high = 2 * low
    if math.isnan(figure.value):
        return 98.0
    return min(max(20.0 + 60.0 * (figure.value - low) / ((high - low) or 1.0), 2.0), 98.0)
