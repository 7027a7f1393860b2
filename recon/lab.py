"""``lfmri-lab``: train, evaluate and export, for those who have the data. The node never imports this."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from lfmri_node.recon.errors import ReconError

EXIT_ERROR = 1

app = typer.Typer(
    name="lfmri-lab",
    help="The laboratory of LF-MRI: train, evaluate, report, export. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Source(StrEnum):
    """Where the scans of a training come from; see `recipes.Recipe.source`."""

    SIMULATED = "simulated"
    FASTMRI = "fastmri"
    SKM_TEA = "skm-tea"


Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False)]
DataOption = Annotated[
    Path, typer.Option("--data", exists=True, file_okay=False, help="Folder of the magnitude images.")
]
RunsOption = Annotated[Path, typer.Option("--runs", file_okay=False, help="Folder of all runs.")]
SeedOption = Annotated[int, typer.Option(help="Seed of all that is drawn.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of a process on the CPU.")]


@app.command("check-data")
def check_data_command(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable answer on stdout.")] = False,
) -> None:
    """What of fastMRI, fastMRI+ and SKM-TEA a folder holds, what is missing, and the licences."""
    from lfmri_node.recon.train.check_data import check_data

    report = check_data(folder)
    typer.echo(report.to_json() if as_json else report.text())


@app.command("stand-in")
def stand_in(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Folder to write.")], seed: SeedOption = 0
) -> None:
    """Phantoms in the layout of the data: to try the laboratory without them."""
    from lfmri_node.recon.train.stand_in import write_stand_in

    write_stand_in(folder, seed)
    typer.echo(f"phantoms: {folder}")


@app.command()
def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable answer on stdout.")] = False,
) -> None:
    """All recipes: one for each published experiment and fold, and the shipped weights."""
    from lfmri_node.recon.train.recipes import all_recipes

    known = all_recipes()
    if as_json:
        typer.echo(json.dumps({name: recipe.to_json() for name, recipe in known.items()}, indent=1))
        return
    for name, recipe in known.items():
        tables = ", ".join(map(str, recipe.tables)) or "-"
        typer.echo(f"{name:26} {recipe.title:42} {recipe.steps:6} steps  tables {tables}")


@app.command()
def train(
    names: Annotated[list[str], typer.Argument(help="Recipes, as `lfmri-lab recipes` names them.")],
    data: DataOption,
    runs: RunsOption = Path("runs/lab"),
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on the CPU.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare batches.")] = 0,
    threads: ThreadsOption = 2,
    max_steps: Annotated[
        int | None, typer.Option(min=4, help="Stop there: earlier for a try, or later.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=3, help="Samples of the pool: fewer for a try, or more.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = None,
    source: Annotated[
        list[Source] | None,
        typer.Option(
            help="Scans: simulated, or measured ones below --data; several by turns, repeated for share."
        ),
    ] = None,
    vgg: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Weights of VGG-16, for a perceptual loss."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=1, help="Other draws: the run's name gets -s and the seed.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Run or *.safetensors whose D_w the stages start from.")
    ] = None,
) -> None:
    """Train recipes one after the other. A killed training goes on from its last checkpoint."""
    import dataclasses
    import logging

    from lfmri_node.recon.train.recipes import find
    from lfmri_node.recon.train.runs import Machine, limited
    from lfmri_node.recon.train.runs import train as train_one

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    machine = Machine(devices=devices, workers=workers, threads=threads, progress=sys.stderr.isatty())
    for name in names:
        recipe = limited(find(name), max_steps=max_steps, limit=limit)
        if seed is not None:
            recipe = dataclasses.replace(recipe, name=f"{name}-s{seed}", seed=seed)
        recipe = dataclasses.replace(
            recipe,
            precision=precision or recipe.precision,
            start_from=start_from or recipe.start_from,
            source="+".join(source) if source and recipe.network != "classifier" else recipe.source,
            vgg=str(vgg.resolve()) if vgg and recipe.losses.perceptual > 0 else None,
        )
        typer.echo(f"{recipe.name}: {train_one(recipe, data, runs, machine)}")


@app.command()
def evaluate(
    data: DataOption,
    runs: RunsOption = Path("runs/lab"),
    out: Annotated[Path, typer.Option(help="Folder of tables, figures and report.")] = Path("runs/report"),
    slices: Annotated[int, typer.Option(min=1, help="Simulated slices a fold and acceleration.")] = 48,
    seed: SeedOption = 0,
    acceleration: Annotated[list[float] | None, typer.Option(help="4 and 8 where not given.")] = None,
    fold: Annotated[list[int] | None, typer.Option(help="All where not given.")] = None,
    measured: Annotated[bool, typer.Option(help="Also the measured sets.")] = True,
    threads: ThreadsOption = 2,
) -> None:
    """Every finished run and every classical rival on the same held-out slices: tables and lab-report.html.

    A killed evaluation goes on where it stopped.
    """
    import torch

    from lfmri_node.recon.evaluate.runner import evaluate as evaluate_all
    from lfmri_node.recon.train.data import FOLDS

    torch.set_num_threads(threads)
    evaluate_all(
        runs,
        data,
        out,
        n_slices=slices,
        seed=seed,
        accelerations=tuple(acceleration or (4.0, 8.0)),
        folds=tuple(fold) if fold else tuple(f.index for f in FOLDS),
        measured=measured,
    )
    typer.echo(f"report: {out / 'lab-report.html'}")


@app.command("judge-net-c")
def judge_net_c(
    run: Annotated[str, typer.Argument(help="A finished net-c run.")],
    data: DataOption,
    runs: RunsOption = Path("runs/lab"),
    part: Annotated[Literal["tune", "test"], typer.Option(help="Whose images; choose on tune.")] = "test",
    images: Annotated[int, typer.Option(min=8, help="Images that lesions are inserted into.")] = 160,
    seed: SeedOption = 5,
    threads: ThreadsOption = 2,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Net_c alone: image AUC and pointing game on real strokes and on inserted lesions, offset of the map."""
    import torch

    from lfmri_node.recon.evaluate.net_c import judge, lines
    from lfmri_node.recon.train.runs import load_run
    from lfmri_node.recon.train.split import Part

    torch.set_num_threads(threads)
    judged = judge(load_run(runs / run).network, data, Part(part), images, seed)
    typer.echo(json.dumps(judged, indent=1) if as_json else "\n".join(lines(judged)))


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A finished LF-MRI run.")],
    data: DataOption,
    training: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="JSON: data, licences, steps, commands.")
    ],
    name: Annotated[str, typer.Option(help="Name of the weights.")],
    runs: RunsOption = Path("runs/lab"),
    out: Annotated[Path, typer.Option(help="Folder for weights and card.")] = Path("runs/export"),
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Weights for the node (`recon.weights` in config.toml) with a model card that is measured now."""
    import torch

    from lfmri_node.recon.train.card import export as export_run
    from lfmri_node.recon.train.runs import load_run, training_pool

    torch.set_num_threads(threads)
    finished, facts = load_run(runs / run), json.loads(training.read_text())
    pool = training_pool(finished.recipe, data, runs)
    typer.echo(str(export_run(finished, data, pool, facts, out, name, seed)))


def main() -> None:
    """Console script: an error of the laboratory is one line and exit status 1."""
    try:
        app()
    except ReconError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_ERROR)
