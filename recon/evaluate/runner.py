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
from lfmri_node.recon.evaluate.diagnosis_table import table_7
from lfmri_node.recon.evaluate.evidence import Evidence
from lfmri_node.recon.evaluate.extent import Cases, Extent
from lfmri_node.recon.evaluate.figures import make_figures
from lfmri_node.recon.evaluate.learned import Runs, TruthMethod, read_runs, with_shipped
from lfmri_node.recon.evaluate.lesion_tables import lesion_bins, lesion_term_table, table_2
from lfmri_node.recon.evaluate.map_table import map_table
from lfmri_node.recon.evaluate.measured import brain_sources, other_measured_sources
from lfmri_node.recon.evaluate.measured_tables import brain_table, measured_table
from lfmri_node.recon.evaluate.methods import Method
from lfmri_node.recon.evaluate.published import published_sources
from lfmri_node.recon.evaluate.real_lesions import real_lesion_source
from lfmri_node.recon.evaluate.report import write_report
from lfmri_node.recon.evaluate.rows import Row, RowFile
from lfmri_node.recon.evaluate.simulated import DISTURBED, HELD_OUT, UNSEEN, simulated_source
from lfmri_node.recon.evaluate.speed_table import speed_table
from lfmri_node.recon.evaluate.sweep import Bench, CaseSource, Regularisation, run
from lfmri_node.recon.evaluate.table import Table, to_markdown, write_csv
from lfmri_node.recon.evaluate.tables import ABLATIONS, ablation_table, shipped_table, table_1, table_9
from lfmri_node.recon.train.recipes import Recipe, all_recipes

UNSEEN_SHARE = 0.5
"""Slices with the unseen kind, as a share of the slices with trained kinds."""


def evaluate(runs: Path, data: Path, out: Path, extent: Extent, *, show: bool = True) -> None:
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

    Raises
    ------
    LabError
        LF-LAB-020 where ``out`` holds rows of another version, LF-LAB-023 of other slices; LF-LAB-021
        where no run is finished, LF-LAB-024 where those of a comparison differ in their training.
    """
    recipes = tuple(all_recipes().values())
    trained = read_runs(runs, recipes)
    if extent.shipped:
        trained = with_shipped(trained)
        recipes = (*recipes, trained.runs[-2].recipe)
    if not trained.methods():
        raise LabError("LF-LAB-021", "no reconstruction network is finished", "train a recipe first")
    _refuse_unequal([facts.recipe for facts in trained.facts])
    sources = make_sources(data, extent)
    diagnosis = trained.diagnosis()
    bench = Bench(
        sources=tuple(sources),
        learned=lambda source: _methods(trained, source, with_truth=diagnosis is not None),
        diagnosis=lambda source: diagnosis if source.dataset == HELD_OUT else None,
    )
    file = run(bench, out, extent.seed, show=show)
    evidence = Evidence(
        rows=current_rows(file, trained, extent.seed, sources),
        recipes=recipes,
        runs=trained.facts,
        accelerations=extent.accelerations,
        seed=extent.seed,
        n_slices=extent.n_slices,
        command=extent.command,
        commit=commit(),
        machine=machine(),
        regularisation=Regularisation(out / "regularisation.json").found,
    )
    tables = make_tables(evidence)
    write_csv(tables, out / "tables.csv")
    (out / "tables.md").write_text("\n".join(to_markdown(table) for table in tables), encoding="utf-8")
    figures = make_figures(evidence, bench, runs, out)
    write_report(evidence, tables, figures, out / "lab-report.html")


def make_sources(data: Path, extent: Extent) -> list[CaseSource]:
    """The sources of the kinds of cases that are wanted, as far as ``data`` holds them."""
    n, seed = extent.n_slices, extent.seed
    simulated = {
        Cases.HELD_OUT: (HELD_OUT, n),
        Cases.MEASURED_LIKE: (DISTURBED, n),
        Cases.UNSEEN_KIND: (UNSEEN, round(UNSEEN_SHARE * n)),
    }
    sources: list[CaseSource] = []
    if extent.wants(Cases.MEASURED_BRAIN):
        sources += brain_sources(data, extent.n_masks)
    if extent.wants(Cases.MEASURED_OTHER):
        sources += other_measured_sources(data)
    for acceleration in extent.accelerations:
        if extent.wants(Cases.REAL_LESIONS):
            sources.append(real_lesion_source(data, extent.n_strokes, seed, acceleration))
        for dataset, size in (size for cases, size in simulated.items() if extent.wants(cases)):
            sources.append(simulated_source(data, size, seed, acceleration, dataset))
    if extent.wants(Cases.PUBLISHED):
        sources += published_sources(data, n, extent.accelerations)
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


def _methods(trained: Runs, source: CaseSource, *, with_truth: bool) -> list[Method]:
    """Every network; those with lines of their own where matrix and acceleration are theirs."""
    simulated = source.setting.startswith("simulated")
    truth: list[Method] = [TruthMethod()] if with_truth and source.dataset == HELD_OUT else []
    learned = trained.methods(source.acceleration if simulated else None, outlined=source.outlined)
    return [*truth, *(method for method in learned if method.has_map or not source.maps_only)]


def current_rows(file: RowFile, trained: Runs, seed: int, sources: Sequence[CaseSource]) -> tuple[Row, ...]:
    """Rows of the present weights, seed and slices: a file may hold those of earlier evaluations too."""
    weights = {facts.weights for facts in trained.facts} | {""}
    wanted = {(s.dataset, s.acceleration, sample) for s in sources for sample in s.samples}
    return tuple(
        row
        for row in file
        if row.weights in weights
        and row.seed == seed
        and (row.dataset, row.acceleration, row.sample) in wanted
    )


def make_tables(evidence: Evidence) -> list[Table]:
    """All tables in the order of the report."""
    return [
        brain_table(evidence),
        *table_1(evidence),
        *table_2(evidence),
        *lesion_bins(evidence),
        *lesion_term_table(evidence),
        shipped_table(evidence),
        map_table(evidence),
        measured_table(evidence),
        *(ablation_table(evidence, number) for number in ABLATIONS),
        table_7(evidence),
        table_9(evidence),
        speed_table(evidence),
    ]


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
