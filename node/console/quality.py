"""Figures of a job beside the ranges of the model card that its network was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfmri_node.node.jobs.job import Job
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.method.modelcard import ModelCard, read_card, shipped_weights

_NAMES = {"acceleration": "acceleration", "n_coils": "coils"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number of a job, and the range of the card; None where the card has none for it."""

    name: str
    value: float
    range: tuple[float, float] | None

    @property
    def is_inside(self) -> bool:
        return self.range is None or self.range[0] <= self.value <= self.range[1]

    @property
    def place(self) -> float:
        """Where the value stands on a scale of 0 to 100 on which the range is 20 to 80."""
        if self.range is None:
            return 0.0
        low, high = self.range
        return min(max(20.0 + 60.0 * (self.value - low) / ((high - low) or 1.0), 2.0), 98.0)


def figures_of(job: Job) -> tuple[list[Figure], str]:
    """The figures of a job, and the name of the card that the ranges are from; "" where it is not at hand."""
    card = _card(job.recipe)
    summary: Mapping[str, Any] = job.summary
    values = {name: summary[name] for name in _NAMES if isinstance(summary.get(name), int | float)}
    recon: Any = job.recipe.get("recon", {})
    if recon.get("n_virtual_coils") and "n_coils" in values:
        values["n_coils"] = min(values["n_coils"], recon["n_virtual_coils"])
    figures = [
        Figure(name=_NAMES[name], value=float(value), range=None if card is None else card.limits[name])
        for name, value in values.items()
    ]
    if isinstance(summary.get("data_residual"), int | float):
        figures.append(Figure(name="residual of the data", value=summary["data_residual"], range=None))
    return figures, "" if card is None else card.name


def _card(recipe: Mapping[str, Any]) -> ModelCard | None:
    """The card of the weights that the job was computed with; None where it is gone, or of other weights."""
    if not recipe.get("weights_sha256"):
        return None
    try:
        card = read_card(Path(recipe["weights"]) if recipe["weights"] else shipped_weights())
    except ReconError:
        return None
    return card if card.sha256 == recipe["weights_sha256"] else None
