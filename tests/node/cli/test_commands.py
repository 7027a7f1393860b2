"""Every command: machine-readable where its output is data, and examples that cannot rot."""

import shlex
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner

from lfmri_node.node.cli.examples import EXAMPLES
from lfmri_node.node.cli.main import app

COMMANDS = typer.main.get_command(app).commands
WITHOUT_JSON = {
    "serve": "what it says is its log",
    "worker": "what it says is its log",
    "console": "it serves pages until Ctrl-C",
    "viewer": "it serves pages until Ctrl-C",
    "completion": "its output is a script",
}


def options(command: str) -> set[str]:
    return {text for param in COMMANDS[command].params for text in param.opts}


def test_every_command_whose_output_is_data_has_json() -> None:
    assert {name for name in COMMANDS if "--json" not in options(name)} == set(WITHOUT_JSON)


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == {"", *COMMANDS}
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_shows_the_examples_whole_at_80_columns(command: str) -> None:
    text = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80", "TERM": "dumb"}).output
    lines = [line.strip() for line in text.splitlines()]
    assert all(example in lines for example in EXAMPLES[command])
    assert all(cell_len(line) <= 80 for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loses_no_word(command: str) -> None:
    """What stands in brackets is markup for rich, and vanishes."""
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    helps = [COMMANDS[command].help, *(param.help or "" for param in COMMANDS[command].params)]
    assert {word for said in helps for word in said.split()} <= set(text.split())


@pytest.mark.parametrize("example", [text for texts in EXAMPLES.values() for text in texts])
def test_every_example_is_understood(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scan.h5", "brain.npz", "brain.h5", "brain.safetensors"):
        (tmp_path / name).touch()
    for name in ("folder", "dicom-folder", "demo-out/node/data/objects"):
        (tmp_path / name).mkdir(parents=True)
    words = shlex.split(example.removeprefix("source <(").removesuffix(")"))
    program, command, *arguments = words
    assert program == "lfmri-node"
    if command != "COMMAND":
        assert COMMANDS[command].make_context(command, arguments).params
