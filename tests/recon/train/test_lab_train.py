"""The laboratory's commands around a training: names, refusals, several processes, stand-in data."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from lfmri_node.recon import lab
from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.networks import build_network
from lfmri_node.recon.train.recipes import all_recipes, find
from lfmri_node.recon.train.runs import load_run


@pytest.mark.parametrize(
    ("words", "code"), [(["train", "nothing"], "LF-LAB-001"), (["train", "lf-mri"], "LF-LAB-005")]
)
def test_names_what_is_wrong(stand_in, tmp_path, words, code):
    result = CliRunner().invoke(lab.app, [*words, "--data", str(stand_in), "--runs", str(tmp_path)])
    assert isinstance(result.exception, LabError)
    assert result.exception.code == code


def test_lists_all_recipes():
    listed = CliRunner().invoke(lab.app, ["recipes", "--json"])
    assert set(json.loads(listed.stdout)) == set(all_recipes())


def test_stand_in_data_are_reproducible(tmp_path):
    for name in ("a", "b"):
        assert CliRunner().invoke(lab.app, ["stand-in", str(tmp_path / name), "--seed", "3"]).exit_code == 0
    with np.load(tmp_path / "a" / "legs.npz") as one, np.load(tmp_path / "b" / "legs.npz") as other:
        np.testing.assert_array_equal(one["thigh"], other["thigh"])


def test_two_processes_train_one_network(stand_in, tmp_path):
    """Lightning's DDP starts the command again for the second process, so this needs a command.

    In some steps the map of a process is zero and G_u is not run: the other process must not wait for it.
    """
    net_c = find("net-c")
    (tmp_path / "net-c").mkdir()
    torch.manual_seed(0)
    save_file(build_network(net_c).state_dict(), tmp_path / "net-c" / "weights.safetensors")
    command = [str(Path(sys.executable).with_name("lfmri-lab")), "train", "lf-mri"]
    options = ["--data", str(stand_in), "--runs", str(tmp_path), "--devices", "2", "--threads", "1"]
    sizes = ["--max-steps", "8", "--limit", "3"]
    done = subprocess.run([*command, *options, *sizes], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 2/2" in done.stderr
    assert load_run(tmp_path / "lf-mri").recipe.steps == 8
