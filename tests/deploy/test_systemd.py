"""The units: systemd itself reads them, finds them confined, and their commands are ours."""

import re
import shlex
import sys
from pathlib import Path
from subprocess import run

import pytest
from typer.main import get_command

from lfmri_node.node.cli.main import app

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
INSTALLED = "/opt/lfmri-node/.venv/bin/lfmri-node"
MOST_EXPOSED = 18
"""Tenths of systemd's measure, which ends at 100."""


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request, tmp_path):
    """A unit whose program is the one under test."""
    path = tmp_path / request.param.name
    program = str(Path(sys.executable).with_name("lfmri-node"))
    path.write_text(request.param.read_text(encoding="utf-8").replace(INSTALLED, program))
    return path


def test_systemd_takes_the_unit_without_a_word(program, unit):
    name = unit.name.replace("@", "@w1")
    if name != unit.name:
        unit = unit.rename(unit.with_name(name))
    done = run([program("systemd-analyze"), "verify", unit], capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if unit.name in line]  # not of the machine's own units
    assert (done.returncode, said) == (0, [])


def test_systemd_finds_the_unit_confined(program, unit):
    done = run(
        [program("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert float(re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)[0]) * 10 <= MOST_EXPOSED


def commands(path: Path) -> list[list[str]]:
    lines = re.findall(r"^Exec\w+=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_command_and_option_of_the_units_is_ours(path):
    known = get_command(app).commands
    assert commands(path)
    for program_, name, *words in commands(path):
        assert program_ == INSTALLED
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_no_unit_runs_as_root(path):
    users = re.findall(r"^(?:User|Group)=(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert users == ["lfmri", "lfmri"]


def confinement(name):
    """What a unit takes away from its service."""
    lines = (
        (DEPLOY / name).read_text(encoding="utf-8").partition("NoNewPrivileges")[2].partition("[Install]")[0]
    )
    return [line for line in lines.splitlines() if line and not line.startswith("#")]


def test_a_worker_is_confined_as_the_node_is():
    """Both start the process that parses foreign bytes."""
    assert confinement("lfmri-node-worker@.service") == confinement("lfmri-node.service")
