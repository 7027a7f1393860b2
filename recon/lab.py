"""``lfmri-lab``: train, evaluate and export, for those who have the data. The node never imports this."""

from __future__ import annotations

import itertools
import json
import sys
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.evaluate.extent import Cases, Extent

EXIT_ERROR = 1

app = typer.Typer(
    name="lfmri-lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lfmri-lab {version('lfmri-node')}")
        raise typer.Exit


@app.callback()
def _common(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Name and version, and end."),
    ] = False,
) -> None:
    """The laboratory of LF-MRI: train, evaluate, report, export. Research use only."""


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
WeightsOption = Annotated[
    Path, typer.Option(exists=True, dir_okay=False, help="*.safetensors with its card.")
]
RunArgument = Annotated[str, typer.Argument(help="Name of a run: a folder below --runs.")]
OutOption = Annotated[Path, typer.Option(file_okay=False, help="Folder of what is written.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable answer on stdout.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of a process on the CPU.")]


@app.command("check-data")
def check_data_command(
    folder: Folder,
    as_json: JsonOption = False,
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
    out: OutOption = Path("runs/report"),
    slices: Annotated[int, typer.Option(min=1, help="Simulated slices for each acceleration.")] = 48,
    strokes: Annotated[int, typer.Option(min=0, help="Test patients with a stroke.")] = 48,
    masks: Annotated[int, typer.Option(min=1, help="Masks of the measured brain.")] = 10,
    seed: SeedOption = 0,
    acceleration: Annotated[list[float] | None, typer.Option(help="4 and 8 where not given.")] = None,
    only: Annotated[list[Cases] | None, typer.Option(help="Kinds of cases; all where not given.")] = None,
    shipped: Annotated[
        bool,
        typer.Option("--shipped", help="Also the node's weights, as they are and with the lesion term off."),
    ] = False,
    threads: ThreadsOption = 2,
) -> None:
    """Every finished run and every classical rival on the same test slices: tables and lab-report.html.

    A killed evaluation goes on where it stopped.
    """
    import torch

    from lfmri_node.recon.evaluate.runner import evaluate as evaluate_all

    torch.set_num_threads(threads)
    extent = Extent(
        n_slices=slices,
        n_strokes=strokes,
        n_masks=masks,
        seed=seed,
        accelerations=tuple(acceleration or (4.0, 8.0)),
        only=tuple(only or ()),
        shipped=shipped,
    )
    evaluate_all(runs, data, out, extent)
    typer.echo(f"report: {out / 'lab-report.html'}")


@app.command()
def curve(
    run: RunArgument,
    data: DataOption,
    runs: RunsOption = Path("runs/lab"),
    out: OutOption = Path("runs/report"),
    slices: Annotated[int, typer.Option(min=1, help="Simulated slices of tuning subjects, each way.")] = 6,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Quality against updates, on simulated scans of tuning subjects beside the measured brain."""
    import torch

    from lfmri_node.recon.evaluate.curve import make_curve

    torch.set_num_threads(threads)
    typer.echo(f"curve: {make_curve(runs / run, data, out, slices, seed)}")


@app.command("scan-mu")
def scan_mu_command(
    run: RunArgument,
    data: DataOption,
    runs: RunsOption = Path("runs/lab"),
    slices: Annotated[
        int, typer.Option(min=1, help="Scans of training subjects for each acceleration.")
    ] = 24,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """All mu of a network times a factor, on scans of training subjects: says whether one helps. JSON."""
    import torch

    from lfmri_node.recon.evaluate.scan_mu import scan_mu
    from lfmri_node.recon.train.runs import load_run

    torch.set_num_threads(threads)
    typer.echo(json.dumps(scan_mu(load_run(runs / run), data, slices, seed), indent=1))


@app.command("fallback-study")
def fallback_study(
    data: DataOption,
    scans: Annotated[int, typer.Option(min=1, help="Simulated slices of patients for tuning.")] = 48,
    masks: Annotated[int, typer.Option(min=0, help="Seeds of masks on the measured brain.")] = 2,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Weight of the fallback's wavelets, and whether left-out samples choose wavelets or CG-SENSE rightly."""
    import torch

    from lfmri_node.recon.evaluate import fallback_study as study

    torch.set_num_threads(threads)
    found = []
    scans_of_all = itertools.chain(
        study.simulated(data, scans, seed), study.measured(data, range(200, 200 + masks))
    )
    for scan in scans_of_all:
        found.append(study.verdicts(scan))
        typer.echo(f"{len(found)}: {found[-1]}", err=True)
    typer.echo(study.report(found))


@app.command("judge-net-c")
def judge_net_c(
    run: RunArgument,
    data: DataOption,
    runs: RunsOption = Path("runs/lab"),
    part: Annotated[Literal["tune", "test"], typer.Option(help="Whose images; choose on tune.")] = "test",
    images: Annotated[int, typer.Option(min=8, help="Images that lesions are inserted into.")] = 160,
    seed: SeedOption = 5,
    threads: ThreadsOption = 2,
    as_json: JsonOption = False,
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


@app.command()
def export(
    run: RunArgument,
    data: DataOption,
    training: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="JSON: data, licences, steps, commands.")
    ],
    name: Annotated[str, typer.Option(help="Name of the weights.")],
    net_c: Annotated[
        str | None,
        typer.Option("--net-c", help="Run of Net_c in the place of the one that the run trained with."),
    ] = None,
    runs: RunsOption = Path("runs/lab"),
    out: OutOption = Path("runs/export"),
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Weights for the node (`recon.weights` in config.toml) with a model card that is measured now."""
    import torch

    from lfmri_node.recon.train.card import export as export_run
    from lfmri_node.recon.train.runs import load_run

    torch.set_num_threads(threads)
    finished, facts = load_run(runs / run), json.loads(training.read_text())
    other = None if net_c is None else load_run(runs / net_c)
    typer.echo(str(export_run(finished, data, facts, out, name, seed, net_c=other)))


@app.command("measure-gate")
def measure_gate_command(
    weights: WeightsOption,
    data: DataOption,
    slices: Annotated[int, typer.Option(min=8, help="Slices behind the ranges.")] = 150,
    battery: Annotated[int, typer.Option(min=4, help="Slices of each kind of the verdict table.")] = 40,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Ranges, limits and verdict table of weights, measured now and written into their card."""
    import torch

    from lfmri_node.recon.train.card import Sizes, measure_gate

    torch.set_num_threads(threads)
    typer.echo(str(measure_gate(weights, data, seed, Sizes(domain=slices, table=battery))))


@app.command("gate-study")
def gate_study_command(
    weights: WeightsOption,
    data: DataOption,
    out: OutOption,
    slices: Annotated[int, typer.Option(min=4, help="Simulated scans of held-out subjects.")] = 100,
    masks: Annotated[int, typer.Option(min=1, help="Masks of each kind on the measured brain.")] = 3,
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Decisions of the gate against the truth, on simulated and on measured scans."""
    import torch

    from lfmri_node.recon.evaluate.gate_study import Counts, study

    torch.set_num_threads(threads)
    typer.echo(str(study(weights, data, out, Counts(simulated=slices, masks=masks), seed)))


@app.command("demo-study")
def demo_study_command(
    weights: WeightsOption,
    phantoms: Annotated[int, typer.Option(min=1, help="Seeds from 0 on.")] = 30,
    threads: ThreadsOption = 2,
) -> None:
    """How often weights mark the lesions of the demonstration, over many phantoms; into their card."""
    import torch

    from lfmri_node.recon.evaluate.demo_study import add_to_card, shown, summary
    from lfmri_node.recon.method.weights import load_model

    torch.set_num_threads(threads)
    model, seen = load_model(weights), []
    for seed in range(phantoms):
        seen.append(shown(seed, model))
        typer.echo(str(seen[-1]), err=True)
    add_to_card(weights.with_suffix(".json"), summary(seen))
    typer.echo(json.dumps({k: v for k, v in summary(seen).items() if k != "each"}))


def main() -> None:
    """Console script: an error of the laboratory is one line and exit status 1."""
    try:
        app()
    except ReconError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_ERROR)
