"""Everything that the tables, the figures and the report are made of, and the questions put to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lfmri_node.recon.evaluate.aggregate import counted
from lfmri_node.recon.evaluate.methods import CLASSICAL
from lfmri_node.recon.evaluate.published import FASTMRI, SKM_TEA
from lfmri_node.recon.evaluate.real_lesions import REAL
from lfmri_node.recon.evaluate.rows import Row
from lfmri_node.recon.evaluate.simulated import HELD_OUT
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.types import LesionWeighting

SIMULATED = (HELD_OUT, REAL)
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
    accelerations, folds, seed, n_slices, command, commit, machine
        How the evaluation was made.
    regularisation
        Setting -> method -> lambda that was searched.
    """

    rows: tuple[Row, ...]
    recipes: tuple[Recipe, ...]
    runs: tuple[RunFacts, ...]
    accelerations: tuple[float, ...]
    folds: tuple[int, ...]
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
        mine = [
            recipe
            for recipe in self.recipes
            if table in recipe.tables and recipe.fold in self.folds and recipe.network != "classifier"
        ]
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
        """Row label of LF-MRI."""
        return self.title_of(LesionWeighting.FOCUSED) or "LF-MRI"

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

    def folds_of(self, rows: Iterable[Row]) -> str:
        """The folds that the rows come from, ``0, 1, 2`` for example."""
        return ", ".join(str(fold) for fold in sorted({row.fold for row in rows}))

    def origin(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Notes for under a table: counts, what is inserted and what is real, seed and commit."""
        chosen = list(rows)
        subjects, slices, boxes = counted(chosen)
        drawn = counted(row for row in chosen if row.dataset == REAL)
        published = counted(row for row in chosen if row.dataset in (FASTMRI, SKM_TEA))
        n_inserted = counted(row for row in chosen if row.lesion_kind not in ("real", ""))[1]
        text = (
            f"Subjects held out: {subjects}; slices: {slices}; boxes: {boxes}; folds "
            f"{self.folds_of(chosen)}. Lesions inserted by the project's simulator in {n_inserted} slices; "
            f"real lesions in {drawn[1]} slices, with {drawn[2]} boxes drawn by eye, not by a radiologist."
        )
        dropped = {(r.dataset, r.fold, r.acceleration, r.sample): r.boxes_dropped for r in chosen}
        if n_dropped := sum(dropped.values()):
            text += f" {n_dropped} boxes that hold no pixel of their image are left out."
        if published[1]:
            text += f" {published[1]} slices with {published[2]} boxes of the published annotations."
        return (
            text,
            f"Seed {self.seed}, commit {self.commit}.",
        )
