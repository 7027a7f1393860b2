"""Arguments and options that commands of ``lfmri-lab`` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
TrainingOption = Annotated[
    Path, typer.Option(exists=True, dir_okay=False, help="JSON: data, licences, steps, commands.")
]
NameOption = Annotated[str, typer.Option(help="Name of the weights.")]
