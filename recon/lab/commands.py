"""``lfmri-lab``: train, evaluate and export, for those who have the data. The node never imports this."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.lab import studies, training, weights

EXIT_ERROR = 1

_COMMANDS: dict[str, Callable[..., None]] = {
    "check-data": training.check_data_command,
    "stand-in": training.stand_in,
    "recipes": training.recipes,
    "train": training.train,
    "evaluate": studies.evaluate,
    "curve": studies.curve,
    "scan-mu": studies.scan_mu_command,
    "fallback-study": studies.fallback_study,
    "judge-net-c": studies.judge_net_c,
    "unpack": training.unpack,
    "export": weights.export,
    "exchange-net-c": weights.exchange_net_c_command,
    "measure-gate": weights.measure_gate_command,
    "gate-study": studies.gate_study_command,
    "demo-study": weights.demo_study_command,
}
"""In the order of the help."""

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


for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Console script: an error of the laboratory is one line and exit status 1."""
    try:
        app()
    except ReconError as error:
        typer.echo(str(error), err=True)
        sys.exit(EXIT_ERROR)
