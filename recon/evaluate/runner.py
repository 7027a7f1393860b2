"""The evaluation from end to end: rows, tables, figures, report."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.figures import make_figures
from lfmri_node.recon.evaluate.learned import Runs, TruthMethod, read_runs
from lfmri_node.recon.evaluate.measured import measured_sources
from lfmri_node.recon.evaluate.methods import Method
from lfmri_node.recon.evaluate.more_tables import map_table, measured_table, speed_table, table_7, table_9
from lfmri_node.recon.evaluate.published import published_sources
from lfmri_node.recon.evaluate.real_lesions import real_lesion_source
from lfmri_node.recon.evaluate.report import write_report
from lfmri_node.recon.evaluate.rows import Row, RowFile
from lfmri_node.recon.evaluate.scoring import Diagnosis
from lfmri_node.recon.evaluate.simulated import HELD_OUT, held_out_source
from lfmri_node.recon.evaluate.sweep import Bench, CaseSource, Regularisation, run
from lfmri_node.recon.evaluate.table import Table, to_markdown, write_csv
from lfmri_node.recon.evaluate.tables import (
    ABLATIONS,
    ablation_table,
    lesion_term_table,
    shipped_table,
    table_1,
    table_2,
)
from lfmri_node.recon.train.data import FOLDS, REAL_LESIONS
from lfmri_node.recon.train.recipes import Recipe, all_recipes

UNSEEN_SHARE = 0.5
"""Slices with the unseen kind, as a share of the slices with trained kinds."""


def evaluate(
    runs: Path,
    data: Path,
    out: Path,
    *,
    n_slices: int,
    seed: int,
    accelerations: Sequence[float] = (4.0, 8.0),
    folds: Sequence[int] = (0, 1, 2),
    measured: bool = True,
    show: bool = True,
) -> None:
    """Run every method on the same slices, masks and noise; write rows, tables, figures and the report.

    Parameters
    ----------
    runs
        Folder of the training runs; the finished ones are evaluated.
    data
        Folder of the magnitude images, coil maps and measured sets.
    out
        Gets ``slices.csv`` (one row a method and slice, kept as they come: a killed evaluation goes on
        where it stopped), ``slices.json``, ``regularisation.json``, ``tables.csv``, ``tables.md``,
        ``figures/`` and ``lab-report.html``.
    n_slices
        Held-out slices for each fold and acceleration.
    measured
        Whether the measured sets in ``data`` are run as well.

    Raises
    ------
    LabError
        LF-LAB-020 where ``out`` holds rows of another version, LF-LAB-023 of other slices; LF-LAB-021
        where no run is finished.
    """
    recipes = tuple(all_recipes().values())
    trained = read_runs(runs, recipes)
    if not any(trained.methods(fold) for fold in folds):
        raise LabError(
            "LF-LAB-021",
            "no reconstruction network of the folds asked for is finished",
            "train a recipe first, or name its fold",
        )
    _refuse_unequal([facts.recipe for facts in trained.facts if facts.recipe.fold in folds])
    sources = make_sources(data, n_slices, seed, tuple(accelerations), tuple(folds), measured=measured)
    bench = Bench(
        sources=tuple(sources),
        learned=lambda source: _methods(trained, source),
        diagnosis=lambda source: _diagnosis(trained, source),
    )
    file = run(bench, out, seed, show=show)
    evidence = Evidence(
        rows=current_rows(file, trained, seed, sources),
        recipes=recipes,
        runs=tuple(facts for facts in trained.facts if facts.recipe.fold in folds),
        accelerations=tuple(accelerations),
        folds=tuple(folds),
        seed=seed,
        n_slices=n_slices,
        command=command_line(n_slices, seed, accelerations, folds, measured=measured),
        commit=commit(),
        machine=machine(),
        regularisation=Regularisation(out / "regularisation.json").found,
    )
    tables = make_tables(evidence)
    write_csv(tables, out / "tables.csv")
    (out / "tables.md").write_text("\n".join(to_markdown(table) for table in tables), encoding="utf-8")
    figures = make_figures(evidence, bench, runs, out)
    write_report(evidence, tables, figures, out / "lab-report.html")


def make_sources(
    data: Path,
    n_slices: int,
    seed: int,
    accelerations: tuple[float, ...],
    folds: tuple[int, ...],
    *,
    measured: bool,
) -> list[CaseSource]:
    """Held-out slices, the unseen kind and real lesions of every fold and acceleration; measured sets.

    Published data sets are run with the networks of the first fold; `train --source` reads other splits.
    """
    sources = []
    for index in folds:
        fold = FOLDS[index]
        for acceleration in accelerations:
            sources.append(held_out_source(data, fold, n_slices, seed, acceleration))
            n_unseen = round(UNSEEN_SHARE * n_slices)
            sources.append(held_out_source(data, fold, n_unseen, seed, acceleration, unseen=True))
            if set(fold.held_out) & set(REAL_LESIONS):
                sources.append(real_lesion_source(data, fold, seed, acceleration))
        if measured:
            sources += measured_sources(data, accelerations, fold)
    sources += published_sources(data, n_slices, accelerations, folds[0])
    return [source for source in sources if source.samples]


def _refuse_unequal(recipes: Sequence[Recipe]) -> None:
    """Networks are compared at equal data and equal updates, or not at all."""
    compared = [recipe for recipe in recipes if 1 in recipe.tables]
    for field in ("source", "n_samples", "steps", "batch"):
        found = {getattr(recipe, field): recipe.name for recipe in compared}
        if len(found) > 1:
            told = ", ".join(f"{name}: {value}" for value, name in found.items())
            raise LabError(
                "LF-LAB-024",
                f"the runs differ in {field} ({told})",
                "train those of a comparison alike, in one folder",
            )


def _methods(trained: Runs, source: CaseSource) -> list[Method]:
    """Every network of the fold; those with lines of their own where matrix and acceleration are theirs."""
    own = source.dataset == HELD_OUT
    simulated = source.setting.startswith("simulated")
    truth: list[Method] = [TruthMethod()] if own and trained.diagnosis(source.fold) is not None else []
    learned = trained.methods(source.fold, source.acceleration if simulated else None)
    return [*truth, *(method for method in learned if method.has_map or not source.maps_only)]


def _diagnosis(trained: Runs, source: CaseSource) -> Diagnosis | None:
    if source.dataset != HELD_OUT:
        return None
    return trained.diagnosis(source.fold)


def current_rows(file: RowFile, trained: Runs, seed: int, sources: Sequence[CaseSource]) -> tuple[Row, ...]:
    """Rows of the present weights, seed and slices: a file may hold those of earlier evaluations too."""
    weights = {facts.weights for facts in trained.facts} | {""}
    wanted = {(s.dataset, s.fold, s.acceleration, sample) for s in sources for sample in s.samples}
    return tuple(
        row
        for row in file
        if row.weights in weights
        and row.seed == seed
        and (row.dataset, row.fold, row.acceleration, row.sample) in wanted
    )


def make_tables(evidence: Evidence) -> list[Table]:
    """All tables in the order of the report."""
    return [
        *table_1(evidence),
        *table_2(evidence),
        lesion_term_table(evidence),
        shipped_table(evidence),
        map_table(evidence),
        measured_table(evidence),
        *(ablation_table(evidence, number) for number in ABLATIONS),
        table_7(evidence),
        table_9(evidence),
        speed_table(evidence),
    ]


def command_line(
    n_slices: int, seed: int, accelerations: Sequence[float], folds: Sequence[int], *, measured: bool
) -> str:
    """The command that makes the same evaluation, without folders."""
    parts = ["lfmri-lab evaluate", f"--slices {n_slices}", f"--seed {seed}"]
    parts += [f"--acceleration {acceleration:g}" for acceleration in accelerations]
    parts += [f"--fold {fold}" for fold in folds]
    return " ".join([*parts, "--measured" if measured else "--no-measured"])


def commit() -> str:
    """Short hash of the sources where they lie in a git repository, with the version of the package."""
    package = f"lfmri-node {version('lfmri-node')}"
    here = Path(__file__).resolve().parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=here,
            capture_output=True,
            text=True,
        )
    except OSError:
        return package
    return f"{told.stdout.strip()} ({package})" if told.returncode == 0 else package


def machine() -> str:
    """Processor, cores, accelerator and the versions that decide the numbers."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {accelerator}; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
