"""Everything that the tables, the figures and the report are made of, and the questions put to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lfmri_node.recon.evaluate.aggregate import PSNR, counted, runs_of, spread
from lfmri_node.recon.evaluate.methods import CLASSICAL
from lfmri_node.recon.evaluate.published import FASTMRI, SKM_TEA
from lfmri_node.recon.evaluate.real_lesions import REAL
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import DISTURBED, HELD_OUT
from lfmri_node.recon.method import modelcard
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.types import LesionWeighting

SIMULATED = (HELD_OUT, DISTURBED, REAL)
NO_TRAINING = "-"
SHIPPED = "shipped"
"""Name of the recipe of the weights for the node."""
LEARNED_RIVALS = ("u-net", "ista-net+", "modl", "e2e-varnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A finished run: its recipe, first digits of its weights' SHA-256, size, and where its time went.

    ``n_trained`` are the parameters that learnt: Net_c may be frozen. ``wait_s`` are the seconds, of all
    ``seconds``, that the training waited for data.
    """

    recipe: Recipe
    weights: str
    n_parameters: int
    n_trained: int
    seconds: float
    wait_s: float

    @property
    def samples_a_second(self) -> float:
        """Of the steps alone: the first training of a folder also waits for its samples to be simulated."""
        return self.recipe.steps * self.recipe.batch / max(self.seconds - self.wait_s, 1e-9)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Rows of the current weights, finished runs, and every recipe there is.

    Parameters
    ----------
    recipes
        All recipes in their order, run or not: the tables say which were not run.
    accelerations, seed, n_slices, command, commit, machine
        How the evaluation was made.
    regularisation
        Setting -> method -> lambda that was searched.
    """

    rows: tuple[Row, ...]
    recipes: tuple[Recipe, ...]
    runs: tuple[RunFacts, ...]
    accelerations: tuple[float, ...]
    seed: int
    n_slices: int
    command: str
    commit: str
    machine: str
    regularisation: dict[str, dict[str, float]] = field(default_factory=dict)

    @cached_property
    def _by_method(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.method, []).append(row)
        return found

    def of(
        self,
        method: str,
        datasets: Sequence[str] = SIMULATED,
        acceleration: float | None = None,
        where: Callable[[Row], bool] | None = None,
    ) -> list[Row]:
        """Rows of a method in the data sets, at one acceleration where given, that satisfy ``where``."""
        return [
            row
            for row in self._by_method.get(method, [])
            if row.dataset in datasets
            and (acceleration is None or row.acceleration == acceleration)
            and (where is None or where(row))
        ]

    def titles(self, table: int, *, classical: bool = False) -> list[str]:
        """Row labels of a table of the paper: the classical methods first, then recipes in their order."""
        mine = [r for r in self.recipes if table in r.tables and r.network != "classifier"]
        learned = list(dict.fromkeys(recipe.title for recipe in mine))
        return [*CLASSICAL, *learned] if classical else learned

    def was_run(self, title: str) -> bool:
        """Whether any row of the method exists."""
        return title in self._by_method

    def title_of(self, lesion: LesionWeighting) -> str | None:
        """Row label of LF-MRI with this lesion term in table 1; None where there is no such recipe."""
        for recipe in self.recipes:
            if recipe.network == "lf-mri" and recipe.lesion is lesion and 1 in recipe.tables:
                return recipe.title
        return None

    @property
    def ours(self) -> str:
        """Row label of LF-MRI; where it was not run, of the weights of the node with the lesion term off."""
        trained = self.title_of(LesionWeighting.FOCUSED) or "LF-MRI"
        found = [r.title for r in self.recipes if r.name == modelcard.SHIPPED]
        return found[0] if found and not self.was_run(trained) else trained

    @property
    def with_map(self) -> str:
        """Row label of LF-MRI with the lesion term; where it was not run, of the weights of the node."""
        trained = self.title_of(LesionWeighting.FOCUSED) or "LF-MRI"
        return trained if self.was_run(trained) else next(iter(self.shipped()), trained)

    def terms(self) -> list[str]:
        """Row labels of LF-MRI with the lesion term off, uniform and focused, as they were or will be run.

        Where LF-MRI was not trained for the comparison the weights of the node stand in its place: their G_u
        was trained with D_w frozen, so that "off" is what their D_w alone does.
        """
        ways = (LesionWeighting.OFF, LesionWeighting.UNIFORM, LesionWeighting.FOCUSED)
        trained = [title for title in map(self.title_of, ways) if title is not None]
        return trained if self.with_map in trained else [self.ours, self.with_map]

    def rivals(self) -> list[str]:
        """Row labels of the learned rivals of other groups, run or not."""
        found = [r.title for r in self.recipes if r.network in LEARNED_RIVALS and 1 in r.tables]
        return list(dict.fromkeys(found))

    def shipped(self) -> list[str]:
        """Row label of the weights of the node where they were evaluated."""
        return [r.title for r in self.recipes if r.name == SHIPPED and self.was_run(r.title)]

    def parameters(self, title: str) -> int | None:
        """Number of parameters of the runs of a row; None where there is none."""
        sizes = [run.n_parameters for run in self.runs if run.recipe.title == title]
        return max(sizes) if sizes else None

    def minutes(self, title: str) -> float | None:
        """Minutes of training behind a row, mean over its seeds; None where nothing was trained."""
        found = [run.seconds / 60 for run in self.runs if run.recipe.title == title]
        return sum(found) / len(found) if found else None

    def trainings(self, rows: Sequence[Row]) -> str:
        """How many trainings are behind the rows of a method, and the spread of their PSNR over seeds."""
        between = spread(rows, PSNR)
        n = len(runs_of(rows))
        return f"{n or NO_TRAINING}" if between is None else f"{n}, seeds ± {between:.2f} dB"

    def origin(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Notes for under a table: counts, what is inserted and what is real, seed and commit."""
        chosen = list(rows)
        subjects, slices, boxes = counted(chosen)
        real = counted(row for row in chosen if row.dataset == REAL and row.lesion_kind == "real")
        published = counted(row for row in chosen if row.dataset in (FASTMRI, SKM_TEA))
        n_inserted = counted(row for row in chosen if row.lesion_kind not in ("real", ""))[1]
        text = (
            f"Test subjects: {subjects}; slices: {slices}; boxes: {boxes}. Lesions inserted by the project's "
            f"simulator in {n_inserted} slices; real lesions in {real[1]} slices of {real[0]} patients, with "
            f"{real[2]} boxes: around outlines of the source, or, of three patients, drawn by eye."
        )
        dropped = {(r.dataset, r.acceleration, r.sample): r.boxes_dropped for r in chosen}
        if n_dropped := sum(dropped.values()):
            text += f" {n_dropped} boxes that hold no pixel of their image are left out."
        if published[1]:
            text += f" {published[1]} slices with {published[2]} boxes of the published annotations."
        return (
            text,
            f"Seed {self.seed}, commit {self.commit}.",
        )
