"""Commands of ``lfmri-lab`` that make weights for the node, and their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lfmri_node.recon.lab.options import (
    DataOption,
    NameOption,
    OutOption,
    RunArgument,
    RunsOption,
    SeedOption,
    ThreadsOption,
    TrainingOption,
    WeightsOption,
)


def export(
    run: RunArgument,
    data: DataOption,
    training: TrainingOption,
    name: NameOption,
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


def exchange_net_c_command(
    net_c: Annotated[str, typer.Argument(help="Run of Net_c: a folder below --runs.")],
    data: DataOption,
    weights: WeightsOption,
    training: TrainingOption,
    name: NameOption,
    runs: RunsOption = Path("runs/lab"),
    out: OutOption = Path("runs/export"),
    seed: SeedOption = 0,
    threads: ThreadsOption = 2,
) -> None:
    """Weights with another Net_c: what their card says of lesions is measured now, the gate stays."""
    import torch

    from lfmri_node.recon.train.card import exchange_net_c
    from lfmri_node.recon.train.runs import load_run

    torch.set_num_threads(threads)
    facts = json.loads(training.read_text())
    typer.echo(str(exchange_net_c(weights, load_run(runs / net_c), data, facts, out, name, seed)))


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
