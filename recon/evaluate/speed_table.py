"""The speed of every training, and where its time went."""

from __future__ import annotations

import math

from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.table import (
    Cell,
    Table,
    TableRow,
)


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
