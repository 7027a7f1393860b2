"""Commands of ``lfmri-lab`` about data and trainings."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lfmri_node.recon.lab.options import (
    DataOption,
    Folder,
    JsonOption,
    RunsOption,
    SeedOption,
    ThreadsOption,
)


class Source(StrEnum):
    """Where the scans of a training come from; see `recipes.Recipe.source`."""

    SIMULATED = "simulated"
    FASTMRI = "fastmri"
    SKM_TEA = "skm-tea"


def check_data_command(
    folder: Folder,
    as_json: JsonOption = False,
) -> None:
    """What of fastMRI, fastMRI+ and SKM-TEA a folder holds, what is missing, and the licences."""
    from lfmri_node.recon.train.check_data import check_data

    report = check_data(folder)
    typer.echo(report.to_json() if as_json else report.text())


def stand_in(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Folder to write.")], seed: SeedOption = 0
) -> None:
    """Phantoms in the layout of the data: to try the laboratory without them."""
    from lfmri_node.recon.train.stand_in import write_stand_in

    write_stand_in(folder, seed)
    typer.echo(f"phantoms: {folder}")


def recipes(
    as_json: JsonOption = False,
) -> None:
    """All recipes: one for each published experiment, and the shipped weights."""
    from lfmri_node.recon.train.recipes import all_recipes

    known = all_recipes()
    if as_json:
        typer.echo(json.dumps({name: recipe.to_json() for name, recipe in known.items()}, indent=1))
        return
    for name, recipe in known.items():
        tables = ", ".join(map(str, recipe.tables)) or "-"
        typer.echo(f"{name:26} {recipe.title:42} {recipe.steps:6} steps  tables {tables}")


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


def unpack(
    runs: RunsOption = Path("runs/lab"),
    weights: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Weights; the shipped ones where not given."),
    ] = None,
) -> None:
    """The weights of the node as the runs that they were made of, to train on from them."""
    from lfmri_node.recon.train.unpack import unpack as unpack_weights

    for folder in unpack_weights(weights, runs):
        typer.echo(str(folder))
