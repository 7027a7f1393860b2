"""Commands of ``lfmri-lab`` that measure."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from lfmri_node.recon.evaluate.extent import Cases, Extent
from lfmri_node.recon.lab.options import (
    DataOption,
    JsonOption,
    OutOption,
    RunArgument,
    RunsOption,
    SeedOption,
    ThreadsOption,
    WeightsOption,
)


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
