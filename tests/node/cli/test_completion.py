"""What bash offers at the tab key, asked of a real bash."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lfmri_node.node.cli.main import app

PROGRAM = Path(sys.executable).with_name("lfmri-node")
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture(scope="module")
def script() -> str:
    return CliRunner().invoke(app, ["completion", "bash"]).stdout


def offered(script: str, *words: str, folder: Path | None = None) -> set[str]:
    """What the function that ``complete`` names puts into COMPREPLY for the last word."""
    asked = f"""{script}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        handler=$(complete -p lfmri-node); handler=${{handler#*-F }}
        "${{handler%% *}}"; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    command = ["bash", "--norc", "-c", asked, "bash", str(PROGRAM), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_commands(script: str) -> None:
    assert {"status", "send", "completion", "--version"} <= offered(script, "")
    assert offered(script, "re") == {"reconstruct", "reload", "reprocess", "retry"}


def test_options_of_a_command_and_no_others(script: str) -> None:
    assert offered(script, "status", "--w") == {"--watch"}
    assert offered(script, "serve", "") == {"--config", "-c", "--help"}
    assert offered(script, "retry", "--json", "--co") == {"--config"}


def test_choices_and_files(script: str) -> None:
    assert offered(script, "demo", "--pacs", "") == {"auto", "orthanc", "embedded"}
    assert offered(script, "reconstruct", "scan.h5", "--method", "cg") == {"cg-sense"}
    assert offered(script, "completion", "") == {"bash", "zsh"}
    assert offered(script, "reconstruct", "") == set()  # then readline offers files: -o default
    assert offered(script, "send", "scan.h5", "--identity", "") == set()


def test_names_of_jobs(script: str, tmp_path: Path, add_measurement) -> None:
    for digit in "ab":
        add_measurement(tmp_path, digit * 64)
    (tmp_path / "here.toml").write_text("[node]\ndata_dir = 'data'\n")
    assert offered(script, "status", "--config", "here.toml", "", folder=tmp_path) == {"a" * 12, "b" * 12}
    assert offered(script, "retry", "-c", "here.toml", "b", folder=tmp_path) == {"b" * 12}


def test_zsh_gets_the_same_function(script: str) -> None:
    zsh = CliRunner().invoke(app, ["completion", "zsh"]).stdout
    assert "bashcompinit\n" in zsh
    assert zsh.endswith(script)
